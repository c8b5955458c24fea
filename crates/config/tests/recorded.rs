//! What Apache Kafka 4.4.0 answered, against what we answer: DescribeConfigs of a broker and its resources, a conversation
//! of changes, and DescribeConfigs again.
//!
//! The fixtures are recordings; every difference stands here with its reason.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use klamm_config::alter::{self, Operation, Target};
use klamm_config::describe::{self, ConfigEntry};
use klamm_config::{BrokerConfig, Layers, Sources, Values, properties};

/// The stored texts of each target.
#[derive(Default)]
struct State {
    fixed: Values,
    stored: BTreeMap<&'static str, Values>,
}

impl State {
    /// The broker of the recording: its file, and the one dynamic default that it has from its first start.
    fn fresh() -> Self {
        let file = properties::parse(include_str!("../fixtures/recorded.properties")).unwrap();
        let sources = Sources {
            file: Some(("recorded.properties".to_owned(), file)),
            ..Sources::default()
        };
        let (config, _) = BrokerConfig::load(&sources).unwrap();
        let first = Values::from([("min.insync.replicas".to_owned(), "1".to_owned())]);
        Self {
            fixed: config.fixed,
            stored: BTreeMap::from([("broker-default", first)]),
        }
    }

    fn of(&self, target: &str) -> Values {
        self.stored.get(target).cloned().unwrap_or_default()
    }

    fn describe(&self, target: &str) -> Vec<ConfigEntry> {
        let (broker, default, own) = (self.of("broker"), self.of("broker-default"), self.of(target));
        let layers = Layers {
            dynamic_broker: &broker,
            dynamic_default: &default,
            fixed: &self.fixed,
        };
        match target {
            "topic" => describe::topic(&own, &layers),
            "broker" => describe::broker(&layers),
            "broker-default" => describe::broker_default(&layers),
            "group" => describe::group(&own, &layers),
            "client-metrics" => describe::client_metrics(&own),
            other => panic!("no target {other}"),
        }
    }

    /// Gives code and message.
    fn change(&mut self, target: &str, operations: &str) -> (i16, Option<String>) {
        let words: Vec<&str> = operations.split_whitespace().collect();
        let pair = |text: &'static str| match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        // Blanks in values were written as ~.
        let words: Vec<&'static str> = words.iter().map(|word| &*word.replace('~', " ").leak()).collect();
        let (broker, default) = (self.of("broker"), self.of("broker-default"));
        let layers = Layers {
            dynamic_broker: &broker,
            dynamic_default: &default,
            fixed: &self.fixed,
        };
        let result = if target == "new-topic" {
            let entries: Vec<_> = words.iter().map(|word| pair(word)).collect();
            alter::new_topic(&entries, &layers).map(|_| None)
        } else if let Some(target) = target.strip_prefix("replace-") {
            let entries: Vec<_> = words.iter().map(|word| pair(word)).collect();
            let (name, kind) = target_of(target);
            alter::replace(kind, &self.of(name), &entries, &layers).map(|done| Some((name, done)))
        } else {
            let operations = words.iter().map(|word| {
                let (code, rest) = word.split_once(':').unwrap();
                let operation = match code {
                    "set" => 0,
                    "del" => 1,
                    "app" => 2,
                    "sub" => 3,
                    other => other.parse().unwrap(),
                };
                let (name, value) = pair(rest);
                Operation {
                    name,
                    operation,
                    value,
                }
            });
            let operations: Vec<_> = operations.collect();
            let (name, kind) = target_of(target);
            alter::alter(kind, &self.of(name), &operations, &layers).map(|done| Some((name, done)))
        };
        match result {
            Ok(Some((name, values))) => {
                self.stored.insert(name, values);
                (0, None)
            }
            Ok(None) => (0, None),
            Err(error) => (error.code() as i16, error.message()),
        }
    }
}

fn target_of(name: &str) -> (&'static str, Target) {
    match name {
        "topic" => ("topic", Target::Topic),
        "broker" => ("broker", Target::Broker),
        "broker-default" => ("broker-default", Target::BrokerDefault),
        "group" => ("group", Target::Group),
        "client-metrics" => ("client-metrics", Target::ClientMetrics),
        other => panic!("no target {other}"),
    }
}

/// Rows of one section of the recording, by name.
fn recorded(section: &str) -> BTreeMap<&'static str, &'static str> {
    let all = include_str!("../fixtures/describe.txt");
    let (_, rest) = all.split_once(&format!("[{section}]\n")).unwrap();
    let rows = rest.lines().take_while(|line| !line.starts_with('['));
    rows.map(|line| line.split_once('\t').unwrap()).collect()
}

/// An entry in the recording's form, without its name.
fn row(entry: &ConfigEntry) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "~".to_owned());
    let synonyms = entry
        .synonyms
        .iter()
        .map(|each| format!("{}={}@{}", each.name, text(&each.value), each.source as i8));
    let mut synonyms = synonyms.collect::<Vec<_>>().join(";");
    if entry.source as i8 == 5 && synonyms == format!("{}={}@5", entry.name, text(&entry.value)) {
        synonyms = "=".to_owned();
    }
    let flags = format!(
        "{}{}",
        if entry.read_only { "r" } else { "" },
        if entry.sensitive { "s" } else { "" }
    );
    let kind = entry.kind.map_or(0, |kind| kind as i8);
    format!(
        "{}\t{}\t{flags}\t{kind}\t{synonyms}",
        text(&entry.value),
        entry.source as i8
    )
}

/// Names whose entries differ from Kafka's, and why.
const DESCRIBED_DIFFERENTLY: &[(&str, &str)] = &[
    (
        "controller.listener.names",
        "has a default, so that a broker starts without a file",
    ),
    ("listener.security.protocol.map", "changes with a restart only"),
    (
        "listeners",
        "changes with a restart only, and is on loopback by default",
    ),
    (
        "log.dir",
        "is unset by default: the command line names the data folder",
    ),
    ("node.id", "has a default, so that a broker starts without a file"),
    (
        "process.roles",
        "has a default, so that a broker starts without a file",
    ),
];

/// Differences that Kafka's own later answer has from its first, which we do not follow.
const KAFKA_CONTRADICTS_ITSELF: &[(&str, &str)] = &[(
    "log.retention.hours",
    "shows its default as the value once log.retention.ms is dynamic, beside its static 5",
)];

fn compare(state: &State, section: &str, target: &str, apart: &[(&str, &str)]) {
    let expected = recorded(section);
    let ours: BTreeMap<_, _> = state
        .describe(target)
        .iter()
        .map(|entry| (entry.name.clone(), row(entry)))
        .collect();
    let mut used = BTreeSet::new();
    for (name, expected) in &expected {
        let ours = ours.get(*name).map(String::as_str);
        match apart.iter().find(|(other, _)| other == name) {
            Some((name, _)) => {
                assert_ne!(ours, Some(*expected), "[{section}] {name} is no longer different");
                used.insert(*name);
            }
            None => assert_eq!(ours, Some(*expected), "[{section}] {name}"),
        }
    }
    let unused: Vec<_> = apart.iter().filter(|(name, _)| !used.contains(name)).collect();
    assert!(unused.is_empty(), "[{section}] {unused:?}");
    if !section.ends_with("broker after") {
        let more = ours.keys().filter(|name| !expected.contains_key(name.as_str()));
        let more: Vec<_> = more.filter(|name| !name.starts_with("klamm.")).collect();
        assert!(more.is_empty(), "[{section}] {more:?}");
    }
}

#[test]
fn every_key_is_described_as_kafka_describes_it() {
    let state = State::fresh();
    for target in ["topic", "group", "client-metrics", "broker-default"] {
        compare(&state, target, target, &[]);
    }
    compare(&state, "broker", "broker", DESCRIBED_DIFFERENTLY);
    for entry in state
        .describe("broker")
        .iter()
        .filter(|entry| entry.kind.is_some())
    {
        assert_eq!(
            entry.documentation.is_some(),
            !entry.name.starts_with("listener.name."),
            "{}",
            entry.name
        );
    }
}

/// Changes that are answered otherwise than by Kafka, and why.
const ANSWERED_DIFFERENTLY: &[(&str, &str, &str)] = &[
    (
        "topic",
        "set:min.cleanable.dirty.ratio=NaN",
        "not a number is no ratio",
    ),
    (
        "broker-default",
        "set:listeners=PLAINTEXT://:1",
        "listeners change with a restart only",
    ),
    (
        "broker",
        "set:min.insync.replicas=2",
        "eligible leader replicas are not served yet",
    ),
    (
        "broker-default",
        "del:min.insync.replicas",
        "eligible leader replicas are not served yet",
    ),
    (
        "broker",
        "set:max.connections.per.ip.overrides=foo",
        "Kafka answers with the words of a Java exception",
    ),
    (
        "client-metrics",
        "set:match=client_id=(",
        "patterns are not compiled before metrics are collected",
    ),
];

#[test]
fn a_conversation_of_changes() {
    let mut state = State::fresh();
    let mut apart: BTreeSet<_> = ANSWERED_DIFFERENTLY
        .iter()
        .map(|(target, change, _)| (*target, *change))
        .collect();
    for line in include_str!("../fixtures/alter.txt").lines().skip(1) {
        let [target, change, code, message] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let expected = (
            code.parse().unwrap(),
            Some(message.to_owned()).filter(|message| message != "~"),
        );
        let before = state.stored.clone();
        let answer = state.change(target, change);
        if apart.remove(&(target, change)) {
            assert_ne!(answer, expected, "{line}");
            // What Kafka refused is not kept, so that the conversation goes on from the same place.
            state.stored = before;
        } else {
            assert_eq!(answer, expected, "{line}");
        }
    }
    assert!(apart.is_empty(), "{apart:?}");
    for target in ["topic", "group", "client-metrics", "broker-default"] {
        compare(&state, &format!("{target} after"), target, &[]);
    }
    let mut different = DESCRIBED_DIFFERENTLY.to_vec();
    different.retain(|(name, _)| *name != "log.dir");
    different.extend(KAFKA_CONTRADICTS_ITSELF);
    compare(&state, "broker after", "broker", &different);
}
