//! What a partition's log is told by the configuration: plain values, the keys and their texts live elsewhere.

use std::time::Duration;

/// When an append counts as safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durability {
    /// When it is on the device: `durable_end_offset` follows the syncs.
    #[default]
    Fsync,
    /// When it is in the page cache: `durable_end_offset` is the log end.
    PageCache,
}

/// The settings of one log. The names are those of the topic's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `klamm.durability`.
    pub durability: Durability,
    /// `segment.bytes`: a segment that would grow beyond this is rolled.
    pub segment_bytes: u32,
    /// `segment.ms`: a segment is rolled when its records span longer than this.
    pub segment_ms: Duration,
    /// `segment.jitter.ms`, already drawn for this log: taken off `segment_ms`.
    pub roll_jitter: Duration,
    /// `index.interval.bytes`: bytes of log between two index entries.
    pub index_interval_bytes: u32,
    /// `segment.index.bytes`: an index of this size makes the segment roll.
    pub segment_index_bytes: u32,
    /// `retention.ms`; `None` for ever.
    pub retention_ms: Option<Duration>,
    /// `retention.bytes`; `None` for any size.
    pub retention_bytes: Option<u64>,
    /// `cleanup.policy` has `delete`: only then do age and size remove segments.
    pub delete: bool,
    /// `cleanup.policy` has `compact`.
    pub compact: bool,
    /// `file.delete.delay.ms`: how long the files of removed segments stay, renamed.
    pub file_delete_delay: Duration,
    /// `max.message.bytes`: the largest batch.
    pub max_message_bytes: u32,
    /// `flush.messages`: records after which a flush is due; `None` for no such rule.
    pub flush_messages: Option<u64>,
    /// `flush.ms`: time after which a flush is due; `None` for no such rule.
    pub flush_ms: Option<Duration>,
    /// `producer.id.expiration.ms`: silence after which a producer is forgotten.
    pub producer_id_expiration: Duration,
}

impl Default for LogConfig {
    fn default() -> Self {
        const DAY: u64 = 24 * 60 * 60;
        Self {
            durability: Durability::Fsync,
            segment_bytes: 1024 * 1024 * 1024,
            segment_ms: Duration::from_secs(7 * DAY),
            roll_jitter: Duration::ZERO,
            index_interval_bytes: 4096,
            segment_index_bytes: 10 * 1024 * 1024,
            retention_ms: Some(Duration::from_secs(7 * DAY)),
            retention_bytes: None,
            delete: true,
            compact: false,
            file_delete_delay: Duration::from_secs(60),
            max_message_bytes: 1_048_588,
            flush_messages: None,
            flush_ms: None,
            producer_id_expiration: Duration::from_secs(DAY),
        }
    }
}
