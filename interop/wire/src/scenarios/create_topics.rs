//! CreateTopics: names, counts, assignments, configs, validate-only, several topics in a request.

use anyhow::Result;
use klamm_protocol::ApiKey::{CreateTopics, Metadata};
use serde_json::{Value as Json, json};

use super::changes::changes;
use crate::scenario::Scenario;

fn topic(name: &str, partitions: i32, replication: i16) -> Json {
    json!({"Name": name, "NumPartitions": partitions, "ReplicationFactor": replication})
}

fn request(topics: &[Json]) -> Json {
    json!({"Topics": topics, "TimeoutMs": 5000})
}

fn checked(topics: &[Json]) -> Json {
    json!({"Topics": topics, "TimeoutMs": 5000, "ValidateOnly": true})
}

pub(super) fn run(s: &mut Scenario) -> Result<()> {
    versions(s)?;
    s.fold_defaults();
    names(s)?;
    counts(s)?;
    assignments(s)?;
    configs(s)?;
    several(s)
}

fn versions(s: &mut Scenario) -> Result<()> {
    for version in 2..=7 {
        let name = format!("create-v{version}");
        s.ask(
            CreateTopics,
            "one-topic",
            version,
            &request(&[topic(&name, 2, 1)]),
        )?;
        s.serves(&name, 2)?;
    }
    s.each(
        CreateTopics,
        "exists",
        2..=7,
        &request(&[topic("create-v2", 1, 1)]),
    )?;
    s.each(
        CreateTopics,
        "validate-only",
        2..=7,
        &checked(&[topic("create-never", 3, 1)]),
    )?;
    s.each(
        CreateTopics,
        "validate-only-exists",
        [2, 7],
        &checked(&[topic("create-v2", 1, 1)]),
    )?;
    s.each(CreateTopics, "nothing-asked", [2, 5, 7], &request(&[]))?;
    let known = json!({"Topics": [{"Name": "create-never"}], "AllowAutoTopicCreation": false});
    s.ask(Metadata, "validate-only-made-nothing", 12, &known)?;
    let now = json!({"Topics": [topic("create-timeout-0", 1, 1)], "TimeoutMs": 0});
    s.ask(CreateTopics, "timeout-zero", 7, &now)?;
    let past = json!({"Topics": [topic("create-timeout-negative", 1, 1)], "TimeoutMs": -1});
    s.ask(CreateTopics, "timeout-negative", 7, &past)?;
    Ok(())
}

fn names(s: &mut Scenario) -> Result<()> {
    let longest = format!("create-{}", "n".repeat(242));
    let too_long = format!("{longest}n");
    let cases = [
        ("name-empty", ""),
        ("name-dot", "."),
        ("name-dots", ".."),
        ("name-249", &longest),
        ("name-250", &too_long),
        ("name-space", "create a"),
        ("name-slash", "create/a"),
        ("name-umlaut", "create-\u{e4}"),
        ("name-newline", "create\na"),
        ("name-colon", "create:a"),
        ("name-all-characters", "create-aZ09._-"),
        ("name-internal-offsets", "__consumer_offsets"),
        ("name-internal-transactions", "__transaction_state"),
        ("name-internal-share", "__share_group_state"),
        ("name-metadata-log", "__cluster_metadata"),
        ("name-underscores", "__create"),
    ];
    for (step, name) in cases {
        s.ask(CreateTopics, step, 7, &checked(&[topic(name, 1, 1)]))?;
    }
    s.ask(
        CreateTopics,
        "name-null",
        7,
        &request(&[json!({"Name": null, "NumPartitions": 1, "ReplicationFactor": 1})]),
    )?;
    s.topic("create.collide_a", 1, &[])?;
    for (step, name) in [
        ("collides-dot-underscore", "create_collide.a"),
        ("collides-both", "create.collide.a"),
        ("collides-not", "create-collide_a"),
    ] {
        s.ask(CreateTopics, step, 7, &checked(&[topic(name, 1, 1)]))?;
    }
    let both = [topic("create.new_x", 1, 1), topic("create_new.x", 1, 1)];
    s.ask(CreateTopics, "collides-in-request", 7, &checked(&both))?;
    Ok(())
}

fn counts(s: &mut Scenario) -> Result<()> {
    let cases = [
        ("partitions-0", 0, 1),
        ("partitions-minus-1", -1, 1),
        ("partitions-minus-2", -2, 1),
        ("partitions-min", i32::MIN, 1),
        ("partitions-10001", 10_001, 1),
        ("partitions-max", i32::MAX, 1),
        ("replication-0", 1, 0),
        ("replication-minus-1", 1, -1),
        ("replication-minus-2", 1, -2),
        ("replication-2", 1, 2),
        ("replication-max", 1, i16::MAX),
        ("both-default", -1, -1),
        ("both-wrong", 0, 0),
    ];
    for (step, partitions, replication) in cases {
        s.ask(
            CreateTopics,
            step,
            7,
            &checked(&[topic(step, partitions, replication)]),
        )?;
    }
    for version in [2, 3] {
        let defaults = checked(&[topic("create-defaults", -1, -1)]);
        s.ask(CreateTopics, "defaults-before-v4", version, &defaults)?;
    }
    Ok(())
}

fn assignments(s: &mut Scenario) -> Result<()> {
    let assigned = |name: &str, partitions: i32, replication: i16, assignments: Json| json!({"Name": name, "NumPartitions": partitions, "ReplicationFactor": replication, "Assignments": assignments});
    let one = |partition: i32, brokers: &[i32]| json!({"PartitionIndex": partition, "BrokerIds": brokers});
    let cases = [
        ("assigned", -1, -1, json!([one(0, &[1]), one(1, &[1])])),
        (
            "assigned-with-partitions",
            2,
            -1,
            json!([one(0, &[1]), one(1, &[1])]),
        ),
        ("assigned-with-replication", -1, 1, json!([one(0, &[1])])),
        ("assigned-with-both", 1, 1, json!([one(0, &[1])])),
        ("assigned-with-zeros", 0, 0, json!([one(0, &[1])])),
        ("assigned-unknown-broker", -1, -1, json!([one(0, &[9])])),
        ("assigned-negative-broker", -1, -1, json!([one(0, &[-1])])),
        ("assigned-same-broker-twice", -1, -1, json!([one(0, &[1, 1])])),
        ("assigned-no-brokers", -1, -1, json!([one(0, &[])])),
        ("assigned-gap", -1, -1, json!([one(0, &[1]), one(2, &[1])])),
        ("assigned-from-1", -1, -1, json!([one(1, &[1])])),
        ("assigned-negative-partition", -1, -1, json!([one(-1, &[1])])),
        (
            "assigned-partition-twice",
            -1,
            -1,
            json!([one(0, &[1]), one(0, &[1])]),
        ),
        ("assigned-uneven", -1, -1, json!([one(0, &[1]), one(1, &[1, 9])])),
        (
            "assigned-out-of-order",
            -1,
            -1,
            json!([one(1, &[1]), one(0, &[1])]),
        ),
    ];
    for (step, partitions, replication, assignments) in cases {
        let topic = assigned(step, partitions, replication, assignments);
        s.ask(CreateTopics, step, 7, &checked(&[topic]))?;
    }
    Ok(())
}

/// Configs of a topic that is made.
const CONFIGS: &[(&str, &str)] = &[
    ("config-unknown", "no.such.config = 1"),
    ("config-empty-name", " = 1"),
    ("config-null-value", "retention.ms = null"),
    ("config-not-a-number", "retention.ms = soon"),
    ("config-empty-number", "retention.ms = "),
    ("config-number-with-spaces", "retention.ms =  1000 "),
    ("config-below-range", "retention.ms = -2"),
    ("config-too-large", "retention.ms = 9223372036854775808"),
    ("config-int-too-large", "max.message.bytes = 2147483648"),
    ("config-segment-too-small", "segment.bytes = 13"),
    ("config-segment-internal", "internal.segment.bytes = 1024"),
    ("config-policy", "cleanup.policy = compact,delete"),
    ("config-policy-unknown", "cleanup.policy = shred"),
    ("config-policy-empty", "cleanup.policy = "),
    ("config-policy-twice", "cleanup.policy = delete,delete"),
    ("config-bool", "preallocate = TRUE"),
    ("config-bool-wrong", "preallocate = yes"),
    ("config-double", "min.cleanable.dirty.ratio = 0.25"),
    ("config-double-out-of-range", "min.cleanable.dirty.ratio = 1.5"),
    ("config-double-nan", "min.cleanable.dirty.ratio = NaN"),
    ("config-codec", "compression.type = zstd"),
    ("config-codec-unknown", "compression.type = brotli"),
    ("config-codec-case", "compression.type = GZIP"),
    ("config-level", "compression.gzip.level = -1"),
    ("config-level-0", "compression.gzip.level = 0"),
    ("config-level-zstd", "compression.zstd.level = 23"),
    ("config-min-isr-0", "min.insync.replicas = 0"),
    ("config-min-isr-2", "min.insync.replicas = 2"),
    ("config-twice", "retention.ms = 1; retention.ms = 2"),
    ("config-timestamp-type", "message.timestamp.type = LogAppendTime"),
    (
        "config-timestamp-type-wrong",
        "message.timestamp.type = logappendtime",
    ),
    (
        "config-throttled",
        "leader.replication.throttled.replicas = 0:1,1:1",
    ),
    (
        "config-throttled-all",
        "leader.replication.throttled.replicas = *",
    ),
    (
        "config-throttled-wrong",
        "leader.replication.throttled.replicas = a:b",
    ),
    (
        "config-lag-above",
        "min.compaction.lag.ms = 2000; max.compaction.lag.ms = 1000",
    ),
    ("config-format-version", "message.format.version = 3.0"),
    ("config-remote", "remote.storage.enable = true"),
    ("config-local-retention", "local.retention.ms = 1"),
    ("config-broker-key", "log.retention.ms = 1"),
];

fn configs(s: &mut Scenario) -> Result<()> {
    for (step, line) in CONFIGS {
        let configs: Vec<_> = changes(line)
            .into_iter()
            .map(|(name, _, value)| json!({"Name": name, "Value": value}))
            .collect();
        let topic = json!({"Name": step, "NumPartitions": 1, "ReplicationFactor": 1, "Configs": configs});
        s.ask(CreateTopics, step, 7, &checked(&[topic]))?;
    }
    Ok(())
}

fn several(s: &mut Scenario) -> Result<()> {
    let same = [topic("create-same", 1, 1), topic("create-same", 2, 1)];
    s.each(CreateTopics, "same-name-twice", [2, 7], &checked(&same))?;
    let mixed = [
        topic("create-mixed-a", 1, 1),
        topic("create-v2", 1, 1),
        topic("create mixed", 1, 1),
    ];
    s.each(CreateTopics, "one-good-two-bad", [2, 5, 7], &checked(&mixed))?;
    let twice_and_good = [
        topic("create-same", 1, 1),
        topic("create-same", 1, 1),
        topic("create-other", 1, 1),
    ];
    s.ask(
        CreateTopics,
        "twice-beside-a-good-one",
        7,
        &checked(&twice_and_good),
    )?;
    let many = [topic("create-many-a", 9000, 1), topic("create-many-b", 9000, 1)];
    s.ask(CreateTopics, "partitions-in-sum", 7, &checked(&many))?;
    Ok(())
}
