//! Groups of the classic protocol: members that come, share and go, and everything that they may be refused for. What is left of
//! a group at the end of a scenario has offsets or nothing.
//!
//! Next: `group_offsets.rs`.

use anyhow::Result;
use klamm_protocol::ApiKey::{
    DeleteGroups, DescribeGroups, FindCoordinator, Heartbeat, JoinGroup, LeaveGroup, ListGroups,
    OffsetCommit, OffsetDelete, OffsetFetch, SyncGroup,
};
use serde_json::{Value as Json, json};

use super::group_offsets::commit;
use crate::scenario::{Scenario, Topic};
use crate::value::Value;

/// What a member says of itself: a subscription to one topic, as clients write it.
const SUBSCRIPTION: &str = "000000000001000474657374ffffffff";
/// What it is assigned: partition 0 of that topic.
const ASSIGNMENT: &str = "0000000000010004746573740000000100000000ffffffff";

/// Waits until groups are coordinated.
pub(super) fn coordinated(s: &mut Scenario, group: &str) -> Result<()> {
    let key = json!({"Key": group, "KeyType": 0, "CoordinatorKeys": [group]});
    s.until(FindCoordinator, 4, &key, |answer| {
        answer
            .int("Coordinators.0.ErrorCode")
            .is_ok_and(|error| error == 0)
    })?;
    s.serves("__consumer_offsets", 50)?;
    let fetch = json!({"Groups": [{"GroupId": group, "Topics": null}]});
    s.until(OffsetFetch, 8, &fetch, |answer| {
        answer.int("Groups.0.ErrorCode").is_ok_and(|error| error == 0)
    })?;
    Ok(())
}

fn join(group: &str, member: &str) -> Json {
    json!({"GroupId": group, "SessionTimeoutMs": 10_000, "RebalanceTimeoutMs": 20_000, "MemberId": member,
        "ProtocolType": "consumer", "Protocols": [{"Name": "range", "Metadata": SUBSCRIPTION}]})
}

fn changed(mut request: Json, name: &str, value: Json) -> Json {
    request[name] = value;
    request
}

fn sync(group: &str, member: &str, generation: i64) -> Json {
    json!({"GroupId": group, "GenerationId": generation, "MemberId": member, "ProtocolType": "consumer",
        "ProtocolName": "range", "Assignments": [{"MemberId": member, "Assignment": ASSIGNMENT}]})
}

fn beat(group: &str, member: &str, generation: i64) -> Json {
    json!({"GroupId": group, "GenerationId": generation, "MemberId": member})
}

fn leave(group: &str, member: &str) -> Json {
    json!({"GroupId": group, "MemberId": member, "Members": [{"MemberId": member}]})
}

fn groups(names: &[&str]) -> Json {
    json!({"Groups": names})
}

fn deleted(names: &[&str]) -> Json {
    json!({"GroupsNames": names})
}

/// Before the topic of the coordinators is made.
pub(super) fn without_topic(s: &mut Scenario) -> Result<()> {
    let topic = s.topic("groups_without_topic", 1, &[])?;
    let group = "groups_without_topic";
    s.each(JoinGroup, "join", [0, 3, 5, 7, 9], &join(group, ""))?;
    s.each(SyncGroup, "sync", [0, 3, 5], &sync(group, "m", 1))?;
    s.each(Heartbeat, "heartbeat", [0, 4], &beat(group, "m", 1))?;
    s.each(LeaveGroup, "leave", [0, 3, 5], &leave(group, "m"))?;
    s.each(
        OffsetCommit,
        "commit",
        [2, 8, 10],
        &commit(group, &topic, &[(0, 1)]),
    )?;
    let fetch = json!({"GroupId": group, "Topics": [{"Name": topic.name, "PartitionIndexes": [0]}],
        "Groups": [{"GroupId": group, "Topics": [{"Name": topic.name, "TopicId": topic.id, "PartitionIndexes": [0]}]}]});
    s.each(OffsetFetch, "fetch", 1..=10, &fetch)?;
    let delete =
        json!({"GroupId": group, "Topics": [{"Name": topic.name, "Partitions": [{"PartitionIndex": 0}]}]});
    s.ask(OffsetDelete, "delete-offsets", 0, &delete)?;
    s.each(DescribeGroups, "describe", [0, 5, 6], &groups(&[group]))?;
    s.each(ListGroups, "list", [0, 4, 5], &json!({}))?;
    s.each(DeleteGroups, "delete", [0, 2, 3], &deleted(&[group]))?;
    Ok(())
}

/// Members that are refused, and groups that nobody is in.
pub(super) fn refused(s: &mut Scenario) -> Result<()> {
    let group = "groups_refused";
    coordinated(s, group)?;
    let good = join(group, "");
    s.each(JoinGroup, "no-group", 0..=9, &join("", ""))?;
    s.each(JoinGroup, "unknown-member", 0..=9, &join(group, "nobody"))?;
    s.each(JoinGroup, "id-required", 4..=9, &good)?;
    for (name, timeout) in [("short", 5_999), ("negative", -1), ("long", 1_800_001)] {
        let request = changed(good.clone(), "SessionTimeoutMs", json!(timeout));
        s.each(JoinGroup, &format!("{name}-session"), [0, 5, 9], &request)?;
    }
    for (name, field, value) in [
        ("no-protocol-type", "ProtocolType", json!("")),
        ("no-protocols", "Protocols", json!([])),
        ("negative-rebalance", "RebalanceTimeoutMs", json!(-1)),
        (
            "empty-protocol",
            "Protocols",
            json!([{"Name": "", "Metadata": ""}]),
        ),
    ] {
        let request = changed(good.clone(), field, value);
        s.each(JoinGroup, name, [4, 5, 9], &request)?;
    }
    for (name, instance) in [
        ("empty", json!("")),
        ("dot", json!(".")),
        ("long", json!("i".repeat(250))),
    ] {
        let request = changed(good.clone(), "GroupInstanceId", instance);
        s.each(JoinGroup, &format!("{name}-instance"), [5, 9], &request)?;
    }
    for (name, group) in [("no-group", ""), ("unknown-group", "groups_refused_2")] {
        s.each(SyncGroup, &format!("sync-{name}"), 0..=5, &sync(group, "m", 1))?;
        s.each(
            Heartbeat,
            &format!("heartbeat-{name}"),
            0..=4,
            &beat(group, "m", 1),
        )?;
        s.each(LeaveGroup, &format!("leave-{name}"), 0..=5, &leave(group, "m"))?;
        s.each(
            DescribeGroups,
            &format!("describe-{name}"),
            0..=6,
            &groups(&[group]),
        )?;
        s.each(DeleteGroups, &format!("delete-{name}"), 0..=3, &deleted(&[group]))?;
    }
    refused_lists(s, group)
}

/// Requests that leave out what they are about, or name it twice.
fn refused_lists(s: &mut Scenario, group: &str) -> Result<()> {
    let nameless = changed(sync(group, "m", 1), "ProtocolName", Json::Null);
    s.ask(SyncGroup, "sync-no-protocol-name", 5, &nameless)?;
    let typeless = changed(sync(group, "m", 1), "ProtocolType", Json::Null);
    s.ask(SyncGroup, "sync-no-protocol-type", 5, &typeless)?;
    s.ask(
        LeaveGroup,
        "leave-nobody",
        5,
        &json!({"GroupId": group, "Members": []}),
    )?;
    s.ask(DescribeGroups, "describe-none", 6, &groups(&[]))?;
    s.ask(DeleteGroups, "delete-none", 2, &deleted(&[]))?;
    s.ask(DeleteGroups, "delete-twice", 2, &deleted(&[group, group]))?;
    for (name, request) in [
        ("unknown-state", json!({"StatesFilter": ["Nonsense"]})),
        ("empty-state", json!({"StatesFilter": [""]})),
        ("unknown-type", json!({"TypesFilter": ["nonsense"]})),
        ("share-type", json!({"TypesFilter": ["share"]})),
    ] {
        s.ask(ListGroups, &format!("list-{name}"), 5, &request)?;
    }
    s.quiet(DeleteGroups, 2, &deleted(&[group]))?;
    Ok(())
}

/// The one member of a group from its first request to its last.
pub(super) fn alone(s: &mut Scenario) -> Result<()> {
    let topic = s.topic("groups_alone", 1, &[])?;
    for (joins, syncs, beats, commits) in [
        (0, 0, 0, 2),
        (2, 1, 1, 5),
        (4, 2, 2, 7),
        (7, 4, 4, 8),
        (9, 5, 4, 10),
    ] {
        life(s, &topic, (joins, syncs, beats, commits))?;
    }
    s.each(ListGroups, "list", 0..=5, &json!({}))?;
    for state in ["Empty", "empty", "Stable", "Dead", "PreparingRebalance"] {
        let name = format!("list-{state}");
        s.each(ListGroups, &name, 4..=5, &json!({"StatesFilter": [state]}))?;
    }
    for kind in ["classic", "Classic", "consumer"] {
        s.ask(
            ListGroups,
            &format!("list-{kind}"),
            5,
            &json!({"TypesFilter": [kind]}),
        )?;
    }
    let names: Vec<_> = [0, 2, 4, 7, 9]
        .map(|version| format!("groups_alone_{version}"))
        .to_vec();
    for name in &names {
        s.ask(DeleteGroups, &format!("delete-{name}"), 2, &deleted(&[name]))?;
    }
    s.ask(ListGroups, "list-at-the-end", 5, &json!({}))?;
    Ok(())
}

/// The life of one group with one member, in these versions of joins, syncs, heartbeats and commits.
fn life(s: &mut Scenario, topic: &Topic, versions: (i16, i16, i16, i16)) -> Result<()> {
    let (joins, syncs, beats, commits) = versions;
    let group = &format!("groups_alone_{joins}");
    let named = |name: &str| format!("{joins}-{name}");
    coordinated(s, group)?;
    let member = &first_join(s, group, joins)?;
    s.ask(
        Heartbeat,
        &named("before-the-sync"),
        beats,
        &beat(group, member, 1),
    )?;
    let mut early = commit(group, topic, &[(0, 7)]);
    early["GenerationIdOrMemberEpoch"] = json!(1);
    early["MemberId"] = json!(member);
    s.ask(OffsetCommit, &named("commit-before-the-sync"), commits, &early)?;
    s.ask(
        SyncGroup,
        &named("wrong-generation"),
        syncs,
        &sync(group, member, 2),
    )?;
    s.ask(SyncGroup, &named("sync"), syncs, &sync(group, member, 1))?;
    s.ask(SyncGroup, &named("sync-again"), syncs, &sync(group, member, 1))?;
    s.ask(Heartbeat, &named("heartbeat"), beats, &beat(group, member, 1))?;
    for generation in [-1, 0, 2] {
        let name = named(&format!("heartbeat-of-generation-{generation}"));
        s.ask(Heartbeat, &name, beats, &beat(group, member, generation))?;
    }
    s.ask(
        Heartbeat,
        &named("heartbeat-of-another"),
        beats,
        &beat(group, "nobody", 1),
    )?;
    s.ask(OffsetCommit, &named("commit"), commits, &early)?;
    for (name, field, value) in [
        ("commit-of-no-member", "MemberId", json!("")),
        ("commit-of-another", "MemberId", json!("nobody")),
        ("commit-of-generation-0", "GenerationIdOrMemberEpoch", json!(0)),
        ("commit-of-generation-2", "GenerationIdOrMemberEpoch", json!(2)),
        ("commit-of-no-generation", "GenerationIdOrMemberEpoch", json!(-1)),
    ] {
        s.ask(OffsetCommit, name, commits, &changed(early.clone(), field, value))?;
    }
    end_of_life(s, (topic, group, member), versions, &early)
}

/// What the group is asked from outside, and the end of its member.
fn end_of_life(
    s: &mut Scenario,
    (topic, group, member): (&Topic, &str, &str),
    (joins, _, beats, commits): (i16, i16, i16, i16),
    early: &Json,
) -> Result<()> {
    let named = |name: &str| format!("{joins}-{name}");
    let outside = commit(group, topic, &[(0, 9)]);
    s.ask(OffsetCommit, &named("commit-from-outside"), commits, &outside)?;
    let delete = json!({"GroupId": group, "Topics": [{"Name": "groups_alone", "Partitions": [{"PartitionIndex": 0}]}]});
    s.ask(OffsetDelete, &named("delete-offsets"), 0, &delete)?;
    s.ask(
        DescribeGroups,
        &named("describe"),
        joins.min(6),
        &groups(&[group]),
    )?;
    s.ask(DeleteGroups, &named("delete"), joins.min(2), &deleted(&[group]))?;
    s.ask(JoinGroup, &named("other-protocols"), joins, &{
        let other = json!([{"Name": "other", "Metadata": SUBSCRIPTION}]);
        changed(join(group, member), "Protocols", other)
    })?;
    s.ask(
        Heartbeat,
        &named("heartbeat-after-the-next-join"),
        beats,
        &beat(group, member, 1),
    )?;
    s.ask(
        LeaveGroup,
        &named("leave-of-another"),
        joins.min(5),
        &leave(group, "nobody"),
    )?;
    s.ask(LeaveGroup, &named("leave"), joins.min(5), &leave(group, member))?;
    s.ask(
        LeaveGroup,
        &named("leave-again"),
        joins.min(5),
        &leave(group, member),
    )?;
    s.ask(
        DescribeGroups,
        &named("describe-empty"),
        joins.min(6),
        &groups(&[group]),
    )?;
    s.ask(OffsetCommit, &named("commit-to-the-empty"), commits, &outside)?;
    s.ask(OffsetCommit, &named("commit-of-who-left"), commits, early)?;
    Ok(())
}

/// Joins as the first member, and says its id.
fn first_join(s: &mut Scenario, group: &str, version: i16) -> Result<String> {
    let known = match version {
        4.. => {
            let required = s
                .ask(
                    JoinGroup,
                    &format!("{version}-id-required"),
                    version,
                    &join(group, ""),
                )?
                .answer()?;
            required.text("MemberId")?
        }
        _ => String::new(),
    };
    let joined: Value = s
        .ask(
            JoinGroup,
            &format!("{version}-join"),
            version,
            &join(group, &known),
        )?
        .answer()?;
    joined.text("MemberId")
}

/// A member that keeps its place by its instance id.
pub(super) fn fixed(s: &mut Scenario) -> Result<()> {
    let topic = s.topic("groups_static", 1, &[])?;
    let group = "groups_static";
    coordinated(s, group)?;
    let own = |request: Json| changed(request, "GroupInstanceId", json!("one"));
    let first = s
        .ask(JoinGroup, "join", 9, &own(join(group, "")))?
        .answer()?
        .text("MemberId")?;
    s.ask(SyncGroup, "sync", 5, &own(sync(group, &first, 1)))?;
    s.ask(Heartbeat, "heartbeat", 4, &own(beat(group, &first, 1)))?;
    s.ask(DescribeGroups, "describe", 6, &groups(&[group]))?;
    s.each(DescribeGroups, "describe", 3..=5, &groups(&[group]))?;
    // It comes back without its member id, and nobody else has to do anything.
    let second = s
        .ask(JoinGroup, "join-again", 9, &own(join(group, "")))?
        .answer()?
        .text("MemberId")?;
    s.ask(
        Heartbeat,
        "heartbeat-of-the-first",
        4,
        &own(beat(group, &first, 1)),
    )?;
    s.ask(SyncGroup, "sync-of-the-first", 5, &own(sync(group, &first, 1)))?;
    s.ask(JoinGroup, "join-of-the-first", 9, &own(join(group, &first)))?;
    s.ask(SyncGroup, "sync-of-the-second", 5, &own(sync(group, &second, 1)))?;
    s.ask(
        Heartbeat,
        "heartbeat-of-the-second",
        4,
        &own(beat(group, &second, 1)),
    )?;
    s.ask(
        Heartbeat,
        "heartbeat-without-instance",
        4,
        &beat(group, &second, 1),
    )?;
    s.ask(Heartbeat, "heartbeat-of-another-instance", 4, &{
        changed(beat(group, &second, 1), "GroupInstanceId", json!("two"))
    })?;
    let mut commits = commit(group, &topic, &[(0, 3)]);
    commits["GenerationIdOrMemberEpoch"] = json!(1);
    commits["MemberId"] = json!(second);
    s.ask(OffsetCommit, "commit", 9, &own(commits.clone()))?;
    commits["MemberId"] = json!(first);
    s.ask(OffsetCommit, "commit-of-the-first", 9, &own(commits.clone()))?;
    fixed_leaves(s, group, &first)
}

/// The member whose first id was `first` leaves.
fn fixed_leaves(s: &mut Scenario, group: &str, first: &str) -> Result<()> {
    for (name, members) in [
        (
            "leave-of-another-instance",
            json!([{"MemberId": "", "GroupInstanceId": "two"}]),
        ),
        (
            "leave-of-the-first",
            json!([{"MemberId": first, "GroupInstanceId": "one"}]),
        ),
        (
            "leave-twice",
            json!([{"MemberId": "", "GroupInstanceId": "one", "Reason": "why not"},
            {"MemberId": "", "GroupInstanceId": "one"}]),
        ),
    ] {
        s.ask(
            LeaveGroup,
            name,
            5,
            &json!({"GroupId": group, "Members": members}),
        )?;
    }
    s.ask(DeleteGroups, "delete", 2, &deleted(&[group]))?;
    Ok(())
}
