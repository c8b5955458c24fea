//! Keys of tiered storage, which is not served yet.
//!
//! Always holds: turning it on is refused, everything else is a warning.
//! Next: `keys.rs`.

use super::keys;
use super::reasons::{JAVA_CLASS, NO_TIERING};
use crate::key::{Key, Scope, Update};

/// The keys, in the order of the reference.
pub(super) static KEYS: &[Key] = keys! {
    Scope::Broker(Update::ReadOnly);
    Boolean "remote.log.storage.system.enable" = "false", refused(NO_TIERING);
        "Old segments may go to remote storage."
    Long "log.local.retention.bytes" = "-2", at_least(-2), bytes, cluster_wide, not_served(NO_TIERING);
        "Local size of a tiered partition; -2 means its whole retention."
    Long "log.local.retention.ms" = "-2", at_least(-2), ms, cluster_wide, not_served(NO_TIERING);
        "Local age of a tiered partition's records; -2 means its whole retention."
    Long "log.remote.copy.lag.bytes" = "-1", at_least(-1), bytes, cluster_wide, not_served(NO_TIERING);
        "Closed bytes that wait before they are copied to remote storage."
    Long "log.remote.copy.lag.ms" = "0", at_least(-1), ms, cluster_wide, not_served(NO_TIERING);
        "Age at which a closed segment is copied to remote storage."
    Int "remote.fetch.max.wait.ms" = "500", at_least(1), ms, cluster_wide, not_served(NO_TIERING);
        "Longest wait of a fetch for remote storage."
    Long "remote.list.offsets.request.timeout.ms" = "30000", at_least(1), ms, cluster_wide,
        not_served(NO_TIERING);
        "Longest wait of an offset lookup for remote storage."
    Long "remote.log.index.file.cache.total.size.bytes" = "1073741824", at_least(1), bytes, low,
        cluster_wide, not_served(NO_TIERING);
        "Disk space for indexes fetched from remote storage."
    Long "remote.log.index.file.cache.ttl.ms" = "900000", at_least(-1), ms, low, internal,
        not_served(NO_TIERING);
        "Time for which an unused index from remote storage is kept."
    Int "remote.log.manager.copier.thread.pool.size" = "10", at_least(1), cluster_wide,
        not_served(NO_TIERING);
        "Threads that copy segments to remote storage."
    Long "remote.log.manager.copy.max.bytes.per.second" = "9223372036854775807", at_least(1),
        bytes_per_second, cluster_wide, not_served(NO_TIERING);
        "Bytes a second copied to remote storage."
    Int "remote.log.manager.copy.quota.window.num" = "11", at_least(1), not_served(NO_TIERING);
        "Windows that the copy quota remembers."
    Int "remote.log.manager.copy.quota.window.size.seconds" = "1", at_least(1), seconds,
        not_served(NO_TIERING);
        "Length of a window of the copy quota."
    Int "remote.log.manager.expiration.thread.pool.size" = "10", at_least(1), cluster_wide,
        not_served(NO_TIERING);
        "Threads that remove expired remote segments."
    Long "remote.log.manager.fetch.max.bytes.per.second" = "9223372036854775807", at_least(1),
        bytes_per_second, cluster_wide, not_served(NO_TIERING);
        "Bytes a second read from remote storage."
    Int "remote.log.manager.fetch.quota.window.num" = "11", at_least(1), not_served(NO_TIERING);
        "Windows that the remote read quota remembers."
    Int "remote.log.manager.fetch.quota.window.size.seconds" = "1", at_least(1), seconds,
        not_served(NO_TIERING);
        "Length of a window of the remote read quota."
    Int "remote.log.manager.follower.thread.pool.size" = "2", at_least(1), cluster_wide,
        not_served(NO_TIERING);
        "Threads that follow the tiered offsets of leaders."
    Long "remote.log.manager.task.interval.ms" = "30000", at_least(1), ms, low, not_served(NO_TIERING);
        "Interval of the work on remote segments."
    Long "remote.log.manager.task.retry.backoff.ms" = "500", at_least(1), ms, low, internal,
        not_served(NO_TIERING);
        "First pause after failed work on remote segments."
    Long "remote.log.manager.task.retry.backoff.max.ms" = "30000", at_least(1), ms, low, internal,
        not_served(NO_TIERING);
        "Longest pause after failed work on remote segments."
    Double "remote.log.manager.task.retry.jitter" = "0.2", between_ratio(0.0, 0.5), low, internal,
        not_served(NO_TIERING);
        "Random share of that pause."
    Int "remote.log.manager.thread.pool.size" = "2", at_least(1), not_served(NO_TIERING);
        "Old name of remote.log.manager.follower.thread.pool.size."
    Int "remote.log.metadata.custom.metadata.max.bytes" = "128", at_least(0), bytes, low,
        not_served(NO_TIERING);
        "Most bytes a storage plugin may add to a segment's metadata."
    String "remote.log.metadata.manager.class.name" = "org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager", non_empty, not_served(JAVA_CLASS);
        "Java class that keeps the metadata of remote segments."
    String "remote.log.metadata.manager.class.path", not_served(JAVA_CLASS);
        "Where that Java class is found."
    String "remote.log.metadata.manager.impl.prefix" = "rlmm.config.", non_empty, not_served(JAVA_CLASS);
        "Prefix of the properties for that Java class."
    String "remote.log.metadata.manager.listener.name", non_empty, not_served(JAVA_CLASS);
        "Listener that this Java class connects to."
    Int "remote.log.reader.max.pending.tasks" = "100", at_least(1), not_served(NO_TIERING);
        "Reads from remote storage that may wait."
    Int "remote.log.reader.threads" = "10", at_least(1), cluster_wide, not_served(NO_TIERING);
        "Threads that read from remote storage."
    String "remote.log.storage.manager.class.name", non_empty, not_served(JAVA_CLASS);
        "Java class that speaks to the remote storage."
    String "remote.log.storage.manager.class.path", not_served(JAVA_CLASS);
        "Where that Java class is found."
    String "remote.log.storage.manager.impl.prefix" = "rsm.config.", non_empty, not_served(JAVA_CLASS);
        "Prefix of the properties for that Java class."
};
