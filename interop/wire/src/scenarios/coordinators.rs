//! FindCoordinator, and the internal topics that it makes. The last scenario: the topics stay until the end of it.

use anyhow::Result;
use klamm_protocol::ApiKey::{
    CreatePartitions, DeleteRecords, DeleteTopics, DescribeConfigs, DescribeTopicPartitions, FindCoordinator,
    Metadata, Produce,
};
use serde_json::{Value as Json, json};

use crate::batches::batch;
use crate::scenario::{Scenario, Topic, produce};
use crate::value::Value;

const TOPICS: [&str; 3] = ["__consumer_offsets", "__transaction_state", "__share_group_state"];
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;
/// A key of a share partition, whose topic need not exist.
const SHARE_KEY: &str = "coordinators-s:BwcHBwcHBwcHBwcHBwcHBw:0";

fn of(kind: i8, keys: &[&str]) -> Json {
    json!({"Key": keys.first().unwrap_or(&""), "KeyType": kind, "CoordinatorKeys": keys})
}

fn has_coordinator(answer: &Value) -> bool {
    answer
        .int("Coordinators.0.ErrorCode")
        .is_ok_and(|error| error == 0)
}

pub(super) fn run(s: &mut Scenario) -> Result<()> {
    missing(s)?;
    for (kind, version, key) in [
        (GROUP, 3, "coordinators-g"),
        (TRANSACTION, 4, "coordinators-t"),
        (SHARE, 6, SHARE_KEY),
    ] {
        s.ask(
            FindCoordinator,
            &format!("type-{kind}-first"),
            version,
            &of(kind, &[key]),
        )?;
        s.until(FindCoordinator, 6, &of(kind, &[key]), has_coordinator)?;
    }
    for topic in TOPICS {
        s.serves(topic, 50)?;
    }
    keys(s)?;
    share_keys(s)?;
    sizes(s)?;
    internal_topics(s)?;
    deleted(s)
}

fn named(topics: &[&str], may_create: bool) -> Json {
    let topics: Vec<_> = topics.iter().map(|name| json!({"Name": name})).collect();
    json!({"Topics": topics, "AllowAutoTopicCreation": may_create})
}

/// What makes no internal topic.
fn missing(s: &mut Scenario) -> Result<()> {
    s.ask(Metadata, "missing", 12, &named(&TOPICS, false))?;
    s.ask(FindCoordinator, "missing-no-keys", 4, &of(GROUP, &[]))?;
    s.ask(FindCoordinator, "missing-type-3", 4, &of(3, &["a"]))?;
    s.ask(FindCoordinator, "missing-bad-share-key", 6, &of(SHARE, &["a"]))?;
    s.ask(Metadata, "still-missing", 12, &named(&TOPICS, false))?;
    Ok(())
}

/// Keys of all types in all versions; version 0 has no types.
fn keys(s: &mut Scenario) -> Result<()> {
    s.each(FindCoordinator, "group", 0..=6, &of(GROUP, &["coordinators-g"]))?;
    s.each(
        FindCoordinator,
        "transaction",
        1..=6,
        &of(TRANSACTION, &["coordinators-t"]),
    )?;
    s.each(FindCoordinator, "share", 1..=6, &of(SHARE, &[SHARE_KEY]))?;
    for kind in [3, 127, -1, -128] {
        s.each(
            FindCoordinator,
            &format!("type-{kind}"),
            1..=6,
            &of(kind, &["a", "b"]),
        )?;
        s.each(
            FindCoordinator,
            &format!("type-{kind}-no-keys"),
            4..=6,
            &of(kind, &[]),
        )?;
    }
    for (name, kind) in [("group", GROUP), ("transaction", TRANSACTION), ("share", SHARE)] {
        let several = ["b", "a", "b", "", "ä 😀", "a:b", "c\u{0}d"];
        s.each(
            FindCoordinator,
            &format!("{name}-empty-key"),
            1..=6,
            &of(kind, &[""]),
        )?;
        s.each(FindCoordinator, &format!("{name}-no-keys"), 4..=6, &of(kind, &[]))?;
        s.each(
            FindCoordinator,
            &format!("{name}-several"),
            4..=6,
            &of(kind, &several),
        )?;
    }
    s.ask(FindCoordinator, "group-empty-key", 0, &of(GROUP, &[""]))?;
    let nulls = json!({"Key": null, "CoordinatorKeys": ["a", null]});
    s.each(FindCoordinator, "null-key", [0, 2, 3, 4, 6], &nulls)?;
    s.each(
        FindCoordinator,
        "null-keys",
        [4, 6],
        &json!({"CoordinatorKeys": null}),
    )?;
    Ok(())
}

/// Keys that should be a group, the id of a topic and a partition.
fn share_keys(s: &mut Scenario) -> Result<()> {
    const ID: &str = "BwcHBwcHBwcHBwcHBwcHBw";
    let keys = [
        ("one-part", "coordinators-s".to_owned()),
        ("two-parts", format!("s:{ID}")),
        ("four-parts", format!("s:{ID}:0:1")),
        ("a-colon-in-the-group", format!("s:t:{ID}:0")),
        ("two-colons-in-the-group", format!("s::t:{ID}:0")),
        ("a-colon-at-the-end", format!("s:{ID}:0:")),
        ("colons", "::".to_owned()),
        ("no-group", format!(":{ID}:0")),
        ("blank-group", format!(" :{ID}:0")),
        ("no-topic", "s::0".to_owned()),
        ("no-partition", format!("s:{ID}:")),
        ("zero-topic", "s:AAAAAAAAAAAAAAAAAAAAAA:0".to_owned()),
        ("topic-of-the-log", "s:AAAAAAAAAAAAAAAAAAAAAQ:0".to_owned()),
        ("short-topic", "s:BwcH:0".to_owned()),
        ("long-topic", format!("s:{ID}Bw:0")),
        ("padded-topic", format!("s:{ID}==:0")),
        ("standard-base64", "s:++//BwcHBwcHBwcHBwcHBw:0".to_owned()),
        ("url-base64", "s:--__BwcHBwcHBwcHBwcHBw:0".to_owned()),
        ("loose-bits", "s:BwcHBwcHBwcHBwcHBwcHBx:0".to_owned()),
        ("topic-with-blank", "s:BwcHBwcHBwcHBwcHBwcH w:0".to_owned()),
        ("word-for-partition", format!("s:{ID}:x")),
        ("negative-partition", format!("s:{ID}:-1")),
        ("plus-partition", format!("s:{ID}:+1")),
        ("blank-partition", format!("s:{ID}: 1")),
        ("zeros-partition", format!("s:{ID}:007")),
        ("largest-partition", format!("s:{ID}:2147483647")),
        ("partition-too-large", format!("s:{ID}:2147483648")),
        ("arabic-partition", format!("s:{ID}:\u{0661}")),
        ("fraction-for-partition", format!("s:{ID}:1.0")),
    ];
    for (name, key) in &keys {
        s.ask(FindCoordinator, &format!("share-{name}"), 6, &of(SHARE, &[key]))?;
    }
    let mixed = ["a", SHARE_KEY, "b"];
    s.each(FindCoordinator, "share-good-among-bad", 4..=6, &of(SHARE, &mixed))?;
    Ok(())
}

fn sizes(s: &mut Scenario) -> Result<()> {
    let (longest, longer) = ("g".repeat(32_767), "g".repeat(32_768));
    s.each(FindCoordinator, "longest-key", [0, 2, 3], &of(GROUP, &[&longest]))?;
    s.each(FindCoordinator, "key-too-long", 3..=4, &of(GROUP, &[&longer]))?;
    Ok(())
}

/// What the internal topics are like.
fn internal_topics(s: &mut Scenario) -> Result<()> {
    s.ask(Metadata, "made", 12, &named(&["__transaction_state"], false))?;
    for name in TOPICS {
        let page = json!({"Topics": [{"Name": name}], "ResponsePartitionLimit": 2});
        s.ask(
            DescribeTopicPartitions,
            &format!("first-page-of-{name}"),
            0,
            &page,
        )?;
        let resource = json!({"ResourceType": 2, "ResourceName": name, "ConfigurationKeys": null});
        let request =
            json!({"Resources": [resource], "IncludeSynonyms": false, "IncludeDocumentation": false});
        s.ask(DescribeConfigs, &format!("configs-of-{name}"), 4, &request)?;
        let topic = Topic {
            name: name.to_owned(),
            id: "BwcHBwcHBwcHBwcHBwcHBw".to_owned(),
        };
        s.ask(
            Produce,
            &format!("produce-to-{name}"),
            9,
            &produce(&topic, 0, &batch(&["one"])),
        )?;
        let first = json!([{"PartitionIndex": 0, "Offset": 0}]);
        let delete = json!({"Topics": [{"Name": name, "Partitions": first}], "TimeoutMs": 5000});
        s.ask(DeleteRecords, &format!("delete-records-of-{name}"), 2, &delete)?;
    }
    Ok(())
}

/// They can grow, go, and come again.
fn deleted(s: &mut Scenario) -> Result<()> {
    let grown: Vec<_> = TOPICS
        .iter()
        .map(|name| json!({"Name": name, "Count": 51, "Assignments": null}))
        .collect();
    s.ask(
        CreatePartitions,
        "grow",
        3,
        &json!({"Topics": grown, "TimeoutMs": 10_000}),
    )?;
    let topics: Vec<_> = TOPICS.iter().map(|name| json!({"Name": name})).collect();
    let delete = json!({"Topics": topics, "TimeoutMs": 10_000});
    s.ask(DeleteTopics, "delete", 6, &delete)?;
    for name in TOPICS {
        s.gone(name)?;
    }
    s.ask(Metadata, "deleted", 12, &named(&TOPICS, false))?;
    s.ask(
        FindCoordinator,
        "group-of-the-deleted",
        4,
        &of(GROUP, &["coordinators-g"]),
    )?;
    s.until(
        FindCoordinator,
        4,
        &of(GROUP, &["coordinators-g"]),
        has_coordinator,
    )?;
    s.serves("__consumer_offsets", 50)?;
    s.ask(
        FindCoordinator,
        "group-of-the-next",
        4,
        &of(GROUP, &["coordinators-g"]),
    )?;
    Ok(())
}
