//! Requests about groups that are small and ask for much, or name the same again and again.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, join_all, select};
use klamm_model::ErrorCode;
use klamm_model::java_hash::partition_of;
use klamm_protocol::Request;
use klamm_protocol::messages::describe_groups_response::DescribedGroup;
use klamm_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use klamm_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use klamm_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use klamm_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use klamm_protocol::messages::{
    DescribeGroupsRequest, FindCoordinatorRequest, JoinGroupRequest, JoinGroupResponse, ListGroupsRequest,
    OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
};
use tokio::time::Instant;

use crate::client::{Client, frame};
use crate::fixture::{Fixture, Settings};
use crate::pressure::{SMALL, memory_used, overtakes};

/// Topics with partitions of them.
type Topics<'a> = &'a [(&'a str, std::ops::Range<i32>)];

fn commit_request(group: &str, topics: Topics<'_>) -> OffsetCommitRequest {
    let topics = topics.iter().map(|(name, partitions)| OffsetCommitRequestTopic {
        name: (*name).into(),
        partitions: partitions
            .clone()
            .map(|partition_index| OffsetCommitRequestPartition {
                partition_index,
                committed_offset: i64::from(partition_index),
                committed_metadata: Some("a note".into()),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    });
    OffsetCommitRequest {
        group_id: group.to_owned().into(),
        generation_id_or_member_epoch: -1,
        topics: topics.collect(),
        ..Default::default()
    }
}

/// A node whose coordinators are loaded, with a topic of so many partitions.
pub(crate) async fn coordinating(set: Settings<'_>, partitions: i32) -> (Fixture, Client) {
    let fixture = Fixture::start(set).await;
    let mut client = fixture.connect();
    client.create("t", partitions, &[]).await;
    let find = FindCoordinatorRequest {
        coordinator_keys: vec!["g".into()],
        ..Default::default()
    };
    client.ask(6, &find).await.unwrap();
    let list = ListGroupsRequest::default();
    while client.ask(4, &list).await.unwrap().error_code == ErrorCode::CoordinatorLoadInProgress.code() {
        fixture.pass(10).await;
    }
    (fixture, client)
}

pub(crate) async fn commit(client: &mut Client, group: &str, partitions: i32) {
    let request = commit_request(group, &[("t", 0..partitions)]);
    let answer = client.ask(9, &request).await.unwrap();
    assert!(
        answer.topics[0]
            .partitions
            .iter()
            .all(|partition| partition.error_code == 0)
    );
}

fn describe(groups: Vec<&'static str>) -> DescribeGroupsRequest {
    DescribeGroupsRequest {
        groups: groups.into_iter().map(Into::into).collect(),
        ..Default::default()
    }
}

fn fetch(groups: &[&'static str], topics: Option<Topics<'_>>) -> OffsetFetchRequest {
    let topics = topics.map(|topics| {
        let topics = topics.iter().map(|(name, partitions)| OffsetFetchRequestTopics {
            name: (*name).into(),
            partition_indexes: partitions.clone().collect(),
            ..Default::default()
        });
        topics.collect::<Vec<_>>()
    });
    let groups = groups.iter().map(|group| OffsetFetchRequestGroup {
        group_id: (*group).into(),
        member_epoch: -1,
        topics: topics.clone(),
        ..Default::default()
    });
    OffsetFetchRequest {
        groups: groups.collect(),
        ..Default::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_small_request_about_groups_never_gets_more_than_the_memory() {
    let (fixture, mut client) = coordinating(SMALL, 100).await;
    commit(&mut client, "g", 100).await;
    for group in 0..1_000 {
        commit(&mut client, &format!("{group:0500}"), 1).await;
    }
    // What fits is answered.
    assert!(client.ask(6, &describe(vec!["g"; 100])).await.is_some());
    assert!(client.ask(8, &fetch(&["g"; 10], None)).await.is_some());
    drop(client);
    // A tenth of these would fit.
    assert_eq!(fixture.connect().ask(6, &describe(vec!["g"; 20_000])).await, None);
    assert_eq!(fixture.connect().ask(8, &fetch(&["g"; 1_000], None)).await, None);
    let named = fetch(&["g"], Some(&vec![("t", 0..100); 1_000]));
    assert_eq!(fixture.connect().ask(8, &named).await, None);
    let list = ListGroupsRequest::default();
    assert_eq!(fixture.connect().ask(5, &list).await, None);
    assert!(fixture.connect().is_served().await);
    fixture.pass(1_000).await;
    assert_eq!(memory_used(&fixture).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_named_again_is_told_of_again() {
    let (_fixture, mut client) = coordinating(&[], 3).await;
    commit(&mut client, "g", 3).await;
    let answer = client
        .ask(6, &describe(vec!["g", "none", "g", "g", "none"]))
        .await
        .unwrap();
    let told: Vec<_> = answer
        .groups
        .iter()
        .map(
            |DescribedGroup {
                 group_id, error_code, ..
             }| (&**group_id, *error_code),
        )
        .collect();
    let none = ErrorCode::GroupIdNotFound.code();
    assert_eq!(
        told,
        [("g", 0), ("none", none), ("g", 0), ("g", 0), ("none", none)]
    );
    assert_eq!(answer.groups[0], answer.groups[3]);

    let answer = client.ask(8, &fetch(&["g", "none", "g"], None)).await.unwrap();
    let told: Vec<_> = answer.groups.iter().map(|group| &*group.group_id).collect();
    assert_eq!(told, ["g", "none", "g"]);
    assert_eq!(answer.groups[0], answer.groups[2]);
    assert_eq!(answer.groups[0].topics[0].partitions.len(), 3);
    // Also where names and not the whole are repeated.
    let twice: Topics<'_> = &[("t", 0..2), ("t", 0..2)];
    let answer = client.ask(8, &fetch(&["g", "g"], Some(twice))).await.unwrap();
    for group in &answer.groups {
        let offsets: Vec<Vec<_>> = group
            .topics
            .iter()
            .map(|topic| {
                topic
                    .partitions
                    .iter()
                    .map(|partition| partition.committed_offset)
                    .collect()
            })
            .collect();
        assert_eq!(offsets, [[0, 1], [0, 1]]);
    }
}

#[tokio::test(start_paused = true)]
async fn offsets_of_many_partitions_are_told_in_order_and_let_others_go_first() {
    let (fixture, mut client) = coordinating(&[], 3).await;
    commit(&mut client, "g", 3).await;
    let topics: Topics<'_> = &[("t", 0..2_500), ("none", 0..10), ("t", 0..700)];
    let answer = client.ask(8, &fetch(&["g"], Some(topics))).await.unwrap();
    let told = &answer.groups[0].topics;
    assert_eq!(told.len(), 3);
    for (told, (name, partitions)) in told.iter().zip(topics) {
        assert_eq!(&*told.name, *name);
        let indexes = told.partitions.iter().map(|partition| partition.partition_index);
        assert!(indexes.eq(partitions.clone()));
        for partition in &told.partitions {
            let is_committed = *name == "t" && partition.partition_index < 3;
            let offset = if is_committed {
                i64::from(partition.partition_index)
            } else {
                -1
            };
            assert_eq!(partition.committed_offset, offset);
        }
    }
    let mut other = fixture.connect();
    let many = frame(8, &fetch(&["g"], Some(&[("t", 0..50_000)])));
    assert!(overtakes(&fixture, &mut client, &many, &mut other).await);
    assert!(client.receive().await.is_some());
    let many = frame(6, &describe(vec!["g"; 5_000]));
    assert!(overtakes(&fixture, &mut client, &many, &mut other).await);
}

#[tokio::test(start_paused = true)]
async fn a_leader_is_not_told_more_of_its_group_than_the_memory_holds() {
    let (fixture, _client) = coordinating(SMALL, 1).await;
    let joining = |member: usize, bytes: usize| {
        let mut client = fixture.connect();
        let request = JoinGroupRequest {
            group_id: format!("g-{bytes}").into(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 60_000,
            group_instance_id: Some(format!("instance-{member}").into()),
            protocol_type: "consumer".into(),
            protocols: vec![JoinGroupRequestProtocol {
                name: "range".into(),
                metadata: vec![7; bytes].into(),
                ..Default::default()
            }],
            ..Default::default()
        };
        async move { client.ask(9, &request).await }
    };
    let join_all = |bytes| futures_util::future::join_all((0..3).map(move |member| joining(member, bytes)));
    let members = |answers: Vec<Option<JoinGroupResponse>>| {
        let mut members: Vec<_> = answers
            .iter()
            .map(|answer| answer.as_ref().map(|told| told.members.len()))
            .collect();
        members.sort();
        members
    };
    assert_eq!(members(join_all(100_000).await), [Some(0), Some(0), Some(3)]);
    assert_eq!(members(join_all(400_000).await), [None, Some(0), Some(0)]);
}

/// As many topics that are not there as such that are.
fn half_refused(count: usize) -> Vec<(&'static str, std::ops::Range<i32>)> {
    let mut topics = vec![("none", 0..1); count];
    topics.extend(vec![("t", 0..1); count]);
    topics
}

#[tokio::test(start_paused = true)]
async fn topics_that_are_refused_are_not_compared_with_each_other() {
    let (_fixture, mut client) = coordinating(&[], 1).await;
    commit(&mut client, "g", 1).await;
    let began = std::time::Instant::now();
    let topics = half_refused(28_000);
    // Names that differ are no less work.
    let names: Vec<_> = (0..28_000).map(|number| format!("none-{number}")).collect();
    let mut request = commit_request("g", &topics);
    for (topic, name) in request.topics.iter_mut().zip(&names) {
        topic.name = name.clone().into();
    }
    let answer = client.ask(9, &request).await.unwrap();
    assert_eq!(answer.topics.len(), 28_001);
    assert_eq!(answer.topics[28_000].partitions.len(), 28_000);
    let delete = topics
        .iter()
        .zip(names.iter().map(Some).chain(std::iter::repeat(None)));
    let delete = delete.map(|((name, _), other)| OffsetDeleteRequestTopic {
        name: other.map_or((*name).into(), |other| other.clone().into()),
        partitions: vec![OffsetDeleteRequestPartition::default()],
    });
    let request = OffsetDeleteRequest {
        group_id: "g".into(),
        topics: delete.collect(),
    };
    let answer = client.ask(0, &request).await.unwrap();
    assert_eq!((answer.error_code, answer.topics.len()), (0, 28_001));
    // Compared with each other they take minutes.
    assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_is_told_of_a_topic_that_is_named_again_stands_together_once_something_is_refused() {
    let (_fixture, mut client) = coordinating(&[], 2).await;
    type Told<'a> = &'a [(&'a str, &'a [i16])];
    const UNKNOWN: i16 = 3;
    let cases: [(Topics<'_>, Told<'_>); 4] = [
        (&[("t", 0..1), ("t", 1..2)], &[("t", &[0]), ("t", &[0])]),
        (
            &[("t", 0..1), ("none", 0..1), ("t", 1..2), ("none", 0..1)],
            &[("none", &[UNKNOWN, UNKNOWN]), ("t", &[0, 0])],
        ),
        (&[("t", 1..4), ("t", 0..1)], &[("t", &[UNKNOWN, UNKNOWN, 0, 0])]),
        (
            &[("none", 0..1), ("none", 0..1)],
            &[("none", &[UNKNOWN, UNKNOWN])],
        ),
    ];
    for (topics, expected) in cases {
        let answer = client.ask(9, &commit_request("g", topics)).await.unwrap();
        let told: Vec<(_, Vec<_>)> = answer
            .topics
            .iter()
            .map(|topic| {
                let codes = topic.partitions.iter().map(|partition| partition.error_code);
                (&*topic.name, codes.collect())
            })
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, codes)| (*name, codes.to_vec()))
            .collect();
        assert_eq!(told, expected, "{topics:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_filter_is_not_compared_with_every_group() {
    let (_fixture, mut client) = coordinating(&[], 1).await;
    for group in 0..1_000 {
        commit(&mut client, &format!("g-{group}"), 1).await;
    }
    // As long as the state that the groups have.
    let mut states: Vec<_> = (0..300_000)
        .map(|number| format!("{:05}", number % 100_000).into())
        .collect();
    states.push("Empty".into());
    let request = ListGroupsRequest {
        states_filter: states,
        ..Default::default()
    };
    let began = std::time::Instant::now();
    assert_eq!(client.ask(5, &request).await.unwrap().groups.len(), 1_000);
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
}

/// How long an answer takes at the longest.
async fn longest<M: Request>(client: &mut Client, version: i16, request: &M) -> Duration {
    let mut longest = Duration::ZERO;
    for _ in 0..20 {
        let began = Instant::now();
        client.ask(version, request).await.unwrap();
        longest = longest.max(began.elapsed());
    }
    longest
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_of_several_shards_waits_once() {
    const GROUPS: usize = 8;
    let (fixture, mut client) = coordinating(&[("offsets.topic.num.partitions", "8")], 1).await;
    // One group a shard; each commits without an end.
    let of_shard = |shard| {
        let mut names = (0..1_000).map(|number| format!("g-{number}"));
        let name = names.find(|name| partition_of(name, GROUPS) == Some(shard));
        &*name.unwrap().leak()
    };
    let groups: Vec<&'static str> = (0..GROUPS).map(of_shard).collect();
    let committing = join_all(groups.iter().map(async |group| {
        let mut client = fixture.connect();
        loop {
            commit(&mut client, group, 1).await;
        }
    }));
    let measuring = async {
        let one = longest(&mut client, 8, &fetch(&groups[..1], None)).await;
        assert!(one > Duration::ZERO, "nothing is on its way");
        let all = longest(&mut client, 8, &fetch(&groups, None)).await;
        let listed = longest(&mut client, 5, &ListGroupsRequest::default()).await;
        (one, all, listed)
    };
    let (one, all, listed) = match select(pin!(committing), pin!(measuring)).await {
        Either::Left(_) => unreachable!("they commit without an end"),
        Either::Right((measured, _)) => measured,
    };
    assert!(all < 3 * one, "{all:?} for {GROUPS}, {one:?} for one");
    assert!(listed < 3 * one, "{listed:?} for all, {one:?} for one");
}
