//! Groups of both protocols in one shard.

use klamm_model::ErrorCode;
use klamm_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use klamm_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, ListGroupsRequest, OffsetDeleteRequest,
    offset_delete_request,
};

use crate::group::answer::Answer;
use crate::group::consumer::testing::{Cluster, joining, owning, quiet, told};
use crate::group::driver::{
    Driver, commit, commit_codes, commit_of, fetch_all, fetched, heartbeat, join, leave, sync,
};
use crate::group::request::{Client, Request};
use crate::group::shard::Timer;

fn driver() -> (Driver, Cluster) {
    let mut cluster = Cluster::default();
    // The id that commits of the driver name.
    cluster.topic_with_id("t", klamm_model::Uuid([7; 16]), 4, &["r"]);
    let mut driver = Driver::new();
    driver.config.consumer_assignment_interval = std::time::Duration::ZERO;
    driver.change(cluster.image());
    (driver, cluster)
}

fn beat(driver: &mut Driver, request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
    let request = Request::ConsumerGroupHeartbeat {
        client: Client {
            client_id: "client".into(),
            client_host: "/127.0.0.1".into(),
        },
        version: 1,
        request: Box::new(request),
    };
    match driver.at_once(request) {
        Answer::ConsumerGroupHeartbeat(answer) => answer,
        other => panic!("{other:?}"),
    }
}

/// Code, message and state.
fn described(driver: &mut Driver, id: &str) -> (i16, String, String) {
    match driver.at_once(Request::ConsumerGroupDescribe(vec![id.into()])) {
        Answer::ConsumerGroupDescribe(groups) => {
            let message = groups[0].error_message.as_deref().unwrap_or_default().to_owned();
            (groups[0].error_code, message, groups[0].group_state.to_string())
        }
        other => panic!("{other:?}"),
    }
}

/// Id, state and type.
fn listed(driver: &mut Driver, types: &[&str]) -> Vec<[String; 3]> {
    let request = ListGroupsRequest {
        types_filter: types.iter().map(|name| (*name).into()).collect(),
        ..Default::default()
    };
    match driver.at_once(Request::ListGroups(request)) {
        Answer::ListGroups(answer) => {
            let groups = answer.groups.into_iter();
            groups
                .map(|group| {
                    [group.group_id, group.group_state, group.group_type].map(|text| text.to_string())
                })
                .collect()
        }
        other => panic!("{other:?}"),
    }
}

fn code_of(answer: &Answer) -> ErrorCode {
    let code = match answer {
        Answer::JoinGroup(answer) => answer.error_code,
        Answer::SyncGroup(answer) => answer.error_code,
        Answer::Heartbeat(answer) => answer.error_code,
        Answer::LeaveGroup(answer) => answer.members[0].error_code,
        Answer::OffsetFetch(answer) => answer.error_code,
        Answer::DeleteGroups(groups) => groups[0].error_code,
        Answer::OffsetDelete(answer) => answer.topics[0].partitions[0].error_code,
        Answer::OffsetCommit(_) => commit_codes(answer)[0],
        other => panic!("{other:?}"),
    };
    ErrorCode::from_code(code).unwrap()
}

#[test]
fn a_group_lives_in_the_shard() {
    let (mut driver, mut cluster) = driver();
    let answer = beat(&mut driver, joining("m", &["t"]));
    assert_eq!((answer.error_code, answer.member_epoch), (0, 2));
    assert_eq!(listed(&mut driver, &[]), [["g", "Stable", "consumer"]]);
    assert_eq!(listed(&mut driver, &["classic"]), [[""; 3]; 0]);
    assert_eq!(described(&mut driver, "g"), (0, String::new(), "Stable".into()));

    // Topics grow, the shard is loaded again, and the member is silent.
    cluster.grow("t", 5);
    driver.change(cluster.image());
    let answer = beat(&mut driver, quiet("m", 2));
    assert_eq!(told(&answer).unwrap()[0].1, [0, 1, 2, 3, 4]);
    driver.reload();
    assert_eq!(beat(&mut driver, quiet("m", 3)).member_epoch, 3);
    driver.pass(45_000);
    assert_eq!(described(&mut driver, "g").2, "Empty");
    assert_eq!(driver.timers.keys().collect::<Vec<_>>(), [&Timer::ExpireOffsets]);
}

#[test]
fn expressions_are_looked_at_again_behind_a_heartbeat() {
    let (mut driver, mut cluster) = driver();
    let request = ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: None,
        subscribed_topic_regex: Some("[tu]".into()),
        ..joining("m", &[])
    };
    assert_eq!(beat(&mut driver, request).member_epoch, 2);
    let timer = Timer::Expressions("g".into());
    assert!(!driver.timers.contains_key(&timer));
    cluster.topic("u", 1);
    driver.change(cluster.image());
    driver.pass(10_001);
    assert_eq!(beat(&mut driver, quiet("m", 2)).member_epoch, 2);
    assert_eq!(driver.timers.get(&timer), Some(&driver.now));
    driver.pass(0);
    assert!(!driver.timers.contains_key(&timer));
    let answer = beat(&mut driver, quiet("m", 2));
    assert_eq!((answer.member_epoch, told(&answer).unwrap().len()), (3, 2));
    // Of a group that is gone there is nothing to look at.
    beat(&mut driver, quiet("m", -1));
    driver.timers.insert(timer, driver.now);
    driver.pass(0);
    assert_eq!(described(&mut driver, "g").2, "Empty");
}

#[test]
fn a_request_for_a_group_of_another_kind_is_refused() {
    let (mut driver, _) = driver();
    assert_eq!(described(&mut driver, "").0, ErrorCode::InvalidGroupId.code());
    assert_eq!(
        described(&mut driver, "g"),
        (69, "Group g not found.".into(), String::new())
    );
    // There are offsets, and nothing else: a classic group without members.
    driver.at_once(commit(-1, "", &[(0, 5)]));
    assert_eq!(
        described(&mut driver, "g"),
        (69, "Group g is not a consumer group.".into(), String::new())
    );
    let answer = beat(&mut driver, quiet("m", 1));
    assert_eq!(
        answer.error_message.as_deref(),
        Some("Group g is not a consumer group.")
    );
    assert_eq!(answer.error_code, ErrorCode::GroupIdNotFound.code());

    assert_eq!(beat(&mut driver, joining("m", &["t"])).error_code, 0);
    let table: [(Request, ErrorCode); 4] = [
        (sync(2, "m", &[]), ErrorCode::UnknownMemberId),
        (heartbeat(2, "m", None), ErrorCode::UnknownMemberId),
        (join("").version(3).into(), ErrorCode::InconsistentGroupProtocol),
        (Request::DeleteGroups(vec!["g".into()]), ErrorCode::NonEmptyGroup),
    ];
    for (request, code) in table {
        let answer = driver.at_once(request);
        assert_eq!(code_of(&answer), code, "{answer:?}");
    }
    match driver.at_once(Request::DescribeGroups {
        version: 6,
        groups: vec!["g".into()],
    }) {
        Answer::DescribeGroups(groups) => {
            assert_eq!((groups[0].error_code, &*groups[0].group_state), (69, "Dead"));
            assert_eq!(
                groups[0].error_message.as_deref(),
                Some("Group g is not a classic group.")
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(described(&mut driver, "g").2, "Stable");
}

#[test]
fn an_empty_group_gives_way_to_one_of_the_other_protocol() {
    let (mut driver, _) = driver();
    // Classic, consumer, classic, and each time the shard is loaded.
    for round in 0..2 {
        let ticket = driver.ask(join("").version(3));
        driver.pass(3_000);
        let joined = driver.joined(ticket).unwrap();
        assert_eq!(joined.error_code, 0, "{round}");
        let member = joined.member_id;
        driver.at_once(sync(joined.generation_id, &member, &[(&*member, "all")]));
        driver.reload();
        assert_eq!(listed(&mut driver, &[])[0][2], "classic");
        // It has a member: whoever comes is told so.
        assert_eq!(beat(&mut driver, joining("m", &["t"])).error_code, 69);
        driver.at_once(leave(&[(&*member, None)]));

        assert_eq!(beat(&mut driver, joining("m", &["t"])).member_epoch, 2);
        driver.reload();
        assert_eq!(listed(&mut driver, &[]), [["g", "Stable", "consumer"]]);
        beat(&mut driver, quiet("m", -1));
        // Somebody who thinks that it is in the group already.
        let unknown = driver.at_once(join("somebody"));
        assert_eq!(code_of(&unknown), ErrorCode::UnknownMemberId);
        assert_eq!(listed(&mut driver, &[]), [["g", "Empty", "consumer"]]);
    }
}

#[test]
fn a_refused_member_leaves_the_group_as_it_was() {
    let (mut driver, _) = driver();
    driver.at_once(commit(-1, "", &[(0, 5)]));
    let written = driver.written();
    let bad = ConsumerGroupHeartbeatRequest {
        subscribed_topic_regex: Some("(".into()),
        ..joining("m", &["t"])
    };
    assert_eq!(
        beat(&mut driver, bad).error_code,
        ErrorCode::InvalidRegularExpression.code()
    );
    assert_eq!(driver.written(), written);
}

#[test]
fn offsets_are_of_members_and_outlive_them() {
    let (mut driver, _) = driver();
    let topic = klamm_model::Uuid([7; 16]);
    beat(&mut driver, joining("a", &["t"]));
    beat(&mut driver, joining("b", &["t"]));
    beat(&mut driver, quiet("a", 2));
    beat(&mut driver, owning("a", 2, topic, &[0, 1]));
    beat(&mut driver, quiet("b", 3));
    let table = [
        (commit(3, "a", &[(0, 10)]), ErrorCode::None),
        (commit(2, "a", &[(1, 11)]), ErrorCode::None),
        (commit(2, "a", &[(0, 1), (2, 1)]), ErrorCode::StaleMemberEpoch),
        (commit(9, "a", &[(0, 1)]), ErrorCode::StaleMemberEpoch),
        (commit(2, "b", &[(2, 1)]), ErrorCode::StaleMemberEpoch),
        (commit(3, "x", &[(0, 1)]), ErrorCode::UnknownMemberId),
        (commit(-1, "", &[(0, 1)]), ErrorCode::UnknownMemberId),
        (
            Request::OffsetCommit {
                version: 8,
                request: commit_of(3, "a", &[(0, 1)]).into(),
            },
            ErrorCode::UnsupportedVersion,
        ),
        (commit(3, "b", &[(2, 12)]), ErrorCode::None),
    ];
    for (request, code) in table {
        let answer = driver.at_once(request);
        assert_eq!(code_of(&answer), code, "{answer:?}");
    }
    let of_member = |member: &str, member_epoch| Request::OffsetFetch {
        require_stable: false,
        group: Box::new(OffsetFetchRequestGroup {
            group_id: "g".into(),
            member_id: Some(member.into()),
            member_epoch,
            topics: None,
            ..Default::default()
        }),
    };
    for (member, epoch, code) in [
        ("a", 3, ErrorCode::None),
        ("a", 2, ErrorCode::StaleMemberEpoch),
        ("x", 3, ErrorCode::UnknownMemberId),
    ] {
        assert_eq!(code_of(&driver.at_once(of_member(member, epoch))), code);
    }
    let found = fetched(&driver.at_once(fetch_all(false)));
    assert_eq!(
        found
            .iter()
            .map(|(_, at, offset, _)| (*at, *offset))
            .collect::<Vec<_>>(),
        [(0, 10), (1, 11), (2, 12)]
    );

    let delete = || {
        Request::OffsetDelete(OffsetDeleteRequest {
            group_id: "g".into(),
            topics: vec![offset_delete_request::OffsetDeleteRequestTopic {
                name: "t".into(),
                partitions: vec![offset_delete_request::OffsetDeleteRequestPartition { partition_index: 0 }],
            }],
        })
    };
    assert_eq!(
        code_of(&driver.at_once(delete())),
        ErrorCode::GroupSubscribedToTopic
    );
    // While members subscribe, offsets do not grow old.
    driver.config.offsets_retention = std::time::Duration::from_hours(1);
    for _ in 0..240 {
        driver.pass(30_000);
        beat(&mut driver, joining("a", &["t"]));
    }
    assert_eq!(fetched(&driver.at_once(fetch_all(false))).len(), 3);
    beat(&mut driver, quiet("a", -1));
    assert_eq!(described(&mut driver, "g").2, "Empty");
    driver.pass(3_600_000);
    assert_eq!(
        described(&mut driver, "g"),
        (69, "Group g not found.".into(), String::new())
    );
}

#[test]
fn an_administrator_takes_members_out_and_deletes_the_group() {
    let (mut driver, _) = driver();
    beat(&mut driver, joining("a", &["t"]));
    let of_instance = ConsumerGroupHeartbeatRequest {
        instance_id: Some("i".into()),
        ..joining("s", &["t"])
    };
    beat(&mut driver, of_instance);
    let table = [
        (("x", None), ErrorCode::UnknownMemberId),
        (("", Some("j")), ErrorCode::UnknownMemberId),
        (("a", Some("i")), ErrorCode::FencedInstanceId),
        (("", Some("i")), ErrorCode::None),
        (("a", None), ErrorCode::None),
    ];
    for (member, code) in table {
        let answer = driver.at_once(leave(&[member]));
        assert_eq!(code_of(&answer), code, "{member:?}");
    }
    assert_eq!(described(&mut driver, "g").2, "Empty");
    let deleted = driver.at_once(Request::DeleteGroups(vec!["g".into()]));
    assert_eq!(code_of(&deleted), ErrorCode::None);
    assert_eq!(described(&mut driver, "g").0, 69);
    driver.reload();
    assert_eq!(described(&mut driver, "g").0, 69);
}
