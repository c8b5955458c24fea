//! Offsets by time: what ListOffsets asks of a log.
//!
//! Always holds: the answer is the first record, in offset order, that fits, not the first batch; records are unpacked for
//! that under a limit. Everything here blocks.

use std::sync::Arc;

use bytes::Bytes;
use klamm_model::{LeaderEpoch, Offset, TimestampMs};
use klamm_records::{Batch, BatchHeader};

use crate::error::LogError;
use crate::gate::home_of;
use crate::index::Source;
use crate::names::FileKind;
use crate::prepare::{LogCell, ready_segment, walk_error};
use crate::segment::{OwnedView, Segment, SegmentView, bytes_of, stop_error};

/// What the records of one batch may unpack to here.
const UNPACKED_LIMIT_BYTES: u64 = 256 * 1024 * 1024;

/// A record found by its timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundRecord {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: TimestampMs,
    /// The epoch of the leader that appended it.
    pub leader_epoch: Option<LeaderEpoch>,
}

/// The first record at or after the log start whose timestamp is `timestamp` or later.
pub fn offset_for_timestamp(
    cell: &impl LogCell,
    timestamp: TimestampMs,
) -> Result<Option<FoundRecord>, LogError> {
    over_segments(cell, |swaps| search_timestamp(cell, swaps, timestamp))
}

/// Searches the segments, anew when some of them are removed or replaced meanwhile. The search is told how many were
/// replaced before.
fn over_segments<T>(cell: &impl LogCell, search: impl Fn(u32) -> Result<T, LogError>) -> Result<T, LogError> {
    loop {
        match search(cell.with(|log| log.swaps)) {
            Err(LogError::Superseded) => {}
            searched => return searched,
        }
    }
}

fn search_timestamp(
    cell: &impl LogCell,
    swaps: u32,
    timestamp: TimestampMs,
) -> Result<Option<FoundRecord>, LogError> {
    let mut after = Offset(-1);
    while let Some((owned, start)) = next_segment(cell, swaps, after, |largest| largest >= timestamp)? {
        match find_in(&owned.view(), start, timestamp) {
            Ok(Some(found)) => return Ok(Some(found)),
            Ok(None) => {}
            // The segment went while it was looked into, or the whole log to another log dir.
            Err(_) if is_gone(cell, &owned) => return Err(LogError::Superseded),
            Err(error) => return Err(error),
        }
        after = owned.view().base_offset;
    }
    Ok(None)
}

/// The first of the records with the largest timestamp.
pub fn max_timestamp(cell: &impl LogCell) -> Result<Option<FoundRecord>, LogError> {
    over_segments(cell, |swaps| search_max(cell, swaps))
}

fn search_max(cell: &impl LogCell, swaps: u32) -> Result<Option<FoundRecord>, LogError> {
    let (mut after, mut best) = (Offset(-1), None);
    while let Some((owned, start)) = next_segment(cell, swaps, after, |_| true)? {
        after = owned.view().base_offset;
        let largest = cell.with(|log| log.segment_at(after).and_then(|at| log.segment(at).largest));
        if let Some(largest) = largest
            && best.as_ref().is_none_or(|(_, _, best)| largest.timestamp > *best)
        {
            best = Some((owned, start, largest.timestamp));
        }
    }
    let Some((owned, start, timestamp)) = best else {
        return Ok(None);
    };
    match find_in(&owned.view(), start, timestamp) {
        Err(_) if is_gone(cell, &owned) => Err(LogError::Superseded),
        found => found,
    }
}

/// Whether the segment is not the log's any more.
fn is_gone(cell: &impl LogCell, owned: &OwnedView) -> bool {
    let view = owned.view();
    let is_it = |segment: &Segment| Arc::ptr_eq(&segment.files, view.files);
    cell.with(|log| !log.segments.iter().any(is_it))
}

/// The first segment behind the one at `after` whose largest timestamp is `wanted`, with the log start.
fn next_segment(
    cell: &impl LogCell,
    swaps: u32,
    mut after: Offset,
    wanted: impl Fn(TimestampMs) -> bool,
) -> Result<Option<(OwnedView, Offset)>, LogError> {
    loop {
        let next = cell.with(|log| {
            log.check_dir()?;
            if log.swaps != swaps {
                return Err(LogError::Superseded);
            }
            let at = log.segment_after(after);
            Ok::<_, LogError>(at.map(|at| (log.segment(at).base_offset, log.segment(at).checked)))
        })?;
        let Some((base_offset, checked)) = next else {
            return Ok(None);
        };
        if !checked {
            let home = home_of(cell);
            let _inside = home.gate.enter()?;
            ready_segment(cell, base_offset)?;
        }
        let found = cell.with(|log| {
            let at = log.segment_at(base_offset)?;
            let largest = log.segment(at).largest?;
            let reaches = log.end_of_segment(at) > log.log_start_offset;
            (reaches && wanted(largest.timestamp))
                .then(|| Some((log.view(at)?.to_owned(), log.log_start_offset)))?
        });
        if found.is_some() {
            return Ok(found);
        }
        after = base_offset;
    }
}

/// The first record of the segment from `start` on with `timestamp` or a later one.
fn find_in(
    view: &SegmentView<'_>,
    start: Offset,
    timestamp: TimestampMs,
) -> Result<Option<FoundRecord>, LogError> {
    let open = |kind| view.files.open_through(kind);
    let (log, offsets, times) = (
        open(FileKind::Log)?,
        open(FileKind::OffsetIndex)?,
        open(FileKind::TimeIndex)?,
    );
    let source = |file| Source {
        file: Some(file),
        may_block: true,
    };
    // Up to the offset of the last entry below, everything is too old.
    let (_, entry) = view
        .times
        .floor(source(&*times), |entry| entry.timestamp < timestamp.0)
        .map_err(|stop| stop_error(&view.files.path(FileKind::TimeIndex), stop))?;
    let from = entry.map_or(view.base_offset, |entry| {
        view.base_offset.plus(i64::from(entry.relative_offset))
    });
    let failed = |error| walk_error(view.files, error);
    let mut position = view
        .locate(source(&*log), source(&*offsets), from.max(start))
        .map_err(failed)?;
    while let Some(header) = view.header(source(&*log), position).map_err(failed)? {
        if header.max_timestamp >= timestamp && header.last_offset() >= start {
            let mut bytes = vec![0; header.size_in_bytes()];
            let path = view.files.path(FileKind::Log);
            log.read_exact_at(&mut bytes, u64::from(position))
                .map_err(LogError::io(&path))?;
            let fits = |offset: Offset, time: TimestampMs| offset >= start && time >= timestamp;
            let found = first_record(bytes.into(), &header, fits)
                .map_err(|error| LogError::corrupt(&path, format!("position {position}: {error}")))?;
            if found.is_some() {
                return Ok(found);
            }
        }
        position += bytes_of(&header);
    }
    Ok(None)
}

fn first_record(
    bytes: Bytes,
    header: &BatchHeader,
    fits: impl Fn(Offset, TimestampMs) -> bool,
) -> Result<Option<FoundRecord>, klamm_records::BatchError> {
    let batch = Batch::parse(&bytes)?;
    batch.check_crc()?;
    for record in batch.records(UNPACKED_LIMIT_BYTES)? {
        let record = record?;
        if fits(record.offset, record.timestamp) {
            return Ok(Some(FoundRecord {
                offset: record.offset,
                timestamp: record.timestamp,
                leader_epoch: header.leader_epoch(),
            }));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::log::Log;
    use crate::retention::retention;
    use crate::testing::{Held, NOW, batch, small};

    /// A log whose old segments go behind the back of who looks into it.
    struct Meddled {
        held: Held,
        looks: AtomicUsize,
        goes_after: usize,
    }

    impl LogCell for Meddled {
        fn with<R>(&self, work: impl FnOnce(&mut Log) -> R) -> R {
            let result = work(&mut self.held.log.lock());
            if self.looks.fetch_add(1, Ordering::Relaxed) == self.goes_after {
                retention(&self.held.log, TimestampMs(NOW.0 + 1_000_000_000_000)).unwrap();
            }
            result
        }
    }

    #[test]
    fn a_segment_that_goes_while_a_time_is_looked_for_is_no_error() {
        let mut went = 0;
        for goes_after in 0..30 {
            let (_, held) = Held::new(small());
            for n in 0..10 {
                held.append(&batch(NOW.0 + n, &[&"x".repeat(1500)])).unwrap();
            }
            held.commit().unwrap();
            let meddled = Meddled {
                held,
                looks: AtomicUsize::new(0),
                goes_after,
            };
            let found = offset_for_timestamp(&meddled, TimestampMs(NOW.0 + 5)).unwrap();
            assert!(
                found.is_none_or(|found| found.offset >= Offset(5)),
                "{goes_after}"
            );
            let newest = max_timestamp(&meddled).unwrap();
            assert!(
                newest.is_none_or(|found| found.offset == Offset(9)),
                "{goes_after}"
            );
            went += usize::from(meddled.held.log.lock().log_start_offset() > Offset(0));
        }
        assert!(went > 3, "{went}");
    }
}
