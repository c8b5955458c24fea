//! Keys of transactions.
//!
//! Always holds: what coordinators of transactions and their topic follow is served.
//! Next: `keys.rs`.

use super::keys;
use super::reasons::{ALWAYS_VERIFIED, COORDINATOR_WAITS, NO_TWO_PHASE_COMMIT};
use crate::key::{Key, Scope, Update};

/// The keys, in the order of the reference.
pub(super) static KEYS: &[Key] = keys! {
    Scope::Broker(Update::ReadOnly);
    Int "add.partitions.to.txn.retry.backoff.ms" = "20", at_least(1), ms, high,
        not_served(COORDINATOR_WAITS);
        "Pause before a partition is added to a transaction again."
    Int "add.partitions.to.txn.retry.backoff.max.ms" = "100", at_least(0), ms, high,
        not_served(COORDINATOR_WAITS);
        "Longest time for which adding a partition is tried."
    Int "transaction.abort.timed.out.transaction.cleanup.interval.ms" = "10000", at_least(1), ms, low,
        served;
        "Interval at which timed-out transactions are aborted."
    Int "transaction.max.timeout.ms" = "900000", at_least(1), ms, high, served;
        "Longest timeout a transaction may ask for."
    Boolean "transaction.partition.verification.enable" = "true", low, cluster_wide,
        not_served(ALWAYS_VERIFIED);
        "A transactional write is checked against its transaction."
    Int "transaction.remove.expired.transaction.cleanup.interval.ms" = "3600000", at_least(1), ms, low,
        served;
        "Interval at which expired transactional ids are removed."
    Int "transaction.state.log.load.buffer.size" = "5242880", at_least(1), bytes, high,
        served;
        "Bytes read at once when a transaction coordinator loads."
    Int "transaction.state.log.min.isr" = "2", at_least(1), high, served;
        "In-sync replicas that the transaction topic needs; unset on one node, 1."
    Int "transaction.state.log.num.partitions" = "50", at_least(1), high, served;
        "Partitions of the transaction topic."
    Short "transaction.state.log.replication.factor" = "3", at_least(1), high, served;
        "Replicas of the transaction topic; unset on one node, 1."
    Int "transaction.state.log.segment.bytes" = "104857600", at_least(1), bytes, high,
        served;
        "Segment size of the transaction topic."
    Boolean "transaction.two.phase.commit.enable" = "false", low, not_served(NO_TWO_PHASE_COMMIT);
        "Transactions may be prepared by an outside coordinator."
    Int "transactional.id.expiration.ms" = "604800000", at_least(1), ms, high, served;
        "A transactional id unused for this long is forgotten."
};
