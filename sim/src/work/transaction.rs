//! A transactional producer of either version, written against the protocol alone.
//!
//! Always holds: what is not answered is asked again in the same words, as clients do, until it is answered; a commit is asked for
//! only when all that belongs to it was answered well. What was asked and told stands in the ledger.

use std::collections::BTreeMap;

use bytes::Bytes;
use klamm_model::{ErrorCode, Offset, ProducerEpoch, ProducerId, Uuid};
use klamm_protocol::Records;
use klamm_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use klamm_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use klamm_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use klamm_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest, ProduceRequest,
    TxnOffsetCommitRequest,
};
use klamm_records::{BatchBuilder, Compression};

use super::ledger::{AttemptId, Instance, Told};
use super::line::{Line, Lost};
use super::member::Topic;

const INIT_PRODUCER_ID: i16 = 5;
const ADD_PARTITIONS: i16 = 3;
const ADD_OFFSETS: i16 = 4;
/// How long a transaction may take.
const TIMEOUT_MS: i32 = 4_000;

/// What epochs mean to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// An epoch lasts until somebody else takes over; partitions are added by requests.
    One,
    /// Each transaction has its own (KIP-890); partitions are added by what is written to them.
    Two,
}

impl Version {
    fn produce(self) -> i16 {
        match self {
            Self::One => 11,
            Self::Two => 13,
        }
    }

    fn offset_commit(self) -> i16 {
        match self {
            Self::One => 4,
            Self::Two => 5,
        }
    }

    fn end(self) -> i16 {
        match self {
            Self::One => 4,
            Self::Two => 5,
        }
    }

    /// By these names answers to try again are counted.
    fn name(self, api: &'static str) -> &'static str {
        match (self, api) {
            (Self::Two, "Produce") => "Produce v2",
            (Self::Two, "TxnOffsetCommit") => "TxnOffsetCommit v2",
            (Self::Two, "EndTxn") => "EndTxn v2",
            _ => api,
        }
    }
}

/// Why a transaction does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// It can be aborted, and the producer goes on.
    Abortable,
    /// The member that reads is out of its group, or is to find out what it is there; else the same.
    NoMember,
    /// The producer is shut out, or does not know any more what it is.
    Over,
}

impl From<Lost> for Broken {
    fn from(Lost: Lost) -> Self {
        Self::Over
    }
}

/// See the head of the file.
pub(crate) struct Producer {
    transactional_id: String,
    version: Version,
    id: i64,
    epoch: i16,
    /// Its place in the ledger.
    pub(crate) instance: usize,
    /// Of each partition the next, in this epoch.
    sequences: BTreeMap<i32, i32>,
}

impl Producer {
    /// Takes the id over from whoever has it; their transaction is made void.
    pub(crate) async fn begin(
        line: &mut Line,
        transactional_id: &str,
        version: Version,
    ) -> Result<Self, Broken> {
        let request = InitProducerIdRequest {
            transactional_id: Some(transactional_id.into()),
            transaction_timeout_ms: TIMEOUT_MS,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        let asked = line.ledger.moment();
        let (answer, code) = line
            .insist(("InitProducerId", INIT_PRODUCER_ID), &request, |answer| {
                answer.error_code
            })
            .await?;
        if code != ErrorCode::None {
            line.fault(format_args!("InitProducerId is answered with {code:?}"));
            return Err(Broken::Over);
        }
        let instance = line.ledger.write(|pages| {
            let answered = pages.moment();
            pages.instances.push(Instance {
                transactional_id: transactional_id.to_owned(),
                asked,
                answered,
                producer_id: answer.producer_id,
                epoch: answer.producer_epoch,
            });
            pages.instances.len() - 1
        });
        Ok(Self {
            transactional_id: transactional_id.to_owned(),
            version,
            id: answer.producer_id,
            epoch: answer.producer_epoch,
            instance,
            sequences: BTreeMap::new(),
        })
    }

    /// Writes records, by partition: key and value.
    pub(crate) async fn write(
        &mut self,
        line: &mut Line,
        topic: Topic,
        records: &BTreeMap<i32, Vec<(String, String)>>,
    ) -> Result<(), Broken> {
        if self.version == Version::One {
            self.add_partitions(line, topic, records.keys().copied().collect())
                .await?;
        }
        let mut partition_data = Vec::new();
        for (partition, records) in records {
            partition_data.push(PartitionProduceData {
                index: *partition,
                records: Records::Bytes(self.batch(line, *partition, records)),
                ..Default::default()
            });
        }
        let by_id = self.version == Version::Two;
        let request = ProduceRequest {
            transactional_id: Some(self.transactional_id.as_str().into()),
            acks: -1,
            timeout_ms: 4_000,
            topic_data: vec![TopicProduceData {
                name: if by_id { "" } else { topic.name }.into(),
                topic_id: if by_id { topic.id } else { Uuid::ZERO },
                partition_data,
                ..Default::default()
            }],
            ..Default::default()
        };
        let api = (self.version.name("Produce"), self.version.produce());
        let (_, code) = line
            .insist(api, &request, |answer| {
                let topics = answer.responses.iter();
                let partitions = topics.flat_map(|topic| &topic.partition_responses);
                let codes: Vec<i16> = partitions.map(|partition| partition.error_code).collect();
                worst(&codes)
            })
            .await?;
        verdict(line, "Produce", code)
    }

    async fn add_partitions(
        &self,
        line: &mut Line,
        topic: Topic,
        partitions: Vec<i32>,
    ) -> Result<(), Broken> {
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.transactional_id.as_str().into(),
            v3_and_below_producer_id: self.id,
            v3_and_below_producer_epoch: self.epoch,
            v3_and_below_topics: vec![AddPartitionsToTxnTopic {
                name: topic.name.into(),
                partitions,
                ..Default::default()
            }],
            ..Default::default()
        };
        let (_, code) = line
            .insist(("AddPartitionsToTxn", ADD_PARTITIONS), &request, |answer| {
                let topics = answer.results_by_topic_v3_and_below.iter();
                let partitions = topics.flat_map(|topic| &topic.results_by_partition);
                let codes: Vec<i16> = partitions
                    .map(|partition| partition.partition_error_code)
                    .collect();
                worst(&codes)
            })
            .await?;
        verdict(line, "AddPartitionsToTxn", code)
    }

    fn batch(&mut self, line: &Line, partition: i32, records: &[(String, String)]) -> Bytes {
        let sequence = self.sequences.entry(partition).or_default();
        let codec = [Compression::None, Compression::Lz4][(self.id % 2) as usize];
        let mut builder = BatchBuilder::new(codec)
            .producer(ProducerId(self.id), ProducerEpoch(self.epoch), Some(*sequence))
            .transactional();
        *sequence += records.len() as i32;
        for (key, value) in records {
            builder.append(line.env.now(), Some(key.as_bytes()), Some(value.as_bytes()), &[]);
        }
        builder
            .build(Offset(0))
            .expect("memory takes what a codec writes")
    }

    /// Commits offsets of a group in the transaction.
    pub(crate) async fn commit_offsets(
        &mut self,
        line: &mut Line,
        (group, topic): (&'static str, Topic),
        (generation, member): (i32, &str),
        offsets: &BTreeMap<i32, i64>,
    ) -> Result<(), Broken> {
        if self.version == Version::One {
            let request = AddOffsetsToTxnRequest {
                transactional_id: self.transactional_id.as_str().into(),
                producer_id: self.id,
                producer_epoch: self.epoch,
                group_id: group.into(),
                ..Default::default()
            };
            let (_, code) = line
                .insist(("AddOffsetsToTxn", ADD_OFFSETS), &request, |answer| {
                    answer.error_code
                })
                .await?;
            verdict(line, "AddOffsetsToTxn", code)?;
        }
        let partitions = offsets
            .iter()
            .map(|(partition, offset)| TxnOffsetCommitRequestPartition {
                partition_index: *partition,
                committed_offset: *offset,
                committed_leader_epoch: -1,
                committed_metadata: Some("".into()),
                ..Default::default()
            });
        let request = TxnOffsetCommitRequest {
            transactional_id: self.transactional_id.as_str().into(),
            group_id: group.into(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            generation_id_or_member_epoch: generation,
            member_id: member.into(),
            topics: vec![TxnOffsetCommitRequestTopic {
                name: topic.name.into(),
                partitions: partitions.collect(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let api = (self.version.name("TxnOffsetCommit"), self.version.offset_commit());
        let (_, code) = line
            .insist(api, &request, |answer| {
                let topics = answer.topics.iter();
                let partitions = topics.flat_map(|topic| &topic.partitions);
                let codes: Vec<i16> = partitions.map(|partition| partition.error_code).collect();
                worst(&codes)
            })
            .await?;
        verdict(line, "TxnOffsetCommit", code)
    }

    /// Ends the transaction; afterwards the producer may begin the next one.
    pub(crate) async fn end(
        &mut self,
        line: &mut Line,
        attempt: AttemptId,
        commit: bool,
    ) -> Result<(), Broken> {
        let request = EndTxnRequest {
            transactional_id: self.transactional_id.as_str().into(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            committed: commit,
            ..Default::default()
        };
        if commit {
            line.ledger.write(|pages| {
                let asked = pages.moment();
                pages.attempts[attempt as usize].commit_asked = Some(asked);
            });
        }
        let api = (self.version.name("EndTxn"), self.version.end());
        let (answer, code) = line.insist(api, &request, |answer| answer.error_code).await?;
        verdict(line, "EndTxn", code)?;
        let told = if commit { Told::Committed } else { Told::Aborted };
        line.ledger.write(|pages| {
            let told_at = Some(pages.moment());
            let attempt = &mut pages.attempts[attempt as usize];
            (attempt.told, attempt.told_at) = (told, told_at);
        });
        if self.version == Version::Two {
            self.go_on(line, answer.producer_id, answer.producer_epoch);
        }
        Ok(())
    }

    /// As whom the producer goes on after a transaction.
    fn go_on(&mut self, line: &Line, id: i64, epoch: i16) {
        let rises = if id == self.id {
            epoch > self.epoch
        } else {
            epoch == 0
        };
        if !rises {
            let (old_id, old) = (self.id, self.epoch);
            line.fault(format_args!("producer {old_id}@{old} goes on as {id}@{epoch}"));
        }
        (self.id, self.epoch) = (id, epoch);
        self.sequences.clear();
    }
}

/// Of the codes of several partitions the one that decides: a refusal for good before one for now.
fn worst(codes: &[i16]) -> i16 {
    let is_for_now = |code: i16| ErrorCode::from_code(code).is_some_and(ErrorCode::is_retriable);
    let refusals = || codes.iter().copied().filter(|code| *code != 0);
    refusals()
        .find(|code| !is_for_now(*code))
        .or_else(|| refusals().next())
        .unwrap_or(0)
}

/// What a refusal means for the transaction.
fn verdict(line: &Line, api: &str, code: ErrorCode) -> Result<(), Broken> {
    match code {
        ErrorCode::None => Ok(()),
        ErrorCode::TransactionAbortable => Err(Broken::Abortable),
        ErrorCode::IllegalGeneration
        | ErrorCode::UnknownMemberId
        | ErrorCode::StaleMemberEpoch
        | ErrorCode::FencedMemberEpoch
        | ErrorCode::GroupIdNotFound
        | ErrorCode::RebalanceInProgress => Err(Broken::NoMember),
        ErrorCode::ProducerFenced
        | ErrorCode::InvalidProducerEpoch
        | ErrorCode::InvalidProducerIdMapping
        | ErrorCode::InvalidTxnState => Err(Broken::Over),
        other => {
            line.fault(format_args!("{api} is answered with {other:?}"));
            Err(Broken::Over)
        }
    }
}
