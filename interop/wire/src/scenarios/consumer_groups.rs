//! Groups of the consumer protocol: members that join, live, own and go, and what others are told of them.
//!
//! Who gets which partition is an assignor's choice, so no two members that are told apart share a topic here.
//!
//! Next: `consumer_groups_refused.rs`.

use anyhow::{Result, bail};
use klamm_protocol::ApiKey::{
    ConsumerGroupDescribe, ConsumerGroupHeartbeat, DeleteGroups, DescribeGroups, Heartbeat,
    IncrementalAlterConfigs, JoinGroup, LeaveGroup, ListGroups, OffsetCommit, OffsetDelete, OffsetFetch,
    SyncGroup,
};
use serde_json::{Value as Json, json};

use super::configs::GROUP;
use super::group_offsets::commit;
use super::groups::coordinated;
use crate::scenario::{Scenario, Topic};
use crate::value::Value;

/// A member that joins: what every heartbeat of the kind has in common.
pub(super) fn joining(group: &str, member: &str, topic: &str) -> Json {
    json!({"GroupId": group, "MemberId": member, "MemberEpoch": 0, "InstanceId": null, "RackId": null,
        "RebalanceTimeoutMs": 60_000, "SubscribedTopicNames": [topic], "SubscribedTopicRegex": null,
        "ServerAssignor": null, "TopicPartitions": []})
}

/// A member that has nothing to say.
pub(super) fn living(group: &str, member: &str, epoch: i64) -> Json {
    json!({"GroupId": group, "MemberId": member, "MemberEpoch": epoch, "InstanceId": null, "RackId": null,
        "RebalanceTimeoutMs": -1, "SubscribedTopicNames": null, "SubscribedTopicRegex": null,
        "ServerAssignor": null, "TopicPartitions": null})
}

pub(super) fn with(mut request: Json, changes: &Json) -> Json {
    for (name, value) in changes.as_object().into_iter().flatten() {
        request[name] = value.clone();
    }
    request
}

fn owning(group: &str, member: &str, epoch: i64, topic: &Topic, partitions: &[i32]) -> Json {
    let owned = json!([{"TopicId": topic.id, "Partitions": partitions}]);
    with(living(group, member, epoch), &json!({"TopicPartitions": owned}))
}

pub(super) fn described(groups: &[&str]) -> Json {
    json!({"GroupIds": groups, "IncludeAuthorizedOperations": false})
}

/// Lets the assignments of a group follow each other at once.
pub(super) fn hurried(s: &mut Scenario, group: &str) -> Result<()> {
    let config = json!({"Name": "consumer.assignment.interval.ms", "ConfigOperation": 0, "Value": "0"});
    let resource = json!({"ResourceType": GROUP, "ResourceName": group, "Configs": [config]});
    s.quiet(IncrementalAlterConfigs, 1, &json!({"Resources": [resource]}))?;
    s.settle();
    Ok(())
}

/// How often a member asks for what takes any broker several requests.
const ASKED: usize = 100;

/// The epoch of a member that has got so many topics; it asks until it has.
fn assigned(s: &mut Scenario, request: &Json, topics: usize) -> Result<i64> {
    for _ in 0..ASKED {
        let answer = s.quiet(ConsumerGroupHeartbeat, 1, request)?;
        let told = answer.list("Assignment.TopicPartitions");
        if told.is_ok_and(|told| told.len() == topics) {
            return answer.int("MemberEpoch");
        }
        s.settle();
    }
    bail!("the member is not assigned {topics} topics: {request}");
}

/// A group that is as its members want it.
fn stable(answer: &Value) -> bool {
    answer
        .text("Groups.0.GroupState")
        .is_ok_and(|state| state == "Stable")
}

/// The one member of a group from its first request to its last.
pub(super) fn alone(s: &mut Scenario) -> Result<()> {
    let group = "consumer_groups_alone";
    let topic = s.topic(group, 2, &[])?;
    let other = s.topic("consumer_groups_alone_2", 1, &[])?;
    coordinated(s, group)?;
    hurried(s, group)?;
    let join = joining(group, "m", &topic.name);
    let epoch = assigned(s, &join, 1)?;
    s.each(ConsumerGroupHeartbeat, "join-again", 0..=1, &join)?;
    s.each(ConsumerGroupHeartbeat, "live", 0..=1, &living(group, "m", epoch))?;
    s.ask(
        ConsumerGroupHeartbeat,
        "own",
        1,
        &owning(group, "m", epoch, &topic, &[0, 1]),
    )?;
    s.ask(
        ConsumerGroupHeartbeat,
        "all-again",
        1,
        &with(owning(group, "m", epoch, &topic, &[0, 1]), &join_without(&join)),
    )?;
    s.each(ConsumerGroupDescribe, "describe", 0..=1, &described(&[group]))?;
    told_of(s, group)?;
    offsets(s, group, &topic, epoch)?;
    epochs(s, group, &topic, epoch)?;
    classic(s, group)?;
    subscriptions(s, group, (&topic, &other), epoch)?;
    gone(s, group)
}

/// What a full request has beside what the member owns.
fn join_without(join: &Json) -> Json {
    json!({"RebalanceTimeoutMs": join["RebalanceTimeoutMs"],
        "SubscribedTopicNames": join["SubscribedTopicNames"]})
}

/// How the APIs of all groups show it.
fn told_of(s: &mut Scenario, group: &str) -> Result<()> {
    for kind in ["consumer", "Consumer", "classic"] {
        let filter = json!({"TypesFilter": [kind], "StatesFilter": ["Stable"]});
        s.ask(ListGroups, &format!("list-{kind}"), 5, &filter)?;
    }
    s.each(
        DescribeGroups,
        "describe-classic",
        0..=6,
        &json!({"Groups": [group]}),
    )?;
    s.each(
        DeleteGroups,
        "delete-non-empty",
        [0, 2, 3],
        &json!({"GroupsNames": [group]}),
    )?;
    s.ask(
        ConsumerGroupDescribe,
        "describe-with-operations",
        1,
        &json!({"GroupIds": [group, "consumer_groups_nobody", group], "IncludeAuthorizedOperations": true}),
    )?;
    Ok(())
}

fn offsets(s: &mut Scenario, group: &str, topic: &Topic, epoch: i64) -> Result<()> {
    let by = |member: &str, epoch: i64| {
        with(
            commit(group, topic, &[(0, 5)]),
            &json!({"MemberId": member, "GenerationIdOrMemberEpoch": epoch}),
        )
    };
    s.each(OffsetCommit, "commit", 2..=10, &by("m", epoch))?;
    s.each(
        OffsetCommit,
        "commit-greater-epoch",
        [8, 9, 10],
        &by("m", epoch + 1),
    )?;
    s.each(
        OffsetCommit,
        "commit-smaller-epoch",
        [8, 9, 10],
        &by("m", epoch - 1),
    )?;
    s.each(OffsetCommit, "commit-unknown-member", [8, 9, 10], &by("n", epoch))?;
    s.each(OffsetCommit, "commit-nobody", [8, 9, 10], &by("", -1))?;
    for (name, member, epoch) in [
        ("member", Some("m"), epoch),
        ("greater-epoch", Some("m"), epoch + 1),
        ("smaller-epoch", Some("m"), epoch - 1),
        ("unknown-member", Some("n"), epoch),
        ("nobody", None, -1),
        ("no-name", Some(""), -1),
        ("no-member-with-epoch", None, epoch),
    ] {
        let wanted = json!([{"Name": topic.name, "TopicId": topic.id, "PartitionIndexes": [0]}]);
        let asked = json!({"GroupId": group, "MemberId": member, "MemberEpoch": epoch, "Topics": wanted});
        s.each(
            OffsetFetch,
            &format!("fetch-{name}"),
            9..=10,
            &json!({"Groups": [asked]}),
        )?;
    }
    let partition = json!({"PartitionIndex": 0});
    s.ask(
        OffsetDelete,
        "delete-offset-subscribed",
        0,
        &json!({"GroupId": group, "Topics": [{"Name": topic.name, "Partitions": [partition]}]}),
    )?;
    Ok(())
}

/// Epochs that are not the member's.
fn epochs(s: &mut Scenario, group: &str, topic: &Topic, epoch: i64) -> Result<()> {
    for (name, request) in [
        ("greater-epoch", living(group, "m", epoch + 1)),
        ("smaller-epoch", living(group, "m", epoch - 1)),
        (
            "smaller-epoch-owning",
            owning(group, "m", epoch - 1, topic, &[0, 1]),
        ),
        ("greatest-epoch", living(group, "m", i64::from(i32::MAX))),
        ("unknown-member", living(group, "n", epoch)),
        ("unknown-member-leaves", living(group, "n", -1)),
        (
            "not-static-leaves",
            with(living(group, "m", -2), &json!({"InstanceId": "i"})),
        ),
        (
            "not-static-lives",
            with(living(group, "m", epoch), &json!({"InstanceId": "i"})),
        ),
    ] {
        if name == "smaller-epoch-owning" && epoch == 1 {
            // Epoch 0 is a new beginning, which must own nothing.
            continue;
        }
        s.each(ConsumerGroupHeartbeat, name, 0..=1, &request)?;
    }
    Ok(())
}

/// What a member of the consumer protocol is told when it speaks the classic one.
fn classic(s: &mut Scenario, group: &str) -> Result<()> {
    s.ask(
        Heartbeat,
        "classic-heartbeat",
        4,
        &json!({"GroupId": group, "GenerationId": 1, "MemberId": "m"}),
    )?;
    s.ask(
        SyncGroup,
        "classic-sync",
        5,
        &json!({"GroupId": group, "GenerationId": 1, "MemberId": "m", "ProtocolType": "consumer",
            "ProtocolName": "range", "Assignments": []}),
    )?;
    let join = json!({"GroupId": group, "SessionTimeoutMs": 10_000, "RebalanceTimeoutMs": 20_000, "MemberId": "",
        "ProtocolType": "consumer", "Protocols": [{"Name": "range", "Metadata": "00"}]});
    s.ask(JoinGroup, "classic-join-malformed", 3, &join)?;
    let connect = with(join.clone(), &json!({"ProtocolType": "connect"}));
    s.ask(JoinGroup, "classic-join-of-another-type", 3, &connect)?;
    let unknown = with(join, &json!({"MemberId": "nobody"}));
    s.ask(JoinGroup, "classic-join-unknown", 9, &unknown)?;
    s.ask(
        LeaveGroup,
        "classic-leave-unknown",
        5,
        &json!({"GroupId": group, "Members": [{"MemberId": "nobody", "GroupInstanceId": null}]}),
    )?;
    Ok(())
}

/// A member that subscribes to something else, by names and by expressions.
fn subscriptions(s: &mut Scenario, group: &str, (topic, other): (&Topic, &Topic), epoch: i64) -> Result<()> {
    let names = json!([topic.name, other.name, "consumer_groups_nowhere"]);
    let both = with(
        owning(group, "m", epoch, topic, &[0, 1]),
        &json!({"SubscribedTopicNames": names, "RebalanceTimeoutMs": 50_000, "RackId": "r",
            "ServerAssignor": "range"}),
    );
    assigned(s, &both, 2)?;
    s.ask_until(
        ConsumerGroupDescribe,
        "describe-subscribed-to-more",
        1,
        &described(&[group]),
        stable,
    )?;
    let by_expression = with(
        joining(group, "e", &topic.name),
        &json!({"SubscribedTopicNames": null, "SubscribedTopicRegex": "consumer_groups_no_such_.*"}),
    );
    s.quiet(ConsumerGroupHeartbeat, 1, &by_expression)?;
    let leave = living(group, "e", -1);
    s.ask(
        ConsumerGroupHeartbeat,
        "leave-subscribed-by-expression",
        1,
        &leave,
    )?;
    s.ask(ConsumerGroupHeartbeat, "leave-again", 1, &leave)?;
    Ok(())
}

fn gone(s: &mut Scenario, group: &str) -> Result<()> {
    s.ask(ConsumerGroupHeartbeat, "leave", 0, &living(group, "m", -1))?;
    s.ask_until(
        ConsumerGroupDescribe,
        "describe-empty",
        1,
        &described(&[group]),
        |answer| {
            answer
                .text("Groups.0.GroupState")
                .is_ok_and(|state| state == "Empty")
        },
    )?;
    s.ask(ConsumerGroupHeartbeat, "live-empty", 1, &living(group, "m", 1))?;
    s.ask(ListGroups, "list-empty", 5, &json!({"TypesFilter": ["consumer"]}))?;
    s.ask(DeleteGroups, "delete", 2, &json!({"GroupsNames": [group]}))?;
    s.ask(ConsumerGroupDescribe, "describe-deleted", 1, &described(&[group]))?;
    s.ask(DeleteGroups, "delete-again", 2, &json!({"GroupsNames": [group]}))?;
    Ok(())
}

/// Static members, of which one takes the place of another.
pub(super) fn fixed(s: &mut Scenario) -> Result<()> {
    let group = "consumer_groups_static";
    let topic = s.topic(group, 1, &[])?;
    coordinated(s, group)?;
    hurried(s, group)?;
    let instance = json!({"InstanceId": "i"});
    let one = with(joining(group, "one", &topic.name), &instance);
    let epoch = assigned(s, &one, 1)?;
    let other = with(joining(group, "other", &topic.name), &instance);
    s.each(ConsumerGroupHeartbeat, "instance-is-taken", 0..=1, &other)?;
    s.ask(
        ConsumerGroupHeartbeat,
        "leave-as-another",
        1,
        &with(living(group, "other", -2), &instance),
    )?;
    s.ask(
        ConsumerGroupHeartbeat,
        "leave-for-a-while",
        1,
        &with(living(group, "one", -2), &instance),
    )?;
    s.ask(ConsumerGroupDescribe, "describe-away", 1, &described(&[group]))?;
    s.ask(
        ConsumerGroupHeartbeat,
        "live-while-away",
        1,
        &with(living(group, "one", epoch), &instance),
    )?;
    s.each(ConsumerGroupHeartbeat, "takes-the-place", 1..=1, &other)?;
    s.ask_until(
        ConsumerGroupDescribe,
        "describe-replaced",
        1,
        &described(&[group]),
        stable,
    )?;
    s.ask(
        ConsumerGroupHeartbeat,
        "fenced",
        1,
        &with(living(group, "one", epoch), &instance),
    )?;
    s.ask(ConsumerGroupHeartbeat, "fenced-joins", 1, &one)?;
    let commit = |member: &str| {
        with(
            commit(group, &topic, &[(0, 5)]),
            &json!({"MemberId": member, "GroupInstanceId": "i", "GenerationIdOrMemberEpoch": epoch}),
        )
    };
    s.ask(OffsetCommit, "commit", 9, &commit("other"))?;
    s.ask(OffsetCommit, "commit-fenced", 9, &commit("one"))?;
    s.ask(
        LeaveGroup,
        "taken-out-by-instance",
        5,
        &json!({"GroupId": group, "Members": [{"MemberId": "", "GroupInstanceId": "i"}]}),
    )?;
    s.ask(
        LeaveGroup,
        "taken-out-again",
        5,
        &json!({"GroupId": group, "Members": [{"MemberId": "", "GroupInstanceId": "i"}]}),
    )?;
    s.quiet(DeleteGroups, 2, &json!({"GroupsNames": [group]}))?;
    Ok(())
}
