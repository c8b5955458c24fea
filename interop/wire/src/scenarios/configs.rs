//! DescribeConfigs and ListConfigResources.

use anyhow::Result;
use klamm_protocol::ApiKey::{DescribeConfigs, ListConfigResources};
use serde_json::{Value as Json, json};

use crate::scenario::Scenario;

pub(super) const UNKNOWN: i8 = 0;
pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;
pub(super) const LOGGER: i8 = 8;
pub(super) const CLIENT_METRICS: i8 = 16;
pub(super) const GROUP: i8 = 32;

pub(super) fn resource(kind: i8, name: &str, keys: &Json) -> Json {
    json!({"ResourceType": kind, "ResourceName": name, "ConfigurationKeys": keys})
}

pub(super) fn describe(resources: &[Json]) -> Json {
    json!({"Resources": resources, "IncludeSynonyms": true, "IncludeDocumentation": true})
}

/// While the broker has no configs.
pub(super) fn empty(s: &mut Scenario) -> Result<()> {
    s.each(ListConfigResources, "all", 0..=1, &json!({"ResourceTypes": []}))?;
    for (step, kind) in [
        ("topics", TOPIC),
        ("brokers", BROKER),
        ("loggers", LOGGER),
        ("client-metrics", CLIENT_METRICS),
        ("groups", GROUP),
        ("unknown-type", UNKNOWN),
        ("type-99", 99),
        ("type-minus-1", -1),
    ] {
        s.ask(ListConfigResources, step, 1, &json!({"ResourceTypes": [kind]}))?;
    }
    s.ask(
        ListConfigResources,
        "two-types",
        1,
        &json!({"ResourceTypes": [TOPIC, GROUP]}),
    )?;
    s.ask(
        ListConfigResources,
        "same-type-twice",
        1,
        &json!({"ResourceTypes": [BROKER, BROKER]}),
    )?;
    Ok(())
}

/// The steps of DescribeConfigs: a resource, and the keys that are asked for.
const DESCRIBED: &[(&str, i8, &str, Option<&str>)] = &[
    ("one-key", TOPIC, "configs-a", Some("retention.ms")),
    ("unknown-key", TOPIC, "configs-a", Some("no.such.key")),
    ("two-keys", TOPIC, "configs-a", Some("retention.ms segment.bytes")),
    (
        "same-key-twice",
        TOPIC,
        "configs-a",
        Some("retention.ms retention.ms"),
    ),
    (
        "key-with-synonyms",
        TOPIC,
        "configs-a",
        Some("segment.ms max.message.bytes"),
    ),
    ("unknown-topic", TOPIC, "configs-nobody", None),
    ("bad-topic-name", TOPIC, "configs a", None),
    ("empty-topic-name", TOPIC, "", None),
    ("broker-key", BROKER, "1", Some("num.io.threads")),
    (
        "broker-retention",
        BROKER,
        "1",
        Some("log.retention.ms log.retention.minutes log.retention.hours"),
    ),
    (
        "broker-read-only-key",
        BROKER,
        "1",
        Some("num.partitions auto.create.topics.enable"),
    ),
    ("broker-password-key", BROKER, "1", Some("ssl.keystore.password")),
    ("broker-unknown-key", BROKER, "1", Some("no.such.key")),
    ("broker-other", BROKER, "2", Some("num.io.threads")),
    ("broker-negative", BROKER, "-1", Some("num.io.threads")),
    ("broker-not-a-number", BROKER, "one", Some("num.io.threads")),
    ("broker-default", BROKER, "", None),
    ("logger-other", LOGGER, "2", Some("root")),
    ("logger-empty", LOGGER, "", Some("root")),
    ("logger-unknown-key", LOGGER, "1", Some("no.such.logger")),
    ("client-metrics-unknown", CLIENT_METRICS, "configs-metrics", None),
    ("client-metrics-empty", CLIENT_METRICS, "", None),
    (
        "group-unknown",
        GROUP,
        "configs-group",
        Some("consumer.session.timeout.ms"),
    ),
    ("group-empty", GROUP, "", None),
    ("type-unknown", UNKNOWN, "configs-a", None),
    ("type-99", 99, "configs-a", None),
    ("type-minus-1", -1, "configs-a", None),
];

pub(super) fn described(s: &mut Scenario) -> Result<()> {
    s.topic(
        "configs-a",
        1,
        &[("retention.ms", "1000"), ("cleanup.policy", "compact")],
    )?;
    let null = json!(null);
    let all = describe(&[resource(TOPIC, "configs-a", &null)]);
    s.each(DescribeConfigs, "all-of-a-topic", 1..=4, &all)?;
    let plain = json!({"Resources": [resource(TOPIC, "configs-a", &null)]});
    s.ask(DescribeConfigs, "all-of-a-topic-without-synonyms", 4, &plain)?;
    for (step, kind, name, keys) in DESCRIBED {
        let keys = keys.map(|keys| keys.split(' ').collect::<Vec<_>>());
        let request = describe(&[resource(*kind, name, &json!(keys))]);
        s.each(DescribeConfigs, step, [1, 4], &request)?;
    }
    let many = [
        resource(TOPIC, "configs-a", &json!(["retention.ms"])),
        resource(TOPIC, "configs-nobody", &null),
    ];
    s.ask(DescribeConfigs, "one-good-one-unknown", 4, &describe(&many))?;
    let twice = [
        resource(TOPIC, "configs-a", &json!(["retention.ms"])),
        resource(TOPIC, "configs-a", &json!(["segment.ms"])),
    ];
    s.ask(DescribeConfigs, "same-resource-twice", 4, &describe(&twice))?;
    s.each(DescribeConfigs, "nothing", [1, 4], &describe(&[]))?;
    Ok(())
}

/// Every key of the broker, each in a step of its own.
pub(super) fn broker_keys(s: &mut Scenario) -> Result<()> {
    for key in include_str!("broker_keys.txt").lines() {
        let request = json!({"Resources": [resource(BROKER, "1", &json!([key]))], "IncludeSynonyms": true});
        s.ask(DescribeConfigs, key, 4, &request)?;
    }
    Ok(())
}
