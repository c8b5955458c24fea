//! When offsets go: by themselves, with their topic, or because somebody asks.

use std::sync::Arc;
use std::time::Duration;

use klamm_metadata::{MetadataRecord, Position};
use klamm_model::{ErrorCode, TimestampMs, Uuid};
use klamm_protocol::coordinator_records::group_metadata_value::MemberMetadata;
use klamm_protocol::coordinator_records::{
    GroupMetadataKey, GroupMetadataValue, OffsetCommitKey, OffsetCommitValue,
};
use klamm_protocol::metadata_records::{RemoveTopicRecord, TopicRecord};

use super::{OTHER, TOPIC, commit_in, delete, deleted, fetch_named, producer};
use crate::group::driver::{Driver, Join, commit, commit_of, fetched, join, leave, sync};
use crate::group::record::GroupRecord;
use crate::group::request::Request;
use crate::group::{Answer, Timer};

/// What a consumer says of the topics that it wants.
fn wants(topics: &[&str]) -> Vec<u8> {
    let mut bytes = vec![0, 3, 0, 0, 0, topics.len() as u8];
    for topic in topics {
        bytes.extend([0, topic.len() as u8]);
        bytes.extend(topic.as_bytes());
    }
    // No user data.
    bytes.extend([0xff; 4]);
    bytes
}

/// A group that was recorded.
fn recorded(protocol_type: &str, since: i64, subscription: Option<Vec<u8>>) -> GroupRecord {
    let members = subscription.iter().map(|subscription| MemberMetadata {
        member_id: "m".into(),
        session_timeout: i32::MAX,
        subscription: subscription.clone().into(),
        ..Default::default()
    });
    GroupRecord::ClassicGroup(
        GroupMetadataKey { group: "g".into() },
        Some(GroupMetadataValue {
            protocol_type: protocol_type.into(),
            generation: 1,
            protocol: Some("range".into()),
            leader: subscription.is_some().then(|| "m".into()),
            current_state_timestamp: since,
            members: members.collect(),
            ..Default::default()
        }),
    )
}

fn committed(partition: i32, commit_timestamp: i64, expire_timestamp: i64) -> GroupRecord {
    GroupRecord::OffsetCommit(
        OffsetCommitKey {
            group: "g".into(),
            topic: "t".into(),
            partition,
        },
        Some(OffsetCommitValue {
            offset: 1,
            commit_timestamp,
            expire_timestamp,
            ..Default::default()
        }),
    )
}

#[test]
fn offsets_go_when_nobody_can_want_them() {
    let now = 100_000_000;
    let (old, young) = (now - 60_000, now - 59_999);
    // (what, the group, commits as (at, expiry), what is left, whether the group is)
    type Case = (&'static str, Option<GroupRecord>, Vec<(i64, i64)>, Vec<i32>, bool);
    let cases: Vec<Case> = vec![
        (
            "no members ever",
            None,
            vec![(old, -1), (young, -1)],
            vec![1],
            false,
        ),
        (
            "their own expiry",
            None,
            vec![(young, now), (old, now + 1)],
            vec![1],
            false,
        ),
        (
            "long empty",
            Some(recorded("consumer", old, None)),
            vec![(old, -1), (young, -1)],
            vec![],
            false,
        ),
        (
            "just empty",
            Some(recorded("consumer", young, None)),
            vec![(old, -1), (young, -1)],
            vec![0, 1],
            true,
        ),
        (
            "empty since who knows",
            Some(recorded("consumer", -1, None)),
            vec![(old, -1), (young, -1)],
            vec![1],
            true,
        ),
        (
            "wanted",
            Some(recorded("consumer", old, Some(wants(&["t"])))),
            vec![(old, -1)],
            vec![0],
            true,
        ),
        (
            "something else wanted",
            Some(recorded("consumer", old, Some(wants(&["u"])))),
            vec![(old, -1), (young, -1)],
            vec![1],
            true,
        ),
        (
            "nobody knows what is wanted",
            Some(recorded("consumer", old, Some(vec![0]))),
            vec![(old, -1)],
            vec![0],
            true,
        ),
        (
            "not consumers",
            Some(recorded("connect", old, Some(wants(&["u"])))),
            vec![(old, -1)],
            vec![0],
            true,
        ),
        (
            "empty without offsets",
            Some(recorded("consumer", young, None)),
            vec![],
            vec![],
            false,
        ),
    ];
    for (name, group, commits, left, there) in cases {
        let mut driver = Driver::new();
        driver.config.offsets_retention = Duration::from_mins(1);
        driver.config.offsets_retention_check_interval = Duration::from_millis(1);
        if let Some(group) = group {
            driver.write(None, group);
        }
        for (partition, (at, expiry)) in commits.into_iter().enumerate() {
            driver.write(None, committed(partition as i32, at, expiry));
        }
        driver.now = TimestampMs(now - 1);
        driver.reload();
        driver.pass(1);
        let kept: Vec<_> = driver
            .offsets()
            .into_iter()
            .map(|(partition, _)| partition)
            .collect();
        assert_eq!(
            (kept, driver.shard.groups.contains_key("g")),
            (left, there),
            "{name}"
        );
    }
}

#[test]
fn an_offset_stays_while_another_one_is_pending() {
    let mut driver = Driver::new();
    driver.at_once(commit(-1, "", &[(0, 1), (1, 1)]));
    driver.at_once(commit_in(1, -1, &[(0, 5)]));
    driver.pass(8 * 24 * 3_600_000);
    assert_eq!(driver.offsets(), [(0, 1)]);
    driver.end(producer(1), false);
    driver.pass(3_600_000);
    assert_eq!(driver.offsets(), []);
    assert!(!driver.shard.offsets.has("g"));
}

#[test]
fn more_offsets_than_are_taken_back_at_once_go_all_the_same() {
    let mut driver = Driver::new();
    for batch in 0..25 {
        let all: Vec<_> = (0..1_000)
            .map(|partition| (batch * 1_000 + partition, 1))
            .collect();
        driver.at_once(commit(-1, "", &all));
    }
    driver.pass(7 * 24 * 3_600_000 + 600_000);
    assert_eq!(driver.offsets(), []);
}

#[test]
fn offsets_of_wanted_topics_cannot_be_deleted() {
    let subscribed = ErrorCode::GroupSubscribedToTopic.code();
    let not_empty = ErrorCode::NonEmptyGroup.code();
    let cases = [
        ("consumer", Some(wants(&["t"])), (0, vec![subscribed])),
        ("consumer", Some(wants(&["u"])), (0, vec![0])),
        ("consumer", Some(vec![]), (0, vec![subscribed])),
        ("connect", Some(wants(&["u"])), (not_empty, vec![])),
        ("connect", None, (0, vec![0])),
    ];
    for (protocol_type, subscription, expected) in cases {
        let mut driver = Driver::new();
        driver.write(None, recorded(protocol_type, 0, subscription.clone()));
        driver.write(None, committed(0, 0, -1));
        driver.reload();
        assert_eq!(
            deleted(&driver.at_once(delete(&[0]))),
            expected,
            "{protocol_type} {subscription:?}"
        );
    }
}

#[test]
fn a_group_whose_last_offset_went_is_found_until_the_next_sweep() {
    type Goes = fn(&mut Driver);
    let last_one_goes: [(&str, Goes); 2] = [
        ("deleted", |driver| {
            driver.at_once(commit(-1, "", &[(0, 1)]));
            assert_eq!(deleted(&driver.at_once(delete(&[0]))), (0, vec![0]));
        }),
        ("aborted", |driver| {
            driver.at_once(commit_in(1, -1, &[(0, 1)]));
            driver.end(producer(1), false);
        }),
    ];
    let state = |driver: &mut Driver| {
        let groups = vec!["g".into()];
        let Answer::DescribeGroups(described) =
            driver.at_once(Request::DescribeGroups { version: 6, groups })
        else {
            panic!()
        };
        let Answer::ListGroups(listed) = driver.at_once(Request::ListGroups(Default::default())) else {
            panic!()
        };
        assert_eq!(
            listed.groups.len(),
            usize::from(described[0].group_state != "Dead")
        );
        described[0].group_state.to_string()
    };
    for (how, go) in last_one_goes {
        let mut driver = Driver::new();
        go(&mut driver);
        for _ in 0..2 {
            assert_eq!(state(&mut driver), "Empty", "{how}");
            assert_eq!(deleted(&driver.at_once(delete(&[0]))), (0, vec![0]), "{how}");
            driver.reload();
        }
        let written = driver.written();
        driver.pass(600_000);
        assert_eq!(state(&mut driver), "Dead", "{how}");
        assert_eq!(driver.written() - written, 1, "{how}: the group is taken back");

        go(&mut driver);
        for expected in [ErrorCode::None, ErrorCode::GroupIdNotFound] {
            let Answer::DeleteGroups(results) = driver.at_once(Request::DeleteGroups(vec!["g".into()]))
            else {
                panic!()
            };
            assert_eq!(results[0].error_code, expected.code(), "{how}");
        }
        driver.reload();
        assert_eq!(state(&mut driver), "Dead", "{how}");
        assert!(driver.shard.emptied.is_empty());

        go(&mut driver);
        driver.at_once(commit(-1, "", &[(0, 2)]));
        assert!(driver.shard.emptied.is_empty(), "{how}: it has offsets again");
        go(&mut driver);
        driver.at_once(delete(&[0]));
        driver.ask(join("").version(3));
        assert!(driver.shard.emptied.is_empty(), "{how}: it has a member");
    }
}

/// What becomes of a deletion of the offset of the topic that is wanted, and of one that is not.
fn told_of_wanted_and_other(driver: &mut Driver) -> [i16; 2] {
    ["t", "u"].map(|topic| {
        let Request::OffsetDelete(mut request) = delete(&[0]) else {
            panic!()
        };
        request.topics[0].name = topic.into();
        deleted(&driver.at_once(Request::OffsetDelete(request))).1[0]
    })
}

#[test]
fn what_a_group_wants_is_what_it_wanted_when_its_generation_began() {
    let subscribed = ErrorCode::GroupSubscribedToTopic.code();
    let of = |topics: &[&str]| join("").version(3).saying(&wants(topics));
    let mut driver = Driver::new();
    let first = driver.ask(of(&["t"]));
    assert_eq!(
        told_of_wanted_and_other(&mut driver),
        [subscribed; 2],
        "in its first rebalance nobody knows"
    );
    driver.pass(3_000);
    let member = driver.joined(first).unwrap().member_id;
    assert_eq!(told_of_wanted_and_other(&mut driver), [subscribed, 0]);
    driver.at_once(sync(1, &member, &[]));
    // Another one that wants the same and speaks something else beside it, so that the group can come to speak that.
    let other = driver.ask(Join {
        protocols: vec![("range", wants(&["t"])), ("sticky", wants(&["t"]))],
        ..of(&[])
    });
    assert_eq!(
        told_of_wanted_and_other(&mut driver),
        [subscribed, 0],
        "who joins"
    );
    let again = driver.ask(Join {
        protocols: vec![("range", wants(&["t"])), ("sticky", wants(&["t"]))],
        ..join(&member).version(3)
    });
    let (other, _) = (
        driver.joined(other).unwrap().member_id,
        driver.joined(again).unwrap(),
    );
    driver.ask(sync(2, &other, &[]));
    driver.ask(sync(2, &member, &[]));
    driver.ask(Join {
        protocols: vec![("sticky", wants(&["u"]))],
        ..join(&other).version(3)
    });
    assert_eq!(
        told_of_wanted_and_other(&mut driver),
        [subscribed, 0],
        "who has come back with something else"
    );
    driver.at_once(leave(&[(&member, None)]));
    assert_eq!(
        told_of_wanted_and_other(&mut driver),
        [0, subscribed],
        "in the next generation"
    );
    driver.at_once(leave(&[(&other, None)]));
    driver.ask(of(&["t"]));
    assert_eq!(
        told_of_wanted_and_other(&mut driver),
        [0, 0],
        "who joins an empty group"
    );
}

#[test]
fn offsets_go_with_their_topic() {
    let mut driver = Driver::new();
    let made = |id: Uuid| {
        MetadataRecord::Topic(TopicRecord {
            name: "t".into(),
            topic_id: id,
            ..Default::default()
        })
    };
    let at = |index| Position { index, term: 1 };
    let (with_topic, _) = driver.image.apply(at(1), &[made(TOPIC)]).unwrap();
    driver.change(with_topic.clone());
    driver.at_once(commit(-1, "", &[(0, 1), (1, 1)]));
    driver.at_once(commit_in(1, -1, &[(2, 5)]));
    driver.write(None, committed(3, 0, -1));
    let mut other = commit_of(-1, "", &[(4, 1)]);
    other.topics[0].topic_id = OTHER;
    driver.at_once(Request::OffsetCommit {
        version: 10,
        request: other.into(),
    });
    let removed = MetadataRecord::RemoveTopic(RemoveTopicRecord {
        topic_id: TOPIC,
        ..Default::default()
    });
    let (made_again, _) = with_topic.apply(at(2), &[removed, made(OTHER)]).unwrap();
    driver.change(made_again);
    driver.end(producer(1), true);
    assert_eq!(driver.offsets(), [(4, 1)], "of the topic that has the name now");
    driver.reload();
    assert_eq!(driver.offsets(), [(4, 1)]);
}

#[test]
fn what_is_pending_for_a_topic_that_was_made_anew_outlives_what_was_committed_for_the_old_one() {
    // (of which topics offsets are pending, what is there when the transactions have committed)
    for (pending, left) in [
        (vec![OTHER], vec![(0, 10)]),
        (vec![TOPIC], vec![]),
        (vec![TOPIC, OTHER], vec![(0, 11)]),
    ] {
        let mut driver = Driver::new();
        driver.at_once(commit(-1, "", &[(0, 1)]));
        for (id, topic_id) in (0..).zip(&pending) {
            let Request::TxnOffsetCommit { request, .. } = commit_in(id, -1, &[(0, 10 + id)]) else {
                panic!()
            };
            let mut request = (*request).clone();
            request.topics[0].topic_id = *topic_id;
            driver.at_once(Request::TxnOffsetCommit {
                version: 6,
                request: request.into(),
            });
        }
        // The shard hears late that the first topic is gone.
        let timer = Timer::TopicDeleted {
            name: "t".into(),
            id: TOPIC,
            after: None,
        };
        driver.timers.insert(timer, driver.now);
        driver.pass(0);
        for id in (0..).take(pending.len()) {
            driver.end(producer(id), true);
        }
        assert_eq!(driver.offsets(), left, "{pending:?}");
        driver.reload();
        assert_eq!(driver.offsets(), left, "{pending:?}");
    }
}

#[test]
fn what_is_committed_for_a_topic_that_was_made_anew_outlives_what_is_pending_for_the_old_one() {
    for in_a_transaction in [false, true] {
        let mut driver = Driver::new();
        let (old, new) = (producer(0), producer(1));
        let pending = [(0, TOPIC), (1, OTHER)];
        for (id, topic_id) in pending.into_iter().take(1 + usize::from(in_a_transaction)) {
            let Request::TxnOffsetCommit { version, mut request } = commit_in(id, -1, &[(0, 10 + id)]) else {
                panic!()
            };
            Arc::make_mut(&mut request).topics[0].topic_id = topic_id;
            driver.at_once(Request::TxnOffsetCommit { version, request });
        }
        if !in_a_transaction {
            let Request::OffsetCommit { version, mut request } = commit(-1, "", &[(0, 11)]) else {
                panic!()
            };
            Arc::make_mut(&mut request).topics[0].topic_id = OTHER;
            driver.at_once(Request::OffsetCommit { version, request });
        }
        let timer = Timer::TopicDeleted {
            name: "t".into(),
            id: TOPIC,
            after: None,
        };
        driver.timers.insert(timer.clone(), driver.now);
        driver.pass(0);
        driver.end(new, true);
        driver.pass(60_000);
        assert_eq!(driver.offsets(), [(0, 11)], "{in_a_transaction}");
        assert!(driver.timers.contains_key(&timer), "the rest waits");
        driver.end(old, false);
        driver.pass(60_000);
        assert_eq!(driver.offsets(), [(0, 11)], "{in_a_transaction}");
        assert!(!driver.timers.contains_key(&timer), "nothing is left");
    }
}

#[test]
fn an_offset_of_a_topic_that_is_gone_is_not_told_of_the_one_with_its_name_and_goes_when_a_transaction_aborts()
{
    // (of which topics offsets are pending, of them: the one that is aborted, and then the one that is committed)
    for pending in [vec![OTHER], vec![OTHER, TOPIC]] {
        let mut driver = Driver::new();
        let at = |index| Position { index, term: 1 };
        let made = MetadataRecord::Topic(TopicRecord {
            name: "t".into(),
            topic_id: OTHER,
            ..Default::default()
        });
        let (with_other, _) = driver.image.apply(at(1), &[made]).unwrap();
        driver.change(with_other);
        if pending.len() == 1 {
            let Request::OffsetCommit { version, mut request } = commit(-1, "", &[(0, 5_000)]) else {
                panic!()
            };
            Arc::make_mut(&mut request).topics[0].topic_id = TOPIC;
            driver.at_once(Request::OffsetCommit { version, request });
        }
        for (id, topic_id) in (0..).zip(&pending) {
            let Request::TxnOffsetCommit { version, mut request } = commit_in(id, -1, &[(0, 5_000)]) else {
                panic!()
            };
            Arc::make_mut(&mut request).topics[0].topic_id = *topic_id;
            driver.at_once(Request::TxnOffsetCommit { version, request });
        }
        let timer = Timer::TopicDeleted {
            name: "t".into(),
            id: TOPIC,
            after: None,
        };
        driver.timers.insert(timer, driver.now);
        driver.pass(0);
        for id in (0..).take(pending.len()) {
            driver.end(producer(id), id == 1);
        }
        let answer = driver.at_once(fetch_named(Uuid::ZERO, &[0], false));
        assert_eq!(fetched(&answer), [("t".into(), 0, -1, 0)], "{pending:?}");
        assert_eq!(driver.offsets(), [], "{pending:?}");
        let kept = |driver: &Driver| {
            driver
                .shard
                .offsets
                .groups()
                .map(|(_, kept)| kept.len())
                .sum::<usize>()
        };
        assert_eq!(kept(&driver), 1, "it had to wait");
        driver.pass(60_000);
        assert_eq!(kept(&driver), 0, "{pending:?}");
        assert!(driver.timers.keys().eq([&Timer::ExpireOffsets]));
    }
}
