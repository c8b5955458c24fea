//! What is asked of a partition and what it answers.

use std::sync::Arc;

use klamm_log::{AbortedTransaction, AppendError, FileRange};
use klamm_model::{ErrorCode, LeaderEpoch, Offset, TimestampMs};
use klamm_replication::NotEnoughReplicas;

use crate::waiters::Watch;

/// A batch that is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) base_offset: Offset,
    /// The offset after its last record.
    pub(crate) end_offset: Offset,
    pub(crate) log_append_time: Option<TimestampMs>,
    pub(crate) log_start_offset: Offset,
    /// It was in the log already.
    pub(crate) duplicate: bool,
}

/// Why a batch was not appended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("this broker does not lead the partition")]
    NotLeader,
    #[error("only its coordinator writes to the partition")]
    KeptForCoordinator,
    #[error(transparent)]
    NotEnoughReplicas(#[from] NotEnoughReplicas),
    #[error(transparent)]
    Log(#[from] AppendError),
}

impl Refusal {
    /// What the client is told.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Refusal::NotLeader => ErrorCode::NotLeaderOrFollower,
            Refusal::KeptForCoordinator => ErrorCode::InvalidTopicException,
            Refusal::NotEnoughReplicas(_) => ErrorCode::NotEnoughReplicas,
            Refusal::Log(error) => match error {
                AppendError::Duplicate { .. } => ErrorCode::DuplicateSequenceNumber,
                AppendError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
                AppendError::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
                AppendError::InvalidTransactionState { .. } => ErrorCode::InvalidTxnState,
                AppendError::CoordinatorFenced { .. } => ErrorCode::TransactionCoordinatorFenced,
                AppendError::TooLarge { .. } => ErrorCode::MessageTooLarge,
                AppendError::LargerThanSegment { .. } => ErrorCode::RecordListTooLarge,
                AppendError::OffsetsNotMonotonic { .. } => ErrorCode::UnknownServerError,
                AppendError::Batch(_) => ErrorCode::CorruptMessage,
                AppendError::Storage(_) => ErrorCode::KafkaStorageError,
            },
        }
    }

    /// Whether the client is told where the log starts, as by Kafka, which does not when the batch is too large or the log
    /// is not there.
    pub(crate) fn tells_log_start(&self) -> bool {
        match self {
            Refusal::NotLeader | Refusal::KeptForCoordinator => false,
            Refusal::NotEnoughReplicas(_) => true,
            Refusal::Log(error) => match error {
                AppendError::Duplicate { .. }
                | AppendError::OutOfOrderSequence { .. }
                | AppendError::InvalidProducerEpoch { .. }
                | AppendError::InvalidTransactionState { .. }
                | AppendError::CoordinatorFenced { .. }
                | AppendError::OffsetsNotMonotonic { .. } => true,
                AppendError::TooLarge { .. }
                | AppendError::LargerThanSegment { .. }
                | AppendError::Batch(_)
                | AppendError::Storage(_) => false,
            },
        }
    }

    /// What the client is told in words; Kafka says nothing for most.
    pub(crate) fn message(&self) -> Option<String> {
        match self {
            Refusal::Log(AppendError::Storage(_) | AppendError::TooLarge { .. }) => Some(self.to_string()),
            _ => None,
        }
    }
}

/// What a reader may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// Up to the high watermark.
    Uncommitted,
    /// Up to the last stable offset.
    Committed,
}

/// One read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadSpec {
    pub(crate) offset: Offset,
    pub(crate) max_bytes: usize,
    pub(crate) min_one: bool,
    pub(crate) isolation: Isolation,
    pub(crate) replica: Option<i32>,
    pub(crate) current_leader_epoch: Option<LeaderEpoch>,
    pub(crate) last_fetched_epoch: Option<LeaderEpoch>,
}

/// What was found.
#[derive(Clone, Debug)]
pub(crate) struct ReadOutcome {
    pub(crate) high_watermark: Offset,
    pub(crate) last_stable_offset: Offset,
    /// Up to where the reader may see.
    pub(crate) readable: Offset,
    pub(crate) log_start_offset: Offset,
    pub(crate) range: Option<FileRange>,
    /// Offsets from the one that was asked for to the end of the range.
    pub(crate) offset_count: u64,
    /// The aborted transactions that the range has records of, for a reader of committed ones; `None`: finding them needs the
    /// device.
    pub(crate) aborted: Option<Vec<AbortedTransaction>>,
    /// The reader's log has parted from this one: the largest epoch both know, and where it ends here.
    pub(crate) diverging: Option<(LeaderEpoch, Offset)>,
    /// There may be records, but finding them needs the device.
    pub(crate) not_ready: bool,
    /// The reader was entered among those who wait for more.
    pub(crate) is_watched: bool,
}

impl ReadOutcome {
    /// Whether there was nothing at `offset`, however much was asked for, and only a change brings something.
    pub(crate) fn is_idle(&self, offset: Offset) -> bool {
        self.range.is_none() && self.diverging.is_none() && !self.not_ready && offset >= self.readable
    }
}

/// Who is to be told when a partition has more than a read has found.
#[derive(Clone, Copy)]
pub(crate) struct Watcher<'a> {
    pub(crate) watch: &'a Arc<Watch>,
    pub(crate) place: u32,
    /// Only if the read finds nothing.
    pub(crate) only_idle: bool,
}

/// How far a produce request's wait is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watched {
    NotYet,
    Reached,
    Failed(ErrorCode),
}
