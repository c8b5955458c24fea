//! What readers get of a partition.
//!
//! Always holds: nobody but the leader answers; a reader sees nothing at or above the offset that its isolation lets it see.
//!
//! Next: `outcome.rs`; `handlers/fetch/read.rs`, which asks.

use klamm_log::read::read_blocking;
use klamm_log::{Log, LogCell, ReadError, ReadRequest};
use klamm_model::{ErrorCode, LeaderEpoch, Offset};

use super::{Partition, State};
use crate::replicas::{Isolation, ReadOutcome, ReadSpec, Watcher};

impl Partition {
    /// Reads; never waits for the device. With the same look, so that nothing is missed between, `watcher` is entered for
    /// what comes next.
    pub(crate) fn read(
        &self,
        spec: &ReadSpec,
        watcher: Option<Watcher<'_>>,
    ) -> Result<ReadOutcome, ErrorCode> {
        let mut state = self.state.lock();
        let mut outcome = self.read_locked(&mut state, spec)?;
        let is_idle = outcome.is_idle(spec.offset);
        if let Some(watcher) = watcher.filter(|watcher| is_idle || !watcher.only_idle) {
            let next = (outcome.readable.plus(1), spec.isolation);
            state.waiters.watch(next, watcher.watch, watcher.place);
            outcome.is_watched = true;
        }
        Ok(outcome)
    }

    fn read_locked(&self, state: &mut State, spec: &ReadSpec) -> Result<ReadOutcome, ErrorCode> {
        state.standing.check_leads(spec.current_leader_epoch)?;
        if spec.replica.is_some() {
            // Followers are known by the metadata: nobody else may fetch as one.
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        let log = &mut state.log;
        let request = request(log, spec);
        let mut outcome = ReadOutcome {
            high_watermark: log.high_watermark(),
            last_stable_offset: log.last_stable_offset(),
            readable: request.upper_bound,
            log_start_offset: log.log_start_offset(),
            range: None,
            offset_count: 0,
            aborted: Some(Vec::new()),
            diverging: match spec.last_fetched_epoch {
                Some(epoch) => divergence(log, epoch, spec.offset)?,
                None => None,
            },
            not_ready: false,
            is_watched: false,
        };
        if outcome.diverging.is_some() {
            return Ok(outcome);
        }
        match log.read(&request) {
            Ok(read) => {
                outcome.offset_count = u64::try_from(read.next_offset.0 - spec.offset.0).unwrap_or(0);
                outcome.range = read.range;
                if spec.isolation == Isolation::Committed && outcome.range.is_some() {
                    outcome.aborted = log.aborted_transactions(spec.offset..read.next_offset).ok();
                }
            }
            Err(ReadError::NotReady(_)) => outcome.not_ready = true,
            Err(ReadError::OffsetOutOfRange { .. }) => return Err(ErrorCode::OffsetOutOfRange),
            Err(error @ (ReadError::Corrupt { .. } | ReadError::Storage(_))) => {
                tracing::error!(partition = %self, %error, "cannot read");
                return Err(ErrorCode::KafkaStorageError);
            }
        }
        Ok(outcome)
    }

    /// Opens and reads what [`Partition::read`] found not ready, so that the same read finds it in memory. Blocks.
    pub(crate) fn prepare_read(&self, spec: &ReadSpec) {
        let request = self.with(|log| request(log, spec));
        if let Err(error) = read_blocking(self, &request, self.env.now()) {
            tracing::debug!(partition = %self, %error, "cannot prepare a read");
        }
    }
}

fn request(log: &Log, spec: &ReadSpec) -> ReadRequest {
    let upper_bound = match spec.isolation {
        Isolation::Uncommitted => log.high_watermark(),
        Isolation::Committed => log.last_stable_offset(),
    };
    ReadRequest {
        offset: spec.offset,
        max_bytes: spec.max_bytes,
        upper_bound,
        min_one: spec.min_one,
    }
}

/// Whether a reader whose last record before `offset` is of `epoch` has another history than `log` (KIP-595). An epoch
/// that the log has not reached is no history at all: the reader's offset is out of range.
fn divergence(
    log: &Log,
    epoch: LeaderEpoch,
    offset: Offset,
) -> Result<Option<(LeaderEpoch, Offset)>, ErrorCode> {
    let end = log.epoch_end(epoch).ok_or(ErrorCode::OffsetOutOfRange)?;
    let parted = end.leader_epoch < epoch || end.end_offset < offset;
    Ok(parted.then_some((end.leader_epoch, end.end_offset)))
}
