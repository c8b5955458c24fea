//! What can go wrong, by the kind of call.
//!
//! Always holds: [`NotReady`] is no fault: the call did nothing, and succeeds after [`prepare`](crate::prepare::prepare)
//! has done the blocking part elsewhere.

use std::io;
use std::path::{Path, PathBuf};

use klamm_model::{Offset, ProducerEpoch, ProducerId, TimestampMs};
use klamm_records::BatchError;
use thiserror::Error;

/// Why a log or a log dir cannot be opened or worked on.
#[derive(Debug, Error)]
pub enum LogError {
    /// The file system refused.
    #[error("{}: {source}", .path.display())]
    Io {
        /// What was being worked on.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// The log dir was taken out of service by an earlier failure.
    #[error("the log dir is out of service: {0}")]
    DirFailed(String),
    /// The partition was deleted: its folder, and the names in it, may belong to another one.
    #[error("the partition was deleted")]
    Retired,
    /// The segment was removed, or replaced by another, while it was looked at: look again.
    #[error("the segment was removed or replaced")]
    Superseded,
    /// A file does not hold what it must, at a place that was known to be on the device.
    #[error("{}: {what}", .path.display())]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The folder was written by a newer version of the product.
    #[error("{}: format version {found}, this binary knows up to {known}", .path.display())]
    NewerFormat {
        /// The file that says so.
        path: PathBuf,
        /// The version it says.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// The folder belongs to another product, node or cluster.
    #[error("{}: {what}", .path.display())]
    NotOurs {
        /// The folder.
        path: PathBuf,
        /// What was found instead.
        what: String,
    },
    /// Another process holds the folder.
    #[error("{} is in use by {holder}", .path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
        /// What the lock file says about the holder.
        holder: String,
    },
}

impl LogError {
    /// Whether there was no room: that may pass.
    pub fn is_full(&self) -> bool {
        let kind = match self {
            Self::Io { source, .. } => source.kind(),
            _ => return false,
        };
        matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    /// The same error for another batch of the same write.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Io { path, source } => Self::Io {
                path: path.clone(),
                source: io::Error::new(source.kind(), source.to_string()),
            },
            Self::Retired => Self::Retired,
            Self::Superseded => Self::Superseded,
            other => Self::DirFailed(other.to_string()),
        }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        |source| Self::Io {
            path: path.to_path_buf(),
            source,
        }
    }

    pub(crate) fn corrupt(path: &Path, what: impl Into<String>) -> Self {
        Self::Corrupt {
            path: path.to_path_buf(),
            what: what.into(),
        }
    }
}

/// What must be done on a thread that may block before the call can succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReady {
    /// The active segment's files are closed.
    Open,
    /// A new segment must be begun after the one with this base offset.
    Roll(Offset),
    /// The files of the segment with this base offset are closed, not checked yet, or not in memory.
    Segment(Offset),
}

/// Why a batch was not appended.
#[derive(Debug, Error)]
pub enum AppendError {
    /// The very batch is in the log already; the answer is a success with these values.
    #[error("the batch was appended before, at offset {base_offset}")]
    Duplicate {
        /// Its first offset.
        base_offset: Offset,
        /// Its last offset.
        last_offset: Offset,
        /// Its largest timestamp.
        timestamp: TimestampMs,
    },
    /// The sequence number does not follow the producer's last one.
    #[error("producer {producer_id}: sequence {found} at offset {offset}, after {last}")]
    OutOfOrderSequence {
        /// Whose.
        producer_id: ProducerId,
        /// Where the batch would have been.
        offset: Offset,
        /// The batch's first sequence number.
        found: i32,
        /// The last one in the log, -1 for none.
        last: i32,
    },
    /// A later incarnation of the producer has written.
    #[error("producer {producer_id}: epoch {found} at offset {offset}, the current one is {current}")]
    InvalidProducerEpoch {
        /// Whose.
        producer_id: ProducerId,
        /// Where the batch would have been.
        offset: Offset,
        /// The batch's epoch.
        found: ProducerEpoch,
        /// The newest epoch in the log.
        current: ProducerEpoch,
    },
    /// The batch is in a transaction that is not open, or not in the one that is.
    #[error("producer {producer_id}: at offset {offset} {what}")]
    InvalidTransactionState {
        /// Whose.
        producer_id: ProducerId,
        /// Where the batch would have been.
        offset: Offset,
        /// What does not fit.
        what: &'static str,
    },
    /// A later coordinator has ended a transaction of the producer.
    #[error(
        "producer {producer_id}: coordinator epoch {found} at offset {offset}, the current one is {current}"
    )]
    CoordinatorFenced {
        /// Whose.
        producer_id: ProducerId,
        /// Where the marker would have been.
        offset: Offset,
        /// The marker's coordinator epoch.
        found: i32,
        /// The newest one in the log.
        current: i32,
    },
    /// The batch is larger than `max.message.bytes`.
    #[error("the batch has {size} bytes, at most {limit} are allowed")]
    TooLarge {
        /// The batch's size.
        size: usize,
        /// The setting.
        limit: u32,
    },
    /// The batch is larger than a whole segment.
    #[error("the batch has {size} bytes, a segment at most {limit}")]
    LargerThanSegment {
        /// The batch's size.
        size: usize,
        /// The setting.
        limit: u32,
    },
    /// A replicated batch does not continue the log.
    #[error("offset {found} does not continue the log, which ends at {end}")]
    OffsetsNotMonotonic {
        /// The batch's first offset.
        found: Offset,
        /// The log end.
        end: Offset,
    },
    /// The bytes are no batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The device did not take it, or the log dir is out of service.
    #[error("storage: {0}")]
    Storage(#[from] LogError),
}

/// Why the batches of a leader were not appended, or not all of them.
#[derive(Debug, Error)]
pub enum FollowerError {
    /// Call again with the same bytes when it is ready: what was appended is skipped.
    #[error("the log is not ready")]
    NotReady(NotReady),
    /// They cannot be.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// Why nothing can be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The offset is below the log start or above the log end.
    #[error("offset {offset} is not within {log_start_offset}..={log_end_offset}")]
    OffsetOutOfRange {
        /// What was asked for.
        offset: Offset,
        /// The first offset.
        log_start_offset: Offset,
        /// The offset after the last record.
        log_end_offset: Offset,
    },
    /// The plan needs the device: use [`read_blocking`](crate::read::read_blocking).
    #[error("the device is needed")]
    NotReady(NotReady),
    /// The bytes on the device are no batches.
    #[error("{}: position {position}: {source}", .path.display())]
    Corrupt {
        /// The segment file.
        path: PathBuf,
        /// Where in it.
        position: u64,
        /// What was found.
        source: BatchError,
    },
    /// The device did not give it, or the log dir is out of service.
    #[error("storage: {0}")]
    Storage(#[from] LogError),
}
