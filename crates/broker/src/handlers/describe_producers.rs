//! DescribeProducers, version 0: the producers that a partition remembers (KIP-664).
//!
//! *Memory*: the answer, one entry for each remembered producer. *Authorization*: READ on the topic.

use klamm_log::producers::ActiveProducer;
use klamm_model::ErrorCode;
use klamm_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use klamm_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse};

use crate::context::RequestContext;

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let topics = request.topics.iter().map(|topic| {
        let found = context.broker.replicas.by_name(&topic.name);
        let partitions = topic.partition_indexes.iter().map(|index| {
            let partition = found.as_ref().and_then(|topic| topic.partition(*index));
            let producers = partition
                .ok_or(ErrorCode::UnknownTopicOrPartition)
                .and_then(|partition| {
                    partition.as_leader(None, |log, _| log.producers().active().collect::<Vec<_>>())
                });
            match producers {
                Ok(producers) => PartitionResponse {
                    partition_index: *index,
                    active_producers: producers.iter().map(state).collect(),
                    ..Default::default()
                },
                Err(code) => PartitionResponse {
                    partition_index: *index,
                    error_code: code.code(),
                    ..Default::default()
                },
            }
        });
        TopicResponse {
            name: topic.name.clone(),
            partitions: partitions.collect(),
            ..Default::default()
        }
    });
    DescribeProducersResponse {
        topics: topics.collect(),
        ..Default::default()
    }
}

fn state(producer: &ActiveProducer) -> ProducerState {
    ProducerState {
        producer_id: producer.producer_id.0,
        producer_epoch: i32::from(producer.producer_epoch.0),
        last_sequence: producer.last_sequence.unwrap_or(-1),
        last_timestamp: producer.last_timestamp.0,
        coordinator_epoch: producer.coordinator_epoch.unwrap_or(-1),
        current_txn_start_offset: producer.current_txn_start_offset.map_or(-1, |offset| offset.0),
        ..Default::default()
    }
}
