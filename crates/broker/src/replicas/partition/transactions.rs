//! What transactions ask of a partition.
//!
//! Always holds: who begins to ask whether a producer may write here, and goes away before there is an answer, leaves nothing
//! behind; who is told to ask again, nothing that stays for long if nobody does.

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

/// Somebody who asks the coordinator whether a producer may write to a partition in its transaction. Dropped when the coordinator
/// says no for good, or nobody waits for what it says.
#[derive(Debug)]
pub(crate) struct Asking {
    partition: Arc<Partition>,
    producer_id: ProducerId,
    guard: VerificationGuard,
    goes_on: bool,
}

impl Asking {
    pub(crate) fn partition(&self) -> &Arc<Partition> {
        &self.partition
    }

    /// The coordinator has said yes: the batch is appended with the guard.
    pub(crate) fn go_on(mut self) -> VerificationGuard {
        self.goes_on = true;
        self.guard
    }

    /// The coordinator must be asked again: the verification waits for that.
    pub(crate) fn leave(mut self) {
        self.goes_on = true;
        self.partition
            .with(|log| log.verification_left(self.producer_id, self.guard));
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if !self.goes_on {
            let Self {
                producer_id, guard, ..
            } = *self;
            self.partition
                .with(|log| log.verification_over(producer_id, guard));
        }
    }
}

impl Partition {
    /// Begins to verify that a producer may write here in its transaction, or joins the verification that goes on. `None`: the
    /// transaction is open here.
    pub(crate) fn verify(self: &Arc<Self>, asked: &Verification) -> Result<Option<Asking>, Refusal> {
        let guard = {
            let mut state = self.state.lock();
            state.standing.leader().ok_or(Refusal::NotLeader)?;
            state.log.verify(asked, self.env.now())?
        };
        Ok(guard.map(|guard| Asking {
            partition: self.clone(),
            producer_id: asked.producer_id,
            guard,
            goes_on: false,
        }))
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
