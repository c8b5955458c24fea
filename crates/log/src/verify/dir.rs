//! A whole log dir: its partitions, and the checkpoints that speak for them.
//!
//! Always holds: a running broker may work on the folder meanwhile: then nothing above its last checkpoint is called
//! damage.

use std::path::{Path, PathBuf};

use klamm_env::Files;
use klamm_model::{Offset, TopicPartition};

use super::{Finding, FindingKind, Known, PartitionReport};
use crate::checkpoint::{self, Offsets};
use crate::dir::{CLEAN, HIGH_WATERMARKS, LOG_STARTS, RECOVERY_POINTS};
use crate::error::LogError;
use crate::names::{self, FolderKind};

/// Names the partitions that Apache Kafka has compacted, and up to where.
pub(crate) const CLEANED: &str = "cleaner-offset-checkpoint";
/// Internal topics, which are compacted wherever they are.
const COMPACTED: [&str; 4] = [
    "__consumer_offsets",
    "__transaction_state",
    "__share_group_state",
    "__remote_log_metadata",
];

/// What the files of a log dir say of all of its partitions.
#[derive(Clone, Debug, Default)]
pub struct DirFacts {
    /// Whether the last process ended in order, and none has begun since.
    pub is_clean: bool,
    recovery_points: Offsets,
    high_watermarks: Offsets,
    cleaned: Offsets,
    /// The checkpoints that cannot be read.
    pub findings: Vec<Finding>,
}

/// Reads the checkpoints of the log dir at `path`. Blocks.
pub fn facts(files: &dyn Files, path: &Path) -> Result<DirFacts, LogError> {
    let clean = path.join(CLEAN);
    let mut facts = DirFacts {
        is_clean: files.entry(&clean).map_err(LogError::io(&clean))?.is_some(),
        ..DirFacts::default()
    };
    facts.recovery_points = facts.read(files, path.join(RECOVERY_POINTS))?;
    facts.read(files, path.join(LOG_STARTS))?;
    facts.high_watermarks = facts.read(files, path.join(HIGH_WATERMARKS))?;
    let cleaned = path.join(CLEANED);
    if !is_unwritten(files, &cleaned)? {
        facts.cleaned = facts.read(files, cleaned)?;
    }
    Ok(facts)
}

impl DirFacts {
    fn read(&mut self, files: &dyn Files, path: PathBuf) -> Result<Offsets, LogError> {
        match checkpoint::read_offsets(files, &path) {
            Err(LogError::Corrupt { what, .. }) => {
                self.findings
                    .push(Finding::of(FindingKind::Checkpoint, path, what));
                Ok(Offsets::new())
            }
            read => read,
        }
    }

    /// What is known of a partition beforehand.
    pub fn known(&self, partition: &TopicPartition) -> Known {
        let recovery_point = self.recovery_points.get(partition).copied().unwrap_or(Offset(0));
        Known {
            settled: if self.is_clean {
                Offset(i64::MAX)
            } else {
                recovery_point
            },
            is_compacted: self.cleaned.contains_key(partition) || COMPACTED.contains(&&*partition.topic),
        }
    }

    /// What the checkpoints promise and the partition does not have.
    fn check(&self, path: &Path, partition: &TopicPartition, end: Offset) -> Vec<Finding> {
        let behind = |name: &str, what: &str, offsets: &Offsets| {
            let offset = offsets.get(partition).copied().filter(|offset| *offset > end)?;
            let text = format!("{partition}: the {what} is {offset}, the log ends at {end}");
            let finding = Finding::of(FindingKind::Checkpoint, path.join(name), text);
            Some(Finding {
                offsets: Some((end, Some(offset))),
                ..finding
            })
        };
        let recovery_point = behind(RECOVERY_POINTS, "recovery point", &self.recovery_points);
        let watermark = behind(HIGH_WATERMARKS, "high watermark", &self.high_watermarks);
        // A high watermark is written before all below it is on this device.
        let watermark = watermark.filter(|_| self.is_clean);
        recovery_point.into_iter().chain(watermark).collect()
    }
}

/// Reads a partition of the log dir at `path` whole, or one segment of it. Blocks.
pub fn in_dir(
    files: &dyn Files,
    path: &Path,
    facts: &DirFacts,
    partition: &TopicPartition,
    only: Option<Offset>,
    progress: &mut dyn FnMut(u64),
) -> Result<PartitionReport, LogError> {
    let folder = path.join(partition.to_string());
    let mut report = super::partition(files, &folder, facts.known(partition), only, progress)?;
    if only.is_none() {
        let promised = facts.check(path, partition, report.end_offset);
        report.findings.extend(promised);
    }
    Ok(report)
}

/// The partitions in a log dir, in order. Blocks.
pub fn of_dir(files: &dyn Files, path: &Path) -> Result<Vec<TopicPartition>, LogError> {
    let entries = files.read_dir(path).map_err(LogError::io(path))?;
    let folders = entries.into_iter().filter(|entry| entry.is_dir);
    let mut found: Vec<TopicPartition> = folders
        .filter_map(|entry| match names::parse_folder(&entry.name) {
            FolderKind::Partition(partition) => Some(partition),
            _ => None,
        })
        .collect();
    found.sort();
    Ok(found)
}

/// Whether it is a checkpoint that Kafka has made and never written.
pub(crate) fn is_unwritten(files: &dyn Files, path: &Path) -> Result<bool, LogError> {
    let entry = files.entry(path).map_err(LogError::io(path))?;
    Ok(entry.is_some_and(|entry| entry.len == 0))
}
