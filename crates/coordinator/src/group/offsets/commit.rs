//! OffsetCommit and TxnOffsetCommit.
//!
//! A commit comes from a member of this generation, or from outside of a group that has no members: then it needs none of the
//! names, and the group need not be there. In a transaction, old producers say nothing of the member even where there is one.
//! Which topics and partitions there are was checked before.
//!
//! Next: `fetch.rs`.

use klamm_model::{ErrorCode, TimestampMs, Uuid};
use klamm_protocol::ByteString;
use klamm_protocol::coordinator_records::{OffsetCommitKey, OffsetCommitValue};
use klamm_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use klamm_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use klamm_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};

use crate::contract::TransactionalProducer;
use crate::group::classic::{ClassicGroup, State};
use crate::group::config::GroupConfig;
use crate::group::record::GroupRecord;

/// Who commits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Committer<'a> {
    /// Its id; empty outside of a group.
    pub(crate) member_id: &'a str,
    pub(crate) instance_id: Option<&'a str>,
    /// The generation, or the epoch of the member; negative outside of a group.
    pub(crate) generation: i32,
    pub(crate) transactional: bool,
}

impl<'a> Committer<'a> {
    pub(crate) fn of(request: &'a OffsetCommitRequest) -> Self {
        Self {
            member_id: &request.member_id,
            instance_id: request.group_instance_id.as_deref(),
            generation: request.generation_id_or_member_epoch,
            transactional: false,
        }
    }

    pub(crate) fn of_transaction(request: &'a TxnOffsetCommitRequest) -> Self {
        Self {
            member_id: &request.member_id,
            instance_id: request.group_instance_id.as_deref(),
            generation: request.generation_id_or_member_epoch,
            transactional: true,
        }
    }
}

impl ClassicGroup {
    /// Whether somebody may commit.
    pub(crate) fn check_commit(&self, by: Committer<'_>) -> Result<(), ErrorCode> {
        if by.generation < 0 && self.is_empty() {
            return Ok(());
        }
        if by.generation >= 0 || !by.member_id.is_empty() || by.instance_id.is_some() {
            self.check_member(by.member_id, by.instance_id)?;
            if by.generation != self.generation {
                return Err(ErrorCode::IllegalGeneration);
            }
        } else if !by.transactional {
            return Err(ErrorCode::UnknownMemberId);
        }
        if self.state == State::Completing && !by.transactional {
            // It is a member of the generation, and may not have its assignment yet.
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }
}

/// The error for a commit to a group that is not there, from somebody who says to be a member of it.
pub(crate) fn no_such_group(version: i16, transactional: bool) -> ErrorCode {
    let told_since = if transactional { 6 } else { 9 };
    if version >= told_since {
        ErrorCode::GroupIdNotFound
    } else {
        ErrorCode::IllegalGeneration
    }
}

/// The error for a commit in a transaction that is fenced: before version 6 there was one for old generations only (KIP-1319).
pub(crate) fn told_in_transaction(code: ErrorCode, version: i16) -> ErrorCode {
    match code {
        ErrorCode::StaleMemberEpoch if version < 6 => ErrorCode::IllegalGeneration,
        code => code,
    }
}

/// Text is measured as Kafka does: in units of UTF-16.
fn too_large(metadata: Option<&ByteString>, config: &GroupConfig) -> bool {
    let most = config.offset_metadata_max_bytes;
    metadata.is_some_and(|text| text.len() > most && text.encode_utf16().take(most + 1).count() > most)
}

fn record(group: &ByteString, topic: &ByteString, partition: i32, value: OffsetCommitValue) -> GroupRecord {
    let key = OffsetCommitKey {
        group: group.clone(),
        topic: topic.clone(),
        partition,
    };
    GroupRecord::OffsetCommit(key, Some(value))
}

/// The records of a commit that is allowed, and its answer. `allowed` has the last word on each partition.
pub(crate) fn commit(
    request: &OffsetCommitRequest,
    now: TimestampMs,
    config: &GroupConfig,
    mut allowed: impl FnMut(Uuid, i32) -> Result<(), ErrorCode>,
) -> Result<(Vec<GroupRecord>, OffsetCommitResponse), ErrorCode> {
    let mut records = Vec::with_capacity(request.topics.iter().map(|topic| topic.partitions.len()).sum());
    let mut topics = Vec::with_capacity(request.topics.len());
    let expire_timestamp = match request.retention_time_ms {
        -1 => -1,
        retention_ms => now.plus_ms(retention_ms).0,
    };
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let mut code = ErrorCode::None;
            if too_large(partition.committed_metadata.as_ref(), config) {
                code = ErrorCode::OffsetMetadataTooLarge;
            } else {
                allowed(topic.topic_id, partition.partition_index)?;
                let mut value = OffsetCommitValue {
                    offset: partition.committed_offset,
                    metadata: partition.committed_metadata.clone().unwrap_or_default(),
                    commit_timestamp: now.0,
                    expire_timestamp,
                    ..Default::default()
                };
                // With an expiry it is recorded as old brokers did, who knew neither: after a load they would not be known.
                if expire_timestamp == -1 {
                    value.leader_epoch = partition.committed_leader_epoch;
                    value.topic_id = topic.topic_id;
                }
                records.push(record(
                    &request.group_id,
                    &topic.name,
                    partition.partition_index,
                    value,
                ));
            }
            partitions.push(OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: code.code(),
                ..Default::default()
            });
        }
        topics.push(OffsetCommitResponseTopic {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions,
            ..Default::default()
        });
    }
    let answer = OffsetCommitResponse {
        topics,
        ..Default::default()
    };
    Ok((records, answer))
}

/// The records of a commit in a transaction that is allowed, and its answer.
pub(crate) fn commit_in_transaction(
    request: &TxnOffsetCommitRequest,
    now: TimestampMs,
    config: &GroupConfig,
    mut allowed: impl FnMut(Uuid, i32) -> Result<(), ErrorCode>,
) -> Result<(Vec<GroupRecord>, TxnOffsetCommitResponse), ErrorCode> {
    let mut records = Vec::with_capacity(request.topics.iter().map(|topic| topic.partitions.len()).sum());
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let mut code = ErrorCode::None;
            if too_large(partition.committed_metadata.as_ref(), config) {
                code = ErrorCode::OffsetMetadataTooLarge;
            } else {
                allowed(topic.topic_id, partition.partition_index)?;
                let value = OffsetCommitValue {
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata: partition.committed_metadata.clone().unwrap_or_default(),
                    commit_timestamp: now.0,
                    topic_id: topic.topic_id,
                    ..Default::default()
                };
                records.push(record(
                    &request.group_id,
                    &topic.name,
                    partition.partition_index,
                    value,
                ));
            }
            partitions.push(TxnOffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: code.code(),
                ..Default::default()
            });
        }
        topics.push(TxnOffsetCommitResponseTopic {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions,
            ..Default::default()
        });
    }
    let answer = TxnOffsetCommitResponse {
        topics,
        ..Default::default()
    };
    Ok((records, answer))
}

/// In whose transaction a request commits.
pub(crate) fn producer(request: &TxnOffsetCommitRequest) -> TransactionalProducer {
    TransactionalProducer {
        id: klamm_model::ProducerId(request.producer_id),
        epoch: klamm_model::ProducerEpoch(request.producer_epoch),
    }
}
