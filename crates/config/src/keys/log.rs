//! Keys of the log: folders, segments, retention, flushing, timestamps, codecs and compaction.
//!
//! Always holds: a key that a topic may override names no topic key here; the topic key names it (`keys/topic.rs`).
//! Next: `topic.rs` resolves both.

use super::keys;
use super::reasons::{NO_FOLDER_FAILURE, NO_PREALLOCATION, ONE_LZ4_LEVEL, ONE_POOL};
use crate::key::{Key, Scope, Update};

/// The keys, in the order of the reference.
pub(super) static KEYS: &[Key] = keys! {
    Scope::Broker(Update::ReadOnly);
    List "log.dirs", filled, high, served;
        "Folders for partitions, separated by commas."
    List "log.dir", filled, high, served;
        "Folders for partitions, used when log.dirs is unset."
    List "cordoned.log.dirs" = "", items(&[]), per_broker, served;
        "Log folders that take no new partitions; * for all."
    Long "log.dir.failure.timeout.ms" = "30000", at_least(1), ms, low, not_served(NO_FOLDER_FAILURE);
        "How long a broker lives with a failed folder that it cannot report."
    Int "log.segment.bytes" = "1073741824", at_least(1048576), bytes, high, cluster_wide, served;
        "Size at which a segment is closed and the next one begun."
    Long "log.roll.ms", ms, high, cluster_wide, falls_back_to(&["log.roll.hours"]), served;
        "Age at which a segment is closed; unset, log.roll.hours."
    Int "log.roll.hours" = "168", at_least(1), hours, high, served;
        "Age at which a segment is closed, used when log.roll.ms is unset."
    Long "log.roll.jitter.ms", ms, high, cluster_wide, falls_back_to(&["log.roll.jitter.hours"]), served;
        "Random part taken off the closing age; unset, log.roll.jitter.hours."
    Int "log.roll.jitter.hours" = "0", at_least(0), hours, high, served;
        "Random part taken off the closing age, used when log.roll.jitter.ms is unset."
    Long "log.retention.ms", ms, high, cluster_wide,
        falls_back_to(&["log.retention.minutes", "log.retention.hours"]), served;
        "Age at which records go; -1 keeps them for ever; unset, log.retention.minutes."
    Int "log.retention.minutes", minutes, high, falls_back_to(&["log.retention.hours"]), served;
        "Age at which records go, used when log.retention.ms is unset; unset too, log.retention.hours."
    Int "log.retention.hours" = "168", hours, high, served;
        "Age at which records go, used when neither milliseconds nor minutes are set."
    Long "log.retention.bytes" = "-1", bytes, high, cluster_wide, served;
        "Size of a partition above which its oldest segments go; -1 for no limit."
    Long "log.retention.check.interval.ms" = "300000", at_least(1), ms, served;
        "Interval at which retention is applied."
    List "log.cleanup.policy" = "delete", items(&["compact", "delete"]), cluster_wide, served;
        "What happens to old records: delete, compact or both; the default of topics."
    Long "log.segment.delete.delay.ms" = "60000", at_least(0), ms, high, cluster_wide, served;
        "Time between taking a segment out of the log and removing its files."
    Int "log.index.interval.bytes" = "4096", at_least(0), bytes, cluster_wide, served;
        "Bytes of records between two entries of an index."
    Int "log.index.size.max.bytes" = "10485760", at_least(4), bytes, cluster_wide, served;
        "Largest offset index; a full one closes the segment."
    Long "log.flush.interval.messages" = "9223372036854775807", at_least(1), high, cluster_wide, served;
        "Unsynced records that make a partition sync."
    Long "log.flush.interval.ms", ms, high, cluster_wide,
        falls_back_to(&["log.flush.scheduler.interval.ms"]), served;
        "Time after which a partition with unsynced records syncs; unset, log.flush.scheduler.interval.ms."
    Long "log.flush.scheduler.interval.ms" = "9223372036854775807", ms, high, served;
        "Interval at which partitions are looked at for syncing."
    Int "log.flush.offset.checkpoint.interval.ms" = "60000", at_least(0), ms, high, served;
        "Interval at which recovery points are written down."
    Int "log.flush.start.offset.checkpoint.interval.ms" = "60000", at_least(0), ms, high, served;
        "Interval at which log start offsets are written down."
    Boolean "log.preallocate" = "false", cluster_wide, not_served(NO_PREALLOCATION);
        "Segment files get their full size at once."
    String "log.message.timestamp.type" = "CreateTime", one_of(&["CreateTime", "LogAppendTime"]),
        cluster_wide, served;
        "Timestamp of a record: the producer's (CreateTime) or the broker's (LogAppendTime)."
    Long "log.message.timestamp.before.max.ms" = "9223372036854775807", at_least(0), ms, cluster_wide, served;
        "How far a producer's timestamp may lie in the past."
    Long "log.message.timestamp.after.max.ms" = "3600000", at_least(0), ms, cluster_wide, served;
        "How far a producer's timestamp may lie in the future."
    Long "log.initial.task.delay.ms" = "30000", at_least(0), ms, low, internal, not_served(NO_FOLDER_FAILURE);
        "Delay of the first housekeeping after a start, for tests."
    Int "num.recovery.threads.per.data.dir" = "2", at_least(1), high, cluster_wide, not_served(ONE_POOL);
        "Threads for each log folder that recover logs at the start and flush them at the end."
    Int "message.max.bytes" = "1048588", at_least(0), bytes, high, cluster_wide, served;
        "Largest record batch, after compression; the default of topics."
    Int "max.decompressed.message.bytes" = "2147483639", between(1, 2147483639), bytes, cluster_wide, served;
        "Largest single record after decompression; the default of topics."
    String "compression.type" = "producer",
        one_of(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), high, cluster_wide, served;
        "Codec in which batches are stored; producer keeps what was sent."
    Int "compression.gzip.level" = "-1", between_or(1, 9, -1), cluster_wide, served;
        "Level used when compression.type is gzip; -1 is the codec's own."
    Int "compression.lz4.level" = "9", between(1, 17), cluster_wide, not_served(ONE_LZ4_LEVEL);
        "Level used when compression.type is lz4."
    Int "compression.zstd.level" = "3", between(-131072, 22), cluster_wide, served;
        "Level used when compression.type is zstd."
    Int "producer.id.expiration.ms" = "86400000", at_least(1), ms, low, cluster_wide, served;
        "A producer id unused for this long is forgotten."
    Int "producer.id.expiration.check.interval.ms" = "600000", at_least(1), ms, low, internal, served;
        "Interval at which unused producer ids are looked for."
    Boolean "log.cleaner.enable" = "true", served;
        "Compaction runs."
    Int "log.cleaner.threads" = "1", at_least(0), cluster_wide, served;
        "Threads for compaction."
    Long "log.cleaner.backoff.ms" = "15000", at_least(0), ms, cluster_wide, served;
        "Pause of compaction when there is nothing to do."
    Long "log.cleaner.dedupe.buffer.size" = "134217728", bytes, cluster_wide, served;
        "Memory of compaction for the keys it has seen."
    Int "log.cleaner.io.buffer.size" = "524288", at_least(0), bytes, cluster_wide, served;
        "Memory of compaction for reading and writing."
    Double "log.cleaner.io.buffer.load.factor" = "0.9", cluster_wide, served;
        "How full the memory for keys may become."
    Double "log.cleaner.io.max.bytes.per.second" = "1.7976931348623157E308", bytes_per_second, cluster_wide, served;
        "Bytes that compaction reads and writes a second."
    Long "log.cleaner.delete.retention.ms" = "86400000", at_least(0), ms, cluster_wide, served;
        "Time for which a tombstone stays after compaction; the default of topics."
    Double "log.cleaner.min.cleanable.ratio" = "0.5", between_ratio(0.0, 1.0), cluster_wide, served;
        "Share of uncompacted bytes that makes a log worth compacting; the default of topics."
    Long "log.cleaner.min.compaction.lag.ms" = "0", at_least(0), ms, cluster_wide, served;
        "Age below which a record is not compacted; the default of topics."
    Long "log.cleaner.max.compaction.lag.ms" = "9223372036854775807", at_least(1), ms, cluster_wide, served;
        "Age at which a record must be compacted; the default of topics."
};
