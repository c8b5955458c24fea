//! Keys of streams groups.
//!
//! Always holds: known and not served yet.
//! Next: `keys/group_resource.rs`.

use super::keys;
use super::reasons::{JAVA_CLASS, NO_STREAMS_GROUPS};
use crate::key::{Key, Scope, Update};

/// The keys, in the order of the reference.
pub(super) static KEYS: &[Key] = keys! {
    Scope::Broker(Update::ReadOnly);
    Long "group.streams.acceptable.recovery.lag" = "10000", at_least(0), internal,
        not_served(NO_STREAMS_GROUPS);
        "Offsets a client may be behind and still get an active task."
    Int "group.streams.assignment.interval.ms" = "1000", at_least(0), ms, cluster_wide,
        not_served(NO_STREAMS_GROUPS);
        "Shortest time between two assignments of a streams group."
    Int "group.streams.min.assignment.interval.ms" = "0", at_least(0), ms, not_served(NO_STREAMS_GROUPS);
        "Least that a group may set as streams.assignment.interval.ms."
    Int "group.streams.max.assignment.interval.ms" = "15000", at_least(0), ms, not_served(NO_STREAMS_GROUPS);
        "Most that a group may set as streams.assignment.interval.ms."
    Boolean "group.streams.assignor.offload.enable" = "true", cluster_wide, internal,
        not_served(NO_STREAMS_GROUPS);
        "Assignments of streams groups are computed in the background."
    List "group.streams.assignors" = "sticky", filled, not_served(NO_STREAMS_GROUPS);
        "Assignors of streams groups; the first is the default."
    Int "group.streams.heartbeat.interval.ms" = "5000", at_least(1), ms, not_served(NO_STREAMS_GROUPS);
        "Heartbeat interval told to members of streams groups."
    Int "group.streams.min.heartbeat.interval.ms" = "5000", at_least(1), ms, not_served(NO_STREAMS_GROUPS);
        "Least that a group may set as streams.heartbeat.interval.ms."
    Int "group.streams.max.heartbeat.interval.ms" = "15000", at_least(1), ms, not_served(NO_STREAMS_GROUPS);
        "Most that a group may set as streams.heartbeat.interval.ms."
    Int "group.streams.initial.rebalance.delay.ms" = "3000", at_least(0), ms, not_served(NO_STREAMS_GROUPS);
        "How long a new streams group waits for more members."
    Int "group.streams.max.size" = "2147483647", at_least(1), not_served(NO_STREAMS_GROUPS);
        "Most members of a streams group."
    Int "group.streams.num.standby.replicas" = "0", at_least(0), not_served(NO_STREAMS_GROUPS);
        "Standby copies of each task."
    Int "group.streams.max.standby.replicas" = "2", at_least(0), not_served(NO_STREAMS_GROUPS);
        "Most that a group may set as streams.num.standby.replicas."
    Int "group.streams.num.warmup.replicas" = "2", at_least(0), internal, not_served(NO_STREAMS_GROUPS);
        "Tasks that warm up at once."
    Int "group.streams.max.warmup.replicas" = "20", at_least(0), internal, not_served(NO_STREAMS_GROUPS);
        "Most that a group may set as streams.num.warmup.replicas."
    List "group.streams.rack.aware.assignment.tags" = "", items(&[]), low, not_served(NO_STREAMS_GROUPS);
        "Client tags over which standby copies are spread."
    Int "group.streams.session.timeout.ms" = "45000", at_least(1), ms, not_served(NO_STREAMS_GROUPS);
        "A member of a streams group silent for this long is removed."
    Int "group.streams.min.session.timeout.ms" = "45000", at_least(1), ms, not_served(NO_STREAMS_GROUPS);
        "Least that a group may set as streams.session.timeout.ms."
    Int "group.streams.max.session.timeout.ms" = "60000", at_least(1), ms, not_served(NO_STREAMS_GROUPS);
        "Most that a group may set as streams.session.timeout.ms."
    Int "group.streams.task.offset.interval.ms" = "60000", at_least(1), ms, internal,
        not_served(NO_STREAMS_GROUPS);
        "Interval at which members report the offsets of warming tasks."
    Int "group.streams.min.task.offset.interval.ms" = "15000", at_least(1), ms, internal,
        not_served(NO_STREAMS_GROUPS);
        "Least that a group may set as streams.task.offset.interval.ms."
    Class "group.streams.topology.description.plugin.class", not_served(JAVA_CLASS);
        "Java class that keeps the description of topologies."
};
