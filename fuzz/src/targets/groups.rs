//! What was recorded of groups, and what their members say.
//!
//! Always holds: whatever lies in `__consumer_offsets` can be replayed, and what is then decided for a member can be too; an expression
//! is refused or matched in time.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use klamm_coordinator::group::consumer::expression::Expression;
use klamm_coordinator::group::{Client, GroupConfig, GroupRecord, GroupShard, Request};
use klamm_coordinator::{CoordinatorRecord as _, RecordBytes, Shard as _, Surroundings, Ticket};
use klamm_metadata::{Image, Position};
use klamm_model::{Offset, TimestampMs, Uuid};
use klamm_protocol::coordinator_records as stored;
use klamm_protocol::messages::{ConsumerGroupHeartbeatRequest, consumer_group_heartbeat_request};
use klamm_protocol::metadata_records as records;
use klamm_protocol::schema::sample::Seed;

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
const GROUPS: [&str; 2] = ["g", "h"];
const MEMBERS: [&str; 3] = ["m", "n", "o"];
const EXPRESSIONS: [&str; 8] = [
    "topic-.*",
    "(topic|other)-[0-9]{1,3}",
    "(?i:TOPIC)-\\d",
    "[[:alpha:]]+-[^1-9]",
    "(a?){50}b*",
    "\\Qtopic-\\E(0|1)$",
    "((a{10}){10}){10}",
    "\\p{L}+.?(?P<n>x|)",
];

/// A cluster with a few topics.
static IMAGE: LazyLock<Image> = LazyLock::new(|| {
    let topics = (0..3_u8).flat_map(|topic| {
        let topic_id = id_of(topic);
        let made = records::TopicRecord {
            name: format!("topic-{topic}").into(),
            topic_id,
            ..Default::default()
        };
        let partition = |partition_id| records::PartitionRecord {
            partition_id,
            topic_id,
            replicas: vec![1],
            isr: vec![1],
            leader: 1,
            directories: vec![Uuid([9; 16])],
            ..Default::default()
        };
        [made.into(), partition(0).into(), partition(1).into()]
    });
    let position = Position { index: 1, term: 1 };
    let (image, _) = Image::default()
        .apply(position, &topics.collect::<Vec<_>>())
        .expect("the records fit");
    image
});

fn id_of(topic: u8) -> Uuid {
    Uuid([topic + 1; 16])
}

pub(super) fn sample_expression(seed: &mut Seed) -> Vec<u8> {
    EXPRESSIONS[seed.below(EXPRESSIONS.len())].as_bytes().to_vec()
}

pub(super) fn run_expression(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    if let Ok(expression) = Expression::compile(text) {
        let _ = expression.topics(&IMAGE);
    }
}

/// Keys and values by turns, each behind its length in two bytes; an empty value is a tombstone.
fn pieces(mut input: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = input.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let piece;
        (piece, input) = rest.split_at(length);
        Some(piece)
    })
}

pub(super) fn run_records(input: &[u8]) {
    let mut shard = GroupShard::new();
    let mut pieces = pieces(input);
    let mut end = 0;
    while let (Some(key), value) = (pieces.next(), pieces.next().unwrap_or_default()) {
        let key = Bytes::copy_from_slice(key);
        let value = (!value.is_empty()).then(|| Bytes::copy_from_slice(value));
        if let Ok(record) = GroupRecord::decode(&key, value.as_ref()) {
            shard.replay(Offset(end), None, record);
            end += 1;
        }
    }
    let config = GroupConfig {
        overrides: BTreeMap::from([(Arc::from("h"), Default::default())]),
        ..GroupConfig::default()
    };
    let mut drawn = 0;
    let mut draw_uuid = || {
        drawn += 1;
        Uuid([drawn; 16])
    };
    let mut around = Surroundings {
        now: NOW,
        image: &IMAGE,
        draw_uuid: &mut draw_uuid,
    };
    let loaded = shard.on_loaded(&mut around, &config);
    loaded.records.into_iter().for_each(|record| {
        shard.replay(Offset(end), None, record);
    });
    for (ticket, request) in (0..).zip(requests()) {
        let result = shard.decide(&mut around, &config, Ticket(ticket), request);
        for record in result.records {
            let RecordBytes { key, value } = record.encode().expect("what was decided can be written");
            let again = GroupRecord::decode(&key, value.as_ref()).expect("and read");
            assert_eq!(again.encode().as_ref().map(|bytes| &bytes.key), Ok(&key));
            shard.replay(Offset(end), None, record);
            end += 1;
        }
        result.volatile.into_iter().for_each(|change| shard.note(change));
    }
}

/// Members that come, say what they own, and go, in every group.
fn requests() -> impl Iterator<Item = Request> {
    let beat = |group: &'static str, member: &'static str, epoch, joins: bool| {
        let topics = joins.then(|| vec!["topic-0".into(), "topic-2".into()]);
        let owned = consumer_group_heartbeat_request::TopicPartitions {
            topic_id: id_of(0),
            partitions: vec![0],
            ..Default::default()
        };
        Request::ConsumerGroupHeartbeat {
            client: Client::default(),
            version: 1,
            request: Box::new(ConsumerGroupHeartbeatRequest {
                group_id: group.into(),
                member_id: member.into(),
                member_epoch: epoch,
                rebalance_timeout_ms: if joins { 1_000 } else { -1 },
                subscribed_topic_names: topics,
                topic_partitions: Some(if joins { Vec::new() } else { vec![owned] }),
                ..Default::default()
            }),
        }
    };
    GROUPS.into_iter().flat_map(move |group| {
        [
            beat(group, "m", 0, true),
            beat(group, "new", 0, true),
            beat(group, "m", 2, false),
            Request::ConsumerGroupDescribe(vec![group.into()]),
            Request::DescribeGroups {
                version: 6,
                groups: vec![group.into()],
            },
            Request::ListGroups(Default::default()),
            beat(group, "m", -1, false),
            beat(group, "new", -1, false),
            Request::DeleteGroups(vec![group.into()]),
        ]
    })
}

pub(super) fn sample_records(seed: &mut Seed) -> Vec<u8> {
    let mut input = Vec::new();
    for _ in 0..=seed.below(12) {
        let RecordBytes { key, value } = record(seed).encode().expect("a sample can be written");
        for piece in [key, value.unwrap_or_default()] {
            input.extend((piece.len() as u16).to_be_bytes());
            input.extend(piece);
        }
    }
    input
}

fn record(seed: &mut Seed) -> GroupRecord {
    let group_id = || GROUPS[0].into();
    let member_id: klamm_protocol::ByteString = MEMBERS[seed.below(MEMBERS.len())].into();
    let is_there = seed.below(5) > 0;
    let epoch = seed.below(4) as i32;
    match seed.below(6) {
        0 => GroupRecord::ConsumerGroup(
            stored::ConsumerGroupMetadataKey { group_id: group_id() },
            is_there.then(|| stored::ConsumerGroupMetadataValue {
                epoch,
                ..Default::default()
            }),
        ),
        1 => GroupRecord::ConsumerGroupMember(
            stored::ConsumerGroupMemberMetadataKey {
                group_id: group_id(),
                member_id,
            },
            is_there.then(|| stored::ConsumerGroupMemberMetadataValue {
                instance_id: (seed.below(2) == 0).then(|| "i".into()),
                subscribed_topic_names: vec!["topic-0".into()],
                subscribed_topic_regex: (seed.below(2) == 0).then(|| "topic-.*".into()),
                rebalance_timeout_ms: 5_000,
                ..Default::default()
            }),
        ),
        2 => GroupRecord::ConsumerGroupTarget(
            stored::ConsumerGroupTargetAssignmentMetadataKey { group_id: group_id() },
            is_there.then(|| stored::ConsumerGroupTargetAssignmentMetadataValue {
                assignment_epoch: epoch,
                ..Default::default()
            }),
        ),
        3 | 4 => of_partitions(seed, member_id, is_there.then_some(epoch)),
        _ => GroupRecord::ConsumerGroupRegularExpression(
            stored::ConsumerGroupRegularExpressionKey {
                group_id: group_id(),
                regular_expression: "topic-.*".into(),
            },
            is_there.then(|| stored::ConsumerGroupRegularExpressionValue {
                topics: vec!["topic-1".into()],
                ..Default::default()
            }),
        ),
    }
}

/// What a member is to have, or has; a tombstone without an epoch.
fn of_partitions(seed: &mut Seed, member_id: klamm_protocol::ByteString, epoch: Option<i32>) -> GroupRecord {
    if seed.below(2) == 0 {
        return GroupRecord::ConsumerGroupTargetMember(
            stored::ConsumerGroupTargetAssignmentMemberKey {
                group_id: GROUPS[0].into(),
                member_id,
            },
            epoch.map(|_| stored::ConsumerGroupTargetAssignmentMemberValue {
                topic_partitions: vec![
                    stored::consumer_group_target_assignment_member_value::TopicPartition {
                        topic_id: id_of(0),
                        partitions: vec![0, 1],
                        ..Default::default()
                    },
                ],
                ..Default::default()
            }),
        );
    }
    GroupRecord::ConsumerGroupCurrent(
        stored::ConsumerGroupCurrentMemberAssignmentKey {
            group_id: GROUPS[0].into(),
            member_id,
        },
        epoch.map(|epoch| stored::ConsumerGroupCurrentMemberAssignmentValue {
            member_epoch: epoch,
            previous_member_epoch: epoch - 1,
            state: seed.below(4) as i8,
            assigned_partitions: vec![
                stored::consumer_group_current_member_assignment_value::TopicPartitions {
                    topic_id: id_of(seed.below(3) as u8),
                    partitions: vec![0, 1],
                    ..Default::default()
                },
            ],
            ..Default::default()
        }),
    )
}
