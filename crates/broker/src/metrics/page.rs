//! Gives every metric of the table its values, and writes them down.
//!
//! Always holds: each metric of the table stands on the page once, with its labels in the order of the table, also when it
//! has no values yet; the names of topics on it are bounded.
//!
//! The writing is that of the `prometheus-client` crate, which is given what was counted as a [`Collector`]; the
//! counters are our own, since its families look a label up under a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit as WrittenUnit};
use tracing::error;

use super::observe::{LogDir, Logs, Observed};
use super::table::{self, Kind, Metric, Unit};
use super::timing::{Snapshot, Timing};
use super::{Metrics, OTHERS, RecordCounters, sum};
use crate::api_table;
use crate::replicas::Damage;

/// Topics with figures of their own.
const MAX_TOPICS: usize = 1_000;

/// Hung transactions that are named.
const MAX_HUNG: usize = 100;

/// One value.
#[derive(Clone, Debug)]
enum Value {
    Count(u64),
    Seconds(f64),
    Gauge(i64),
    Durations(Box<Snapshot>),
    One,
}

type Sample = (Vec<String>, Value);

/// A metric with its values.
#[derive(Debug)]
struct Row {
    metric: &'static Metric,
    samples: Vec<Sample>,
}

/// The rows of a page.
#[derive(Debug, Default)]
pub(super) struct Rows {
    rows: Vec<Row>,
}

impl Rows {
    /// A metric without labels.
    fn one(&mut self, metric: &'static Metric, value: Value) {
        self.each(metric, [(Vec::new(), value)]);
    }

    /// A metric that the system may not tell.
    fn maybe(&mut self, metric: &'static Metric, value: Option<Value>) {
        self.each(metric, value.map(|value| (Vec::new(), value)));
    }

    /// A metric with one label for each value.
    fn by<'a>(&mut self, metric: &'static Metric, samples: impl IntoIterator<Item = (&'a str, Value)>) {
        let samples = samples
            .into_iter()
            .map(|(label, value)| (vec![label.to_owned()], value));
        self.each(metric, samples);
    }

    fn each(&mut self, metric: &'static Metric, samples: impl IntoIterator<Item = Sample>) {
        let samples: Vec<_> = samples.into_iter().collect();
        assert!(
            samples
                .iter()
                .all(|(labels, _)| labels.len() == metric.labels.len()),
            "{metric} has the labels {:?}",
            metric.labels
        );
        self.rows.push(Row { metric, samples });
    }
}

fn count(counter: &AtomicU64) -> Value {
    Value::Count(counter.load(Ordering::Relaxed))
}

fn durations(seen: Snapshot) -> Value {
    Value::Durations(Box::new(seen))
}

fn gauge(value: impl TryInto<i64>) -> Value {
    Value::Gauge(value.try_into().unwrap_or(i64::MAX))
}

fn flag(value: bool) -> Value {
    Value::Gauge(i64::from(value))
}

/// All metrics, in the order of the table.
pub(super) fn rows(metrics: &Metrics, observed: &Observed) -> Rows {
    let mut rows = Rows::default();
    node(&mut rows, observed);
    requests(&mut rows, metrics, observed);
    records(&mut rows, metrics);
    connections(&mut rows, metrics);
    partitions(&mut rows, observed);
    log_dirs(&mut rows, observed);
    topics(&mut rows, observed);
    compaction(&mut rows, observed);
    quorum(&mut rows, observed);
    process(&mut rows, observed);
    rows
}

fn node(rows: &mut Rows, observed: &Observed) {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    rows.each(&table::BUILD, [(vec![version], Value::One)]);
    let labels = vec![observed.node_id.to_string(), observed.cluster_id.clone()];
    rows.each(&table::NODE, [(labels, Value::One)]);
    rows.one(&table::FENCED, flag(observed.is_fenced));
}

fn requests(rows: &mut Rows, metrics: &Metrics, observed: &Observed) {
    let requests = &metrics.requests;
    let apis = || {
        let served = api_table::ROWS.iter();
        served.filter_map(|row| Some((row.api.name(), requests.of(row.api)?)))
    };
    rows.by(
        &table::REQUESTS,
        apis().map(|(name, api)| (name, Value::Count(api.local.snapshot().count()))),
    );
    let errors = apis().flat_map(|(name, api)| api.errors().map(move |(code, count)| (name, code, count)));
    rows.each(
        &table::ERRORS,
        errors.map(|(name, code, count)| (vec![name.into(), code.name().into()], Value::Count(count))),
    );
    let faults = apis().map(|(name, api)| (name, count(&api.faults)));
    rows.by(&table::FAULTS, faults.chain([("", count(&requests.unknown))]));
    let seen = |timing: &Timing| {
        Some(timing.snapshot())
            .filter(|seen| seen.count() > 0)
            .map(durations)
    };
    rows.by(
        &table::QUEUE_TIME,
        apis().filter_map(|(name, api)| Some((name, seen(&api.queue)?))),
    );
    rows.by(
        &table::LOCAL_TIME,
        apis().filter_map(|(name, api)| Some((name, seen(&api.local)?))),
    );
    rows.by(
        &table::REMOTE_TIME,
        apis().filter_map(|(name, api)| Some((name, seen(&api.remote)?))),
    );
    rows.by(
        &table::SEND_TIME,
        apis().filter_map(|(name, api)| Some((name, seen(&api.send)?))),
    );
    rows.one(&table::FETCH_SESSIONS, gauge(observed.fetch_sessions));
}

fn records(rows: &mut Rows, metrics: &Metrics) {
    let mut row = |metric, counter: fn(&RecordCounters) -> &AtomicU64| {
        rows.one(metric, Value::Count(sum(&metrics.topics.copies, counter)));
    };
    row(&table::PRODUCED_RECORDS, |own| &own.produced_records);
    row(&table::PRODUCED_BATCHES, |own| &own.produced_batches);
    row(&table::PRODUCED_BYTES, |own| &own.produced_bytes);
    row(&table::FETCHED_RECORDS, |own| &own.fetched_records);
    row(&table::FETCHED_BYTES, |own| &own.fetched_bytes);
}

fn connections(rows: &mut Rows, metrics: &Metrics) {
    let listeners = || metrics.net.listeners();
    let open = listeners().map(|l| {
        // In this order: a connection that ends meanwhile must not be missing from those that were opened.
        let closed = l.closed.load(Ordering::Relaxed);
        let opened = l.opened.load(Ordering::Relaxed);
        (l.name.as_str(), gauge(opened.saturating_sub(closed)))
    });
    rows.by(&table::CONNECTIONS, open);
    rows.by(
        &table::CONNECTIONS_OPENED,
        listeners().map(|l| (l.name.as_str(), count(&l.opened))),
    );
    let refused = listeners().flat_map(|l| {
        let sample = |reason: &str, counter| (vec![l.name.clone(), reason.to_owned()], count(counter));
        [
            sample("broker", &l.refused_full),
            sample("address", &l.refused_address),
        ]
    });
    rows.each(&table::CONNECTIONS_REFUSED, refused);
    let received = sum(&metrics.net.bytes, |own| &own.received);
    rows.one(&table::RECEIVED_BYTES, Value::Count(received));
    let sent = sum(&metrics.net.bytes, |own| &own.sent);
    rows.one(&table::SENT_BYTES, Value::Count(sent));
}

fn partitions(rows: &mut Rows, observed: &Observed) {
    let counts = &observed.partitions;
    rows.one(&table::TOPICS, gauge(observed.topics.len()));
    let roles = [
        ("leader", gauge(counts.leaders)),
        ("follower", gauge(counts.followers)),
    ];
    rows.by(&table::PARTITIONS, roles);
    rows.one(&table::UNDER_REPLICATED, gauge(counts.under_replicated));
    rows.one(&table::UNDER_MIN_ISR, gauge(counts.under_min_isr));
    rows.one(&table::OFFLINE, gauge(counts.offline));
    rows.one(&table::HUNG_PARTITIONS, gauge(observed.hung.len()));
    let hung = observed.hung.iter().take(MAX_HUNG);
    let hung = hung.map(|hung| {
        let labels = [
            hung.topic.to_string(),
            hung.partition.to_string(),
            hung.producer_id.to_string(),
        ];
        (labels.into(), gauge(hung.silence.as_secs()))
    });
    rows.each(&table::HUNG_TRANSACTIONS, hung);
    rows.one(&table::ENDING_TRANSACTIONS, gauge(observed.ending));
    let damages = |value: fn(&Damage) -> u64| {
        observed.damages.iter().map(move |(partition, damage)| {
            let labels = [partition.topic.to_string(), partition.partition.to_string()];
            (labels.into(), gauge(value(damage)))
        })
    };
    rows.each(&table::CORRUPT_RANGES, damages(|damage| damage.ranges));
    rows.each(&table::CORRUPT_BYTES, damages(|damage| damage.bytes));
}

fn log_dirs(rows: &mut Rows, observed: &Observed) {
    let mut by_dir = |metric, value: &dyn Fn(&LogDir) -> Option<Value>| {
        let dirs = observed.log_dirs.iter();
        rows.by(
            metric,
            dirs.filter_map(|dir| Some((dir.path.as_str(), value(dir)?))),
        );
    };
    by_dir(&table::LOG_SIZE, &|dir| Some(gauge(dir.logs.bytes)));
    by_dir(&table::LOG_SEGMENTS, &|dir| Some(gauge(dir.logs.segments)));
    by_dir(&table::LOG_PARTITIONS, &|dir| Some(gauge(dir.logs.count)));
    by_dir(&table::LOG_DIR_ONLINE, &|dir| Some(flag(dir.online)));
    by_dir(&table::LOG_DIR_CORDONED, &|dir| Some(flag(dir.cordoned)));
    by_dir(&table::LOG_DIR_CAPACITY, &|dir| {
        dir.space.map(|(total, _)| gauge(total))
    });
    by_dir(&table::LOG_DIR_USABLE, &|dir| {
        dir.space.map(|(_, usable)| gauge(usable))
    });
    by_dir(&table::JOURNAL_ROUNDS, &|dir| {
        Some(Value::Count(dir.journal.rounds))
    });
    by_dir(&table::JOURNAL_BYTES, &|dir| {
        Some(Value::Count(dir.journal.bytes))
    });
    by_dir(&table::JOURNAL_DIRECT_SYNCS, &|dir| {
        Some(Value::Count(dir.journal.direct_syncs))
    });
    by_dir(&table::JOURNAL_FILES, &|dir| Some(gauge(dir.journal.files)));
    by_dir(&table::JOURNAL_READY, &|dir| Some(gauge(dir.journal.ready_files)));
    let offline = observed.log_dirs.iter().filter(|dir| !dir.online).count();
    rows.one(&table::LOG_DIRS_OFFLINE, gauge(offline));
    rows.one(&table::LOG_OPEN_FILES, gauge(observed.open_files));
}

fn topics(rows: &mut Rows, observed: &Observed) {
    let mut topics: Vec<(&str, Logs)> = Vec::new();
    let mut others = Logs::default();
    for (name, logs) in &observed.topics {
        if topics.len() < MAX_TOPICS {
            topics.push((name, *logs));
        } else {
            others.add(*logs);
        }
    }
    if others.count > 0 {
        topics.push((OTHERS, others));
    }
    let mut by_topic = |metric, value: &dyn Fn(&Logs) -> Value| {
        rows.by(metric, topics.iter().map(|(name, logs)| (*name, value(logs))));
    };
    by_topic(&table::TOPIC_SIZE, &|logs| gauge(logs.bytes));
    by_topic(&table::TOPIC_PARTITIONS, &|logs| gauge(logs.count));
    by_topic(&table::TOPIC_END_OFFSETS, &|logs| gauge(logs.end_offsets));
    by_topic(&table::TOPIC_START_OFFSETS, &|logs| gauge(logs.start_offsets));
}

fn compaction(rows: &mut Rows, observed: &Observed) {
    let figures = &observed.compaction;
    let percent = |share: f64| Value::Gauge((share * 100.0) as i64);
    let seconds = |time: Duration| gauge(time.as_secs());
    rows.one(&table::DIRTY_PERCENT, percent(figures.max_dirty));
    rows.one(&table::COMPACTION_DELAY, seconds(figures.max_overdue));
    rows.one(&table::CLEANER_IDLE, seconds(observed.compaction_idle));
    rows.one(&table::CLEAN_TIME, seconds(figures.took));
    rows.one(&table::CLEANER_BUFFER, percent(figures.map_utilization));
    rows.one(&table::CLEANER_RECOPY, percent(figures.kept));
    let by_dir = || {
        observed.log_dirs.iter().map(|dir| {
            let uncleanable = figures.uncleanable.get(&dir.path).copied().unwrap_or_default();
            (dir.path.as_str(), uncleanable)
        })
    };
    rows.by(
        &table::UNCLEANABLE,
        by_dir().map(|(path, uncleanable)| (path, gauge(uncleanable.partitions))),
    );
    rows.by(
        &table::UNCLEANABLE_BYTES,
        by_dir().map(|(path, uncleanable)| (path, gauge(uncleanable.bytes))),
    );
}

fn quorum(rows: &mut Rows, observed: &Observed) {
    let quorum = &observed.quorum;
    rows.one(&table::QUORUM_TERM, gauge(quorum.term));
    rows.one(&table::QUORUM_LEADER, gauge(quorum.leader.unwrap_or(-1)));
    rows.one(
        &table::QUORUM_IS_LEADER,
        flag(quorum.leader == Some(observed.node_id)),
    );
    rows.one(&table::QUORUM_HIGH_WATERMARK, gauge(quorum.high_watermark));
    rows.one(&table::QUORUM_VOTERS, gauge(quorum.voters));
    rows.one(&table::METADATA_APPLIED, gauge(observed.metadata.0));
    rows.one(&table::METADATA_PUBLISHED, gauge(observed.metadata.1));
}

fn process(rows: &mut Rows, observed: &Observed) {
    let (used, limit) = observed.request_memory;
    rows.one(&table::REQUEST_MEMORY, gauge(used));
    rows.one(&table::REQUEST_MEMORY_LIMIT, gauge(limit));
    let process = &observed.process;
    rows.maybe(&table::RESIDENT, process.resident_bytes.map(gauge));
    rows.maybe(&table::OPEN_FDS, process.open_fds.map(gauge));
    rows.maybe(&table::MAX_FDS, process.max_fds.map(gauge));
    rows.maybe(&table::CPU, process.cpu_seconds.map(Value::Seconds));
}

/// Writes the page.
pub(super) fn text(rows: Rows) -> String {
    let mut text = String::new();
    let mut registry = Registry::default();
    registry.register_collector(Box::new(rows));
    if let Err(error) = encode(&mut text, &registry) {
        error!(%error, "the metrics could not be written down");
    }
    text
}

impl Collector for Rows {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        for Row { metric, samples } in &self.rows {
            let (kind, unit) = (written_kind(metric.kind), written_unit(metric.unit));
            let mut written = encoder.encode_descriptor(metric.stem, metric.help, unit.as_ref(), kind)?;
            for (values, value) in samples {
                let labels: Vec<_> = metric
                    .labels
                    .iter()
                    .copied()
                    .zip(values.iter().map(|v| &**v))
                    .collect();
                write(&mut written, &labels, value)?;
            }
        }
        Ok(())
    }
}

type Labels<'a> = Vec<(&'a str, &'a str)>;

fn write(encoder: &mut MetricEncoder, labels: &Labels<'_>, value: &Value) -> Result<(), std::fmt::Error> {
    match value {
        Value::One => encoder.encode_info(labels),
        _ if labels.is_empty() => write_number(encoder, value),
        _ => write_number(&mut encoder.encode_family(labels)?, value),
    }
}

fn write_number(encoder: &mut MetricEncoder, value: &Value) -> Result<(), std::fmt::Error> {
    match value {
        Value::Count(count) => encoder.encode_counter::<NoLabelSet, _, u64>(count, None),
        Value::Seconds(seconds) => encoder.encode_counter::<NoLabelSet, _, u64>(seconds, None),
        Value::Gauge(gauge) => encoder.encode_gauge(gauge),
        Value::Durations(seen) => {
            encoder.encode_histogram::<NoLabelSet>(seen.sum_seconds, seen.count(), &seen.buckets, None)
        }
        Value::One => Ok(()),
    }
}

fn written_kind(kind: Kind) -> MetricType {
    match kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
        Kind::Info => MetricType::Info,
    }
}

fn written_unit(unit: Unit) -> Option<WrittenUnit> {
    match unit {
        Unit::Count => None,
        Unit::Bytes => Some(WrittenUnit::Bytes),
        Unit::Seconds => Some(WrittenUnit::Seconds),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::time::Duration;

    use klamm_model::TopicPartition;
    use klamm_net::{NetMetrics, Refused};
    use klamm_protocol::messages::MetadataResponse;

    use super::*;
    use crate::metrics::observe::Hung;
    use crate::metrics::process::Process;
    use crate::metrics::table::THEMES;

    /// A broker of which everything is known.
    fn everything() -> (Metrics, Observed) {
        let metrics = Metrics::default();
        let env = klamm_env::Env::real();
        let mut phases = crate::metrics::Phases::begin(&env, Duration::ZERO, false);
        phases.wait(&env);
        let response = MetadataResponse {
            error_code: 5,
            ..Default::default()
        };
        metrics
            .requests
            .served(klamm_protocol::ApiKey::Metadata, &env, phases);
        metrics
            .requests
            .answered(klamm_protocol::ApiKey::Metadata, &response);
        metrics.topics.produced(7, 100);
        metrics.opened("INSIDE");
        metrics.refused("INSIDE", &Refused::Full(1));
        metrics.answered(klamm_protocol::ApiKey::Metadata.to_i16(), Duration::ZERO);
        let logs = Logs {
            count: 2,
            bytes: 300,
            segments: 3,
            start_offsets: 4,
            end_offsets: 50,
        };
        let log_dir = LogDir {
            path: "/a \"b\"\\c".into(),
            online: true,
            cordoned: false,
            space: Some((10, 5)),
            logs,
            journal: Default::default(),
        };
        let process = Process {
            resident_bytes: Some(1),
            open_fds: Some(2),
            max_fds: Some(3),
            cpu_seconds: Some(1.25),
        };
        let observed = Observed {
            node_id: 4,
            cluster_id: "C".into(),
            process,
            damages: vec![(TopicPartition::new("events", 1), Damage { ranges: 1, bytes: 61 })],
            hung: vec![Hung {
                topic: "events".into(),
                partition: 1,
                producer_id: 7,
                silence: Duration::from_secs(1_500),
            }],
            log_dirs: vec![log_dir],
            topics: BTreeMap::from([("events".into(), logs)]),
            ..Default::default()
        };
        (metrics, observed)
    }

    #[test]
    fn the_page_has_every_metric_of_the_table_in_its_order_with_a_value() {
        let (metrics, observed) = everything();
        let rows = rows(&metrics, &observed);
        let shown: Vec<_> = rows.rows.iter().map(|row| row.metric).collect();
        let table: Vec<_> = THEMES
            .iter()
            .flat_map(|(_, metrics)| metrics.iter().copied())
            .collect();
        assert_eq!(shown, table);
        for row in &rows.rows {
            assert!(!row.samples.is_empty(), "{} has no value", row.metric);
            let fits = |value: &Value| match row.metric.kind {
                Kind::Counter => matches!(value, Value::Count(_) | Value::Seconds(_)),
                Kind::Gauge => matches!(value, Value::Gauge(_)),
                Kind::Histogram => matches!(value, Value::Durations(_)),
                Kind::Info => matches!(value, Value::One),
            };
            assert!(row.samples.iter().all(|(_, value)| fits(value)), "{}", row.metric);
            let labels: BTreeSet<_> = row.samples.iter().map(|(labels, _)| labels).collect();
            assert_eq!(
                labels.len(),
                row.samples.len(),
                "{} shows a series twice",
                row.metric
            );
        }
    }

    #[test]
    fn the_text_is_that_of_openmetrics() {
        let (metrics, observed) = everything();
        let page = text(rows(&metrics, &observed));
        let lines: Vec<_> = page.lines().collect();
        let version = format!("klamm_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
        for expected in [
            version.as_str(),
            "# TYPE klamm_node info",
            "klamm_node_info{node_id=\"4\",cluster_id=\"C\"} 1",
            "klamm_requests_total{api=\"Metadata\"} 1",
            "klamm_requests_total{api=\"Fetch\"} 0",
            "klamm_request_errors_total{api=\"Metadata\",error=\"LEADER_NOT_AVAILABLE\"} 1",
            "klamm_request_faults_total{api=\"\"} 0",
            "# TYPE klamm_request_local_seconds histogram",
            "# UNIT klamm_request_local_seconds seconds",
            "klamm_request_local_seconds_count{api=\"Metadata\"} 1",
            "klamm_request_local_seconds_bucket{le=\"+Inf\",api=\"Metadata\"} 1",
            "klamm_produced_records_total 7",
            "# TYPE klamm_produced_bytes counter",
            "klamm_produced_bytes_total 100",
            "klamm_connections{listener=\"INSIDE\"} 1",
            "klamm_connections_refused_total{listener=\"INSIDE\",reason=\"broker\"} 1",
            "klamm_log_size_bytes{log_dir=\"/a \\\"b\\\"\\\\c\"} 300",
            "klamm_topic_log_end_offsets{topic=\"events\"} 50",
            "klamm_quorum_leader_id -1",
            "process_cpu_seconds_total 1.25",
        ] {
            assert!(lines.contains(&expected), "{expected} is not in\n{page}");
        }
        assert_eq!(lines.last(), Some(&"# EOF"));
    }

    #[test]
    fn topics_beyond_the_limit_are_one() {
        let logs = Logs {
            count: 1,
            ..Logs::default()
        };
        let observed = Observed {
            topics: (0..MAX_TOPICS + 3)
                .map(|n| (format!("t{n:05}").into(), logs))
                .collect(),
            ..Default::default()
        };
        let rows = rows(&Metrics::default(), &observed);
        let row = rows
            .rows
            .iter()
            .find(|row| *row.metric == table::TOPIC_PARTITIONS)
            .unwrap();
        assert_eq!(row.samples.len(), MAX_TOPICS + 1);
        let (labels, value) = row.samples.last().unwrap();
        assert_eq!(labels, &[OTHERS]);
        assert!(matches!(value, Value::Gauge(3)), "{value:?}");
    }
}
