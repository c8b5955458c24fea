//! What is in the segments of a log dir, as Klamm reads them and as Kafka does.
//!
//! Always: both are programs that know nothing of the broker that wrote the files, and it does not run meanwhile.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    broker::{self, Jars},
    process,
    test::dump,
};

/// A batch: its offsets, where it stands, and its checksum.
#[derive(Debug, PartialEq, Eq)]
struct Batch {
    base_offset: i64,
    last_offset: i64,
    position: i64,
    crc: i64,
}

/// Both find the same batches in all segments, and nothing to complain of.
pub(super) fn agree(jars: &Jars, log_dir: &Path) -> Result<()> {
    let mut batches = 0;
    let files = segments(log_dir)?;
    for (logs, all) in files {
        let printed = dump::sound(jars, &all)?;
        let theirs = theirs(&printed)?;
        let ours = ours(&logs)?;
        let differs = theirs.iter().zip(&ours).find(|(one, other)| one != other);
        ensure!(
            theirs.len() == ours.len() && differs.is_none(),
            "{}: {} batches and {}, the first that differ {differs:?}",
            logs[0].display(),
            theirs.len(),
            ours.len()
        );
        batches += ours.len();
    }
    ensure!(batches > 0, "there are no batches in {}", log_dir.display());
    Ok(())
}

/// The segments of each partition that has records, and these together with their indexes.
fn segments(log_dir: &Path) -> Result<Vec<(Vec<PathBuf>, Vec<PathBuf>)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(log_dir)? {
        let folder = entry?.path();
        if !folder.join("partition.metadata").is_file() {
            continue;
        }
        let all = dump::segment_files(&folder)?;
        let of_kind = |file: &&PathBuf| file.extension().is_some_and(|end| end == "log");
        let logs: Vec<PathBuf> = all.iter().filter(of_kind).cloned().collect();
        let bytes: u64 = logs
            .iter()
            .filter_map(|file| fs::metadata(file).ok())
            .map(|file| file.len())
            .sum();
        if bytes > 0 {
            found.push((logs, all));
        }
    }
    Ok(found)
}

/// The batches in what Kafka's reader printed.
fn theirs(printed: &str) -> Result<Vec<Batch>> {
    let lines = printed.lines().filter(|line| line.starts_with("baseOffset: "));
    let batch = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let field = |name: &str| {
            let at = words.iter().position(|word| *word == name)?;
            words.get(at + 1)?.parse().ok()
        };
        Some(Batch {
            base_offset: field("baseOffset:")?,
            last_offset: field("lastOffset:")?,
            position: field("position:")?,
            crc: field("crc:")?,
        })
    };
    lines
        .map(|line| batch(line).with_context(|| format!("no batch in {line:?}")))
        .collect()
}

/// The batches in what `klamm log dump` prints; damage makes it fail.
fn ours(logs: &[PathBuf]) -> Result<Vec<Batch>> {
    let mut dump = Command::new(broker::program()?);
    dump.args(["log", "dump", "--output", "json"]).args(logs);
    let printed = process::output(&mut dump)?;
    let batch = |line: &str| {
        let row: Value = serde_json::from_str(line)?;
        let field = |name: &str| row[name].as_i64().with_context(|| format!("no {name} in {line}"));
        Ok(Batch {
            base_offset: field("base_offset")?,
            last_offset: field("last_offset")?,
            position: field("position")?,
            crc: field("crc")?,
        })
    };
    printed.lines().map(batch).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_kafka_is_a_batch() {
        let printed = "Dumping x\nbaseOffset: 4 lastOffset: 6 count: 3 baseSequence: 0 position: 71 CreateTime: 1 \
                       size: 90 magic: 2 crc: 4000000000 isvalid: true\n| offset: 4\n";
        let expected = Batch {
            base_offset: 4,
            last_offset: 6,
            position: 71,
            crc: 4_000_000_000,
        };
        assert_eq!(theirs(printed).unwrap(), [expected]);
        assert!(theirs("baseOffset: 4 lastOffset: 6").is_err());
    }
}
