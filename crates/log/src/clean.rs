//! Compaction: of each key the last record stays, at its offset; what is older goes.
//!
//! Always holds: order and offsets stay; only segments are touched that are not written to any more, hold nothing that is
//! undecided, and are known on the device to the next start; readers go on in the files that they have; a crash at any
//! moment leaves the old segments or the new one. Memory is bounded by the settings.
//!
//! ```text
//! log start      first dirty           first uncleanable     active segment
//!     |   clean   |        dirty          |   too young, or open   |
//!     '--------------- a round ----------'
//! ```
//!
//! [`dirtiness`] tells what a log has to clean, a [`Round`] does it; whoever owns the logs chooses which. A round reads the
//! dirty part (`source.rs`) into a map (`map.rs`), decides on each batch (`filter.rs`, `transactions.rs`), writes segments anew
//! (`output.rs`) and swaps them in (`swap.rs`, `interrupted.rs`).

mod filter;
mod interrupted;
mod map;
mod output;
mod round;
mod source;
mod swap;
mod transactions;

use std::time::Duration;

use klamm_model::{Offset, TimestampMs};

use crate::error::LogError;
use crate::gate::home_of;
use crate::index::Source;
use crate::log::Log;
use crate::names::FileKind;
use crate::prepare::{LogCell, ready_segment, walk_error};
use filter::Counts;
pub(crate) use interrupted::finish_swaps;
pub use round::{Progress, Round};

/// When a log is worth a round: of the topic's configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CleanPolicy {
    /// `min.cleanable.dirty.ratio`.
    pub min_dirty_ratio: f64,
    /// `min.compaction.lag.ms`: younger records are left alone.
    pub min_lag: Duration,
    /// `max.compaction.lag.ms`: older ones are not left for longer; `None` for no such rule.
    pub max_lag: Option<Duration>,
    /// `delete.retention.ms`: so long tombstones and markers stay once they were met.
    pub tombstone_retention: Duration,
}

/// How a round works.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CleanSettings {
    /// Memory for keys at most.
    pub map_bytes: usize,
    /// How much of it may be used.
    pub map_load_factor: f64,
    /// Bytes that are read at once; a larger batch is read whole.
    pub read_bytes: usize,
    /// Bytes that are written at once.
    pub write_bytes: usize,
    /// [`CleanPolicy::tombstone_retention`].
    pub tombstone_retention: Duration,
}

/// What of a log can be cleaned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dirtiness {
    /// Everything below was cleaned.
    pub first_dirty: Offset,
    /// A round goes up to here: a segment ends here.
    pub first_uncleanable: Offset,
    /// Bytes of the segments that begin below the first dirty offset.
    pub clean_bytes: u64,
    /// Bytes of the segments that a round would read into its map.
    pub dirty_bytes: u64,
    /// By how long the oldest dirty segment has waited longer than `max.compaction.lag.ms`.
    pub overdue: Duration,
}

impl Dirtiness {
    /// The share of bytes that are dirty, of those that a round would go over.
    pub fn ratio(&self) -> f64 {
        match self.clean_bytes + self.dirty_bytes {
            0 => 0.0,
            all => self.dirty_bytes as f64 / all as f64,
        }
    }

    /// Whether the log should be cleaned.
    pub fn is_due(&self, policy: &CleanPolicy) -> bool {
        let is_overdue = !self.overdue.is_zero() && self.dirty_bytes > 0;
        is_overdue || self.ratio() > policy.min_dirty_ratio
    }
}

/// What a round has done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cleaned {
    /// Where the dirty part began.
    pub first_dirty: Offset,
    /// Where it begins now.
    pub end: Offset,
    /// When the round began.
    pub began: TimestampMs,
    /// Bytes that were read into the map.
    pub map_bytes: u64,
    /// How full the map became, of 1.
    pub map_utilization: f64,
    /// Bytes of the segments that were gone over, and of what is left of them.
    pub bytes_read: u64,
    /// See there.
    pub bytes_kept: u64,
    /// Records that were gone over, and those that are left.
    pub records_read: u64,
    /// See there.
    pub records_kept: u64,
    /// Records without a key.
    pub invalid_records: u64,
}

impl Cleaned {
    fn begin(first_dirty: Offset, now: TimestampMs) -> Self {
        Self {
            first_dirty,
            end: first_dirty,
            began: now,
            map_bytes: 0,
            map_utilization: 0.0,
            bytes_read: 0,
            bytes_kept: 0,
            records_read: 0,
            records_kept: 0,
            invalid_records: 0,
        }
    }

    fn count(&mut self, counts: &Counts) {
        self.records_read += counts.read;
        self.records_kept += counts.kept;
        self.invalid_records += counts.invalid;
    }
}

/// What of the log can be cleaned now. Blocks: of a segment that was not looked into yet its times must be found, if the policy
/// asks for ages.
pub fn dirtiness(cell: &impl LogCell, policy: &CleanPolicy, now: TimestampMs) -> Result<Dirtiness, LogError> {
    let home = home_of(cell);
    let noted = home.dir.cleaned_up_to(&home.partition);
    let first_dirty = cell.with(|log| log.check_dir().map(|()| log.first_dirty(noted)))?;
    let mut end = cell.with(|log| log.first_undecided());
    if !policy.min_lag.is_zero() {
        end = end.min(first_younger(
            cell,
            first_dirty,
            end,
            age_limit(now, policy.min_lag),
        )?);
    }
    let overdue = match policy.max_lag {
        Some(max_lag) => overdue(cell, first_dirty, age_limit(now, max_lag))?,
        None => Duration::ZERO,
    };
    Ok(cell.with(|log| log.measure(first_dirty, end, overdue)))
}

/// What is from before is older than `age`.
fn age_limit(now: TimestampMs, age: Duration) -> TimestampMs {
    now.plus_ms(i64::try_from(age.as_millis()).map_or(i64::MIN, |age| -age))
}

/// The first segment from the one of `from` on that has a record from after `limit`, or `end`.
fn first_younger(
    cell: &impl LogCell,
    from: Offset,
    end: Offset,
    limit: TimestampMs,
) -> Result<Offset, LogError> {
    let mut next = cell.with(|log| log.segment(log.segment_of(from)).base_offset);
    while next < end {
        let is_checked = cell.with(|log| log.segment_at(next).is_none_or(|at| log.segment(at).checked));
        if !is_checked {
            let home = home_of(cell);
            let _inside = home.gate.enter()?;
            ready_segment(cell, next)?;
        }
        let looked_at = cell.with(|log| {
            let at = log.segment_at(next)?;
            let largest = log.segment(at).largest;
            let is_young = largest.is_some_and(|largest| largest.timestamp > limit);
            (!is_young).then(|| log.end_of_segment(at))
        });
        match looked_at {
            Some(behind) => next = behind,
            None => return Ok(next),
        }
    }
    Ok(end)
}

/// By how much the oldest of the sealed segments from the one of `from` on is older than `limit`.
fn overdue(cell: &impl LogCell, from: Offset, limit: TimestampMs) -> Result<Duration, LogError> {
    let mut next = cell.with(|log| log.segment(log.segment_of(from)).base_offset);
    let mut oldest: Option<TimestampMs> = None;
    loop {
        let look = cell.with(|log| {
            let at = log.segment_at(next).filter(|at| at + 1 < log.segments.len())?;
            Some((
                log.segment(at).first_timestamp,
                log.view(at)?.to_owned(),
                log.end_of_segment(at),
            ))
        });
        let Some((known, view, behind)) = look else { break };
        let first = match known {
            None if view.view().size > 0 => {
                let view = view.view();
                let log = view.files.open_through(FileKind::Log)?;
                let source = Source {
                    file: Some(&*log),
                    may_block: true,
                };
                let header = view
                    .header(source, 0)
                    .map_err(|error| walk_error(view.files, error))?;
                let first = header.map(|header| header.max_timestamp);
                cell.with(|log| {
                    if let Some(at) = log.segment_at(next) {
                        log.segments[at].first_timestamp = first;
                    }
                });
                first
            }
            known => known,
        };
        if let Some(first) = first.filter(|first| first.0 > 0) {
            oldest = Some(oldest.map_or(first, |oldest| oldest.min(first)));
        }
        next = behind;
    }
    let late = oldest.map_or(0, |oldest| limit.ms_since(oldest));
    Ok(Duration::from_millis(u64::try_from(late).unwrap_or(0)))
}

impl Log {
    /// Where the dirty part begins, by what was noted.
    fn first_dirty(&self, noted: Option<Offset>) -> Offset {
        match noted {
            Some(noted) if noted >= self.log_start_offset && noted <= self.log_end_offset => noted,
            // Retention went beyond it, or what was cleaned was cut off.
            Some(_) | None => self.log_start_offset,
        }
    }

    /// Nothing from here on may be cleaned: it is written to, not committed, or part of a transaction that is open.
    fn first_undecided(&self) -> Offset {
        self.active().base_offset.min(self.last_stable_offset())
    }

    fn measure(&self, first_dirty: Offset, end: Offset, overdue: Duration) -> Dirtiness {
        let sealed = self.segments.len() - 1;
        let count = (0..sealed)
            .take_while(|at| self.end_of_segment(*at) <= end)
            .count();
        let first_uncleanable = self.segment(count).base_offset;
        let bytes_of = |is_wanted: &dyn Fn(usize) -> bool| -> u64 {
            let wanted = (0..count).filter(|at| is_wanted(*at));
            wanted.map(|at| u64::from(self.segment(at).size)).sum()
        };
        Dirtiness {
            first_dirty,
            first_uncleanable: first_uncleanable.max(first_dirty),
            clean_bytes: bytes_of(&|at| self.segment(at).base_offset < first_dirty),
            dirty_bytes: bytes_of(&|at| self.end_of_segment(at) > first_dirty),
            overdue,
        }
    }
}

#[cfg(test)]
mod tests;
