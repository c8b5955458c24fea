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
    let cases = [
        ("one-key", resource(TOPIC, "configs-a", &json!(["retention.ms"]))),
        (
            "unknown-key",
            resource(TOPIC, "configs-a", &json!(["no.such.key"])),
        ),
        (
            "two-keys",
            resource(TOPIC, "configs-a", &json!(["retention.ms", "segment.bytes"])),
        ),
        (
            "same-key-twice",
            resource(TOPIC, "configs-a", &json!(["retention.ms", "retention.ms"])),
        ),
        (
            "key-with-synonyms",
            resource(TOPIC, "configs-a", &json!(["segment.ms", "max.message.bytes"])),
        ),
        ("unknown-topic", resource(TOPIC, "configs-nobody", &null)),
        ("bad-topic-name", resource(TOPIC, "configs a", &null)),
        ("empty-topic-name", resource(TOPIC, "", &null)),
        ("broker-key", resource(BROKER, "1", &json!(["num.io.threads"]))),
        (
            "broker-retention",
            resource(
                BROKER,
                "1",
                &json!(["log.retention.ms", "log.retention.minutes", "log.retention.hours"]),
            ),
        ),
        (
            "broker-read-only-key",
            resource(
                BROKER,
                "1",
                &json!(["num.partitions", "auto.create.topics.enable"]),
            ),
        ),
        (
            "broker-password-key",
            resource(BROKER, "1", &json!(["ssl.keystore.password"])),
        ),
        (
            "broker-unknown-key",
            resource(BROKER, "1", &json!(["no.such.key"])),
        ),
        ("broker-other", resource(BROKER, "2", &json!(["num.io.threads"]))),
        (
            "broker-negative",
            resource(BROKER, "-1", &json!(["num.io.threads"])),
        ),
        (
            "broker-not-a-number",
            resource(BROKER, "one", &json!(["num.io.threads"])),
        ),
        ("broker-default", resource(BROKER, "", &null)),
        ("logger-other", resource(LOGGER, "2", &json!(["root"]))),
        ("logger-empty", resource(LOGGER, "", &json!(["root"]))),
        (
            "logger-unknown-key",
            resource(LOGGER, "1", &json!(["no.such.logger"])),
        ),
        (
            "client-metrics-unknown",
            resource(CLIENT_METRICS, "configs-metrics", &null),
        ),
        ("client-metrics-empty", resource(CLIENT_METRICS, "", &null)),
        (
            "group-unknown",
            resource(GROUP, "configs-group", &json!(["consumer.session.timeout.ms"])),
        ),
        ("group-empty", resource(GROUP, "", &null)),
        ("type-unknown", resource(UNKNOWN, "configs-a", &null)),
        ("type-99", resource(99, "configs-a", &null)),
        ("type-minus-1", resource(-1, "configs-a", &null)),
    ];
    for (step, resource) in cases {
        s.each(DescribeConfigs, step, [1, 4], &describe(&[resource]))?;
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
