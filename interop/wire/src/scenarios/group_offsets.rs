//! Offsets that are committed by nobody in particular: kept, asked for, and deleted.
//!
//! Next: `groups.rs`.

use anyhow::Result;
use klamm_protocol::ApiKey::{
    DeleteGroups, DeleteTopics, DescribeGroups, ListGroups, OffsetCommit, OffsetDelete, OffsetFetch,
};
use serde_json::{Value as Json, json};

use super::groups::coordinated;
use crate::scenario::{Scenario, Topic};

const UNKNOWN: &str = "CAgICAgICAgICAgICAgICA";

/// A commit by nobody, of partitions up to offsets.
pub(super) fn commit(group: &str, topic: &Topic, offsets: &[(i32, i64)]) -> Json {
    let partitions: Vec<_> = offsets
        .iter()
        .map(|(partition, offset)| {
            json!({"PartitionIndex": partition, "CommittedOffset": offset, "CommittedMetadata": "m"})
        })
        .collect();
    json!({"GroupId": group, "GenerationIdOrMemberEpoch": -1, "MemberId": "",
        "Topics": [{"Name": topic.name, "TopicId": topic.id, "Partitions": partitions}]})
}

/// Of one group, in the ways of all versions.
fn fetch(group: &str, topics: &Json) -> Json {
    let named: Option<Vec<_>> = topics.as_array().map(|topics| {
        let named = topics
            .iter()
            .map(|topic| json!({"Name": topic["Name"], "PartitionIndexes": topic["PartitionIndexes"]}));
        named.collect()
    });
    json!({"GroupId": group, "Topics": named, "Groups": [{"GroupId": group, "Topics": topics}]})
}

fn wanted(topic: &Topic, partitions: &[i32]) -> Json {
    json!([{"Name": topic.name, "TopicId": topic.id, "PartitionIndexes": partitions}])
}

fn delete(group: &str, topic: &str, partitions: &[i32]) -> Json {
    let partitions: Vec<_> = partitions
        .iter()
        .map(|partition| json!({"PartitionIndex": partition}))
        .collect();
    json!({"GroupId": group, "Topics": [{"Name": topic, "Partitions": partitions}]})
}

pub(super) fn run(s: &mut Scenario) -> Result<()> {
    let topic = s.topic("group_offsets", 3, &[])?;
    coordinated(s, "group_offsets")?;
    commits(s, &topic)?;
    fetches(s, &topic)?;
    deletions(s, &topic)?;
    gone(s)
}

fn commits(s: &mut Scenario, topic: &Topic) -> Result<()> {
    let group = "group_offsets";
    let good = commit(group, topic, &[(0, 5), (2, 7)]);
    s.each(OffsetCommit, "commit", 2..=10, &good)?;
    let of_first = |change: &dyn Fn(&mut Json)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    let partition = |name: &'static str, value: Json| {
        let value = value.clone();
        move |request: &mut Json| request["Topics"][0]["Partitions"][0][name] = value.clone()
    };
    for (name, offset) in [
        ("zero", 0),
        ("minus-one", -1),
        ("negative", -5),
        ("largest", i64::MAX),
    ] {
        let change = partition("CommittedOffset", json!(offset));
        s.each(
            OffsetCommit,
            &format!("offset-{name}"),
            [2, 10],
            &of_first(&change),
        )?;
    }
    for (name, epoch) in [("zero", 0), ("minus-two", -2), ("large", 77)] {
        let change = partition("CommittedLeaderEpoch", json!(epoch));
        s.ask(OffsetCommit, &format!("epoch-{name}"), 8, &of_first(&change))?;
    }
    for (name, metadata) in [
        ("null", Json::Null),
        ("empty", json!("")),
        ("longest", json!("m".repeat(4096))),
        ("longer", json!("m".repeat(4097))),
        ("wide", json!("\u{e4}".repeat(2049))),
    ] {
        let change = partition("CommittedMetadata", metadata);
        s.each(
            OffsetCommit,
            &format!("metadata-{name}"),
            [2, 8],
            &of_first(&change),
        )?;
    }
    commits_of_lists(s, topic)
}

/// Commits of partitions, and of lists of them.
fn commits_of_lists(s: &mut Scenario, topic: &Topic) -> Result<()> {
    let group = "group_offsets";
    let good = commit(group, topic, &[(0, 5), (2, 7)]);
    let of_first = |change: &dyn Fn(&mut Json)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    let partition = |name: &'static str, value: Json| {
        let value = value.clone();
        move |request: &mut Json| request["Topics"][0]["Partitions"][0][name] = value.clone()
    };
    let field = |name: &'static str, value: Json| {
        let value = value.clone();
        move |request: &mut Json| request[name] = value.clone()
    };
    for (name, index) in [("unknown", 3), ("negative", -1)] {
        let change = partition("PartitionIndex", json!(index));
        s.each(
            OffsetCommit,
            &format!("partition-{name}"),
            [2, 8, 10],
            &of_first(&change),
        )?;
    }
    s.ask(
        OffsetCommit,
        "partition-twice",
        8,
        &commit(group, topic, &[(0, 1), (0, 2)]),
    )?;
    s.ask(OffsetCommit, "no-partitions", 8, &commit(group, topic, &[]))?;
    s.each(
        OffsetCommit,
        "no-topics",
        [2, 10],
        &of_first(&field("Topics", json!([]))),
    )?;
    s.ask(
        OffsetCommit,
        "null-topics",
        8,
        &of_first(&field("Topics", Json::Null)),
    )?;
    commits_of_topics(s, topic)
}

/// Commits of topics, and to groups, with other names.
fn commits_of_topics(s: &mut Scenario, topic: &Topic) -> Result<()> {
    let group = "group_offsets";
    let good = commit(group, topic, &[(0, 5), (2, 7)]);
    let of_first = |change: &dyn Fn(&mut Json)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    let field = |name: &'static str, value: Json| {
        let value = value.clone();
        move |request: &mut Json| request[name] = value.clone()
    };
    for (name, text) in [("unknown", "group_offsets_2"), ("empty", ""), ("bad", "a/b")] {
        let change = |request: &mut Json| {
            request["Topics"][0]["Name"] = json!(text);
            request["Topics"][0]["TopicId"] = json!(UNKNOWN);
        };
        s.each(
            OffsetCommit,
            &format!("topic-{name}"),
            [2, 9, 10],
            &of_first(&change),
        )?;
    }
    let twice = |request: &mut Json| {
        let first = request["Topics"][0].clone();
        let mut unknown = first.clone();
        unknown["Name"] = json!("group_offsets_2");
        unknown["TopicId"] = json!(UNKNOWN);
        request["Topics"] = json!([first, unknown, first]);
    };
    s.each(OffsetCommit, "topic-twice", [8, 10], &of_first(&twice))?;
    let known = |request: &mut Json| {
        let first = request["Topics"][0].clone();
        request["Topics"] = json!([first, first]);
    };
    s.each(OffsetCommit, "known-topic-twice", [8, 10], &of_first(&known))?;
    let unknown = |request: &mut Json| {
        twice(request);
        let unknown = request["Topics"][1].clone();
        request["Topics"] = json!([unknown, unknown]);
    };
    s.each(OffsetCommit, "unknown-topic-twice", [8, 10], &of_first(&unknown))?;
    let zero = |request: &mut Json| request["Topics"][0]["TopicId"] = json!("AAAAAAAAAAAAAAAAAAAAAA");
    s.ask(OffsetCommit, "topic-zero", 10, &of_first(&zero))?;
    s.each(
        OffsetCommit,
        "group-empty",
        [2, 8, 10],
        &of_first(&field("GroupId", json!(""))),
    )?;
    s.ask(
        OffsetCommit,
        "group-null",
        8,
        &of_first(&field("GroupId", Json::Null)),
    )?;
    s.ask(OffsetCommit, "internal-topic", 8, &{
        of_first(&|request: &mut Json| request["Topics"][0]["Name"] = json!("__consumer_offsets"))
    })?;
    members_of_nothing(s, topic)
}

/// Commits by members of groups that have none.
fn members_of_nothing(s: &mut Scenario, topic: &Topic) -> Result<()> {
    for (name, group) in [("known", "group_offsets"), ("unknown", "group_offsets_3")] {
        let mut request = commit(group, topic, &[(0, 5)]);
        for generation in [0, 5, -2] {
            request["GenerationIdOrMemberEpoch"] = json!(generation);
            let name = format!("{name}-group-generation-{generation}");
            s.each(OffsetCommit, &name, [2, 9], &request)?;
        }
        request["GenerationIdOrMemberEpoch"] = json!(-1);
        request["MemberId"] = json!("nobody");
        s.each(OffsetCommit, &format!("{name}-group-member"), [2, 9], &request)?;
        request["MemberId"] = json!("");
        request["GroupInstanceId"] = json!("one");
        s.ask(OffsetCommit, &format!("{name}-group-instance"), 9, &request)?;
    }
    Ok(())
}

fn fetches(s: &mut Scenario, topic: &Topic) -> Result<()> {
    let group = "group_offsets_fetch";
    s.ask(
        OffsetCommit,
        "before-the-fetches",
        8,
        &commit(group, topic, &[(0, 5), (2, 7)]),
    )?;
    s.each(
        OffsetFetch,
        "fetch",
        1..=10,
        &fetch(group, &wanted(topic, &[0, 1, 2])),
    )?;
    s.each(OffsetFetch, "fetch-all", 2..=10, &fetch(group, &Json::Null))?;
    s.each(OffsetFetch, "fetch-none", 1..=10, &fetch(group, &json!([])))?;
    s.each(
        OffsetFetch,
        "fetch-unknown-partition",
        [1, 8, 10],
        &fetch(group, &wanted(topic, &[3, -1, 0])),
    )?;
    s.each(
        OffsetFetch,
        "fetch-twice",
        [1, 8],
        &fetch(group, &wanted(topic, &[0, 0])),
    )?;
    let unknown = Topic {
        name: "group_offsets_2".to_owned(),
        id: UNKNOWN.to_owned(),
    };
    s.each(
        OffsetFetch,
        "fetch-unknown-topic",
        1..=10,
        &fetch(group, &wanted(&unknown, &[0])),
    )?;
    fetches_of_nothing(s, topic)
}

/// Fetches of topics and groups that are not there.
fn fetches_of_nothing(s: &mut Scenario, topic: &Topic) -> Result<()> {
    let group = "group_offsets_fetch";
    let zero = Topic {
        id: "AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
        ..topic.clone()
    };
    s.ask(
        OffsetFetch,
        "fetch-topic-zero",
        10,
        &fetch(group, &wanted(&zero, &[0])),
    )?;
    s.each(
        OffsetFetch,
        "fetch-unknown-group",
        1..=10,
        &fetch("group_offsets_4", &wanted(topic, &[0])),
    )?;
    s.each(
        OffsetFetch,
        "fetch-all-of-unknown-group",
        [2, 7, 8, 10],
        &fetch("group_offsets_4", &Json::Null),
    )?;
    s.each(
        OffsetFetch,
        "fetch-empty-group",
        [1, 5, 8, 10],
        &fetch("", &wanted(topic, &[0])),
    )?;
    s.ask(
        OffsetFetch,
        "fetch-null-group",
        8,
        &json!({"Groups": [{"GroupId": null, "Topics": null}]}),
    )?;
    fetches_of_several(s, topic)
}

/// Fetches with what later versions have.
fn fetches_of_several(s: &mut Scenario, topic: &Topic) -> Result<()> {
    let group = "group_offsets_fetch";
    let mut stable = fetch(group, &wanted(topic, &[0]));
    stable["RequireStable"] = json!(true);
    s.each(OffsetFetch, "fetch-stable", [7, 8, 10], &stable)?;
    let several = json!({"Groups": [
        {"GroupId": group, "Topics": null},
        {"GroupId": "group_offsets_4", "Topics": null},
        {"GroupId": group, "Topics": wanted(topic, &[0])},
        {"GroupId": "group_offsets", "Topics": wanted(topic, &[2])},
    ]});
    s.each(OffsetFetch, "fetch-several", 8..=10, &several)?;
    let again = json!({"Groups": [
        {"GroupId": group, "Topics": null},
        {"GroupId": "group_offsets_4", "Topics": null},
        {"GroupId": group, "Topics": null},
        {"GroupId": group, "Topics": wanted(topic, &[0, 0])},
        {"GroupId": group, "Topics": wanted(topic, &[0, 0])},
    ]});
    s.each(OffsetFetch, "fetch-groups-twice", 8..=10, &again)?;
    s.each(OffsetFetch, "fetch-no-groups", [8, 10], &json!({"Groups": []}))?;
    for (name, member, epoch) in [
        ("member", json!("nobody"), 5),
        ("epoch", Json::Null, 5),
        ("no-epoch", json!("m"), -1),
    ] {
        let group = json!({"GroupId": group, "MemberId": member, "MemberEpoch": epoch, "Topics": null});
        s.ask(OffsetFetch, &format!("as-{name}"), 9, &json!({"Groups": [group]}))?;
    }
    Ok(())
}

fn deletions(s: &mut Scenario, topic: &Topic) -> Result<()> {
    let group = "group_offsets_delete";
    s.ask(
        OffsetCommit,
        "before-the-deletions",
        8,
        &commit(group, topic, &[(0, 5), (2, 7)]),
    )?;
    s.ask(OffsetDelete, "delete-one", 0, &delete(group, &topic.name, &[0]))?;
    s.ask(
        OffsetDelete,
        "delete-again",
        0,
        &delete(group, &topic.name, &[0, 1]),
    )?;
    s.ask(
        OffsetDelete,
        "delete-unknown-partition",
        0,
        &delete(group, &topic.name, &[3, 2, -1]),
    )?;
    s.ask(
        OffsetDelete,
        "delete-unknown-topic",
        0,
        &delete(group, "group_offsets_2", &[0]),
    )?;
    for (name, topics) in [
        ("known", [&*topic.name, &*topic.name, &*topic.name]),
        ("unknown", [&*topic.name, "group_offsets_2", &*topic.name]),
    ] {
        let mut request = delete(group, &topic.name, &[0]);
        let topics = topics.map(|name| delete(group, name, &[0])["Topics"][0].clone());
        request["Topics"] = json!(topics);
        s.ask(OffsetDelete, &format!("delete-{name}-topic-twice"), 0, &request)?;
    }
    s.ask(
        OffsetDelete,
        "delete-unknown-group",
        0,
        &delete("group_offsets_4", &topic.name, &[0]),
    )?;
    s.ask(
        OffsetDelete,
        "delete-of-unknown-both",
        0,
        &delete("group_offsets_4", "group_offsets_2", &[0]),
    )?;
    s.ask(
        OffsetDelete,
        "delete-empty-group",
        0,
        &delete("", &topic.name, &[0]),
    )?;
    s.ask(
        OffsetDelete,
        "delete-nothing",
        0,
        &json!({"GroupId": "group_offsets", "Topics": []}),
    )?;
    s.ask(OffsetFetch, "deleted", 8, &fetch(group, &Json::Null))?;
    s.ask(OffsetFetch, "kept", 8, &fetch("group_offsets", &Json::Null))?;
    Ok(())
}

/// Groups of offsets alone, as groups; and what becomes of them with their topic.
fn gone(s: &mut Scenario) -> Result<()> {
    let groups = json!({"Groups": ["group_offsets", "group_offsets_4"], "IncludeAuthorizedOperations": true});
    s.each(DescribeGroups, "describe", 0..=6, &groups)?;
    let again = json!({"Groups": ["group_offsets", "group_offsets_4", "group_offsets", "group_offsets"]});
    s.each(DescribeGroups, "describe-twice", [5, 6], &again)?;
    s.each(ListGroups, "list", 0..=5, &json!({}))?;
    s.each(
        DeleteGroups,
        "delete-group",
        0..=2,
        &json!({"GroupsNames": ["group_offsets", "group_offsets_4", "", "group_offsets"]}),
    )?;
    s.ask(
        OffsetFetch,
        "of-the-deleted",
        8,
        &fetch("group_offsets", &Json::Null),
    )?;
    let topics = json!({"Topics": [{"Name": "group_offsets"}], "TimeoutMs": 10_000});
    s.quiet(DeleteTopics, 6, &topics)?;
    s.gone("group_offsets")?;
    s.settle();
    s.ask(
        OffsetFetch,
        "of-the-deleted-topic",
        8,
        &fetch("group_offsets_fetch", &Json::Null),
    )?;
    s.ask(ListGroups, "list-at-the-end", 5, &json!({}))?;
    // Kafka lists them until it sweeps.
    let left = ["group_offsets_3", "group_offsets_delete", "group_offsets_fetch"];
    s.quiet(DeleteGroups, 2, &json!({"GroupsNames": left}))?;
    Ok(())
}
