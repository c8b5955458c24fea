//! What groups of the consumer protocol follow, by the broker's keys and by their own.

use klamm_model::ErrorCode;
use klamm_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use klamm_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    JoinGroupRequest, consumer_group_describe_response::DescribedGroup,
};

use crate::client::Client;
use crate::fixture::{Fixture, Settings};
use crate::groups;

/// A group, in the numbers of the protocol.
const GROUP: i8 = 32;

/// A request of a new member of `g`, which subscribes to `t`.
pub(crate) fn joining(member: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec!["t".into()]),
        topic_partitions: Some(Vec::new()),
        ..living(member, 0)
    }
}

/// A request of a member of `g` that has nothing to say.
pub(crate) fn living(member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: member.to_owned().into(),
        member_epoch: epoch,
        ..Default::default()
    }
}

/// Has a member say something.
pub(crate) async fn beat(
    client: &mut Client,
    request: &ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    client.ask(1, request).await.unwrap()
}

/// Describes `g`.
pub(crate) async fn describe(client: &mut Client) -> DescribedGroup {
    let request = ConsumerGroupDescribeRequest {
        group_ids: vec!["g".into()],
        ..Default::default()
    };
    client.ask(1, &request).await.unwrap().groups.remove(0)
}

/// A node with these keys set, and this key of `g`.
async fn start(set: Settings<'_>, own: Option<(&str, &str)>) -> Fixture {
    let fixture = groups::start(set).await;
    if let Some((key, value)) = own {
        fixture.connect().set(GROUP, "g", key, value).await;
    }
    fixture
}

type Case<'a, T> = (Settings<'a>, Option<(&'a str, &'a str)>, T);

#[tokio::test(start_paused = true)]
async fn members_are_told_how_often_to_come() {
    let own = "consumer.heartbeat.interval.ms";
    let cases: [Case<'_, i32>; 5] = [
        (&[], None, 5_000),
        (&[("group.consumer.heartbeat.interval.ms", "7000")], None, 7_000),
        (&[], Some((own, "6000")), 6_000),
        (
            &[("group.consumer.min.heartbeat.interval.ms", "100")],
            Some((own, "200")),
            200,
        ),
        (
            &[("group.consumer.max.heartbeat.interval.ms", "20000")],
            Some((own, "17000")),
            17_000,
        ),
    ];
    for (set, own, expected) in cases {
        let fixture = start(set, own).await;
        let told = beat(&mut fixture.connect(), &joining("m")).await;
        assert_eq!(
            (told.error_code, told.heartbeat_interval_ms),
            (0, expected),
            "{set:?} {own:?}"
        );
        if expected != 17_000 {
            continue;
        }
        // Stored under other bounds, it is brought within those that hold now.
        let fixture = fixture
            .restart(|_| {}, &[("offsets.topic.num.partitions", "1")])
            .await;
        let fixture = fixture.unwrap();
        fixture.pass(100).await;
        let told = beat(&mut fixture.connect(), &joining("n")).await;
        assert_eq!((told.error_code, told.heartbeat_interval_ms), (0, 15_000));
    }
}

#[tokio::test(start_paused = true)]
async fn a_consumer_member_may_be_silent_so_long() {
    let own = "consumer.session.timeout.ms";
    let cases: [Case<'_, u64>; 5] = [
        (&[], None, 45_000),
        (&[("group.consumer.session.timeout.ms", "50000")], None, 50_000),
        (&[], Some((own, "55000")), 55_000),
        (
            &[("group.consumer.min.session.timeout.ms", "30000")],
            Some((own, "35000")),
            35_000,
        ),
        (
            &[("group.consumer.max.session.timeout.ms", "70000")],
            Some((own, "65000")),
            65_000,
        ),
    ];
    for (set, own, timeout_ms) in cases {
        let fixture = start(set, own).await;
        let mut client = fixture.connect();
        assert_eq!(beat(&mut client, &joining("m")).await.error_code, 0);
        fixture.pass(timeout_ms - 500).await;
        assert_eq!(describe(&mut client).await.members.len(), 1, "{set:?} {own:?}");
        fixture.pass(1_000).await;
        assert_eq!(describe(&mut client).await.members.len(), 0, "{set:?} {own:?}");
        let told = beat(&mut client, &living("m", 1)).await;
        assert_eq!(told.error_code, ErrorCode::UnknownMemberId.code());
    }
}

#[tokio::test(start_paused = true)]
async fn a_consumer_group_has_so_many_members() {
    let full = ErrorCode::GroupMaxSizeReached.code();
    for (set, expected) in [(None, 0), (Some(("group.consumer.max.size", "1")), full)] {
        let fixture = start(set.as_slice(), None).await;
        let mut client = fixture.connect();
        assert_eq!(beat(&mut client, &joining("m")).await.error_code, 0);
        assert_eq!(
            beat(&mut client, &joining("n")).await.error_code,
            expected,
            "{set:?}"
        );
    }
}

/// How many milliseconds after the first member's assignment a second one is taken into account.
async fn assigned_after(fixture: &Fixture) -> i64 {
    let mut client = fixture.connect();
    let began = fixture.now();
    assert_eq!(beat(&mut client, &joining("m")).await.error_code, 0);
    let mut epoch = beat(&mut client, &joining("n")).await.member_epoch;
    loop {
        let group = describe(&mut client).await;
        if group.assignment_epoch == group.group_epoch {
            return fixture.now() - began;
        }
        fixture.pass(50).await;
        epoch = beat(&mut client, &living("n", epoch)).await.member_epoch;
    }
}

#[tokio::test(start_paused = true)]
async fn assignments_are_made_so_seldom() {
    const BROKER: &str = "group.consumer.assignment.interval.ms";
    let own = "consumer.assignment.interval.ms";
    let cases: [Case<'_, i64>; 5] = [
        (&[], None, 1_000),
        (&[(BROKER, "3000")], None, 3_000),
        (&[(BROKER, "3000")], Some((own, "2000")), 2_000),
        (
            &[("group.consumer.max.assignment.interval.ms", "20000")],
            Some((own, "18000")),
            18_000,
        ),
        (&[], Some((own, "0")), 0),
    ];
    for (set, own, expected) in cases {
        let mut fixture = start(set, own).await;
        let took = assigned_after(&fixture).await;
        assert!(
            (expected..expected + 200).contains(&took),
            "{set:?} {own:?}: {took}"
        );
        if expected == 0 {
            let set = [
                ("offsets.topic.num.partitions", "1"),
                ("group.consumer.min.assignment.interval.ms", "500"),
            ];
            fixture = fixture.restart(|_| {}, &set).await.unwrap();
            fixture.pass(60_000).await;
            let took = assigned_after(&fixture).await;
            assert!((500..700).contains(&took), "brought within the bounds: {took}");
        }
    }
    let fixture = start(&[], None).await;
    fixture.connect().set(4, "", BROKER, "4000").await;
    let took = assigned_after(&fixture).await;
    assert!((4_000..4_200).contains(&took), "set while the node runs: {took}");
}

#[tokio::test(start_paused = true)]
async fn only_some_assignors_may_be_asked_for() {
    let unsupported = ErrorCode::UnsupportedAssignor.code();
    for (set, range, default) in [
        (None, 0, "uniform"),
        (
            Some(("group.consumer.assignors", "uniform")),
            unsupported,
            "uniform",
        ),
        (Some(("group.consumer.assignors", "range,uniform")), 0, "range"),
    ] {
        let fixture = start(set.as_slice(), None).await;
        let mut client = fixture.connect();
        assert_eq!(beat(&mut client, &joining("m")).await.error_code, 0);
        assert_eq!(&*describe(&mut client).await.assignor_name, default, "{set:?}");
        let asks = ConsumerGroupHeartbeatRequest {
            server_assignor: Some("range".into()),
            ..joining("n")
        };
        assert_eq!(beat(&mut client, &asks).await.error_code, range, "{set:?}");
    }
}

/// A request to join `g` as a consumer of `t` that speaks the classic protocol.
pub(crate) fn joining_classic() -> JoinGroupRequest {
    let subscription = b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff";
    JoinGroupRequest {
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: subscription[..].into(),
            ..Default::default()
        }],
        ..groups::joining("", 10_000)
    }
}

#[tokio::test(start_paused = true)]
async fn groups_change_their_protocol_as_far_as_they_may() {
    const POLICY: &str = "group.consumer.migration.policy";
    let (stays, other) = (
        ErrorCode::GroupIdNotFound.code(),
        ErrorCode::InconsistentGroupProtocol.code(),
    );
    // What a member of the consumer protocol is told in a classic group, and the other way round.
    for (set, upgraded, joined) in [
        (None, 0, 0),
        (Some((POLICY, "upgrade")), 0, 0),
        (Some((POLICY, "Downgrade")), stays, 0),
        (Some((POLICY, "disabled")), stays, other),
    ] {
        let fixture = start(set.as_slice(), None).await;
        let mut client = fixture.connect();
        let classic = client.ask(3, &joining_classic()).await.unwrap();
        assert_eq!(classic.error_code, 0);
        let assignment: &[u8] = b"\0\0\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\0\xff\xff\xff\xff";
        let synced = groups::sync(&mut client, &classic, &[(&classic.member_id, assignment)]).await;
        assert_eq!(synced.error_code, 0);
        let told = beat(&mut client, &joining("m")).await;
        assert_eq!(told.error_code, upgraded, "{set:?} {:?}", told.error_message);

        let fixture = start(set.as_slice(), None).await;
        let mut client = fixture.connect();
        assert_eq!(beat(&mut client, &joining("m")).await.error_code, 0);
        let classic = client.ask(3, &joining_classic()).await.unwrap();
        assert_eq!(classic.error_code, joined, "{set:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn expressions_are_matched_again_so_often() {
    let mut grown = Vec::new();
    for set in [None, Some(("group.consumer.regex.refresh.interval.ms", "10000"))] {
        let fixture = start(set.as_slice(), None).await;
        let mut client = fixture.connect();
        let joining = ConsumerGroupHeartbeatRequest {
            subscribed_topic_names: None,
            subscribed_topic_regex: Some("t.*".into()),
            ..joining("m")
        };
        let joined = beat(&mut client, &joining).await;
        assert_eq!(joined.error_code, 0, "{:?}", joined.error_message);
        assert_eq!(joined.assignment.unwrap().topic_partitions.len(), 1);
        let log = "__consumer_offsets-0/00000000000000000000.log";
        let before = fixture.len(log);
        for _ in 0..12 {
            fixture.pass(5_000).await;
            let told = beat(&mut client, &living("m", joined.member_epoch)).await;
            assert_eq!((told.error_code, told.member_epoch), (0, joined.member_epoch));
        }
        // What an expression stands for is recorded each time.
        grown.push(fixture.len(log) - before);
    }
    assert_eq!(grown[0], 0);
    assert!(grown[1] > 0, "{grown:?}");
}

#[tokio::test(start_paused = true)]
async fn only_some_protocols_are_offered() {
    let unsupported = ErrorCode::UnsupportedVersion.code();
    for (set, expected) in [
        (None, 0),
        (
            Some(("group.coordinator.rebalance.protocols", "classic")),
            unsupported,
        ),
    ] {
        let fixture = start(set.as_slice(), None).await;
        let mut client = fixture.connect();
        assert_eq!(
            beat(&mut client, &joining("m")).await.error_code,
            expected,
            "{set:?}"
        );
        assert_eq!(describe(&mut client).await.error_code, expected, "{set:?}");
    }
}
