//! The configuration of a topic, typed.
//!
//! Always holds: a value is the topic's own, or what the broker's layers give; a stored value that its key does not take is
//! passed over. Numbers become what they mean: `-1` is no limit.
//!
//! Next: `alter.rs` validates what clients set, `layers.rs` resolves.

use std::time::Duration;

use crate::allowed::Invalid;
use crate::key::Key;
use crate::layers::{Layers, Values};
use crate::value::Value;

/// The configuration of a topic.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    /// `cleanup.policy`.
    pub cleanup: Cleanup,
    /// `compression.type` and its level.
    pub compression: Compression,
    /// `delete.retention.ms`.
    pub tombstone_retention: Duration,
    /// `file.delete.delay.ms`.
    pub file_delete_delay: Duration,
    /// `flush.messages`; `None` for no limit.
    pub flush_records: Option<u64>,
    /// `flush.ms`; `None` for no limit.
    pub flush_interval: Option<Duration>,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u32,
    /// `klamm.durability`.
    pub durability: Durability,
    /// `max.compaction.lag.ms`; `None` for no limit.
    pub max_compaction_lag: Option<Duration>,
    /// `min.compaction.lag.ms`.
    pub min_compaction_lag: Duration,
    /// `min.cleanable.dirty.ratio`.
    pub min_cleanable_dirty_ratio: f64,
    /// `max.decompressed.message.bytes`.
    pub max_decompressed_record_bytes: u32,
    /// `max.message.bytes`.
    pub max_batch_bytes: u32,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`; `None` for no limit.
    pub timestamp_before_max: Option<Duration>,
    /// `message.timestamp.after.max.ms`; `None` for no limit.
    pub timestamp_after_max: Option<Duration>,
    /// `min.insync.replicas`.
    pub min_insync_replicas: u32,
    /// `preallocate`.
    pub preallocate: bool,
    /// `retention.bytes`; `None` for no limit.
    pub retention_bytes: Option<u64>,
    /// `retention.ms`; `None` for ever.
    pub retention: Option<Duration>,
    /// `segment.bytes`, or `internal.segment.bytes` where that is set.
    pub segment_bytes: u32,
    /// `segment.index.bytes`.
    pub index_bytes: u32,
    /// `segment.jitter.ms`.
    pub segment_jitter: Duration,
    /// `segment.ms`.
    pub segment_age: Duration,
}

/// What happens to old records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cleanup {
    /// They go by time and size.
    pub delete: bool,
    /// The last record of each key stays; keys are required.
    pub compact: bool,
}

/// When a record counts as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When it is on disk.
    Fsync,
    /// When the system's page cache has it.
    PageCache,
}

/// Whose time a record has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's at the append.
    LogAppendTime,
}

/// The codec in which batches are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As the producer sent them.
    Producer,
    /// None.
    Uncompressed,
    /// gzip at this level; `None` for the codec's own.
    Gzip(Option<u8>),
    /// snappy.
    Snappy,
    /// lz4 at this level.
    Lz4(u8),
    /// zstd at this level.
    Zstd(i32),
}

/// Whether a topic may have `name` set to `value`; the words are Kafka's. `None` when there is no such key.
pub fn validate_topic_config(name: &str, value: &str) -> Option<Result<(), Invalid>> {
    Key::topic(name).map(|key| key.parse(value).map(|_| ()))
}

/// The configuration of a topic with these overrides.
pub fn resolve(overrides: &Values, layers: &Layers<'_>) -> TopicConfig {
    let read = Read { overrides, layers };
    let policy = read.value("cleanup.policy");
    let has = |name| policy.as_list().iter().any(|item| item == name);
    let set = |name: &str| {
        overrides
            .get(name)
            .and_then(|text| Key::topic(name)?.parse(text).ok()?.as_whole())
    };
    let own_segment = set("internal.segment.bytes")
        .and_then(|bytes| u32::try_from(bytes).ok())
        .filter(|bytes| *bytes > 0);
    TopicConfig {
        cleanup: Cleanup {
            delete: has("delete"),
            compact: has("compact"),
        },
        compression: read.compression(),
        tombstone_retention: read.span("delete.retention.ms"),
        file_delete_delay: read.span("file.delete.delay.ms"),
        flush_records: read.limit("flush.messages"),
        flush_interval: read.limit("flush.ms").map(Duration::from_millis),
        index_interval_bytes: read.count("index.interval.bytes"),
        durability: match read.text("klamm.durability").as_str() {
            "page-cache" => Durability::PageCache,
            _ => Durability::Fsync,
        },
        max_compaction_lag: read.limit("max.compaction.lag.ms").map(Duration::from_millis),
        min_compaction_lag: read.span("min.compaction.lag.ms"),
        min_cleanable_dirty_ratio: match read.value("min.cleanable.dirty.ratio") {
            Value::Double(ratio) => ratio,
            other => unreachable!("min.cleanable.dirty.ratio is a double, not {other:?}"),
        },
        max_decompressed_record_bytes: read.count("max.decompressed.message.bytes"),
        max_batch_bytes: read.count("max.message.bytes"),
        timestamp_type: match read.text("message.timestamp.type").as_str() {
            "LogAppendTime" => TimestampType::LogAppendTime,
            _ => TimestampType::CreateTime,
        },
        timestamp_before_max: read
            .limit("message.timestamp.before.max.ms")
            .map(Duration::from_millis),
        timestamp_after_max: read
            .limit("message.timestamp.after.max.ms")
            .map(Duration::from_millis),
        min_insync_replicas: read.count("min.insync.replicas"),
        preallocate: read.value("preallocate") == Value::Boolean(true),
        retention_bytes: read.limit("retention.bytes"),
        retention: read.limit("retention.ms").map(Duration::from_millis),
        segment_bytes: own_segment.unwrap_or_else(|| read.count("segment.bytes")),
        index_bytes: read.count("segment.index.bytes"),
        segment_jitter: read.span("segment.jitter.ms"),
        segment_age: read.span("segment.ms"),
    }
}

impl Default for TopicConfig {
    /// The configuration of a topic without overrides on a broker without settings.
    fn default() -> Self {
        resolve(&Values::new(), &Layers::defaults())
    }
}

struct Read<'a> {
    overrides: &'a Values,
    layers: &'a Layers<'a>,
}

impl Read<'_> {
    fn value(&self, name: &str) -> Value {
        let key = Key::topic(name).expect("the table has every key that a topic reads");
        self.layers
            .resource_value(key, self.overrides)
            .expect("the key has a default")
    }

    fn whole(&self, name: &str) -> i64 {
        self.value(name).as_whole().expect("the key is a whole number")
    }

    fn text(&self, name: &str) -> String {
        self.value(name).to_string()
    }

    /// A number that is not negative; at most `u32::MAX`.
    fn count(&self, name: &str) -> u32 {
        u32::try_from(self.whole(name).max(0)).unwrap_or(u32::MAX)
    }

    /// A time in milliseconds that is not negative.
    fn span(&self, name: &str) -> Duration {
        Duration::from_millis(self.whole(name).max(0).unsigned_abs())
    }

    /// A number; `None` when it is negative or the greatest, which both mean no limit.
    fn limit(&self, name: &str) -> Option<u64> {
        u64::try_from(self.whole(name))
            .ok()
            .filter(|number| *number < i64::MAX.unsigned_abs())
    }

    fn compression(&self) -> Compression {
        let level = |name: &str| u8::try_from(self.whole(name)).ok();
        match self.text("compression.type").as_str() {
            "uncompressed" => Compression::Uncompressed,
            "gzip" => Compression::Gzip(level("compression.gzip.level")),
            "snappy" => Compression::Snappy,
            "lz4" => Compression::Lz4(level("compression.lz4.level").unwrap_or(9)),
            "zstd" => Compression::Zstd(i32::try_from(self.whole("compression.zstd.level")).unwrap_or(3)),
            _ => Compression::Producer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn a_topic_without_anything_set() {
        let config = TopicConfig::default();
        assert_eq!(
            config.cleanup,
            Cleanup {
                delete: true,
                compact: false
            }
        );
        assert_eq!(config.compression, Compression::Producer);
        assert_eq!(config.retention, Some(Duration::from_secs(7 * 86_400)));
        assert_eq!((config.retention_bytes, config.segment_bytes), (None, 1 << 30));
        assert_eq!((config.flush_records, config.flush_interval), (None, None));
        assert_eq!(
            (config.max_batch_bytes, config.index_bytes),
            (1_048_588, 10_485_760)
        );
        assert_eq!(
            (config.timestamp_before_max, config.timestamp_after_max),
            (None, Some(Duration::from_secs(3600)))
        );
        assert_eq!(
            (config.durability, config.min_insync_replicas),
            (Durability::Fsync, 1)
        );
    }

    #[test]
    fn each_override_has_its_effect() {
        let base = TopicConfig::default();
        for key in Key::all(crate::key::Resource::Topic) {
            let tiered = ["local.", "remote.", "errors.", "follower.", "leader.", "unclean."];
            let apart = tiered.iter().any(|prefix| key.name.starts_with(prefix));
            let (value, also) = match key.name {
                "cleanup.policy" => ("compact", None),
                "compression.type" => ("zstd", None),
                "compression.gzip.level" => ("3", Some("gzip")),
                "compression.lz4.level" => ("4", Some("lz4")),
                "compression.zstd.level" => ("5", Some("zstd")),
                "klamm.durability" => ("page-cache", None),
                "message.timestamp.type" => ("LogAppendTime", None),
                "min.cleanable.dirty.ratio" => ("0.25", None),
                "preallocate" => ("true", None),
                "segment.bytes" | "internal.segment.bytes" => ("2097152", None),
                _ => ("1234", None),
            };
            let with = |extra: &[(&str, &str)]| {
                let mut overrides = values(extra);
                overrides.extend(also.map(|codec| ("compression.type".to_owned(), codec.to_owned())));
                resolve(&overrides, &Layers::defaults())
            };
            let base = if also.is_some() { with(&[]) } else { base.clone() };
            assert_eq!(with(&[(key.name, value)]) != base, !apart, "{}", key.name);
        }
    }

    #[test]
    fn no_limits_and_spoiled_values() {
        let overrides = values(&[
            ("retention.ms", "-1"),
            ("retention.bytes", "-1"),
            ("segment.ms", "spoiled"),
            ("cleanup.policy", ""),
            ("compression.type", "gzip"),
            ("unknown", "1"),
        ]);
        let config = resolve(&overrides, &Layers::defaults());
        assert_eq!((config.retention, config.retention_bytes), (None, None));
        assert_eq!(config.segment_age, Duration::from_secs(7 * 86_400));
        assert_eq!(
            config.cleanup,
            Cleanup {
                delete: false,
                compact: false
            }
        );
        assert_eq!(config.compression, Compression::Gzip(None));
    }
}
