//! What is asked of a shard of the transaction coordinator, and what it answers.
//!
//! Always holds: texts are copies, and partitions are sorted by whoever keeps them; the codes are those of the newest version of
//! each API. Before InitProducerId 4, AddPartitionsToTxn 2, AddOffsetsToTxn 2 and EndTxn 2 clients know no PRODUCER_FENCED and are
//! told INVALID_PRODUCER_EPOCH instead ([`before_fencing`]).
//!
//! A shard draws no producer id: where it needs a new one, it says so ([`TransactionAnswer::NeedsProducerId`],
//! [`TransactionEffect::DrawProducerId`]) and is asked again with one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use klamm_model::{ErrorCode, ProducerId, TimestampMs, TopicPartition};

use super::init_producer_id;
use super::pattern::IdPattern;
use super::state::Status;
use crate::contract::{Answer, TransactionalProducer};

/// The `transaction.version` of clients that do not know of epochs that rise with each transaction.
pub const VERSION_1: i16 = 0;
/// That of clients that do (KIP-890).
pub const VERSION_2: i16 = 2;

/// Settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionConfig {
    /// `transaction.max.timeout.ms`.
    pub max_timeout: Duration,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`.
    pub abort_interval: Duration,
    /// `transactional.id.expiration.ms`.
    pub id_expiration: Duration,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`.
    pub expiration_interval: Duration,
}

impl Default for TransactionConfig {
    fn default() -> Self {
        Self {
            max_timeout: Duration::from_secs(15 * 60),
            abort_interval: Duration::from_secs(10),
            id_expiration: Duration::from_secs(7 * 24 * 60 * 60),
            expiration_interval: Duration::from_secs(60 * 60),
        }
    }
}

/// A request.
#[derive(Debug)]
pub enum TransactionRequest {
    /// InitProducerId.
    InitProducerId(InitProducerId),
    /// AddPartitionsToTxn, AddOffsetsToTxn, and what a partition's leader asks before the first record of a version 2 client.
    AddPartitions(AddPartitions),
    /// AddPartitionsToTxn that only verifies: what a partition's leader asks before the first record of any other client.
    VerifyPartitions(VerifyPartitions),
    /// EndTxn.
    EndTransaction(EndTransaction),
    /// What became of markers.
    Markers(MarkersReport),
    /// A transaction took too long, and a producer id was drawn to end it with.
    AbortTimedOut(AbortTimedOut),
    /// DescribeTransactions, of one id.
    Describe(Arc<str>),
    /// ListTransactions.
    List(ListTransactions),
}

impl TransactionRequest {
    /// The answer, if any coordinator gives it, and also one that the id does not belong to.
    pub fn refused_anywhere(&self, config: &TransactionConfig) -> Option<TransactionAnswer> {
        let nameless = |id: &str| id.is_empty().then_some(ErrorCode::InvalidRequest);
        let (kind, refused) = match self {
            Self::InitProducerId(request) => (
                RequestKind::InitProducerId,
                init_producer_id::check(config, request).err(),
            ),
            Self::AddPartitions(request) => (RequestKind::AddPartitions, nameless(&request.transactional_id)),
            Self::VerifyPartitions(request) => {
                (RequestKind::VerifyPartitions, nameless(&request.transactional_id))
            }
            Self::EndTransaction(request) => {
                (RequestKind::EndTransaction, nameless(&request.transactional_id))
            }
            Self::Describe(id) => (RequestKind::Describe, nameless(id)),
            Self::Markers(_) | Self::AbortTimedOut(_) | Self::List(_) => return None,
        };
        refused.map(|code| TransactionAnswer::refused(&kind, code))
    }
}

/// See [`TransactionRequest::InitProducerId`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitProducerId {
    /// Whose.
    pub transactional_id: Arc<str>,
    /// How long its transactions may take.
    pub timeout_ms: i32,
    /// Whether its transactions are prepared by an outside coordinator (KIP-939), which is not served.
    pub two_phase_commit: bool,
    /// Whether a prepared transaction is to be kept (KIP-939), which is not served.
    pub keep_prepared: bool,
    /// Who the producer is, if it goes on after an error (KIP-360).
    pub expected: Option<TransactionalProducer>,
    /// A producer id that nobody has.
    pub fresh: Option<ProducerId>,
}

/// See [`TransactionRequest::AddPartitions`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddPartitions {
    /// Whose transaction.
    pub transactional_id: Arc<str>,
    /// Who says so.
    pub producer: TransactionalProducer,
    /// What is added.
    pub partitions: Vec<TopicPartition>,
    /// The client's, [`VERSION_1`] or [`VERSION_2`].
    pub version: i16,
}

/// See [`TransactionRequest::VerifyPartitions`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyPartitions {
    /// Whose transaction.
    pub transactional_id: Arc<str>,
    /// Who writes.
    pub producer: TransactionalProducer,
    /// Where.
    pub partitions: Vec<TopicPartition>,
}

/// See [`TransactionRequest::EndTransaction`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndTransaction {
    /// Whose transaction.
    pub transactional_id: Arc<str>,
    /// Who says so.
    pub producer: TransactionalProducer,
    /// How it ends.
    pub commit: bool,
    /// The client's, [`VERSION_1`] or [`VERSION_2`].
    pub version: i16,
    /// A producer id that nobody has.
    pub fresh: Option<ProducerId>,
}

/// See [`TransactionRequest::Markers`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkersReport {
    /// Of whose transaction.
    pub transactional_id: Arc<str>,
    /// As the [effect](TransactionEffect::WriteMarkers) says.
    pub producer: TransactionalProducer,
    /// What became of which.
    pub outcomes: Vec<(TopicPartition, MarkerOutcome)>,
}

/// What became of the marker of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkerOutcome {
    /// It is in the partition, committed.
    Written,
    /// The partition was deleted.
    Gone,
    /// The producer's transaction there was ended before, in a later epoch: INVALID_PRODUCER_EPOCH.
    Superseded,
    /// It is not known to be there: it must be written again, unless the partition is gone meanwhile.
    Failed,
}

/// See [`TransactionRequest::AbortTimedOut`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbortTimedOut {
    /// Whose.
    pub transactional_id: Arc<str>,
    /// As the [effect](TransactionEffect::DrawProducerId) says.
    pub producer: TransactionalProducer,
    /// A producer id that nobody has.
    pub fresh: Option<ProducerId>,
}

/// See [`TransactionRequest::List`].
#[derive(Clone, Debug, Default)]
pub struct ListTransactions {
    /// Of these producers, sorted; none for all.
    pub producer_ids: Vec<i64>,
    /// In these states; `None` for all.
    pub states: Option<BTreeSet<Status>>,
    /// That began before so many milliseconds; negative for all (KIP-994).
    pub longer_than_ms: i64,
    /// Of ids that match this; `None` for all (KIP-1152).
    pub wanted: Option<Arc<IdPattern>>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionAnswer {
    /// To InitProducerId and EndTxn: to be asked again with a producer id that nobody has.
    NeedsProducerId,
    /// To InitProducerId.
    Initialized(Result<TransactionalProducer, ErrorCode>),
    /// To AddPartitionsToTxn, for all of its partitions, and to AddOffsetsToTxn.
    Added(ErrorCode),
    /// To AddPartitionsToTxn that only verifies.
    Verified(Result<Vec<(TopicPartition, ErrorCode)>, ErrorCode>),
    /// To EndTxn; in version 2 with who the producer is from now on.
    Ended(Result<Option<TransactionalProducer>, ErrorCode>),
    /// A report was taken.
    Reported,
    /// To DescribeTransactions.
    Described(Result<Box<DescribedTransaction>, ErrorCode>),
    /// To ListTransactions.
    Listed(Result<Vec<ListedTransaction>, ErrorCode>),
}

/// A transaction as DescribeTransactions shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedTransaction {
    /// Where it stands.
    pub status: Status,
    /// Whose it is.
    pub producer: TransactionalProducer,
    /// How long it may take.
    pub timeout_ms: i32,
    /// When it began.
    pub started: Option<TimestampMs>,
    /// Those that take part, or that have no marker yet; sorted.
    pub partitions: Vec<TopicPartition>,
}

/// A transaction as ListTransactions shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTransaction {
    /// Its id.
    pub transactional_id: Arc<str>,
    /// Whose it is.
    pub producer_id: ProducerId,
    /// Where it stands.
    pub status: Status,
}

/// Which request an answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// [`TransactionRequest::InitProducerId`].
    InitProducerId,
    /// [`TransactionRequest::AddPartitions`].
    AddPartitions,
    /// [`TransactionRequest::VerifyPartitions`].
    VerifyPartitions,
    /// [`TransactionRequest::EndTransaction`].
    EndTransaction,
    /// [`TransactionRequest::Markers`] and [`TransactionRequest::AbortTimedOut`].
    Report,
    /// [`TransactionRequest::Describe`].
    Describe,
    /// [`TransactionRequest::List`].
    List,
}

impl Answer for TransactionAnswer {
    type Shape = RequestKind;

    fn refused(shape: &RequestKind, code: ErrorCode) -> Self {
        match shape {
            RequestKind::InitProducerId => Self::Initialized(Err(code)),
            RequestKind::AddPartitions => Self::Added(code),
            RequestKind::VerifyPartitions => Self::Verified(Err(code)),
            RequestKind::EndTransaction => Self::Ended(Err(code)),
            RequestKind::Report => Self::Reported,
            RequestKind::Describe => Self::Described(Err(code)),
            RequestKind::List => Self::Listed(Err(code)),
        }
    }
}

/// What a client is told whose version of an API is from before PRODUCER_FENCED.
pub fn before_fencing(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        other => other,
    }
}

/// What is to be done outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionEffect {
    /// Write these markers, with the leader epoch of the shard's partition as the coordinator epoch, and
    /// [report](TransactionRequest::Markers).
    WriteMarkers(Markers),
    /// Draw a producer id and ask for the [abort](TransactionRequest::AbortTimedOut).
    DrawProducerId {
        /// Whose transaction took too long.
        transactional_id: Arc<str>,
        /// Of whom.
        producer: TransactionalProducer,
    },
}

/// See [`TransactionEffect::WriteMarkers`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Markers {
    /// Of whose transaction.
    pub transactional_id: Arc<str>,
    /// The id and epoch of the markers.
    pub producer: TransactionalProducer,
    /// How it ends.
    pub commit: bool,
    /// The `transaction.version` that it ends under (KIP-1228).
    pub version: i16,
    /// Where; sorted.
    pub partitions: Vec<TopicPartition>,
    /// When that was decided.
    pub since: TimestampMs,
    /// How often in a row some could not be written: better not at once, then.
    pub failures: u32,
}
