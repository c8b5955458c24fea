//! Metadata: all topics, by name and id, auto-creation, authorized operations.

use anyhow::Result;
use klamm_protocol::ApiKey::Metadata;
use serde_json::{Value as Json, json};

use crate::scenario::Scenario;

/// An id that no topic has.
const NOBODY: &str = "BwcHBwcHBwcHBwcHBwcHBw";

fn named(name: &str) -> Json {
    json!({"Topics": [{"Name": name}], "AllowAutoTopicCreation": false})
}

/// While the broker has no topics.
pub(super) fn empty(s: &mut Scenario) -> Result<()> {
    s.each(Metadata, "all", 1..=13, &json!({"Topics": null}))?;
    s.ask(Metadata, "all", 0, &json!({"Topics": []}))?;
    s.each(Metadata, "none", 1..=13, &json!({"Topics": []}))?;
    s.ask(Metadata, "null-in-v0", 0, &json!({"Topics": null}))?;
    let operations = json!({"Topics": [], "IncludeClusterAuthorizedOperations": true});
    s.each(Metadata, "cluster-operations", 7..=11, &operations)?;
    Ok(())
}

pub(super) fn run(s: &mut Scenario) -> Result<()> {
    let topic = s.topic("meta-a", 3, &[])?;
    s.topic("meta-b", 1, &[])?;
    s.each(Metadata, "one-topic", 0..=13, &named("meta-a"))?;
    let operations = json!({"Topics": [{"Name": "meta-a"}], "IncludeTopicAuthorizedOperations": true});
    s.each(Metadata, "topic-operations", 7..=13, &operations)?;
    s.each(
        Metadata,
        "two-topics",
        [1, 12],
        &json!({"Topics": [{"Name": "meta-b"}, {"Name": "meta-a"}]}),
    )?;
    let twice = json!({"Topics": [{"Name": "meta-b"}, {"Name": "meta-b"}]});
    s.each(Metadata, "same-topic-twice", [1, 12], &twice)?;
    ids(s, &topic.id)?;
    names(s)?;
    auto_creation(s)
}

fn ids(s: &mut Scenario, id: &str) -> Result<()> {
    let by_id = |id: &str| json!({"Topics": [{"TopicId": id, "Name": null}]});
    s.each(Metadata, "by-id", 10..=13, &by_id(id))?;
    s.each(Metadata, "by-unknown-id", 10..=13, &by_id(NOBODY))?;
    s.each(
        Metadata,
        "neither-name-nor-id",
        [10, 12, 13],
        &json!({"Topics": [{"Name": null}]}),
    )?;
    s.ask(
        Metadata,
        "null-name-before-ids",
        9,
        &json!({"Topics": [{"Name": null}]}),
    )?;
    s.each(
        Metadata,
        "name-and-id",
        [10, 12],
        &json!({"Topics": [{"Name": "meta-a", "TopicId": id}]}),
    )?;
    let other = json!({"Topics": [{"Name": "meta-b", "TopicId": id}]});
    s.ask(Metadata, "name-and-id-of-another", 12, &other)?;
    let mixed = json!({"Topics": [{"Name": null, "TopicId": id}, {"Name": "meta-b"}]});
    s.ask(Metadata, "one-by-id-one-by-name", 12, &mixed)?;
    let ids = json!({"Topics": [{"Name": null, "TopicId": id}, {"Name": null, "TopicId": NOBODY}]});
    s.ask(Metadata, "known-and-unknown-id", 12, &ids)?;
    let twice = json!({"Topics": [{"Name": null, "TopicId": id}, {"Name": "meta-a", "TopicId": id}]});
    s.ask(Metadata, "same-id-twice", 12, &twice)?;
    let unknown =
        |name: &str| json!({"Topics": [{"Name": name, "TopicId": NOBODY}], "AllowAutoTopicCreation": true});
    s.ask(Metadata, "unknown-id-with-a-name", 12, &unknown("meta-a"))?;
    s.ask(Metadata, "unknown-id-with-a-new-name", 12, &unknown("meta-new"))?;
    s.ask(
        Metadata,
        "new-name-beside-an-id-stays-unknown",
        12,
        &named("meta-new"),
    )?;
    Ok(())
}

fn names(s: &mut Scenario) -> Result<()> {
    let long = "m".repeat(250);
    let cases = [
        ("unknown", "meta-nobody"),
        ("name-empty", ""),
        ("name-dot", "."),
        ("name-space", "meta a"),
        ("name-250", &long),
        ("name-umlaut", "meta-\u{e4}"),
        ("internal-topic", "__consumer_offsets"),
        ("metadata-log", "__cluster_metadata"),
    ];
    for (step, name) in cases {
        s.each(Metadata, step, [4, 12], &named(name))?;
    }
    for (step, name) in [
        ("auto-name-space", "meta a"),
        ("auto-name-empty", ""),
        ("auto-name-250", &long),
    ] {
        s.each(Metadata, step, [1, 12], &json!({"Topics": [{"Name": name}]}))?;
    }
    Ok(())
}

fn auto_creation(s: &mut Scenario) -> Result<()> {
    for version in 0..=13 {
        let name = format!("meta-auto-v{version}");
        let request = json!({"Topics": [{"Name": name}], "AllowAutoTopicCreation": true});
        s.ask(Metadata, "auto-create", version, &request)?;
        s.serves(&name, 1)?;
        s.ask(Metadata, "auto-created", version, &request)?;
    }
    s.topic("meta.auto_a", 1, &[])?;
    let collision = json!({"Topics": [{"Name": "meta_auto.a"}], "AllowAutoTopicCreation": true});
    s.ask(Metadata, "auto-create-collides", 12, &collision)?;
    let mixed = json!({"Topics": [{"Name": "meta-a"}, {"Name": "meta-auto-mixed"}, {"Name": "meta auto"}],
        "AllowAutoTopicCreation": true});
    s.ask(Metadata, "auto-create-beside-others", 12, &mixed)?;
    s.serves("meta-auto-mixed", 1)
}
