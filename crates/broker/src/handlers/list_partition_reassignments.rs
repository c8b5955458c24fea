//! ListPartitionReassignments, version 0: partitions whose replicas are on the move (KIP-455).
//!
//! *Memory*: the answer. *Authorization*: DESCRIBE on the cluster.

use klamm_metadata::{PartitionImage, TopicImage};
use klamm_model::BrokerId;
use klamm_protocol::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use klamm_protocol::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use crate::context::RequestContext;

/// Answers one request: of the named partitions, or of all.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    let image = context.broker.metadata.published();
    let topics: Vec<_> = match &request.topics {
        None => image
            .topics()
            .iter()
            .filter_map(|topic| moving(topic, |_| true))
            .collect(),
        Some(named) => named
            .iter()
            .filter_map(|asked| {
                let topic = image.topics().by_name(&asked.name)?;
                moving(topic, |index| asked.partition_indexes.contains(&index))
            })
            .collect(),
    };
    ListPartitionReassignmentsResponse {
        error_message: None,
        topics,
        ..Default::default()
    }
}

fn moving(topic: &TopicImage, wanted: impl Fn(i32) -> bool) -> Option<OngoingTopicReassignment> {
    let partitions: Vec<_> = (0..)
        .zip(topic.partitions.iter())
        .filter(|(index, partition)| partition.is_reassigning() && wanted(*index))
        .map(|(index, partition)| reassignment(index, partition))
        .collect();
    let name = topic.name.to_string().into();
    (!partitions.is_empty()).then(|| OngoingTopicReassignment {
        name,
        partitions,
        ..Default::default()
    })
}

fn reassignment(partition_index: i32, partition: &PartitionImage) -> OngoingPartitionReassignment {
    let raw = |brokers: &[BrokerId]| brokers.iter().map(|broker| broker.0).collect();
    OngoingPartitionReassignment {
        partition_index,
        replicas: raw(&partition.replicas),
        adding_replicas: raw(&partition.adding),
        removing_replicas: raw(&partition.removing),
        ..Default::default()
    }
}
