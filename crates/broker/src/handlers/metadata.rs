//! Metadata, versions 0 to 13: the brokers, and where the partitions of topics are.
//!
//! No topics means all in version 0, and since version 1 null does; topics may be named by id since version 12 (KIP-516),
//! and are told with their id since 10, whose requests have a place for an id that they must not use. A topic that is
//! named more than once is told of once, and where an id stands beside a name, the id counts. An unknown topic is made when the request and the broker allow it, and then
//! answered when it can be used. Addresses are those of the listener that was asked.
//!
//! *Memory*: the answer, proportional to the partitions named, reserved before it is made. *Authorization*: DESCRIBE on the topic, CREATE to make it.

use std::collections::{BTreeMap, BTreeSet};

use klamm_metadata::{Image, PartitionImage, TopicImage};
use klamm_model::{BrokerId, ErrorCode, topic_name};
use klamm_protocol::ByteString;
use klamm_protocol::messages::metadata_request::MetadataRequestTopic;
use klamm_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use klamm_protocol::messages::{MetadataRequest, MetadataResponse};

use crate::auto_create;
use crate::context::RequestContext;
use crate::operations;
use crate::turn::Turn;

/// Partitions that are described at once.
const AT_ONCE: usize = 256;
/// What a topic takes beside its partitions, and a partition beside its brokers, with what the allocator rounds up.
const TOPIC_BYTES: usize = 512;
const PARTITION_BYTES: usize = 96;
/// What an unknown topic takes, described and encoded, beside its encoded name. The name that is described lies in the
/// request.
const UNKNOWN_BYTES: usize = size_of::<MetadataResponseTopic>() + 96;

/// Answers one request.
pub(crate) async fn handle(context: &RequestContext<'_>, request: MetadataRequest) -> MetadataResponse {
    let operations = operations::of_topic(request.include_topic_authorized_operations);
    let all = match &request.topics {
        None => true,
        Some(topics) => topics.is_empty() && context.version == 0,
    };
    if names_by_id_too_early(context.version, &request) {
        return refused(&request, ErrorCode::InvalidRequest);
    }
    let topics = if all {
        all_topics(context, operations).await
    } else {
        let named = request.topics.as_deref().unwrap_or_default();
        named_topics(context, named, request.allow_auto_topic_creation, operations).await
    };
    let image = context.broker.metadata.published();
    MetadataResponse {
        brokers: brokers(context, &image),
        cluster_id: Some(context.broker.cluster_id.to_string().into()),
        controller_id: operations::controller_to_show(context).map_or(-1, |id| id.0),
        topics,
        cluster_authorized_operations: operations::of_cluster(request.include_cluster_authorized_operations),
        ..Default::default()
    }
}

/// Whether the request uses ids, or leaves names out, in a version that has the fields for it but not the meaning.
fn names_by_id_too_early(version: i16, request: &MetadataRequest) -> bool {
    let mut named = request.topics.iter().flatten();
    version < 12 && named.any(|topic| topic.name.is_none() || !topic.topic_id.is_zero())
}

/// The answer to a request that is refused as a whole.
fn refused(request: &MetadataRequest, code: ErrorCode) -> MetadataResponse {
    let topics = request
        .topics
        .iter()
        .flatten()
        .map(|asked| MetadataResponseTopic {
            error_code: code.code(),
            name: Some(asked.name.clone().unwrap_or_default()),
            topic_id: asked.topic_id,
            ..Default::default()
        });
    MetadataResponse {
        controller_id: -1,
        topics: topics.collect(),
        error_code: code.code(),
        ..Default::default()
    }
}

async fn all_topics(context: &RequestContext<'_>, operations: i32) -> Vec<MetadataResponseTopic> {
    let image = context.broker.metadata.published_arc();
    let mut turn = Turn::default();
    let mut topics = Vec::new();
    for topic in image.topics().iter() {
        match describe(context, &image, topic, operations, &mut turn).await {
            Some(topic) => topics.push(topic),
            None => break,
        }
    }
    topics
}

fn brokers(context: &RequestContext<'_>, image: &Image) -> Vec<MetadataResponseBroker> {
    let alive = image.cluster().brokers().filter(|broker| !broker.fenced);
    let reachable = alive.filter_map(|broker| {
        let endpoint = broker.endpoint(&context.connection.listener)?;
        Some(MetadataResponseBroker {
            node_id: broker.id.0,
            host: endpoint.host.to_string().into(),
            port: i32::from(endpoint.port),
            rack: broker.rack.as_ref().map(|rack| rack.to_string().into()),
            ..Default::default()
        })
    });
    reachable.collect()
}

async fn named_topics(
    context: &RequestContext<'_>,
    named: &[MetadataRequestTopic],
    may_create: bool,
    operations: i32,
) -> Vec<MetadataResponseTopic> {
    let mut refused = BTreeMap::new();
    if may_create || context.version < 4 {
        let image = context.broker.metadata.published_arc();
        let by_name = named.iter().filter(|topic| topic.topic_id.is_zero());
        let names = by_name.filter_map(|topic| topic.name.clone());
        let missing: Vec<_> = names
            .filter(|name| image.topics().by_name(name).is_none())
            .collect();
        if !missing.is_empty() && context.broker.config.topics.auto_create {
            refused = auto_create::create(context, &missing).await.into_iter().collect();
        }
    }
    let image = context.broker.metadata.published_arc();
    let mut turn = Turn::default();
    let mut answers = Vec::new();
    let mut told = BTreeSet::new();
    for asked in named {
        let found = match &asked.name {
            _ if !asked.topic_id.is_zero() => image.topics().by_id(&asked.topic_id),
            Some(name) => image.topics().by_name(name),
            None => None,
        };
        let Some(topic) = found else {
            let bytes = UNKNOWN_BYTES + asked.name.as_ref().map_or(0, |name| name.len());
            if !context.memory.reserve(bytes).await {
                break;
            }
            turn.spend(bytes).await;
            let topic = unknown(asked, why_unknown(asked, &refused), operations);
            if told.insert((topic.name.clone(), topic.topic_id)) {
                answers.push(topic);
            }
            continue;
        };
        // Before it is described: a large topic may be named again and again.
        if !told.insert((Some(topic.name.to_string().into()), topic.id)) {
            continue;
        }
        match describe(context, &image, topic, operations, &mut turn).await {
            Some(topic) => answers.push(topic),
            None => break,
        }
    }
    answers
}

/// Why there is no such topic. `refused` could not be made.
fn why_unknown(asked: &MetadataRequestTopic, refused: &BTreeMap<ByteString, ErrorCode>) -> ErrorCode {
    match &asked.name {
        _ if !asked.topic_id.is_zero() => ErrorCode::UnknownTopicId,
        None => ErrorCode::UnknownTopicId,
        Some(name) if topic_name::validate(name).is_err() => ErrorCode::InvalidTopicException,
        Some(name) => refused
            .get(name)
            .copied()
            .unwrap_or(ErrorCode::UnknownTopicOrPartition),
    }
}

fn unknown(asked: &MetadataRequestTopic, code: ErrorCode, operations: i32) -> MetadataResponseTopic {
    // Where the id counts, the name beside it is not told.
    let name = asked.name.clone().filter(|_| asked.topic_id.is_zero());
    MetadataResponseTopic {
        error_code: code.code(),
        is_internal: name.as_deref().is_some_and(topic_name::is_internal),
        name,
        topic_id: asked.topic_id,
        topic_authorized_operations: operations,
        ..Default::default()
    }
}

/// Describes a topic, a few partitions at a time; `None` if that makes the answer too large.
async fn describe(
    context: &RequestContext<'_>,
    image: &Image,
    topic: &TopicImage,
    operations: i32,
    turn: &mut Turn,
) -> Option<MetadataResponseTopic> {
    let mut partitions = Vec::with_capacity(topic.partitions.len().min(AT_ONCE));
    let mut first = 0;
    while first == 0 || first < topic.partitions.len() {
        let some = topic.partitions.iter().enumerate().skip(first).take(AT_ONCE);
        let bytes = some.clone().map(|(_, partition)| size_of_answer(partition)).sum();
        if !context.memory.reserve(TOPIC_BYTES + bytes).await {
            return None;
        }
        partitions.extend(
            some.map(|(index, partition)| describe_partition(context, image, index as i32, partition)),
        );
        first += AT_ONCE;
        turn.spend(bytes).await;
    }
    Some(MetadataResponseTopic {
        name: Some(topic.name.to_string().into()),
        topic_id: topic.id,
        is_internal: topic_name::is_internal(&topic.name),
        partitions,
        topic_authorized_operations: operations,
        ..Default::default()
    })
}

/// What a partition takes, described and encoded.
fn size_of_answer(partition: &PartitionImage) -> usize {
    let brokers = 2 * partition.replicas.len() + partition.isr.len();
    // Rows of partitions grow by doubling.
    2 * size_of::<MetadataResponsePartition>() + 2 * size_of::<i32>() * brokers + PARTITION_BYTES
}

fn describe_partition(
    context: &RequestContext<'_>,
    image: &Image,
    partition_index: i32,
    partition: &PartitionImage,
) -> MetadataResponsePartition {
    let reachable = |id: &BrokerId| {
        let broker = image.cluster().broker(*id).filter(|broker| !broker.fenced);
        broker.is_some_and(|broker| broker.endpoint(&context.connection.listener).is_some())
    };
    let leader = partition.leader.filter(reachable);
    let code = match (partition.leader, leader) {
        (_, Some(_)) => ErrorCode::None,
        (None, None) => ErrorCode::LeaderNotAvailable,
        (Some(_), None) if context.version >= 6 => ErrorCode::ListenerNotFound,
        (Some(_), None) => ErrorCode::LeaderNotAvailable,
    };
    let raw = |brokers: &[BrokerId]| brokers.iter().map(|broker| broker.0).collect();
    MetadataResponsePartition {
        error_code: code.code(),
        partition_index,
        leader_id: leader.map_or(-1, |leader| leader.0),
        leader_epoch: partition.leader_epoch.0,
        replica_nodes: raw(&partition.replicas),
        isr_nodes: raw(&partition.isr),
        offline_replicas: partition
            .replicas
            .iter()
            .filter(|id| !reachable(id))
            .map(|id| id.0)
            .collect(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use klamm_model::Uuid;

    use super::*;
    use crate::answer_memory::encoded_bytes;

    #[test]
    fn ids_are_for_version_12_and_later() {
        let topic = |name: Option<&str>, topic_id: Uuid| MetadataRequestTopic {
            name: name.map(Into::into),
            topic_id,
            ..Default::default()
        };
        let cases = [
            (Some(vec![topic(Some("a"), Uuid::ZERO)]), false),
            (Some(vec![topic(Some("a"), Uuid::ONE)]), true),
            (Some(vec![topic(None, Uuid::ONE)]), true),
            (
                Some(vec![topic(Some("a"), Uuid::ZERO), topic(None, Uuid::ZERO)]),
                true,
            ),
            (Some(Vec::new()), false),
            (None, false),
        ];
        for (topics, too_early) in cases {
            let request = MetadataRequest {
                topics,
                ..Default::default()
            };
            for (version, expected) in [(10, too_early), (11, too_early), (12, false), (13, false)] {
                let found = names_by_id_too_early(version, &request);
                assert_eq!(found, expected, "version {version}: {request:?}");
            }
            // The whole request is refused: nothing of the cluster is told.
            let refused = refused(&request, ErrorCode::InvalidRequest);
            assert!(refused.brokers.is_empty() && refused.controller_id == -1);
            assert!(
                refused
                    .topics
                    .iter()
                    .all(|topic| topic.name.is_some() && topic.error_code == 42)
            );
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
            let partition = MetadataResponsePartition {
                replica_nodes: vec![1; replicas],
                isr_nodes: vec![1; replicas],
                offline_replicas: vec![1; replicas],
                ..Default::default()
            };
            let topic = MetadataResponseTopic {
                name: Some("orders".into()),
                partitions: vec![partition; partitions],
                ..Default::default()
            };
            let response = MetadataResponse {
                topics: vec![topic; topics],
                ..Default::default()
            };
            let row = size_of::<MetadataResponseTopic>()
                + partitions.next_power_of_two() * size_of::<MetadataResponsePartition>()
                + partitions * 3 * replicas * size_of::<i32>();
            let taken = topics * row + encoded_bytes::<MetadataRequest>(13, &response);
            let reserved = topics * (TOPIC_BYTES + partitions * size_of_answer(&image));
            assert!(
                taken <= reserved,
                "{taken} of {reserved}: {topics} {partitions} {replicas}"
            );
        }
    }
}
