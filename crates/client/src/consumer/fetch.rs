//! The Fetch request, and what its answer says about each partition. Without a fetch session: each request names all.

use bytes::Bytes;
use bytestring::ByteString;
use klamm_model::{BrokerId, Offset, ProducerId, TopicPartition};
use klamm_protocol::ApiKey;
use klamm_protocol::Records;
use klamm_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use klamm_protocol::messages::fetch_response::{FetchResponse, PartitionData};
use klamm_records::Batches;

use super::aborted::AbortedTransaction;
use super::{ConsumerConfig, Isolation};
use crate::client::{Client, Leader, Target};
use crate::error::{ClientError, Refusal};
use klamm_model::ErrorCode;

/// The last version that names topics instead of giving their identifiers.
const LAST_VERSION_WITH_NAMES: i16 = 12;

/// A partition in a request.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) partition: TopicPartition,
    pub(super) leader: Leader,
    pub(super) from: Offset,
    pub(super) generation: u64,
}

/// The partitions of a request.
pub(super) type Asked = Vec<Ask>;

/// What the leader says about one partition.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Records {
        bytes: Bytes,
        /// Up to where the partition can be read.
        end: Offset,
        aborted: Vec<AbortedTransaction>,
    },
    OutOfRange {
        start: Offset,
    },
    Refused(Refusal),
}

/// Asks `broker`.
pub(super) async fn fetch(
    client: &Client,
    broker: BrokerId,
    asked: &Asked,
    config: &ConsumerConfig,
) -> Result<FetchResponse, ClientError> {
    let connection = client.connection(Target::Broker(broker)).await?;
    let most = if asked.iter().all(|ask| ask.leader.topic_id.is_some()) {
        i16::MAX
    } else {
        LAST_VERSION_WITH_NAMES
    };
    let version = connection.version_of::<FetchRequest>(most)?;
    let request = request(asked, config);
    let response = connection.submit(version, &request).await?.answer().await?;
    Refusal::check(response.error_code, None)
        .map_err(|refusal| ClientError::refused(ApiKey::Fetch, refusal))?;
    Ok(response)
}

fn request(asked: &Asked, config: &ConsumerConfig) -> FetchRequest {
    let mut topics: Vec<FetchTopic> = Vec::new();
    // They come sorted by topic.
    for ask in asked {
        let partition = FetchPartition {
            partition: ask.partition.partition,
            current_leader_epoch: ask.leader.epoch.map_or(-1, |epoch| epoch.0),
            fetch_offset: ask.from.0,
            partition_max_bytes: config.partition_max_bytes,
            ..FetchPartition::default()
        };
        match topics
            .last_mut()
            .filter(|topic| *topic.topic == *ask.partition.topic)
        {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(FetchTopic {
                topic: ByteString::from(&*ask.partition.topic),
                topic_id: ask.leader.topic_id.unwrap_or_default(),
                partitions: vec![partition],
                ..FetchTopic::default()
            }),
        }
    }
    FetchRequest {
        max_wait_ms: i32::try_from(config.max_wait.as_millis()).unwrap_or(i32::MAX),
        min_bytes: config.min_bytes,
        max_bytes: config.max_bytes,
        isolation_level: i8::from(config.isolation == Isolation::ReadCommitted),
        topics,
        ..FetchRequest::default()
    }
}

/// What `response` says about each partition that was asked for and answered.
pub(super) fn answers(asked: &Asked, response: FetchResponse) -> Vec<(&Ask, Answer)> {
    let mut answers = Vec::with_capacity(asked.len());
    for topic in response.responses {
        for data in topic.partitions {
            let ask = asked.iter().find(|ask| {
                let same_topic = if topic.topic.is_empty() {
                    ask.leader.topic_id == Some(topic.topic_id)
                } else {
                    *topic.topic == *ask.partition.topic
                };
                same_topic && ask.partition.partition == data.partition_index
            });
            if let Some(ask) = ask {
                answers.push((ask, answer(data)));
            }
        }
    }
    answers
}

fn answer(data: PartitionData) -> Answer {
    if let Err(refusal) = Refusal::check(data.error_code, None) {
        return match refusal.code {
            ErrorCode::OffsetOutOfRange => Answer::OutOfRange {
                start: Offset(data.log_start_offset),
            },
            _ => Answer::Refused(refusal),
        };
    }
    let end = match data.last_stable_offset {
        -1 => data.high_watermark,
        stable => stable,
    };
    let aborted = data.aborted_transactions.unwrap_or_default();
    Answer::Records {
        bytes: match data.records {
            Records::Bytes(bytes) => bytes,
            Records::Null | Records::External { .. } => Bytes::new(),
        },
        end: Offset(end),
        aborted: aborted
            .iter()
            .map(|transaction| AbortedTransaction {
                producer: ProducerId(transaction.producer_id),
                first: Offset(transaction.first_offset),
            })
            .collect(),
    }
}

/// The offset after the last whole batch of `bytes`. Damage is left to whoever reads the batches.
pub(super) fn end_of(bytes: &Bytes) -> Offset {
    Batches::new(bytes.clone())
        .map_while(Result::ok)
        .map(|batch| batch.header().next_offset())
        .last()
        .unwrap_or(Offset(0))
}
