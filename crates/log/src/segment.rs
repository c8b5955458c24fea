//! One segment: a `.log` file of batches in order, with its indexes.
//!
//! Always holds: `size` bytes of the file are whole batches with growing offsets from `base_offset` on; what the file has
//! beyond them is the rest of a failed write and is written over. Only the last segment of a log grows.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use klamm_env::{File, OpenMode};
use klamm_model::{Offset, TimestampMs};
use klamm_records::{BatchError, BatchHeader, HEADER_BYTES};

use crate::aborted::AbortedIndex;
use crate::dir::LogDir;
use crate::error::LogError;
use crate::handles::Slot;
use crate::home::Home;
use crate::index::{IndexEntry, OffsetEntry, Source, Stop, Table, TableView, TimeEntry};
use crate::names::FileKind;
use crate::trust::Trust;

/// A timestamp and the last offset of the batch that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimedOffset {
    pub(crate) timestamp: TimestampMs,
    pub(crate) offset: Offset,
}

/// The files of a segment, opened when needed.
#[derive(Debug)]
pub(crate) struct SegmentFiles {
    home: Arc<Home>,
    base_offset: Offset,
    /// The names are not its own any more: they are gone, or another segment's.
    is_superseded: AtomicBool,
    log: Slot,
    offset_index: Slot,
    time_index: Slot,
    trust: Trust,
}

impl SegmentFiles {
    pub(crate) fn new(home: &Arc<Home>, base_offset: Offset) -> Arc<Self> {
        Arc::new(Self {
            home: Arc::clone(home),
            base_offset,
            is_superseded: AtomicBool::new(false),
            log: Slot::default(),
            offset_index: Slot::default(),
            time_index: Slot::default(),
            trust: Trust::default(),
        })
    }

    /// Which of its bytes may be sent as they are in memory.
    pub(crate) fn trust(&self) -> &Trust {
        &self.trust
    }

    pub(crate) fn base_offset(&self) -> Offset {
        self.base_offset
    }

    pub(crate) fn dir(&self) -> &LogDir {
        &self.home.dir
    }

    pub(crate) fn path(&self, kind: FileKind) -> PathBuf {
        self.home.folder().join(kind.name(self.base_offset))
    }

    /// The segment is not part of the log any more: nobody looks for its files by their names. What is open stays open.
    pub(crate) fn supersede(&self) {
        self.is_superseded.store(true, Ordering::Release);
    }

    fn slot(&self, kind: FileKind) -> &Slot {
        match kind {
            FileKind::Log => &self.log,
            FileKind::OffsetIndex => &self.offset_index,
            FileKind::TimeIndex => &self.time_index,
            FileKind::TransactionIndex | FileKind::Snapshot => unreachable!("never kept open"),
        }
    }

    /// The file, if it is open.
    pub(crate) fn get(&self, kind: FileKind) -> Option<Arc<dyn File>> {
        self.slot(kind).get()
    }

    /// The file, opened if it is not; an index is made if it does not exist. The caller is inside the gate. Blocks.
    pub(crate) fn open(&self, kind: FileKind) -> Result<Arc<dyn File>, LogError> {
        if let Some(file) = self.get(kind) {
            return Ok(file);
        }
        if self.is_superseded.load(Ordering::Acquire) {
            return Err(LogError::Superseded);
        }
        let mode = if kind == FileKind::Log {
            OpenMode::Write
        } else {
            OpenMode::Create
        };
        let path = self.path(kind);
        self.slot(kind)
            .open(self.home.dir.handles(), &**self.home.dir.files(), &path, mode)
            .map_err(LogError::io(&path))
    }

    /// As [`SegmentFiles::open`], for who is outside the gate.
    pub(crate) fn open_through(&self, kind: FileKind) -> Result<Arc<dyn File>, LogError> {
        if let Some(file) = self.get(kind) {
            return Ok(file);
        }
        let _inside = self.home.gate.enter()?;
        self.open(kind)
    }

    /// Lets the files go, as the cache does with those that nobody used for a while.
    pub(crate) fn close_all(&self) {
        for slot in [&self.log, &self.offset_index, &self.time_index] {
            slot.close(self.home.dir.handles());
        }
    }

    /// Makes the file, and keeps a `.log` open. What may be there is the rest of an attempt that failed. Blocks.
    pub(crate) fn create(&self, kind: FileKind) -> Result<(), LogError> {
        let path = self.path(kind);
        self.remove(kind)?;
        let file = self
            .home
            .dir
            .files()
            .open(&path, OpenMode::CreateNew)
            .map_err(LogError::io(&path))?;
        // An index is written to when it has a lot, which most never have.
        if kind == FileKind::Log {
            self.slot(kind).put(self.home.dir.handles(), &file);
        }
        Ok(())
    }

    /// Removes the file of aborted transactions: it is about to be made anew. Blocks.
    pub(crate) fn forget_aborted(&self) -> Result<(), LogError> {
        self.remove(FileKind::TransactionIndex)
    }

    /// Removes one of the files, if it exists. Blocks.
    pub(crate) fn remove(&self, kind: FileKind) -> Result<(), LogError> {
        self.home.dir.remove_file(&self.path(kind))
    }

    /// Removes all files of the segment, and the producers' state at its start. Blocks.
    pub(crate) fn remove_all(&self) -> Result<(), LogError> {
        self.supersede();
        FileKind::ALL.into_iter().try_for_each(|kind| self.remove(kind))
    }
}

impl Drop for SegmentFiles {
    fn drop(&mut self) {
        self.close_all();
    }
}

/// A segment of a log.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) files: Arc<SegmentFiles>,
    pub(crate) base_offset: Offset,
    pub(crate) size: u32,
    pub(crate) offsets: Table<OffsetEntry>,
    pub(crate) times: Table<TimeEntry>,
    /// Whether the index files were found to fit the segment, since the log was opened.
    pub(crate) checked: bool,
    /// Whether an index file is missing or cut, so that both are made anew when they are needed.
    pub(crate) indexes_lost: bool,
    /// The record with the largest timestamp; `None` when that is not known yet, or no record has one.
    pub(crate) largest: Option<TimedOffset>,
    /// The timestamp of the first batch, from which the age of the segment counts.
    pub(crate) first_timestamp: Option<TimestampMs>,
    /// When the segment was begun, or the log opened.
    pub(crate) created: TimestampMs,
    /// Bytes since the last index entry.
    pub(crate) unindexed_bytes: u32,
    /// Transactions that were aborted here; `None` if there are none.
    pub(crate) aborted: Option<Box<AbortedIndex>>,
    /// The timestamp of the last entry of the time index.
    pub(crate) indexed_timestamp: TimestampMs,
    /// Keeps the file open while it holds bytes that are not synced: another handle might not learn of a failed write.
    pub(crate) unsynced: Option<Arc<dyn File>>,
}

impl Segment {
    /// A segment without batches.
    pub(crate) fn empty(files: Arc<SegmentFiles>, now: TimestampMs) -> Self {
        Self {
            base_offset: files.base_offset,
            files,
            size: 0,
            offsets: Table::of_file(0),
            times: Table::of_file(0),
            checked: true,
            indexes_lost: false,
            largest: None,
            first_timestamp: None,
            created: now,
            unindexed_bytes: 0,
            aborted: None,
            indexed_timestamp: TimestampMs(-1),
            unsynced: None,
        }
    }

    /// A segment as found on disk, not looked into yet.
    pub(crate) fn listed(files: Arc<SegmentFiles>, size: u32, entries: (u32, u32), now: TimestampMs) -> Self {
        files.trust().found(size);
        Self {
            size,
            offsets: Table::of_file(entries.0),
            times: Table::of_file(entries.1),
            checked: false,
            ..Self::empty(files, now)
        }
    }

    /// The offset less the base offset, if the segment can hold it.
    pub(crate) fn relative(&self, offset: Offset) -> Option<u32> {
        let relative = offset.0.checked_sub(self.base_offset.0)?;
        u32::try_from(relative)
            .ok()
            .filter(|relative| *relative <= i32::MAX as u32)
    }

    /// Notes a batch that was written at `size`: the indexes and sums follow it.
    pub(crate) fn note(&mut self, header: &BatchHeader, index_interval_bytes: u32) {
        let position = self.size;
        let bytes = u32::try_from(header.size_in_bytes()).expect("a batch is smaller than a segment");
        let last = TimedOffset {
            timestamp: header.max_timestamp,
            offset: header.last_offset(),
        };
        let so_far = self.largest.map_or(TimestampMs(-1), |largest| largest.timestamp);
        // What compaction left without records has no record of that time.
        if last.timestamp > so_far && header.record_count != 0 {
            self.largest = Some(last);
        }
        self.first_timestamp.get_or_insert(header.max_timestamp);
        if self.unindexed_bytes > index_interval_bytes {
            let relative_offset = self.relative(last.offset).expect("the segment was rolled before");
            self.offsets.push(OffsetEntry {
                relative_offset,
                position,
            });
            self.index_time();
            self.unindexed_bytes = 0;
        }
        self.unindexed_bytes = self.unindexed_bytes.saturating_add(bytes);
        self.size += bytes;
    }

    /// Adds the largest timestamp so far to the time index, if it is news.
    pub(crate) fn index_time(&mut self) {
        let Some(largest) = self
            .largest
            .filter(|largest| largest.timestamp > self.indexed_timestamp)
        else {
            return;
        };
        self.times.push(TimeEntry {
            timestamp: largest.timestamp.0,
            relative_offset: self.relative(largest.offset).expect("an offset of this segment"),
        });
        self.indexed_timestamp = largest.timestamp;
    }

    /// Bytes of its indexes: of offsets, of times.
    pub(crate) fn index_bytes(&self) -> (u64, u64) {
        let bytes = |count: usize, size: usize| count as u64 * size as u64;
        (
            bytes(self.offsets.len(), OffsetEntry::SIZE),
            bytes(self.times.len(), TimeEntry::SIZE),
        )
    }

    /// Whether an index has as many entries as `segment.index.bytes` allows.
    pub(crate) fn index_is_full(&self, segment_index_bytes: u32) -> bool {
        let bytes = segment_index_bytes as usize;
        self.offsets.len() >= bytes / OffsetEntry::SIZE || self.times.len() + 1 >= bytes / TimeEntry::SIZE
    }

    /// Writes the newest index entries to their files, which must be open unless `may_open`. `false` if they are not.
    pub(crate) fn write_indexes(&mut self, may_open: bool, shrink: bool) -> Result<bool, LogError> {
        if self.offsets.pending().is_empty() && self.times.pending().is_empty() && !shrink {
            return Ok(true);
        }
        let (Some(offsets), Some(times)) = (
            self.index_file(FileKind::OffsetIndex, may_open)?,
            self.index_file(FileKind::TimeIndex, may_open)?,
        ) else {
            return Ok(false);
        };
        let path = |kind| self.files.path(kind);
        self.offsets
            .write_out(&*offsets, shrink)
            .map_err(|e| LogError::io(&path(FileKind::OffsetIndex))(e))?;
        self.times
            .write_out(&*times, shrink)
            .map_err(|e| LogError::io(&path(FileKind::TimeIndex))(e))?;
        Ok(true)
    }

    fn index_file(&self, kind: FileKind, may_open: bool) -> Result<Option<Arc<dyn File>>, LogError> {
        if may_open {
            self.files.open(kind).map(Some)
        } else {
            Ok(self.files.get(kind))
        }
    }

    /// What reading needs of the segment, whose next segment begins at `end_offset`.
    pub(crate) fn view(&self, end_offset: Offset) -> SegmentView<'_> {
        SegmentView {
            files: &self.files,
            base_offset: self.base_offset,
            end_offset,
            size: self.size,
            offsets: self.offsets.view(),
            times: self.times.view(),
        }
    }
}

/// What reading needs of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SegmentView<'a> {
    pub(crate) files: &'a Arc<SegmentFiles>,
    pub(crate) base_offset: Offset,
    /// The base offset of the next segment, or the log end.
    pub(crate) end_offset: Offset,
    pub(crate) size: u32,
    pub(crate) offsets: TableView<'a, OffsetEntry>,
    pub(crate) times: TableView<'a, TimeEntry>,
}

/// The same, to be taken away from the log.
#[derive(Debug)]
pub(crate) struct OwnedView {
    files: Arc<SegmentFiles>,
    base_offset: Offset,
    end_offset: Offset,
    size: u32,
    offsets: (u32, Vec<OffsetEntry>),
    times: (u32, Vec<TimeEntry>),
}

impl OwnedView {
    pub(crate) fn view(&self) -> SegmentView<'_> {
        SegmentView {
            files: &self.files,
            base_offset: self.base_offset,
            end_offset: self.end_offset,
            size: self.size,
            offsets: TableView {
                written: self.offsets.0,
                pending: &self.offsets.1,
            },
            times: TableView {
                written: self.times.0,
                pending: &self.times.1,
            },
        }
    }
}

/// Why a walk over a segment ended early.
#[derive(Debug)]
pub(crate) enum WalkError {
    Stop(Stop),
    /// At this position stands no batch.
    Batch(u32, BatchError),
}

impl From<Stop> for WalkError {
    fn from(stop: Stop) -> Self {
        WalkError::Stop(stop)
    }
}

impl SegmentView<'_> {
    pub(crate) fn to_owned(self) -> OwnedView {
        OwnedView {
            files: Arc::clone(self.files),
            base_offset: self.base_offset,
            end_offset: self.end_offset,
            size: self.size,
            offsets: (self.offsets.written, self.offsets.pending.to_vec()),
            times: (self.times.written, self.times.pending.to_vec()),
        }
    }

    /// The header of the batch at `position`; `None` at the end.
    pub(crate) fn header(&self, log: Source<'_>, position: u32) -> Result<Option<BatchHeader>, WalkError> {
        if position >= self.size {
            return Ok(None);
        }
        let room = (self.size - position) as usize;
        let mut bytes = [0; HEADER_BYTES];
        let bytes = &mut bytes[..room.min(HEADER_BYTES)];
        log.read_exact(bytes, u64::from(position))?;
        let header = BatchHeader::parse(bytes).map_err(|error| WalkError::Batch(position, error))?;
        if header.size_in_bytes() > room {
            let error = BatchError::Incomplete {
                need: header.size_in_bytes(),
                have: room,
            };
            return Err(WalkError::Batch(position, error));
        }
        // A walk goes by what the headers say: none may lead back, or out of what the indexes can name.
        let begins = header.base_offset.0.checked_sub(self.base_offset.0);
        let ends = begins.and_then(|at| at.checked_add(i64::from(header.last_offset_delta)));
        let reach = 0..=i64::from(i32::MAX);
        if header.last_offset_delta < 0 || !ends.is_some_and(|at| reach.contains(&at)) {
            let count = header.last_offset_delta.saturating_add(1);
            return Err(WalkError::Batch(position, BatchError::RecordCount(count)));
        }
        Ok(Some(header))
    }

    /// Where the first batch begins whose last offset is `offset` or later; `size` if there is none.
    pub(crate) fn locate(
        &self,
        log: Source<'_>,
        index: Source<'_>,
        offset: Offset,
    ) -> Result<u32, WalkError> {
        if offset <= self.base_offset {
            return Ok(0);
        }
        if offset >= self.end_offset {
            return Ok(self.size);
        }
        let relative = offset.0 - self.base_offset.0;
        let (_, entry) = self
            .offsets
            .floor(index, |entry| i64::from(entry.relative_offset) <= relative)?;
        let mut position = entry.map_or(0, |entry| entry.position);
        while let Some(header) = self.header(log, position)? {
            if header.last_offset() >= offset {
                break;
            }
            position += bytes_of(&header);
        }
        Ok(position)
    }
}

/// Bytes of a batch that lies in a segment.
pub(crate) fn bytes_of(header: &BatchHeader) -> u32 {
    u32::try_from(header.size_in_bytes()).unwrap_or(u32::MAX)
}

/// The error of a stop where blocking was allowed.
pub(crate) fn stop_error(path: &Path, stop: Stop) -> LogError {
    let source = match stop {
        Stop::Io(source) => source,
        Stop::NotResident => io::ErrorKind::WouldBlock.into(),
    };
    LogError::Io {
        path: path.to_path_buf(),
        source,
    }
}
