//! What transactions ask of a partition.

use std::future::poll_fn;
use std::ops::Range;
use std::sync::Arc;
use std::task::Poll;

use klamm_log::{
    AbortedTransaction, AppendError, EndTransaction, LogCell, LogError, NotReady, Verification,
    VerificationGuard, aborted_transactions,
};
use klamm_model::{ErrorCode, LeaderEpoch, Offset, ProducerId, TimestampMs};

use super::Partition;
use crate::replicas::{Refusal, Watched};
use crate::waiters::Waiter;

impl Partition {
    /// Begins to verify that a producer may write here in its transaction, or joins the verification that goes on: its batch is
    /// appended with the guard, once the coordinator has said yes. `None`: the transaction is open here.
    pub(crate) fn verify(&self, asked: &Verification) -> Result<Option<VerificationGuard>, Refusal> {
        let mut state = self.state.lock();
        state.standing.leader().ok_or(Refusal::NotLeader)?;
        Ok(state.log.verify(asked, self.env.now())?)
    }

    /// The coordinator has said no, for good, to somebody with this guard.
    pub(crate) fn verification_refused(&self, producer_id: ProducerId, guard: VerificationGuard) {
        self.with(|log| log.verification_refused(producer_id, guard));
    }

    /// Finds what [`Partition::read`] could not without the device; `None` when what was read is gone meanwhile. Blocks.
    pub(crate) fn aborted_transactions(
        &self,
        range: Range<Offset>,
    ) -> Result<Option<Vec<AbortedTransaction>>, LogError> {
        aborted_transactions(self, range)
    }

    /// The producer whose transaction holds the last stable offset here, and when it last wrote; only the leader tells.
    pub(crate) fn oldest_transaction(&self) -> Option<(ProducerId, TimestampMs)> {
        let oldest = self.as_leader(None, |log, _| log.producers().oldest_open());
        oldest.ok().flatten()
    }

    /// Appends the marker that ends a transaction, as the leader; in which epoch that was, and where the log ends then.
    pub(crate) async fn end_transaction(
        self: &Arc<Self>,
        end: &EndTransaction,
        now: TimestampMs,
    ) -> Result<(LeaderEpoch, Offset), Refusal> {
        loop {
            match self.try_end_transaction(end, now)? {
                Ok(written) => {
                    self.flush_by_count().await.map_err(AppendError::Storage)?;
                    return Ok(written);
                }
                Err(need) => match self.prepare(need).await {
                    // Deleted meanwhile: the next look says so.
                    Ok(()) | Err(LogError::Retired) => {}
                    Err(error) => return Err(AppendError::Storage(error).into()),
                },
            }
        }
    }

    fn try_end_transaction(
        &self,
        end: &EndTransaction,
        now: TimestampMs,
    ) -> Result<Result<(LeaderEpoch, Offset), NotReady>, Refusal> {
        let mut state = self.state.lock();
        let leader = state.open_leader()?;
        leader.check_append()?;
        let epoch = leader.leader_epoch();
        match state.log.append_end_transaction(end, epoch, now) {
            Ok(outcome) => {
                let appended = outcome?;
                self.appended(&mut state);
                Ok(Ok((epoch, appended.last_offset.plus(1))))
            }
            Err(need) => Ok(Err(need)),
        }
    }

    /// Waits until everything below `offset` is committed that was appended as the leader of `epoch`.
    pub(crate) async fn committed(&self, epoch: LeaderEpoch, offset: Offset) -> Result<(), ErrorCode> {
        let waiter = Arc::<Waiter>::default();
        loop {
            let generation = waiter.arm();
            self.wake_at(offset, &waiter, generation);
            // Armed before it looks: an advance in between fires it.
            match (self.committed_in(epoch), self.watch(offset)) {
                (Some(committed), _) if committed >= offset => return Ok(()),
                (_, Watched::Failed(code)) => return Err(code),
                (None, _) => return Err(ErrorCode::NotLeaderOrFollower),
                (Some(_), _) => {}
            }
            poll_fn(|cx| {
                waiter.register(cx.waker());
                match waiter.has_fired() {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }
            })
            .await;
        }
    }
}
