//! The process's own log: to standard error, as text or JSON, quiet unless asked; levels change while it runs.
//!
//! Always holds: a line goes out if the level of its logger allows it: that of the longest name that begins the line's
//! module path (`klamm` begins all of ours, `klamm_log` those of that crate), `root` for all others. Levels come from
//! the default, under `RUST_LOG`, under what clients set (`klamm_broker::Loggers`), which ends with the process.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use clap::ValueEnum;
use klamm_broker::Loggers;
use klamm_config::alter::logger::ROOT;
use parking_lot::Mutex;
use tracing::level_filters::LevelFilter;
use tracing::warn;
use tracing_subscriber::filter::{Directive, EnvFilter};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

/// Start, stop and what somebody should know of us, warnings of everybody else.
const DEFAULT: &str = "warn,klamm=info";
/// The loggers that can be seen and changed, beside `root`: `klamm` for all of ours, and each crate that logs.
const NAMES: &[&str] = &[
    "klamm",
    "klamm_broker",
    "klamm_client",
    "klamm_log",
    "klamm_net",
    "klamm_quorum",
    "openraft",
];

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line for people
    #[default]
    Text,
    /// An object a line
    Json,
}

/// The levels of the log that was set up.
pub(crate) type Handle = Arc<dyn Loggers>;

/// Sets the log of the process up, to standard error; what `RUST_LOG` says wrong is its first line.
pub(crate) fn init(format: LogFormat) -> Handle {
    let asked = std::env::var("RUST_LOG").unwrap_or_default();
    let (levels, wrong) = Levels::new(&asked);
    let (subscriber, live) = subscriber(format, std::io::stderr, levels);
    // It fails when there is one already: then that one goes on, at its own levels.
    let _ = tracing::subscriber::set_global_default(subscriber);
    for directive in wrong {
        warn!(
            directive,
            "RUST_LOG: not understood; expected LEVEL or TARGET=LEVEL, with commas between"
        );
    }
    Arc::new(live)
}

/// A log to `writer`, and the handle that changes its levels.
fn subscriber<W>(
    format: LogFormat,
    writer: W,
    levels: Levels,
) -> (impl tracing::Subscriber + Send + Sync, LiveLevels)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    type Filtered = tracing_subscriber::layer::Layered<reload::Layer<EnvFilter, Registry>, Registry>;
    let (filter, handle) = reload::Layer::new(levels.filter());
    // A line that nobody reads any more is no failure; telling standard error about it would be a panic.
    let layer = fmt::layer().log_internal_errors(false).with_writer(writer);
    let lines: Box<dyn Layer<Filtered> + Send + Sync> = match format {
        LogFormat::Text => layer.with_ansi(false).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    };
    let live = LiveLevels {
        levels: Mutex::new(levels),
        handle,
    };
    (Registry::default().with(filter).with(lines), live)
}

/// Levels that a running log follows.
struct LiveLevels {
    levels: Mutex<Levels>,
    handle: reload::Handle<EnvFilter, Registry>,
}

impl Loggers for LiveLevels {
    fn levels(&self) -> Vec<(String, &'static str)> {
        let levels = self.levels.lock();
        let names = NAMES.iter().chain([&ROOT]);
        names
            .map(|name| ((*name).to_owned(), levels.in_force(name)))
            .collect()
    }

    fn set(&self, name: &str, level: Option<&'static str>) {
        let mut levels = self.levels.lock();
        match level {
            Some(level) => levels.set.insert(target(name).to_owned(), level),
            None => levels.set.remove(target(name)),
        };
        if let Err(error) = self.handle.reload(levels.filter()) {
            warn!(%error, "the level of a logger could not be changed");
        }
    }
}

/// What decides about lines; targets are beginnings of module paths, the empty one is `root`.
#[derive(Debug, Default)]
struct Levels {
    /// From the default and `RUST_LOG`.
    start: BTreeMap<String, &'static str>,
    /// Directives of `RUST_LOG` about spans and fields, which are no levels of loggers.
    finer: Vec<Directive>,
    /// Set while running: wins.
    set: BTreeMap<String, &'static str>,
}

impl Levels {
    /// The levels that `asked` (the value of `RUST_LOG`) gives, and the directives in it that are none. A level for all
    /// replaces the default, one for a target adds to it.
    fn new(asked: &str) -> (Self, Vec<String>) {
        let (asked, wrong) = Self::parse(asked);
        let (mut levels, _) = Self::parse(DEFAULT);
        if asked.start.contains_key("") {
            levels.start.clear();
        }
        levels.start.extend(asked.start);
        levels.finer = asked.finer;
        (levels, wrong)
    }

    fn parse(text: &str) -> (Self, Vec<String>) {
        let (mut levels, mut wrong) = (Self::default(), Vec::new());
        for part in directives(text) {
            match (plain(part), part.parse()) {
                (Some((target, level)), _) => drop(levels.start.insert(target.to_owned(), level)),
                (None, Ok(directive)) if part.contains('[') => levels.finer.push(directive),
                _ => wrong.push(part.to_owned()),
            }
        }
        (levels, wrong)
    }

    fn filter(&self) -> EnvFilter {
        let mut by_target = self.start.clone();
        by_target.extend(self.set.clone());
        let plain = by_target.iter().map(|(target, level)| {
            let level = written(level);
            let text = if target.is_empty() {
                level.to_owned()
            } else {
                format!("{target}={level}")
            };
            text.parse::<Directive>()
                .expect("targets are names of loggers or were parsed before")
        });
        let all = plain.chain(self.finer.clone());
        all.fold(EnvFilter::default(), EnvFilter::add_directive)
    }

    /// Kafka's name of the level that the logger `name` has from itself or the longest name above it.
    fn in_force(&self, name: &str) -> &'static str {
        let name = target(name);
        let of = |levels: &BTreeMap<String, &'static str>| {
            let above = levels
                .iter()
                .filter(|(target, _)| name.starts_with(target.as_str()));
            above
                .max_by_key(|(target, _)| target.len())
                .map(|(target, level)| (target.len(), *level))
        };
        // Of the same length, the one that was set while running.
        let found = of(&self.start)
            .into_iter()
            .chain(of(&self.set))
            .max_by_key(|(len, _)| *len);
        found.map_or("OFF", |(_, level)| level)
    }
}

fn target(name: &str) -> &str {
    if name == ROOT { "" } else { name }
}

/// The parts between commas, but for commas in the brackets of a span.
fn directives(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    let parts = text.split(move |c| {
        depth += i32::from(matches!(c, '[' | '{')) - i32::from(matches!(c, ']' | '}'));
        c == ',' && depth <= 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty())
}

/// `LEVEL`, `TARGET=LEVEL` or `TARGET` (all of it).
fn plain(part: &str) -> Option<(&str, &'static str)> {
    let is_target = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'-'))
    };
    match part.split_once('=') {
        Some((target, level)) if is_target(target) => Some((target, kafka_level(level)?)),
        Some(_) => None,
        None => match kafka_level(part) {
            Some(level) => Some(("", level)),
            None => is_target(part).then_some((part, "TRACE")),
        },
    }
}

/// The name that Kafka has for a level of `tracing`.
fn kafka_level(text: &str) -> Option<&'static str> {
    let level = LevelFilter::from_str(text).ok().filter(|_| !text.is_empty())?;
    Some(match level {
        LevelFilter::OFF => "OFF",
        LevelFilter::ERROR => "ERROR",
        LevelFilter::WARN => "WARN",
        LevelFilter::INFO => "INFO",
        LevelFilter::DEBUG => "DEBUG",
        LevelFilter::TRACE => "TRACE",
    })
}

/// The name that `tracing` has for a level of Kafka: it knows nothing above an error.
fn written(level: &str) -> &str {
    if level == "FATAL" { "ERROR" } else { level }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods)] // reads the workspace's manifests
mod tests {
    use std::io::{self, Write};

    use tracing::{debug, error, info};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock())).unwrap()
        }
    }

    #[test]
    fn every_crate_that_logs_is_a_logger() {
        let crates = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        for entry in std::fs::read_dir(crates).unwrap() {
            let folder = entry.unwrap();
            let Ok(manifest) = std::fs::read_to_string(folder.path().join("Cargo.toml")) else {
                continue;
            };
            let name = match folder.file_name().into_string().unwrap() {
                name if name == "klamm" => name,
                name => format!("klamm_{name}"),
            };
            let logs = manifest.lines().any(|line| line.starts_with("tracing "));
            assert!(!logs || NAMES.contains(&name.as_str()), "{name} is not in NAMES");
        }
    }

    #[test]
    fn rust_log_is_understood() {
        for (asked, expected) in [
            (
                "",
                [
                    ("root", "WARN"),
                    ("klamm", "INFO"),
                    ("klamm_log", "INFO"),
                    ("openraft", "WARN"),
                ],
            ),
            (
                "debug",
                [
                    ("root", "DEBUG"),
                    ("klamm", "DEBUG"),
                    ("klamm_log", "DEBUG"),
                    ("openraft", "DEBUG"),
                ],
            ),
            (
                "klamm_log=trace",
                [
                    ("root", "WARN"),
                    ("klamm", "INFO"),
                    ("klamm_log", "TRACE"),
                    ("openraft", "WARN"),
                ],
            ),
            (
                "error, klamm=Warn",
                [
                    ("root", "ERROR"),
                    ("klamm", "WARN"),
                    ("klamm_log", "WARN"),
                    ("openraft", "ERROR"),
                ],
            ),
            (
                "off,openraft",
                [
                    ("root", "OFF"),
                    ("klamm", "OFF"),
                    ("klamm_log", "OFF"),
                    ("openraft", "TRACE"),
                ],
            ),
        ] {
            let (levels, wrong) = Levels::new(asked);
            assert!(wrong.is_empty(), "{asked}: {wrong:?}");
            assert_eq!(
                expected.map(|(name, _)| (name, levels.in_force(name))),
                expected,
                "{asked}"
            );
        }
        let (levels, wrong) = Levels::new("klamm_log=loud,a b,klamm[connection{id=1,peer=2}]=trace,=info");
        assert_eq!(wrong, ["klamm_log=loud", "a b"]);
        assert_eq!(levels.finer.len(), 1);
        assert_eq!(levels.in_force(ROOT), "INFO");
    }

    #[test]
    fn levels_change_while_it_runs() {
        let lines = Lines::default();
        let writer = lines.clone();
        let (subscriber, live) = subscriber(LogFormat::Text, move || writer.clone(), Levels::new("").0);
        let all = || {
            debug!(target: "klamm_log::flush", "debug of the log");
            info!(target: "klamm_net", "info of the network");
            error!(target: "somebody", "error of somebody");
            lines
                .take()
                .lines()
                .map(|line| line.split(": ").nth(1).unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        let level = |name: &str| {
            live.levels()
                .into_iter()
                .find(|(known, _)| known == name)
                .unwrap()
                .1
        };
        tracing::subscriber::with_default(subscriber, || {
            assert_eq!(all(), ["info of the network", "error of somebody"]);
            live.set("klamm_log", Some("DEBUG"));
            assert_eq!(
                all(),
                ["debug of the log", "info of the network", "error of somebody"]
            );
            live.set("klamm", Some("FATAL"));
            assert_eq!((level("klamm_log"), level("klamm_net")), ("DEBUG", "FATAL"));
            assert_eq!(all(), ["debug of the log", "error of somebody"]);
            live.set("klamm_log", None);
            live.set("klamm", None);
            live.set(ROOT, Some("DEBUG"));
            assert_eq!(
                (level(ROOT), level("klamm_log"), level("openraft")),
                ("DEBUG", "INFO", "DEBUG")
            );
            assert_eq!(all(), ["info of the network", "error of somebody"]);
        });
    }

    #[test]
    fn json_is_an_object_a_line() {
        let lines = Lines::default();
        let writer = lines.clone();
        let (subscriber, _live) = subscriber(LogFormat::Json, move || writer.clone(), Levels::new("").0);
        tracing::subscriber::with_default(subscriber, || info!(target: "klamm", port = 1, "started"));
        let line: serde_json::Value = serde_json::from_str(&lines.take()).unwrap();
        assert_eq!(
            (&line["message"], &line["port"], &line["level"]),
            (&"started".into(), &1.into(), &"INFO".into())
        );
    }
}
