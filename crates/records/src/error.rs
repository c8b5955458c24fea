//! What can be wrong with a batch that is read.
//!
//! Always holds: the error says what was found, never more than a number of it; no bytes of a record get into a log line.

use thiserror::Error;

use crate::compression::{DecompressError, UnknownCompression};

/// Why bytes are not a readable batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BatchError {
    /// The bytes end before the batch does: the torn tail of a log, or a fetch cut at its limit.
    #[error("the batch needs {need} bytes, {have} are there")]
    Incomplete {
        /// Bytes needed to go on.
        need: usize,
        /// Bytes that are there.
        have: usize,
    },
    /// The batch length cannot be that of a batch.
    #[error("a batch length of {0} bytes is not possible")]
    Length(i32),
    /// Another format than v2: 0 and 1 are those of Kafka before 0.11, anything else is none.
    #[error("the batch has magic {0}, only 2 is supported")]
    Magic(i8),
    /// The checksum of the header does not fit the bytes.
    #[error("the batch is corrupt: stored CRC {stored:#010x}, computed {computed:#010x}")]
    Crc {
        /// The checksum in the header.
        stored: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// The attributes name no codec that exists.
    #[error(transparent)]
    Compression(#[from] UnknownCompression),
    /// The records do not unpack.
    #[error(transparent)]
    Decompress(#[from] DecompressError),
    /// A record is not well formed.
    #[error("record {index}: {fault}")]
    Record {
        /// The position of the record in the batch, from 0.
        index: i32,
        /// What is wrong with it.
        fault: RecordFault,
    },
    /// Bytes follow the last of the announced records.
    #[error("bytes remain after the {0} announced records")]
    TrailingBytes(i32),
    /// The record count is negative.
    #[error("a record count of {0} is not possible")]
    RecordCount(i32),
}

/// What is wrong with one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecordFault {
    /// The batch ends within or before the record.
    #[error("the batch ends before the record does")]
    Truncated,
    /// The record's own length cannot be one.
    #[error("a record length of {0} bytes is not possible")]
    Length(i32),
    /// The record unpacks to more than the reader allows.
    #[error("the record has {length} bytes, {limit} are allowed")]
    TooLarge {
        /// What the record announces.
        length: i32,
        /// What is allowed.
        limit: i32,
    },
    /// A variable-length integer goes on past its last possible byte.
    #[error("a variable-length integer is too long")]
    Varint,
    /// The fields take more bytes than the record's length.
    #[error("the fields exceed the record's length of {0} bytes")]
    Overrun(i32),
    /// The fields take fewer bytes than the record's length.
    #[error("{0} bytes of the record belong to no field")]
    Unused(usize),
    /// The number of headers cannot be one.
    #[error("a header count of {0} is not possible")]
    HeaderCount(i32),
    /// A header's key has a negative length; unlike a value it may not be null.
    #[error("a header key length of {0} is not possible")]
    HeaderKey(i32),
}
