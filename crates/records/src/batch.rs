//! Reads a batch: its header, and its records one by one.
//!
//! Always holds: an iterator over hostile bytes ends; after an error it gives nothing more. Keys, values and headers are
//! slices of the batch's own bytes, or of its unpacked ones, never copies.

use std::ops::Range;

use bytes::Bytes;
use klamm_model::{Offset, TimestampMs};

use crate::compression::{Compression, Decompressor, Scratch};
use crate::crc;
use crate::error::{BatchError, RecordFault};
use crate::header::{BatchHeader, HEADER_BYTES, TimestampType};
use crate::walk::{Fields, SliceFields, Stop, split_record};

/// One whole batch.
#[derive(Clone, Debug)]
pub struct Batch {
    header: BatchHeader,
    bytes: Bytes,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in the partition.
    pub offset: Offset,
    /// The producer's time, or the leader's in a batch of [`TimestampType::LogAppendTime`];
    /// [`NO_TIMESTAMP`](crate::NO_TIMESTAMP) if there is none.
    pub timestamp: TimestampMs,
    /// What partitions and compacts it.
    pub key: Option<Bytes>,
    /// The payload; none is a tombstone.
    pub value: Option<Bytes>,
    /// The headers in their order, names that occur twice included.
    pub headers: Vec<RecordHeader>,
}

/// One header of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// The name: UTF-8 if the producer kept to the protocol.
    pub key: Bytes,
    /// The value.
    pub value: Option<Bytes>,
}

impl Batch {
    /// The batch that `bytes` begin with. What follows it is left alone.
    pub fn parse(bytes: &Bytes) -> Result<Self, BatchError> {
        let size = BatchHeader::peek_size(bytes)?;
        if bytes.len() < size {
            return Err(BatchError::Incomplete {
                need: size,
                have: bytes.len(),
            });
        }
        Ok(Self {
            header: BatchHeader::parse(bytes)?,
            bytes: bytes.slice(..size),
        })
    }

    /// The header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The bytes behind the header.
    pub fn body(&self) -> Bytes {
        self.bytes.slice(HEADER_BYTES..)
    }

    /// Compares the checksum.
    pub fn check_crc(&self) -> Result<(), BatchError> {
        let computed = crc::crc_of(&self.bytes[crate::header::ATTRIBUTES_AT..]);
        let stored = self.header.crc;
        if stored == computed {
            Ok(())
        } else {
            Err(BatchError::Crc { stored, computed })
        }
    }

    /// The records. Packed ones are unpacked here, to at most `limit` bytes.
    pub fn records(&self, limit: u64) -> Result<RecordIter, BatchError> {
        self.records_with(limit, &mut Scratch::new())
    }

    /// As [`records`](Self::records), with memory that the caller keeps.
    pub fn records_with(&self, limit: u64, scratch: &mut Scratch) -> Result<RecordIter, BatchError> {
        if self.header.record_count < 0 {
            return Err(BatchError::RecordCount(self.header.record_count));
        }
        let body = match self.header.compression()? {
            Compression::None => self.body(),
            packed => {
                let mut unpacked = Vec::new();
                Decompressor::new(packed, &self.bytes[HEADER_BYTES..], limit, scratch)
                    .read_to_end(&mut unpacked)?;
                unpacked.into()
            }
        };
        Ok(RecordIter {
            header: self.header,
            body,
            index: 0,
            at: 0,
            failed: false,
        })
    }
}

/// The batches in a run of bytes, as a fetch returns them. A last batch that was cut ends the iteration without an error.
#[derive(Clone, Debug)]
pub struct Batches {
    rest: Bytes,
}

impl Batches {
    /// The batches in `bytes`.
    pub fn new(bytes: Bytes) -> Self {
        Self { rest: bytes }
    }

    /// The bytes that were not iterated: empty, or the last batch as far as it is there.
    pub fn rest(&self) -> &Bytes {
        &self.rest
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        match Batch::parse(&self.rest) {
            Ok(batch) => {
                self.rest = self.rest.slice(batch.bytes.len()..);
                Some(Ok(batch))
            }
            Err(BatchError::Incomplete { .. }) => None,
            Err(error) => {
                self.rest = Bytes::new();
                Some(Err(error))
            }
        }
    }
}

/// The records of a batch, in order.
#[derive(Clone, Debug)]
pub struct RecordIter {
    header: BatchHeader,
    body: Bytes,
    index: i32,
    at: usize,
    failed: bool,
}

impl RecordIter {
    fn read(&mut self) -> Result<Record, RecordFault> {
        let mut rest = &self.body[self.at..];
        let before = rest.len();
        let length = split_record(&mut rest).map_err(fault)?.len();
        let end = self.at + before - rest.len();
        let record = self.body.slice(end - length..end);
        self.at = end;
        self.record(&record)
    }

    fn record(&self, record: &Bytes) -> Result<Record, RecordFault> {
        let mut fields = SliceFields::new(record);
        fields.byte().map_err(fault)?;
        let timestamp_delta = fields.varlong().map_err(fault)?;
        let offset_delta = fields.varint().map_err(fault)?;
        let key = nullable(&mut fields)?.map(|range| record.slice(range));
        let value = nullable(&mut fields)?.map(|range| record.slice(range));
        let count = fields.varint().map_err(fault)?;
        if count < 0 {
            return Err(RecordFault::HeaderCount(count));
        }
        let mut headers = Vec::new();
        for _ in 0..count {
            let length = fields.varint().map_err(fault)?;
            let key = usize::try_from(length).map_err(|_| RecordFault::HeaderKey(length))?;
            let key = record.slice(range(&mut fields, key)?);
            let value = nullable(&mut fields)?.map(|range| record.slice(range));
            headers.push(RecordHeader { key, value });
        }
        if fields.left() > 0 {
            return Err(RecordFault::Unused(fields.left()));
        }
        Ok(Record {
            offset: Offset(self.header.base_offset.0.wrapping_add(i64::from(offset_delta))),
            timestamp: self.header.timestamp_of(timestamp_delta),
            key,
            value,
            headers,
        })
    }
}

impl Iterator for RecordIter {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let index = self.index;
        if index == self.header.record_count {
            self.failed = true;
            return (self.at < self.body.len()).then_some(Err(BatchError::TrailingBytes(index)));
        }
        self.index += 1;
        let outcome = self.read().map_err(|fault| BatchError::Record { index, fault });
        self.failed = outcome.is_err();
        Some(outcome)
    }
}

fn range(fields: &mut SliceFields<'_>, length: usize) -> Result<Range<usize>, RecordFault> {
    let start = fields.position();
    fields.skip(length).map_err(fault)?;
    Ok(start..fields.position())
}

fn nullable(fields: &mut SliceFields<'_>) -> Result<Option<Range<usize>>, RecordFault> {
    match usize::try_from(fields.varint().map_err(fault)?) {
        Ok(length) => range(fields, length).map(Some),
        Err(_) => Ok(None),
    }
}

fn fault(stop: Stop) -> RecordFault {
    match stop {
        Stop::Record(fault) => fault,
        Stop::Stream(_) => RecordFault::Truncated,
    }
}

impl BatchHeader {
    /// The timestamp of a record of this batch.
    pub fn timestamp_of(&self, delta: i64) -> TimestampMs {
        match self.timestamp_type() {
            TimestampType::CreateTime => TimestampMs(self.base_timestamp.0.wrapping_add(delta)),
            TimestampType::LogAppendTime => self.max_timestamp,
        }
    }
}
