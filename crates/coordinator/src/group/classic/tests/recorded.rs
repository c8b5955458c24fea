//! What is recorded of a group, and told of it.

use bytes::Bytes;
use klamm_model::ErrorCode;
use klamm_protocol::ByteString;
use klamm_protocol::messages::{ListGroupsRequest, OffsetCommitRequest};

use super::code;
use crate::contract::{Shard, Ticket};
use crate::group::driver::{Driver, commit, commit_of, heartbeat, join, leave};
use crate::group::record::GroupRecord;
use crate::group::request::Request;
use crate::group::{Answer, Timer};

#[test]
fn a_group_is_recorded_when_it_is_made_when_it_is_stable_and_when_it_is_empty() {
    let mut driver = Driver::new();
    let (all, generation) = driver.stable(&[join("")]);
    assert_eq!(code(&driver.at_once(leave(&[(&*all[0], None)]))), 0);
    let records: Vec<_> = driver
        .written_since(0)
        .into_iter()
        .map(|record| match record {
            GroupRecord::ClassicGroup(_, Some(value)) => (
                value.generation,
                value.protocol_type.to_string(),
                value.protocol.map(|text| text.to_string()),
                value.leader.map(|text| text.to_string()),
                value.members.len(),
            ),
            other => panic!("{other:?}"),
        })
        .collect();
    let (range, leader) = (Some("range".to_owned()), Some(all[0].clone()));
    let expected = vec![
        (0, String::new(), None, None, 0),
        (generation, "consumer".to_owned(), range, leader, 1),
        (generation + 1, "consumer".to_owned(), None, None, 0),
    ];
    assert_eq!(records, expected);
    assert!(
        !driver
            .timers
            .keys()
            .any(|timer| matches!(timer, Timer::ClassicSession { .. }))
    );
}

#[test]
fn a_group_is_not_built_again_from_what_it_records() {
    let mut driver = Driver::new();
    driver.stable(&[join("").instance("i"), join("")]);
    let back = Request::from(join("").instance("i"));
    let result = driver.decide(|shard, around, config| shard.decide(around, config, Ticket(u64::MAX), back));
    assert_eq!((result.records.len(), result.needs_replay()), (1, false));
    // With something else that is recorded, all of it is replayed.
    let mut both = result;
    both.append(driver.decide(|shard, around, config| {
        shard.decide(
            around,
            config,
            Ticket(u64::MAX),
            Request::DeleteGroups(vec!["h".into()]),
        )
    }));
    assert!(!both.needs_replay(), "nothing is recorded of this");
    driver.at_once(Request::OffsetCommit {
        version: 9,
        request: OffsetCommitRequest {
            group_id: "h".into(),
            ..commit_of(-1, "", &[(0, 1)])
        }
        .into(),
    });
    both.append(driver.decide(|shard, around, config| {
        shard.decide(
            around,
            config,
            Ticket(u64::MAX),
            Request::DeleteGroups(vec!["h".into()]),
        )
    }));
    assert!(both.needs_replay());
}

#[test]
fn a_loaded_group_goes_on_where_it_was_recorded() {
    let mut driver = Driver::new();
    let (all, generation) = driver.stable(&[join(""), join("").instance("i")]);
    let before = driver.describe(6);
    driver.reload();
    assert_eq!(driver.describe(6), before);
    driver.pass(9_999);
    for (member, instance) in [(&*all[0], None), (&*all[1], Some("i"))] {
        assert_eq!(code(&driver.at_once(heartbeat(generation, member, instance))), 0);
    }
    // A rebalance that nobody has recorded did not happen.
    driver.ask(join(&all[0]));
    driver.reload();
    assert_eq!(code(&driver.at_once(heartbeat(generation, &all[0], None))), 0);
    driver.pass(10_000);
    assert_eq!(driver.state(), "Empty");
    driver.reload();
    assert_eq!(driver.state(), "Empty");
}

#[test]
fn groups_are_described_listed_and_deleted() {
    let mut driver = Driver::new();
    driver.at_once(commit(-1, "", &[(0, 1)]));
    let list = |driver: &mut Driver, states: &[&str], types: &[&str]| {
        let texts = |all: &[&str]| all.iter().map(|text| ByteString::from(*text)).collect();
        let asked = ListGroupsRequest {
            states_filter: texts(states),
            types_filter: texts(types),
            ..Default::default()
        };
        let Answer::ListGroups(answer) = driver.at_once(Request::ListGroups(asked)) else {
            panic!()
        };
        let listed = answer.groups.iter().map(|group| {
            format!(
                "{} {} {} {}",
                group.group_id, group.protocol_type, group.group_state, group.group_type
            )
        });
        listed.collect::<Vec<_>>()
    };
    assert_eq!(list(&mut driver, &[], &[]), ["g  Empty classic"]);
    assert_eq!(driver.state(), "Empty");
    let (_, _) = driver.stable(&[join("").version(3)]);
    assert_eq!(list(&mut driver, &[], &[]), ["g consumer Stable classic"]);
    for (states, types, found) in [
        (vec!["stable", "Empty"], vec![], 1),
        (vec!["STABLE "], vec!["Classic"], 1),
        (vec!["Empty"], vec![], 0),
        (vec!["nonsense"], vec![], 0),
        (vec![], vec!["consumer"], 0),
        (vec![], vec!["nonsense"], 0),
    ] {
        assert_eq!(
            list(&mut driver, &states, &types).len(),
            found,
            "{states:?} {types:?}"
        );
    }
    let described = driver.describe(6);
    assert_eq!(
        (&*described.protocol_data, &*described.members[0].client_host),
        ("range", "/127.0.0.1")
    );
    assert_eq!(described.members[0].member_metadata, "topics");
    let delete = |driver: &mut Driver| {
        let Answer::DeleteGroups(results) =
            driver.at_once(Request::DeleteGroups(vec!["g".into(), "g".into(), "h".into()]))
        else {
            panic!()
        };
        results.iter().map(|result| result.error_code).collect::<Vec<_>>()
    };
    let missing = ErrorCode::GroupIdNotFound.code();
    assert_eq!(delete(&mut driver), [ErrorCode::NonEmptyGroup.code(), missing]);
    driver.pass(70_000);
    assert_eq!(delete(&mut driver), [0, missing]);
    assert_eq!(delete(&mut driver), [missing, missing]);
    for (version, expected) in [(5, 0), (6, missing)] {
        let described = driver.describe(version);
        assert_eq!(
            (described.error_code, &*described.group_state),
            (expected, "Dead")
        );
        assert_eq!(described.error_message.is_some(), version >= 6);
    }
    driver.reload();
    assert!(driver.shard.groups.is_empty() && !driver.shard.offsets.has("g"));
}

#[test]
fn what_a_member_says_may_be_as_large_as_it_likes_and_is_copied() {
    let mut driver = Driver::new();
    let frame = Bytes::from(vec![b'x'; 1 << 20]);
    let mut request = Request::from(join("").version(3));
    if let Request::JoinGroup { request, .. } = &mut request {
        request.protocols[0].metadata = frame.slice(10..20);
    }
    driver.ask(request);
    let own = frame.as_ptr_range();
    let group = driver.shard.groups["g"].classic().unwrap();
    let kept = group.members.iter().next().unwrap().metadata("range");
    assert!(!own.contains(&kept.as_ptr()), "it would keep the frame");
}
