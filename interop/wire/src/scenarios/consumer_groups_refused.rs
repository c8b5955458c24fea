//! Requests of members of the consumer protocol that are refused, whatever the group is like: what is missing, what is too much,
//! expressions that are none or that were made to explode.
//!
//! Next: `consumer_groups.rs`.

use anyhow::Result;
use klamm_protocol::ApiKey::{
    ConsumerGroupDescribe, ConsumerGroupHeartbeat, DeleteGroups, IncrementalAlterConfigs,
};
use serde_json::json;

use super::configs::GROUP;
use super::consumer_groups::{described, joining, living, with};
use super::groups::coordinated;
use crate::scenario::Scenario;

/// Before the topic of the coordinators is made.
pub(super) fn without_topic(s: &mut Scenario) -> Result<()> {
    let group = "consumer_groups_without_topic";
    s.each(ConsumerGroupHeartbeat, "join", 0..=1, &joining(group, "m", "t"))?;
    s.each(
        ConsumerGroupHeartbeat,
        "join-no-group",
        0..=1,
        &joining("", "m", "t"),
    )?;
    s.each(ConsumerGroupDescribe, "describe", 0..=1, &described(&[group, ""]))?;
    Ok(())
}

pub(super) fn run(s: &mut Scenario) -> Result<()> {
    let group = "consumer_groups_refused";
    let topic = s.topic(group, 1, &[])?;
    coordinated(s, group)?;
    let good = joining(group, "m", &topic.name);
    for (name, changes) in [
        ("no-group", json!({"GroupId": ""})),
        ("blank-group", json!({"GroupId": " \t"})),
        ("empty-instance", json!({"InstanceId": ""})),
        ("blank-rack", json!({"RackId": " "})),
        ("epoch--3", json!({"MemberEpoch": -3})),
        ("epoch-least", json!({"MemberEpoch": i32::MIN})),
        ("static-leave-without-instance", json!({"MemberEpoch": -2})),
        ("no-rebalance-timeout", json!({"RebalanceTimeoutMs": -1})),
        ("no-partitions", json!({"TopicPartitions": null})),
        (
            "owns-partitions",
            json!({"TopicPartitions": [{"TopicId": topic.id, "Partitions": [0]}]}),
        ),
        ("no-subscription", json!({"SubscribedTopicNames": null})),
        ("unknown-assignor", json!({"ServerAssignor": "sticky"})),
        ("empty-assignor", json!({"ServerAssignor": ""})),
        ("assignor-in-capitals", json!({"ServerAssignor": "Range"})),
        ("unknown-group-lives", json!({"MemberEpoch": 5})),
        ("unknown-group-leaves", json!({"MemberEpoch": -1})),
        (
            "unknown-group-leaves-for-a-while",
            json!({"MemberEpoch": -2, "InstanceId": "i"}),
        ),
        (
            "several-at-once",
            json!({"GroupId": "", "InstanceId": "", "RackId": "", "ServerAssignor": "sticky"}),
        ),
    ] {
        s.each(ConsumerGroupHeartbeat, name, 0..=1, &with(good.clone(), &changes))?;
    }
    for (name, member) in [("no-member", ""), ("blank-member", " ")] {
        let request = with(good.clone(), &json!({"MemberId": member}));
        s.ask(ConsumerGroupHeartbeat, name, 1, &request)?;
    }
    let drawn = with(
        good.clone(),
        &json!({"GroupId": "consumer_groups_drawn", "MemberId": ""}),
    );
    let drawn = s.ask(ConsumerGroupHeartbeat, "no-member", 0, &drawn)?.answer()?;
    let leave = living("consumer_groups_drawn", &drawn.text("MemberId")?, -1);
    s.quiet(ConsumerGroupHeartbeat, 1, &leave)?;
    s.quiet(
        DeleteGroups,
        2,
        &json!({"GroupsNames": ["consumer_groups_drawn"]}),
    )?;
    s.each(
        ConsumerGroupHeartbeat,
        "no-member-lives",
        0..=1,
        &living(group, "", 5),
    )?;
    s.each(
        ConsumerGroupHeartbeat,
        "no-member-leaves",
        0..=1,
        &living(group, "", -1),
    )?;
    expressions(s, group)?;
    long_names(s, group)?;
    descriptions(s, group)?;
    configs(s, group)
}

fn expressions(s: &mut Scenario, group: &str) -> Result<()> {
    let deep = "(".repeat(2_000);
    let wide = format!("({})*", "a?".repeat(500));
    for (name, expression) in [
        ("open", "(a"),
        ("closed", "a)"),
        ("nothing-to-repeat", "*a"),
        ("lookahead", "(?=a)"),
        ("backreference", r"(a)\1"),
        ("range", "[z-a]"),
        ("repeated-too-often", "a{1001}"),
        ("repeated-repetition", "a**"),
        ("exploding", "((a{100}){100}){100}"),
        ("deep", deep.as_str()),
        ("trailing-backslash", "a\\"),
    ] {
        let request = with(
            joining(group, "m", "t"),
            &json!({"SubscribedTopicNames": null, "SubscribedTopicRegex": expression}),
        );
        s.ask(ConsumerGroupHeartbeat, &format!("expression-{name}"), 1, &request)?;
    }
    for (name, expression) in [
        ("empty", ""),
        ("backtracking", "(a|a)*(a|a)*(a|a)*b"),
        ("wide", wide.as_str()),
        ("possessive-look", r"(a*)*c"),
    ] {
        let group = format!("{group}_{name}");
        let request = with(
            joining(&group, "m", "t"),
            &json!({"SubscribedTopicNames": null, "SubscribedTopicRegex": expression}),
        );
        s.ask(ConsumerGroupHeartbeat, &format!("expression-{name}"), 1, &request)?;
        s.quiet(ConsumerGroupHeartbeat, 1, &living(&group, "m", -1))?;
        s.quiet(DeleteGroups, 2, &json!({"GroupsNames": [group]}))?;
    }
    Ok(())
}

fn long_names(s: &mut Scenario, group: &str) -> Result<()> {
    let long = "g".repeat(30_000);
    s.ask(
        ConsumerGroupHeartbeat,
        "long-group-lives",
        1,
        &living(&long, "m", 5),
    )?;
    s.ask(ConsumerGroupDescribe, "long-group", 1, &described(&[&long]))?;
    s.quiet(
        ConsumerGroupHeartbeat,
        1,
        &with(joining(group, "m", "t"), &json!({"InstanceId": "i"})),
    )?;
    s.ask(
        ConsumerGroupHeartbeat,
        "long-member-lives",
        1,
        &living(group, &long, 5),
    )?;
    s.ask(
        ConsumerGroupHeartbeat,
        "long-member-and-instance",
        1,
        &with(living(group, &long, 5), &json!({"InstanceId": long})),
    )?;
    s.ask(
        ConsumerGroupHeartbeat,
        "long-member-with-the-instance-of-another",
        1,
        &with(joining(group, &long, "t"), &json!({"InstanceId": "i"})),
    )?;
    s.quiet(ConsumerGroupHeartbeat, 1, &living(group, "m", -1))?;
    s.quiet(DeleteGroups, 2, &json!({"GroupsNames": [group]}))?;
    Ok(())
}

fn descriptions(s: &mut Scenario, group: &str) -> Result<()> {
    for (name, groups) in [
        ("none", vec![]),
        ("no-name", vec![""]),
        ("unknown", vec![group]),
        ("unknown-twice", vec![group, group]),
        ("blank", vec![" "]),
    ] {
        s.each(
            ConsumerGroupDescribe,
            &format!("describe-{name}"),
            0..=1,
            &described(&groups),
        )?;
    }
    Ok(())
}

/// What a group may not be given of its own.
fn configs(s: &mut Scenario, group: &str) -> Result<()> {
    for (name, set) in [
        (
            "session-too-short",
            vec![("consumer.session.timeout.ms", "44999")],
        ),
        ("session-too-long", vec![("consumer.session.timeout.ms", "60001")]),
        (
            "heartbeat-too-short",
            vec![("consumer.heartbeat.interval.ms", "4999")],
        ),
        (
            "heartbeat-too-long",
            vec![("consumer.heartbeat.interval.ms", "15001")],
        ),
        (
            "assignment-negative",
            vec![("consumer.assignment.interval.ms", "-1")],
        ),
        (
            "assignment-too-long",
            vec![("consumer.assignment.interval.ms", "15001")],
        ),
        ("no-number", vec![("consumer.session.timeout.ms", "long")]),
        ("unknown", vec![("consumer.max.size", "5")]),
        (
            "two-wrong",
            vec![
                ("consumer.session.timeout.ms", "1"),
                ("consumer.heartbeat.interval.ms", "1"),
            ],
        ),
    ] {
        let configs: Vec<_> = set
            .iter()
            .map(|(name, value)| json!({"Name": name, "ConfigOperation": 0, "Value": value}))
            .collect();
        let resource = json!({"ResourceType": GROUP, "ResourceName": group, "Configs": configs});
        s.ask(
            IncrementalAlterConfigs,
            &format!("config-{name}"),
            1,
            &json!({"Resources": [resource], "ValidateOnly": false}),
        )?;
    }
    Ok(())
}
