//! AlterConfigs and IncrementalAlterConfigs: what both refuse, what each does, and what is seen of it afterwards.

use std::collections::BTreeMap;

use anyhow::Result;
use klamm_protocol::ApiKey::{
    self, AlterConfigs, DescribeConfigs, IncrementalAlterConfigs, ListConfigResources,
};
use serde_json::{Value as Json, json};

use super::changes::changes;
use super::configs::{BROKER, CLIENT_METRICS, GROUP, LOGGER, TOPIC, UNKNOWN, describe, resource};
use crate::scenario::Scenario;
use crate::value::Value;

/// The steps and changes of one resource; the name `{topic}` stands for the scenario's own topic.
type Group = (i8, &'static str, &'static [(&'static str, &'static str)]);

/// What both APIs refuse, or would do.
const COMMON: &[Group] = &[
    (
        TOPIC,
        "{topic}",
        &[
            ("set", "retention.ms = 5000"),
            ("nothing", ""),
            ("unknown-key", "no.such.key = 1"),
            ("empty-key", " = 1"),
            ("bad-number", "retention.ms = soon"),
            ("out-of-range", "retention.ms = -2"),
            ("bad-choice", "compression.type = brotli"),
            ("null-value", "retention.ms = null"),
            ("empty-value", "retention.ms = "),
            ("same-key-twice", "retention.ms = 1; retention.ms = 2"),
            (
                "lag-above",
                "min.compaction.lag.ms = 9; max.compaction.lag.ms = 1",
            ),
            ("broker-key-on-topic", "log.retention.ms = 1"),
        ],
    ),
    (TOPIC, "alter-nobody", &[("unknown-topic", "retention.ms = 1")]),
    (TOPIC, "alter a", &[("bad-topic-name", "retention.ms = 1")]),
    (TOPIC, "", &[("empty-topic-name", "retention.ms = 1")]),
    (
        BROKER,
        "1",
        &[
            ("broker", "log.retention.ms = 5000000"),
            ("broker-read-only", "num.partitions = 2"),
            ("broker-node-id", "node.id = 2"),
            ("broker-unknown-key", "no.such.key = 1"),
            ("broker-bad-value", "log.retention.ms = soon"),
            ("broker-out-of-range", "num.io.threads = 0"),
            ("broker-threads-far-up", "num.io.threads = 100"),
            ("broker-topic-key", "retention.ms = 1"),
        ],
    ),
    (
        BROKER,
        "",
        &[
            ("broker-default", "log.retention.ms = 5000000"),
            ("broker-per-broker-key-as-default", "listeners = PLAINTEXT://:1"),
        ],
    ),
    (BROKER, "2", &[("broker-other", "log.retention.ms = 1")]),
    (BROKER, "one", &[("broker-not-a-number", "log.retention.ms = 1")]),
    (BROKER, "-1", &[("broker-negative", "log.retention.ms = 1")]),
    (LOGGER, "2", &[("logger-other", "root = INFO")]),
    (
        CLIENT_METRICS,
        "alter-metrics",
        &[
            ("client-metrics", "interval.ms = 1000"),
            ("client-metrics-unknown-key", "no.such.key = 1"),
            ("client-metrics-bad-interval", "interval.ms = 1"),
            ("client-metrics-bad-match", "match = planet=earth"),
        ],
    ),
    (
        CLIENT_METRICS,
        "",
        &[("client-metrics-empty-name", "interval.ms = 1000")],
    ),
    (
        GROUP,
        "alter-group",
        &[
            ("group", "consumer.session.timeout.ms = 50000"),
            ("group-unknown-key", "no.such.key = 1"),
            ("group-out-of-range", "consumer.session.timeout.ms = 1"),
        ],
    ),
    (
        GROUP,
        "",
        &[("group-empty-name", "consumer.session.timeout.ms = 50000")],
    ),
    (UNKNOWN, "{topic}", &[("type-unknown", "retention.ms = 1")]),
    (99, "{topic}", &[("type-99", "retention.ms = 1")]),
];

/// What only IncrementalAlterConfigs can be asked for.
const INCREMENTAL: &[Group] = &[
    (
        TOPIC,
        "{topic}",
        &[
            ("delete", "retention.ms delete"),
            ("delete-with-value", "retention.ms delete 1"),
            ("delete-unknown-key", "no.such.key delete"),
            ("append", "cleanup.policy += compact"),
            ("append-what-is-there", "cleanup.policy += delete"),
            ("append-unknown-choice", "cleanup.policy += shred"),
            ("append-null", "cleanup.policy += null"),
            ("append-to-a-number", "retention.ms += 1"),
            ("append-to-an-unknown-key", "no.such.key += 1"),
            ("subtract", "cleanup.policy -= delete"),
            ("subtract-what-is-not-there", "cleanup.policy -= compact"),
            ("subtract-from-a-number", "retention.ms -= 1"),
            ("subtract-null", "cleanup.policy -= null"),
            ("operation-4", "retention.ms op4 1"),
            ("operation-minus-1", "retention.ms op-1 1"),
            ("set-and-delete", "retention.ms = 1; retention.ms delete"),
        ],
    ),
    (
        LOGGER,
        "1",
        &[
            ("logger", "kafka.server = INFO"),
            ("logger-bad-level", "root = LOUD"),
            ("logger-unknown", "no.such.logger = INFO"),
            ("logger-append", "root += INFO"),
            ("logger-delete-root", "root delete"),
        ],
    ),
    (LOGGER, "", &[("logger-empty-name", "root = INFO")]),
];

/// Changes that are made, seen and taken back.
const MADE: &[(&str, i8, &str, &str)] = &[
    ("topic-set", TOPIC, "{topic}", "retention.ms = 5000"),
    ("topic-append", TOPIC, "{topic}", "cleanup.policy += compact"),
    ("topic-delete", TOPIC, "{topic}", "retention.ms delete"),
    ("broker-default-set", BROKER, "", "log.retention.ms = 7000000"),
    ("broker-set", BROKER, "1", "log.retention.ms = 6000000"),
    ("broker-delete", BROKER, "1", "log.retention.ms delete"),
    ("broker-default-delete", BROKER, "", "log.retention.ms delete"),
    (
        "client-metrics-set",
        CLIENT_METRICS,
        "alter-metrics",
        "interval.ms = 1000",
    ),
    (
        "group-set",
        GROUP,
        "alter-group",
        "consumer.session.timeout.ms = 50000",
    ),
];

/// A resource with its changes, as either of the two APIs takes them.
fn altered(kind: i8, name: &str, line: &str, api: ApiKey) -> Json {
    let config = |(name, operation, value)| match api {
        AlterConfigs => json!({"Name": name, "Value": value}),
        _ => json!({"Name": name, "ConfigOperation": operation, "Value": value}),
    };
    let configs: Vec<_> = changes(line).into_iter().map(config).collect();
    json!({"ResourceType": kind, "ResourceName": name, "Configs": configs})
}

fn validated(s: &mut Scenario, api: ApiKey, topic: &str, groups: &[Group]) -> Result<()> {
    let last = i16::from(api == AlterConfigs) + 1;
    for (kind, name, steps) in groups {
        for (step, line) in *steps {
            let resource = altered(*kind, &name.replace("{topic}", topic), line, api);
            let request = json!({"Resources": [resource], "ValidateOnly": true});
            s.each(api, step, [0, last], &request)?;
        }
    }
    Ok(())
}

fn several(s: &mut Scenario, api: ApiKey, topic: &str) -> Result<()> {
    let one = |name: &str| altered(TOPIC, name, "retention.ms = 1", api);
    let cases = [
        ("no-resources", vec![]),
        (
            "one-good-two-bad",
            vec![one(topic), one("alter-nobody"), one("alter a")],
        ),
    ];
    for (step, resources) in cases {
        s.each(
            api,
            step,
            [0, 1],
            &json!({"Resources": resources, "ValidateOnly": true}),
        )?;
    }
    // Kafka never answers this one in AlterConfigs.
    let twice = json!({"Resources": [one(topic), one(topic)], "ValidateOnly": true});
    s.ask(api, "same-resource-twice", 1, &twice)?;
    Ok(())
}

pub(super) fn incremental(s: &mut Scenario) -> Result<()> {
    let topic = "incremental-a";
    s.topic(topic, 1, &[])?;
    validated(s, IncrementalAlterConfigs, topic, COMMON)?;
    validated(s, IncrementalAlterConfigs, topic, INCREMENTAL)?;
    several(s, IncrementalAlterConfigs, topic)?;
    made(s, topic)
}

pub(super) fn whole(s: &mut Scenario) -> Result<()> {
    let topic = "alter-a";
    s.topic(topic, 1, &[("segment.ms", "7000")])?;
    validated(s, AlterConfigs, topic, COMMON)?;
    validated(
        s,
        AlterConfigs,
        topic,
        &[(LOGGER, "1", &[("logger", "root = INFO")])],
    )?;
    several(s, AlterConfigs, topic)?;
    let replaced = altered(TOPIC, topic, "retention.ms = 8000", AlterConfigs);
    s.ask(AlterConfigs, "replaces-all", 2, &json!({"Resources": [replaced]}))?;
    let keys = describe(&[resource(TOPIC, topic, &json!(["retention.ms", "segment.ms"]))]);
    s.ask_until(DescribeConfigs, "after-replacing", 4, &keys, |answer| {
        let configs = answer.list("Results.0.Configs");
        configs.is_ok_and(|configs| configs.iter().any(|c| c.text("Value").is_ok_and(|v| v == "8000")))
    })?;
    Ok(())
}

/// The values that were set, by resource and key.
type Before = BTreeMap<(i8, String, String), String>;

/// Waits until a change shows in its resource: a value that was set is there, and one that was deleted is not; `before`
/// has the values that were set. What follows from it elsewhere shows a little later.
fn seen(s: &mut Scenario, kind: i8, name: &str, line: &str, before: &mut Before) -> Result<()> {
    for (key, _, value) in changes(line) {
        let request = describe(&[resource(kind, name, &json!([key]))]);
        let shows = |answer: &Value, text: &str| {
            let configs = answer.list("Results.0.Configs").unwrap_or_default();
            configs
                .iter()
                .any(|c| c.text("Value").is_ok_and(|value| value.contains(text)))
        };
        let id = (kind, name.to_owned(), key.to_owned());
        if let Some(value) = value.as_str() {
            s.until(DescribeConfigs, 4, &request, |answer| shows(answer, value))?;
            before.insert(id, value.to_owned());
        } else if let Some(last) = before.remove(&id) {
            s.until(DescribeConfigs, 4, &request, |answer| !shows(answer, &last))?;
        }
    }
    s.settle();
    Ok(())
}

fn made(s: &mut Scenario, topic: &str) -> Result<()> {
    let api = IncrementalAlterConfigs;
    let mut before = Before::new();
    for (step, kind, name, line) in MADE {
        let name = &name.replace("{topic}", topic);
        let change = altered(*kind, name, line, api);
        s.ask(api, &format!("make-{step}"), 1, &json!({"Resources": [change]}))?;
        seen(s, *kind, name, line, &mut before)?;
        let seen = resource(TOPIC, topic, &json!(["retention.ms", "cleanup.policy"]));
        s.ask(
            DescribeConfigs,
            &format!("topic-after-{step}"),
            4,
            &describe(&[seen]),
        )?;
        if *kind != TOPIC {
            let keys: Vec<_> = changes(line).into_iter().map(|(key, ..)| key).collect();
            let own = describe(&[resource(*kind, name, &json!(keys))]);
            s.ask(DescribeConfigs, &format!("resource-after-{step}"), 4, &own)?;
        }
    }
    let metrics = json!({"ResourceTypes": [CLIENT_METRICS]});
    s.each(ListConfigResources, "client-metrics-listed", 0..=1, &metrics)?;
    s.ask(
        ListConfigResources,
        "groups-listed",
        1,
        &json!({"ResourceTypes": [GROUP]}),
    )?;
    let metrics = altered(CLIENT_METRICS, "alter-metrics", "interval.ms delete", api);
    let group = altered(GROUP, "alter-group", "consumer.session.timeout.ms delete", api);
    s.quiet(api, 1, &json!({"Resources": [metrics, group]}))?;
    Ok(())
}
