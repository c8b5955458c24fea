//! Opening a log: listing its folder, and finding its end.
//!
//! Always holds: a folder that holds anything is opened only if it says that it is of the topic, and nothing in another one
//! is touched; after an orderly end only the tail of the last segment is read, and nothing of the others; else
//! [`recovery`](crate::recovery) reads what is above the recovery point.
//!
//! Next: `open/missing.rs` for files that are gone.

mod missing;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use klamm_model::{Offset, TimestampMs, TopicId, TopicPartition};
use klamm_records::HEADER_BYTES;

use crate::aborted::AbortedIndex;
use crate::checkpoint;
use crate::clean::finish_swaps;
use crate::config::LogConfig;
use crate::dir::{self, LogDir};
use crate::epochs::LeaderEpochs;
use crate::error::LogError;
use crate::gate::Gate;
use crate::home::Home;
use crate::index::transaction;
use crate::index::{IndexEntry, OffsetEntry, Source, TimeEntry};
use crate::journal::{self, Floor};
use crate::log::{Log, RecoveryState};
use crate::make;
use crate::names::{self, FileKind};
use crate::prepare::walk_error;
use crate::producers::{ProducerState, snapshot};
use crate::recovery::{self, Chunks};
use crate::segment::{Segment, SegmentFiles, TimedOffset, WalkError, stop_error};

/// Snapshots are small; one of a million producers has 46 MB.
const SNAPSHOT_LIMIT_BYTES: u64 = 1024 * 1024 * 1024;

/// A log that ends behind this is none that was ever written: offsets must not overflow with its next records.
const LAST_END: Offset = Offset(i64::MAX - (1 << 32));

/// The files of a folder, by what they are.
#[derive(Default)]
struct Listing {
    /// Base offsets, with the sizes of the files that exist.
    segments: BTreeMap<Offset, u64>,
    offset_indexes: BTreeMap<Offset, u64>,
    time_indexes: BTreeMap<Offset, u64>,
    transaction_indexes: BTreeMap<Offset, u64>,
    snapshots: BTreeSet<Offset>,
}

impl Log {
    /// Opens the log of a partition, which is made if its folder does not exist. Blocks.
    pub fn open(
        dir: &Arc<LogDir>,
        partition: &TopicPartition,
        topic_id: TopicId,
        config: Arc<LogConfig>,
        recovery: RecoveryState,
        now: TimestampMs,
    ) -> Result<Self, LogError> {
        let home = Home {
            dir: Arc::clone(dir),
            partition: partition.clone(),
            topic_id,
            is_future: false.into(),
            gate: Gate::default(),
            is_cleaned: Default::default(),
        };
        Self::open_home(home, config, recovery, now)
    }

    /// Opens the log in the folder that `home` says, or makes it.
    pub(crate) fn open_home(
        home: Home,
        config: Arc<LogConfig>,
        recovery: RecoveryState,
        now: TimestampMs,
    ) -> Result<Self, LogError> {
        home.dir.check()?;
        let folder = home.folder();
        let found = home.dir.files().entry(&folder).map_err(LogError::io(&folder))?;
        let start = recovery.positions.log_start_offset;
        let home = Arc::new(home);
        let mut log = Self {
            config,
            segments: Vec::new(),
            log_start_offset: start,
            log_end_offset: start,
            durable_end_offset: start,
            durable_position: None,
            is_settled: false,
            recovery_point: start,
            high_watermark: start,
            epochs: LeaderEpochs::default(),
            producers: ProducerState::default(),
            marks: None,
            rolling: false,
            generation: 0,
            swaps: 0,
            last_snapshot: None,
            home,
        };
        match found {
            Some(_) => log.open_folder(&recovery, now)?,
            None => {
                journal::recreate(&log.home)?;
                make::folder(&log.home)?;
                log.begin(start, now)?;
                // Most partitions that are made at once are not written to at once.
                log.active().files.close_all();
            }
        }
        Ok(log)
    }

    fn open_folder(&mut self, recovery: &RecoveryState, now: TimestampMs) -> Result<(), LogError> {
        let (home, folder) = (Arc::clone(&self.home), self.home.folder());
        let dir = &home.dir;
        if !is_of_topic(&home, &folder)? {
            make::name(&home)?;
            dir.sync_folder(&folder)?;
        }
        let listing = list(dir, &folder)?;
        self.load_epochs()?;
        self.segments = segments(&home, &listing, now)?;
        if self.segments.is_empty() {
            self.begin(self.log_start_offset, now)?;
        }
        self.miss_segments(&listing, recovery)?;
        self.remove_abandoned()?;
        self.load(recovery, &listing, now)
    }

    /// Makes the first segment of an empty log, whose folder is there.
    pub(crate) fn begin(&mut self, base_offset: Offset, now: TimestampMs) -> Result<(), LogError> {
        let files = SegmentFiles::new(&self.home, base_offset);
        make::begin(&self.home.dir, &self.home.folder(), &files)?;
        self.segments.push(Segment::empty(files, now));
        Ok(())
    }

    fn load(
        &mut self,
        recovery: &RecoveryState,
        listing: &Listing,
        now: TimestampMs,
    ) -> Result<(), LogError> {
        let positions = recovery.positions;
        let has_epochs = !self.epochs.entries().is_empty();
        // What ends before it did is looked into, whatever the mark says.
        let floor = match self.home.dir.book().floor(&self.home) {
            Some(Floor::Gap(what)) => return Err(LogError::corrupt(&self.home.folder(), what)),
            Some(Floor::End(end)) => end,
            None => positions.recovery_point,
        };
        let clean = recovery.clean && self.load_tail()? && self.log_end_offset >= positions.recovery_point;
        if clean {
            replay_producers(self, self.log_end_offset)?;
        } else {
            let floor = floor.max(positions.recovery_point);
            recovery::recover(self, positions.recovery_point, floor, now)?;
        }
        if !has_epochs && positions.recovery_point > self.segments[0].base_offset {
            self.restore_epochs()?;
        }
        let end = self.log_end_offset;
        if end < self.log_start_offset {
            // Records that were deleted on request came back shorter than they were: none of them may be seen.
            let start = self.log_start_offset;
            let old = std::mem::take(&mut self.segments);
            old.iter().try_for_each(|segment| segment.files.remove_all())?;
            self.producers.clear();
            self.epochs.clear();
            self.begin(start, now)?;
            self.log_end_offset = start;
        }
        if self.log_end_offset > LAST_END {
            let text = format!(
                "the log ends at offset {}: no more records fit behind it",
                self.log_end_offset
            );
            return Err(LogError::corrupt(&self.home.folder(), text));
        }
        self.log_start_offset = self.log_start_offset.max(self.segments[0].base_offset);
        self.epochs.truncate_start(self.log_start_offset);
        self.epochs.truncate_end(self.log_end_offset);
        self.remove_snapshots(&listing.snapshots)?;
        self.write_epochs()?;
        self.durable_end_offset = self.log_end_offset;
        self.durable_position = Some(self.active().size);
        self.recovery_point = self.log_end_offset;
        self.high_watermark = positions
            .high_watermark
            .clamp(self.log_start_offset, self.log_end_offset);
        self.producers.settle(self.high_watermark);
        self.home.dir.book().flushed(&self.home, self.recovery_point);
        Ok(())
    }

    /// Keeps the states of the producers that a segment begins with, and the newest.
    fn remove_snapshots(&self, found: &BTreeSet<Offset>) -> Result<(), LogError> {
        let newest = found.range(..=self.log_end_offset).next_back();
        for offset in found {
            if Some(offset) != newest && self.segment_at(*offset).is_none() {
                let path = self.home.folder().join(FileKind::Snapshot.name(*offset));
                self.home.dir.remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Before the recovery point rises over what the epochs were found from.
    fn write_epochs(&mut self) -> Result<(), LogError> {
        if !self.epochs.is_dirty() {
            return Ok(());
        }
        let entries = self.epochs.entries().to_vec();
        checkpoint::write_epochs(&**self.home.dir.files(), &self.epochs_path(), &entries)?;
        self.epochs.written(&entries);
        Ok(())
    }

    /// Removes empty segments that the log went on without: a roll that failed may have left one, and in it the offsets
    /// behind its base would be looked for.
    fn remove_abandoned(&mut self) -> Result<(), LogError> {
        let mut at = 1;
        while at < self.segments.len() {
            let abandoned = self.segments[at].size == 0
                && (at + 1 < self.segments.len()
                    || tail_end(&self.segments[at - 1])?
                        .is_some_and(|end| end > self.segments[at].base_offset));
            if abandoned {
                let segment = self.segments.remove(at);
                tracing::warn!(
                    path = %segment.files.path(FileKind::Log).display(),
                    "an empty segment that the log went on without is removed"
                );
                segment.files.remove_all()?;
            } else {
                at += 1;
            }
        }
        Ok(())
    }

    /// Finds the log end from the last index entry on. `false` if what is there does not fit.
    fn load_tail(&mut self) -> Result<bool, LogError> {
        let segment = self.segments.last_mut().expect("a log has a segment");
        if segment.indexes_lost {
            return Ok(false);
        }
        let files = Arc::clone(&segment.files);
        let view = segment.view(Offset(i64::MAX));
        let log = files.open(FileKind::Log)?;
        let (offsets, times) = (
            files.open(FileKind::OffsetIndex)?,
            files.open(FileKind::TimeIndex)?,
        );
        let source = |file| Source {
            file: Some(file),
            may_block: true,
        };
        let failed = |stop| stop_error(&files.path(FileKind::OffsetIndex), stop);
        let last = view.offsets.last(source(&*offsets)).map_err(failed)?;
        let time = view.times.last(source(&*times)).map_err(failed)?;
        if last.is_some_and(|entry| entry.position == 0 || entry.position >= view.size) {
            return Ok(false);
        }
        let (mut position, mut end) = (last.map_or(0, |entry| entry.position), view.base_offset);
        let indexed_from = position;
        loop {
            match view.header(source(&*log), position) {
                Ok(None) => break,
                Ok(Some(header)) if header.base_offset >= end => {
                    end = header.next_offset();
                    position += crate::segment::bytes_of(&header);
                }
                Ok(Some(_)) | Err(WalkError::Batch(..)) => return Ok(false),
                Err(error) => return Err(walk_error(&files, error)),
            }
        }
        // What the time index says goes into new entries and into the answers to questions for times.
        let in_segment = |entry: &TimeEntry| {
            entry.timestamp >= 0 && i64::from(entry.relative_offset) < end.0 - view.base_offset.0
        };
        if !time.as_ref().is_none_or(in_segment) {
            return Ok(false);
        }
        let first = view
            .header(source(&*log), 0)
            .map_err(|error| walk_error(&files, error))?;
        segment.first_timestamp = first.map(|header| header.max_timestamp);
        segment.largest = time.map(|entry| TimedOffset {
            timestamp: TimestampMs(entry.timestamp),
            offset: segment.base_offset.plus(i64::from(entry.relative_offset)),
        });
        segment.indexed_timestamp = TimestampMs(time.map_or(-1, |entry| entry.timestamp));
        segment.unindexed_bytes = segment.size - indexed_from;
        segment.checked = true;
        self.log_end_offset = end;
        Ok(true)
    }
}

/// Whether the folder says that it is of the topic. `false` if it says nothing, or nothing that can be read, and holds nothing
/// either: it was being made when a process ended. An error in all other cases.
fn is_of_topic(home: &Home, folder: &Path) -> Result<bool, LogError> {
    let not_ours = |what: String| LogError::NotOurs {
        path: folder.to_path_buf(),
        what,
    };
    let said = match dir::read_topic_id(&**home.dir.files(), folder) {
        Err(error @ LogError::Corrupt { .. }) => Err(error),
        said => Ok(said?),
    };
    match said {
        Ok(Some(id)) if id == home.topic_id => Ok(true),
        Ok(Some(id)) => Err(not_ours(format!(
            "the folder holds the topic with id {id}, not {}",
            home.topic_id
        ))),
        _ if make::is_only_begun(&home.dir, folder)? => Ok(false),
        Ok(None) => Err(not_ours(
            "there are files, but no partition.metadata that says of which topic: put it back, or move the folder away"
                .into(),
        )),
        Err(error) => Err(error),
    }
}

/// Lists the folder, and removes what an interrupted deletion, compaction or write left.
fn list(dir: &LogDir, folder: &Path) -> Result<Listing, LogError> {
    finish_swaps(dir, folder)?;
    missing::remove_rests(dir, folder)?;
    let mut listing = Listing::default();
    for entry in dir.files().read_dir(folder).map_err(LogError::io(folder))? {
        let path = folder.join(&entry.name);
        if [names::DELETED, ".tmp"]
            .iter()
            .any(|ending| entry.name.ends_with(ending))
        {
            dir.files().remove_file(&path).map_err(LogError::io(&path))?;
            continue;
        }
        match names::parse_file(&entry.name) {
            Some((FileKind::Log, offset)) => drop(listing.segments.insert(offset, entry.len)),
            Some((FileKind::OffsetIndex, offset)) => drop(listing.offset_indexes.insert(offset, entry.len)),
            Some((FileKind::TimeIndex, offset)) => drop(listing.time_indexes.insert(offset, entry.len)),
            Some((FileKind::Snapshot, offset)) => drop(listing.snapshots.insert(offset)),
            Some((FileKind::TransactionIndex, offset)) => {
                listing.transaction_indexes.insert(offset, entry.len);
            }
            None => {}
        }
    }
    Ok(listing)
}

fn segments(home: &Arc<Home>, listing: &Listing, now: TimestampMs) -> Result<Vec<Segment>, LogError> {
    let mut segments = Vec::with_capacity(listing.segments.len());
    for (base_offset, size) in &listing.segments {
        let files = SegmentFiles::new(home, *base_offset);
        let size = u32::try_from(*size)
            .ok()
            .filter(|size| i32::try_from(*size).is_ok());
        let size =
            size.ok_or_else(|| LogError::corrupt(&files.path(FileKind::Log), "a segment of 2 GiB or more"))?;
        let offsets = entries::<OffsetEntry>(&listing.offset_indexes, base_offset);
        let times = entries::<TimeEntry>(&listing.time_indexes, base_offset);
        let counts = (offsets.unwrap_or(0), times.unwrap_or(0));
        let mut segment = Segment::listed(files, size, counts, now);
        segment.indexes_lost = offsets.is_none() || times.is_none();
        segment.aborted = aborted(&listing.transaction_indexes, base_offset);
        segments.push(segment);
    }
    Ok(segments)
}

/// How many transactions were aborted in a segment, as the length of its file tells. What is cut at the end was not there when the
/// segment was sealed.
fn aborted(lengths: &BTreeMap<Offset, u64>, base_offset: &Offset) -> Option<Box<AbortedIndex>> {
    let entries = lengths.get(base_offset)? / transaction::ENTRY_BYTES as u64;
    let entries = u32::try_from(entries).unwrap_or(u32::MAX);
    (entries > 0).then(|| Box::new(AbortedIndex::of_file(entries)))
}

/// Where the batches of a sealed segment end; `None` if they cannot be read, which recovery deals with.
fn tail_end(segment: &Segment) -> Result<Option<Offset>, LogError> {
    let view = segment.view(Offset(i64::MAX));
    let (log, index) = (
        view.files.open(FileKind::Log)?,
        view.files.open(FileKind::OffsetIndex)?,
    );
    let source = |file| Source {
        file: Some(file),
        may_block: true,
    };
    let last = match view.offsets.last(source(&*index)) {
        Ok(entry) if !segment.indexes_lost => entry.filter(|entry| entry.position < view.size),
        _ => None,
    };
    let (mut position, mut end) = (last.map_or(0, |entry| entry.position), None);
    loop {
        match view.header(source(&*log), position) {
            Ok(None) => return Ok(end),
            Ok(Some(header)) => {
                end = Some(header.next_offset());
                position += crate::segment::bytes_of(&header);
            }
            Err(WalkError::Batch(..)) => return Ok(None),
            Err(error) => return Err(walk_error(view.files, error)),
        }
    }
}

/// How many entries an index file has; `None` if it is missing or cut.
fn entries<E: IndexEntry>(lengths: &BTreeMap<Offset, u64>, base_offset: &Offset) -> Option<u32> {
    let bytes = lengths.get(base_offset)?;
    (bytes % E::SIZE as u64 == 0).then(|| u32::try_from(bytes / E::SIZE as u64).ok())?
}

/// Makes the producers' state at `end`, from the newest usable snapshot and the batches behind it. Blocks.
pub(crate) fn replay_producers(log: &mut Log, end: Offset) -> Result<(), LogError> {
    log.producers.clear();
    log.last_snapshot = None;
    let (files, folder) = (Arc::clone(log.home.dir.files()), log.home.folder());
    let mut snapshots: Vec<Offset> = files
        .read_dir(&folder)
        .map_err(LogError::io(&folder))?
        .iter()
        .filter_map(|entry| names::parse_file(&entry.name))
        .filter(|(kind, offset)| *kind == FileKind::Snapshot && *offset <= end)
        .map(|(_, offset)| offset)
        .collect();
    let mut from = log.segments[0].base_offset;
    while let Some(offset) = snapshots.pop() {
        let path = folder.join(FileKind::Snapshot.name(offset));
        let bytes = files
            .read(&path, SNAPSHOT_LIMIT_BYTES)
            .map_err(LogError::io(&path))?;
        match snapshot::decode(&bytes) {
            Ok(state) => {
                (log.producers, log.last_snapshot) = (state, Some(offset));
                from = from.max(offset);
                break;
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a snapshot of the producers is of no use");
                files.remove_file(&path).map_err(LogError::io(&path))?;
            }
        }
    }
    replay(log, from, end)
}

fn replay(log: &mut Log, from: Offset, end: Offset) -> Result<(), LogError> {
    let mut at = log.segment_of(from);
    while at < log.segments.len() && from < end && log.segment(at).base_offset < end {
        let segment = log.segment(at);
        let path = segment.files.path(FileKind::Log);
        let file = segment.files.open(FileKind::Log)?;
        let mut reader = Chunks::new(u64::from(segment.size));
        let mut position = 0;
        while let Some(batch) = reader.batch(&*file, position).map_err(LogError::io(&path))? {
            let damaged = |error| LogError::corrupt(&path, format!("position {position}: {error}"));
            let bytes = batch.map_err(damaged)?;
            let header = klamm_records::BatchHeader::parse(bytes).map_err(damaged)?;
            if header.base_offset >= end {
                break;
            }
            if header.base_offset >= from {
                // The index of aborted transactions has its entries already.
                let _ = log.producers.take_in(&header, &bytes[HEADER_BYTES..]);
            }
            position += bytes.len() as u64;
        }
        at += 1;
    }
    Ok(())
}
