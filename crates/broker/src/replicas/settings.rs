//! What a partition is configured with, resolved once for each change of the configuration and shared by the partitions
//! of a topic.

use std::sync::Arc;
use std::time::Duration;

use klamm_config::broker::Dynamic;
use klamm_config::{Layers, TopicConfig, topic};
use klamm_env::Env;
use klamm_log::{CleanPolicy, Durability, LogConfig};
use klamm_metadata::Image;
use klamm_model::TimestampMs;
use klamm_records::{Codec, Compression, Limits, Origin, Rules, TimestampType};

use crate::broker::Broker;

/// A follower that has not caught up for so long leaves the in-sync set.
const MAX_LAG: Duration = Duration::from_secs(30);

/// The settings of a topic's partitions.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// What the log is told.
    pub(crate) log: Arc<LogConfig>,
    /// When the log is worth compacting.
    pub(crate) compaction: CleanPolicy,
    /// `message.timestamp.type`.
    pub(crate) timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub(crate) timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub(crate) timestamp_after_max_ms: i64,
    /// `compression.type`, `None` for the producer's.
    pub(crate) compression: Option<Codec>,
    /// `min.insync.replicas`.
    pub(crate) min_insync_replicas: usize,
    /// `replica.lag.time.max.ms`.
    pub(crate) max_lag: Duration,
    /// `segment.jitter.ms`: the longest.
    pub(crate) roll_jitter_max: Duration,
    /// `max.decompressed.message.bytes`.
    pub(crate) max_decompressed_record_bytes: u32,
}

impl Settings {
    /// The rules for a batch from `origin`.
    pub(crate) fn rules(&self, origin: Origin, now: TimestampMs) -> Rules {
        Rules {
            origin,
            compacted: self.log.compact,
            max_message_bytes: self.log.max_message_bytes as usize,
            timestamp_type: self.timestamp_type,
            timestamp_before_max_ms: self.timestamp_before_max_ms,
            timestamp_after_max_ms: self.timestamp_after_max_ms,
            now,
            target: self.compression,
            limits: Limits {
                record_bytes: i32::try_from(self.max_decompressed_record_bytes).unwrap_or(i32::MAX),
                ..Limits::default()
            },
        }
    }

    /// The log's settings with a jitter of its own.
    pub(crate) fn log_config(&self, env: &Env) -> Arc<LogConfig> {
        // As in Kafka: a longer one than the age would close segments at once.
        let longest = self.roll_jitter_max.min(self.log.segment_ms);
        let longest = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        if longest == 0 {
            return self.log.clone();
        }
        let roll_jitter = Duration::from_millis(env.random_u64() % longest);
        Arc::new(LogConfig {
            roll_jitter,
            ..LogConfig::clone(&self.log)
        })
    }
}

/// Resolves settings under one state of the metadata.
pub(crate) struct Resolver<'a> {
    image: &'a Image,
    layers: Layers<'a>,
}

impl<'a> Resolver<'a> {
    /// What `image` and the configuration of `broker` give.
    pub(crate) fn new(broker: &'a Broker, image: &'a Image) -> Self {
        let configs = image.configs();
        let layers = broker
            .config
            .layers(configs.broker(broker.id), configs.broker_default());
        Self { image, layers }
    }

    /// The layers of this broker's configuration.
    pub(crate) fn layers(&self) -> &Layers<'a> {
        &self.layers
    }

    /// What may change of the broker itself.
    pub(crate) fn dynamic(&self) -> Dynamic {
        Dynamic::resolve(&self.layers)
    }

    /// The settings of a topic.
    pub(crate) fn topic(&self, name: &str) -> Settings {
        let config = topic::resolve(self.image.configs().topic(name), &self.layers);
        let ms = |limit: Option<Duration>| {
            limit
                .and_then(|limit| i64::try_from(limit.as_millis()).ok())
                .unwrap_or(i64::MAX)
        };
        Settings {
            timestamp_type: match config.timestamp_type {
                topic::TimestampType::CreateTime => TimestampType::CreateTime,
                topic::TimestampType::LogAppendTime => TimestampType::LogAppendTime,
            },
            timestamp_before_max_ms: ms(config.timestamp_before_max),
            timestamp_after_max_ms: ms(config.timestamp_after_max),
            compression: codec(config.compression),
            min_insync_replicas: config.min_insync_replicas as usize,
            max_lag: MAX_LAG,
            roll_jitter_max: config.segment_jitter,
            max_decompressed_record_bytes: config.max_decompressed_record_bytes,
            compaction: CleanPolicy {
                min_dirty_ratio: config.min_cleanable_dirty_ratio,
                min_lag: config.min_compaction_lag,
                max_lag: config.max_compaction_lag,
                tombstone_retention: config.tombstone_retention,
            },
            log: Arc::new(log_config(&config, self.dynamic().producer_id_expiry)),
        }
    }
}

fn codec(compression: topic::Compression) -> Option<Codec> {
    let level = |codec: Compression, level: Option<i32>| Codec {
        compression: codec,
        level,
    };
    match compression {
        topic::Compression::Producer => None,
        topic::Compression::Uncompressed => Some(level(Compression::None, None)),
        topic::Compression::Gzip(at) => Some(level(Compression::Gzip, at.map(i32::from))),
        topic::Compression::Snappy => Some(level(Compression::Snappy, None)),
        topic::Compression::Lz4(at) => Some(level(Compression::Lz4, Some(i32::from(at)))),
        topic::Compression::Zstd(at) => Some(level(Compression::Zstd, Some(at))),
    }
}

fn log_config(config: &TopicConfig, producer_id_expiration: Duration) -> LogConfig {
    LogConfig {
        durability: match config.durability {
            topic::Durability::Fsync => Durability::Fsync,
            topic::Durability::PageCache => Durability::PageCache,
        },
        segment_bytes: config.segment_bytes,
        // A segment that is written to cannot be compacted: it must not grow older than a record may become until then.
        segment_ms: match config.max_compaction_lag {
            Some(max_lag) if config.cleanup.compact => config.segment_age.min(max_lag),
            _ => config.segment_age,
        },
        roll_jitter: Duration::ZERO,
        index_interval_bytes: config.index_interval_bytes,
        segment_index_bytes: config.index_bytes,
        retention_ms: config.retention,
        retention_bytes: config.retention_bytes,
        delete: config.cleanup.delete,
        compact: config.cleanup.compact,
        file_delete_delay: config.file_delete_delay,
        max_message_bytes: config.max_batch_bytes,
        flush_messages: config.flush_records,
        flush_ms: config.flush_interval,
        producer_id_expiration,
    }
}
