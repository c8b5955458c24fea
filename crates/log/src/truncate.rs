//! Cutting a log at either end.
//!
//! Always holds: before bytes go, no checkpoint promises them and no journal would bring them back; when a truncation returns, they are gone from the
//! device, so that no crash brings them back behind what is written in their place. A truncation blocks with the owner's
//! lock held: it is what a follower does before it fetches, while nobody appends.

use std::sync::Arc;

use klamm_model::{Offset, TimestampMs};

use crate::dir::LogDir;
use crate::error::{LogError, ReadError};
use crate::gate::home_of;
use crate::index::Source;
use crate::journal::settle;
use crate::log::Log;
use crate::names::{self, FileKind};
use crate::open::replay_producers;
use crate::prepare::{LogCell, ready_segment, walk_error, write_anew};
use crate::segment::Segment;

/// Cuts the log so that nothing at or above `offset` is left, and returns its end, which may be lower: where the last
/// whole batch below `offset` ends.
pub fn truncate_to(cell: &impl LogCell, offset: Offset, now: TimestampMs) -> Result<Offset, LogError> {
    let home = home_of(cell);
    let _inside = home.gate.enter()?;
    let end = cell.with(|log| log.log_end_offset);
    if offset >= end {
        return Ok(end);
    }
    if cell.with(|log| offset < log.segments[0].base_offset) {
        start_over(cell, offset, now)?;
        return Ok(offset);
    }
    let base_offset = cell.with(|log| log.segment(log.segment_of(offset)).base_offset);
    ready_segment(cell, base_offset)?;
    let _settled = settle(cell, &home)?;
    let (kept, end) = cell.with(|log| log.kept_below(offset, now))?;
    promise_less(cell, end)?;
    failing(&home.dir, cell.with(|log| log.cut(kept, end)))?;
    Ok(end)
}

/// Removes everything; the log goes on at `offset`.
pub fn truncate_fully_and_start_at(
    cell: &impl LogCell,
    offset: Offset,
    now: TimestampMs,
) -> Result<(), LogError> {
    let home = home_of(cell);
    let _inside = home.gate.enter()?;
    start_over(cell, offset, now)
}

fn start_over(cell: &impl LogCell, offset: Offset, now: TimestampMs) -> Result<(), LogError> {
    let home = home_of(cell);
    let _settled = settle(cell, &home)?;
    promise_less(cell, Offset(0))?;
    failing(&home.dir, cell.with(|log| log.start_over(offset, now)))
}

/// Half a truncation is no state to go on from.
fn failing(dir: &LogDir, result: Result<(), LogError>) -> Result<(), LogError> {
    result.inspect_err(|error| dir.fail(error))
}

fn promise_less(cell: &impl LogCell, offset: Offset) -> Result<(), LogError> {
    let home = cell.with(|log| {
        log.recovery_point = log.recovery_point.min(offset);
        Arc::clone(&log.home)
    });
    home.dir.lower_cleaned(&home.partition, offset)?;
    home.dir.lower_recovery_point(&home.partition, offset)
}

impl Log {
    /// DeleteRecords: nothing below `offset` may be read any more. It must not be above the high watermark. Returns
    /// whether the start moved; [`retention`](crate::retention::retention) removes the segments.
    pub fn advance_log_start_offset(&mut self, offset: Offset) -> Result<bool, ReadError> {
        self.check_dir()?;
        if offset > self.high_watermark {
            return Err(ReadError::OffsetOutOfRange {
                offset,
                log_start_offset: self.log_start_offset,
                log_end_offset: self.high_watermark,
            });
        }
        if offset <= self.log_start_offset {
            return Ok(false);
        }
        self.log_start_offset = offset;
        self.epochs.truncate_start(offset);
        Ok(true)
    }

    /// What is left of the segment of `offset` when it is cut there, and where that ends.
    fn kept_below(&self, offset: Offset, now: TimestampMs) -> Result<(Segment, Offset), LogError> {
        let segment = self.segment(self.segment_of(offset));
        let files = &segment.files;
        let log = files.open(FileKind::Log)?;
        let source = Source {
            file: Some(&*log),
            may_block: true,
        };
        let mut kept = Segment::empty(Arc::clone(files), now);
        let mut end = kept.base_offset;
        let view = segment.view(self.log_end_offset);
        while let Some(header) = view
            .header(source, kept.size)
            .map_err(|error| walk_error(files, error))?
        {
            if header.next_offset() > offset {
                break;
            }
            kept.note(&header, self.config.index_interval_bytes);
            end = header.next_offset();
        }
        Ok((kept, end))
    }

    /// Puts `kept` in the place of the segment it is the front of, and drops those behind it.
    fn cut(&mut self, mut kept: Segment, end: Offset) -> Result<(), LogError> {
        let at = self.segment_of(kept.base_offset);
        let removed: Vec<Segment> = self.segments.drain(at + 1..).collect();
        removed
            .iter()
            .try_for_each(|segment| segment.files.remove_all())?;
        let path = kept.files.path(FileKind::Log);
        let log = kept.files.open(FileKind::Log)?;
        log.set_len(u64::from(kept.size)).map_err(LogError::io(&path))?;
        log.sync_data().map_err(LogError::io(&path))?;
        kept.aborted = self.segments[at].aborted.take();
        kept.truncate_aborted(end)?;
        write_anew(&mut kept)?;
        self.segments[at] = kept;
        self.now_ends_at(end)
    }

    fn start_over(&mut self, offset: Offset, now: TimestampMs) -> Result<(), LogError> {
        // Newest first: what a crash leaves is the front of the log.
        for segment in std::mem::take(&mut self.segments).iter().rev() {
            segment.files.remove_all()?;
        }
        self.begin(offset, now)?;
        self.log_start_offset = offset;
        self.now_ends_at(offset)?;
        self.high_watermark = offset;
        (self.durable_end_offset, self.recovery_point) = (offset, offset);
        Ok(())
    }

    /// Everything that follows from the log's end follows it.
    fn now_ends_at(&mut self, end: Offset) -> Result<(), LogError> {
        self.log_end_offset = end;
        (self.durable_end_offset, self.durable_position) = (self.durable_end_offset.min(end), None);
        self.recovery_point = self.recovery_point.min(end);
        self.high_watermark = self.high_watermark.min(end);
        self.log_start_offset = self.log_start_offset.min(end);
        self.generation = self.generation.wrapping_add(1);
        self.marks = None;
        self.epochs.truncate_end(end);
        let (files, folder) = (Arc::clone(self.home.dir.files()), self.home.folder());
        for entry in files.read_dir(&folder).map_err(LogError::io(&folder))? {
            if names::parse_file(&entry.name).is_some_and(|file| file.0 == FileKind::Snapshot && file.1 > end)
            {
                let path = folder.join(&entry.name);
                files.remove_file(&path).map_err(LogError::io(&path))?;
            }
        }
        files.sync_dir(&folder).map_err(LogError::io(&folder))?;
        replay_producers(self, end)?;
        self.producers.settle(self.high_watermark);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
