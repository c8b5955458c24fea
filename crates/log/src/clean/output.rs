//! The segment that takes the place of others, while it is written: files named `.cleaned`, which count for nothing.
//!
//! Always holds: the files are found by their names inside the gate only, and written by their handles elsewhere; when
//! [`Output::finish`] returns, their contents are on the device.
//!
//! Next: `swap.rs`, which gives them their place.

use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;

use klamm_env::{File, OpenMode};
use klamm_model::{Offset, TimestampMs};
use klamm_records::BatchHeader;

use crate::error::LogError;
use crate::home::Home;
use crate::index::transaction::AbortedTransaction;
use crate::names::{CLEANED, FileKind};
use crate::segment::{Segment, SegmentFiles};

/// The files of a segment, apart from the snapshot, in the order in which they are renamed.
pub(super) const KINDS: [FileKind; 4] = [
    FileKind::Log,
    FileKind::OffsetIndex,
    FileKind::TimeIndex,
    FileKind::TransactionIndex,
];

/// Bytes that are brought to the device at once: a segment at once would have the syncs of those who append wait.
const SYNC_BYTES: u64 = 16 * 1024 * 1024;

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Output {
    home: Arc<Home>,
    /// Its files have the names that it will have.
    pub(super) segment: Segment,
    /// By [`KINDS`].
    files: [Arc<dyn File>; 4],
    /// Bytes for the end of the `.log`.
    pub(super) buffer: Vec<u8>,
    buffer_bytes: usize,
    written: u64,
    synced: u64,
    /// How many transactions were aborted here.
    pub(super) aborted_count: u32,
}

/// The path of one of the files under an ending of its own.
pub(super) fn path(home: &Home, kind: FileKind, base_offset: Offset, ending: &str) -> PathBuf {
    home.folder().join(kind.name(base_offset) + ending)
}

impl Output {
    /// Makes the files. What has their names is the rest of an attempt that was given up. Enters the gate.
    pub(super) fn begin(
        home: &Arc<Home>,
        base_offset: Offset,
        buffer_bytes: usize,
        now: TimestampMs,
    ) -> Result<Self, LogError> {
        let _inside = home.gate.enter()?;
        remove_cleaned(home, base_offset)?;
        let create = |kind| {
            let path = path(home, kind, base_offset, CLEANED);
            let made = home.dir.files().open(&path, OpenMode::CreateNew);
            made.map_err(LogError::io(&path))
        };
        let [log, offsets, times, aborted] = KINDS;
        Ok(Self {
            segment: Segment::empty(SegmentFiles::new(home, base_offset), now),
            files: [create(log)?, create(offsets)?, create(times)?, create(aborted)?],
            buffer: Vec::new(),
            buffer_bytes,
            written: 0,
            synced: 0,
            aborted_count: 0,
            home: Arc::clone(home),
        })
    }

    /// Where the next batch begins.
    pub(super) fn size(&self) -> u32 {
        self.segment.size
    }

    /// A batch was put at the end of the buffer. Writes what has gathered; returns how many bytes that were.
    pub(super) fn note(&mut self, header: &BatchHeader, index_interval_bytes: u32) -> Result<u64, LogError> {
        self.segment.note(header, index_interval_bytes);
        if self.buffer.len() < self.buffer_bytes {
            return Ok(0);
        }
        if self.segment.offsets.has_a_lot() || self.segment.times.has_a_lot() {
            self.write_indexes(false)?;
        }
        self.write_buffer()
    }

    fn io(&self, at: usize) -> impl FnOnce(std::io::Error) -> LogError {
        let path = path(&self.home, KINDS[at], self.segment.base_offset, CLEANED);
        move |error| LogError::io(&path)(error)
    }

    fn write_buffer(&mut self) -> Result<u64, LogError> {
        let count = self.buffer.len() as u64;
        self.files[0]
            .write_at(&[IoSlice::new(&self.buffer)], self.written)
            .map_err(self.io(0))?;
        self.written += count;
        if self.written - self.synced >= SYNC_BYTES {
            self.sync(0)?;
            self.synced = self.written;
        }
        self.buffer.clear();
        // A large batch may have made it larger.
        self.buffer.shrink_to(2 * self.buffer_bytes);
        Ok(count)
    }

    fn write_indexes(&mut self, shrink: bool) -> Result<(), LogError> {
        let (offsets, times) = (Arc::clone(&self.files[1]), Arc::clone(&self.files[2]));
        self.segment
            .offsets
            .write_out(&*offsets, shrink)
            .map_err(self.io(1))?;
        self.segment.times.write_out(&*times, shrink).map_err(self.io(2))
    }

    /// Nothing more comes: brings everything to the device. A sync that failed takes the log dir out of service.
    pub(super) fn finish(&mut self, aborted: &[AbortedTransaction]) -> Result<u64, LogError> {
        let written = self.write_buffer()?;
        self.buffer = Vec::new();
        self.segment.index_time();
        self.write_indexes(true)?;
        let entries: Vec<u8> = aborted.iter().flat_map(AbortedTransaction::to_bytes).collect();
        if !entries.is_empty() {
            self.files[3]
                .write_at(&[IoSlice::new(&entries)], 0)
                .map_err(self.io(3))?;
        }
        self.aborted_count = u32::try_from(aborted.len()).expect("they have markers in one segment");
        (0..KINDS.len()).try_for_each(|at| self.sync(at))?;
        Ok(written)
    }

    fn sync(&self, at: usize) -> Result<(), LogError> {
        let synced = self.files[at].sync_data().map_err(self.io(at));
        synced.inspect_err(|error| self.home.dir.fail(error))
    }

    /// Removes the files: what they hold is not wanted.
    pub(super) fn abandon(self) -> Result<(), LogError> {
        let Self { home, segment, .. } = self;
        let _inside = match home.gate.enter() {
            Ok(inside) => inside,
            // They went with the partition.
            Err(LogError::Retired) => return Ok(()),
            Err(error) => return Err(error),
        };
        remove_cleaned(&home, segment.base_offset)
    }
}

/// Removes the files that an attempt left. The caller is inside the gate.
fn remove_cleaned(home: &Home, base_offset: Offset) -> Result<(), LogError> {
    KINDS
        .into_iter()
        .try_for_each(|kind| home.dir.remove_file(&path(home, kind, base_offset, CLEANED)))
}
