//! One transaction of a producer of the second version (KIP-890): what is sent in it, step by step, and what the answers mean.
//!
//! Always holds: each transaction has an epoch of its own, which EndTxn tells; so each begins with sequence 0 in every
//! partition, and what is sent again is the same.

use anyhow::{Result, ensure};
use bytes::Bytes;
use klamm_model::{ErrorCode, Offset, ProducerEpoch, ProducerId, TimestampMs, Uuid};
use klamm_protocol::messages::end_txn_request::EndTxnRequest;
use klamm_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use klamm_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use klamm_protocol::{ByteString, Records};
use klamm_records::BatchBuilder;

use crate::exchange::Exchange;
use crate::{admin, clock};

/// How long the broker may wait for the in-sync replicas.
const TIMEOUT_MS: i32 = 30_000;
const ALL: i16 = -1;

/// What all transactions of a run have in common.
pub(crate) struct Shape {
    pub(crate) topic: Uuid,
    pub(crate) partitions: i32,
    /// Partitions of one.
    pub(crate) span: i32,
    pub(crate) group: ByteString,
    /// Of each record.
    pub(crate) value: Bytes,
}

/// Who a producer is, until its next commit.
pub(crate) struct Identity {
    pub(crate) transactional_id: ByteString,
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

/// What is asked next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Produce,
    CommitOffsets,
    End,
}

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// The next step is to be asked.
    GoesOn,
    /// The same step is to be asked once more.
    Again,
    /// It is over, and this is who the producer is from now on.
    Committed { id: i64, epoch: i16 },
}

/// A transaction under way.
pub(crate) struct Transaction {
    step: Step,
    partitions: Vec<i32>,
    /// The partition whose offset is committed, and the offset.
    offset: (i32, i64),
}

impl Transaction {
    /// The one with this number.
    pub(crate) fn new(shape: &Shape, number: u64, offset: (i32, i64)) -> Self {
        let count = u64::from(shape.partitions.unsigned_abs());
        let first = i32::try_from(number % count).expect("below the number of partitions");
        let partitions = (first..first + shape.span).map(|partition| partition % shape.partitions);
        Self {
            step: Step::Produce,
            partitions: partitions.collect(),
            offset,
        }
    }

    /// What is asked next, or was asked last.
    pub(crate) fn step(&self) -> Step {
        self.step
    }

    /// Asks for the next step; says when.
    pub(crate) fn ask(&self, shape: &Shape, identity: &Identity, exchange: &mut Exchange) -> Result<u64> {
        match self.step {
            Step::Produce => exchange.ask(admin::PRODUCE, &self.produce(shape, identity)?),
            Step::CommitOffsets => exchange.ask(admin::TXN_OFFSET_COMMIT, &self.commit(shape, identity)),
            Step::End => exchange.ask(
                admin::END_TXN,
                &EndTxnRequest {
                    transactional_id: identity.transactional_id.clone(),
                    producer_id: identity.id,
                    producer_epoch: identity.epoch,
                    committed: true,
                    ..EndTxnRequest::default()
                },
            ),
        }
    }

    /// A record for each partition.
    fn produce(&self, shape: &Shape, identity: &Identity) -> Result<ProduceRequest> {
        let now = TimestampMs(clock::wall_ms());
        let data = |index: &i32| {
            let (id, epoch) = (ProducerId(identity.id), ProducerEpoch(identity.epoch));
            let mut batch = BatchBuilder::default()
                .producer(id, epoch, Some(0))
                .transactional();
            batch.append(now, None, Some(&shape.value), &[]);
            Ok(PartitionProduceData {
                index: *index,
                records: Records::Bytes(batch.build(Offset(0))?),
                ..PartitionProduceData::default()
            })
        };
        Ok(ProduceRequest {
            transactional_id: Some(identity.transactional_id.clone()),
            acks: ALL,
            timeout_ms: TIMEOUT_MS,
            topic_data: vec![TopicProduceData {
                topic_id: shape.topic,
                partition_data: self.partitions.iter().map(data).collect::<Result<_>>()?,
                ..TopicProduceData::default()
            }],
            ..ProduceRequest::default()
        })
    }

    fn commit(&self, shape: &Shape, identity: &Identity) -> TxnOffsetCommitRequest {
        let (partition_index, committed_offset) = self.offset;
        TxnOffsetCommitRequest {
            transactional_id: identity.transactional_id.clone(),
            group_id: shape.group.clone(),
            producer_id: identity.id,
            producer_epoch: identity.epoch,
            topics: vec![TxnOffsetCommitRequestTopic {
                topic_id: shape.topic,
                partitions: vec![TxnOffsetCommitRequestPartition {
                    partition_index,
                    committed_offset,
                    ..TxnOffsetCommitRequestPartition::default()
                }],
                ..TxnOffsetCommitRequestTopic::default()
            }],
            ..TxnOffsetCommitRequest::default()
        }
    }

    /// Takes the answer to what was asked last.
    pub(crate) fn answered(&mut self, exchange: &Exchange, answer: Bytes) -> Result<Answered> {
        match self.step {
            Step::Produce => {
                let answer = exchange.read::<ProduceRequest>(admin::PRODUCE, answer)?;
                let partitions = answer
                    .responses
                    .iter()
                    .flat_map(|topic| &topic.partition_responses);
                let codes = partitions.map(|partition| partition.error_code).collect();
                self.taken(codes, self.partitions.len(), Step::CommitOffsets)
            }
            Step::CommitOffsets => {
                let answer = exchange.read::<TxnOffsetCommitRequest>(admin::TXN_OFFSET_COMMIT, answer)?;
                let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
                let codes = partitions.map(|partition| partition.error_code).collect();
                self.taken(codes, 1, Step::End)
            }
            Step::End => {
                let answer = exchange.read::<EndTxnRequest>(admin::END_TXN, answer)?;
                if is_to_be_asked_again(&[answer.error_code]) {
                    return Ok(Answered::Again);
                }
                admin::check(answer.error_code, || "EndTxn".to_owned())?;
                Ok(Answered::Committed {
                    id: answer.producer_id,
                    epoch: answer.producer_epoch,
                })
            }
        }
    }

    /// The step is over when all of `count` parts are taken.
    fn taken(&mut self, codes: Vec<i16>, count: usize, next: Step) -> Result<Answered> {
        ensure!(
            codes.len() == count,
            "{:?} has {count} parts, {} are answered",
            self.step,
            codes.len()
        );
        if is_to_be_asked_again(&codes) {
            return Ok(Answered::Again);
        }
        for code in codes {
            admin::check(code, || format!("{:?} in a transaction", self.step))?;
        }
        self.step = next;
        Ok(Answered::GoesOn)
    }
}

/// Whether nothing is wrong that does not pass: the last transaction may not have all its markers yet.
fn is_to_be_asked_again(codes: &[i16]) -> bool {
    let mut wrong = codes.iter().filter(|code| **code != 0).peekable();
    let passes = |code: &i16| ErrorCode::from_code(*code).is_some_and(ErrorCode::is_retriable);
    wrong.peek().is_some() && wrong.all(passes)
}

#[cfg(test)]
mod tests {
    use klamm_records::Batch;

    use super::*;

    fn shape() -> Shape {
        Shape {
            topic: Uuid([7; 16]),
            partitions: 6,
            span: 3,
            group: "g".into(),
            value: Bytes::from_static(&[1; 100]),
        }
    }

    fn identity() -> Identity {
        Identity {
            transactional_id: "t".into(),
            id: 77,
            epoch: 3,
        }
    }

    #[test]
    fn transactions_go_round() {
        for (number, partitions) in [(0, [0, 1, 2]), (4, [4, 5, 0]), (11, [5, 0, 1]), (12, [0, 1, 2])] {
            let transaction = Transaction::new(&shape(), number, (0, 1));
            assert_eq!(transaction.partitions, partitions, "{number}");
        }
    }

    #[test]
    fn records_are_those_of_a_transaction_and_the_same_when_they_are_sent_again() {
        let transaction = Transaction::new(&shape(), 2, (1, 9));
        for _ in 0..2 {
            let request = transaction.produce(&shape(), &identity()).unwrap();
            assert_eq!(request.transactional_id.as_deref(), Some("t"));
            let data = &request.topic_data[0].partition_data;
            assert_eq!(data.iter().map(|one| one.index).collect::<Vec<_>>(), [2, 3, 4]);
            for one in data {
                let batch = Batch::parse(one.records.bytes().unwrap()).unwrap();
                batch.check_crc().unwrap();
                let header = batch.header();
                assert!(header.is_transactional() && !header.is_control());
                assert_eq!((header.producer_id, header.producer_epoch), (77, 3));
                assert_eq!((header.base_sequence, header.record_count), (0, 1));
            }
        }
        let commit = transaction.commit(&shape(), &identity());
        let partition = &commit.topics[0].partitions[0];
        assert_eq!((partition.partition_index, partition.committed_offset), (1, 9));
        assert_eq!((commit.producer_id, commit.producer_epoch), (77, 3));
    }

    #[test]
    fn a_step_is_over_when_all_is_taken() {
        let step = |codes: &[i16]| {
            let mut transaction = Transaction::new(&shape(), 0, (0, 1));
            let answered = transaction.taken(codes.to_vec(), 3, Step::CommitOffsets);
            (answered.map_err(|error| error.to_string()), transaction.step())
        };
        assert_eq!(step(&[0, 0, 0]), (Ok(Answered::GoesOn), Step::CommitOffsets));
        // CONCURRENT_TRANSACTIONS of one partition.
        assert_eq!(step(&[0, 51, 0]), (Ok(Answered::Again), Step::Produce));
        for (codes, words) in [
            (&[90, 51, 0][..], "PRODUCER_FENCED"),
            (&[0, 0], "2 are answered"),
            (&[0, 0, 48], "INVALID_TXN_STATE"),
        ] {
            let (answered, step) = step(codes);
            assert!(answered.unwrap_err().contains(words), "{codes:?}");
            assert_eq!(step, Step::Produce);
        }
    }
}
