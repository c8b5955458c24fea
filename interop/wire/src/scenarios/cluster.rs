//! What describes the cluster: DescribeCluster, DescribeQuorum, UpdateFeatures, DescribeAcls, DescribeClientQuotas,
//! ListPartitionReassignments, DescribeLogDirs.

use anyhow::Result;
use klamm_protocol::ApiKey::{
    DescribeAcls, DescribeClientQuotas, DescribeCluster, DescribeLogDirs, DescribeQuorum,
    ListPartitionReassignments, UpdateFeatures,
};
use serde_json::{Value as Json, json};

use crate::batches::batch;
use crate::scenario::Scenario;

pub(super) fn describe(s: &mut Scenario) -> Result<()> {
    s.each(DescribeCluster, "plain", 0..=2, &json!({}))?;
    s.each(
        DescribeCluster,
        "operations",
        0..=2,
        &json!({"IncludeClusterAuthorizedOperations": true}),
    )?;
    for (step, kind) in [
        ("brokers", 1),
        ("controllers", 2),
        ("type-0", 0),
        ("type-3", 3),
        ("type-minus-1", -1),
    ] {
        s.each(DescribeCluster, step, 1..=2, &json!({"EndpointType": kind}))?;
    }
    s.ask(
        DescribeCluster,
        "fenced-too",
        2,
        &json!({"IncludeFencedBrokers": true}),
    )?;
    s.ask(
        DescribeCluster,
        "fenced-controllers",
        2,
        &json!({"IncludeFencedBrokers": true, "EndpointType": 2}),
    )?;
    Ok(())
}

pub(super) fn quorum(s: &mut Scenario) -> Result<()> {
    let of = |topic: &str, partitions: &[i32]| {
        let partitions: Vec<_> = partitions.iter().map(|p| json!({"PartitionIndex": p})).collect();
        json!({"Topics": [{"TopicName": topic, "Partitions": partitions}]})
    };
    s.each(
        DescribeQuorum,
        "metadata-log",
        0..=2,
        &of("__cluster_metadata", &[0]),
    )?;
    s.each(
        DescribeQuorum,
        "another-partition",
        [0, 2],
        &of("__cluster_metadata", &[1]),
    )?;
    s.each(DescribeQuorum, "another-topic", [0, 2], &of("quorum", &[0]))?;
    s.each(
        DescribeQuorum,
        "two-partitions",
        [0, 2],
        &of("__cluster_metadata", &[0, 1]),
    )?;
    s.each(
        DescribeQuorum,
        "no-partition",
        [0, 2],
        &of("__cluster_metadata", &[]),
    )?;
    s.each(DescribeQuorum, "no-topic", [0, 2], &json!({"Topics": []}))?;
    Ok(())
}

fn update(feature: &str, level: i16, kind: i8) -> Json {
    // Version 0 says "downgrade" where later ones have kinds.
    json!({"Feature": feature, "MaxVersionLevel": level, "AllowDowngrade": kind > 1, "UpgradeType": kind})
}

pub(super) fn features(s: &mut Scenario) -> Result<()> {
    let cases = [
        ("unknown", update("no.such.feature", 1, 1)),
        ("empty-name", update("", 1, 1)),
        ("unknown-to-0", update("no.such.feature", 0, 2)),
        ("level-too-high", update("metadata.version", 1000, 1)),
        ("level-too-low", update("metadata.version", 1, 3)),
        ("level-0", update("metadata.version", 0, 1)),
        ("level-0-downgrade", update("metadata.version", 0, 2)),
        ("level-negative", update("metadata.version", -1, 1)),
        ("same-level", update("metadata.version", 33, 1)),
        ("downgrade-not-allowed", update("metadata.version", 20, 1)),
        ("upgrade-as-downgrade", update("metadata.version", 33, 2)),
        ("kraft-version-too-high", update("kraft.version", 9, 1)),
    ];
    for (step, update) in cases {
        let request = json!({"FeatureUpdates": [update], "TimeoutMs": 5000, "ValidateOnly": true});
        // Version 0 cannot only validate.
        s.each(UpdateFeatures, step, 1..=2, &request)?;
    }
    let kinds = [("kind-0", 0), ("kind-4", 4), ("kind-minus-1", -1)];
    for (step, kind) in kinds {
        let update = json!({"Feature": "metadata.version", "MaxVersionLevel": 33, "UpgradeType": kind});
        s.ask(
            UpdateFeatures,
            step,
            2,
            &json!({"FeatureUpdates": [update], "TimeoutMs": 5000, "ValidateOnly": true}),
        )?;
    }
    s.each(
        UpdateFeatures,
        "nothing",
        0..=2,
        &json!({"FeatureUpdates": [], "TimeoutMs": 5000}),
    )?;
    s.ask(
        UpdateFeatures,
        "unknown-v0",
        0,
        &json!({"FeatureUpdates": [update("no.such.feature", 1, 1)], "TimeoutMs": 5000}),
    )?;
    let twice = json!({"FeatureUpdates": [update("metadata.version", 33, 1), update("metadata.version", 33, 1)],
        "TimeoutMs": 5000, "ValidateOnly": true});
    s.each(UpdateFeatures, "same-feature-twice", 1..=2, &twice)?;
    let mixed = json!({"FeatureUpdates": [update("metadata.version", 33, 1), update("no.such.feature", 1, 1)],
        "TimeoutMs": 5000, "ValidateOnly": true});
    s.each(UpdateFeatures, "one-good-one-bad", 1..=2, &mixed)?;
    Ok(())
}

/// What consoles ask for at their start: answers of a broker without an authorizer.
pub(super) fn consoles(s: &mut Scenario) -> Result<()> {
    let any = json!({"ResourceTypeFilter": 1, "PatternTypeFilter": 1, "Operation": 1, "PermissionType": 1,
        "ResourceNameFilter": null, "PrincipalFilter": null, "HostFilter": null});
    s.each(DescribeAcls, "acls", 1..=3, &any)?;
    let unknown =
        json!({"ResourceTypeFilter": 0, "PatternTypeFilter": 0, "Operation": 0, "PermissionType": 0});
    s.each(DescribeAcls, "acls-of-unknown-types", [1, 3], &unknown)?;
    quotas(s)?;
    s.topic("consoles-a", 2, &[])?;
    let cases = [
        ("reassignments", json!(null)),
        ("reassignments-of-nothing", json!([])),
        (
            "reassignments-of-a-topic",
            json!([{"Name": "consoles-a", "PartitionIndexes": [0, 1]}]),
        ),
        (
            "reassignments-of-an-unknown-topic",
            json!([{"Name": "consoles-nobody", "PartitionIndexes": [0]}]),
        ),
        (
            "reassignments-of-an-unknown-partition",
            json!([{"Name": "consoles-a", "PartitionIndexes": [7]}]),
        ),
    ];
    for (step, topics) in cases {
        s.ask(
            ListPartitionReassignments,
            step,
            0,
            &json!({"TimeoutMs": 5000, "Topics": topics}),
        )?;
    }
    Ok(())
}

fn quotas(s: &mut Scenario) -> Result<()> {
    s.each(DescribeClientQuotas, "quotas", 0..=1, &json!({"Components": []}))?;
    let user = json!({"Components": [{"EntityType": "user", "MatchType": 2, "Match": null}], "Strict": true});
    s.each(DescribeClientQuotas, "quotas-of-users", 0..=1, &user)?;
    let wrong = [
        (
            "quotas-of-unknown-type",
            json!([{"EntityType": "planet", "MatchType": 2, "Match": null}]),
        ),
        (
            "quotas-of-empty-type",
            json!([{"EntityType": "", "MatchType": 2, "Match": null}]),
        ),
        (
            "quotas-match-9",
            json!([{"EntityType": "user", "MatchType": 9, "Match": null}]),
        ),
        (
            "quotas-exact-without-name",
            json!([{"EntityType": "user", "MatchType": 0, "Match": null}]),
        ),
        (
            "quotas-default-with-name",
            json!([{"EntityType": "user", "MatchType": 1, "Match": "a"}]),
        ),
        (
            "quotas-specified-with-name",
            json!([{"EntityType": "client-id", "MatchType": 2, "Match": "a"}]),
        ),
        (
            "quotas-same-type-twice",
            json!([{"EntityType": "user", "MatchType": 2, "Match": null},
            {"EntityType": "user", "MatchType": 2, "Match": null}]),
        ),
        (
            "quotas-ip-and-user",
            json!([{"EntityType": "user", "MatchType": 2, "Match": null},
            {"EntityType": "ip", "MatchType": 2, "Match": null}]),
        ),
    ];
    for (step, components) in wrong {
        s.ask(DescribeClientQuotas, step, 1, &json!({"Components": components}))?;
    }
    Ok(())
}

pub(super) fn log_dirs(s: &mut Scenario) -> Result<()> {
    let topic = s.log("dirs-a", &[])?;
    s.topic("dirs-b", 2, &[])?;
    s.fill(&topic, 0, &batch(&["one", "two", "three"]))?;
    let of = |topics: Json| json!({"Topics": topics});
    let one = of(json!([{"Topic": "dirs-a", "Partitions": [0]}]));
    s.each(DescribeLogDirs, "one-partition", 1..=5, &one)?;
    let cases = [
        ("nothing", json!([])),
        (
            "two-topics",
            json!([{"Topic": "dirs-a", "Partitions": [0]}, {"Topic": "dirs-b", "Partitions": [0, 1]}]),
        ),
        (
            "unknown-topic",
            json!([{"Topic": "dirs-nobody", "Partitions": [0]}]),
        ),
        (
            "unknown-partition",
            json!([{"Topic": "dirs-a", "Partitions": [5, -1]}]),
        ),
        ("no-partitions", json!([{"Topic": "dirs-a", "Partitions": []}])),
        (
            "same-partition-twice",
            json!([{"Topic": "dirs-a", "Partitions": [0, 0]}]),
        ),
    ];
    for (step, topics) in cases {
        s.each(DescribeLogDirs, step, [1, 5], &of(topics))?;
    }
    Ok(())
}
