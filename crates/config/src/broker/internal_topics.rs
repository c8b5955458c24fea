//! What the topics of the coordinators are made with, once somebody looks for a coordinator.
//!
//! Always holds: the names here are those of the topics on the wire. A quorum of several nodes is refused (`node.rs`), so
//! there is one node: replication factors and in-sync minimums that nobody set are 1, since Kafka's own would let no topic be
//! made and no coordinator be found.
//!
//! Next: `keys/group.rs`, `keys/transaction.rs`, `keys/share.rs`.

use super::read::Reader;
use crate::source::Fixed;

/// What more than one node would be needed for.
const ONE_ON_ONE_NODE: &[&str] = &[
    "offsets.topic.replication.factor",
    "transaction.state.log.replication.factor",
    "transaction.state.log.min.isr",
    "share.coordinator.state.topic.replication.factor",
    "share.coordinator.state.topic.min.isr",
];

/// What the topics of the coordinators are made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternalTopics {
    /// `__consumer_offsets`: `offsets.topic.*`.
    pub offsets: InternalTopic,
    /// `__transaction_state`: `transaction.state.log.*`.
    pub transactions: InternalTopic,
    /// `__share_group_state`: `share.coordinator.state.topic.*`.
    pub shares: InternalTopic,
}

/// What one of them is made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternalTopic {
    /// `num.partitions`.
    pub partitions: u32,
    /// `replication.factor`.
    pub replication_factor: u32,
    /// `segment.bytes`.
    pub segment_bytes: u32,
    /// `min.isr`; `None` where there is no key for it, and the topic has the broker's `min.insync.replicas`.
    pub min_isr: Option<u32>,
}

/// Fills in what was not set.
pub(super) fn supply(fixed: &mut Fixed) {
    for key in ONE_ON_ONE_NODE {
        if !fixed.is_set(key) {
            fixed.supply(key, "1".to_owned());
        }
    }
}

pub(super) fn read(reader: &Reader<'_>) -> InternalTopics {
    InternalTopics {
        offsets: InternalTopic {
            partitions: reader.count("offsets.topic.num.partitions"),
            replication_factor: reader.count("offsets.topic.replication.factor"),
            segment_bytes: reader.count("offsets.topic.segment.bytes"),
            min_isr: None,
        },
        transactions: InternalTopic {
            partitions: reader.count("transaction.state.log.num.partitions"),
            replication_factor: reader.count("transaction.state.log.replication.factor"),
            segment_bytes: reader.count("transaction.state.log.segment.bytes"),
            min_isr: Some(reader.count("transaction.state.log.min.isr")),
        },
        shares: InternalTopic {
            partitions: reader.count("share.coordinator.state.topic.num.partitions"),
            replication_factor: reader.count("share.coordinator.state.topic.replication.factor"),
            segment_bytes: reader.count("share.coordinator.state.topic.segment.bytes"),
            min_isr: Some(reader.count("share.coordinator.state.topic.min.isr")),
        },
    }
}
