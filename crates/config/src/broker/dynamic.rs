//! What of a broker's configuration may change while it runs, beside the defaults of topics.
//!
//! Always holds: the same rules hold at the start and for a change (`alter.rs` asks [`problem`] about both).
//!
//! Next: `topic.rs` for what a topic inherits.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::groups;
use super::read::Reader;
use crate::key::Key;
use crate::layers::Layers;
use crate::source::Fixed;

/// What of a broker's configuration may change while it runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Dynamic {
    /// `max.connections`.
    pub max_connections: u32,
    /// `max.connections.per.ip`.
    pub max_connections_per_ip: u32,
    /// `max.connections.per.ip.overrides`.
    pub max_connections_of: BTreeMap<IpAddr, u32>,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiry: Duration,
    /// `group.consumer.assignment.interval.ms`.
    pub consumer_assignment_interval: Duration,
    /// How compaction works.
    pub compaction: Compaction,
    /// `cordoned.log.dirs`, each one of the log dirs.
    pub cordoned_log_dirs: Vec<String>,
    /// `replica.alter.log.dirs.io.max.bytes.per.second`; `None` for no limit.
    pub log_dir_moves_bytes_per_second: Option<u64>,
}

/// How compaction works.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Compaction {
    /// `log.cleaner.threads`: logs that are cleaned at once.
    pub threads: u32,
    /// `log.cleaner.backoff.ms`.
    pub backoff: Duration,
    /// `log.cleaner.dedupe.buffer.size`, shared by the threads.
    pub map_bytes: u64,
    /// `log.cleaner.io.buffer.load.factor`.
    pub map_load_factor: f64,
    /// `log.cleaner.io.buffer.size`, shared by the threads, half for reading.
    pub buffer_bytes: u32,
    /// `log.cleaner.io.max.bytes.per.second`, shared by the threads.
    pub bytes_per_second: f64,
}

impl Compaction {
    fn resolve(reader: &Reader<'_>) -> Self {
        Self {
            threads: reader.count(THREADS),
            backoff: Duration::from_millis(reader.bytes("log.cleaner.backoff.ms")),
            map_bytes: reader.bytes(MAP),
            map_load_factor: reader.number("log.cleaner.io.buffer.load.factor"),
            buffer_bytes: reader.count("log.cleaner.io.buffer.size"),
            bytes_per_second: reader.number("log.cleaner.io.max.bytes.per.second"),
        }
    }
}

impl Dynamic {
    /// The values in force.
    pub fn resolve(layers: &Layers<'_>) -> Self {
        let reader = Reader::new(layers);
        Self {
            max_connections: reader.count("max.connections"),
            max_connections_per_ip: reader.count("max.connections.per.ip"),
            max_connections_of: overrides(&reader).unwrap_or_default(),
            producer_id_expiry: reader.interval("producer.id.expiration.ms"),
            consumer_assignment_interval: Duration::from_millis(u64::from(
                reader.count("group.consumer.assignment.interval.ms"),
            )),
            compaction: Compaction::resolve(&reader),
            cordoned_log_dirs: cordoned(&reader).unwrap_or_default(),
            log_dir_moves_bytes_per_second: moves_limit(layers),
        }
    }
}

fn overrides(reader: &Reader<'_>) -> Result<BTreeMap<IpAddr, u32>, String> {
    let text = reader.text(PER_IP_OVERRIDES).unwrap_or_default();
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    let parse = |item: &str| {
        let (address, count) = item.rsplit_once(':')?;
        let address = address.trim().trim_start_matches('[').trim_end_matches(']');
        Some((address.parse().ok()?, count.trim().parse().ok()?))
    };
    items
        .map(|item| {
            parse(item).ok_or_else(|| format!("{item} is not ADDRESS:COUNT; names are not looked up"))
        })
        .collect()
}

/// Kafka has this key for brokers that run only, and no default of it.
fn moves_limit(layers: &Layers<'_>) -> Option<u64> {
    let set = [layers.dynamic_broker, layers.dynamic_default];
    let text = set.iter().find_map(|values| values.get(MOVES_LIMIT))?;
    text.trim()
        .parse()
        .ok()
        .filter(|limit| *limit < i64::MAX.unsigned_abs())
}

const MOVES_LIMIT: &str = "replica.alter.log.dirs.io.max.bytes.per.second";

/// The log dirs that are cordoned, and what is wrong with the list, in Kafka's words.
fn cordoned(reader: &Reader<'_>) -> Result<Vec<String>, String> {
    let named = reader.list(CORDONED);
    let dirs = match reader.list("log.dirs") {
        dirs if dirs.is_empty() => reader.list("log.dir"),
        dirs => dirs,
    };
    if named.iter().any(|name| name == ALL_CORDONED) {
        return match &named[..] {
            [_] => Ok(dirs),
            _ => Err(format!(
                "When {CORDONED} is set to {ALL_CORDONED}, it must not contain other values"
            )),
        };
    }
    let missing: Vec<&str> = named
        .iter()
        .filter(|name| !dirs.contains(name))
        .map(String::as_str)
        .collect();
    if missing.is_empty() {
        return Ok(named);
    }
    Err(format!(
        "All entries in {CORDONED} must be present in log.dirs or log.dir. Missing entries : {}",
        missing.join(", ")
    ))
}

const CORDONED: &str = "cordoned.log.dirs";
/// Stands for all log dirs.
const ALL_CORDONED: &str = "*";

const PER_IP_OVERRIDES: &str = "max.connections.per.ip.overrides";
const THREADS: &str = "log.cleaner.threads";
const MAP: &str = "log.cleaner.dedupe.buffer.size";
/// What each thread of compaction needs for its map.
const LEAST_MAP_BYTES: u64 = 1024 * 1024;

/// What is wrong with values that are each allowed by themselves: the key and Kafka's words where it has some.
pub(crate) fn problem(layers: &Layers<'_>) -> Option<(&'static str, String)> {
    let reader = Reader::new(layers);
    let overrides = match overrides(&reader) {
        Ok(overrides) => overrides,
        Err(problem) => return Some((PER_IP_OVERRIDES, problem)),
    };
    let set = |key: &'static str| {
        let fallback =
            |name: &&&'static str| Key::broker(name).is_some_and(|key| layers.explicit(key).is_some());
        let key = Key::broker(key).expect("the table has the key");
        let fallback = key
            .fallbacks
            .iter()
            .find(fallback)
            .filter(|_| layers.explicit(key).is_none());
        fallback.copied().unwrap_or(key.name)
    };
    if reader.whole("log.retention.ms") == 0 {
        let problem = "log.retention.ms must be unlimited (-1) or, greater than or equal to 1";
        return Some((set("log.retention.ms"), problem.to_owned()));
    }
    if reader.whole("log.roll.ms") < 1 {
        return Some((
            set("log.roll.ms"),
            "log.roll.ms must be greater than or equal to 1".to_owned(),
        ));
    }
    if reader.whole("log.roll.jitter.ms") < 0 {
        let problem = "log.roll.jitter.ms must be greater than or equal to 0";
        return Some((set("log.roll.jitter.ms"), problem.to_owned()));
    }
    if reader.count("max.connections.per.ip") == 0 && overrides.is_empty() {
        let problem =
            format!("max.connections.per.ip can be set to zero only if {PER_IP_OVERRIDES} property is set.");
        return Some(("max.connections.per.ip", problem));
    }
    let compaction = Compaction::resolve(&reader);
    let bytes_each = compaction.map_bytes.checked_div(u64::from(compaction.threads));
    if bytes_each.is_some_and(|bytes| bytes <= LEAST_MAP_BYTES) {
        return Some((MAP, format!("{MAP} must be at least 1MB per cleaner thread.")));
    }
    if let Err(problem) = cordoned(&reader) {
        return Some((CORDONED, problem));
    }
    groups::problem(&reader)
}

/// What is wrong with a change while the broker runs that would be allowed at its start, in Kafka's words.
pub(crate) fn problem_of_change(before: &Layers<'_>, after: &Layers<'_>) -> Option<String> {
    let [before, after] = [before, after].map(|layers| Reader::new(layers).count(THREADS));
    let problem = if after == before {
        return None;
    } else if after < 1 {
        "Log cleaner threads should be at least 1".to_owned()
    } else if after < before / 2 {
        format!("Log cleaner threads cannot be reduced to less than half the current value {before}")
    } else if after > before.saturating_mul(2) {
        format!("Log cleaner threads cannot be increased to more than double the current value {before}")
    } else {
        return None;
    };
    Some(problem)
}

/// Refuses a start with values that do not go together.
pub(super) fn check(layers: &Layers<'_>, fixed: &mut Fixed) {
    if let Some((key, problem)) = problem(layers) {
        fixed.refuse(key, problem);
    }
    groups::check(&Reader::new(layers), fixed);
}
