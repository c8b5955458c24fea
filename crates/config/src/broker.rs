//! The configuration of a broker, typed: what the start reads, once.
//!
//! Always holds: a [`BrokerConfig`] exists only when every value is allowed by itself and together with the others; all
//! errors are found at once, not the first alone. What may change while running stands apart in [`Dynamic`] and in
//! `topic::TopicConfig`, which are resolved again from the layers on every change.
//!
//! Next: `broker/listeners.rs`, `broker/node.rs`, `broker/dynamic.rs`, `broker/groups.rs`,
//! `broker/internal_topics.rs`, `broker/transactions.rs`.

mod dynamic;
mod groups;
mod internal_topics;
mod listeners;
mod node;
mod read;
mod transactions;

use std::time::Duration;

pub use dynamic::{Compaction, Dynamic};
pub(crate) use dynamic::{problem, problem_of_change};
pub use groups::{ConsumerGroups, Groups, MigrationPolicy};
pub use internal_topics::{InternalTopic, InternalTopics};
pub use listeners::{Advertised, HostPort, Listener, Listeners};
pub use node::{Node, Voter};
pub use transactions::Transactions;

use crate::layers::{Layers, Values};
use crate::source::{ConfigError, Fixed, Sources, Warning};
use read::Reader;

/// The configuration of a broker.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerConfig {
    /// Who this node is, where its data lies, and the quorum.
    pub node: Node,
    /// Where it listens and what it tells clients.
    pub listeners: Listeners,
    /// Sockets and requests.
    pub net: Net,
    /// What new topics get.
    pub topics: TopicDefaults,
    /// What the topics of the coordinators are made with.
    pub internal_topics: InternalTopics,
    /// Groups and their offsets.
    pub groups: Groups,
    /// Transactions.
    pub transactions: Transactions,
    /// The housekeeping of logs.
    pub housekeeping: Housekeeping,
    /// What was set at the start, as texts: the static layer.
    pub fixed: Values,
}

/// Sockets and requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Net {
    /// `socket.send.buffer.bytes`; `None` leaves it to the system.
    pub send_buffer_bytes: Option<u32>,
    /// `socket.receive.buffer.bytes`; `None` leaves it to the system.
    pub receive_buffer_bytes: Option<u32>,
    /// `socket.request.max.bytes`: the largest frame.
    pub request_max_bytes: u32,
    /// `socket.listen.backlog.size`.
    pub backlog: u32,
    /// `connections.max.idle.ms`; `None` never closes an idle connection.
    pub idle_timeout: Option<Duration>,
    /// Memory for requests: the smaller of `klamm.memory.request.bytes` and `queued.max.request.bytes`.
    pub request_memory_bytes: u64,
    /// `fetch.max.bytes`.
    pub fetch_max_bytes: u32,
    /// `max.incremental.fetch.session.cache.slots`.
    pub fetch_sessions: u32,
    /// `max.request.partition.size.limit`.
    pub partitions_per_description: u32,
    /// `klamm.workers`; `None` takes one for each core.
    pub workers: Option<u32>,
    /// `klamm.http.listener`; `None` when it is off.
    pub http_listener: Option<HostPort>,
}

/// What new topics get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDefaults {
    /// `num.partitions`.
    pub partitions: u32,
    /// `default.replication.factor`.
    pub replication_factor: u32,
    /// `auto.create.topics.enable`.
    pub auto_create: bool,
    /// `delete.topic.enable`.
    pub may_be_deleted: bool,
}

/// The housekeeping of logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Housekeeping {
    /// `log.retention.check.interval.ms`.
    pub retention_interval: Duration,
    /// `log.flush.scheduler.interval.ms`; `None` leaves syncing by time to each topic's `flush.ms` alone.
    pub flush_interval: Option<Duration>,
    /// `log.flush.offset.checkpoint.interval.ms`.
    pub recovery_checkpoint_interval: Duration,
    /// `log.flush.start.offset.checkpoint.interval.ms`.
    pub start_checkpoint_interval: Duration,
    /// `replica.high.watermark.checkpoint.interval.ms`.
    pub high_watermark_checkpoint_interval: Duration,
    /// `producer.id.expiration.check.interval.ms`.
    pub producer_expiry_interval: Duration,
    /// `log.cleaner.enable`.
    pub compaction: bool,
    /// `klamm.journal.file.bytes`.
    pub journal_file_bytes: u64,
    /// `klamm.journal.max.bytes`.
    pub journal_max_bytes: u64,
    /// `klamm.open.files.max`; `None` takes half of the process's limit.
    pub open_files_max: Option<u32>,
    /// `None` does not read segments again.
    pub scrub: Option<Scrub>,
}

/// How sealed segments are read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scrub {
    /// `klamm.scrub.bytes.per.second`.
    pub bytes_per_second: u64,
    /// `klamm.scrub.interval.ms`.
    pub interval: Duration,
}

impl BrokerConfig {
    /// Reads the sources in their order; every error that stops the start is in the list.
    pub fn load(sources: &Sources) -> Result<(Self, Vec<Warning>), Vec<ConfigError>> {
        let mut fixed = Fixed::new(sources);
        if fixed.errors.is_empty() {
            node::supply(&mut fixed, &sources.data_folder);
            internal_topics::supply(&mut fixed);
            let values = fixed.values();
            let layers = Layers::fixed(&values);
            let reader = Reader::new(&layers);
            let node = node::read(&reader, &mut fixed);
            let listeners = listeners::read(&reader, &mut fixed);
            let net = read_net(&reader, &mut fixed);
            dynamic::check(&layers, &mut fixed);
            if let (Some(node), Some(listeners), true) = (node, listeners, fixed.errors.is_empty()) {
                let (topics, housekeeping) = (read_topics(&reader), read_housekeeping(&reader));
                let config = Self {
                    node,
                    listeners,
                    net,
                    topics,
                    groups: groups::read(&reader),
                    transactions: transactions::read(&reader),
                    internal_topics: internal_topics::read(&reader),
                    housekeeping,
                    fixed: values,
                };
                return Ok((config, fixed.warnings));
            }
        }
        fixed.errors.sort_by(|a, b| a.key.cmp(&b.key));
        Err(fixed.errors)
    }

    /// The layers under these dynamic values.
    pub fn layers<'a>(&'a self, dynamic_broker: &'a Values, dynamic_default: &'a Values) -> Layers<'a> {
        Layers {
            dynamic_broker,
            dynamic_default,
            fixed: &self.fixed,
        }
    }
}

fn read_net(reader: &Reader<'_>, fixed: &mut Fixed) -> Net {
    let buffer = |name| u32::try_from(reader.whole(name)).ok().filter(|bytes| *bytes > 0);
    let request_max_bytes = reader.count("socket.request.max.bytes");
    let memory = reader.whole("klamm.memory.request.bytes");
    let queued = reader.whole("queued.max.request.bytes");
    for (key, bytes) in [
        ("klamm.memory.request.bytes", memory),
        ("queued.max.request.bytes", queued),
    ] {
        if bytes > 0 && bytes < i64::from(request_max_bytes) {
            let problem = format!("must be at least socket.request.max.bytes ({request_max_bytes})");
            fixed.refuse(key, problem);
        }
    }
    let http = reader.text("klamm.http.listener").filter(|text| !text.is_empty());
    let http_listener = http.and_then(|text| {
        let parsed = HostPort::parse(&text);
        if parsed.is_none() {
            fixed.refuse(
                "klamm.http.listener",
                "allowed: HOST:PORT, or nothing to turn it off",
            );
        }
        parsed
    });
    Net {
        send_buffer_bytes: buffer("socket.send.buffer.bytes"),
        receive_buffer_bytes: buffer("socket.receive.buffer.bytes"),
        request_max_bytes,
        backlog: reader.count("socket.listen.backlog.size"),
        idle_timeout: reader.time("connections.max.idle.ms"),
        request_memory_bytes: reader.bytes(if queued > 0 && queued < memory {
            "queued.max.request.bytes"
        } else {
            "klamm.memory.request.bytes"
        }),
        fetch_max_bytes: reader.count("fetch.max.bytes"),
        fetch_sessions: reader.count("max.incremental.fetch.session.cache.slots"),
        partitions_per_description: reader.count("max.request.partition.size.limit"),
        workers: Some(reader.count("klamm.workers")).filter(|count| *count > 0),
        http_listener,
    }
}

fn read_topics(reader: &Reader<'_>) -> TopicDefaults {
    TopicDefaults {
        partitions: reader.count("num.partitions"),
        replication_factor: reader.count("default.replication.factor"),
        auto_create: reader.flag("auto.create.topics.enable"),
        may_be_deleted: reader.flag("delete.topic.enable"),
    }
}

fn read_housekeeping(reader: &Reader<'_>) -> Housekeeping {
    Housekeeping {
        retention_interval: reader.interval("log.retention.check.interval.ms"),
        flush_interval: reader.time("log.flush.scheduler.interval.ms"),
        recovery_checkpoint_interval: reader.interval("log.flush.offset.checkpoint.interval.ms"),
        start_checkpoint_interval: reader.interval("log.flush.start.offset.checkpoint.interval.ms"),
        high_watermark_checkpoint_interval: reader.interval("replica.high.watermark.checkpoint.interval.ms"),
        producer_expiry_interval: reader.interval("producer.id.expiration.check.interval.ms"),
        compaction: reader.flag("log.cleaner.enable"),
        journal_file_bytes: reader.bytes("klamm.journal.file.bytes"),
        journal_max_bytes: reader.bytes("klamm.journal.max.bytes"),
        open_files_max: Some(reader.count("klamm.open.files.max")).filter(|count| *count > 0),
        scrub: u64::try_from(reader.whole("klamm.scrub.bytes.per.second"))
            .ok()
            .filter(|bytes| *bytes > 0)
            .map(|bytes_per_second| Scrub {
                bytes_per_second,
                interval: reader.interval("klamm.scrub.interval.ms"),
            }),
    }
}

#[cfg(test)]
mod tests;
