//! The Produce request, and what its answer says about each partition.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use klamm_model::{Offset, TimestampMs, TopicId, TopicPartition};
use klamm_protocol::Records;
use klamm_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use klamm_protocol::messages::produce_response::{PartitionProduceResponse, ProduceResponse};

use super::outcome::Place;
use super::queue::Answer;
use crate::error::Refusal;

/// The last version that names topics instead of giving their identifiers.
pub(super) const LAST_VERSION_WITH_NAMES: i16 = 12;
/// All in-sync replicas.
const ACKS_ALL: i16 = -1;

/// A batch in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) partition: TopicPartition,
    pub(super) topic_id: Option<TopicId>,
    /// Which sending of the partition's queue it is.
    pub(super) id: u64,
}

/// The request that carries these batches, in a transaction of this id if there is one.
pub(super) fn build(
    batches: Vec<(Sent, Bytes)>,
    timeout: Duration,
    transactional_id: Option<ByteString>,
) -> (ProduceRequest, Vec<Sent>) {
    let mut topics: BTreeMap<Arc<str>, TopicProduceData> = BTreeMap::new();
    let mut sent = Vec::with_capacity(batches.len());
    for (batch, bytes) in batches {
        let topic = topics
            .entry(batch.partition.topic.clone())
            .or_insert_with(|| TopicProduceData {
                name: ByteString::from(&*batch.partition.topic),
                topic_id: batch.topic_id.unwrap_or_default(),
                ..TopicProduceData::default()
            });
        topic.partition_data.push(PartitionProduceData {
            index: batch.partition.partition,
            records: Records::from(bytes),
            ..PartitionProduceData::default()
        });
        sent.push(batch);
    }
    let request = ProduceRequest {
        transactional_id,
        acks: ACKS_ALL,
        timeout_ms: i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
        topic_data: topics.into_values().collect(),
        ..ProduceRequest::default()
    };
    (request, sent)
}

/// What `response` says about each of the batches that were sent.
pub(super) fn answers(sent: Vec<Sent>, response: &ProduceResponse) -> Vec<(Sent, Answer)> {
    let find = |batch: &Sent| {
        let topic = response.responses.iter().find(|topic| {
            if topic.name.is_empty() {
                Some(topic.topic_id) == batch.topic_id
            } else {
                *topic.name == *batch.partition.topic
            }
        })?;
        topic
            .partition_responses
            .iter()
            .find(|partition| partition.index == batch.partition.partition)
    };
    sent.into_iter()
        .map(|batch| {
            let answer = match find(&batch) {
                Some(partition) => answer(partition),
                None => Answer::Unknown("the broker left the partition out of its answer".to_owned()),
            };
            (batch, answer)
        })
        .collect()
}

fn answer(partition: &PartitionProduceResponse) -> Answer {
    let Err(mut refusal) = Refusal::check(partition.error_code, partition.error_message.as_ref()) else {
        return Answer::Stored(Place {
            base_offset: (partition.base_offset >= 0).then_some(Offset(partition.base_offset)),
            append_time: (partition.log_append_time_ms >= 0)
                .then_some(TimestampMs(partition.log_append_time_ms)),
        });
    };
    let first = partition.record_errors.first();
    if let Some(text) = first.and_then(|error| error.batch_index_error_message.as_ref()) {
        let before = refusal
            .message
            .map(|message| format!("{message}; "))
            .unwrap_or_default();
        refusal.message = Some(format!("{before}{text}"));
    }
    Answer::of(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm_model::{ErrorCode, Uuid};
    use klamm_protocol::messages::produce_response::TopicProduceResponse;

    fn sent(topic: &str, partition: i32, topic_id: Option<Uuid>) -> Sent {
        Sent {
            partition: TopicPartition::new(topic, partition),
            topic_id,
            id: 1,
        }
    }

    #[test]
    fn batches_of_a_topic_stand_together() {
        let batches = [("b", 1), ("a", 0), ("b", 0)].map(|(topic, p)| (sent(topic, p, None), Bytes::new()));
        let (request, sent) = build(batches.to_vec(), Duration::from_secs(1), None);
        let shape: Vec<(&str, usize)> = request
            .topic_data
            .iter()
            .map(|topic| (&*topic.name, topic.partition_data.len()))
            .collect();
        assert_eq!(shape, [("a", 1), ("b", 2)]);
        assert_eq!((request.acks, request.timeout_ms, sent.len()), (-1, 1000, 3));
    }

    #[test]
    fn answers_are_found_by_name_and_by_identifier() {
        let response = |name: &'static str, topic_id: Uuid, code: ErrorCode| ProduceResponse {
            responses: vec![TopicProduceResponse {
                name: name.into(),
                topic_id,
                partition_responses: vec![PartitionProduceResponse {
                    index: 0,
                    error_code: code.code(),
                    base_offset: 7,
                    ..PartitionProduceResponse::default()
                }],
                ..TopicProduceResponse::default()
            }],
            ..ProduceResponse::default()
        };
        let id = Uuid([7; 16]);
        let cases = [
            (response("t", Uuid::ZERO, ErrorCode::None), "Stored"),
            (response("", id, ErrorCode::None), "Stored"),
            (response("", Uuid([8; 16]), ErrorCode::None), "Unknown"),
            (response("t", id, ErrorCode::NotLeaderOrFollower), "Unknown"),
            (response("t", id, ErrorCode::NotEnoughReplicas), "Again"),
            (response("t", id, ErrorCode::ConcurrentTransactions), "Again"),
            (
                response("t", id, ErrorCode::NotEnoughReplicasAfterAppend),
                "Unknown",
            ),
            (response("t", id, ErrorCode::MessageTooLarge), "TooLarge"),
            (
                response("t", id, ErrorCode::OutOfOrderSequenceNumber),
                "OutOfOrder",
            ),
            (response("t", id, ErrorCode::InvalidRecord), "Refused"),
            (response("t", id, ErrorCode::DuplicateSequenceNumber), "Stored"),
            (response("t", id, ErrorCode::UnknownServerError), "Failed"),
        ];
        for (response, expected) in cases {
            let answers = answers(vec![sent("t", 0, Some(id))], &response);
            let shown = format!("{:?}", answers[0].1);
            assert!(shown.starts_with(expected), "{shown} is not {expected}");
        }
    }
}
