//! Which producers a partition knows, and the end of a transaction in one partition.
//!
//! Always holds: partitions are asked at their leaders, of which each gets few large requests; a leader that has changed is
//! looked for again.

use std::collections::BTreeMap;

use bytestring::ByteString;
use klamm_model::{BrokerId, ErrorCode, Offset, ProducerEpoch, ProducerId, TimestampMs, TopicPartition};
use klamm_protocol::ApiKey;
use klamm_protocol::messages::describe_producers_request::{DescribeProducersRequest, TopicRequest};
use klamm_protocol::messages::describe_producers_response::ProducerState;
use klamm_protocol::messages::write_txn_markers_request::{
    WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest,
};
use klamm_protocol::messages::write_txn_markers_response::WriteTxnMarkersResponse;
use parking_lot::Mutex;

use crate::admin::{Admin, said};
use crate::client::Target;
use crate::error::{ClientError, Refusal};

/// Partitions in one request.
const PARTITIONS_AT_ONCE: usize = 500;

/// A producer, as a partition knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    /// What it is called.
    pub id: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
    /// Of the coordinator that last ended one of its transactions here; `None` when none did.
    pub coordinator_epoch: Option<i32>,
    /// The sequence of its last record.
    pub last_sequence: Option<i32>,
    /// The time of its last record.
    pub last_timestamp: Option<TimestampMs>,
    /// Where its transaction begins that is open here.
    pub open_from: Option<Offset>,
}

/// What partitions said of their producers.
type Producers = BTreeMap<TopicPartition, Result<Vec<ActiveProducer>, Refusal>>;

impl Admin {
    /// The producers that each of `partitions` knows.
    pub async fn describe_producers(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Result<Vec<ActiveProducer>, Refusal>>, ClientError> {
        let found = Mutex::new(Producers::new());
        let attempt = || async {
            let open: Vec<&TopicPartition> = {
                let found = found.lock();
                let all = partitions.iter();
                all.filter(|partition| !found.contains_key(*partition)).collect()
            };
            let described = self.describe_producers_once(&open, &found).await;
            self.look_again_after(&described, &open).await;
            described
        };
        self.client.retrying(attempt).await?;
        Ok(found.into_inner())
    }

    async fn describe_producers_once(
        &self,
        asked: &[&TopicPartition],
        found: &Mutex<Producers>,
    ) -> Result<(), ClientError> {
        let mut by_leader: BTreeMap<BrokerId, Vec<&TopicPartition>> = BTreeMap::new();
        for partition in asked {
            let leader = self.client.leader(partition).await?;
            by_leader.entry(leader.broker).or_default().push(partition);
        }
        let mut moved = Ok(());
        for (broker, partitions) in by_leader {
            for some in partitions.chunks(PARTITIONS_AT_ONCE) {
                let request = question(some);
                let answer = self.client.call_once(Target::Broker(broker), &request).await?;
                for topic in answer.topics {
                    for partition in topic.partitions {
                        let key = TopicPartition::new(&*topic.name, partition.partition_index);
                        let checked = Refusal::check(partition.error_code, partition.error_message.as_ref());
                        if let Err(refusal) = &checked
                            && refusal.code.is_retriable()
                        {
                            moved = Err(ClientError::refused(ApiKey::DescribeProducers, refusal.clone()));
                            continue;
                        }
                        let producers = partition.active_producers.iter().map(producer).collect();
                        found.lock().insert(key, checked.map(|()| producers));
                    }
                }
            }
        }
        moved
    }

    /// Ends what a producer has open in one partition, without its coordinator, as an abort. `coordinator_epoch` must not be
    /// below that of the coordinator that last ended one of its transactions there, if one did.
    pub async fn abort_in_partition(
        &self,
        partition: &TopicPartition,
        (producer, epoch): (ProducerId, ProducerEpoch),
        coordinator_epoch: Option<i32>,
    ) -> Result<Result<(), Refusal>, ClientError> {
        let request = WriteTxnMarkersRequest {
            markers: vec![WritableTxnMarker {
                producer_id: producer.0,
                producer_epoch: epoch.0,
                transaction_result: false,
                topics: vec![WritableTxnMarkerTopic {
                    name: ByteString::from(&*partition.topic),
                    partition_indexes: vec![partition.partition],
                    ..WritableTxnMarkerTopic::default()
                }],
                // One that no coordinator can be below.
                coordinator_epoch: coordinator_epoch.unwrap_or_default().max(0),
                ..WritableTxnMarker::default()
            }],
            ..WriteTxnMarkersRequest::default()
        };
        let attempt = || async {
            let written = async {
                let leader = self.client.leader(partition).await?;
                let target = Target::Broker(leader.broker);
                let answer = self.client.call_once(target, &request).await?;
                Refusal::check(written(&answer), None)
                    .map_err(|refusal| ClientError::refused(ApiKey::WriteTxnMarkers, refusal))
            };
            let written = written.await;
            self.look_again_after(&written, &[partition]).await;
            written
        };
        said(self.client.retrying(attempt).await)
    }

    /// Asks who leads, after a failure that may be about that.
    async fn look_again_after(&self, result: &Result<(), ClientError>, partitions: &[&TopicPartition]) {
        if result.as_ref().is_err_and(ClientError::is_transient) {
            let mut topics: Vec<&str> = partitions.iter().map(|partition| &*partition.topic).collect();
            topics.dedup();
            // Should it fail, the next attempt will say so.
            let _ = self.client.refresh_once(&topics).await;
        }
    }
}

fn question(partitions: &[&TopicPartition]) -> DescribeProducersRequest {
    let mut topics: BTreeMap<&str, TopicRequest> = BTreeMap::new();
    for partition in partitions {
        let topic = topics.entry(&*partition.topic).or_default();
        topic.name = ByteString::from(&*partition.topic);
        topic.partition_indexes.push(partition.partition);
    }
    DescribeProducersRequest {
        topics: topics.into_values().collect(),
        ..DescribeProducersRequest::default()
    }
}

fn producer(state: &ProducerState) -> ActiveProducer {
    ActiveProducer {
        id: ProducerId(state.producer_id),
        // An epoch is a short everywhere else.
        epoch: ProducerEpoch(i16::try_from(state.producer_epoch).unwrap_or(i16::MAX)),
        coordinator_epoch: (state.coordinator_epoch >= 0).then_some(state.coordinator_epoch),
        last_sequence: (state.last_sequence >= 0).then_some(state.last_sequence),
        last_timestamp: (state.last_timestamp >= 0).then_some(TimestampMs(state.last_timestamp)),
        open_from: (state.current_txn_start_offset >= 0).then_some(Offset(state.current_txn_start_offset)),
    }
}

/// The code of the only partition; one that was left out of the answer has no marker.
fn written(answer: &WriteTxnMarkersResponse) -> i16 {
    let topics = answer.markers.iter().flat_map(|marker| &marker.topics);
    let mut partitions = topics.flat_map(|topic| &topic.partitions);
    partitions
        .next()
        .map_or(ErrorCode::UnknownServerError.code(), |partition| {
            partition.error_code
        })
}
