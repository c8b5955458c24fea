//! DescribeProducers, version 0: the producers that a partition remembers (KIP-664).
//!
//! *Memory*: the answer, one entry for each remembered producer. *Authorization*: READ on the topic.

use klamm_log::producers::ActiveProducer;
use klamm_model::{ErrorCode, topic_name};
use klamm_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use klamm_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse};

use crate::context::RequestContext;
use crate::operations;

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partition_indexes.iter().map(|index| {
            let answer = match producers(context, &topic.name, *index) {
                Ok(producers) => PartitionResponse {
                    active_producers: producers.iter().map(state).collect(),
                    ..Default::default()
                },
                Err((code, message)) => PartitionResponse {
                    error_code: code.code(),
                    error_message: message.map(Into::into),
                    ..Default::default()
                },
            };
            PartitionResponse {
                partition_index: *index,
                ..answer
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

/// The producers of one partition, or why there are none to tell of.
fn producers(
    context: &RequestContext<'_>,
    topic: &str,
    index: i32,
) -> Result<Vec<ActiveProducer>, (ErrorCode, Option<String>)> {
    topic_name::validate(topic)
        .map_err(|error| (ErrorCode::InvalidTopicException, Some(error.to_string())))?;
    let unknown = |message: Option<&str>| (ErrorCode::UnknownTopicOrPartition, message.map(str::to_owned));
    let topic = context.broker.replicas.by_name(topic);
    // Kafka has words for a topic that is not there, and none for a partition.
    let topic = topic.ok_or_else(|| unknown(Some(operations::UNKNOWN_PARTITION)))?;
    let partition = topic.partition(index).map_err(|code| (code, None))?;
    let active = partition.as_leader(None, |log, _| log.producers().active().collect());
    active.map_err(|code| (code, None))
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
