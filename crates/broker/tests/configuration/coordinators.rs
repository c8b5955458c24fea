//! Who coordinates what, and what the internal topics are that come of asking.

use klamm_model::ErrorCode;
use klamm_protocol::messages::metadata_request::MetadataRequestTopic;
use klamm_protocol::messages::{FindCoordinatorRequest, MetadataRequest};

use crate::client::{Client, frame};
use crate::fixture::{Fixture, Settings};
use crate::pressure::{SMALL, memory_used, overtakes};

/// A kind of coordinators, a key of it, and its topic.
type Kind = (i8, &'static str, &'static str);
const GROUP: Kind = (0, "g", "__consumer_offsets");
const TRANSACTION: Kind = (1, "t", "__transaction_state");
const SHARE: Kind = (2, "g:BwcHBwcHBwcHBwcHBwcHBw:0", "__share_group_state");

/// Looks for the coordinator of a key and returns the error code.
async fn find(client: &mut Client, (key_type, key, _): Kind) -> i16 {
    let request = FindCoordinatorRequest {
        key_type,
        coordinator_keys: vec![key.into()],
        ..Default::default()
    };
    let answer = client.ask(6, &request).await.unwrap();
    let found = &answer.coordinators[0];
    assert_eq!(found.node_id, if found.error_code == 0 { 1 } else { -1 });
    found.error_code
}

fn partitions(fixture: &Fixture, topic: &str) -> usize {
    let names = fixture.names("");
    names.iter().filter(|name| name.starts_with(topic)).count()
}

/// What a topic consists of after its coordinator was looked for: its folders, and some of its configs.
async fn made(set: Settings<'_>, kind: Kind) -> (usize, [Option<String>; 5]) {
    let fixture = Fixture::start(set).await;
    let mut client = fixture.connect();
    assert_eq!(find(&mut client, kind).await, 0, "{set:?}");
    let mut configs = Vec::new();
    for key in [
        "cleanup.policy",
        "compression.type",
        "min.insync.replicas",
        "retention.ms",
        "segment.bytes",
    ] {
        configs.push(client.config(2, kind.2, key).await);
    }
    (partitions(&fixture, kind.2), configs.try_into().unwrap())
}

/// As many folders, and configs.
type Expected<'a> = (usize, [&'a str; 5]);
/// What is looked for with a key set, and what is made of that.
type Case<'a> = (Kind, Option<(&'a str, &'a str)>, Expected<'a>);

#[tokio::test(start_paused = true)]
async fn the_topic_of_a_coordinator_is_made_as_configured() {
    const SEGMENT: &str = "104857600";
    const WEEK: &str = "604800000";
    let offsets = ["compact", "producer", "1", WEEK, SEGMENT];
    let transactions = ["compact", "uncompressed", "1", WEEK, SEGMENT];
    let shares = ["delete", "producer", "1", "-1", SEGMENT];
    let with = |mut configs: [&'static str; 5], place: usize, value| {
        configs[place] = value;
        configs
    };
    let (larger, isr) = ("2000000", "2");
    let cases: [Case<'_>; 11] = [
        (GROUP, None, (50, offsets)),
        (GROUP, Some(("offsets.topic.num.partitions", "3")), (3, offsets)),
        (
            GROUP,
            Some(("offsets.topic.segment.bytes", larger)),
            (50, with(offsets, 4, larger)),
        ),
        (TRANSACTION, None, (50, transactions)),
        (
            TRANSACTION,
            Some(("transaction.state.log.num.partitions", "4")),
            (4, transactions),
        ),
        (
            TRANSACTION,
            Some(("transaction.state.log.segment.bytes", larger)),
            (50, with(transactions, 4, larger)),
        ),
        (
            TRANSACTION,
            Some(("transaction.state.log.min.isr", isr)),
            (50, with(transactions, 2, isr)),
        ),
        (SHARE, None, (50, shares)),
        (
            SHARE,
            Some(("share.coordinator.state.topic.num.partitions", "5")),
            (5, shares),
        ),
        (
            SHARE,
            Some(("share.coordinator.state.topic.segment.bytes", larger)),
            (50, with(shares, 4, larger)),
        ),
        (
            SHARE,
            Some(("share.coordinator.state.topic.min.isr", isr)),
            (50, with(shares, 2, isr)),
        ),
    ];
    for (kind, set, (count, configs)) in cases {
        let expected = (count, configs.map(|value| Some(value.to_owned())));
        assert_eq!(made(set.as_slice(), kind).await, expected, "{set:?}");
    }
    // Two replicas, which one node cannot have.
    for (kind, key) in [
        (GROUP, "offsets.topic.replication.factor"),
        (TRANSACTION, "transaction.state.log.replication.factor"),
        (SHARE, "share.coordinator.state.topic.replication.factor"),
    ] {
        let fixture = Fixture::start(&[(key, "2")]).await;
        let code = find(&mut fixture.connect(), kind).await;
        assert_eq!(code, ErrorCode::CoordinatorNotAvailable.code(), "{key}");
        assert_eq!(partitions(&fixture, kind.2), 0, "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_who_looks_for_a_coordinator_makes_its_topic() {
    let fixture = Fixture::start(&[]).await;
    let mut client = fixture.connect();
    let named = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some(GROUP.2.into()),
            ..Default::default()
        }]),
        allow_auto_topic_creation: true,
        ..Default::default()
    };
    let answer = client.ask(12, &named).await.unwrap();
    let code = answer.topics[0].error_code;
    assert_eq!(code, ErrorCode::UnknownTopicOrPartition.code());
    // Neither a kind that there is not, nor a key that cannot be one.
    for (kind, key) in [(3, "a"), (-1, "a"), (2, "a")] {
        let code = find(&mut client, (kind, key, "")).await;
        assert_eq!(code, ErrorCode::InvalidRequest.code(), "{kind} {key}");
    }
    assert_eq!(partitions(&fixture, "__"), 0);
    // Ten at once make it once.
    let finding = (0..10).map(|_| {
        let mut client = fixture.connect();
        async move { find(&mut client, GROUP).await }
    });
    assert_eq!(futures_util::future::join_all(finding).await, [0; 10]);
    assert_eq!(partitions(&fixture, "__"), 50);
    let answer = client.ask(12, &named).await.unwrap();
    assert!(answer.topics[0].is_internal);
    // It is not for clients to make, so nobody needs to let them.
    let fixture = Fixture::start(&[("auto.create.topics.enable", "false")]).await;
    assert_eq!(find(&mut fixture.connect(), GROUP).await, 0);
}

/// Asks for many keys, each of which is a number.
fn many(key_type: i8, count: usize) -> FindCoordinatorRequest {
    FindCoordinatorRequest {
        key_type,
        coordinator_keys: (0..count).map(|key| format!("{key:050}").into()).collect(),
        ..Default::default()
    }
}

#[tokio::test(start_paused = true)]
async fn many_keys_are_answered_in_order_and_let_others_go_first() {
    let fixture = Fixture::start(&[]).await;
    let (mut first, mut second) = (fixture.connect(), fixture.connect());
    let began = std::time::Instant::now();
    let request = many(GROUP.0, 100_000);
    let answer = first.ask(4, &request).await.unwrap();
    // Compared with each other they would take minutes.
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
    let keys = answer.coordinators.iter().map(|found| &found.key);
    assert!(keys.eq(&request.coordinator_keys));
    assert!(answer.coordinators.iter().all(|found| found.node_id == 1));
    let request = frame(4, &many(GROUP.0, 1_500));
    assert!(overtakes(&fixture, &mut first, &request, &mut second).await);
    assert!(first.receive().await.is_some());
    drop((first, second));
    fixture.pass(1_000).await;
    assert_eq!(memory_used(&fixture).await, 0);
}

#[tokio::test(start_paused = true)]
async fn explanations_of_many_wrong_keys_never_exceed_the_memory() {
    let fixture = Fixture::start(SMALL).await;
    // Each is explained in 170 bytes.
    let answer = fixture.connect().ask(4, &many(9, 1_000)).await.unwrap();
    assert_eq!(answer.coordinators.len(), 1_000);
    let answer = fixture.connect().ask(4, &many(9, 5_000)).await;
    assert!(answer.is_none());
    assert!(fixture.connect().is_served().await);
    assert_eq!(memory_used(&fixture).await, 0);
}
