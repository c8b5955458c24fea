//! Keys of new topics and of replication.
//!
//! Always holds: one row a key; what needs a second replica is not served yet.
//! Next: `broker.rs`.

use super::keys;
use super::reasons::{JAVA_CLASS, NO_QUOTAS, ONE_REPLICA};
use crate::key::{Key, Scope, Update};

/// The keys, in the order of the reference.
pub(super) static KEYS: &[Key] = keys! {
    Scope::Broker(Update::ReadOnly);
    Int "num.partitions" = "1", at_least(1), served;
        "Partitions of a topic whose creator names no count."
    Int "default.replication.factor" = "1", served;
        "Replicas of a topic whose creator names no count."
    Boolean "auto.create.topics.enable" = "true", high, served;
        "Asking for an unknown topic creates it, when the client agrees."
    Boolean "delete.topic.enable" = "true", high, served;
        "Topics may be deleted."
    Int "min.insync.replicas" = "1", at_least(1), high, cluster_wide, not_served(ONE_REPLICA);
        "In-sync replicas that acks=all needs; the default of topics."
    Boolean "unclean.leader.election.enable" = "false", high, cluster_wide, not_served(ONE_REPLICA);
        "A replica out of sync may lead when no other is left, at the price of lost records."
    Long "unclean.leader.election.interval.ms" = "300000", at_least(1), ms, internal, not_served(ONE_REPLICA);
        "Interval at which leaderless partitions are looked at."
    Boolean "auto.leader.rebalance.enable" = "true", high, not_served(ONE_REPLICA);
        "Leadership goes back to the preferred replica by itself."
    Long "leader.imbalance.check.interval.seconds" = "300", at_least(1), seconds, high,
        not_served(ONE_REPLICA);
        "Interval at which preferred leaders are looked at."
    Int "num.replica.fetchers" = "1", at_least(1), high, cluster_wide, not_served(ONE_REPLICA);
        "Fetching connections to each other broker."
    Int "num.replica.alter.log.dirs.threads", high, not_served(ONE_REPLICA);
        "Threads that move replicas between log folders."
    Int "replica.fetch.backoff.ms" = "1000", at_least(0), ms, not_served(ONE_REPLICA);
        "Pause after a failed fetch from a leader."
    Int "replica.fetch.max.bytes" = "1048576", at_least(0), bytes, not_served(ONE_REPLICA);
        "Bytes a follower asks for by partition."
    Int "replica.fetch.min.bytes" = "1", bytes, high, not_served(ONE_REPLICA);
        "Fewest bytes that answer a follower's fetch before its wait is over."
    Int "replica.fetch.response.max.bytes" = "10485760", at_least(0), bytes, not_served(ONE_REPLICA);
        "Most bytes in one answer to a follower."
    Int "replica.fetch.wait.max.ms" = "500", ms, high, not_served(ONE_REPLICA);
        "Longest wait of a follower's fetch."
    Long "replica.high.watermark.checkpoint.interval.ms" = "5000", ms, high, served;
        "Interval at which high watermarks are written down."
    Long "replica.lag.time.max.ms" = "30000", ms, high, not_served(ONE_REPLICA);
        "A follower behind for this long leaves the in-sync set."
    String "replica.selector.class", not_served(JAVA_CLASS);
        "Java class that chooses the replica a consumer reads from."
    Int "replica.socket.receive.buffer.bytes" = "65536", bytes, high, not_served(ONE_REPLICA);
        "Receive buffer of a follower's connection."
    Int "replica.socket.timeout.ms" = "30000", ms, high, not_served(ONE_REPLICA);
        "Timeout of a follower's connection."
    Int "replication.quota.window.num" = "11", at_least(1), low, not_served(NO_QUOTAS);
        "Windows that a replication quota remembers."
    Int "replication.quota.window.size.seconds" = "1", at_least(1), seconds, low, not_served(NO_QUOTAS);
        "Length of a replication quota's window."
    Int "alter.log.dirs.replication.quota.window.num" = "11", at_least(1), low, not_served(NO_QUOTAS);
        "Windows that the quota on moves between folders remembers."
    Int "alter.log.dirs.replication.quota.window.size.seconds" = "1", at_least(1), seconds, low,
        not_served(NO_QUOTAS);
        "Length of a window of the quota on moves between folders."
    Boolean "follower.fetch.last.tiered.offset.enable" = "false", cluster_wide, not_served(ONE_REPLICA);
        "An empty follower begins after the offsets that are already tiered."
};
