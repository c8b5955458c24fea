//! DeleteTopics, CreatePartitions, DescribeTopicPartitions.

use anyhow::Result;
use klamm_protocol::ApiKey::{
    CreatePartitions, DeleteTopics, DescribeTopicPartitions, Fetch, Metadata, Produce,
};
use serde_json::{Value as Json, json};

use super::produce::fetch;
use crate::batches::batch;
use crate::scenario::{Scenario, produce};

/// An id that no topic has.
const NOBODY: &str = "BwcHBwcHBwcHBwcHBwcHBw";

pub(super) fn delete(s: &mut Scenario) -> Result<()> {
    let by_names = |names: &[&str]| {
        let topics: Vec<_> = names.iter().map(|name| json!({"Name": name})).collect();
        json!({"Topics": topics, "TopicNames": names, "TimeoutMs": 5000})
    };
    for version in 1..=6 {
        let name = format!("delete-v{version}");
        s.topic(&name, 1, &[])?;
        s.ask(DeleteTopics, "one-topic", version, &by_names(&[&name]))?;
        s.gone(&name)?;
        s.ask(DeleteTopics, "gone-already", version, &by_names(&[&name]))?;
    }
    s.each(DeleteTopics, "unknown", 1..=6, &by_names(&["delete-nobody"]))?;
    s.each(DeleteTopics, "bad-name", [1, 6], &by_names(&["delete a"]))?;
    s.each(DeleteTopics, "empty-name", [1, 6], &by_names(&[""]))?;
    s.each(DeleteTopics, "nothing", [1, 5, 6], &by_names(&[]))?;
    s.each(
        DeleteTopics,
        "metadata-log",
        [1, 6],
        &by_names(&["__cluster_metadata"]),
    )?;
    s.each(
        DeleteTopics,
        "unknown-twice",
        [1, 5, 6],
        &by_names(&["delete-nobody", "delete-nobody"]),
    )?;
    s.topic("delete-twice", 1, &[])?;
    s.each(
        DeleteTopics,
        "same-name-twice",
        [5, 6],
        &by_names(&["delete-twice", "delete-twice"]),
    )?;
    delete_by_id(s)?;
    let again = s.log("delete-again", &[])?;
    s.fill(&again, 0, &batch(&["old"]))?;
    s.quiet(DeleteTopics, 6, &by_names(&["delete-again"]))?;
    s.gone("delete-again")?;
    s.each(Fetch, "fetch-of-the-deleted", [12, 17], &fetch(&again))?;
    s.each(
        Produce,
        "produce-to-the-deleted",
        [9, 13],
        &produce(&again, 0, &batch(&["x"])),
    )?;
    let new = s.log("delete-again", &[])?;
    s.ask(Fetch, "fetch-of-the-new-one", 17, &fetch(&new))?;
    s.ask(Fetch, "fetch-by-the-old-id", 17, &fetch(&again))?;
    s.ask(
        Produce,
        "produce-by-the-old-id",
        13,
        &produce(&again, 0, &batch(&["x"])),
    )?;
    s.ask(
        Metadata,
        "new-id",
        12,
        &json!({"Topics": [{"Name": null, "TopicId": again.id}]}),
    )?;
    Ok(())
}

fn delete_by_id(s: &mut Scenario) -> Result<()> {
    let topic = s.topic("delete-by-id", 1, &[])?;
    let request = |topics: Json| json!({"Topics": topics, "TimeoutMs": 5000});
    let id = topic.id.as_str();
    let cases = [
        ("by-unknown-id", json!([{"Name": null, "TopicId": NOBODY}])),
        ("neither-name-nor-id", json!([{"Name": null}])),
        ("name-and-id", json!([{"Name": "delete-by-id", "TopicId": id}])),
        (
            "name-and-unknown-id",
            json!([{"Name": "delete-nobody", "TopicId": NOBODY}]),
        ),
        (
            "by-id-twice",
            json!([{"Name": null, "TopicId": id}, {"Name": null, "TopicId": id}]),
        ),
        (
            "by-name-and-by-id",
            json!([{"Name": "delete-by-id"}, {"Name": null, "TopicId": id}]),
        ),
        ("by-id", json!([{"Name": null, "TopicId": id}])),
    ];
    for (step, topics) in cases {
        s.ask(DeleteTopics, step, 6, &request(topics))?;
    }
    s.ask(
        DeleteTopics,
        "null-name-before-ids",
        5,
        &json!({"TopicNames": [null], "TimeoutMs": 5000}),
    )?;
    Ok(())
}

fn partitions(topic: &str, count: i32, assignments: &Json) -> Json {
    json!({"Name": topic, "Count": count, "Assignments": assignments})
}

fn checked(topics: &[Json]) -> Json {
    json!({"Topics": topics, "TimeoutMs": 5000, "ValidateOnly": true})
}

pub(super) fn create_partitions(s: &mut Scenario) -> Result<()> {
    s.topic("partitions-a", 2, &[])?;
    for version in 0..=3 {
        let count = 3 + i32::from(version);
        let more = partitions("partitions-a", count, &json!(null));
        s.ask(
            CreatePartitions,
            "one-more",
            version,
            &json!({"Topics": [more], "TimeoutMs": 5000}),
        )?;
        s.serves("partitions-a", count)?;
    }
    let known = json!({"Topics": [{"Name": "partitions-a"}]});
    s.ask(Metadata, "all-of-them", 12, &known)?;
    let null = json!(null);
    let cases = [
        ("valid", "partitions-a", 7),
        ("same-count", "partitions-a", 6),
        ("fewer", "partitions-a", 1),
        ("count-0", "partitions-a", 0),
        ("count-minus-1", "partitions-a", -1),
        ("count-max", "partitions-a", i32::MAX),
        ("count-20000", "partitions-a", 20_000),
        ("unknown-topic", "partitions-nobody", 3),
        ("bad-name", "partitions a", 3),
        ("empty-name", "", 3),
        ("metadata-log", "__cluster_metadata", 3),
    ];
    for (step, name, count) in cases {
        s.each(
            CreatePartitions,
            step,
            [0, 3],
            &checked(&[partitions(name, count, &null)]),
        )?;
    }
    assigned_partitions(s)?;
    let twice = [
        partitions("partitions-a", 7, &null),
        partitions("partitions-a", 8, &null),
    ];
    s.each(CreatePartitions, "same-topic-twice", [0, 3], &checked(&twice))?;
    let mixed = [
        partitions("partitions-a", 7, &null),
        partitions("partitions-nobody", 8, &null),
    ];
    s.each(CreatePartitions, "one-good-one-unknown", [0, 3], &checked(&mixed))?;
    s.each(CreatePartitions, "nothing", [0, 3], &checked(&[]))?;
    Ok(())
}

/// New partitions with brokers of the client's choice; there are six partitions before.
fn assigned_partitions(s: &mut Scenario) -> Result<()> {
    let cases: [(&str, i32, &[&[i32]]); 10] = [
        ("assigned", 7, &[&[1]]),
        ("assigned-two-for-one", 7, &[&[1], &[1]]),
        ("assigned-one-for-two", 8, &[&[1]]),
        ("assigned-none", 7, &[]),
        ("assigned-no-brokers", 7, &[&[]]),
        ("assigned-unknown-broker", 7, &[&[9]]),
        ("assigned-same-broker-twice", 7, &[&[1, 1]]),
        ("assigned-two-brokers", 7, &[&[1, 9]]),
        ("assigned-negative-broker", 7, &[&[-1]]),
        ("assigned-same-count", 6, &[&[1]]),
    ];
    for (step, count, brokers) in cases {
        let brokers: Vec<_> = brokers
            .iter()
            .map(|brokers| json!({"BrokerIds": brokers}))
            .collect();
        let topic = partitions("partitions-a", count, &json!(brokers));
        s.each(CreatePartitions, step, [0, 3], &checked(&[topic]))?;
    }
    Ok(())
}

pub(super) fn describe_empty(s: &mut Scenario) -> Result<()> {
    s.ask(
        DescribeTopicPartitions,
        "no-topics-at-all",
        0,
        &json!({"Topics": [], "ResponsePartitionLimit": 100}),
    )?;
    Ok(())
}

pub(super) fn describe(s: &mut Scenario) -> Result<()> {
    for (name, partitions) in [("described-a", 3), ("described-b", 1), ("described-c", 4)] {
        s.topic(name, partitions, &[])?;
    }
    let all = ["described-a", "described-b", "described-c"];
    let of = |names: &[&str], limit: i32, cursor: Json| {
        let topics: Vec<_> = names.iter().map(|name| json!({"Name": name})).collect();
        json!({"Topics": topics, "ResponsePartitionLimit": limit, "Cursor": cursor})
    };
    let from = |topic: &str, partition: i32| json!({"TopicName": topic, "PartitionIndex": partition});
    let cases = [
        ("one", of(&["described-a"], 2000, json!(null))),
        ("three", of(&all, 2000, json!(null))),
        (
            "out-of-order",
            of(&["described-c", "described-a"], 2000, json!(null)),
        ),
        (
            "same-twice",
            of(&["described-b", "described-b"], 2000, json!(null)),
        ),
        ("unknown", of(&["described-nobody"], 2000, json!(null))),
        (
            "unknown-among-others",
            of(&["described-a", "described-aa", "described-b"], 2000, json!(null)),
        ),
        ("bad-name", of(&["described a"], 2000, json!(null))),
        ("empty-name", of(&[""], 2000, json!(null))),
        ("limit-1", of(&all, 1, json!(null))),
        ("limit-3", of(&all, 3, json!(null))),
        ("limit-4", of(&all, 4, json!(null))),
        ("limit-5", of(&all, 5, json!(null))),
        ("limit-8", of(&all, 8, json!(null))),
        ("limit-0", of(&all, 0, json!(null))),
        ("limit-minus-1", of(&all, -1, json!(null))),
        ("limit-max", of(&all, i32::MAX, json!(null))),
        ("cursor-at-start", of(&all, 2000, from("described-a", 0))),
        ("cursor-within-a-topic", of(&all, 2000, from("described-a", 2))),
        ("cursor-behind-a-topic", of(&all, 2000, from("described-a", 3))),
        (
            "cursor-far-behind-a-topic",
            of(&all, 2000, from("described-a", 99)),
        ),
        ("cursor-with-limit", of(&all, 2, from("described-a", 2))),
        (
            "cursor-at-another-topic",
            of(&["described-c"], 2000, from("described-a", 1)),
        ),
        (
            "cursor-behind-all",
            of(&["described-a"], 2000, from("described-b", 0)),
        ),
        (
            "cursor-at-an-unknown-topic",
            of(&all, 2000, from("described-aa", 1)),
        ),
        (
            "cursor-at-a-negative-partition",
            of(&all, 2000, from("described-a", -1)),
        ),
        ("cursor-at-the-empty-name", of(&all, 2000, from("", 0))),
        ("all-from-behind-the-last", of(&[], 2000, from("zzz", 0))),
        ("all-from-a-negative-partition", of(&[], 2000, from("zzz", -1))),
    ];
    for (step, request) in cases {
        s.ask(DescribeTopicPartitions, step, 0, &request)?;
    }
    Ok(())
}
