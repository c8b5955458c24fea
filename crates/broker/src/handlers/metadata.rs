//! Metadata, versions 0 to 13: the brokers, and where the partitions of topics are.
//!
//! No topics means all in version 0, and since version 1 null does; topics may be named by id since version 10 (KIP-516),
//! and are always told with their id. An unknown topic is made when the request and the broker allow it, and then
//! answered when it can be used. Addresses are those of the listener that was asked.
//!
//! *Memory*: the answer, proportional to the partitions named. *Authorization*: DESCRIBE on the topic, CREATE to make it.

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

/// Answers one request.
pub(crate) async fn handle(context: &RequestContext<'_>, request: MetadataRequest) -> MetadataResponse {
    let operations = operations::of_topic(request.include_topic_authorized_operations);
    let all = match &request.topics {
        None => true,
        Some(topics) => topics.is_empty() && context.version == 0,
    };
    let topics = if all {
        let image = context.broker.metadata.published();
        image
            .topics()
            .iter()
            .map(|topic| describe(context, &image, topic, operations))
            .collect()
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
    let mut refused = Vec::new();
    if may_create || context.version < 4 {
        let image = context.broker.metadata.published_arc();
        let names = named.iter().filter_map(|topic| topic.name.clone());
        let missing: Vec<_> = names
            .filter(|name| image.topics().by_name(name).is_none())
            .collect();
        if !missing.is_empty() && context.broker.config.topics.auto_create {
            refused = auto_create::create(context, &missing).await;
        }
    }
    let image = context.broker.metadata.published();
    let answer = |asked: &MetadataRequestTopic| {
        let found = match &asked.name {
            Some(name) => image.topics().by_name(name),
            None => image.topics().by_id(&asked.topic_id),
        };
        if let Some(topic) = found {
            return describe(context, &image, topic, operations);
        }
        let code = match &asked.name {
            None => ErrorCode::UnknownTopicId,
            Some(name) if topic_name::validate(name).is_err() => ErrorCode::InvalidTopicException,
            Some(name) => {
                let refusal = refused.iter().find(|(refused, _)| refused == name);
                refusal.map_or(ErrorCode::UnknownTopicOrPartition, |(_, code)| *code)
            }
        };
        unknown(context, asked, code, operations)
    };
    named.iter().map(answer).collect()
}

fn unknown(
    context: &RequestContext<'_>,
    asked: &MetadataRequestTopic,
    code: ErrorCode,
    operations: i32,
) -> MetadataResponseTopic {
    // A name may be null only since version 12.
    let name = asked
        .name
        .clone()
        .or_else(|| (context.version < 12).then(ByteString::new));
    MetadataResponseTopic {
        error_code: code.code(),
        is_internal: name.as_deref().is_some_and(topic_name::is_internal),
        name,
        topic_id: asked.topic_id,
        topic_authorized_operations: operations,
        ..Default::default()
    }
}

fn describe(
    context: &RequestContext<'_>,
    image: &Image,
    topic: &TopicImage,
    operations: i32,
) -> MetadataResponseTopic {
    let partitions = (0..).zip(topic.partitions.iter());
    MetadataResponseTopic {
        name: Some(topic.name.to_string().into()),
        topic_id: topic.id,
        is_internal: topic_name::is_internal(&topic.name),
        partitions: partitions
            .map(|(index, partition)| describe_partition(context, image, index, partition))
            .collect(),
        topic_authorized_operations: operations,
        ..Default::default()
    }
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
