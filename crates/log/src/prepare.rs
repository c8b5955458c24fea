//! The slow half of reading and appending: opening files, beginning a segment, making a lost index anew.
//!
//! Always holds: one at a time does this to a log (inside its [gate](crate::gate)), and the caller's lock is held only for moments in between.
//! Everything here blocks. Nothing here is lost if it is repeated: who comes second finds it done.

use std::sync::Arc;

use klamm_model::{Offset, TimestampMs};
use parking_lot::Mutex;

use crate::aborted;
use crate::error::{LogError, NotReady};
use crate::flush::sync_file;
use crate::gate::home_of;
use crate::index::{OffsetEntry, Source, TimeEntry};
use crate::log::Log;
use crate::names::FileKind;
use crate::producers::snapshot;
use crate::segment::{
    OwnedView, Segment, SegmentFiles, SegmentView, TimedOffset, WalkError, bytes_of, stop_error,
};

/// Where a log is kept: behind the lock of its owner.
pub trait LogCell: Send + Sync {
    /// Runs `work` under the lock.
    fn with<R>(&self, work: impl FnOnce(&mut Log) -> R) -> R;
}

impl LogCell for Mutex<Log> {
    fn with<R>(&self, work: impl FnOnce(&mut Log) -> R) -> R {
        work(&mut self.lock())
    }
}

impl<C: LogCell> LogCell for Arc<C> {
    fn with<R>(&self, work: impl FnOnce(&mut Log) -> R) -> R {
        (**self).with(work)
    }
}

/// Does what `need` says, so that the call that asked for it can be repeated. Blocks.
pub fn prepare(cell: &impl LogCell, need: NotReady, now: TimestampMs) -> Result<(), LogError> {
    let home = home_of(cell);
    let _inside = home.gate.enter()?;
    match need {
        NotReady::Open => {
            let (files, indexes) = cell.with(|log| {
                let active = log.active();
                let indexes = active.offsets.has_a_lot() || active.times.has_a_lot();
                (Arc::clone(&active.files), indexes)
            });
            aborted::write_out(cell, files.base_offset())?;
            if indexes {
                return open_all(&files);
            }
            files.open(FileKind::Log).map(drop)
        }
        NotReady::Segment(base_offset) => ready_segment(cell, base_offset),
        NotReady::Roll(base_offset) => roll(cell, base_offset, now),
    }
}

fn open_all(files: &SegmentFiles) -> Result<(), LogError> {
    for kind in [FileKind::Log, FileKind::OffsetIndex, FileKind::TimeIndex] {
        files.open(kind)?;
    }
    Ok(())
}

/// Opens a segment, and checks its indexes if that was not done yet. The caller is inside the gate.
pub(crate) fn ready_segment(cell: &impl LogCell, base_offset: Offset) -> Result<(), LogError> {
    let found = cell.with(|log| {
        let index = log.segment_at(base_offset)?;
        let segment = log.segment(index);
        Some((log.view(index)?.to_owned(), segment.checked, segment.indexes_lost))
    });
    let Some((owned, checked, lost)) = found else {
        return Ok(());
    };
    let view = owned.view();
    open_all(view.files)?;
    if checked {
        return Ok(());
    }
    let indexed = match checked_indexes(&view, lost)? {
        Some(largest) => Indexed::Found(largest),
        None => Indexed::Made(Box::new(rebuild(cell, &owned)?)),
    };
    cell.with(|log| {
        let Some(segment) = log.segment_at(base_offset).map(|index| &mut log.segments[index]) else {
            return;
        };
        match indexed {
            Indexed::Found(largest) => segment.largest = largest,
            Indexed::Made(made) => {
                segment.offsets = made.offsets;
                segment.times = made.times;
                segment.largest = made.largest;
            }
        }
        segment.checked = true;
        segment.indexes_lost = false;
    });
    Ok(())
}

enum Indexed {
    Found(Option<TimedOffset>),
    Made(Box<Segment>),
}

/// The largest timestamp as the indexes have it; `None` if they do not fit the segment.
fn checked_indexes(view: &SegmentView<'_>, lost: bool) -> Result<Option<Option<TimedOffset>>, LogError> {
    if lost {
        return Ok(None);
    }
    let (offsets, times) = (
        view.files.open(FileKind::OffsetIndex)?,
        view.files.open(FileKind::TimeIndex)?,
    );
    let source = |file| Source {
        file: Some(file),
        may_block: true,
    };
    let failed = |kind| move |stop| stop_error(&view.files.path(kind), stop);
    let last: Option<OffsetEntry> = view
        .offsets
        .last(source(&*offsets))
        .map_err(failed(FileKind::OffsetIndex))?;
    let time: Option<TimeEntry> = view
        .times
        .last(source(&*times))
        .map_err(failed(FileKind::TimeIndex))?;
    let span = view.end_offset.0 - view.base_offset.0;
    let fits = last
        .is_none_or(|e| e.position < view.size && e.position > 0 && i64::from(e.relative_offset) < span)
        && time.is_none_or(|e| e.timestamp >= 0 && i64::from(e.relative_offset) < span);
    // A closed segment with records has a last entry in its time index, if any record has a timestamp.
    let largest = time.map(|entry| TimedOffset {
        timestamp: TimestampMs(entry.timestamp),
        offset: view.base_offset.plus(i64::from(entry.relative_offset)),
    });
    Ok((fits && (largest.is_some() || view.size == 0)).then_some(largest))
}

/// Makes the indexes anew from the headers of the batches.
fn rebuild(cell: &impl LogCell, owned: &OwnedView) -> Result<Segment, LogError> {
    let view = owned.view();
    let interval = cell.with(|log| log.config.index_interval_bytes);
    let log = view.files.open(FileKind::Log)?;
    let source = Source {
        file: Some(&*log),
        may_block: true,
    };
    let mut made = Segment::empty(Arc::clone(view.files), TimestampMs(0));
    loop {
        let position = made.size;
        match view.header(source, position) {
            Ok(None) => break,
            Ok(Some(header)) if made.relative(header.last_offset()).is_some() => {
                debug_assert!(bytes_of(&header) > 0);
                made.note(&header, interval);
            }
            Ok(Some(header)) => {
                let what = format!(
                    "position {position}: offset {} is not of this segment",
                    header.base_offset
                );
                return Err(LogError::corrupt(&view.files.path(FileKind::Log), what));
            }
            Err(error) => return Err(walk_error(view.files, error)),
        }
    }
    made.index_time();
    write_anew(&mut made)?;
    Ok(made)
}

/// Replaces the index files of a segment by what it has in memory.
pub(crate) fn write_anew(segment: &mut Segment) -> Result<(), LogError> {
    for kind in [FileKind::OffsetIndex, FileKind::TimeIndex] {
        let path = segment.files.path(kind);
        segment
            .files
            .open(kind)?
            .set_len(0)
            .map_err(LogError::io(&path))?;
    }
    segment.write_indexes(true, true).map(drop)
}

pub(crate) fn walk_error(files: &SegmentFiles, error: WalkError) -> LogError {
    let path = files.path(FileKind::Log);
    match error {
        WalkError::Stop(stop) => stop_error(&path, stop),
        WalkError::Batch(position, error) => {
            LogError::corrupt(&path, format!("position {position}: {error}"))
        }
    }
}

/// Resets the mark that keeps appends out, however the roll ends.
pub(crate) struct Rolling<'a, C: LogCell>(pub(crate) &'a C);

impl<C: LogCell> Drop for Rolling<'_, C> {
    fn drop(&mut self) {
        self.0.with(|log| log.rolling = false);
    }
}

/// Begins the segment after the one with `base_offset`, unless that was done or undone meanwhile. The caller is inside the gate.
pub(crate) fn roll(cell: &impl LogCell, base_offset: Offset, now: TimestampMs) -> Result<(), LogError> {
    let active = cell.with(|log| Arc::clone(&log.active().files));
    // Not under the lock.
    open_all(&active)?;
    let plan = cell.with(|log| {
        if log.active().base_offset != base_offset || log.active().size == 0 {
            return Ok(None);
        }
        log.active_mut().index_time();
        log.active_mut().write_indexes(true, true)?;
        log.rolling = true;
        Ok::<_, LogError>(Some((log.log_end_offset, snapshot::encode(&log.producers))))
    })?;
    let Some((next, producers)) = plan else {
        return Ok(());
    };
    let _rolling = Rolling(cell);
    let home = home_of(cell);
    let files = SegmentFiles::new(&home, next);
    aborted::write_out(cell, base_offset)?;
    // Once it is not written to any more, no recovery makes them anew.
    sync_file(&active, FileKind::OffsetIndex)?;
    sync_file(&active, FileKind::TimeIndex)?;
    let path = files.path(FileKind::Snapshot);
    let begun = || {
        for kind in [FileKind::Log, FileKind::OffsetIndex, FileKind::TimeIndex] {
            files.create(kind)?;
        }
        // Syncs the folder as well, so that the new segment's name is on the device before anything in it counts.
        home.dir
            .files()
            .write_atomically(&path, &producers)
            .map_err(LogError::io(&path))
    };
    if let Err(error) = begun() {
        // The old segment goes on, and may grow beyond this offset: a segment that begins there would hide that.
        files.remove_all().inspect_err(|error| home.dir.fail(error))?;
        return Err(error);
    }
    cell.with(|log| {
        if log.log_end_offset == next && log.active().base_offset == base_offset {
            log.segments.push(Segment::empty(files, now));
            log.last_snapshot = Some(next);
        }
    });
    Ok(())
}
