//! AlterConfigs and IncrementalAlterConfigs: what both refuse, what each does, and what is seen of it afterwards.

use anyhow::Result;
use klamm_protocol::ApiKey::{
    self, AlterConfigs, DescribeConfigs, IncrementalAlterConfigs, ListConfigResources,
};
use serde_json::{Value as Json, json};

use super::configs::{BROKER, CLIENT_METRICS, GROUP, LOGGER, TOPIC, UNKNOWN, describe, resource};
use crate::scenario::Scenario;

/// A resource with configs as either of the two APIs takes them; `operation` is left out for AlterConfigs.
fn altered(kind: i8, name: &str, configs: &[(&str, i8, Json)], api: ApiKey) -> Json {
    let configs: Vec<_> = configs
        .iter()
        .map(|(name, operation, value)| match api {
            AlterConfigs => json!({"Name": name, "Value": value}),
            _ => json!({"Name": name, "ConfigOperation": operation, "Value": value}),
        })
        .collect();
    json!({"ResourceType": kind, "ResourceName": name, "Configs": configs})
}

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// A name of a step, the resource, and its configs.
type Change<'a> = (&'a str, i8, &'a str, Vec<(&'a str, i8, Json)>);

/// What both APIs refuse, or would do.
fn common(topic: &str) -> Vec<Change<'_>> {
    let one = |key, value: &str| vec![(key, SET, json!(value))];
    vec![
        ("set", TOPIC, topic, one("retention.ms", "5000")),
        ("nothing", TOPIC, topic, vec![]),
        ("unknown-key", TOPIC, topic, one("no.such.key", "1")),
        ("empty-key", TOPIC, topic, one("", "1")),
        ("bad-number", TOPIC, topic, one("retention.ms", "soon")),
        ("out-of-range", TOPIC, topic, one("retention.ms", "-2")),
        ("bad-choice", TOPIC, topic, one("compression.type", "brotli")),
        (
            "null-value",
            TOPIC,
            topic,
            vec![("retention.ms", SET, json!(null))],
        ),
        ("empty-value", TOPIC, topic, one("retention.ms", "")),
        (
            "same-key-twice",
            TOPIC,
            topic,
            vec![
                ("retention.ms", SET, json!("1")),
                ("retention.ms", SET, json!("2")),
            ],
        ),
        (
            "lag-above",
            TOPIC,
            topic,
            vec![
                ("min.compaction.lag.ms", SET, json!("9")),
                ("max.compaction.lag.ms", SET, json!("1")),
            ],
        ),
        ("broker-key-on-topic", TOPIC, topic, one("log.retention.ms", "1")),
        ("unknown-topic", TOPIC, "alter-nobody", one("retention.ms", "1")),
        ("bad-topic-name", TOPIC, "alter a", one("retention.ms", "1")),
        ("empty-topic-name", TOPIC, "", one("retention.ms", "1")),
        ("broker", BROKER, "1", one("log.retention.ms", "5000000")),
        ("broker-default", BROKER, "", one("log.retention.ms", "5000000")),
        ("broker-read-only", BROKER, "1", one("num.partitions", "2")),
        ("broker-node-id", BROKER, "1", one("node.id", "2")),
        ("broker-unknown-key", BROKER, "1", one("no.such.key", "1")),
        ("broker-bad-value", BROKER, "1", one("log.retention.ms", "soon")),
        ("broker-out-of-range", BROKER, "1", one("num.io.threads", "0")),
        ("broker-threads-far-up", BROKER, "1", one("num.io.threads", "100")),
        (
            "broker-per-broker-key-as-default",
            BROKER,
            "",
            one("listeners", "PLAINTEXT://:1"),
        ),
        ("broker-topic-key", BROKER, "1", one("retention.ms", "1")),
        ("broker-other", BROKER, "2", one("log.retention.ms", "1")),
        ("broker-not-a-number", BROKER, "one", one("log.retention.ms", "1")),
        ("broker-negative", BROKER, "-1", one("log.retention.ms", "1")),
        ("logger-other", LOGGER, "2", one("root", "INFO")),
        (
            "client-metrics",
            CLIENT_METRICS,
            "alter-metrics",
            one("interval.ms", "1000"),
        ),
        (
            "client-metrics-unknown-key",
            CLIENT_METRICS,
            "alter-metrics",
            one("no.such.key", "1"),
        ),
        (
            "client-metrics-bad-interval",
            CLIENT_METRICS,
            "alter-metrics",
            one("interval.ms", "1"),
        ),
        (
            "client-metrics-bad-match",
            CLIENT_METRICS,
            "alter-metrics",
            one("match", "planet=earth"),
        ),
        (
            "client-metrics-empty-name",
            CLIENT_METRICS,
            "",
            one("interval.ms", "1000"),
        ),
        (
            "group",
            GROUP,
            "alter-group",
            one("consumer.session.timeout.ms", "50000"),
        ),
        ("group-unknown-key", GROUP, "alter-group", one("no.such.key", "1")),
        (
            "group-out-of-range",
            GROUP,
            "alter-group",
            one("consumer.session.timeout.ms", "1"),
        ),
        (
            "group-empty-name",
            GROUP,
            "",
            one("consumer.session.timeout.ms", "50000"),
        ),
        ("type-unknown", UNKNOWN, topic, one("retention.ms", "1")),
        ("type-99", 99, topic, one("retention.ms", "1")),
    ]
}

fn validated(s: &mut Scenario, api: ApiKey, changes: Vec<Change<'_>>) -> Result<()> {
    let last = i16::from(api == AlterConfigs) + 1;
    for (step, kind, name, configs) in changes {
        let resource = altered(kind, name, &configs, api);
        s.each(
            api,
            step,
            [0, last],
            &json!({"Resources": [resource], "ValidateOnly": true}),
        )?;
    }
    Ok(())
}

pub(super) fn incremental(s: &mut Scenario) -> Result<()> {
    let api = IncrementalAlterConfigs;
    s.topic("incremental-a", 1, &[])?;
    validated(s, api, common("incremental-a"))?;
    let change = |operation, key, value: Json| vec![(key, operation, value)];
    let more = vec![
        (
            "delete",
            TOPIC,
            "incremental-a",
            change(DELETE, "retention.ms", json!(null)),
        ),
        (
            "delete-with-value",
            TOPIC,
            "incremental-a",
            change(DELETE, "retention.ms", json!("1")),
        ),
        (
            "delete-unknown-key",
            TOPIC,
            "incremental-a",
            change(DELETE, "no.such.key", json!(null)),
        ),
        (
            "append",
            TOPIC,
            "incremental-a",
            change(APPEND, "cleanup.policy", json!("compact")),
        ),
        (
            "append-what-is-there",
            TOPIC,
            "incremental-a",
            change(APPEND, "cleanup.policy", json!("delete")),
        ),
        (
            "append-unknown-choice",
            TOPIC,
            "incremental-a",
            change(APPEND, "cleanup.policy", json!("shred")),
        ),
        (
            "append-null",
            TOPIC,
            "incremental-a",
            change(APPEND, "cleanup.policy", json!(null)),
        ),
        (
            "append-to-a-number",
            TOPIC,
            "incremental-a",
            change(APPEND, "retention.ms", json!("1")),
        ),
        (
            "append-to-an-unknown-key",
            TOPIC,
            "incremental-a",
            change(APPEND, "no.such.key", json!("1")),
        ),
        (
            "subtract",
            TOPIC,
            "incremental-a",
            change(SUBTRACT, "cleanup.policy", json!("delete")),
        ),
        (
            "subtract-what-is-not-there",
            TOPIC,
            "incremental-a",
            change(SUBTRACT, "cleanup.policy", json!("compact")),
        ),
        (
            "subtract-from-a-number",
            TOPIC,
            "incremental-a",
            change(SUBTRACT, "retention.ms", json!("1")),
        ),
        (
            "subtract-null",
            TOPIC,
            "incremental-a",
            change(SUBTRACT, "cleanup.policy", json!(null)),
        ),
        (
            "operation-4",
            TOPIC,
            "incremental-a",
            change(4, "retention.ms", json!("1")),
        ),
        (
            "operation-minus-1",
            TOPIC,
            "incremental-a",
            change(-1, "retention.ms", json!("1")),
        ),
        (
            "set-and-delete",
            TOPIC,
            "incremental-a",
            vec![
                ("retention.ms", SET, json!("1")),
                ("retention.ms", DELETE, json!(null)),
            ],
        ),
        ("logger", LOGGER, "1", change(SET, "kafka.server", json!("INFO"))),
        (
            "logger-bad-level",
            LOGGER,
            "1",
            change(SET, "root", json!("LOUD")),
        ),
        (
            "logger-unknown",
            LOGGER,
            "1",
            change(SET, "no.such.logger", json!("INFO")),
        ),
        (
            "logger-append",
            LOGGER,
            "1",
            change(APPEND, "root", json!("INFO")),
        ),
        (
            "logger-delete-root",
            LOGGER,
            "1",
            change(DELETE, "root", json!(null)),
        ),
        (
            "logger-empty-name",
            LOGGER,
            "",
            change(SET, "root", json!("INFO")),
        ),
    ];
    validated(s, api, more)?;
    several(s, api, "incremental-a")?;
    persisted(s)
}

pub(super) fn whole(s: &mut Scenario) -> Result<()> {
    let api = AlterConfigs;
    s.topic("alter-a", 1, &[("segment.ms", "7000")])?;
    validated(s, api, common("alter-a"))?;
    validated(
        s,
        api,
        vec![("logger", LOGGER, "1", vec![("root", SET, json!("INFO"))])],
    )?;
    several(s, api, "alter-a")?;
    let replaced = altered(TOPIC, "alter-a", &[("retention.ms", SET, json!("8000"))], api);
    s.ask(api, "replaces-all", 2, &json!({"Resources": [replaced]}))?;
    let keys = describe(&[resource(TOPIC, "alter-a", &json!(["retention.ms", "segment.ms"]))]);
    s.ask_until(DescribeConfigs, "after-replacing", 4, &keys, |answer| {
        let configs = answer.list("Results.0.Configs");
        configs.is_ok_and(|configs| configs.iter().any(|c| c.text("Value").is_ok_and(|v| v == "8000")))
    })?;
    Ok(())
}

fn several(s: &mut Scenario, api: ApiKey, topic: &str) -> Result<()> {
    let one = |name: &str, value: &str| altered(TOPIC, name, &[("retention.ms", SET, json!(value))], api);
    let cases = [
        ("no-resources", vec![]),
        (
            "one-good-two-bad",
            vec![one(topic, "1"), one("alter-nobody", "1"), one("alter a", "1")],
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
    let twice = [one(topic, "1"), one(topic, "2")];
    s.ask(
        api,
        "same-resource-twice",
        1,
        &json!({"Resources": twice, "ValidateOnly": true}),
    )?;
    Ok(())
}

/// Changes that are made, seen and taken back.
fn persisted(s: &mut Scenario) -> Result<()> {
    let changes: [Change<'_>; 9] = [
        (
            "topic-set",
            TOPIC,
            "incremental-a",
            vec![("retention.ms", SET, json!("5000"))],
        ),
        (
            "topic-append",
            TOPIC,
            "incremental-a",
            vec![("cleanup.policy", APPEND, json!("compact"))],
        ),
        (
            "topic-delete",
            TOPIC,
            "incremental-a",
            vec![("retention.ms", DELETE, json!(null))],
        ),
        (
            "broker-default-set",
            BROKER,
            "",
            vec![("log.retention.ms", SET, json!("7000000"))],
        ),
        (
            "broker-set",
            BROKER,
            "1",
            vec![("log.retention.ms", SET, json!("6000000"))],
        ),
        (
            "broker-delete",
            BROKER,
            "1",
            vec![("log.retention.ms", DELETE, json!(null))],
        ),
        (
            "broker-default-delete",
            BROKER,
            "",
            vec![("log.retention.ms", DELETE, json!(null))],
        ),
        (
            "client-metrics-set",
            CLIENT_METRICS,
            "alter-metrics",
            vec![("interval.ms", SET, json!("1000"))],
        ),
        (
            "group-set",
            GROUP,
            "alter-group",
            vec![("consumer.session.timeout.ms", SET, json!("50000"))],
        ),
    ];
    for (step, kind, name, configs) in changes {
        let change = altered(kind, name, &configs, IncrementalAlterConfigs);
        s.ask(
            IncrementalAlterConfigs,
            &format!("make-{step}"),
            1,
            &json!({"Resources": [change]}),
        )?;
        // Answered before it shows.
        std::thread::sleep(std::time::Duration::from_millis(150));
        let key = configs.iter().map(|(key, ..)| *key).collect::<Vec<_>>();
        let topic = describe(&[resource(
            TOPIC,
            "incremental-a",
            &json!(["retention.ms", "cleanup.policy"]),
        )]);
        s.ask(DescribeConfigs, &format!("topic-after-{step}"), 4, &topic)?;
        if kind != TOPIC {
            let own = describe(&[resource(kind, name, &json!(key))]);
            s.ask(DescribeConfigs, &format!("resource-after-{step}"), 4, &own)?;
        }
    }
    s.each(
        ListConfigResources,
        "client-metrics-listed",
        0..=1,
        &json!({"ResourceTypes": [CLIENT_METRICS]}),
    )?;
    s.ask(
        ListConfigResources,
        "groups-listed",
        1,
        &json!({"ResourceTypes": [GROUP]}),
    )?;
    for (kind, name, key) in [
        (CLIENT_METRICS, "alter-metrics", "interval.ms"),
        (GROUP, "alter-group", "consumer.session.timeout.ms"),
    ] {
        let resource = altered(kind, name, &[(key, DELETE, json!(null))], IncrementalAlterConfigs);
        s.quiet(IncrementalAlterConfigs, 1, &json!({"Resources": [resource]}))?;
    }
    Ok(())
}
