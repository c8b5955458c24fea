//! What transactions ask of a partition.

use std::ops::Range;
use std::sync::Arc;

use klamm_log::{AbortedTransaction, AppendError, EndTransaction, LogError, NotReady, aborted_transactions};
use klamm_model::{Offset, TimestampMs};

use super::Partition;
use crate::replicas::Refusal;

impl Partition {
    /// Finds what [`Partition::read`] could not without the device; `None` when what was read is gone meanwhile. Blocks.
    pub(crate) fn aborted_transactions(
        &self,
        range: Range<Offset>,
    ) -> Result<Option<Vec<AbortedTransaction>>, LogError> {
        aborted_transactions(self, range)
    }

    /// Appends the marker that ends a transaction, as the leader; where the log ends then.
    pub(crate) async fn end_transaction(
        self: &Arc<Self>,
        end: &EndTransaction,
        now: TimestampMs,
    ) -> Result<Offset, Refusal> {
        loop {
            match self.try_end_transaction(end, now)? {
                Ok(offset) => {
                    self.flush_by_count().await.map_err(AppendError::Storage)?;
                    return Ok(offset);
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
    ) -> Result<Result<Offset, NotReady>, Refusal> {
        let mut state = self.state.lock();
        let leader = state.standing.leader().ok_or(Refusal::NotLeader)?;
        leader.check_append()?;
        let epoch = leader.leader_epoch();
        match state.log.append_end_transaction(end, epoch, now) {
            Ok(outcome) => {
                let appended = outcome?;
                self.appended(&mut state);
                Ok(Ok(appended.last_offset.plus(1)))
            }
            Err(need) => Ok(Err(need)),
        }
    }
}
