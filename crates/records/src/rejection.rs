//! Why a leader refuses a batch.
//!
//! Always holds: a rejection carries what a broker's answer needs (the records at fault, the numbers that did not fit)
//! and nothing that a client sent beyond that; [`Rejection::kind`] says which family of error codes it belongs to, and
//! the map to the codes themselves is the broker's.

use std::fmt;

use klamm_model::TimestampMs;
use thiserror::Error;

use crate::compression::Compression;
use crate::error::BatchError;

/// The errors that a rejection of this kind is answered with are Kafka's of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectionKind {
    /// `CORRUPT_MESSAGE`: the bytes were damaged, and may arrive whole when they are sent again.
    CorruptMessage,
    /// `INVALID_RECORD`: the producer made something that the partition does not take.
    InvalidRecord,
    /// `INVALID_TIMESTAMP`: a record is too old or too far ahead.
    InvalidTimestamp,
    /// `UNSUPPORTED_COMPRESSION_TYPE`: the codec is newer than the version of the request.
    UnsupportedCompression,
    /// `MESSAGE_TOO_LARGE`: the producer may split the batch.
    MessageTooLarge,
    /// `UNKNOWN_SERVER_ERROR`: what Kafka answers where its decompression fails.
    Unknown,
}

/// Why a batch is refused. Nothing of it was appended.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Rejection {
    /// There is no whole batch: nothing, or one that was cut or announces more bytes than there are.
    #[error("a produce request must have a record batch for each partition")]
    NoBatch,
    /// A second batch follows the first.
    #[error("a produce request may have only one record batch for each partition")]
    SeveralBatches,
    /// The batch is of format 0 or 1.
    #[error("a produce request may have only record batches of magic 2, this one has {0}")]
    OldMagic(i8),
    /// The framing or the checksum is wrong.
    #[error(transparent)]
    Corrupt(BatchError),
    /// The batch is larger than `max.message.bytes`, as sent or as packed anew.
    #[error("the record batch has {size} bytes, the topic takes {limit}")]
    TooLarge {
        /// Bytes of the batch; when it was packed anew, at least as many.
        size: usize,
        /// The topic's limit.
        limit: usize,
    },
    /// The records unpack to more than anything here works with.
    #[error("the records unpack to more than {limit} bytes")]
    UnpacksTooLarge {
        /// What is allowed.
        limit: u64,
    },
    /// The version of the request is older than the codec.
    #[error("Produce version {version} does not allow {compression}")]
    UnsupportedCompression {
        /// The codec of the batch.
        compression: Compression,
        /// The version of the request.
        version: i16,
    },
    /// The codec does not exist, or the records do not unpack with it.
    #[error(transparent)]
    Unreadable(BatchError),
    /// The records do not pack with the topic's codec.
    #[error("packing the records with {0} failed")]
    Unpackable(Compression),
    /// A record is not well formed, or there are more or fewer than announced.
    #[error(transparent)]
    Malformed(BatchError),
    /// A client's batch does not start at offset 0.
    #[error("the base offset of the record batch should be 0, it is {0}")]
    BaseOffset(i64),
    /// The last offset delta of a client's batch and its count do not belong together, or are none.
    #[error("a record batch with {count} records cannot end at offset delta {last_offset_delta}")]
    OffsetRange {
        /// The record count in the header.
        count: i32,
        /// The last offset delta in the header.
        last_offset_delta: i32,
    },
    /// The offsets of the records do not count up one by one.
    #[error("record {index} has the offset delta {offset_delta}")]
    OffsetDelta {
        /// The position of the record.
        index: i32,
        /// The delta that should equal it.
        offset_delta: i32,
    },
    /// A client sent control records.
    #[error("clients are not allowed to write control records")]
    Control,
    /// A client's batch has a producer id but no sequence number.
    #[error("invalid sequence number {sequence} in a record batch of producer id {producer_id}")]
    Sequence {
        /// The base sequence in the header.
        sequence: i32,
        /// The producer id in the header.
        producer_id: i64,
    },
    /// Some of the records are at fault.
    #[error(transparent)]
    Records(RecordErrors),
}

impl Rejection {
    /// The family of error codes that the rejection is answered with.
    pub fn kind(&self) -> RejectionKind {
        match self {
            Self::Corrupt(_) => RejectionKind::CorruptMessage,
            Self::TooLarge { .. } | Self::UnpacksTooLarge { .. } => RejectionKind::MessageTooLarge,
            Self::UnsupportedCompression { .. } => RejectionKind::UnsupportedCompression,
            Self::Unreadable(_) | Self::Unpackable(_) => RejectionKind::Unknown,
            Self::Records(errors) if errors.has_timestamp => RejectionKind::InvalidTimestamp,
            Self::NoBatch
            | Self::SeveralBatches
            | Self::OldMagic(_)
            | Self::Malformed(_)
            | Self::BaseOffset(_)
            | Self::OffsetRange { .. }
            | Self::OffsetDelta { .. }
            | Self::Control
            | Self::Sequence { .. }
            | Self::Records(_) => RejectionKind::InvalidRecord,
        }
    }

    /// Whether the answer tells where the log starts. Kafka finds these faults when it appends, the others when it reads
    /// the request or measures the batch, before it knows the log.
    pub fn tells_log_start(&self) -> bool {
        match self {
            Self::NoBatch
            | Self::SeveralBatches
            | Self::OldMagic(_)
            | Self::Corrupt(_)
            | Self::TooLarge { .. }
            | Self::UnpacksTooLarge { .. }
            | Self::UnsupportedCompression { .. } => false,
            Self::Unreadable(_)
            | Self::Unpackable(_)
            | Self::Malformed(_)
            | Self::BaseOffset(_)
            | Self::OffsetRange { .. }
            | Self::OffsetDelta { .. }
            | Self::Control
            | Self::Sequence { .. }
            | Self::Records(_) => true,
        }
    }

    /// The records at fault, for the `record_errors` of the answer.
    pub fn record_errors(&self) -> &[RecordError] {
        match self {
            Self::Records(errors) => errors.shown(),
            _ => &[],
        }
    }
}

/// How many of the records at fault are told one by one. A producer takes those that are not named for victims of the
/// named ones, so the list may end before they do.
const SHOWN_RECORDS: usize = 1000;

/// The records at fault.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordErrors {
    shown: Vec<RecordError>,
    total: usize,
    has_timestamp: bool,
}

impl RecordErrors {
    /// The first records at fault.
    pub fn shown(&self) -> &[RecordError] {
        &self.shown
    }

    /// How many records are at fault.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Whether one of them is at fault for its timestamp.
    pub fn has_timestamp(&self) -> bool {
        self.has_timestamp
    }

    pub(crate) fn push(&mut self, index: i32, reason: RecordReason) {
        self.total += 1;
        self.has_timestamp |= !matches!(reason, RecordReason::NoKey);
        if self.shown.len() < SHOWN_RECORDS {
            self.shown.push(RecordError { index, reason });
        }
    }
}

impl std::error::Error for RecordErrors {}

impl fmt::Display for RecordErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = if self.has_timestamp {
            "invalid timestamps"
        } else {
            "missing keys"
        };
        write!(f, "{} records were rejected for {cause}", self.total)
    }
}

/// One record at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// The position of the record in the batch, from 0.
    pub index: i32,
    /// What is wrong with it.
    pub reason: RecordReason,
}

/// What is wrong with one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordReason {
    /// A compacted topic needs keys.
    #[error("Compacted topic cannot accept message without key")]
    NoKey,
    /// The timestamp is out of the topic's range.
    #[error(
        "Timestamp {timestamp} of message with offset {offset} is out of range. The timestamp should be within [{earliest}, {latest}]"
    )]
    Timestamp {
        /// The record's timestamp.
        timestamp: TimestampMs,
        /// The record's offset as the client sent it.
        offset: i64,
        /// The earliest that the topic takes now.
        earliest: TimestampMs,
        /// The latest that the topic takes now.
        latest: TimestampMs,
    },
    /// The producer marked its batch as one with the leader's time.
    #[error("Invalid timestamp type. Producer should not set timestamp type to LogAppendTime")]
    TimestampType,
}
