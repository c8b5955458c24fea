//! DescribeTopicPartitions, version 0: topics and their partitions page by page, with their eligible leader replicas
//! (KIP-966).
//!
//! Topics are told in the order of their names, all of them if none is named; an answer holds at most
//! `response_partition_limit` partitions (bounded by `max.request.partition.size.limit`) and says where the next one
//! begins. A cursor of the client's must be at a topic that it asks for.
//!
//! *Memory*: the answer, bounded, reserved before it is made. *Authorization*: DESCRIBE on each topic.

use std::collections::BTreeSet;
use std::ops::Range;

use klamm_metadata::{Image, PartitionImage, TopicImage};
use klamm_model::{BrokerId, ErrorCode, topic_name};
use klamm_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use klamm_protocol::messages::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};

use crate::context::RequestContext;
use crate::operations;
use crate::turn::Turn;

/// Partitions that are described at once.
const AT_ONCE: usize = 256;
/// What a topic takes beside its name and its partitions, and a partition beside its brokers, with what the allocator
/// rounds up.
const TOPIC_BYTES: usize = 2 * size_of::<DescribeTopicPartitionsResponseTopic>() + 96;
const PARTITION_BYTES: usize = 128;

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    if !is_usable(&request) {
        return refused(&request);
    }
    let image = context.broker.metadata.published_arc();
    let (first_topic, first_partition) = match &request.cursor {
        Some(cursor) => (
            &*cursor.topic_name,
            usize::try_from(cursor.partition_index).unwrap_or(0),
        ),
        None => ("", 0),
    };
    let all = request.topics.is_empty();
    let names: BTreeSet<&str> = match all {
        true => image
            .topics()
            .iter_from(first_topic)
            .map(|topic| &*topic.name)
            .collect(),
        false => request
            .topics
            .iter()
            .map(|topic| &*topic.name)
            .filter(|name| *name >= first_topic)
            .collect(),
    };
    let asked = usize::try_from(request.response_partition_limit)
        .unwrap_or(0)
        .max(1);
    let mut left = asked.min(context.broker.config.net.partitions_per_description as usize);
    let mut response = DescribeTopicPartitionsResponse::default();
    let mut turn = Turn::default();
    for name in names {
        let bytes = TOPIC_BYTES + 2 * name.len();
        if !context.memory.reserve(bytes).await {
            break;
        }
        turn.spend(bytes).await;
        if left == 0 {
            response.next_cursor = Some(cursor(name, 0));
            break;
        }
        let Some(topic) = image.topics().by_name(name) else {
            response.topics.push(unknown(name));
            continue;
        };
        let from = if name == first_topic {
            first_partition.min(topic.partitions.len())
        } else {
            0
        };
        let upto = topic.partitions.len().min(from + left);
        let Some(described) = describe(context, &image, topic, from..upto, &mut turn).await else {
            break;
        };
        response.topics.push(described);
        left -= upto - from;
        if upto < topic.partitions.len() {
            response.next_cursor = Some(cursor(name, upto));
            break;
        }
    }
    response
}

/// Whether the cursor, if there is one, is at a partition of a topic that is asked for.
fn is_usable(request: &DescribeTopicPartitionsRequest) -> bool {
    request.cursor.as_ref().is_none_or(|cursor| {
        let mut topics = request.topics.iter();
        let named = request.topics.is_empty() || topics.any(|topic| topic.name == cursor.topic_name);
        named && cursor.partition_index >= 0
    })
}

/// The answer to a request whose cursor is of no use.
fn refused(request: &DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    let topics = request
        .topics
        .iter()
        .map(|asked| DescribeTopicPartitionsResponseTopic {
            error_code: ErrorCode::InvalidRequest.code(),
            name: Some(asked.name.clone()),
            ..Default::default()
        });
    DescribeTopicPartitionsResponse {
        topics: topics.collect(),
        ..Default::default()
    }
}

fn cursor(topic: &str, partition: usize) -> Cursor {
    Cursor {
        topic_name: topic.to_owned().into(),
        partition_index: i32::try_from(partition).unwrap_or(i32::MAX),
        ..Default::default()
    }
}

fn unknown(name: &str) -> DescribeTopicPartitionsResponseTopic {
    let code = match topic_name::validate(name) {
        Ok(()) => ErrorCode::UnknownTopicOrPartition,
        Err(_) => ErrorCode::InvalidTopicException,
    };
    DescribeTopicPartitionsResponseTopic {
        error_code: code.code(),
        name: Some(name.to_owned().into()),
        is_internal: topic_name::is_internal(name),
        topic_authorized_operations: operations::of_topic(true),
        ..Default::default()
    }
}

/// Describes partitions of a topic, a few at a time; `None` if that makes the answer too large.
async fn describe(
    context: &RequestContext<'_>,
    image: &Image,
    topic: &TopicImage,
    range: Range<usize>,
    turn: &mut Turn,
) -> Option<DescribeTopicPartitionsResponseTopic> {
    let mut partitions = Vec::new();
    for first in range.clone().step_by(AT_ONCE) {
        let some = (first..range.end.min(first + AT_ONCE))
            .filter_map(|index| Some((index, topic.partitions.get(index)?)));
        let bytes = some.clone().map(|(_, partition)| size_of_answer(partition)).sum();
        if !context.memory.reserve(bytes).await {
            return None;
        }
        partitions.extend(some.map(|(index, partition)| describe_partition(image, index, partition)));
        turn.spend(bytes).await;
    }
    Some(DescribeTopicPartitionsResponseTopic {
        name: Some(topic.name.to_string().into()),
        topic_id: topic.id,
        is_internal: topic_name::is_internal(&topic.name),
        partitions,
        topic_authorized_operations: operations::of_topic(true),
        ..Default::default()
    })
}

/// What a partition takes, described and encoded.
fn size_of_answer(partition: &PartitionImage) -> usize {
    let brokers = 2 * partition.replicas.len()
        + partition.isr.len()
        + partition.elr.len()
        + partition.last_known_elr.len();
    // Rows of partitions grow by doubling.
    2 * size_of::<DescribeTopicPartitionsResponsePartition>()
        + 2 * size_of::<i32>() * brokers
        + PARTITION_BYTES
}

fn describe_partition(
    image: &Image,
    index: usize,
    partition: &PartitionImage,
) -> DescribeTopicPartitionsResponsePartition {
    let raw = |brokers: &[BrokerId]| brokers.iter().map(|broker| broker.0).collect::<Vec<_>>();
    let offline = partition
        .replicas
        .iter()
        .filter(|id| !image.cluster().is_unfenced(**id));
    let code = if partition.leader.is_some() {
        ErrorCode::None
    } else {
        ErrorCode::LeaderNotAvailable
    };
    DescribeTopicPartitionsResponsePartition {
        error_code: code.code(),
        partition_index: i32::try_from(index).unwrap_or(i32::MAX),
        leader_id: partition.leader.map_or(-1, |leader| leader.0),
        leader_epoch: partition.leader_epoch.0,
        replica_nodes: raw(&partition.replicas),
        isr_nodes: raw(&partition.isr),
        eligible_leader_replicas: Some(raw(&partition.elr)),
        last_known_elr: Some(raw(&partition.last_known_elr)),
        offline_replicas: offline.map(|id| id.0).collect(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use klamm_protocol::messages::describe_topic_partitions_request as wire;

    use super::*;
    use crate::answer_memory::encoded_bytes;

    #[test]
    fn a_cursor_is_at_a_topic_that_is_asked_for() {
        for (topics, cursor, usable) in [
            (&["a", "b"][..], None, true),
            (&["a", "b"], Some(("a", 0)), true),
            (&["a", "b"], Some(("b", 99)), true),
            (&["a", "b"], Some(("aa", 0)), false),
            (&["a", "b"], Some(("c", 0)), false),
            (&["a", "b"], Some(("", 0)), false),
            (&["a", "b"], Some(("a", -1)), false),
            (&[], Some(("c", 0)), true),
            (&[], Some(("c", -1)), false),
        ] {
            let request = DescribeTopicPartitionsRequest {
                topics: topics
                    .iter()
                    .map(|name| wire::TopicRequest {
                        name: (*name).into(),
                        ..Default::default()
                    })
                    .collect(),
                cursor: cursor.map(|(topic_name, partition_index): (&str, i32)| wire::Cursor {
                    topic_name: topic_name.into(),
                    partition_index,
                    ..Default::default()
                }),
                ..Default::default()
            };
            assert_eq!(is_usable(&request), usable, "{topics:?} {cursor:?}");
            let told = refused(&request).topics;
            assert_eq!(told.len(), topics.len());
            assert!(told.iter().all(|topic| topic.error_code == 42));
        }
    }

    #[test]
    fn an_answer_takes_no_more_than_is_reserved_for_it() {
        for (topics, partitions, replicas) in [(1, 1, 1), (1, 1_000, 3), (500, 1, 3), (20, 20, 5)] {
            let image = PartitionImage {
                replicas: vec![BrokerId(1); replicas].into(),
                isr: vec![BrokerId(1); replicas].into(),
                ..Default::default()
            };
            let partition = DescribeTopicPartitionsResponsePartition {
                replica_nodes: vec![1; replicas],
                isr_nodes: vec![1; replicas],
                offline_replicas: vec![1; replicas],
                ..Default::default()
            };
            let topic = DescribeTopicPartitionsResponseTopic {
                name: Some("orders".into()),
                partitions: vec![partition; partitions],
                ..Default::default()
            };
            let response = DescribeTopicPartitionsResponse {
                topics: vec![topic; topics],
                ..Default::default()
            };
            let row = size_of::<DescribeTopicPartitionsResponseTopic>()
                + partitions
                    * (size_of::<DescribeTopicPartitionsResponsePartition>()
                        + 3 * replicas * size_of::<i32>());
            let taken = topics * row + encoded_bytes::<DescribeTopicPartitionsRequest>(0, &response);
            let reserved = topics * (TOPIC_BYTES + partitions * size_of_answer(&image));
            assert!(
                taken <= reserved,
                "{taken} of {reserved}: {topics} {partitions} {replicas}"
            );
        }
    }
}
