//! Making what was appended survive a power cut: tickets for the syncs, and the flush that checkpoints rest on.
//!
//! Always holds: `durable_end_offset` rises only after every lower offset is on the device, in its segment or in the
//! [journal](crate::journal); `recovery_point` only after it is in its segment, and the leader epochs below it on the device as well;
//! a segment keeps its file open until it was synced. A sync that failed takes the log dir out of service and is never
//! tried again. The indexes of a segment are synced when it is sealed.

use std::sync::Arc;

use klamm_env::File;
use klamm_model::{LeaderEpoch, Offset};

use crate::aborted;
use crate::checkpoint;
use crate::dir::LogDir;
use crate::error::LogError;
use crate::gate::home_of;
use crate::home::Home;
use crate::log::Log;
use crate::names::FileKind;
use crate::prepare::LogCell;
use crate::producers::snapshot;
use crate::segment::SegmentFiles;

/// A file to be synced.
#[derive(Debug)]
enum ToSync {
    Open(Arc<dyn File>),
    Closed(Arc<SegmentFiles>),
}

/// What a ticket is about in one segment.
#[derive(Debug)]
struct Part {
    file: ToSync,
    segment: Offset,
    base_offset: Offset,
    end_offset: Offset,
    /// Where the first of these offsets stands; `None` if that is not known.
    from: Option<u32>,
    to: u32,
}

/// Bytes of one segment that are not durable yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByteRange {
    pub(crate) segment: Offset,
    pub(crate) base_offset: Offset,
    pub(crate) end_offset: Offset,
    pub(crate) position: u32,
    pub(crate) length: u32,
}

/// What must be brought to the device so that everything below `up_to` is durable.
#[derive(Debug)]
pub struct FlushTicket {
    home: Arc<Home>,
    up_to: Offset,
    generation: u32,
    leader_epoch: LeaderEpoch,
    may_be_journaled: bool,
    /// It went to the journal: the segments were not synced.
    is_journaled: bool,
    /// The newest segment with such bytes; mostly the only one.
    newest: Part,
    /// Newest first.
    older: Vec<Part>,
}

impl FlushTicket {
    /// What becomes durable.
    pub fn up_to(&self) -> Offset {
        self.up_to
    }

    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    pub(crate) fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// Whether the bytes can be read back, and nobody has the journal forget the log.
    pub(crate) fn may_be_journaled(&self) -> bool {
        self.may_be_journaled
    }

    /// Nothing of a log goes into the journal of another log dir, from which it may have moved.
    pub(crate) fn keep_out_unless_in(&mut self, dir: &Arc<LogDir>) {
        self.may_be_journaled &= Arc::ptr_eq(&self.home.dir, dir);
    }

    /// The bytes are in the journal, on the device.
    pub(crate) fn set_journaled(&mut self) {
        self.is_journaled = true;
    }

    /// How many bytes in how many files, as far as that is known.
    pub(crate) fn extent(&self) -> (u64, usize) {
        let bytes = self
            .parts()
            .map(|part| u64::from(part.to - part.from.unwrap_or(0)));
        (bytes.sum(), 1 + self.older.len())
    }

    /// The bytes, oldest first, with the files they are in, of a ticket that may be journaled.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (ByteRange, &Arc<dyn File>)> {
        let parts = self.older.iter().rev().chain([&self.newest]);
        parts.filter_map(|part| {
            let ToSync::Open(file) = &part.file else {
                return None;
            };
            let position = part.from?;
            let range = ByteRange {
                segment: part.segment,
                base_offset: part.base_offset,
                end_offset: part.end_offset,
                position,
                length: part.to - position,
            };
            (range.length > 0).then_some((range, file))
        })
    }

    /// Syncs the files. A failure takes the log dir out of service. Blocks; the log need not be held.
    pub fn sync(&self) -> Result<(), LogError> {
        // Open files are the log's own for ever; the others have to be found by their names.
        let by_name = self.parts().any(|part| matches!(part.file, ToSync::Closed(_)));
        let _inside = by_name.then(|| self.home.gate.enter()).transpose()?;
        self.sync_inside()
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.older.iter().chain([&self.newest])
    }

    /// As [`FlushTicket::sync`]; the caller is inside the gate.
    fn sync_inside(&self) -> Result<(), LogError> {
        self.home.dir.check()?;
        let result = self.parts().try_for_each(|part| part.file.sync());
        if let Err(error) = &result {
            self.home.dir.fail(error);
        }
        result
    }
}

impl ToSync {
    fn sync(&self) -> Result<(), LogError> {
        match self {
            ToSync::Open(file) => file.sync_data().map_err(LogError::io("a segment file".as_ref())),
            ToSync::Closed(files) => match sync_file(files, FileKind::Log) {
                // What took its place was synced before, or nothing of it is wanted.
                Err(LogError::Superseded) => Ok(()),
                synced => synced,
            },
        }
    }
}

/// Syncs one file of a segment. A sync that failed takes the log dir out of service: the next one would succeed although
/// what it should have written is gone.
pub(crate) fn sync_file(files: &SegmentFiles, kind: FileKind) -> Result<(), LogError> {
    files
        .open(kind)?
        .sync_data()
        .map_err(|error| LogError::io(&files.path(kind))(error))
        .inspect_err(|error| files.dir().fail(error))
}

/// How much of a log is flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushScope {
    /// The segments that are not written to any more: what page-cache durability flushes.
    Sealed,
    /// Everything.
    All,
}

impl Log {
    /// What to sync so that all that was appended so far is durable; `None` if it is. May run on a network thread.
    pub fn flush_target(&mut self) -> Option<FlushTicket> {
        if self.durable_end_offset >= self.log_end_offset {
            return None;
        }
        let (base_offset, size, end) = (self.active().base_offset, self.active().size, self.log_end_offset);
        // The high watermark will stand here.
        self.expect_at(base_offset, end, size);
        let mut ticket = self.ticket(self.durable_end_offset, end)?;
        let can_be_read = |part: &Part| part.from.is_some() && matches!(part.file, ToSync::Open(_));
        ticket.may_be_journaled = !self.is_settled && ticket.parts().all(can_be_read);
        Some(ticket)
    }

    fn ticket(&self, from: Offset, up_to: Offset) -> Option<FlushTicket> {
        let count = self.segments.len();
        let unsynced = (0..count)
            .rev()
            .take_while(|index| self.end_of_segment(*index) > from);
        let mut parts = unsynced
            .filter(|index| self.segment(*index).base_offset < up_to)
            .map(|index| self.part(index, from));
        Some(FlushTicket {
            home: Arc::clone(&self.home),
            up_to,
            generation: self.generation,
            leader_epoch: self.epochs.latest().unwrap_or(LeaderEpoch(-1)),
            may_be_journaled: false,
            is_journaled: false,
            newest: parts.next()?,
            older: parts.collect(),
        })
    }

    fn part(&self, index: usize, from: Offset) -> Part {
        let segment = self.segment(index);
        let position = if from <= segment.base_offset {
            Some(0)
        } else {
            self.durable_position.filter(|_| from == self.durable_end_offset)
        };
        Part {
            file: match &segment.unsynced {
                Some(file) => ToSync::Open(Arc::clone(file)),
                None => ToSync::Closed(Arc::clone(&segment.files)),
            },
            segment: segment.base_offset,
            base_offset: from.max(segment.base_offset),
            end_offset: self.end_of_segment(index),
            from: position.filter(|position| *position <= segment.size),
            to: segment.size,
        }
    }

    /// The bytes of `ticket` are on the device: raises `durable_end_offset` and returns whether it moved. A ticket from before a
    /// truncation says nothing.
    pub fn flushed(&mut self, ticket: &FlushTicket) -> bool {
        if ticket.generation != self.generation {
            return false;
        }
        if !ticket.is_journaled {
            self.synced(ticket);
        }
        if ticket.up_to <= self.durable_end_offset {
            return false;
        }
        self.durable_end_offset = ticket.up_to;
        self.durable_position = Some(ticket.newest.to);
        true
    }

    /// The files of the ticket were synced: those to which nothing was added since need not be kept open.
    fn synced(&mut self, ticket: &FlushTicket) {
        let first = ticket.older.last().unwrap_or(&ticket.newest).segment;
        for index in (0..self.segments.len()).rev() {
            let base_offset = self.segments[index].base_offset;
            if base_offset < first {
                break;
            }
            if base_offset <= ticket.newest.segment && self.end_of_segment(index) <= ticket.up_to {
                self.segments[index].unsynced = None;
            }
        }
    }

    /// Whether a segment has bytes that are only in the journal, and keeps its file open for them.
    pub fn is_flush_owed(&self) -> bool {
        self.segments
            .iter()
            .rev()
            .any(|segment| segment.unsynced.is_some())
    }

    /// The open files of the first `count` segments that are not synced.
    pub(crate) fn unsynced_of_first(&self, count: usize) -> Vec<Arc<dyn File>> {
        let first = self.segments.iter().take(count);
        first.filter_map(|segment| segment.unsynced.clone()).collect()
    }
}

/// Flushes so far that the recovery point can rise, and raises it. Blocks. Call it after a roll, and from time to time.
pub fn flush(cell: &impl LogCell, scope: FlushScope) -> Result<(), LogError> {
    let home = home_of(cell);
    let _inside = home.gate.enter()?;
    flush_held(cell, scope)
}

/// What a flush has to write and sync.
struct Plan {
    ticket: Option<FlushTicket>,
    epochs: Option<Vec<(LeaderEpoch, Offset)>>,
}

/// As [`flush`]; the caller is inside the gate.
pub(crate) fn flush_held(cell: &impl LogCell, scope: FlushScope) -> Result<(), LogError> {
    let plan = cell.with(|log| log.flush_plan(scope))?;
    if let Some(ticket) = &plan.ticket {
        ticket.sync_inside()?;
    }
    if let Some(epochs) = &plan.epochs {
        let path = cell.with(|log| log.epochs_path());
        checkpoint::write_epochs(&**home_of(cell).dir.files(), &path, epochs)?;
    }
    let (home, recovery_point) = cell.with(|log| {
        if let Some(epochs) = &plan.epochs {
            log.epochs.written(epochs);
        }
        if let Some(ticket) = &plan.ticket {
            log.flushed(ticket);
            if ticket.generation == log.generation {
                log.recovery_point = log.recovery_point.max(ticket.up_to);
            }
        }
        (Arc::clone(&log.home), log.recovery_point)
    });
    home.dir.book().flushed(&home, recovery_point);
    Ok(())
}

impl Log {
    fn flush_plan(&self, scope: FlushScope) -> Result<Plan, LogError> {
        self.check_dir()?;
        let up_to = match scope {
            FlushScope::All => self.log_end_offset,
            FlushScope::Sealed => self.active().base_offset,
        };
        let behind = up_to > self.recovery_point;
        Ok(Plan {
            ticket: if behind {
                self.ticket(self.recovery_point, up_to)
            } else {
                None
            },
            epochs: self.epochs.is_dirty().then(|| self.epochs.entries().to_vec()),
        })
    }
}

/// Gives back the memory that a log keeps for being busy: for one that nobody has used for a while. Blocks.
pub fn rest(cell: &impl LogCell) -> Result<(), LogError> {
    let home = home_of(cell);
    let _inside = home.gate.enter()?;
    let active = cell.with(|log| log.check_dir().map(|()| log.active().base_offset))?;
    aborted::write_out(cell, active)?;
    cell.with(|log| {
        log.check_dir()?;
        log.marks = None;
        log.active_mut().write_indexes(true, true).map(drop)
    })
}

/// Flushes everything and leaves the files as Kafka leaves them after an orderly end: the indexes complete, the producers'
/// state beside the last record. The log may be used again afterwards. Blocks.
pub fn close(cell: &impl LogCell) -> Result<(), LogError> {
    let home = home_of(cell);
    let _inside = home.gate.enter()?;
    let (files, state) = cell.with(|log| {
        log.check_dir()?;
        let active = log.active_mut();
        active.index_time();
        active.write_indexes(true, true)?;
        let files = Arc::clone(&active.files);
        let end = log.log_end_offset;
        let state = (log.last_snapshot != Some(end)).then(|| snapshot::encode(&log.producers));
        Ok::<_, LogError>((files, state.map(|bytes| (end, bytes))))
    })?;
    aborted::write_out(cell, files.base_offset())?;
    for kind in [FileKind::OffsetIndex, FileKind::TimeIndex] {
        sync_file(&files, kind)?;
    }
    if let Some((end, bytes)) = state {
        let path = home.folder().join(FileKind::Snapshot.name(end));
        home.dir
            .files()
            .write_atomically(&path, &bytes)
            .map_err(LogError::io(&path))?;
        cell.with(|log| log.last_snapshot = Some(end));
    }
    flush_held(cell, FlushScope::All)
}

#[cfg(test)]
mod tests;
