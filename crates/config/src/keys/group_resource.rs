//! Keys of a group, of any kind.
//!
//! Always holds: `inherits` names the broker key that gives the default; its `min` and `max` bound the value.
//! Next: `alter/group.rs`.

use super::keys;
use super::reasons::{NO_OFFLOAD, NO_SHARE_GROUPS, NO_STREAMS_GROUPS};
use crate::key::{Key, Scope};

/// The keys, in the order of the reference.
pub(super) static KEYS: &[Key] = keys! {
    Scope::Group;
    Int "consumer.assignment.interval.ms" = "1000", at_least(0), ms,
        inherits("group.consumer.assignment.interval.ms"), served;
        "Shortest time between two assignments of this group."
    Boolean "consumer.assignor.offload.enable" = "true", internal,
        inherits("group.consumer.assignor.offload.enable"), not_served(NO_OFFLOAD);
        "Assignments of this group are computed in the background."
    Int "consumer.heartbeat.interval.ms" = "5000", at_least(1), ms,
        inherits("group.consumer.heartbeat.interval.ms"), served;
        "Heartbeat interval told to this group's members."
    Int "consumer.session.timeout.ms" = "45000", at_least(1), ms,
        inherits("group.consumer.session.timeout.ms"), served;
        "A member of this group silent for this long is removed."
    Boolean "errors.deadletterqueue.copy.record.enable" = "false", not_served(NO_SHARE_GROUPS);
        "A dead letter carries the whole record."
    String "errors.deadletterqueue.topic.name" = "", not_served(NO_SHARE_GROUPS);
        "Dead-letter topic of this share group; empty for none."
    Int "share.assignment.interval.ms" = "1000", at_least(0), ms,
        inherits("group.share.assignment.interval.ms"), not_served(NO_SHARE_GROUPS);
        "Shortest time between two assignments of this share group."
    Boolean "share.assignor.offload.enable" = "true", internal,
        inherits("group.share.assignor.offload.enable"), not_served(NO_SHARE_GROUPS);
        "Assignments of this share group are computed in the background."
    String "share.auto.offset.reset" = "latest", offset_reset, not_served(NO_SHARE_GROUPS);
        "Where this share group begins: latest, earliest or by_duration: and an ISO 8601 duration."
    Int "share.delivery.count.limit" = "5", at_least(2), inherits("group.share.delivery.count.limit"),
        not_served(NO_SHARE_GROUPS);
        "Deliveries of a record before it is given up."
    Int "share.heartbeat.interval.ms" = "5000", at_least(1), ms,
        inherits("group.share.heartbeat.interval.ms"), not_served(NO_SHARE_GROUPS);
        "Heartbeat interval told to this share group's members."
    String "share.isolation.level" = "read_uncommitted", one_of(&["read_committed", "read_uncommitted"]),
        not_served(NO_SHARE_GROUPS);
        "Whether uncommitted transactional records are delivered."
    Int "share.partition.max.record.locks" = "2000", at_least(100),
        inherits("group.share.partition.max.record.locks"), not_served(NO_SHARE_GROUPS);
        "Records of a partition locked at once."
    Int "share.record.lock.duration.ms" = "30000", at_least(1000), ms,
        inherits("group.share.record.lock.duration.ms"), not_served(NO_SHARE_GROUPS);
        "How long a delivered record is locked for its consumer."
    Boolean "share.renew.acknowledge.enable" = "true", not_served(NO_SHARE_GROUPS);
        "A consumer may renew its lock on a record."
    Int "share.session.timeout.ms" = "45000", at_least(1), ms, inherits("group.share.session.timeout.ms"),
        not_served(NO_SHARE_GROUPS);
        "A member of this share group silent for this long is removed."
    Long "streams.acceptable.recovery.lag" = "10000", at_least(0), internal,
        inherits("group.streams.acceptable.recovery.lag"), not_served(NO_STREAMS_GROUPS);
        "Offsets a client may be behind and still get an active task."
    Int "streams.assignment.interval.ms" = "1000", at_least(0), ms,
        inherits("group.streams.assignment.interval.ms"), not_served(NO_STREAMS_GROUPS);
        "Shortest time between two assignments of this streams group."
    String "streams.assignor.name", inherits("group.streams.assignors"), not_served(NO_STREAMS_GROUPS);
        "Assignor of this streams group; unset, the broker's first."
    Boolean "streams.assignor.offload.enable" = "true", internal,
        inherits("group.streams.assignor.offload.enable"), not_served(NO_STREAMS_GROUPS);
        "Assignments of this streams group are computed in the background."
    Int "streams.heartbeat.interval.ms" = "5000", at_least(1), ms,
        inherits("group.streams.heartbeat.interval.ms"), not_served(NO_STREAMS_GROUPS);
        "Heartbeat interval told to this streams group's members."
    Int "streams.initial.rebalance.delay.ms" = "3000", at_least(0), ms,
        inherits("group.streams.initial.rebalance.delay.ms"), not_served(NO_STREAMS_GROUPS);
        "How long this streams group waits for more members at first."
    Int "streams.num.standby.replicas" = "0", at_least(0), inherits("group.streams.num.standby.replicas"),
        not_served(NO_STREAMS_GROUPS);
        "Standby copies of each task."
    Int "streams.num.warmup.replicas" = "2", at_least(0), internal,
        inherits("group.streams.num.warmup.replicas"), not_served(NO_STREAMS_GROUPS);
        "Tasks that warm up at once."
    List "streams.rack.aware.assignment.tags" = "", items(&[]), low,
        inherits("group.streams.rack.aware.assignment.tags"), not_served(NO_STREAMS_GROUPS);
        "Client tags over which standby copies are spread."
    Int "streams.session.timeout.ms" = "45000", at_least(1), ms,
        inherits("group.streams.session.timeout.ms"), not_served(NO_STREAMS_GROUPS);
        "A member of this streams group silent for this long is removed."
    Int "streams.task.offset.interval.ms" = "60000", at_least(1), ms, internal,
        inherits("group.streams.task.offset.interval.ms"), not_served(NO_STREAMS_GROUPS);
        "Interval at which members report the offsets of warming tasks."
};
