//! Making what was appended survive a power cut: tickets for the syncs, and the flush that checkpoints rest on.
//!
//! Always holds: `durable_end_offset` rises only after every file with a lower offset was synced; a sync that failed takes
//! the log dir out of service and is never tried again; `recovery_point` rises only after the leader epochs
//! below it are on the device as well. The indexes of a segment are synced when it is sealed.

use std::sync::Arc;

use klamm_env::File;
use klamm_model::{LeaderEpoch, Offset};

use crate::aborted;
use crate::checkpoint;
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

/// What must be synced so that everything below `up_to` is durable.
#[derive(Debug)]
pub struct FlushTicket {
    home: Arc<Home>,
    up_to: Offset,
    generation: u32,
    /// The newest segment with such bytes; mostly the only one.
    newest: ToSync,
    older: Vec<ToSync>,
}

impl FlushTicket {
    /// What becomes durable.
    pub fn up_to(&self) -> Offset {
        self.up_to
    }

    /// Syncs the files. A failure takes the log dir out of service. Blocks; the log need not be held.
    pub fn sync(&self) -> Result<(), LogError> {
        // Open files are the log's own for ever; the others have to be found by their names.
        let by_name = self.files().any(|file| matches!(file, ToSync::Closed(_)));
        let _inside = by_name.then(|| self.home.gate.enter()).transpose()?;
        self.sync_inside()
    }

    fn files(&self) -> impl Iterator<Item = &ToSync> {
        self.older.iter().chain([&self.newest])
    }

    /// As [`FlushTicket::sync`]; the caller is inside the gate.
    fn sync_inside(&self) -> Result<(), LogError> {
        self.home.dir.check()?;
        let result = self.files().try_for_each(ToSync::sync);
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
        self.ticket(self.durable_end_offset, end)
    }

    fn ticket(&self, from: Offset, up_to: Offset) -> Option<FlushTicket> {
        let count = self.segments.len();
        let unsynced = (0..count)
            .rev()
            .take_while(|index| self.end_of_segment(*index) > from);
        let mut files = unsynced
            .filter(|index| self.segment(*index).base_offset < up_to)
            .map(|index| {
                let segment = self.segment(index);
                match &segment.unsynced {
                    Some(file) => ToSync::Open(Arc::clone(file)),
                    None => ToSync::Closed(Arc::clone(&segment.files)),
                }
            });
        Some(FlushTicket {
            home: Arc::clone(&self.home),
            up_to,
            generation: self.generation,
            newest: files.next()?,
            older: files.collect(),
        })
    }

    /// The files of `ticket` were synced: raises `durable_end_offset` and returns whether it moved. A ticket from before a
    /// truncation says nothing.
    pub fn flushed(&mut self, ticket: &FlushTicket) -> bool {
        if ticket.generation != self.generation || ticket.up_to <= self.durable_end_offset {
            return false;
        }
        self.durable_end_offset = ticket.up_to;
        for index in (0..self.segments.len()).rev() {
            let end = self.end_of_segment(index);
            if end <= ticket.up_to && self.segments[index].unsynced.take().is_none() && end < ticket.up_to {
                break;
            }
        }
        true
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
    cell.with(|log| {
        if let Some(epochs) = &plan.epochs {
            log.epochs.written(epochs);
        }
        if let Some(ticket) = &plan.ticket {
            log.flushed(ticket);
            if ticket.generation == log.generation {
                log.recovery_point = log.recovery_point.max(ticket.up_to);
            }
        }
    });
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
