//! What is recorded of a group, and told of it; who commits.

use klamm_model::ErrorCode;

use super::{by_expression, of_instance, refused};
use crate::contract::CoordinatorRecord;
use crate::group::consumer::MemberState;
use crate::group::consumer::testing::{Driven, joining, owning, quiet, told};
use crate::group::offsets::commit::Committer;

#[test]
fn offsets_are_committed_by_who_has_the_partition() {
    let mut driven = Driven::new(&[("t", 4)]);
    let topic = driven.topic_id("t");
    driven.ask(&joining("a", &["t"])).unwrap();
    driven.ask(&joining("b", &["t"])).unwrap();
    driven.ask(&quiet("a", 2)).unwrap();
    driven.ask(&owning("a", 2, topic, &[0, 1])).unwrap();
    driven.ask(&quiet("b", 3)).unwrap();
    let group = driven.group.as_ref().unwrap();
    let by = |member_id, generation, version: Option<i16>| {
        let transactional = version.is_none();
        let by = Committer {
            member_id,
            instance_id: None,
            generation,
            transactional,
        };
        (by, version.unwrap_or(6))
    };
    // (who, with which epoch, version, answer for partition 0)
    let table = [
        (by("a", 3, Some(9)), Ok(())),
        (by("a", 2, Some(9)), Ok(())),
        (by("a", 1, Some(9)), Err(ErrorCode::StaleMemberEpoch)),
        (by("a", 4, Some(9)), Err(ErrorCode::StaleMemberEpoch)),
        (by("a", 3, Some(8)), Err(ErrorCode::UnsupportedVersion)),
        (by("a", 3, None), Ok(())),
        (by("b", 2, Some(9)), Err(ErrorCode::StaleMemberEpoch)),
        (by("c", 3, Some(9)), Err(ErrorCode::UnknownMemberId)),
        (by("", -1, Some(9)), Err(ErrorCode::UnknownMemberId)),
        (by("", -1, None), Ok(())),
    ];
    for ((committer, version), expected) in table {
        let checked = group
            .check_commit(&committer, version)
            .and_then(|check| check.partition(&topic, 0));
        assert_eq!(checked, expected, "{committer:?}");
    }
    let older = group.check_commit(&by("a", 2, Some(9)).0, 9).unwrap();
    assert_eq!(
        older.partition(&topic, 2),
        Err(ErrorCode::StaleMemberEpoch),
        "it has let go"
    );
    assert_eq!(
        older.partition(&klamm_model::Uuid::ZERO, 0),
        Err(ErrorCode::StaleMemberEpoch)
    );

    let table = [
        (None, -1, Ok(())),
        (Some("a"), 3, Ok(())),
        (Some("a"), 2, Err(ErrorCode::StaleMemberEpoch)),
        (Some("c"), 3, Err(ErrorCode::UnknownMemberId)),
        (None, 3, Err(ErrorCode::UnknownMemberId)),
    ];
    for (member, epoch, expected) in table {
        assert_eq!(group.check_fetch(member, epoch), expected, "{member:?} {epoch}");
    }
}

#[test]
fn a_group_is_told_as_it_is() {
    let mut driven = Driven::new(&[("t", 4), ("gone", 1)]);
    driven.ask(&joining("a", &["t", "gone"])).unwrap();
    driven.ask(&of_instance("i", joining("b", &["t"]))).unwrap();
    driven.ask(&quiet("a", 2)).unwrap();
    driven.cluster.delete("gone");
    let group = driven
        .group
        .as_ref()
        .unwrap()
        .describe(&driven.cluster.image(), &driven.config);
    assert_eq!(
        (&*group.group_state, group.group_epoch, group.assignment_epoch),
        ("Reconciling", 3, 3)
    );
    let [a, b] = &group.members[..] else {
        panic!("{group:?}")
    };
    let partitions = |assignment: &klamm_protocol::messages::consumer_group_describe_response::Assignment| {
        let topics = assignment.topic_partitions.iter();
        topics
            .map(|topic| (topic.topic_name.to_string(), topic.partitions.clone()))
            .collect::<Vec<_>>()
    };
    // What it is still to let go is its own.
    let [(topic, held)] = &partitions(&a.assignment)[..] else {
        panic!("{a:?}")
    };
    assert_eq!((topic.as_str(), held.len()), ("t", 4));
    assert_eq!(partitions(&b.assignment), []);
    let targets = [&a.target_assignment, &b.target_assignment].map(|target| partitions(target)[0].1.len());
    assert_eq!(targets.iter().sum::<usize>(), 4);
    assert_eq!(
        (b.instance_id.as_deref(), b.member_epoch, b.member_type),
        (Some("i"), 3, 1)
    );
    assert_eq!((&*a.client_id, &*a.client_host), ("client", "/127.0.0.1"));
    assert_eq!(a.subscribed_topic_names, ["gone", "t"]);
    assert_eq!(a.subscribed_topic_regex.as_deref(), Some(""));
}

#[test]
fn a_state_from_the_future_is_left_by_joining_anew() {
    let mut driven = Driven::new(&[("t", 4)]);
    driven.ask(&joining("a", &["t"])).unwrap();
    let mut current = driven.member("a").current.clone();
    current.state = MemberState::Unknown;
    let record = driven
        .group
        .as_ref()
        .unwrap()
        .recorder()
        .current(&"a".into(), Some(&current));
    driven.group.as_mut().unwrap().replay(&record);
    let (code, message) = refused(&mut driven, 1, &quiet("a", 2));
    assert_eq!(code, ErrorCode::FencedMemberEpoch);
    assert!(message.contains("unknown state"), "{message}");
    let answer = driven.ask(&joining("a", &["t"])).unwrap();
    assert_eq!(
        told(&answer),
        Some(vec![(driven.topic_id("t"), vec![0, 1, 2, 3])])
    );
    assert_eq!(driven.member("a").current.state, MemberState::Stable);
}

#[test]
fn tombstones_leave_nothing() {
    let mut driven = Driven::new(&[("a1", 2)]);
    driven.ask(&by_expression("m", "a.*")).unwrap();
    driven.ask(&joining("n", &["a1"])).unwrap();
    for record in driven.group.as_ref().unwrap().tombstones() {
        let key = record.encode().unwrap().key;
        driven.log.push((record, key));
    }
    for compacted in [false, true] {
        assert_eq!(driven.reloaded(compacted), None);
    }
}
