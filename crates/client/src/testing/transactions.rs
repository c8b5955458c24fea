//! The coordinator of transactions that the broker of the tests is.
//!
//! Always holds: a batch is committed or aborted once, with all others that its transaction has at that time; a producer, an
//! epoch, a partition or a version that has no place in the protocol is refused as a real broker refuses it.
//!
//! Next: `transactions/partitions.rs` for what partitions check and say.

mod partitions;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use klamm_model::ErrorCode;
use klamm_protocol::messages::{
    add_offsets_to_txn_request::AddOffsetsToTxnRequest, add_offsets_to_txn_response::AddOffsetsToTxnResponse,
    add_partitions_to_txn_request::AddPartitionsToTxnRequest, add_partitions_to_txn_response as added,
    describe_transactions_request::DescribeTransactionsRequest, describe_transactions_response as described,
    end_txn_request::EndTxnRequest, end_txn_response::EndTxnResponse,
    init_producer_id_request::InitProducerIdRequest, init_producer_id_response::InitProducerIdResponse,
    list_transactions_request::ListTransactionsRequest, list_transactions_response as listed,
    txn_offset_commit_request::TxnOffsetCommitRequest, txn_offset_commit_response as committed,
};
use klamm_protocol::{ApiKey, Reader};

use super::{Log, answer, read};
use partitions::undecided;

/// What is served beside what every broker serves.
pub(super) const APIS: [ApiKey; 8] = [
    ApiKey::AddPartitionsToTxn,
    ApiKey::AddOffsetsToTxn,
    ApiKey::EndTxn,
    ApiKey::TxnOffsetCommit,
    ApiKey::ListTransactions,
    ApiKey::DescribeTransactions,
    ApiKey::DescribeProducers,
    ApiKey::WriteTxnMarkers,
];

/// The identifiers of transactional producers begin here.
const FIRST_PRODUCER: i64 = 1000;

type Topics = BTreeMap<String, Vec<Log>>;
/// Topic, partition, base offset.
type Place = (String, i32, i64);

/// A transactional id.
#[derive(Debug, Default)]
struct Known {
    producer: i64,
    epoch: i16,
    is_open: bool,
    partitions: BTreeSet<(String, i32)>,
    /// The epoch of the last transaction, and how it ended.
    last: Option<(i16, bool)>,
    offsets: BTreeMap<(String, i32), i64>,
}

/// The coordinator.
#[derive(Default)]
pub(crate) struct Transactions {
    /// The level of `transaction.version`.
    pub(crate) level: i16,
    /// What was asked, in order.
    pub(crate) asked: Vec<ApiKey>,
    /// What the next requests of an API are refused with.
    pub(crate) refusals: BTreeMap<ApiKey, VecDeque<ErrorCode>>,
    /// Requests that are carried out, and whose connection then ends without an answer.
    pub(crate) lost: VecDeque<ApiKey>,
    /// Offsets that were committed with a transaction.
    pub(crate) offsets: BTreeMap<(String, i32), i64>,
    known: BTreeMap<String, Known>,
    /// Whether the batch there is committed; one that is not there is undecided.
    decided: BTreeMap<Place, bool>,
}

impl Transactions {
    /// Refuses the next requests of `api`.
    pub(crate) fn refuse(&mut self, api: ApiKey, codes: &[ErrorCode]) {
        self.refusals.entry(api).or_default().extend(codes);
    }

    /// What was asked since the last time.
    pub(crate) fn take_asked(&mut self) -> Vec<ApiKey> {
        std::mem::take(&mut self.asked)
    }

    fn refusal(&mut self, api: ApiKey) -> i16 {
        self.asked.push(api);
        let codes = self.refusals.get_mut(&api);
        codes.and_then(VecDeque::pop_front).map_or(0, ErrorCode::code)
    }

    /// The answer to a request, and whether it is lost.
    pub(super) fn handle(
        &mut self,
        api: ApiKey,
        id: i32,
        v: i16,
        r: Reader,
        topics: &Topics,
    ) -> (Bytes, bool) {
        let code = self.refusal(api);
        let bytes = match api {
            ApiKey::AddPartitionsToTxn => answer(api, id, v, &self.add_partitions(read(r, v), v, code)),
            ApiKey::AddOffsetsToTxn => answer(api, id, v, &self.add_offsets(&read(r, v), code)),
            ApiKey::EndTxn => answer(api, id, v, &self.end(&read(r, v), v, code, topics)),
            ApiKey::TxnOffsetCommit => answer(api, id, v, &self.commit_offsets(read(r, v), v, code)),
            ApiKey::ListTransactions => answer(api, id, v, &self.list(&read(r, v), code)),
            ApiKey::DescribeTransactions => answer(api, id, v, &self.describe(read(r, v), code)),
            ApiKey::DescribeProducers => answer(api, id, v, &self.producers(read(r, v), code, topics)),
            _ => answer(api, id, v, &self.write_markers(read(r, v), code, topics)),
        };
        let is_lost = self.lost.front() == Some(&api);
        if is_lost {
            self.lost.pop_front();
        }
        (bytes, is_lost)
    }

    /// InitProducerId of a transactional id.
    pub(super) fn name(
        &mut self,
        request: &InitProducerIdRequest,
        topics: &Topics,
    ) -> InitProducerIdResponse {
        let code = self.refusal(ApiKey::InitProducerId);
        let refused = |error_code| InitProducerIdResponse {
            error_code,
            ..InitProducerIdResponse::default()
        };
        if code != 0 {
            return refused(code);
        }
        let id = request.transactional_id.as_deref().unwrap().to_owned();
        let next = FIRST_PRODUCER + self.known.len() as i64;
        let known = self.known.entry(id.clone()).or_insert(Known {
            producer: next,
            epoch: -1,
            ..Known::default()
        });
        let names_itself = request.producer_id >= 0;
        if names_itself && (request.producer_id, request.producer_epoch) != (known.producer, known.epoch) {
            return refused(ErrorCode::ProducerFenced.code());
        }
        self.decide(&id, false, topics);
        let known = self.known.get_mut(&id).unwrap();
        known.epoch += 1;
        InitProducerIdResponse {
            producer_id: known.producer,
            producer_epoch: known.epoch,
            ..InitProducerIdResponse::default()
        }
    }

    /// Commits or aborts what a transaction has.
    fn decide(&mut self, id: &str, commit: bool, topics: &Topics) {
        let Some(known) = self.known.get_mut(id) else {
            return;
        };
        for place in undecided(topics, &self.decided, known.producer) {
            self.decided.insert(place, commit);
        }
        if commit {
            self.offsets.append(&mut known.offsets);
        }
        known.offsets.clear();
        known.partitions.clear();
        known.is_open = false;
    }

    fn checked(&mut self, id: &str, producer: (i64, i16), code: i16) -> Result<&mut Known, i16> {
        if code != 0 {
            return Err(code);
        }
        let known = self.known.get_mut(id);
        let known = known.ok_or(ErrorCode::InvalidProducerIdMapping.code())?;
        match producer == (known.producer, known.epoch) {
            true => Ok(known),
            false => Err(ErrorCode::ProducerFenced.code()),
        }
    }

    fn add_partitions(
        &mut self,
        request: AddPartitionsToTxnRequest,
        version: i16,
        code: i16,
    ) -> added::AddPartitionsToTxnResponse {
        assert!(version < 4 && self.level < 2, "clients ask no more");
        let id = request.v3_and_below_transactional_id;
        let producer = (
            request.v3_and_below_producer_id,
            request.v3_and_below_producer_epoch,
        );
        let checked = self.checked(&id, producer, code);
        let error_code = checked.as_ref().err().copied().unwrap_or_default();
        let mut known = checked.ok();
        let topics = request.v3_and_below_topics.into_iter().map(|topic| {
            let results = topic.partitions.into_iter().map(|partition| {
                if let Some(known) = &mut known {
                    known.is_open = true;
                    known.partitions.insert((topic.name.to_string(), partition));
                }
                added::AddPartitionsToTxnPartitionResult {
                    partition_index: partition,
                    partition_error_code: error_code,
                    ..Default::default()
                }
            });
            added::AddPartitionsToTxnTopicResult {
                results_by_partition: results.collect(),
                name: topic.name.clone(),
                ..Default::default()
            }
        });
        added::AddPartitionsToTxnResponse {
            results_by_topic_v3_and_below: topics.collect(),
            ..Default::default()
        }
    }

    fn add_offsets(&mut self, request: &AddOffsetsToTxnRequest, code: i16) -> AddOffsetsToTxnResponse {
        assert!(self.level < 2, "clients ask no more");
        let producer = (request.producer_id, request.producer_epoch);
        let checked = self.checked(&request.transactional_id, producer, code);
        AddOffsetsToTxnResponse {
            error_code: match checked {
                Ok(known) => {
                    known.is_open = true;
                    0
                }
                Err(code) => code,
            },
            ..Default::default()
        }
    }

    fn commit_offsets(
        &mut self,
        request: TxnOffsetCommitRequest,
        version: i16,
        code: i16,
    ) -> committed::TxnOffsetCommitResponse {
        let level = self.level;
        assert_eq!(version >= 5, level >= 2, "TxnOffsetCommit v{version}");
        let producer = (request.producer_id, request.producer_epoch);
        let checked = self.checked(&request.transactional_id, producer, code);
        let mut error_code = checked.as_ref().err().copied().unwrap_or_default();
        let mut known = checked.ok();
        if let Some(known) = &mut known {
            known.is_open |= level >= 2;
            if !known.is_open {
                error_code = ErrorCode::InvalidTxnState.code();
            }
        }
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.into_iter().map(|partition| {
                if let Some(known) = &mut known {
                    let key = (topic.name.to_string(), partition.partition_index);
                    known.offsets.insert(key, partition.committed_offset);
                }
                committed::TxnOffsetCommitResponsePartition {
                    partition_index: partition.partition_index,
                    error_code,
                    ..Default::default()
                }
            });
            committed::TxnOffsetCommitResponseTopic {
                partitions: partitions.collect(),
                name: topic.name.clone(),
                ..Default::default()
            }
        });
        committed::TxnOffsetCommitResponse {
            topics: topics.collect(),
            ..Default::default()
        }
    }

    fn end(&mut self, request: &EndTxnRequest, version: i16, code: i16, topics: &Topics) -> EndTxnResponse {
        let level = self.level;
        assert_eq!(version >= 5, level >= 2, "EndTxn v{version}");
        let refused = |error_code| EndTxnResponse {
            error_code,
            ..Default::default()
        };
        let named = |known: &Known| EndTxnResponse {
            producer_id: if level >= 2 { known.producer } else { -1 },
            producer_epoch: if level >= 2 { known.epoch } else { -1 },
            ..Default::default()
        };
        if code != 0 {
            return refused(code);
        }
        let id = &*request.transactional_id;
        let repeated = |known: &&Known| known.last == Some((request.producer_epoch, request.committed));
        if let Some(known) = self.known.get(id).filter(repeated).filter(|known| !known.is_open) {
            return named(known);
        }
        let producer = (request.producer_id, request.producer_epoch);
        match self.checked(id, producer, 0) {
            Err(code) => return refused(code),
            Ok(known) if !known.is_open && (request.committed || level < 2) => {
                return refused(ErrorCode::InvalidTxnState.code());
            }
            Ok(_) => {}
        }
        self.decide(id, request.committed, topics);
        let known = self.known.get_mut(id).unwrap();
        known.last = Some((request.producer_epoch, request.committed));
        known.epoch += i16::from(level >= 2);
        named(known)
    }

    fn list(&self, request: &ListTransactionsRequest, code: i16) -> listed::ListTransactionsResponse {
        let wanted = self.known.iter().filter(|(id, known)| {
            let (states, producers) = (&request.state_filters, &request.producer_id_filters);
            let pattern = request.transactional_id_pattern.as_deref().unwrap_or_default();
            (states.is_empty() || states.iter().any(|wanted| &**wanted == state(known)))
                && (producers.is_empty() || producers.contains(&known.producer))
                && (request.duration_filter < 0 || known.is_open)
                && id.contains(pattern)
        });
        let states = wanted.map(|(id, known)| listed::TransactionState {
            transactional_id: id.as_str().into(),
            producer_id: known.producer,
            transaction_state: state(known).into(),
            ..Default::default()
        });
        listed::ListTransactionsResponse {
            error_code: code,
            transaction_states: states.collect(),
            ..Default::default()
        }
    }

    fn describe(
        &self,
        request: DescribeTransactionsRequest,
        code: i16,
    ) -> described::DescribeTransactionsResponse {
        let states = request.transactional_ids.into_iter().map(|id| {
            let Some(known) = self.known.get(&*id).filter(|_| code == 0) else {
                let missing = ErrorCode::TransactionalIdNotFound.code();
                return described::TransactionState {
                    error_code: if code == 0 { missing } else { code },
                    transactional_id: id,
                    ..Default::default()
                };
            };
            let topics = known
                .partitions
                .iter()
                .map(|(topic, partition)| described::TopicData {
                    topic: topic.as_str().into(),
                    partitions: vec![*partition],
                    ..Default::default()
                });
            described::TransactionState {
                transactional_id: id,
                transaction_state: state(known).into(),
                transaction_timeout_ms: 60_000,
                transaction_start_time_ms: 5,
                producer_id: known.producer,
                producer_epoch: known.epoch,
                topics: topics.collect(),
                ..Default::default()
            }
        });
        described::DescribeTransactionsResponse {
            transaction_states: states.collect(),
            ..Default::default()
        }
    }

    /// Forgets a transactional id, whose transaction hangs from then on.
    pub(crate) fn forget(&mut self, id: &str) {
        self.known.remove(id);
    }
}

fn state(known: &Known) -> &'static str {
    match (known.is_open, known.last) {
        (true, _) => "Ongoing",
        (false, None) => "Empty",
        (false, Some((_, true))) => "CompleteCommit",
        (false, Some((_, false))) => "CompleteAbort",
    }
}
