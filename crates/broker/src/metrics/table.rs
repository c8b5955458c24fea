//! Every metric: the one table that `/metrics` and `docs/reference/metrics.md` are made from.
//!
//! Always holds: names, units and types follow the conventions of Prometheus: a counter is shown with `_total` behind its
//! name, base units are seconds and bytes, and a name is never used for something else later.
//!
//! Next: [`super::page`], which gives each of them its values.

use std::fmt;

/// What kind of number it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grows, from 0 at the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations in buckets.
    Histogram,
    /// Always 1: the labels tell.
    Info,
}

/// What it is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Things.
    Count,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
}

/// One metric.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Metric {
    /// The name without unit and without `_total`.
    pub(super) stem: &'static str,
    pub(super) kind: Kind,
    pub(super) unit: Unit,
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
}

impl Unit {
    const fn suffix(self) -> &'static str {
        match self {
            Self::Count => "",
            Self::Bytes => "_bytes",
            Self::Seconds => "_seconds",
        }
    }
}

/// The name that queries use.
impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        write!(f, "{}{}{end}", self.stem, self.unit.suffix())
    }
}

macro_rules! metrics {
    ($($theme:literal { $($name:ident: $kind:ident $stem:literal $unit:ident [$($label:literal),*] $help:literal;)* })*) => {
        $($(pub(super) static $name: Metric = Metric {
            stem: $stem,
            kind: Kind::$kind,
            unit: Unit::$unit,
            labels: &[$($label),*],
            help: $help,
        };)*)*

        /// All metrics, by theme, in the order they are shown.
        pub(super) static THEMES: &[(&str, &[&Metric])] = &[$(($theme, &[$(&$name),*])),*];
    };
}

metrics! {
    "The node" {
        BUILD: Info "klamm_build" Count ["version"]
            "The version of this binary.";
        NODE: Info "klamm_node" Count ["node_id", "cluster_id"]
            "Which node of which cluster this is.";
        FENCED: Gauge "klamm_broker_fenced" Count []
            "1 while the controller keeps clients away from this broker.";
    }
    "Requests" {
        REQUESTS: Counter "klamm_requests" Count ["api"]
            "Requests that were served, those without an answer included.";
        ERRORS: Counter "klamm_request_errors" Count ["api", "error"]
            "Error codes in answers; an answer about several partitions may have several.";
        FAULTS: Counter "klamm_request_faults" Count ["api"]
            "Requests that ended their connection: malformed, of an unknown API (api is empty then) or version, or refused.";
        QUEUE_TIME: Histogram "klamm_request_queue" Seconds ["api"]
            "From the arrival of a request to the start of its handling: it waits for those before it on its connection.";
        LOCAL_TIME: Histogram "klamm_request_local" Seconds ["api"]
            "From the start of the handling to the decided answer, without the time in klamm_request_remote_seconds.";
        REMOTE_TIME: Histogram "klamm_request_remote" Seconds ["api"]
            "What requests waited for others: a produce for the device and the replicas, a fetch for records. \
             Counts only those that waited.";
        SEND_TIME: Histogram "klamm_response_send" Seconds ["api"]
            "From the moment the socket takes no more until it has taken the last byte of an answer; 0 for one that it takes \
             at once.";
        FETCH_SESSIONS: Gauge "klamm_fetch_sessions" Count []
            "Incremental fetch sessions.";
    }
    "Records" {
        PRODUCED_RECORDS: Counter "klamm_produced_records" Count []
            "Records that producers appended.";
        PRODUCED_BATCHES: Counter "klamm_produced_batches" Count []
            "Batches that producers appended.";
        PRODUCED_BYTES: Counter "klamm_produced" Bytes []
            "Bytes of the batches that producers appended, as they are stored.";
        FETCHED_RECORDS: Counter "klamm_fetched_records" Count []
            "Records in answers to fetches from the offset on that was asked for, by their offsets: an offset without a record \
             (a marker of a transaction, a record that was compacted away) counts too, a record that stands before the offset \
             in the first batch does not.";
        FETCHED_BYTES: Counter "klamm_fetched" Bytes []
            "Bytes of batches in answers to fetches.";
    }
    "Connections" {
        CONNECTIONS: Gauge "klamm_connections" Count ["listener"]
            "Open connections.";
        CONNECTIONS_OPENED: Counter "klamm_connections_opened" Count ["listener"]
            "Connections that were accepted.";
        CONNECTIONS_REFUSED: Counter "klamm_connections_refused" Count ["listener", "reason"]
            "Connections that were refused: by max.connections (broker) or a limit of their address (address).";
        RECEIVED_BYTES: Counter "klamm_network_received" Bytes []
            "Bytes read from clients.";
        SENT_BYTES: Counter "klamm_network_sent" Bytes []
            "Bytes written to clients.";
    }
    "Partitions and logs" {
        TOPICS: Gauge "klamm_topics" Count []
            "Topics of which this broker holds a partition.";
        PARTITIONS: Gauge "klamm_partitions" Count ["role"]
            "Partitions on this broker: it is their leader, or a follower.";
        UNDER_REPLICATED: Gauge "klamm_partitions_under_replicated" Count []
            "Partitions led here of which not all replicas are in sync.";
        UNDER_MIN_ISR: Gauge "klamm_partitions_under_min_isr" Count []
            "Partitions led here with fewer replicas in sync than min.insync.replicas: acks=all is refused.";
        OFFLINE: Gauge "klamm_partitions_offline" Count []
            "Partitions of the cluster, as far as this broker knows, that have no leader, or whose data here cannot be opened.";
        HUNG_PARTITIONS: Gauge "klamm_partitions_with_hung_transaction" Count []
            "Partitions led here whose last stable offset is held by a transaction in which nothing was written for five minutes \
             longer than transaction.max.timeout.ms: readers of committed records wait for its end.";
        HUNG_TRANSACTIONS: Gauge "klamm_hung_transaction_silence" Seconds ["topic", "partition", "producer_id"]
            "Those transactions, with how long ago their producers last wrote; a hundred of them at most. kafka-transactions \
             (find-hanging, abort) ends one.";
        ENDING_TRANSACTIONS: Gauge "klamm_transactions_ending_slowly" Count []
            "Transactions coordinated here that were decided on more than a minute ago, and whose end is not written to all of their \
             partitions: their producers and readers of committed records wait. The log says which partition does not take it, and why.";
        CORRUPT_RANGES: Gauge "klamm_log_corrupt_ranges" Count ["topic", "partition"]
            "Ranges of a partition's segments that are not what was appended, as far as they were read: klamm log verify shows all. \
             Partitions without any are not listed.";
        CORRUPT_BYTES: Gauge "klamm_log_corrupt" Bytes ["topic", "partition"]
            "Bytes of those ranges.";
        LOG_SIZE: Gauge "klamm_log_size" Bytes ["log_dir"]
            "Bytes of all segments in a log dir.";
        LOG_SEGMENTS: Gauge "klamm_log_segments" Count ["log_dir"]
            "Segments in a log dir.";
        LOG_PARTITIONS: Gauge "klamm_log_partitions" Count ["log_dir"]
            "Partitions in a log dir.";
        LOG_DIR_ONLINE: Gauge "klamm_log_dir_online" Count ["log_dir"]
            "1 while a log dir can be used, 0 after it failed.";
        LOG_DIR_CORDONED: Gauge "klamm_log_dir_cordoned" Count ["log_dir"]
            "1 while a log dir takes no new partitions (cordoned.log.dirs).";
        LOG_DIR_CAPACITY: Gauge "klamm_log_dir_capacity" Bytes ["log_dir"]
            "Size of the file system that a log dir is on.";
        LOG_DIR_USABLE: Gauge "klamm_log_dir_usable" Bytes ["log_dir"]
            "Room left on the file system that a log dir is on.";
        JOURNAL_ROUNDS: Counter "klamm_journal_rounds" Count ["log_dir"]
            "Commits that went through the journal of a log dir.";
        JOURNAL_BYTES: Counter "klamm_journal_written" Bytes ["log_dir"]
            "Bytes written to the journal of a log dir.";
        JOURNAL_DIRECT_SYNCS: Counter "klamm_journal_direct_syncs" Count ["log_dir"]
            "Logs that a commit made durable by a sync of their segments, since that was cheaper or no journal file was free.";
        JOURNAL_FILES: Gauge "klamm_journal_files" Count ["log_dir"]
            "Files of the journal of a log dir.";
        JOURNAL_READY: Gauge "klamm_journal_files_ready" Count ["log_dir"]
            "Files of the journal that can be written to next. 0 for long: the disk does not keep up with flushing logs.";
        LOG_DIRS_OFFLINE: Gauge "klamm_log_dirs_offline" Count []
            "Log dirs that failed, or could not be opened at the start: Kafka's OfflineLogDirectoryCount.";
        LOG_OPEN_FILES: Gauge "klamm_log_open_files" Count []
            "Files of logs that are kept open.";
        TOPIC_SIZE: Gauge "klamm_topic_size" Bytes ["topic"]
            "Bytes of a topic's partitions on this broker. Topics beyond the thousandth by name are one, \"(others)\".";
        TOPIC_PARTITIONS: Gauge "klamm_topic_partitions" Count ["topic"]
            "A topic's partitions on this broker.";
        TOPIC_END_OFFSETS: Gauge "klamm_topic_log_end_offsets" Count ["topic"]
            "Sum of the log end offsets of a topic's partitions on this broker: it grows by one for each record.";
        TOPIC_START_OFFSETS: Gauge "klamm_topic_log_start_offsets" Count ["topic"]
            "Sum of the log start offsets of a topic's partitions on this broker.";
    }
    "Compaction" {
        DIRTY_PERCENT: Gauge "klamm_log_cleaner_max_dirty_percent" Count []
            "Of the compacted logs, the largest share of bytes that compaction has not gone over, when it last looked for work.";
        COMPACTION_DELAY: Gauge "klamm_log_cleaner_max_compaction_delay" Seconds []
            "By how long a record waits longer for compaction than max.compaction.lag.ms, at most, when it last looked for work.";
        CLEANER_IDLE: Gauge "klamm_log_cleaner_since_last_run" Seconds []
            "Since compaction last looked for work.";
        CLEAN_TIME: Gauge "klamm_log_cleaner_max_clean_time" Seconds []
            "How long the last compaction of a log took.";
        CLEANER_BUFFER: Gauge "klamm_log_cleaner_max_buffer_utilization_percent" Count []
            "How full the memory for keys became in the last compaction of a log.";
        CLEANER_RECOPY: Gauge "klamm_log_cleaner_recopy_percent" Count []
            "Of the bytes that the last compaction of a log has gone over, how many it kept.";
        UNCLEANABLE: Gauge "klamm_log_cleaner_uncleanable_partitions" Count ["log_dir"]
            "Partitions whose compaction failed: they are left alone until the next start, and the log says why.";
        UNCLEANABLE_BYTES: Gauge "klamm_log_cleaner_uncleanable" Bytes ["log_dir"]
            "Their bytes that compaction has not gone over.";
    }
    "The metadata quorum" {
        QUORUM_TERM: Gauge "klamm_quorum_term" Count []
            "The highest term seen.";
        QUORUM_LEADER: Gauge "klamm_quorum_leader_id" Count []
            "The node that leads the quorum; -1 while none is known.";
        QUORUM_IS_LEADER: Gauge "klamm_quorum_is_leader" Count []
            "1 on the node that leads the quorum.";
        QUORUM_HIGH_WATERMARK: Gauge "klamm_quorum_high_watermark" Count []
            "The end of what is committed to the metadata log.";
        QUORUM_VOTERS: Gauge "klamm_quorum_voters" Count []
            "Nodes that vote.";
        METADATA_APPLIED: Gauge "klamm_metadata_applied_index" Count []
            "The last entry of the metadata log that this broker has taken over.";
        METADATA_PUBLISHED: Gauge "klamm_metadata_published_index" Count []
            "The last entry of the metadata log that this broker has carried out and shows to clients.";
    }
    "Memory and the process" {
        REQUEST_MEMORY: Gauge "klamm_request_memory_used" Bytes []
            "Memory for requests that are being read or served.";
        REQUEST_MEMORY_LIMIT: Gauge "klamm_request_memory_limit" Bytes []
            "Where reading from clients begins to wait (klamm.memory.request.bytes).";
        RESIDENT: Gauge "process_resident_memory" Bytes []
            "Memory that the process holds.";
        OPEN_FDS: Gauge "process_open_fds" Count []
            "Open file descriptors.";
        MAX_FDS: Gauge "process_max_fds" Count []
            "How many file descriptors may be open.";
        CPU: Counter "process_cpu" Seconds []
            "Processor time used, in the program and in the system.";
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        let mut seen = BTreeSet::new();
        for metric in THEMES.iter().flat_map(|(_, metrics)| *metrics) {
            assert!(seen.insert(metric.to_string()), "{metric} stands twice");
            let legal = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            assert!(
                legal(metric.stem) && metric.labels.iter().all(|label| legal(label)),
                "{metric}"
            );
            for reserved in [
                "_total", "_info", "_count", "_sum", "_bucket", "_bytes", "_seconds",
            ] {
                assert!(
                    !metric.stem.ends_with(reserved),
                    "{metric}: {reserved} is added by the type or the unit"
                );
            }
            assert!(
                metric.stem.starts_with("klamm_") || metric.stem.starts_with("process_"),
                "{metric}"
            );
            assert!(
                metric.help.ends_with('.') && !metric.help.contains(['\n', '\\', '|']),
                "{metric}"
            );
            assert!(
                metric.kind != Kind::Histogram || metric.unit == Unit::Seconds,
                "{metric}: of what"
            );
        }
    }
}
