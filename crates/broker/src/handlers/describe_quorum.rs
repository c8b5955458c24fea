//! DescribeQuorum, versions 0 to 2: the state of the metadata quorum (KIP-595, KIP-836, KIP-853).
//!
//! Answered from Raft's own term, membership and progress; offsets are those of the metadata log. Versions of the answer
//! differ in what a replica's entry tells: fetch times since 1, directory ids and the nodes' listeners since 2.
//!
//! *Memory*: the answer. *Authorization*: DESCRIBE on the cluster.

use klamm_model::ErrorCode;
use klamm_protocol::messages::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use klamm_protocol::messages::{DescribeQuorumRequest, DescribeQuorumResponse};
use klamm_quorum::ReplicaDescription;

use crate::context::RequestContext;
use crate::operations;

/// The only topic that has a quorum, with one partition.
const TOPIC: &str = "__cluster_metadata";

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    request: DescribeQuorumRequest,
) -> DescribeQuorumResponse {
    let asks_for_it = matches!(&request.topics[..], [topic]
        if topic.topic_name == TOPIC && matches!(&topic.partitions[..], [partition] if partition.partition_index == 0));
    if !asks_for_it {
        return unknown(context.version, &request);
    }
    let quorum = context.broker.quorum.describe();
    let replica = |replica: &ReplicaDescription| state(context, replica);
    let partition = PartitionData {
        leader_id: quorum.leader.unwrap_or(-1),
        leader_epoch: i32::try_from(quorum.term).unwrap_or(i32::MAX),
        high_watermark: i64::try_from(quorum.high_watermark).unwrap_or(-1),
        current_voters: quorum.voters.iter().map(replica).collect(),
        observers: quorum.observers.iter().map(replica).collect(),
        ..Default::default()
    };
    let topic = TopicData {
        topic_name: TOPIC.into(),
        partitions: vec![partition],
        ..Default::default()
    };
    let nodes = if context.version >= 2 {
        quorum.voters.iter().map(|voter| node(context, voter)).collect()
    } else {
        Vec::new()
    };
    DescribeQuorumResponse {
        topics: vec![topic],
        nodes,
        ..Default::default()
    }
}

fn state(context: &RequestContext<'_>, replica: &ReplicaDescription) -> ReplicaState {
    let own = replica.id == context.broker.id.0;
    let told = context.version >= 1;
    // The leader does not fetch from itself: it is always caught up.
    let now = context.broker.env.now();
    let time = |time: Option<klamm_model::TimestampMs>| match time {
        _ if !told => -1,
        Some(time) => time.0,
        None if own => now.0,
        None => -1,
    };
    ReplicaState {
        replica_id: replica.id,
        log_end_offset: replica
            .log_end
            .and_then(|end| i64::try_from(end).ok())
            .unwrap_or(-1),
        last_fetch_timestamp: time(replica.last_fetch),
        last_caught_up_timestamp: time(replica.last_caught_up),
        ..Default::default()
    }
}

fn node(context: &RequestContext<'_>, voter: &ReplicaDescription) -> Node {
    let name = context
        .broker
        .config
        .listeners
        .controller
        .first()
        .map(|listener| listener.name.clone());
    let listener = Listener {
        name: name.unwrap_or_else(|| "CONTROLLER".into()).into(),
        host: voter.endpoint.host.clone().into(),
        port: voter.endpoint.port,
        ..Default::default()
    };
    let listeners = if voter.endpoint.host.is_empty() {
        Vec::new()
    } else {
        vec![listener]
    };
    Node {
        node_id: voter.id,
        listeners,
        ..Default::default()
    }
}

fn unknown(version: i16, request: &DescribeQuorumRequest) -> DescribeQuorumResponse {
    let message = if version >= 2 {
        operations::UNKNOWN_PARTITION
    } else {
        ""
    };
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| PartitionData {
            partition_index: partition.partition_index,
            error_code: ErrorCode::UnknownTopicOrPartition.code(),
            error_message: Some(message.into()),
            ..Default::default()
        });
        TopicData {
            topic_name: topic.topic_name.clone(),
            partitions: partitions.collect(),
            ..Default::default()
        }
    });
    DescribeQuorumResponse {
        topics: topics.collect(),
        ..Default::default()
    }
}
