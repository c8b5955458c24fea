//! Appending: batches become bytes at the end of the active segment.
//!
//! Always holds: a batch is whole in the page cache, or not part of the log; of its bytes only the header is touched.
//! Nothing here waits for the device: where a file must be opened or a segment begun, the call stops with [`NotReady`]
//! before the batch that needs it. May run on a network thread.

mod end_transaction;

use std::io::IoSlice;
use std::sync::Arc;

use klamm_env::File;
use klamm_model::{LeaderEpoch, Offset, TimestampMs};
use klamm_records::{BatchError, BatchHeader, HEADER_BYTES, TimestampType};

use crate::config::Durability;
use crate::error::{AppendError, LogError, NotReady};
use crate::log::Log;
use crate::names::FileKind;
use crate::producers::VerificationGuard;

/// Batches that go out in one write.
const BATCHES_PER_WRITE: usize = 16;

/// A batch to append: its header, which gets its place, and the bytes behind it.
#[derive(Debug)]
pub struct Incoming<'a> {
    /// The header, valid for `body`.
    pub header: &'a mut BatchHeader,
    /// The records, perhaps compressed.
    pub body: &'a [u8],
    /// Of the [verification](Log::verify) that a batch in a transaction has waited for.
    pub guard: Option<VerificationGuard>,
}

/// A batch that is in the log now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The offset of its first record.
    pub base_offset: Offset,
    /// The offset of its last record.
    pub last_offset: Offset,
    /// The time the broker gave its records, where the topic asks for that.
    pub log_append_time: Option<TimestampMs>,
    /// The first offset of the log.
    pub log_start_offset: Offset,
}

/// What became of one batch.
pub type Outcome = Result<Appended, AppendError>;

/// What a batch that does not get into the log means for those behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AfterFailure {
    GoOn,
    Stop,
}

/// Up to `N` batches that were looked at, of which some were accepted.
struct Group<const N: usize> {
    /// Why a batch was refused; `None` for an accepted one.
    refusals: [Option<AppendError>; N],
    looked_at: usize,
    bytes: u32,
    end_offset: Offset,
}

impl Log {
    /// Gives `batches` their offsets and appends them in order, telling the outcome of each. A refused batch does not
    /// keep the next one out.
    ///
    /// On [`NotReady`] the batches that have no outcome yet are untouched: call again with them when it is ready.
    pub fn append_as_leader(
        &mut self,
        batches: &mut [Incoming<'_>],
        leader_epoch: LeaderEpoch,
        now: TimestampMs,
        mut tell: impl FnMut(Outcome),
    ) -> Result<(), NotReady> {
        self.append_batches(batches, leader_epoch, now, AfterFailure::GoOn, &mut tell)
    }

    /// The same for batches that build upon each other: behind the first that is refused or cannot be written none is
    /// appended, and none has an outcome.
    pub fn append_in_order(
        &mut self,
        batches: &mut [Incoming<'_>],
        leader_epoch: LeaderEpoch,
        now: TimestampMs,
        mut tell: impl FnMut(Outcome),
    ) -> Result<(), NotReady> {
        self.append_batches(batches, leader_epoch, now, AfterFailure::Stop, &mut tell)
    }

    fn append_batches(
        &mut self,
        batches: &mut [Incoming<'_>],
        leader_epoch: LeaderEpoch,
        now: TimestampMs,
        after_failure: AfterFailure,
        tell: &mut impl FnMut(Outcome),
    ) -> Result<(), NotReady> {
        let mut rest = batches;
        while !rest.is_empty() {
            let (looked_at, is_whole) = match self.check_dir() {
                Ok(()) => {
                    self.append_first::<BATCHES_PER_WRITE>(rest, leader_epoch, now, after_failure, tell)?
                }
                Err(error) => {
                    tell(Err(error.into()));
                    (1, false)
                }
            };
            if !is_whole && after_failure == AfterFailure::Stop {
                return Ok(());
            }
            rest = &mut rest[looked_at..];
        }
        Ok(())
    }

    /// Appends the first of `batches`, up to `N` with one write, and says how many have an outcome now, and whether all of these
    /// are in the log. `N` is what the stack has room for: a group of many is dear to move for a single batch.
    fn append_first<const N: usize>(
        &mut self,
        batches: &mut [Incoming<'_>],
        leader_epoch: LeaderEpoch,
        now: TimestampMs,
        after_failure: AfterFailure,
        tell: &mut impl FnMut(Outcome),
    ) -> Result<(usize, bool), NotReady> {
        let file = self.writable()?;
        let group = self.assemble::<N>(batches, leader_epoch, now, after_failure);
        let looked_at = group.looked_at;
        if looked_at == 0 {
            return Err(self.roll_need());
        }
        if group.bytes > 0 {
            self.epochs.assign(leader_epoch, self.log_end_offset);
        }
        let is_whole = self.write_group(&batches[..looked_at], group, &file, tell);
        Ok((looked_at, is_whole))
    }

    /// [`Log::append_as_leader`] for one batch.
    pub fn append_one(
        &mut self,
        batch: Incoming<'_>,
        leader_epoch: LeaderEpoch,
        now: TimestampMs,
    ) -> Result<Outcome, NotReady> {
        if let Err(error) = self.check_dir() {
            return Ok(Err(error.into()));
        }
        let mut outcome = None;
        let tell = &mut |told| outcome = Some(told);
        self.append_first::<1>(&mut [batch], leader_epoch, now, AfterFailure::GoOn, tell)?;
        Ok(outcome.expect("an outcome for each batch"))
    }

    /// The active segment's file, if it is open, its indexes have room in memory, and no roll is under way.
    pub(crate) fn writable(&mut self) -> Result<Arc<dyn File>, NotReady> {
        if self.rolling {
            return Err(self.roll_need());
        }
        let active = self.active_mut();
        let open = active
            .unsynced
            .clone()
            .or_else(|| active.files.get(FileKind::Log));
        let file = open.filter(|_| active.checked).ok_or(NotReady::Open)?;
        if active.has_many_aborted() {
            return Err(NotReady::Open);
        }
        if active.offsets.has_a_lot() || active.times.has_a_lot() {
            match active.write_indexes(false, false) {
                Ok(true) => {}
                Ok(false) => return Err(NotReady::Open),
                // They wait in memory for room.
                Err(error) if error.is_full() => {}
                Err(error) => self.home.dir.fail(&error),
            }
        }
        Ok(file)
    }

    /// Decides about the first batches and gives the accepted ones their offsets.
    fn assemble<const N: usize>(
        &self,
        batches: &mut [Incoming<'_>],
        leader_epoch: LeaderEpoch,
        now: TimestampMs,
        after_failure: AfterFailure,
    ) -> Group<N> {
        let mut group = Group {
            refusals: [const { None }; N],
            looked_at: 0,
            bytes: 0,
            end_offset: self.log_end_offset,
        };
        for at in 0..batches.len().min(N) {
            let (before, batch) = batches.split_at_mut(at);
            let guard = batch[0].guard;
            let header = &mut *batch[0].header;
            let accepted = before.iter().zip(&group.refusals).rev();
            let earlier = accepted
                .filter(|(_, refusal)| refusal.is_none())
                .map(|(batch, _)| &*batch.header);
            let verdict = self.check_size(header, batch[0].body).and_then(|size| {
                self.producers
                    .check(header, group.end_offset, guard, earlier)
                    .map(|()| size)
            });
            match verdict {
                Ok(size) => {
                    let last = group.end_offset.plus(i64::from(header.last_offset_delta));
                    if self.must_roll(group.bytes, size, last, header.max_timestamp, now) {
                        break;
                    }
                    header.patch(group.end_offset, leader_epoch);
                    group.end_offset = last.plus(1);
                    group.bytes += size;
                }
                // Those before it go out first.
                Err(_) if after_failure == AfterFailure::Stop && at > 0 => break,
                Err(refusal) => group.refusals[at] = Some(refusal),
            }
            group.looked_at = at + 1;
            if group.refusals[at].is_some() && after_failure == AfterFailure::Stop {
                break;
            }
        }
        group
    }

    fn check_size(&self, header: &BatchHeader, body: &[u8]) -> Result<u32, AppendError> {
        let size = header.size_in_bytes();
        if size != HEADER_BYTES + body.len() {
            return Err(AppendError::Batch(BatchError::Incomplete {
                need: size,
                have: HEADER_BYTES + body.len(),
            }));
        }
        let limit = self.config.max_message_bytes;
        if size > limit as usize {
            return Err(AppendError::TooLarge { size, limit });
        }
        self.fits_segment(size)
    }

    pub(crate) fn fits_segment(&self, size: usize) -> Result<u32, AppendError> {
        let limit = self.config.segment_bytes;
        let size32 = u32::try_from(size).ok().filter(|size| *size <= limit);
        size32.ok_or(AppendError::LargerThanSegment { size, limit })
    }

    /// Whether a batch of `size` bytes, after `before` other new ones, belongs to another segment.
    pub(crate) fn must_roll(
        &self,
        before: u32,
        size: u32,
        last: Offset,
        timestamp: TimestampMs,
        now: TimestampMs,
    ) -> bool {
        let (active, config) = (self.active(), &self.config);
        let filled = active.size + before;
        if filled == 0 {
            return false;
        }
        if u64::from(filled) + u64::from(size) > u64::from(config.segment_bytes) {
            return true;
        }
        let age_ms = match active.first_timestamp {
            Some(first) if first.0 >= 0 => timestamp.ms_since(first),
            _ => now.ms_since(active.created),
        };
        let limit = config.segment_ms.saturating_sub(config.roll_jitter).as_millis();
        let too_old = u128::try_from(age_ms).is_ok_and(|age| age > limit);
        too_old || active.index_is_full(config.segment_index_bytes) || active.relative(last).is_none()
    }

    /// Whether all of them are in the log now.
    fn write_group<const N: usize>(
        &mut self,
        batches: &[Incoming<'_>],
        mut group: Group<N>,
        file: &Arc<dyn File>,
        tell: &mut impl FnMut(Outcome),
    ) -> bool {
        let mut headers = [[0; HEADER_BYTES]; N];
        for (bytes, batch) in headers.iter_mut().zip(batches) {
            batch.header.write_to(bytes);
        }
        let mut pieces = [[IoSlice::new(&[]); 2]; N];
        let mut count = 0;
        for (at, batch) in batches.iter().enumerate() {
            if group.refusals[at].is_none() {
                pieces[count] = [IoSlice::new(&headers[at]), IoSlice::new(batch.body)];
                count += 1;
            }
        }
        let written = if count > 0 {
            self.write(pieces[..count].as_flattened(), file)
        } else {
            Ok(())
        };
        let mut is_whole = written.is_ok();
        for (batch, refusal) in batches.iter().zip(&mut group.refusals) {
            is_whole &= refusal.is_none();
            tell(match (refusal.take(), &written) {
                (Some(refusal), _) => Err(refusal),
                (None, Err(error)) => Err(AppendError::Storage(error.again())),
                (None, Ok(())) => Ok(self.note(batch.header, batch.body)),
            });
        }
        if written.is_ok() && count > 0 {
            self.noted(file);
        }
        is_whole
    }

    /// Writes at the end of the active segment. What a failed write left there is cut, or the log dir goes out of service.
    pub(crate) fn write(&self, pieces: &[IoSlice<'_>], file: &Arc<dyn File>) -> Result<(), LogError> {
        let active = self.active();
        let size = u64::from(active.size);
        let Err(source) = file.write_at(pieces, size) else {
            return Ok(());
        };
        let error = LogError::io(&active.files.path(FileKind::Log))(source);
        // A full device may have room again: the log goes on where it was.
        if !error.is_full() || file.set_len(size).is_err() {
            self.home.dir.fail(&error);
        }
        Err(error)
    }

    pub(crate) fn roll_need(&self) -> NotReady {
        NotReady::Roll(self.active().base_offset)
    }

    /// A batch stands at the end of the active segment.
    pub(crate) fn note(&mut self, header: &BatchHeader, body: &[u8]) -> Appended {
        let interval = self.config.index_interval_bytes;
        self.active_mut().note(header, interval);
        if let Some(aborted) = self.producers.take_in(header, body) {
            self.active_mut().note_aborted(aborted);
        }
        self.log_end_offset = header.next_offset();
        Appended {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            log_append_time: (header.timestamp_type() == TimestampType::LogAppendTime)
                .then_some(header.max_timestamp),
            log_start_offset: self.log_start_offset,
        }
    }

    /// A write is done and its batches are noted.
    pub(crate) fn noted(&mut self, file: &Arc<dyn File>) {
        let (end, active) = (self.log_end_offset, self.active());
        let (base_offset, size) = (active.base_offset, active.size);
        self.marks
            .get_or_insert_default()
            .appended(base_offset, end, size);
        match self.config.durability {
            Durability::PageCache => (self.durable_end_offset, self.durable_position) = (end, None),
            Durability::Fsync => {
                self.active_mut().unsynced.get_or_insert_with(|| Arc::clone(file));
            }
        }
    }
}

#[cfg(test)]
mod tests;
