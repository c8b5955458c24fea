//! What the members of classic groups may do, and how offsets are kept.

use klamm_env::Files;
use klamm_model::ErrorCode;
use klamm_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use klamm_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use klamm_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use klamm_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use klamm_protocol::messages::{
    FindCoordinatorRequest, JoinGroupRequest, JoinGroupResponse, OffsetCommitRequest, OffsetFetchRequest,
    SyncGroupRequest, SyncGroupResponse,
};
use klamm_records::{BatchHeader, Compression};

use crate::client::Client;
use crate::fixture::{DATA, Fixture, Settings};

/// Has the coordinators of groups made.
pub(crate) async fn find(client: &mut Client) {
    let request = FindCoordinatorRequest {
        coordinator_keys: vec!["g".into()],
        ..Default::default()
    };
    let answer = client.ask(6, &request).await.unwrap();
    assert_eq!(answer.coordinators[0].error_code, 0);
}

/// A node with these keys set, a topic `t`, and coordinators of groups.
pub(crate) async fn start(set: Settings<'_>) -> Fixture {
    // One partition: what is written for all groups lies in one folder.
    let mut all = vec![("offsets.topic.num.partitions", "1")];
    all.extend(set);
    let fixture = Fixture::start(&all).await;
    let mut client = fixture.connect();
    client.create("t", 3, &[]).await;
    find(&mut client).await;
    fixture
}

/// A request to join `g` as this member, who may be silent for so long.
pub(crate) fn joining(member: &str, session_timeout_ms: i32) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms,
        rebalance_timeout_ms: 60_000,
        member_id: member.into(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: vec![7; 20].into(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Joins `g` as a new member, in the version in which that takes one request.
pub(crate) async fn join(client: &mut Client, session_timeout_ms: i32) -> JoinGroupResponse {
    client.ask(3, &joining("", session_timeout_ms)).await.unwrap()
}

/// Brings assignments for members, as the leader, or none.
pub(crate) async fn sync(
    client: &mut Client,
    joined: &JoinGroupResponse,
    assignments: &[(&str, &'static [u8])],
) -> SyncGroupResponse {
    let assignment = |(member, assignment): &(&str, &'static [u8])| SyncGroupRequestAssignment {
        member_id: (*member).into(),
        assignment: (*assignment).into(),
        ..Default::default()
    };
    let request = SyncGroupRequest {
        group_id: "g".into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        assignments: assignments.iter().map(assignment).collect(),
        ..Default::default()
    };
    client.ask(3, &request).await.unwrap()
}

/// A commit of an offset of the first partition of `t`, by no member of `group`.
pub(crate) fn committing(group: &str, offset: i64, metadata: &str) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition {
        committed_offset: offset,
        committed_metadata: Some(metadata.into()),
        ..Default::default()
    };
    OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Commits, and returns the error code.
pub(crate) async fn commit(client: &mut Client, group: &str, offset: i64, metadata: &str) -> i16 {
    let answer = client.ask(8, &committing(group, offset, metadata)).await.unwrap();
    answer.topics[0].partitions[0].error_code
}

/// All that a group has committed: offsets by partition of `t`; the error code if it cannot be told.
pub(crate) async fn committed(client: &mut Client, group: &str) -> Result<Vec<(i32, i64)>, i16> {
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: group.into(),
            topics: None,
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut answer = client.ask(8, &request).await.unwrap();
    let group = answer.groups.remove(0);
    if group.error_code != 0 {
        return Err(group.error_code);
    }
    let partitions = group.topics.into_iter().flat_map(|topic| topic.partitions);
    Ok(partitions
        .map(|partition| (partition.partition_index, partition.committed_offset))
        .collect())
}

/// The same once the coordinator has loaded what there was.
pub(crate) async fn committed_when_loaded(
    fixture: &Fixture,
    client: &mut Client,
    group: &str,
) -> Vec<(i32, i64)> {
    loop {
        match committed(client, group).await {
            Ok(offsets) => return offsets,
            Err(code) => assert_eq!(code, ErrorCode::CoordinatorLoadInProgress.code()),
        }
        fixture.pass(10).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_may_be_silent_so_long() {
    let refused = ErrorCode::InvalidSessionTimeout.code();
    let cases: [(Settings<'_>, [i16; 4]); 3] = [
        (&[], [refused, 0, 0, refused]),
        (&[("group.min.session.timeout.ms", "1000")], [0, 0, 0, refused]),
        (
            &[("group.max.session.timeout.ms", "7000")],
            [refused, 0, refused, refused],
        ),
    ];
    for (set, expected) in cases {
        let fixture = start(set).await;
        let mut codes = Vec::new();
        for timeout_ms in [5_000, 6_500, 1_800_000, 1_800_001] {
            let mut client = fixture.connect();
            codes.push(join(&mut client, timeout_ms).await.error_code);
        }
        assert_eq!(codes, expected, "{set:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_member_waits_so_long_for_others() {
    for (set, ms) in [
        (None, 3_000),
        (Some(("group.initial.rebalance.delay.ms", "700")), 700),
    ] {
        let fixture = start(set.as_slice()).await;
        let began = fixture.now();
        let joined = join(&mut fixture.connect(), 10_000).await;
        assert_eq!((joined.error_code, joined.generation_id), (0, 1));
        let took = fixture.now() - began;
        assert!((ms..ms + 100).contains(&took), "{took} of {ms}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_has_so_many_members() {
    let full = ErrorCode::GroupMaxSizeReached.code();
    for (set, expected) in [(None, [0, 0]), (Some(("group.max.size", "1")), [0, full])] {
        let fixture = start(set.as_slice()).await;
        let (mut one, mut other) = (fixture.connect(), fixture.connect());
        let joined = futures_util::future::join(join(&mut one, 10_000), async {
            fixture.pass(100).await;
            join(&mut other, 10_000).await
        });
        let (one, other) = joined.await;
        assert_eq!([one.error_code, other.error_code], expected, "{set:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn metadata_of_an_offset_has_so_many_bytes() {
    let large = ErrorCode::OffsetMetadataTooLarge.code();
    for (set, expected) in [(None, 0), (Some(("offset.metadata.max.bytes", "3")), large)] {
        let fixture = start(set.as_slice()).await;
        let mut client = fixture.connect();
        assert_eq!(commit(&mut client, "g", 1, "xyz").await, 0);
        assert_eq!(commit(&mut client, "g", 1, "four").await, expected, "{set:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_waits_so_long_for_the_device() {
    let late = ErrorCode::CoordinatorNotAvailable.code();
    // A file is opened, and a sync done, within one millisecond each.
    for (set, expected) in [(None, 0), (Some(("offsets.commit.timeout.ms", "1")), late)] {
        let fixture = start(set.as_slice()).await;
        let mut client = fixture.connect();
        assert_eq!(commit(&mut client, "g", 7, "").await, expected, "{set:?}");
        fixture.pass(100).await;
        assert_eq!(committed(&mut client, "g").await, Ok(vec![(0, 7)]), "{set:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn offsets_are_kept_so_long_and_looked_at_so_often() {
    const MINUTE: u64 = 60_000;
    let retention = ("offsets.retention.minutes", "2");
    let interval = ("offsets.retention.check.interval.ms", "30000");
    // After so many minutes they are still there, and after so many not; by default they stay for a week.
    let cases: [(Settings<'_>, u64, Option<u64>); 4] = [
        (&[], 11, None),
        (&[interval], 11, None),
        (&[retention], 9, Some(11)),
        (&[retention, interval], 1, Some(3)),
    ];
    for (set, kept, gone) in cases {
        let fixture = start(set).await;
        let mut client = fixture.connect();
        assert_eq!(commit(&mut client, "g", 7, "").await, 0);
        fixture.pass(kept * MINUTE).await;
        let mut client = fixture.connect();
        assert_eq!(committed(&mut client, "g").await, Ok(vec![(0, 7)]), "{set:?}");
        let Some(gone) = gone else { continue };
        fixture.pass((gone - kept) * MINUTE).await;
        let mut client = fixture.connect();
        assert_eq!(committed(&mut client, "g").await, Ok(Vec::new()), "{set:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn offsets_are_stored_in_a_codec() {
    for (set, expected) in [
        (None, Compression::None),
        (Some(("offsets.topic.compression.codec", "4")), Compression::Zstd),
    ] {
        let fixture = start(set.as_slice()).await;
        let mut client = fixture.connect();
        assert_eq!(commit(&mut client, "g", 7, "").await, 0);
        let path = format!("{DATA}/__consumer_offsets-0/00000000000000000000.log");
        let bytes = fixture.disk().read(std::path::Path::new(&path), 1 << 20).unwrap();
        let header = BatchHeader::parse(&bytes).unwrap();
        assert_eq!(header.compression(), Ok(expected), "{set:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn so_many_bytes_of_offsets_are_loaded_at_once() {
    let mut reads = Vec::new();
    for set in [None, Some(("offsets.load.buffer.size", "1000"))] {
        let fixture = start(set.as_slice()).await;
        let mut client = fixture.connect();
        for offset in 0..100 {
            assert_eq!(commit(&mut client, "g", offset, "some words").await, 0);
        }
        let mut again = vec![("offsets.topic.num.partitions", "1")];
        again.extend(set);
        let fixture = fixture.restart(|_| {}, &again).await.unwrap();
        let before = fixture.calls("Read", "__consumer_offsets-0/00000000000000000000.log");
        let mut client = fixture.connect();
        assert_eq!(committed_when_loaded(&fixture, &mut client, "g").await, [(0, 99)]);
        reads.push(fixture.calls("Read", "__consumer_offsets-0/00000000000000000000.log") - before);
    }
    assert!(reads[1] > reads[0] + 5, "{reads:?}");
}
