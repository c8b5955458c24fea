//! What decisions are made with beside the shard and the cluster: the time, the settings, and the partition that they go into.
//!
//! Always holds: what the partition says counts for the epoch in which the seat leads it, and for no other: a watermark of
//! another leader says nothing of what was decided here.
//!
//! Next: `loaded.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use klamm_coordinator::Shard;
use klamm_env::Env;
use klamm_log::{AppendError, Log};
use klamm_model::{ErrorCode, LeaderEpoch, Offset, TimestampMs};
use klamm_records::Codec;
use thiserror::Error;

use super::gathered::{PackError, Packing};
use crate::replicas::{Partition, Refusal, WriteError, Written};

/// See the head of the file.
pub(super) struct Around<'a, S: Shard> {
    pub(super) env: &'a Env,
    pub(super) config: &'a S::Config,
    pub(super) partition: &'a Arc<Partition>,
    pub(super) epoch: LeaderEpoch,
    pub(super) codec: Codec,
    pub(super) stopping: &'a AtomicBool,
}

/// Why what was decided is not in the log.
#[derive(Debug, Error)]
pub(super) enum AppendFailure {
    #[error(transparent)]
    Pack(#[from] PackError),
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl<S: Shard> Around<'_, S> {
    /// Whether the node stops.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// How records are packed; why there can be none now.
    pub(super) fn packing(&self) -> Result<Packing, ErrorCode> {
        let max_batch_bytes = self.partition.may_append(self.epoch).map_err(|code| match code {
            ErrorCode::NotEnoughReplicas => ErrorCode::CoordinatorNotAvailable,
            _ => ErrorCode::NotCoordinator,
        })?;
        Ok(Packing {
            codec: self.codec,
            max_batch_bytes,
        })
    }

    /// What `check` says of the log, and why what is decided must not be written to it.
    pub(super) fn as_log_allows<R>(
        &self,
        check: impl FnOnce(&Log) -> Result<R, AppendError>,
    ) -> Result<R, ErrorCode> {
        let checked = self.partition.as_leader(Some(self.epoch), |log, _| check(log));
        let checked = checked.map_err(|_| ErrorCode::NotCoordinator)?;
        checked.map_err(|error| Refusal::from(error).code())
    }

    /// Up to where everything is committed.
    pub(super) fn committed(&self) -> Result<Offset, ErrorCode> {
        let committed = self.partition.committed_in(self.epoch);
        committed.ok_or(ErrorCode::NotCoordinator)
    }

    /// Appends a batch if nothing has to be waited for; up to where everything is committed then.
    pub(super) fn append(
        &self,
        at: Offset,
        batch: &mut Written,
        now: TimestampMs,
    ) -> Result<Option<Offset>, WriteError> {
        self.partition.append_at_once(self.epoch, at, batch, now)
    }
}
