//! Commits, and what becomes of them.

mod gone;
mod kept;
mod transactions;

use klamm_model::{ErrorCode, ProducerEpoch, ProducerId, Uuid};
use klamm_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use klamm_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use klamm_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use klamm_protocol::messages::{OffsetDeleteRequest, TxnOffsetCommitRequest};

use crate::contract::TransactionalProducer;
use crate::group::Answer;
use crate::group::driver::{Driver, fetch_all, fetched};
use crate::group::request::Request;

const TOPIC: Uuid = Uuid([7; 16]);
const OTHER: Uuid = Uuid([8; 16]);
const UNSTABLE: i16 = ErrorCode::UnstableOffsetCommit.code();

fn producer(id: i64) -> TransactionalProducer {
    TransactionalProducer {
        id: ProducerId(id),
        epoch: ProducerEpoch(0),
    }
}

/// A commit in the transaction of a producer, from outside of the group.
fn commit_in(id: i64, generation: i32, offsets: &[(i32, i64)]) -> Request {
    let partitions = offsets
        .iter()
        .map(|(partition, offset)| TxnOffsetCommitRequestPartition {
            partition_index: *partition,
            committed_offset: *offset,
            ..Default::default()
        });
    Request::TxnOffsetCommit {
        version: 5,
        request: TxnOffsetCommitRequest {
            group_id: "g".into(),
            producer_id: id,
            generation_id_or_member_epoch: generation,
            topics: vec![TxnOffsetCommitRequestTopic {
                name: "t".into(),
                topic_id: TOPIC,
                partitions: partitions.collect(),
                ..Default::default()
            }],
            ..Default::default()
        }
        .into(),
    }
}

fn fetch_named(topic_id: Uuid, partitions: &[i32], require_stable: bool) -> Request {
    Request::OffsetFetch {
        require_stable,
        group: Box::new(OffsetFetchRequestGroup {
            group_id: "g".into(),
            topics: Some(vec![OffsetFetchRequestTopics {
                name: "t".into(),
                topic_id,
                partition_indexes: partitions.to_vec(),
                ..Default::default()
            }]),
            ..Default::default()
        }),
    }
}

fn delete(partitions: &[i32]) -> Request {
    let partitions = partitions.iter().map(|partition| OffsetDeleteRequestPartition {
        partition_index: *partition,
    });
    Request::OffsetDelete(OffsetDeleteRequest {
        group_id: "g".into(),
        topics: vec![OffsetDeleteRequestTopic {
            name: "t".into(),
            partitions: partitions.collect(),
        }],
    })
}

fn deleted(answer: &Answer) -> (i16, Vec<i16>) {
    let Answer::OffsetDelete(answer) = answer else {
        panic!()
    };
    let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    (
        answer.error_code,
        partitions.map(|partition| partition.error_code).collect(),
    )
}

impl Driver {
    /// (partition, offset) of all that the group has.
    fn offsets(&mut self) -> Vec<(i32, i64)> {
        let answer = self.at_once(fetch_all(false));
        fetched(&answer)
            .into_iter()
            .map(|(_, partition, offset, _)| (partition, offset))
            .collect()
    }
}
