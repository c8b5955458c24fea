//! What the broker coordinates: the transactions of producers, and the offsets of the one group.

use std::collections::BTreeMap;

use bytes::Bytes;
use klamm_model::{Offset, ProducerEpoch, ProducerId, TimestampMs, Uuid};
use klamm_protocol::messages::end_txn_request::EndTxnRequest;
use klamm_protocol::messages::end_txn_response::EndTxnResponse;
use klamm_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use klamm_protocol::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};
use klamm_protocol::messages::offset_fetch_request::OffsetFetchRequest;
use klamm_protocol::messages::offset_fetch_response::{
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use klamm_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequest;
use klamm_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use klamm_records::{BatchBuilder, EndTransactionMarker};

/// What is not ended, by producer, and what was committed.
#[derive(Default)]
pub(crate) struct Transactions {
    open: BTreeMap<i64, Open>,
    offsets: BTreeMap<i32, i64>,
}

#[derive(Default)]
struct Open {
    partitions: Vec<(Uuid, i32)>,
    offsets: Vec<(i32, i64)>,
}

impl Transactions {
    /// A batch of a transaction was appended.
    pub(crate) fn appended(&mut self, producer: i64, topic: Uuid, partition: i32) {
        let open = self.open.entry(producer).or_default();
        open.partitions.push((topic, partition));
    }

    pub(crate) fn commit(&mut self, request: &TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
        let open = self.open.entry(request.producer_id).or_default();
        let mut topics = Vec::new();
        for topic in &request.topics {
            let mut partitions = Vec::new();
            for partition in &topic.partitions {
                open.offsets
                    .push((partition.partition_index, partition.committed_offset));
                partitions.push(TxnOffsetCommitResponsePartition {
                    partition_index: partition.partition_index,
                    ..TxnOffsetCommitResponsePartition::default()
                });
            }
            topics.push(TxnOffsetCommitResponseTopic {
                topic_id: topic.topic_id,
                partitions,
                ..TxnOffsetCommitResponseTopic::default()
            });
        }
        TxnOffsetCommitResponse {
            topics,
            ..TxnOffsetCommitResponse::default()
        }
    }

    /// The answer, and the markers that are to be appended. `forgets`: the offsets are lost.
    pub(crate) fn end(
        &mut self,
        request: &EndTxnRequest,
        forgets: bool,
    ) -> (EndTxnResponse, Vec<(Uuid, i32, Bytes)>) {
        let open = self.open.remove(&request.producer_id).unwrap_or_default();
        if !forgets {
            self.offsets.extend(open.offsets);
        }
        let marker = EndTransactionMarker {
            committed: request.committed,
            coordinator_epoch: 0,
        };
        let (id, epoch) = (
            ProducerId(request.producer_id),
            ProducerEpoch(request.producer_epoch),
        );
        let batch = BatchBuilder::end_transaction(id, epoch, marker, TimestampMs(1));
        let batch = batch.build(Offset(0)).unwrap();
        let markers = open.partitions.into_iter();
        let response = EndTxnResponse {
            producer_id: request.producer_id,
            producer_epoch: request.producer_epoch + 1,
            ..EndTxnResponse::default()
        };
        let markers = markers.map(|(topic, partition)| (topic, partition, batch.clone()));
        (response, markers.collect())
    }

    pub(crate) fn fetch(&self, request: &OffsetFetchRequest) -> OffsetFetchResponse {
        let told = self
            .offsets
            .iter()
            .map(|(index, offset)| OffsetFetchResponsePartitions {
                partition_index: *index,
                committed_offset: *offset,
                ..OffsetFetchResponsePartitions::default()
            });
        let topic = OffsetFetchResponseTopics {
            partitions: told.collect(),
            ..OffsetFetchResponseTopics::default()
        };
        let groups = request.groups.iter().map(|group| OffsetFetchResponseGroup {
            group_id: group.group_id.clone(),
            topics: vec![topic.clone()],
            ..OffsetFetchResponseGroup::default()
        });
        OffsetFetchResponse {
            groups: groups.collect(),
            ..OffsetFetchResponse::default()
        }
    }
}

/// This broker coordinates everything.
pub(crate) fn found(request: &FindCoordinatorRequest) -> FindCoordinatorResponse {
    let coordinators = request.coordinator_keys.iter().map(|key| Coordinator {
        key: key.clone(),
        node_id: 1,
        ..Coordinator::default()
    });
    FindCoordinatorResponse {
        coordinators: coordinators.collect(),
        ..FindCoordinatorResponse::default()
    }
}
