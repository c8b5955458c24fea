//! `klamm log verify PATH`: reads everything, and says what is damaged.
//!
//! Always holds: nothing is written; a damaged range is one line, or one object; the command fails if there is any.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use klamm_env::Env;
use klamm_log::verify::{Finding, FindingKind, PartitionReport};
use serde::Serialize;

use super::target::{Target, name_of, note};
use crate::failure::Hinted;
use crate::output::{Output, Show, Table, argument, or_dash};

/// Less than this is read before a bar is of use.
const BAR_FROM_BYTES: u64 = 256 * 1024 * 1024;

#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    /// A log dir, a partition's folder in it, or a segment (*.log)
    #[arg(value_name = "PATH")]
    path: PathBuf,
}

/// A finding as it is shown.
#[derive(Serialize)]
pub(super) struct Row {
    partition: String,
    file: String,
    kind: &'static str,
    is_damage: bool,
    position: Option<u64>,
    end_position: Option<u64>,
    first_offset: Option<i64>,
    /// The offset that the log goes on with.
    next_offset: Option<i64>,
    what: String,
    next: String,
}

#[derive(Serialize)]
struct Verified {
    partitions: usize,
    segments: usize,
    bytes: u64,
    batches: u64,
    records: u64,
    is_clean: bool,
    damaged: usize,
    findings: Vec<Row>,
}

impl Show for Verified {
    fn tables(&self) -> Vec<Table> {
        let mut facts = vec![Table::facts([
            ("partitions", self.partitions.to_string()),
            ("segments", self.segments.to_string()),
            ("bytes", self.bytes.to_string()),
            ("batches", self.batches.to_string()),
            ("records", self.records.to_string()),
            ("damaged", self.damaged.to_string()),
        ])];
        if !self.findings.is_empty() {
            facts.insert(0, table(&self.findings));
        }
        facts
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["PARTITION", "FILE", "POSITION", "OFFSETS", "WHAT", "NEXT"]);
    for row in rows {
        table.row([
            row.partition.clone(),
            row.file.clone(),
            range(row.position, row.end_position),
            range(row.first_offset, row.next_offset.map(|next| next - 1)),
            format!("{}: {}", row.kind, row.what),
            row.next.clone(),
        ]);
    }
    table
}

fn range<N: ToString + PartialEq>(from: Option<N>, to: Option<N>) -> String {
    match (from, to) {
        (Some(from), Some(to)) if from == to => from.to_string(),
        (Some(from), Some(to)) => format!("{}-{}", from.to_string(), to.to_string()),
        (Some(from), None) => format!("{}-", from.to_string()),
        (None, to) => or_dash(to),
    }
}

impl Row {
    pub(super) fn of(partition: &str, finding: &Finding, dir: &Path) -> Self {
        let file = finding.path.file_name().unwrap_or_default();
        let repair = |flag: &str| format!("klamm log repair{flag} {}", argument(&dir.to_string_lossy()));
        Self {
            partition: partition.to_owned(),
            file: file.to_string_lossy().into_owned(),
            kind: finding.kind.name(),
            is_damage: finding.kind.is_damage(),
            position: finding.positions.as_ref().map(|range| range.start),
            end_position: finding.positions.as_ref().map(|range| range.end),
            first_offset: finding.offsets.map(|(first, _)| first.0),
            next_offset: finding.offsets.and_then(|(_, next)| next).map(|next| next.0),
            what: finding.what.clone(),
            next: match finding.kind {
                FindingKind::Batches | FindingKind::Checkpoint => repair(" --cut-damaged"),
                FindingKind::Unfinished => "klamm serve deals with it at its next start".to_owned(),
                FindingKind::Gap | FindingKind::TopicId => {
                    "take it from another replica or a copy".to_owned()
                }
                _ => repair(""),
            },
        }
    }
}

/// What was found of each partition.
pub(super) type Reports = Vec<((PathBuf, Option<klamm_model::TopicPartition>), PartitionReport)>;

/// Reads all of the target, with a bar when that takes a while.
pub(super) fn read(env: &Env, target: &Target) -> anyhow::Result<Reports> {
    let files = env.files();
    let bar = bar(target.bytes(&**files)?);
    let mut reports = Reports::new();
    for partition in &target.partitions {
        let name = name_of(&partition.0, partition.1.as_ref());
        bar.set_message(name.clone());
        let report = target
            .verify(&**files, partition, &mut |bytes| bar.inc(bytes))
            .with_context(|| name)?;
        reports.push((partition.clone(), report));
    }
    bar.finish_and_clear();
    Ok(reports)
}

fn bar(bytes: u64) -> ProgressBar {
    if bytes < BAR_FROM_BYTES || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(bytes);
    let style = ProgressStyle::with_template("{bar:30} {bytes} of {total_bytes}, {eta} left, {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

pub(super) fn run(args: &VerifyArgs, out: &mut Output) -> anyhow::Result<()> {
    let env = Env::real();
    let files = env.files();
    let context = || args.path.display().to_string();
    let target = Target::find(&**files, &args.path).with_context(context)?;
    let _lock = target.lock_for_reading(&**files)?;
    let reports = read(&env, &target)?;
    let sum = |of: fn(&PartitionReport) -> u64| reports.iter().map(|(_, report)| of(report)).sum::<u64>();
    let mut findings: Vec<Row> = Vec::new();
    if let Some(dir) = &target.dir {
        let of_dir = target.facts.findings.iter();
        findings.extend(of_dir.map(|finding| Row::of("-", finding, dir)));
    }
    for ((folder, partition), report) in &reports {
        let name = name_of(folder, partition.as_ref());
        let of_partition = report.findings.iter();
        findings.extend(of_partition.map(|finding| Row::of(&name, finding, folder)));
    }
    let damaged = findings.iter().filter(|row| row.is_damage).count();
    let verified = Verified {
        partitions: reports.len(),
        segments: reports.iter().map(|(_, report)| report.segments).sum(),
        bytes: sum(|report| report.bytes),
        batches: sum(|report| report.batches),
        records: sum(|report| report.records),
        is_clean: target.facts.is_clean,
        damaged,
        findings,
    };
    out.show(&verified)?;
    out.flush()?;
    if verified.findings.len() > damaged {
        note(
            "what is unfinished was being written when the broker ended, or is being written now: it is no damage",
        );
    }
    if damaged > 0 {
        let path = args.path.to_string_lossy();
        return Err(Hinted::error(
            match damaged {
                1 => "damage was found in one place".to_owned(),
                count => format!("damage was found in {count} places"),
            },
            format!("klamm log repair {} says what it would do", argument(&path)),
        ));
    }
    Ok(())
}
