//! Moving a log to another log dir while it is written to.
//!
//! A *future* copy is a whole log in the other log dir, under a name of its own. It is filled from the log as it is, and takes
//! the log's place when it has everything.
//!
//! ```text
//! one                          two                             after a crash here
//! orders-3                     orders-3.<topic id>-future      the copying goes on, or the copy is removed
//! orders-3                     orders-3 (klamm.moves: n + 1)   both are whole and the same: the second counts
//! orders-3.<unique>-delete     orders-3                        the second is the only one
//! ```
//!
//! Always holds: the copy gets the partition's name when all of it is on the device, with what the checkpoints have to say of
//! it; from then on nothing is appended to the original; until then everything is. If it is not known whether the copy
//! has the name, the original counts one move more than the copy before anything is appended to it. Everything here blocks,
//! except [`Log::exchange`].

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use klamm_model::{Offset, TimestampMs, Uuid};
use parking_lot::Mutex;
use thiserror::Error;

use crate::config::LogConfig;
use crate::dir::{LogDir, Positions, moves};
use crate::error::{AppendError, FollowerError, LogError, NotReady, ReadError};
use crate::flush::{FlushScope, flush};
use crate::gate::{Gate, home_of};
use crate::home::Home;
use crate::journal;
use crate::log::{Log, RecoveryState};
use crate::prepare::{LogCell, Rolling, prepare, ready_segment};
use crate::read::{FileRange, ReadRequest, read_blocking};
use crate::truncate::truncate_fully_and_start_at;

/// Bytes that are copied at once while nobody can append.
const LAST_BYTES: usize = 1024 * 1024;
/// How often the end of the log is asked for again when it is not in memory.
const ATTEMPTS: usize = 8;

/// Why a log cannot be moved, or not now.
#[derive(Debug, Error)]
pub enum MoveError {
    /// One of the logs, or of the log dirs, failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The copy does not take what was read.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The log grows faster than its end can be copied.
    #[error("the copy is behind")]
    Behind,
}

/// Opens the future copy of a log in another log dir, as it was left or anew.
pub fn begin(
    cell: &impl LogCell,
    dir: &Arc<LogDir>,
    config: Arc<LogConfig>,
    now: TimestampMs,
) -> Result<Log, LogError> {
    let home = home_of(cell);
    let start = cell.with(|log| log.copied_from());
    let recovery = RecoveryState {
        clean: false,
        positions: Positions {
            recovery_point: Offset(0),
            log_start_offset: start,
            high_watermark: Offset(0),
        },
    };
    let there = Home {
        dir: Arc::clone(dir),
        partition: home.partition.clone(),
        topic_id: home.topic_id,
        is_future: true.into(),
        gate: Gate::default(),
        is_cleaned: false.into(),
    };
    Log::open_home(there, config, recovery, now)
}

/// Copies up to `max_bytes` of what the copy lacks, one batch at least, and returns how many it were: 0 when it has all.
pub fn copy(
    cell: &impl LogCell,
    future: &Mutex<Log>,
    max_bytes: usize,
    now: TimestampMs,
) -> Result<usize, MoveError> {
    let Some(request) = next_read(cell, future, max_bytes) else {
        return Ok(0);
    };
    match read_blocking(cell, &request, now) {
        Ok(read) => match read.range {
            Some(range) => take(future, &range, now),
            // All records are deleted.
            None if cell.with(|log| log.copied_from() == log.log_end_offset) => start_over(cell, future, now),
            None => Err(MoveError::Behind),
        },
        // The log was cut, or its start has gone by: what the copy has is of no use.
        Err(ReadError::OffsetOutOfRange { .. }) => start_over(cell, future, now),
        Err(error) => Err(error.into()),
    }
}

fn start_over(cell: &impl LogCell, future: &Mutex<Log>, now: TimestampMs) -> Result<usize, MoveError> {
    let start = cell.with(|log| log.copied_from());
    truncate_fully_and_start_at(future, start, now)?;
    Ok(1)
}

/// What the copy lacks; `None` if nothing.
fn next_read(cell: &impl LogCell, future: &Mutex<Log>, max_bytes: usize) -> Option<ReadRequest> {
    let offset = future.lock().log_end_offset();
    let (start, upper_bound) = cell.with(|log| (log.log_start_offset(), log.log_end_offset()));
    (offset != upper_bound).then_some(ReadRequest {
        // The copy begins with the segment of the start.
        offset: match future.lock().is_begun_below(start) {
            true => start,
            false => offset,
        },
        max_bytes,
        upper_bound,
        min_one: true,
    })
}

/// Appends the batches of a range to the copy.
fn take(future: &Mutex<Log>, range: &FileRange, now: TimestampMs) -> Result<usize, MoveError> {
    let mut bytes = vec![0; range.len];
    range
        .file
        .read_exact_at(&mut bytes, range.position)
        .map_err(LogError::io("a segment file".as_ref()))?;
    let bytes = Bytes::from(bytes);
    loop {
        let taken = future.lock().append_as_follower(&bytes, now);
        match taken {
            Ok(()) => return Ok(bytes.len()),
            Err(FollowerError::NotReady(need)) => prepare(future, need, now)?,
            Err(FollowerError::Append(error)) => return Err(error.into()),
        }
    }
}

/// The copy, which has nearly everything, gets the rest and takes the log's place. `install` is to
/// [exchange](Log::exchange) them in the hands of their owner. Returns the folder that is left to be
/// [removed](LogDir::remove_folder), if it still is there.
///
/// For a moment nothing is appended; reads go on.
pub fn finish<C: LogCell>(
    cell: &C,
    future: &Mutex<Log>,
    unique: Uuid,
    now: TimestampMs,
    install: impl FnOnce(),
) -> Result<Option<PathBuf>, MoveError> {
    // Mostly on the device before anybody has to wait.
    flush(future, FlushScope::All)?;
    let home = home_of(cell);
    let inside = home.gate.enter()?;
    // Whoever wants to append waits at the gate, and finds the other log behind it.
    cell.with(|log| log.rolling = true);
    let rolling = Rolling(cell);
    copy_rest(cell, future, now)?;
    flush(future, FlushScope::All)?;
    let there = home_of(future);
    let moves = moves::read(&**home.dir.files(), &home.folder())?;
    prepare_name(cell, future, &there, moves + 1).inspect_err(|_| {
        // What is said of it there must never be taken for the state of the next of its name.
        if let Err(error) = there.dir.forget([&there.partition].into_iter()) {
            there.dir.fail(&error);
        }
    })?;
    if let Err(error) = give_name(&there) {
        there.dir.fail(&error);
        // It may have its name: the log that goes on must count for more.
        moves::write(&**home.dir.files(), &home.folder(), moves + 2)
            .inspect_err(|error| home.dir.fail(error))?;
        return Err(error.into());
    }
    install();
    drop(rolling);
    inside.close();
    journal::left(&home);
    // Appends go on in the other log dir, which counts more, whatever becomes of this folder.
    match home.dir.retire(&[(home.partition.clone(), unique)]) {
        Ok(mut gone) => Ok(gone.pop()),
        // That log dir is out of service, and the log lives on in this one.
        Err(error) => {
            tracing::warn!(partition = %home.partition, %error, "the log was moved and cannot be removed where it was");
            Ok(None)
        }
    }
}

/// What was appended since the copying; the caller is inside the gate.
fn copy_rest(cell: &impl LogCell, future: &Mutex<Log>, now: TimestampMs) -> Result<(), MoveError> {
    let mut attempts = ATTEMPTS;
    while let Some(request) = next_read(cell, future, LAST_BYTES) {
        attempts = attempts.checked_sub(1).ok_or(MoveError::Behind)?;
        match cell.with(|log| log.read(&request)) {
            Ok(read) => match read.range {
                Some(range) => drop(take(future, &range, now)?),
                None => return Err(MoveError::Behind),
            },
            Err(ReadError::NotReady(NotReady::Segment(base_offset))) => ready_segment(cell, base_offset)?,
            Err(ReadError::NotReady(_) | ReadError::OffsetOutOfRange { .. }) => {
                return Err(MoveError::Behind);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Everything that has to be on the device before the copy gets its name.
fn prepare_name(cell: &impl LogCell, future: &Mutex<Log>, there: &Home, moves: u64) -> Result<(), MoveError> {
    // The partition may have lain there before.
    journal::recreate(there)?;
    moves::write(&**there.dir.files(), &there.folder(), moves)?;
    let positions = Positions {
        recovery_point: future.lock().recovery_point(),
        ..cell.with(|log| log.positions())
    };
    Ok(there.dir.expect(&there.partition, positions)?)
}

/// The copy gets the partition's name, durably.
fn give_name(there: &Home) -> Result<(), LogError> {
    let (from, to) = (there.future_folder(), there.dir.folder(&there.partition));
    there
        .dir
        .files()
        .rename(&from, &to)
        .map_err(LogError::io(&from))?;
    there.is_future.store(false, std::sync::atomic::Ordering::Release);
    there
        .dir
        .files()
        .sync_dir(there.dir.path())
        .map_err(LogError::io(there.dir.path()))
}

/// The copy is not wanted any more. Returns its folder, which is to be [removed](LogDir::remove_folder).
pub fn abandon(future: &Mutex<Log>) -> PathBuf {
    let home = home_of(future);
    crate::gate::retire(future);
    home.folder()
}

impl Log {
    /// Where a copy of the log begins: with the segment of its start.
    fn copied_from(&self) -> Offset {
        if self.log_start_offset == self.log_end_offset {
            return self.log_end_offset;
        }
        self.segment(self.segment_of(self.log_start_offset)).base_offset
    }

    /// Whether the log, a copy without a batch, begins below `start` with the same segment.
    fn is_begun_below(&self, start: Offset) -> bool {
        self.segments.len() == 1 && self.active().size == 0 && self.log_end_offset < start
    }

    /// The log's copy, which has all of it, takes its place; what is known in memory only goes over. `future` is the old log
    /// afterwards.
    pub fn exchange(&mut self, future: &mut Log) {
        assert_eq!(
            self.log_end_offset, future.log_end_offset,
            "the copy has everything"
        );
        future.config = Arc::clone(&self.config);
        future.log_start_offset = self.log_start_offset;
        future.high_watermark = self.high_watermark;
        future.durable_end_offset = future.log_end_offset;
        future.producers = std::mem::take(&mut self.producers);
        future.epochs = std::mem::take(&mut self.epochs);
        future.epochs.touch();
        future.generation = self.generation.wrapping_add(1);
        future.durable_position = Some(future.active().size);
        future.swaps = self.swaps.wrapping_add(1);
        future.marks = None;
        std::mem::swap(self, future);
        // Whoever waits for it to roll finds that it is gone.
        self.rolling = false;
    }
}

#[cfg(test)]
mod tests;
