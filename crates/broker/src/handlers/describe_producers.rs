//! DescribeProducers, version 0: the producers that a partition remembers (KIP-664).
//!
//! *Memory*: the answer, one entry for each remembered producer, reserved before it is made. *Authorization*: READ on the topic.

use std::sync::Arc;

use klamm_log::producers::ActiveProducer;
use klamm_model::{ErrorCode, topic_name};
use klamm_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use klamm_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse};

use crate::context::RequestContext;
use crate::operations;
use crate::replicas::Partition;
use crate::turn::Turn;

/// What a producer takes, described and encoded; what a partition takes beside its producers and its message, with what the
/// allocator rounds up; and a topic beside its name.
const PRODUCER_BYTES: usize = size_of::<ProducerState>() + 40;
const PARTITION_BYTES: usize = 2 * size_of::<PartitionResponse>() + 32;
const TOPIC_BYTES: usize = 2 * size_of::<TopicResponse>() + 32;

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let mut response = DescribeProducersResponse::default();
    let mut turn = Turn::default();
    for topic in &request.topics {
        if !context.memory.reserve(TOPIC_BYTES + topic.name.len()).await {
            break;
        }
        let mut described = TopicResponse {
            name: topic.name.clone(),
            ..Default::default()
        };
        for index in &topic.partition_indexes {
            let Some(partition) = describe(context, &topic.name, *index).await else {
                return response;
            };
            turn.spend(partition.active_producers.len() * PRODUCER_BYTES)
                .await;
            described.partitions.push(partition);
        }
        response.topics.push(described);
    }
    response
}

/// One partition; `None` if the answer is too large.
async fn describe(context: &RequestContext<'_>, topic: &str, index: i32) -> Option<PartitionResponse> {
    let found = find(context, topic, index);
    let remembered = found.as_ref().map_or(0, |(_, remembered)| *remembered);
    let message = found.as_ref().err().and_then(|(_, message)| message.as_ref());
    let bytes = PARTITION_BYTES + remembered * PRODUCER_BYTES + 2 * message.map_or(0, String::len);
    if !context.memory.reserve(bytes).await {
        return None;
    }
    let producers = found.and_then(|(partition, remembered)| {
        let mut rows = Vec::with_capacity(remembered);
        // What has come meanwhile has no memory reserved.
        let filled = partition.as_leader(None, |log, _| {
            rows.extend(log.producers().active().take(remembered).map(state));
        });
        filled.map(|()| rows).map_err(|code| (code, None))
    });
    let answer = match producers {
        Ok(active_producers) => PartitionResponse {
            active_producers,
            ..Default::default()
        },
        Err((code, message)) => PartitionResponse {
            error_code: code.code(),
            error_message: message.map(Into::into),
            ..Default::default()
        },
    };
    Some(PartitionResponse {
        partition_index: index,
        ..answer
    })
}

/// A partition that is led here and how many producers it remembers, or why there are none to tell of.
fn find(
    context: &RequestContext<'_>,
    topic: &str,
    index: i32,
) -> Result<(Arc<Partition>, usize), (ErrorCode, Option<String>)> {
    topic_name::validate(topic)
        .map_err(|error| (ErrorCode::InvalidTopicException, Some(error.to_string())))?;
    let unknown = |message: Option<&str>| (ErrorCode::UnknownTopicOrPartition, message.map(str::to_owned));
    let topic = context.broker.replicas.by_name(topic);
    // Kafka has words for a topic that is not there, and none for a partition.
    let topic = topic.ok_or_else(|| unknown(Some(operations::UNKNOWN_PARTITION)))?;
    let partition = topic.partition(index).map_err(|code| (code, None))?;
    let remembered = partition.as_leader(None, |log, _| log.producers().active().count());
    Ok((partition, remembered.map_err(|code| (code, None))?))
}

fn state(producer: ActiveProducer) -> ProducerState {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer_memory::encoded_bytes;

    #[test]
    fn an_answer_takes_no_more_than_is_reserved_for_it() {
        let error_message = operations::UNKNOWN_PARTITION;
        for (partitions, producers) in [(1, 1), (1, 1_000), (100, 0), (100, 7)] {
            let partition = PartitionResponse {
                error_message: Some(error_message.into()),
                active_producers: vec![ProducerState::default(); producers],
                ..Default::default()
            };
            let response = DescribeProducersResponse {
                topics: vec![TopicResponse {
                    name: "orders".into(),
                    partitions: vec![partition; partitions],
                    ..Default::default()
                }],
                ..Default::default()
            };
            // Rows grow by doubling, those of producers are made at once.
            let made = size_of::<TopicResponse>()
                + partitions.next_power_of_two() * size_of::<PartitionResponse>()
                + partitions * producers * size_of::<ProducerState>();
            let reserved = TOPIC_BYTES
                + 6
                + partitions * (PARTITION_BYTES + 2 * error_message.len() + producers * PRODUCER_BYTES);
            let taken = made + encoded_bytes::<DescribeProducersRequest>(0, &response);
            assert!(
                taken <= reserved,
                "{taken} of {reserved}: {partitions} {producers}"
            );
        }
    }
}
