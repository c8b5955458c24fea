//! Making a damaged partition usable again, offline: for `klamm log repair` and `klamm log index`.
//!
//! Always holds: what will be done is known before it is done ([`plan`]); bytes of a segment that are taken out lie in a file
//! beside, as does every other file that is replaced and does not follow from the segments; a process that dies in between
//! leaves the old file or the new one. Nothing is done above what is known to be on the device: recovery, and the journal,
//! know more about that.

mod cut;
mod rebuild;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use klamm_env::Files;
use klamm_env::files::FolderLock;
use klamm_model::{Offset, TopicPartition};

pub use rebuild::segment as rebuild_indexes;

use crate::checkpoint;
use crate::dir::{self, HIGH_WATERMARKS, RECOVERY_POINTS};
use crate::error::LogError;
use crate::names;
use crate::verify::{DAMAGED, EPOCHS, Finding, FindingKind, Listing, PartitionReport};

/// The folder of the journal in a log dir.
const JOURNAL: &str = "klamm.journal";

/// Keeps a broker from starting on the log dir at `path` until it is dropped; an error while one runs on it. Blocks.
pub fn lock(files: &dyn Files, path: &Path, owner: &str) -> Result<Box<dyn FolderLock>, LogError> {
    let lock = files.lock(path, dir::LOCK, owner).map_err(|error| match error {
        Ok(holder) => LogError::Locked {
            path: path.to_path_buf(),
            holder,
        },
        Err(error) => LogError::io(path)(error),
    })?;
    dir::check_marker(files, path)?;
    Ok(lock)
}

/// Bytes of a segment that go into a file beside it, and the offsets that are missing then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The bytes.
    pub positions: Range<u64>,
    /// The first offset, and the one that the log goes on with: the same where nothing follows.
    pub offsets: Range<Offset>,
}

/// Something that is done to one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Takes damaged ranges out of a segment.
    Cut {
        /// The segment.
        segment: Offset,
        /// The ranges, in order.
        cuts: Vec<Cut>,
    },
    /// Makes the indexes of a segment anew.
    Rebuild {
        /// The segment.
        segment: Offset,
    },
    /// Gives a file that cannot be read another name.
    SetAside {
        /// The file.
        path: PathBuf,
    },
    /// Makes the leader epochs anew from the batches.
    LeaderEpochs,
    /// Lets a checkpoint say no more of the partition than the log has.
    LowerCheckpoints {
        /// The log end.
        to: Offset,
    },
    /// Lets the recovery point stand behind what was repaired.
    RaiseRecoveryPoint {
        /// The offset that the log goes on with.
        to: Offset,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut { segment, cuts } => {
                let bytes: u64 = cuts
                    .iter()
                    .map(|cut| cut.positions.end - cut.positions.start)
                    .sum();
                let file = names::FileKind::Log.name(*segment);
                write!(
                    f,
                    "move {bytes} damaged bytes of {file} into files of their own (*{DAMAGED})"
                )
            }
            Self::Rebuild { segment } => write!(f, "make the indexes of {segment:020} anew"),
            Self::SetAside { path } => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                write!(f, "rename {name} to {name}{DAMAGED}")
            }
            Self::LeaderEpochs => write!(f, "make {EPOCHS} anew from the batches"),
            Self::LowerCheckpoints { to } => write!(f, "let the checkpoints end at offset {to}"),
            Self::RaiseRecoveryPoint { to } => write!(f, "let the recovery point be at least offset {to}"),
        }
    }
}

/// What would be done to a partition.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// In this order.
    pub steps: Vec<Step>,
    /// What stays as it is, and why.
    pub left: Vec<(Finding, &'static str)>,
}

/// What may be done, beside what loses nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Damaged ranges may be taken out.
    pub cut_damaged: bool,
}

/// Decides what to do about what was found. `dir` is the log dir, if the partition lies in one. Blocks.
pub fn plan(
    files: &dyn Files,
    dir: Option<&Path>,
    is_clean: bool,
    report: &PartitionReport,
    allowed: Allowed,
) -> Result<Plan, LogError> {
    let replay = match dir {
        Some(dir) if !is_clean => has_journal(files, dir)?,
        _ => false,
    };
    let mut plan = Plan::default();
    let mut cuts: BTreeMap<Offset, Vec<Cut>> = BTreeMap::new();
    let mut rebuilds = BTreeSet::new();
    let mut rest = Vec::new();
    let mut lowered = None;
    for finding in &report.findings {
        let segment = segment_of(&finding.path);
        match (finding.kind, segment) {
            (FindingKind::Batches, Some(segment)) => match to_cut(finding, allowed, replay) {
                Ok(cut) => {
                    rebuilds.insert(segment);
                    cuts.entry(segment).or_default().push(cut);
                }
                Err(why) => plan.left.push((finding.clone(), why)),
            },
            (
                FindingKind::OffsetIndex | FindingKind::TimeIndex | FindingKind::TransactionIndex,
                Some(segment),
            ) => drop(rebuilds.insert(segment)),
            (FindingKind::Producers, _) => rest.push(Step::SetAside {
                path: finding.path.clone(),
            }),
            (FindingKind::LeaderEpochs, _) => rest.push(Step::LeaderEpochs),
            (FindingKind::Checkpoint, _) if allowed.cut_damaged => {
                lowered = lowered.or(finding.offsets.map(|(end, _)| end));
            }
            (kind, _) => plan.left.push((finding.clone(), why_left(kind))),
        }
    }
    let is_torn = |cut: &&Cut| cut.offsets.is_empty();
    let torn = cuts.values().flatten().find(is_torn).map(|cut| cut.offsets.start);
    let last = torn.or(lowered);
    let goes_on = cuts.values().flatten().map(|cut| cut.offsets.end).max();
    plan.steps.extend(
        cuts.into_iter()
            .map(|(segment, cuts)| Step::Cut { segment, cuts }),
    );
    let rebuilt = rebuilds.into_iter().map(|segment| Step::Rebuild { segment });
    plan.steps.extend(rebuilt);
    rest.dedup();
    plan.steps.extend(rest);
    match (last, goes_on) {
        (Some(end), _) => plan.steps.push(Step::LowerCheckpoints { to: end }),
        (None, Some(to)) if !is_clean => plan.steps.push(Step::RaiseRecoveryPoint { to }),
        _ => {}
    }
    Ok(plan)
}

fn to_cut(finding: &Finding, allowed: Allowed, replay: bool) -> Result<Cut, &'static str> {
    let (Some(positions), Some((first, next))) = (finding.positions.clone(), finding.offsets) else {
        return Err("two segments hold the same offsets: move the one that is wrong away");
    };
    if replay {
        return Err(
            "the journal has not been replayed: start klamm serve once, it may bring the records back",
        );
    }
    if !allowed.cut_damaged {
        return Err(
            "--cut-damaged moves the bytes into a file beside the segment; their records are lost then",
        );
    }
    Ok(Cut {
        positions,
        offsets: first..next.unwrap_or(first),
    })
}

/// Why nothing is done about it.
const fn why_left(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::Unfinished => "klamm serve deals with it at its next start",
        FindingKind::Gap => "what is missing is not there: another replica or a copy may have it",
        FindingKind::TopicId => "klamm topic describe shows the topic's id: write the file anew with it",
        FindingKind::Checkpoint => "--cut-damaged repairs it, when the log dir is named",
        _ => "there is no way to repair this",
    }
}

/// The offset that a file of a segment is named by.
fn segment_of(path: &Path) -> Option<Offset> {
    let name = path.file_name()?.to_string_lossy();
    names::parse_file(&name).map(|(_, offset)| offset)
}

fn has_journal(files: &dyn Files, dir: &Path) -> Result<bool, LogError> {
    let path = dir.join(JOURNAL);
    if files.entry(&path).map_err(LogError::io(&path))?.is_none() {
        return Ok(false);
    }
    let entries = files.read_dir(&path).map_err(LogError::io(&path))?;
    Ok(!entries.is_empty())
}

/// What would be done about the checkpoints of a log dir that cannot be read, or promise what is not there.
pub fn plan_of_dir(findings: &[Finding], allowed: Allowed) -> Plan {
    let mut plan = Plan::default();
    for finding in findings {
        // One that cannot be read makes a start read everything, and loses deletions of records.
        match (allowed.cut_damaged, finding.offsets) {
            (true, None) => plan.steps.push(Step::SetAside {
                path: finding.path.clone(),
            }),
            _ => plan.left.push((finding.clone(), why_left(finding.kind))),
        }
    }
    plan.steps.dedup();
    plan
}

/// Does what was planned to a partition's folder, durably. `interval_bytes` lie between two entries of an index. Blocks.
pub fn execute(
    files: &dyn Files,
    dir: Option<&Path>,
    folder: &Path,
    plan: &Plan,
    interval_bytes: u32,
) -> Result<(), LogError> {
    for step in &plan.steps {
        match step {
            Step::Cut { segment, cuts } => cut::take_out(files, folder, *segment, cuts)?,
            Step::Rebuild { segment } => rebuild::segment(files, folder, *segment, interval_bytes)?,
            Step::SetAside { path } => set_aside(files, path)?,
            Step::LeaderEpochs => {
                let path = folder.join(EPOCHS);
                if files.entry(&path).map_err(LogError::io(&path))?.is_some() {
                    set_aside(files, &path)?;
                }
                rebuild::epochs(files, folder)?;
            }
            Step::LowerCheckpoints { to } => change(files, dir, folder, |found| found.min(*to))?,
            Step::RaiseRecoveryPoint { to } => raise(files, dir, folder, *to)?,
        }
    }
    let parent = dir.unwrap_or(folder);
    for synced in [folder, parent] {
        files.sync_dir(synced).map_err(LogError::io(synced))?;
    }
    Ok(())
}

/// Gives a file another name; one that has that name already is the older, and makes way.
fn set_aside(files: &dyn Files, path: &Path) -> Result<(), LogError> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(DAMAGED);
    let mut to = path.with_file_name(&name);
    let mut count = 1;
    while files.entry(&to).map_err(LogError::io(&to))?.is_some() {
        let mut numbered = path.file_name().unwrap_or_default().to_os_string();
        numbered.push(format!(".{count}{DAMAGED}"));
        to = path.with_file_name(numbered);
        count += 1;
    }
    files.rename(path, &to).map_err(LogError::io(path))
}

fn partition_of(folder: &Path) -> Option<TopicPartition> {
    let name = folder.file_name()?.to_string_lossy();
    match names::parse_folder(&name) {
        names::FolderKind::Partition(partition) => Some(partition),
        _ => None,
    }
}

/// Changes what the recovery points and the high watermarks say of the partition.
fn change(
    files: &dyn Files,
    dir: Option<&Path>,
    folder: &Path,
    to: impl Fn(Offset) -> Offset,
) -> Result<(), LogError> {
    for name in [RECOVERY_POINTS, HIGH_WATERMARKS] {
        change_one(files, dir, folder, name, |found| found.map(&to))?;
    }
    Ok(())
}

fn raise(files: &dyn Files, dir: Option<&Path>, folder: &Path, to: Offset) -> Result<(), LogError> {
    change_one(files, dir, folder, RECOVERY_POINTS, |found| {
        Some(found.map_or(to, |found| found.max(to)))
    })
}

fn change_one(
    files: &dyn Files,
    dir: Option<&Path>,
    folder: &Path,
    name: &str,
    to: impl Fn(Option<Offset>) -> Option<Offset>,
) -> Result<(), LogError> {
    let (Some(dir), Some(partition)) = (dir, partition_of(folder)) else {
        return Ok(());
    };
    let path = dir.join(name);
    let mut offsets = checkpoint::read_offsets(files, &path)?;
    let found = offsets.get(&partition).copied();
    match to(found) {
        Some(offset) if found != Some(offset) => {
            offsets.insert(partition, offset);
            checkpoint::write_offsets(files, &path, &offsets)
        }
        _ => Ok(()),
    }
}

/// The segments of a partition's folder. Blocks.
pub fn segments_in(files: &dyn Files, folder: &Path) -> Result<Vec<Offset>, LogError> {
    Ok(Listing::of(files, folder)?.segments.into_keys().collect())
}

#[cfg(test)]
mod tests;
