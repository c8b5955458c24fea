//! What a transactional producer asks of coordinators.
//!
//! Always holds: every call may be repeated after an answer that was lost, and is, for as long as a call may take; what is
//! refused for good comes back as it was said.

use std::collections::BTreeMap;
use std::time::Duration;

use bytestring::ByteString;
use klamm_model::{ErrorCode, Offset, ProducerEpoch, ProducerId, TopicPartition};
use klamm_protocol::ApiKey;
use klamm_protocol::messages::add_offsets_to_txn_request::AddOffsetsToTxnRequest;
use klamm_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic,
};
use klamm_protocol::messages::add_partitions_to_txn_response::AddPartitionsToTxnResponse;
use klamm_protocol::messages::end_txn_request::EndTxnRequest;
use klamm_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use klamm_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};

use super::state::Protocol;
use super::verdict::End;
use crate::client::Client;
use crate::coordinator::Coordinator;
use crate::error::ClientError;
use crate::offsets::Committer;
use crate::producer::identity::Identity;

/// The first InitProducerId that gives the epoch after a known one (KIP-360).
const FIRST_WITH_NEXT_EPOCH: i16 = 3;
/// The last AddPartitionsToTxn of clients; later ones are between brokers.
const LAST_ADD_PARTITIONS_OF_CLIENTS: i16 = 3;
/// What stands for no epoch of a leader.
const NONE: i32 = -1;

/// The way to the coordinator of one transactional id.
#[derive(Debug)]
pub(super) struct Calls {
    coordinator: Coordinator,
    timeout: Duration,
}

impl Calls {
    pub(super) fn new(client: &Client, transactional_id: &str, timeout: Duration) -> Self {
        Self {
            coordinator: Coordinator::of_transactions(client, transactional_id),
            timeout,
        }
    }

    fn client(&self) -> &Client {
        self.coordinator.client()
    }

    fn transactional_id(&self) -> ByteString {
        self.coordinator.key().clone()
    }

    /// How the coordinator says that transactions are made.
    pub(super) async fn protocol(&self) -> Result<Protocol, ClientError> {
        let connect = || self.coordinator.connection();
        let connection = self.client().retrying(connect).await?;
        Ok(Protocol::of(connection.versions()))
    }

    /// The producer's name: a new one, which ends whatever another producer of this transactional id has open; or the one
    /// after `known`.
    pub(super) async fn name(&self, known: Option<Identity>) -> Result<Identity, ClientError> {
        let request = InitProducerIdRequest {
            transactional_id: Some(self.transactional_id()),
            transaction_timeout_ms: i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX),
            producer_id: known.map_or(-1, |known| known.id.0),
            producer_epoch: known.map_or(-1, |known| known.epoch.0),
            ..InitProducerIdRequest::default()
        };
        let attempt = || async {
            let versions = (FIRST_WITH_NEXT_EPOCH, i16::MAX);
            let answer = self.coordinator.call(versions, None, &request).await?;
            self.coordinator
                .check(ApiKey::InitProducerId, answer.error_code, None)?;
            Ok(Identity {
                id: ProducerId(answer.producer_id),
                epoch: ProducerEpoch(answer.producer_epoch),
            })
        };
        self.client().retrying(attempt).await
    }

    /// Tells the coordinator that records will go to `partition`.
    pub(super) async fn add_partition(
        &self,
        identity: Identity,
        partition: &TopicPartition,
    ) -> Result<(), ClientError> {
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.transactional_id(),
            v3_and_below_producer_id: identity.id.0,
            v3_and_below_producer_epoch: identity.epoch.0,
            v3_and_below_topics: vec![AddPartitionsToTxnTopic {
                name: ByteString::from(&*partition.topic),
                partitions: vec![partition.partition],
                ..AddPartitionsToTxnTopic::default()
            }],
            ..AddPartitionsToTxnRequest::default()
        };
        let attempt = || async {
            let versions = (0, LAST_ADD_PARTITIONS_OF_CLIENTS);
            let answer = self.coordinator.call(versions, None, &request).await?;
            let about = ByteString::from(partition.to_string());
            self.coordinator
                .check(ApiKey::AddPartitionsToTxn, added(&answer), Some(&about))
        };
        self.client().retrying(attempt).await
    }

    /// Tells the coordinator that offsets of `group` will be committed.
    pub(super) async fn add_group(&self, identity: Identity, group: &str) -> Result<(), ClientError> {
        let request = AddOffsetsToTxnRequest {
            transactional_id: self.transactional_id(),
            producer_id: identity.id.0,
            producer_epoch: identity.epoch.0,
            group_id: group.into(),
            ..AddOffsetsToTxnRequest::default()
        };
        let attempt = || async {
            let answer = self.coordinator.call((0, i16::MAX), None, &request).await?;
            self.coordinator
                .check(ApiKey::AddOffsetsToTxn, answer.error_code, None)
        };
        self.client().retrying(attempt).await
    }

    /// Sends offsets to the coordinator of their group, which keeps them until the transaction has ended.
    pub(super) async fn commit_offsets(
        &self,
        (identity, protocol): (Identity, Protocol),
        group: &Coordinator,
        committer: &Committer,
        offsets: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<(), ClientError> {
        let request = TxnOffsetCommitRequest {
            transactional_id: self.transactional_id(),
            group_id: group.key().clone(),
            producer_id: identity.id.0,
            producer_epoch: identity.epoch.0,
            generation_id_or_member_epoch: committer.epoch,
            member_id: committer.member.clone(),
            topics: topics(offsets),
            ..TxnOffsetCommitRequest::default()
        };
        let attempt = || async {
            let answer = group.call(protocol.commit_offsets(), None, &request).await?;
            for topic in answer.topics {
                for partition in topic.partitions {
                    let about = format!("{}-{}", topic.name, partition.partition_index);
                    let about = ByteString::from(about);
                    group.check(ApiKey::TxnOffsetCommit, partition.error_code, Some(&about))?;
                }
            }
            Ok(())
        };
        self.client().retrying(attempt).await
    }

    /// Ends the transaction; the name for the next one, where the coordinator gives it.
    pub(super) async fn end(
        &self,
        (identity, protocol): (Identity, Protocol),
        end: End,
    ) -> Result<Option<Identity>, ClientError> {
        let request = EndTxnRequest {
            transactional_id: self.transactional_id(),
            producer_id: identity.id.0,
            producer_epoch: identity.epoch.0,
            committed: end == End::Commit,
            ..EndTxnRequest::default()
        };
        let attempt = || async {
            let answer = self.coordinator.call(protocol.end(), None, &request).await?;
            self.coordinator.check(ApiKey::EndTxn, answer.error_code, None)?;
            Ok((answer.producer_id >= 0).then_some(Identity {
                id: ProducerId(answer.producer_id),
                epoch: ProducerEpoch(answer.producer_epoch),
            }))
        };
        self.client().retrying(attempt).await
    }
}

/// The code of the only partition; one that was left out of the answer was not added.
fn added(answer: &AddPartitionsToTxnResponse) -> i16 {
    let topics = answer.results_by_topic_v3_and_below.iter();
    let mut results = topics.flat_map(|topic| &topic.results_by_partition);
    results
        .next()
        .map_or(ErrorCode::UnknownServerError.code(), |result| {
            result.partition_error_code
        })
}

fn topics(offsets: &BTreeMap<TopicPartition, Offset>) -> Vec<TxnOffsetCommitRequestTopic> {
    let mut topics: BTreeMap<&str, TxnOffsetCommitRequestTopic> = BTreeMap::new();
    for (partition, offset) in offsets {
        let topic = topics.entry(&*partition.topic).or_default();
        topic.name = ByteString::from(&*partition.topic);
        topic.partitions.push(TxnOffsetCommitRequestPartition {
            partition_index: partition.partition,
            committed_offset: offset.0,
            committed_leader_epoch: NONE,
            committed_metadata: Some(ByteString::new()),
            ..TxnOffsetCommitRequestPartition::default()
        });
    }
    topics.into_values().collect()
}
