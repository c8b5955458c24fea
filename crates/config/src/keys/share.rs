//! Keys of share groups and of their coordinator.
//!
//! Always holds: what the share state topic is made with is served, the rest is known and not served yet.
//! Next: `keys/group_resource.rs`.

use super::keys;
use super::reasons::{JAVA_CLASS, NO_SHARE_GROUPS};
use crate::key::{Key, Scope, Update};

/// The keys, in the order of the reference.
pub(super) static KEYS: &[Key] = keys! {
    Scope::Broker(Update::ReadOnly);
    Int "group.share.assignment.interval.ms" = "1000", at_least(0), ms, cluster_wide,
        not_served(NO_SHARE_GROUPS);
        "Shortest time between two assignments of a share group."
    Int "group.share.min.assignment.interval.ms" = "0", at_least(0), ms, not_served(NO_SHARE_GROUPS);
        "Least that a group may set as share.assignment.interval.ms."
    Int "group.share.max.assignment.interval.ms" = "15000", at_least(0), ms, not_served(NO_SHARE_GROUPS);
        "Most that a group may set as share.assignment.interval.ms."
    Boolean "group.share.assignor.offload.enable" = "true", cluster_wide, internal,
        not_served(NO_SHARE_GROUPS);
        "Assignments of share groups are computed in the background."
    List "group.share.assignors" = "simple", filled, not_served(NO_SHARE_GROUPS);
        "The assignor of share groups."
    Int "group.share.delivery.count.limit" = "5", between(2, 10), not_served(NO_SHARE_GROUPS);
        "Deliveries of a record to a share group before it is given up."
    Int "group.share.min.delivery.count.limit" = "2", between(2, 5), not_served(NO_SHARE_GROUPS);
        "Least that a group may set as share.delivery.count.limit."
    Int "group.share.max.delivery.count.limit" = "10", between(5, 25), not_served(NO_SHARE_GROUPS);
        "Most that a group may set as share.delivery.count.limit."
    Int "group.share.heartbeat.interval.ms" = "5000", at_least(1), ms, not_served(NO_SHARE_GROUPS);
        "Heartbeat interval told to members of share groups."
    Int "group.share.min.heartbeat.interval.ms" = "5000", at_least(1), ms, not_served(NO_SHARE_GROUPS);
        "Least that a group may set as share.heartbeat.interval.ms."
    Int "group.share.max.heartbeat.interval.ms" = "15000", at_least(1), ms, not_served(NO_SHARE_GROUPS);
        "Most that a group may set as share.heartbeat.interval.ms."
    Int "group.share.session.timeout.ms" = "45000", at_least(1), ms, not_served(NO_SHARE_GROUPS);
        "A member of a share group silent for this long is removed."
    Int "group.share.min.session.timeout.ms" = "45000", at_least(1), ms, not_served(NO_SHARE_GROUPS);
        "Least that a group may set as share.session.timeout.ms."
    Int "group.share.max.session.timeout.ms" = "60000", at_least(1), ms, not_served(NO_SHARE_GROUPS);
        "Most that a group may set as share.session.timeout.ms."
    Int "group.share.record.lock.duration.ms" = "30000", between(1000, 3600000), ms,
        not_served(NO_SHARE_GROUPS);
        "How long a delivered record is locked for its consumer."
    Int "group.share.min.record.lock.duration.ms" = "15000", between(1000, 30000), ms,
        not_served(NO_SHARE_GROUPS);
        "Least that a group may set as share.record.lock.duration.ms."
    Int "group.share.max.record.lock.duration.ms" = "60000", between(30000, 3600000), ms,
        not_served(NO_SHARE_GROUPS);
        "Most that a group may set as share.record.lock.duration.ms."
    Int "group.share.partition.max.record.locks" = "2000", between(100, 10000), not_served(NO_SHARE_GROUPS);
        "Records of a partition locked at once by a share group."
    Int "group.share.min.partition.max.record.locks" = "100", between(100, 2000), not_served(NO_SHARE_GROUPS);
        "Least that a group may set as share.partition.max.record.locks."
    Int "group.share.max.partition.max.record.locks" = "4000", between(2000, 10000),
        not_served(NO_SHARE_GROUPS);
        "Most that a group may set as share.partition.max.record.locks."
    Int "group.share.max.share.sessions" = "2000", at_least(1), not_served(NO_SHARE_GROUPS);
        "Share sessions on this node."
    Int "group.share.max.size" = "200", between(1, 1000), not_served(NO_SHARE_GROUPS);
        "Most members of a share group."
    Int "group.share.initialize.retry.interval.ms" = "30000", at_least(1), ms, low, internal,
        not_served(NO_SHARE_GROUPS);
        "Pause before the state of a share group is initialized again."
    String "group.share.persister.class.name" = "org.apache.kafka.server.share.persister.DefaultStatePersister", internal, not_served(JAVA_CLASS);
        "Java class that stores the state of share groups."
    String "group.share.dlq.manager.class.name" = "org.apache.kafka.server.share.dlq.DefaultShareGroupDLQManager", internal, not_served(JAVA_CLASS);
        "Java class that writes to dead-letter topics."
    Boolean "errors.deadletterqueue.auto.create.topics.enable" = "false", cluster_wide,
        not_served(NO_SHARE_GROUPS);
        "Dead-letter topics of share groups are created when missing."
    String "errors.deadletterqueue.topic.name.prefix" = "dlq.", cluster_wide, not_served(NO_SHARE_GROUPS);
        "Prefix that the name of a dead-letter topic must have."
    Int "share.coordinator.append.linger.ms" = "-1", at_least(-1), ms, not_served(NO_SHARE_GROUPS);
        "How long the share coordinator gathers writes; -1 adapts."
    Int "share.coordinator.cached.buffer.max.bytes" = "1048588", at_least(524288), bytes, cluster_wide,
        not_served(NO_SHARE_GROUPS);
        "Largest write buffer that the share coordinator keeps."
    Int "share.coordinator.cold.partition.snapshot.interval.ms" = "300000", at_least(1), ms, low, internal,
        not_served(NO_SHARE_GROUPS);
        "Interval of snapshots of idle share partitions."
    Int "share.coordinator.load.buffer.size" = "5242880", at_least(1), bytes, high,
        not_served(NO_SHARE_GROUPS);
        "Bytes read at once when a share coordinator loads."
    Int "share.coordinator.snapshot.update.records.per.snapshot" = "500", between(0, 500),
        not_served(NO_SHARE_GROUPS);
        "Updates between two snapshots of a share partition."
    Int "share.coordinator.state.topic.compression.codec" = "0", high, not_served(NO_SHARE_GROUPS);
        "Codec of the share state topic, by number; 0 for none."
    Short "share.coordinator.state.topic.min.isr" = "2", at_least(1), high, served;
        "In-sync replicas that the share state topic needs; unset on one node, 1."
    Int "share.coordinator.state.topic.num.partitions" = "50", at_least(1), high, served;
        "Partitions of the share state topic."
    Int "share.coordinator.state.topic.prune.interval.ms" = "300000", at_least(1), ms, low, internal,
        not_served(NO_SHARE_GROUPS);
        "Interval at which the share state topic is pruned."
    Short "share.coordinator.state.topic.replication.factor" = "3", at_least(1), high,
        served;
        "Replicas of the share state topic; unset on one node, 1."
    Int "share.coordinator.state.topic.segment.bytes" = "104857600", at_least(1), bytes, high,
        served;
        "Segment size of the share state topic."
    Int "share.coordinator.threads" = "1", at_least(1), not_served(NO_SHARE_GROUPS);
        "Threads of the share coordinator."
    Int "share.coordinator.write.timeout.ms" = "5000", at_least(1), ms, high, not_served(NO_SHARE_GROUPS);
        "How long a write of share state waits for its replicas."
};
