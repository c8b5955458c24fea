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
            if !self.is_of_generation(by.generation) {
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

/// An offset that is to be committed.
struct Asked<'a> {
    topic: &'a ByteString,
    topic_id: Uuid,
    partition: i32,
    offset: i64,
    leader_epoch: i32,
    metadata: Option<&'a ByteString>,
}

/// A commit that is allowed.
struct Commit<'a, A> {
    group: &'a ByteString,
    now: TimestampMs,
    config: &'a GroupConfig,
    /// -1: as long as the configuration says.
    expire_timestamp: i64,
    /// Has the last word on each partition.
    allowed: A,
    records: Vec<GroupRecord>,
}

impl<A: FnMut(Uuid, i32) -> Result<(), ErrorCode>> Commit<'_, A> {
    /// What a partition is told; an error refuses the request as a whole.
    fn add(&mut self, asked: &Asked<'_>) -> Result<ErrorCode, ErrorCode> {
        if too_large(asked.metadata, self.config) {
            return Ok(ErrorCode::OffsetMetadataTooLarge);
        }
        (self.allowed)(asked.topic_id, asked.partition)?;
        let mut value = OffsetCommitValue {
            offset: asked.offset,
            metadata: asked.metadata.cloned().unwrap_or_default(),
            commit_timestamp: self.now.0,
            expire_timestamp: self.expire_timestamp,
            ..Default::default()
        };
        // With an expiry it is recorded as old brokers did, who knew neither: after a load they would not be known.
        if self.expire_timestamp == -1 {
            value.leader_epoch = asked.leader_epoch;
            value.topic_id = asked.topic_id;
        }
        let key = OffsetCommitKey {
            group: self.group.clone(),
            topic: asked.topic.clone(),
            partition: asked.partition,
        };
        self.records.push(GroupRecord::OffsetCommit(key, Some(value)));
        Ok(ErrorCode::None)
    }
}

/// The records of a commit that is allowed, and its answer. `allowed` has the last word on each partition.
pub(crate) fn commit(
    request: &OffsetCommitRequest,
    now: TimestampMs,
    config: &GroupConfig,
    allowed: impl FnMut(Uuid, i32) -> Result<(), ErrorCode>,
) -> Result<(Vec<GroupRecord>, OffsetCommitResponse), ErrorCode> {
    let count = request.topics.iter().map(|topic| topic.partitions.len()).sum();
    let mut commit = Commit {
        group: &request.group_id,
        now,
        config,
        expire_timestamp: match request.retention_time_ms {
            -1 => -1,
            retention_ms => now.plus_ms(retention_ms).0,
        },
        allowed,
        records: Vec::with_capacity(count),
    };
    let mut answer = OffsetCommitResponse::default();
    answer.topics.reserve_exact(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let code = commit.add(&Asked {
                topic: &topic.name,
                topic_id: topic.topic_id,
                partition: partition.partition_index,
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: partition.committed_metadata.as_ref(),
            })?;
            partitions.push(OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: code.code(),
                ..Default::default()
            });
        }
        answer.topics.push(OffsetCommitResponseTopic {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions,
            ..Default::default()
        });
    }
    Ok((commit.records, answer))
}

/// The records of a commit in a transaction that is allowed, and its answer.
pub(crate) fn commit_in_transaction(
    request: &TxnOffsetCommitRequest,
    now: TimestampMs,
    config: &GroupConfig,
    allowed: impl FnMut(Uuid, i32) -> Result<(), ErrorCode>,
) -> Result<(Vec<GroupRecord>, TxnOffsetCommitResponse), ErrorCode> {
    let count = request.topics.iter().map(|topic| topic.partitions.len()).sum();
    let mut commit = Commit {
        group: &request.group_id,
        now,
        config,
        expire_timestamp: -1,
        allowed,
        records: Vec::with_capacity(count),
    };
    let mut answer = TxnOffsetCommitResponse::default();
    answer.topics.reserve_exact(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let code = commit.add(&Asked {
                topic: &topic.name,
                topic_id: topic.topic_id,
                partition: partition.partition_index,
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: partition.committed_metadata.as_ref(),
            })?;
            partitions.push(TxnOffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: code.code(),
                ..Default::default()
            });
        }
        answer.topics.push(TxnOffsetCommitResponseTopic {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions,
            ..Default::default()
        });
    }
    Ok((commit.records, answer))
}

/// In whose transaction a request commits.
pub(crate) fn producer(request: &TxnOffsetCommitRequest) -> TransactionalProducer {
    TransactionalProducer {
        id: klamm_model::ProducerId(request.producer_id),
        epoch: klamm_model::ProducerEpoch(request.producer_epoch),
    }
}
