//! Which transactions were aborted: what a reader of committed records must leave out.
//!
//! Always holds: the aborted transactions of a segment are those whose marker stands in it, in the order of the markers: first
//! those in its `.txnindex` file, then those in memory. What is in the file beyond their count is the rest of a failed write and is
//! written over. The file is whole and on the device before the segment is sealed; the one of the active segment is made anew
//! after a crash, like its other indexes.
//!
//! A transaction that has records in a range may have its marker in a later segment. An entry says where the stable offset was
//! when it was made: one that was at the end of the range or above it is the last that matters.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::Arc;

use klamm_env::{File, OpenMode};
use klamm_model::Offset;

use crate::error::{LogError, NotReady};
use crate::gate::home_of;
use crate::index::transaction::{AbortedTransaction, ENTRY_BYTES};
use crate::log::Log;
use crate::names::FileKind;
use crate::prepare::LogCell;
use crate::segment::{Segment, SegmentFiles};

/// Entries that are kept in memory before they are written out.
const LOT: usize = 4096;
/// Entries that are read at once.
const READ_AT_ONCE: usize = 512;

/// The index of one segment.
#[derive(Debug, Default)]
pub(crate) struct AbortedIndex {
    written: u32,
    /// The last marker of those in the file; `None` until somebody has looked.
    written_up_to: Option<Offset>,
    pending: Vec<AbortedTransaction>,
}

impl AbortedIndex {
    /// What the file of a sealed segment holds.
    pub(crate) fn of_file(written: u32) -> Self {
        Self {
            written,
            ..Self::default()
        }
    }

    fn wrote(&mut self, count: usize) {
        if let Some(last) = count.checked_sub(1).and_then(|at| self.pending.get(at)) {
            self.written_up_to = Some(last.last_offset);
        }
        self.pending.drain(..count);
        if self.pending.is_empty() {
            // A sealed segment gets no more.
            self.pending = Vec::new();
        }
        self.written += u32::try_from(count).expect("as many as were kept in memory");
    }

    fn is_in_file_from(&self, offset: Offset) -> bool {
        self.written > 0 && self.written_up_to.is_none_or(|last| last >= offset)
    }
}

impl Segment {
    /// A transaction was aborted by a marker that stands at the end of the segment.
    pub(crate) fn note_aborted(&mut self, aborted: AbortedTransaction) {
        self.aborted.get_or_insert_default().pending.push(aborted);
    }

    /// Whether many are only in memory.
    pub(crate) fn has_many_aborted(&self) -> bool {
        self.aborted
            .as_ref()
            .is_some_and(|index| index.pending.len() >= LOT)
    }

    /// Writes what is in memory to the file. Blocks.
    pub(crate) fn write_aborted(&mut self) -> Result<(), LogError> {
        if let Some(index) = &mut self.aborted {
            self.files.write_aborted(index.written, &index.pending)?;
            index.wrote(index.pending.len());
        }
        Ok(())
    }

    /// Keeps the transactions that ended below `end`. Blocks.
    pub(crate) fn truncate_aborted(&mut self, end: Offset) -> Result<(), LogError> {
        let Some(index) = &mut self.aborted else {
            return Ok(());
        };
        index.written = self.files.truncate_aborted(index.written, end)?;
        index.written_up_to = None;
        index.pending.retain(|entry| entry.last_offset < end);
        if index.written == 0 && index.pending.is_empty() {
            self.aborted = None;
        }
        Ok(())
    }
}

/// Writes what is in memory of a segment's index to its file, without holding the log meanwhile. The caller is inside the gate.
/// Blocks.
pub(crate) fn write_out(cell: &impl LogCell, base_offset: Offset) -> Result<(), LogError> {
    let plan = cell.with(|log| {
        let segment = log.segment(log.segment_at(base_offset)?);
        let index = segment.aborted.as_ref()?;
        let pending = index.pending.clone();
        (!pending.is_empty()).then(|| (segment.files.clone(), index.written, pending))
    });
    let Some((files, written, pending)) = plan else {
        return Ok(());
    };
    files.write_aborted(written, &pending)?;
    cell.with(|log| {
        let at = log.segment_at(base_offset);
        if let Some(index) = at.and_then(|at| log.segments[at].aborted.as_mut()) {
            index.wrote(pending.len());
        }
    });
    Ok(())
}

impl SegmentFiles {
    /// Writes entries behind those that the file has. Blocks.
    fn write_aborted(&self, written: u32, entries: &[AbortedTransaction]) -> Result<(), LogError> {
        if entries.is_empty() {
            return Ok(());
        }
        let bytes: Vec<u8> = entries.iter().flat_map(AbortedTransaction::to_bytes).collect();
        let end = u64::from(written) * ENTRY_BYTES as u64;
        let path = self.path(FileKind::TransactionIndex);
        let write = || {
            let file = self.dir().files().open(&path, OpenMode::Create)?;
            file.set_len(end)?;
            file.write_at(&[IoSlice::new(&bytes)], end)?;
            Ok(file)
        };
        let file: Arc<dyn File> = write().map_err(LogError::io(&path))?;
        self.sync_aborted(&*file)
    }

    /// A sync that failed takes the log dir out of service, as that of any file.
    fn sync_aborted(&self, file: &dyn File) -> Result<(), LogError> {
        file.sync_data()
            .map_err(LogError::io(&self.path(FileKind::TransactionIndex)))
            .inspect_err(|error| self.dir().fail(error))
    }

    /// Cuts the file where the markers at `end` and above begin; returns how many entries are left. Blocks.
    fn truncate_aborted(&self, written: u32, end: Offset) -> Result<u32, LogError> {
        if written == 0 {
            return Ok(0);
        }
        let file = self.open_aborted(OpenMode::Write)?;
        let left = file.first_from(written, end)?;
        let bytes = u64::from(left) * ENTRY_BYTES as u64;
        let path = self.path(FileKind::TransactionIndex);
        file.file.set_len(bytes).map_err(LogError::io(&path))?;
        self.sync_aborted(&*file.file)?;
        Ok(left)
    }

    fn open_aborted(&self, mode: OpenMode) -> Result<AbortedFile<'_>, LogError> {
        let path = self.path(FileKind::TransactionIndex);
        let file = self
            .dir()
            .files()
            .open(&path, mode)
            .map_err(LogError::io(&path))?;
        Ok(AbortedFile { files: self, file })
    }
}

/// An open `.txnindex` file.
struct AbortedFile<'a> {
    files: &'a SegmentFiles,
    file: Arc<dyn File>,
}

impl AbortedFile<'_> {
    /// The entries from `first` on, at most [`READ_AT_ONCE`] and none at `count` or behind. Blocks.
    fn read(&self, first: u32, count: u32) -> Result<Vec<AbortedTransaction>, LogError> {
        let path = self.files.path(FileKind::TransactionIndex);
        let entries = usize::try_from(count.saturating_sub(first)).unwrap_or(READ_AT_ONCE);
        let mut bytes = vec![0; entries.min(READ_AT_ONCE) * ENTRY_BYTES];
        let position = u64::from(first) * ENTRY_BYTES as u64;
        self.file
            .read_exact_at(&mut bytes, position)
            .map_err(LogError::io(&path))?;
        let entries = bytes.chunks_exact(ENTRY_BYTES).map(AbortedTransaction::parse);
        entries
            .collect::<Option<_>>()
            .ok_or_else(|| LogError::corrupt(&path, "an entry cannot be read"))
    }

    fn at(&self, place: u32) -> Result<AbortedTransaction, LogError> {
        let found = self.read(place, place + 1)?;
        found.first().copied().ok_or_else(|| {
            let path = self.files.path(FileKind::TransactionIndex);
            LogError::io(&path)(io::ErrorKind::UnexpectedEof.into())
        })
    }

    /// The place of the first of `count` entries whose marker stands at `offset` or above. Blocks.
    fn first_from(&self, count: u32, offset: Offset) -> Result<u32, LogError> {
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.at(middle)?.last_offset < offset {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// Adds those of `count` entries that overlap the range; returns whether later segments have no more. Blocks.
    fn search(&self, count: u32, lookup: &mut Lookup) -> Result<(), LogError> {
        let mut at = self.first_from(count, lookup.range.start)?;
        while at < count && !lookup.is_over {
            let entries = self.read(at, count)?;
            at += u32::try_from(entries.len()).expect("at most as many as are read at once");
            lookup.take(&entries);
        }
        Ok(())
    }
}

/// A search under way.
struct Lookup {
    range: Range<Offset>,
    found: Vec<AbortedTransaction>,
    is_over: bool,
}

impl Lookup {
    fn take(&mut self, entries: &[AbortedTransaction]) {
        for entry in entries {
            if entry.last_offset >= self.range.start && entry.first_offset < self.range.end {
                self.found.push(*entry);
            }
            if entry.last_stable_offset >= self.range.end {
                self.is_over = true;
                return;
            }
        }
    }
}

impl Log {
    /// The aborted transactions that have records in `range`, or their marker, in the order of the markers; perhaps with some
    /// whose marker stands behind it. Does not wait for the device: where that is needed, the answer is [`NotReady`], and
    /// [`aborted_transactions`] does the same on another thread.
    pub fn aborted_transactions(&self, range: Range<Offset>) -> Result<Vec<AbortedTransaction>, NotReady> {
        let first = self.segment_of(range.start);
        let mut lookup = Lookup {
            range,
            found: Vec::new(),
            is_over: false,
        };
        for segment in &self.segments[first..] {
            let Some(index) = &segment.aborted else { continue };
            if index.is_in_file_from(lookup.range.start) {
                return Err(NotReady::Segment(segment.base_offset));
            }
            lookup.take(&index.pending);
            if lookup.is_over {
                break;
            }
        }
        Ok(lookup.found)
    }

    /// The first segment behind `after` that has aborted transactions, or from the one of `start` on: its files, how many entries
    /// its file has, and the others.
    fn next_aborted(&self, after: Option<Offset>, start: Offset) -> Option<IndexView> {
        let first = match after {
            Some(after) => self.segment_after(after)?,
            None => self.segment_of(start),
        };
        self.segments[first..].iter().find_map(|segment| {
            let index = segment.aborted.as_ref()?;
            Some(IndexView {
                files: segment.files.clone(),
                written: if index.is_in_file_from(start) {
                    index.written
                } else {
                    0
                },
                pending: index.pending.clone(),
            })
        })
    }
}

/// A segment's index as it was at one moment.
struct IndexView {
    files: Arc<SegmentFiles>,
    written: u32,
    pending: Vec<AbortedTransaction>,
}

/// [`Log::aborted_transactions`], waiting for the device where needed, without holding the log meanwhile. `None` when the log has
/// lost the start or the end of the range since it was read, and with it what was known of its transactions. Blocks.
pub fn aborted_transactions(
    cell: &impl LogCell,
    range: Range<Offset>,
) -> Result<Option<Vec<AbortedTransaction>>, LogError> {
    let home = home_of(cell);
    // Segments go within the gate only: what is there now stays until this returns.
    let _inside = home.gate.enter()?;
    let start = range.start;
    let is_whole = |log: &mut Log| log.segments[0].base_offset <= start && range.end <= log.log_end_offset();
    if !cell.with(is_whole) {
        return Ok(None);
    }
    let mut lookup = Lookup {
        range,
        found: Vec::new(),
        is_over: false,
    };
    let mut after = None;
    while !lookup.is_over {
        let next = cell.with(|log| log.check_dir().map(|()| log.next_aborted(after, start)))?;
        let Some(view) = next else { break };
        let base_offset = view.files.base_offset();
        if let Some(last) = view.written.checked_sub(1) {
            let file = view.files.open_aborted(OpenMode::Read)?;
            file.search(view.written, &mut lookup)?;
            let last = file.at(last)?.last_offset;
            // The next reader at the end of the log need not ask the device.
            cell.with(|log| {
                let at = log.segment_at(base_offset);
                if let Some(index) = at.and_then(|at| log.segments[at].aborted.as_mut()) {
                    index.written_up_to = Some(last);
                }
            });
        }
        if !lookup.is_over {
            lookup.take(&view.pending);
        }
        after = Some(base_offset);
    }
    Ok(Some(lookup.found))
}

#[cfg(test)]
mod tests;
