//! What a coordinator does with its partition: it reads it whole, once, and is its only writer from then on.
//!
//! Always holds: batches are appended where their writer said they would be, in the leader's epoch that it began in, or not at
//! all; behind one that does not get into the log, none does. While a partition is led in the epoch that it is kept in, nobody else
//! appends.
//!
//! Next: `coordinators/runtime.rs`.

use std::sync::Arc;

use bytes::Bytes;
use klamm_log::read::read_blocking;
use klamm_log::{
    AppendError, FileRange, Incoming, Log, LogError, NotReady, ReadError, ReadRequest, Verification,
    VerificationGuard,
};
use klamm_model::{ErrorCode, LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};
use klamm_records::BatchHeader;
use thiserror::Error;

use super::Partition;
use crate::replicas::Refusal;

/// A batch to be appended.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) header: BatchHeader,
    pub(crate) body: Bytes,
}

/// Why a writer cannot go on.
#[derive(Debug, Error)]
pub(crate) enum WriteError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the partition is led in another epoch")]
    OtherEpoch,
    #[error("the log ends at {found}, and its only writer believes at {expected}")]
    OtherWriter { expected: Offset, found: Offset },
}

impl From<AppendError> for WriteError {
    fn from(error: AppendError) -> Self {
        Self::Refused(error.into())
    }
}

/// How far a writer has come with its batches.
struct Progress<'a> {
    batches: &'a mut [Written],
    /// Where the first of them belongs.
    at: Offset,
}

impl Partition {
    /// For as long as this broker leads in `epoch`, nobody appends any more but the coordinator that asks for this.
    pub(crate) fn keep_in(&self, epoch: LeaderEpoch) {
        self.state.lock().kept_in = Some(epoch);
    }

    /// Whether the leader of `epoch` may append now, and how large a batch may be.
    pub(crate) fn may_append(&self, epoch: LeaderEpoch) -> Result<usize, ErrorCode> {
        {
            let state = self.state.lock();
            state.standing.check_leads(Some(epoch))?;
            let leader = state.standing.leader().ok_or(ErrorCode::NotLeaderOrFollower)?;
            leader.check_append().map_err(|_| ErrorCode::NotEnoughReplicas)?;
        }
        let log = &self.settings.load().log;
        Ok(log.max_message_bytes.min(log.segment_bytes) as usize)
    }

    /// Up to where everything is committed, for the leader of `epoch`; `None` once that is over: a later watermark says nothing
    /// of what was appended in it.
    pub(crate) fn committed_in(&self, epoch: LeaderEpoch) -> Option<Offset> {
        let state = self.state.lock();
        let leader = state.standing.leader()?;
        (leader.leader_epoch() == epoch).then(|| state.log.high_watermark())
    }

    /// Where the log begins and ends, for the leader of `epoch`.
    pub(crate) fn bounds(&self, epoch: LeaderEpoch) -> Result<(Offset, Offset), ErrorCode> {
        self.as_leader(Some(epoch), |log, _| {
            (log.log_start_offset(), log.log_end_offset())
        })
    }

    /// Whole batches from the one with `offset` on, committed or not, of about `max_bytes`; `None` when there are none below
    /// `end`. Blocks.
    pub(crate) fn read_all(
        &self,
        offset: Offset,
        end: Offset,
        max_bytes: usize,
    ) -> Result<Option<FileRange>, ReadError> {
        let request = ReadRequest {
            offset,
            max_bytes,
            upper_bound: end,
            min_one: true,
        };
        read_blocking(self, &request, self.env.now()).map(|read| read.range)
    }

    /// Appends `batches` in order, the first at `at`, as the leader of `epoch`. Waits only when a file must be opened or a
    /// segment begun.
    pub(crate) async fn append_in_order(
        self: &Arc<Self>,
        epoch: LeaderEpoch,
        at: Offset,
        batches: &mut [Written],
        now: TimestampMs,
    ) -> Result<(), WriteError> {
        let mut progress = Progress { batches, at };
        loop {
            match self.try_append_in_order(epoch, &mut progress, now)? {
                Ok(_) => {
                    self.flush_by_count().await.map_err(AppendError::Storage)?;
                    return Ok(());
                }
                Err(need) => match self.prepare(need).await {
                    // Deleted meanwhile: the next look says so.
                    Ok(()) | Err(LogError::Retired) => {}
                    Err(error) => return Err(AppendError::Storage(error).into()),
                },
            }
        }
    }

    /// The same for one batch, if nothing has to be waited for: up to where everything is committed then.
    pub(crate) fn append_at_once(
        &self,
        epoch: LeaderEpoch,
        at: Offset,
        batch: &mut Written,
        now: TimestampMs,
    ) -> Result<Option<Offset>, WriteError> {
        if self.settings.load().log.flush_messages.is_some() {
            return Ok(None);
        }
        let batches = std::slice::from_mut(batch);
        let appended = self.try_append_in_order(epoch, &mut Progress { batches, at }, now)?;
        Ok(appended.ok())
    }

    /// Up to where everything is committed when all is appended.
    fn try_append_in_order(
        &self,
        epoch: LeaderEpoch,
        progress: &mut Progress<'_>,
        now: TimestampMs,
    ) -> Result<Result<Offset, NotReady>, WriteError> {
        let mut state = self.state.lock();
        let leader = state.standing.leader().ok_or(Refusal::NotLeader)?;
        if leader.leader_epoch() != epoch {
            return Err(WriteError::OtherEpoch);
        }
        leader.check_append().map_err(Refusal::from)?;
        let found = state.log.log_end_offset();
        if found != progress.at {
            let expected = progress.at;
            return Err(WriteError::OtherWriter { expected, found });
        }
        let mut incoming = Vec::with_capacity(progress.batches.len());
        for Written { header, body } in progress.batches.iter_mut() {
            let guard = verified(&mut state.log, header, now)?;
            incoming.push(Incoming { header, body, guard });
        }
        let (mut count, mut failure) = (0, None);
        let ready = state
            .log
            .append_in_order(&mut incoming, epoch, now, |outcome| match outcome {
                Ok(_) => count += 1,
                Err(error) => failure = Some(error),
            });
        drop(incoming);
        if count > 0 {
            self.appended(&mut state);
        }
        if let Some(failure) = failure {
            return Err(failure.into());
        }
        progress.at = state.log.log_end_offset();
        let batches = std::mem::take(&mut progress.batches);
        progress.batches = &mut batches[count..];
        Ok(ready.map(|()| state.log.high_watermark()))
    }
}

/// What a coordinator writes for a producer was verified before it decided.
fn verified(
    log: &mut Log,
    header: &BatchHeader,
    now: TimestampMs,
) -> Result<Option<VerificationGuard>, AppendError> {
    if !header.is_transactional() || header.is_control() {
        return Ok(None);
    }
    let verification = Verification {
        producer_id: ProducerId(header.producer_id),
        producer_epoch: ProducerEpoch(header.producer_epoch),
        base_sequence: None,
        bumps_epoch: false,
    };
    log.verify(&verification, now)
}
