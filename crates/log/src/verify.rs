//! Reading partitions without opening them, and saying what is damaged: for `klamm log verify` and `klamm log repair`.
//!
//! Always holds: nothing is written; every byte of every segment is read; what a crash may leave behind, above what was known
//! to be on the device, is not called damage. Files of Apache Kafka pass as ours do.
//!
//! Next: `verify/walk.rs` for batches, `verify/indexes.rs` for what hangs on them, `verify/dir.rs` for a whole log dir.

mod dir;
mod finding;
mod indexes;
pub(crate) mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use klamm_env::{Files, OpenMode};
use klamm_model::Offset;
use klamm_records::{BatchHeader, HEADER_BYTES};

pub(crate) use dir::{CLEANED, is_unwritten};
pub use dir::{DirFacts, facts, in_dir, of_dir};
pub use finding::{Finding, FindingKind};

use crate::checkpoint;
use crate::dir::read_topic_id;
use crate::epochs::LeaderEpochs;
use crate::error::LogError;
use crate::names::{self, FileKind};
use crate::producers::{ProducerState, snapshot};
use indexes::Indexes;
use walk::{Depth, Piece, Walk};

/// More than a snapshot of producers has.
const SNAPSHOT_LIMIT_BYTES: u64 = 1 << 30;
/// The name of the file with the leader epochs.
pub(crate) const EPOCHS: &str = "leader-epoch-checkpoint";
/// Ends the name of a file that holds what was damaged.
pub(crate) const DAMAGED: &str = ".damaged";

/// What is known of a partition beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Everything below is known to be on the device. Above it a crash may have left anything.
    pub settled: Offset,
    /// Whether compaction may have left gaps.
    pub is_compacted: bool,
}

impl Known {
    /// Of a partition that was closed in order.
    pub const CLOSED: Self = Self {
        settled: Offset(i64::MAX),
        is_compacted: false,
    };
}

/// What a partition's folder holds.
#[derive(Clone, Debug)]
pub struct PartitionReport {
    /// The folder.
    pub folder: PathBuf,
    /// Its segments.
    pub segments: usize,
    /// The bytes of their batches.
    pub bytes: u64,
    /// Whole batches.
    pub batches: u64,
    /// Their records.
    pub records: u64,
    /// The base offset of the first segment.
    pub start_offset: Offset,
    /// The offset after the last record.
    pub end_offset: Offset,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

impl PartitionReport {
    /// Whether anything is damaged.
    pub fn is_damaged(&self) -> bool {
        self.findings.iter().any(|finding| finding.kind.is_damage())
    }
}

/// The segments and snapshots of a folder.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) segments: BTreeMap<Offset, u64>,
    pub(crate) snapshots: BTreeSet<Offset>,
    /// Offsets that were taken out on purpose, and lie in a file beside: from, and below which.
    pub(crate) set_aside: Vec<Range<Offset>>,
}

impl Listing {
    pub(crate) fn of(files: &dyn Files, folder: &Path) -> Result<Self, LogError> {
        let mut listing = Self::default();
        for entry in files.read_dir(folder).map_err(LogError::io(folder))? {
            match names::parse_file(&entry.name) {
                Some((FileKind::Log, offset)) => drop(listing.segments.insert(offset, entry.len)),
                Some((FileKind::Snapshot, offset)) => drop(listing.snapshots.insert(offset)),
                _ => listing.set_aside.extend(set_aside(&entry.name)),
            }
        }
        Ok(listing)
    }

    /// Where the segment at `base_offset` must have ended.
    pub(crate) fn end_of(&self, base_offset: Offset) -> Offset {
        let next = self.segments.range(base_offset.plus(1)..).next();
        next.map_or(Offset(i64::MAX), |(next, _)| *next)
    }
}

/// The name of the file that keeps a damaged range of a segment: with its position, the first missing offset and the next there is.
pub(crate) fn damaged_name(segment: Offset, position: u64, offsets: &Range<Offset>) -> String {
    format!(
        "{}.{position}.{}-{}{DAMAGED}",
        FileKind::Log.name(segment),
        offsets.start,
        offsets.end
    )
}

/// The reverse of [`damaged_name`].
fn set_aside(name: &str) -> Option<Range<Offset>> {
    let (_, offsets) = name.strip_suffix(DAMAGED)?.rsplit_once('.')?;
    let (first, next) = offsets.split_once('-')?;
    Some(Offset(first.parse().ok()?)..Offset(next.parse().ok()?))
}

/// Reads a partition's folder whole, or one segment of it. `progress` is told of bytes as they are read. Blocks.
pub fn partition(
    files: &dyn Files,
    folder: &Path,
    known: Known,
    only: Option<Offset>,
    progress: &mut dyn FnMut(u64),
) -> Result<PartitionReport, LogError> {
    let mut listing = Listing::of(files, folder)?;
    if let Some(only) = only {
        let end = listing.end_of(only);
        listing.snapshots.retain(|offset| (only..=end).contains(offset));
    }
    let mut pass = Pass::new(files, folder, known, only, &listing)?;
    let wanted = |offset: &&Offset| only.is_none_or(|only| **offset == only);
    for base_offset in listing.segments.keys().filter(wanted) {
        pass.segment(*base_offset, progress)?;
    }
    Ok(pass.finish())
}

/// One way through a partition, from its first segment to its last.
struct Pass<'a> {
    files: &'a dyn Files,
    known: Known,
    listing: &'a Listing,
    producers: ProducerState,
    /// Whether all transactions from the first segment on are known; not after something was missing.
    knows_producers: bool,
    epochs: Option<LeaderEpochs>,
    epochs_at_fault: bool,
    report: PartitionReport,
}

impl<'a> Pass<'a> {
    fn new(
        files: &'a dyn Files,
        folder: &Path,
        known: Known,
        only: Option<Offset>,
        listing: &'a Listing,
    ) -> Result<Self, LogError> {
        let first = only.or(listing.segments.keys().next().copied());
        let start = first.unwrap_or(Offset(0));
        let mut pass = Self {
            files,
            known,
            listing,
            producers: ProducerState::default(),
            knows_producers: !known.is_compacted && (only.is_none() || listing.snapshots.contains(&start)),
            epochs: None,
            epochs_at_fault: false,
            report: PartitionReport {
                folder: folder.to_path_buf(),
                segments: if only.is_some() { 1 } else { listing.segments.len() },
                bytes: 0,
                batches: 0,
                records: 0,
                start_offset: start,
                end_offset: start,
                findings: Vec::new(),
            },
        };
        pass.read_small(start)?;
        Ok(pass)
    }

    /// The files that are read whole: the topic's id, the epochs, the producers that the log begins with.
    fn read_small(&mut self, start: Offset) -> Result<(), LogError> {
        let folder = self.report.folder.clone();
        match read_topic_id(self.files, &folder) {
            Ok(Some(_)) => {}
            Ok(None) => self.say(
                FindingKind::TopicId,
                "partition.metadata",
                "the file is missing".into(),
            ),
            Err(LogError::Corrupt { what, .. }) => self.say(FindingKind::TopicId, "partition.metadata", what),
            Err(error) => return Err(error),
        }
        match checkpoint::read_epochs(self.files, &folder.join(EPOCHS)) {
            Ok(entries) => {
                let epochs = LeaderEpochs::from_entries(entries.clone());
                if epochs.entries() != entries {
                    self.say(
                        FindingKind::LeaderEpochs,
                        EPOCHS,
                        "epochs and offsets do not grow".into(),
                    );
                }
                self.epochs = Some(epochs);
            }
            Err(LogError::Corrupt { what, .. }) => self.say(FindingKind::LeaderEpochs, EPOCHS, what),
            Err(error) => return Err(error),
        }
        if self.listing.snapshots.contains(&start) {
            match self.snapshot(start) {
                Some(state) => self.producers = state,
                None => self.knows_producers = false,
            }
        }
        Ok(())
    }

    fn say(&mut self, kind: FindingKind, name: &str, what: String) {
        let path = self.report.folder.join(name);
        self.report.findings.push(Finding::of(kind, path, what));
    }

    /// The producers' state that a file says; a finding if it cannot be read.
    fn snapshot(&mut self, offset: Offset) -> Option<ProducerState> {
        let name = FileKind::Snapshot.name(offset);
        let bytes = self
            .files
            .read(&self.report.folder.join(&name), SNAPSHOT_LIMIT_BYTES);
        let what = match bytes {
            Ok(bytes) => match snapshot::decode(&bytes) {
                Ok(state) => return Some(state),
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        self.say(FindingKind::Producers, &name, what);
        None
    }

    fn segment(&mut self, base_offset: Offset, progress: &mut dyn FnMut(u64)) -> Result<(), LogError> {
        let path = self.report.folder.join(FileKind::Log.name(base_offset));
        self.continues(base_offset, &path);
        let opened = self
            .files
            .open(&path, OpenMode::Read)
            .and_then(|file| Ok((file.len()?, file)));
        let (length, file) = opened.map_err(LogError::io(&path))?;
        let end_offset = self.listing.end_of(base_offset);
        let is_newest = end_offset == Offset(i64::MAX);
        let folder = self.report.folder.clone();
        let mut indexes = Indexes::read(
            self.files,
            &folder,
            base_offset,
            is_newest,
            self.known.is_compacted,
        );
        let mut walk = Walk::new(file, length, base_offset..end_offset, Depth::Records);
        let mut is_whole = true;
        self.report.end_offset = base_offset;
        while let Some(piece) = walk.step() {
            let before = self.report.end_offset;
            match piece {
                Piece::Batch { position, batch } => {
                    let header = *batch.header();
                    progress(batch.bytes().len() as u64);
                    self.gap(before..header.base_offset, &path, position);
                    self.check_producers(before..header.base_offset.plus(1));
                    let aborted = self.producers.take_in(&header, &batch.bytes()[HEADER_BYTES..]);
                    indexes.compare(position, &header, aborted);
                    self.check_epoch(&header);
                    self.report.batches += 1;
                    self.report.records += u64::try_from(header.record_count).unwrap_or(0);
                    self.report.bytes += batch.bytes().len() as u64;
                    self.report.end_offset = header.next_offset();
                }
                Piece::Damaged {
                    positions,
                    what,
                    first_offset,
                    next_offset,
                } => {
                    progress(positions.end - positions.start);
                    is_whole = false;
                    let follows = next_offset.or((!is_newest).then_some(end_offset));
                    self.damaged(&path, positions, (first_offset, follows), what);
                }
            }
        }
        // A crash leaves behind what recovery makes anew; beside damage an index says nothing new.
        if is_whole && self.report.end_offset <= self.known.settled {
            let found = indexes.finish(length, self.knows_producers);
            self.report.findings.extend(found);
        }
        if is_newest {
            self.check_producers(self.report.end_offset..self.report.end_offset.plus(1));
        }
        Ok(())
    }

    /// Bytes of a segment are no batch of their place.
    fn damaged(
        &mut self,
        path: &Path,
        positions: Range<u64>,
        offsets: (Offset, Option<Offset>),
        what: String,
    ) {
        let (first_offset, follows) = offsets;
        self.knows_producers = false;
        self.report.findings.push(Finding {
            kind: match first_offset >= self.known.settled {
                true => FindingKind::Unfinished,
                false => FindingKind::Batches,
            },
            path: path.to_path_buf(),
            positions: Some(positions),
            offsets: Some(offsets),
            what,
        });
        self.report.end_offset = follows.unwrap_or(first_offset);
    }

    /// Whether a segment begins where the one before ended.
    fn continues(&mut self, base_offset: Offset, path: &Path) {
        let end = self.report.end_offset;
        if base_offset < end {
            let what = format!("the segment before it ends at offset {end}");
            let finding = Finding::of(FindingKind::Batches, path.to_path_buf(), what);
            self.report.findings.push(finding);
        }
        // One that no segment spans was rolled over on purpose.
        if base_offset.0 - end.0 <= i64::from(i32::MAX) {
            self.gap(end..base_offset, path, 0);
        }
    }

    fn gap(&mut self, missing: Range<Offset>, path: &Path, position: u64) {
        let is_wanted = missing.start < missing.end && missing.start < self.known.settled;
        if !is_wanted || self.known.is_compacted {
            return;
        }
        self.knows_producers = false;
        let is_aside = |aside: &Range<Offset>| aside.start <= missing.start && missing.end <= aside.end;
        if self.listing.set_aside.iter().any(is_aside) {
            return;
        }
        self.report.findings.push(Finding {
            kind: FindingKind::Gap,
            path: path.to_path_buf(),
            positions: Some(position..position),
            offsets: Some((missing.start, Some(missing.end))),
            what: "these offsets are missing".into(),
        });
    }

    /// Compares the snapshots in these offsets with what the batches before them say.
    fn check_producers(&mut self, offsets: Range<Offset>) {
        let start = self.report.start_offset;
        let mut due: Vec<Offset> = self.listing.snapshots.range(offsets).copied().collect();
        due.retain(|offset| *offset > start);
        for offset in due {
            let Some(said) = self.snapshot(offset) else {
                continue;
            };
            if !self.knows_producers {
                continue;
            }
            let differs = said.entries().find_map(|(id, said)| {
                // One that was silent for long was forgotten, there or here.
                let (_, found) = self.producers.entries().find(|(found, _)| *found == id)?;
                let last = |entry: &crate::producers::ProducerEntry| {
                    entry.last().map(|batch| (batch.last_sequence, batch.last_offset))
                };
                let same = said.epoch == found.epoch
                    && (said.last().is_none() || found.last().is_none() || last(said) == last(found))
                    && said.current_txn_first_offset == found.current_txn_first_offset;
                (!same).then_some(id)
            });
            if let Some(id) = differs {
                let what = format!("it says of producer {id} something else than the log");
                self.say(FindingKind::Producers, &FileKind::Snapshot.name(offset), what);
            }
        }
    }

    /// Every batch is of the epoch that the checkpoint says for its offset, as far as that was written.
    fn check_epoch(&mut self, header: &BatchHeader) {
        let (Some(epochs), Some(epoch), false) = (&self.epochs, header.leader_epoch(), self.epochs_at_fault)
        else {
            return;
        };
        let said = epochs.epoch_of(header.base_offset);
        if said == Some(epoch) || header.base_offset >= self.known.settled {
            return;
        }
        self.epochs_at_fault = true;
        let said = said.map_or_else(|| "none".to_owned(), |said| said.to_string());
        let what = format!(
            "offset {} was written in epoch {epoch}, the file says {said}",
            header.base_offset
        );
        self.say(FindingKind::LeaderEpochs, EPOCHS, what);
    }

    fn finish(mut self) -> PartitionReport {
        let end = self.report.end_offset;
        let beyond = self
            .listing
            .snapshots
            .range(end.plus(1)..)
            .next()
            .copied()
            .filter(|offset| *offset <= self.known.settled);
        if let Some(offset) = beyond {
            let what = format!("it lies behind the end of the log, {end}");
            self.say(FindingKind::Producers, &FileKind::Snapshot.name(offset), what);
        }
        self.report
    }
}

#[cfg(test)]
mod tests;
