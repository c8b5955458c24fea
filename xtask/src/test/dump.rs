//! The files of a broker as Kafka's own reader of them sees them: `kafka-dump-log`.
//!
//! Always: it looks while the broker serves, at what has been answered.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    broker::{Broker, Jars},
    process,
};

/// Each internal topic here has as many partitions as Kafka gives it.
const PARTITIONS: u32 = 50;

/// What one record of a coordinator is: the type in its key, and whether it has a value.
type Kind = (i64, bool);

const OFFSET: i64 = 1;
const CLASSIC_GROUP: i64 = 2;
const GROUP: i64 = 3;
const MEMBER: i64 = 5;
const ASSIGNMENT_EPOCH: i64 = 6;
const TARGET_ASSIGNMENT: i64 = 7;
const CURRENT_ASSIGNMENT: i64 = 8;
const EXPRESSION: i64 = 16;

/// Every type of record that groups of consumers leave behind; each is written, and taken back.
const OF_GROUPS: [i64; 8] = [
    OFFSET,
    CLASSIC_GROUP,
    GROUP,
    MEMBER,
    ASSIGNMENT_EPOCH,
    TARGET_ASSIGNMENT,
    CURRENT_ASSIGNMENT,
    EXPRESSION,
];

/// How the records of a transaction name its states, in order: empty, ongoing, prepare-commit, prepare-abort, complete-commit,
/// complete-abort.
const STATES: std::ops::RangeInclusive<i64> = 0..=5;

/// Every record of the segment files of a topic is found, with indexes that agree with them.
pub(super) fn records(
    jars: &Jars,
    broker: &Broker,
    topic: &str,
    partitions: u32,
    count: usize,
) -> Result<()> {
    let mut records = 0;
    for partition in 0..partitions {
        let files = segment_files(&broker.log_dir().join(format!("{topic}-{partition}")))?;
        let printed = dump(jars, &["--deep-iteration", "--print-data-log"], &files)?;
        records += printed
            .lines()
            .filter(|line| line.starts_with("| offset: "))
            .count();
        is_sound(&printed)?;
    }
    ensure!(records == count, "{records} records were found");
    Ok(())
}

/// What is printed of the batches and records of these files, of which the reader complains of nothing.
pub(super) fn sound(jars: &Jars, files: &[PathBuf]) -> Result<String> {
    let printed = dump(jars, &["--deep-iteration"], files)?;
    is_sound(&printed)?;
    Ok(printed)
}

/// Every type of record of a group is read, and so is its end.
pub(super) fn groups(jars: &Jars, broker: &Broker) -> Result<()> {
    let printed = coordinator(jars, broker, "__consumer_offsets", "--offsets-decoder")?;
    let found: BTreeSet<Kind> = coordinator_records(&printed)?
        .into_iter()
        .map(|(key, value)| Ok((number(&key, "type")?, value.is_some())))
        .collect::<Result<_>>()?;
    for kind in OF_GROUPS
        .into_iter()
        .flat_map(|kind| [(kind, true), (kind, false)])
    {
        ensure!(
            found.contains(&kind),
            "there is no {kind:?} (type, with a value) among {found:?}"
        );
    }
    Ok(())
}

/// Every state of a transaction is read, and the offsets that were committed in some, with the markers behind them.
pub(super) fn transactions(jars: &Jars, broker: &Broker) -> Result<()> {
    let printed = coordinator(jars, broker, "__transaction_state", "--transaction-log-decoder")?;
    let mut states = BTreeSet::new();
    let mut has_partitions = false;
    for (_, value) in coordinator_records(&printed)? {
        let data = &value.context("a transactional id was forgotten")?["data"];
        states.insert(number(data, "transactionStatus")?);
        has_partitions |= data["transactionPartitions"]
            .as_array()
            .is_some_and(|topics| !topics.is_empty());
    }
    ensure!(has_partitions, "no transaction has partitions");
    for state in STATES {
        ensure!(
            states.contains(&state),
            "there is no state {state} among {states:?}"
        );
    }
    let printed = coordinator(jars, broker, "__consumer_offsets", "--offsets-decoder")?;
    for expected in [
        "isTransactional: true isControl: false",
        "endTxnMarker: COMMIT",
        "endTxnMarker: ABORT",
    ] {
        ensure!(
            printed.contains(expected),
            "{expected:?} is not in __consumer_offsets"
        );
    }
    Ok(())
}

/// What is printed of all partitions of an internal topic.
fn coordinator(jars: &Jars, broker: &Broker, topic: &str, decoder: &str) -> Result<String> {
    let mut logs = Vec::new();
    for partition in 0..PARTITIONS {
        let folder = broker.log_dir().join(format!("{topic}-{partition}"));
        let filled = |file: &PathBuf| fs::metadata(file).is_ok_and(|file| file.len() > 0);
        logs.extend(
            segment_files(&folder)?
                .into_iter()
                .filter(|file| file.extension().is_some_and(|end| end == "log") && filled(file)),
        );
    }
    ensure!(!logs.is_empty(), "{topic} is empty");
    let printed = dump(jars, &[decoder], &logs)?;
    is_sound(&printed)?;
    Ok(printed)
}

/// The key and the value of each record; none for one that takes back what was there.
fn coordinator_records(printed: &str) -> Result<Vec<(Value, Option<Value>)>> {
    let mut records = Vec::new();
    for line in printed.lines().filter(|line| line.starts_with("| offset: ")) {
        // A marker has neither.
        let Some((_, rest)) = line.split_once(" key: ") else {
            continue;
        };
        let (key, value) = rest
            .split_once(" payload: ")
            .with_context(|| format!("this is not understood: {line}"))?;
        let json = |text: &str| serde_json::from_str(text).with_context(|| format!("in {line}"));
        let value = match value {
            "<DELETE>" => None,
            value => Some(json(value)?),
        };
        records.push((json(key)?, value));
    }
    ensure!(!records.is_empty(), "there are no records");
    Ok(records)
}

/// A number that is printed as one, or as a text.
fn number(value: &Value, name: &str) -> Result<i64> {
    let found = &value[name];
    found
        .as_i64()
        .or_else(|| found.as_str()?.parse().ok())
        .with_context(|| format!("there is no number {name:?} in {value}"))
}

fn dump(jars: &Jars, options: &[&str], files: &[PathBuf]) -> Result<String> {
    let list: Vec<String> = files
        .iter()
        .map(|file| file.to_string_lossy().into_owned())
        .collect();
    let mut java = jars.java();
    java.arg("org.apache.kafka.tools.DumpLogSegments")
        .args(options)
        .args(["--files", &list.join(",")]);
    // It complains on standard error, and ends well all the same.
    let done = java.stdin(Stdio::null()).output().context("cannot run java")?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let printed = text(&done.stdout) + &text(&done.stderr);
    ensure!(done.status.success(), "{}", process::last_lines(&printed, 20));
    Ok(printed)
}

/// The reader complains of nothing.
fn is_sound(printed: &str) -> Result<()> {
    for complaint in [
        "isvalid: false",
        "Mismatches in",
        "out of order",
        "corrupt",
        "invalid bytes at the end",
        "Unknown record type",
        "Error at offset",
    ] {
        if let Some(line) = printed.lines().find(|line| line.contains(complaint)) {
            anyhow::bail!("{line}\n{}", process::last_lines(printed, 10));
        }
    }
    // It takes the first offset of every segment but the first for a gap.
    let is_gap = |line: &&str| line.contains(" is followed by ") && !line.starts_with("  -1 ");
    match printed.lines().find(is_gap) {
        Some(gap) => anyhow::bail!("{gap}"),
        None => Ok(()),
    }
}

/// The `.log`, `.index` and `.timeindex` files of a partition, in order.
pub(super) fn segment_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|end| ["log", "index", "timeindex"].iter().any(|kind| end == *kind))
        {
            files.push(path);
        }
    }
    files.sort();
    ensure!(
        files.len() >= 3,
        "{} holds {} segment files",
        folder.display(),
        files.len()
    );
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = concat!(
        "baseOffset: 0 lastOffset: 0 count: 1 isvalid: true\n",
        r#"| offset: 0 keySize: 9 key: {"type":"3","data":{"groupId":"g"}} payload: {"version":"0","data":{"epoch":1}}"#,
        "\n",
        r#"| offset: 1 keySize: 9 key: {"type":"3","data":{"groupId":"g"}} payload: <DELETE>"#,
        "\n| offset: 2 isValid: true endTxnMarker: COMMIT coordinatorEpoch: 0\n",
    );

    #[test]
    fn records_are_told_from_what_takes_them_back() {
        let records = coordinator_records(PRINTED).unwrap();
        let kinds: Vec<Kind> = records
            .iter()
            .map(|(key, value)| (number(key, "type").unwrap(), value.is_some()))
            .collect();
        assert_eq!(kinds, [(3, true), (3, false)]);
        assert!(coordinator_records("| offset: 0 key: {} payload: {").is_err());
        assert!(coordinator_records("").is_err());
    }

    #[test]
    fn a_complaint_is_an_error() {
        is_sound(PRINTED).unwrap();
        assert!(is_sound("Found 7 invalid bytes at the end of x").is_err());
        is_sound("Non-consecutive offsets in x\n  -1 is followed by 4999").unwrap();
        assert!(is_sound("Non-consecutive offsets in x\n  7 is followed by 9").is_err());
        assert!(is_sound(&format!("{PRINTED}| offset: 3 key: Error at offset 3, skipping.")).is_err());
    }
}
