//! Keys of classic and consumer groups and of committed offsets.
//!
//! Always holds: a group may override some of what consumer groups follow (`keys/group_resource.rs`).
//! Next: `keys/share.rs`, `keys/streams.rs`.

use super::keys;
use super::reasons::{NO_KEPT_BATCH, NO_LINGER, NO_OFFLOAD, ONE_POOL};
use crate::key::{Key, Scope, Update};

/// The keys, in the order of the reference.
pub(super) static KEYS: &[Key] = keys! {
    Scope::Broker(Update::ReadOnly);
    Int "group.initial.rebalance.delay.ms" = "3000", ms, served;
        "How long a new classic group waits for more members."
    Int "group.max.session.timeout.ms" = "1800000", ms, served;
        "Longest session timeout a classic member may ask for."
    Int "group.min.session.timeout.ms" = "6000", ms, served;
        "Shortest session timeout a classic member may ask for."
    Int "group.max.size" = "2147483647", at_least(1), served;
        "Most members of a classic group."
    Int "group.consumer.assignment.interval.ms" = "1000", at_least(0), ms, cluster_wide, served;
        "Shortest time between two assignments of a consumer group."
    Int "group.consumer.min.assignment.interval.ms" = "0", at_least(0), ms, served;
        "Least that a group may set as consumer.assignment.interval.ms."
    Int "group.consumer.max.assignment.interval.ms" = "15000", at_least(0), ms, served;
        "Most that a group may set as consumer.assignment.interval.ms."
    Boolean "group.consumer.assignor.offload.enable" = "true", cluster_wide, internal, not_served(NO_OFFLOAD);
        "Assignments of consumer groups are computed in the background."
    List "group.consumer.assignors" = "uniform,range", filled, served;
        "Assignors of consumer groups; the first is the default."
    Int "group.consumer.heartbeat.interval.ms" = "5000", at_least(1), ms, served;
        "Heartbeat interval told to members of consumer groups."
    Int "group.consumer.min.heartbeat.interval.ms" = "5000", at_least(1), ms, served;
        "Least that a group may set as consumer.heartbeat.interval.ms."
    Int "group.consumer.max.heartbeat.interval.ms" = "15000", at_least(1), ms, served;
        "Most that a group may set as consumer.heartbeat.interval.ms."
    Int "group.consumer.session.timeout.ms" = "45000", at_least(1), ms, served;
        "A member of a consumer group silent for this long is removed."
    Int "group.consumer.min.session.timeout.ms" = "45000", at_least(1), ms, served;
        "Least that a group may set as consumer.session.timeout.ms."
    Int "group.consumer.max.session.timeout.ms" = "60000", at_least(1), ms, served;
        "Most that a group may set as consumer.session.timeout.ms."
    Int "group.consumer.max.size" = "2147483647", at_least(1), served;
        "Most members of a consumer group."
    String "group.consumer.migration.policy" = "bidirectional",
        one_of_any_case(&["DISABLED", "DOWNGRADE", "UPGRADE", "BIDIRECTIONAL"]), served;
        "Which groups may change between the classic and the consumer protocol while they have members."
    Int "group.consumer.regex.refresh.interval.ms" = "600000", at_least(10000), ms, internal, served;
        "Interval at which pattern subscriptions are matched again."
    Int "group.coordinator.append.linger.ms" = "-1", at_least(-1), ms, not_served(NO_LINGER);
        "How long the group coordinator gathers writes; -1 adapts."
    Int "group.coordinator.background.threads" = "2", at_least(1), high, not_served(ONE_POOL);
        "Threads for the group coordinator's background work."
    Int "group.coordinator.cached.buffer.max.bytes" = "1048588", at_least(524288), bytes, cluster_wide,
        not_served(NO_KEPT_BATCH);
        "Largest write buffer that the group coordinator keeps."
    List "group.coordinator.rebalance.protocols" = "classic,consumer,streams",
        items(&["consumer", "classic", "share", "streams"]), filled, served;
        "Group protocols that are offered; of share and streams groups there are none yet."
    Int "group.coordinator.threads" = "4", at_least(1), high, not_served(ONE_POOL);
        "Threads of the group coordinator."
    Int "offset.metadata.max.bytes" = "4096", bytes, high, served;
        "Most bytes of metadata with a committed offset."
    Int "offsets.commit.timeout.ms" = "5000", at_least(1), ms, high, served;
        "How long a commit waits for its replicas, and for the device."
    Int "offsets.load.buffer.size" = "5242880", at_least(1), bytes, high, served;
        "Bytes read at once when a coordinator loads."
    Long "offsets.retention.check.interval.ms" = "600000", at_least(1), ms, high, served;
        "Interval at which expired offsets are looked for."
    Int "offsets.retention.minutes" = "10080", at_least(1), minutes, high, served;
        "Offsets of an empty group go after this time."
    Int "offsets.topic.compression.codec" = "0", between(0, 4), high, served;
        "Codec of the offsets topic, by number; 0 for none."
    Int "offsets.topic.num.partitions" = "50", at_least(1), high, served;
        "Partitions of the offsets topic."
    Short "offsets.topic.replication.factor" = "3", at_least(1), high, served;
        "Replicas of the offsets topic; unset on one node, 1."
    Int "offsets.topic.segment.bytes" = "104857600", at_least(1), bytes, high, served;
        "Segment size of the offsets topic."
};
