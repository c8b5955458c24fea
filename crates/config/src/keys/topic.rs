//! Keys of a topic.
//!
//! Always holds: `inherits` names the broker key that gives the default, as DescribeConfigs shows it.
//! Next: `topic.rs`.

use super::keys;
use super::reasons::{NO_PREALLOCATION, NO_SHARE_GROUPS, NO_TIERING, ONE_LZ4_LEVEL, ONE_REPLICA};
use crate::key::{Key, Scope};

/// The keys, in the order of the reference.
pub(super) static KEYS: &[Key] = keys! {
    Scope::Topic;
    List "cleanup.policy" = "delete", items(&["compact", "delete"]), inherits("log.cleanup.policy"), served;
        "What happens to old records: delete, compact or both; empty keeps everything."
    String "compression.type" = "producer",
        one_of(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), inherits("compression.type"),
        served;
        "Codec in which batches are stored; producer keeps what was sent."
    Int "compression.gzip.level" = "-1", between_or(1, 9, -1), inherits("compression.gzip.level"), served;
        "Level used when compression.type is gzip; -1 is the codec's own."
    Int "compression.lz4.level" = "9", between(1, 17), inherits("compression.lz4.level"),
        not_served(ONE_LZ4_LEVEL);
        "Level used when compression.type is lz4."
    Int "compression.zstd.level" = "3", between(-131072, 22), inherits("compression.zstd.level"), served;
        "Level used when compression.type is zstd."
    Long "delete.retention.ms" = "86400000", at_least(0), ms, inherits("log.cleaner.delete.retention.ms"), served;
        "Time for which a tombstone stays after compaction."
    Boolean "errors.deadletterqueue.group.enable" = "false", not_served(NO_SHARE_GROUPS);
        "Share groups may use this topic for dead letters."
    Long "file.delete.delay.ms" = "60000", at_least(0), ms, inherits("log.segment.delete.delay.ms"), served;
        "Time between taking a segment out of the log and removing its files."
    Long "flush.messages" = "9223372036854775807", at_least(1), inherits("log.flush.interval.messages"),
        served;
        "Unsynced records that make a partition sync."
    Long "flush.ms" = "9223372036854775807", at_least(0), ms, inherits("log.flush.interval.ms"), served;
        "Time after which a partition with unsynced records syncs."
    List "follower.replication.throttled.replicas" = "", throttled_replicas, not_served(ONE_REPLICA);
        "Followers whose replication is slowed: PARTITION:BROKER, separated by commas, or *."
    List "leader.replication.throttled.replicas" = "", throttled_replicas, not_served(ONE_REPLICA);
        "Leaders whose replication is slowed: PARTITION:BROKER, separated by commas, or *."
    Int "index.interval.bytes" = "4096", at_least(0), bytes, inherits("log.index.interval.bytes"), served;
        "Bytes of records between two entries of an index."
    Int "internal.segment.bytes", bytes, internal, served;
        "Segment size below the smallest of segment.bytes, for tests."
    Long "local.retention.bytes" = "-2", at_least(-2), bytes, inherits("log.local.retention.bytes"),
        not_served(NO_TIERING);
        "Local size of a tiered partition; -2 means its whole retention."
    Long "local.retention.ms" = "-2", at_least(-2), ms, inherits("log.local.retention.ms"),
        not_served(NO_TIERING);
        "Local age of a tiered partition's records; -2 means its whole retention."
    Long "max.compaction.lag.ms" = "9223372036854775807", at_least(1), ms,
        inherits("log.cleaner.max.compaction.lag.ms"), served;
        "Age at which a record must be compacted."
    Long "min.compaction.lag.ms" = "0", at_least(0), ms, inherits("log.cleaner.min.compaction.lag.ms"), served;
        "Age below which a record is not compacted."
    Double "min.cleanable.dirty.ratio" = "0.5", between_ratio(0.0, 1.0),
        inherits("log.cleaner.min.cleanable.ratio"), served;
        "Share of uncompacted bytes that makes a log worth compacting."
    Int "max.decompressed.message.bytes" = "2147483639", between(1, 2147483639), bytes,
        inherits("max.decompressed.message.bytes"), served;
        "Largest single record after decompression."
    Int "max.message.bytes" = "1048588", at_least(0), bytes, inherits("message.max.bytes"), served;
        "Largest record batch, after compression."
    String "message.timestamp.type" = "CreateTime", one_of(&["CreateTime", "LogAppendTime"]),
        inherits("log.message.timestamp.type"), served;
        "Timestamp of a record: the producer's (CreateTime) or the broker's (LogAppendTime)."
    Long "message.timestamp.before.max.ms" = "9223372036854775807", at_least(0), ms,
        inherits("log.message.timestamp.before.max.ms"), served;
        "How far a producer's timestamp may lie in the past."
    Long "message.timestamp.after.max.ms" = "3600000", at_least(0), ms,
        inherits("log.message.timestamp.after.max.ms"), served;
        "How far a producer's timestamp may lie in the future."
    Int "min.insync.replicas" = "1", at_least(1), inherits("min.insync.replicas"), not_served(ONE_REPLICA);
        "In-sync replicas that acks=all needs."
    Boolean "preallocate" = "false", inherits("log.preallocate"), not_served(NO_PREALLOCATION);
        "Segment files get their full size at once."
    Long "remote.copy.lag.bytes" = "-1", at_least(-1), bytes, inherits("log.remote.copy.lag.bytes"),
        not_served(NO_TIERING);
        "Closed bytes that wait before they are copied to remote storage."
    Long "remote.copy.lag.ms" = "0", at_least(-1), ms, inherits("log.remote.copy.lag.ms"),
        not_served(NO_TIERING);
        "Age at which a closed segment is copied to remote storage."
    Boolean "remote.log.copy.disable" = "false", not_served(NO_TIERING);
        "Nothing more is copied to remote storage."
    Boolean "remote.log.delete.on.disable" = "false", not_served(NO_TIERING);
        "Turning remote storage off deletes what is there."
    Boolean "remote.storage.enable" = "false", refused(NO_TIERING);
        "Old segments go to remote storage."
    Long "retention.bytes" = "-1", bytes, inherits("log.retention.bytes"), served;
        "Size of a partition above which its oldest segments go; -1 for no limit."
    Long "retention.ms" = "604800000", at_least(-1), ms, inherits("log.retention.ms"), served;
        "Age at which records go; -1 keeps them for ever."
    Int "segment.bytes" = "1073741824", at_least(1048576), bytes, inherits("log.segment.bytes"), served;
        "Size at which a segment is closed and the next one begun."
    Int "segment.index.bytes" = "10485760", at_least(4), bytes, inherits("log.index.size.max.bytes"), served;
        "Largest offset index; a full one closes the segment."
    Long "segment.jitter.ms" = "0", at_least(0), ms, inherits("log.roll.jitter.ms"), served;
        "Random part taken off the closing age."
    Long "segment.ms" = "604800000", at_least(1), ms, inherits("log.roll.ms"), served;
        "Age at which a segment is closed."
    Boolean "unclean.leader.election.enable" = "false", inherits("unclean.leader.election.enable"),
        not_served(ONE_REPLICA);
        "A replica out of sync may lead when no other is left, at the price of lost records."
};
