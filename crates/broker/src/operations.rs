//! The operations that a client may do, as bits (KIP-430), and what else several answers show alike.
//!
//! Without an authorizer everybody may do everything.

use klamm_model::BrokerId;

use crate::context::RequestContext;

/// What is told of a partition that is not here, by the APIs that say it in words.
pub(crate) const UNKNOWN_PARTITION: &str = "This server does not host this topic-partition.";

/// What an answer has in place of the bits when it was not asked for them.
const NOT_ASKED: i32 = i32::MIN;
/// READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS: what can be done with a topic.
const TOPIC: i32 = bits(&[3, 4, 5, 6, 7, 8, 10, 11]);
/// CREATE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE: with the cluster.
const CLUSTER: i32 = bits(&[5, 7, 8, 9, 10, 11, 12]);
/// READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS: with a group.
const GROUP: i32 = bits(&[3, 6, 8, 10, 11]);

const fn bits(operations: &[u32]) -> i32 {
    let mut bits = 0;
    let mut at = 0;
    while at < operations.len() {
        bits |= 1 << operations[at];
        at += 1;
    }
    bits
}

/// The operations on a topic.
pub(crate) fn of_topic(asked: bool) -> i32 {
    if asked { TOPIC } else { NOT_ASKED }
}

/// The operations on a group.
pub(crate) fn of_group(asked: bool) -> i32 {
    if asked { GROUP } else { NOT_ASKED }
}

/// The operations on the cluster.
pub(crate) fn of_cluster(asked: bool) -> i32 {
    if asked { CLUSTER } else { NOT_ASKED }
}

/// The broker that clients are told to send what is the controller's business: any that is alive, since each passes it
/// on (KIP-590). This one, as long as it is not fenced.
pub(crate) fn controller_to_show(context: &RequestContext<'_>) -> Option<BrokerId> {
    let image = context.broker.metadata.published();
    let cluster = image.cluster();
    let own = context.broker.id;
    if cluster.is_unfenced(own) {
        return Some(own);
    }
    cluster
        .brokers()
        .find(|broker| !broker.fenced)
        .map(|broker| broker.id)
}
