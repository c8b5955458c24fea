//! What the metadata says about a partition, and what its log says.

use klamm_model::{BrokerId, LeaderEpoch, Offset};

/// Whether the leader was elected out of the in-sync replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LeaderRecovery {
    /// It was, or has recovered since.
    #[default]
    Recovered,
    /// It was not.
    Recovering,
}

/// What the metadata says about a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment<'a> {
    /// The brokers that hold it.
    pub replicas: &'a [BrokerId],
    /// The in-sync set.
    pub isr: &'a [BrokerId],
    /// Who leads.
    pub leader: Option<BrokerId>,
    /// Grows with each change of the leader.
    pub leader_epoch: LeaderEpoch,
    /// Grows with each change at all.
    pub partition_epoch: i32,
    /// How the leader came to lead.
    pub recovery: LeaderRecovery,
}

/// Where a log ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogEnds {
    /// The offset after the last record appended.
    pub log_end: Offset,
    /// The offset after the last record on disk; no greater than `log_end`.
    pub durable_end: Offset,
}
