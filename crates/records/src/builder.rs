//! Makes a batch: for the client's producer, for coordinators, for tests.
//!
//! Always holds: what is built passes [`validate`](crate::validate()) and reads back as what was appended; offsets
//! count from the base offset without gaps.

use std::io::{self, Write};

use bytes::Bytes;
use klamm_model::{Offset, ProducerEpoch, ProducerId, TimestampMs};

use crate::compression::{Codec, Compression, Compressor};
use crate::control::EndTransactionMarker;
use crate::header::{BatchHeader, HEADER_BYTES, LOG_OVERHEAD, NO_TIMESTAMP};
use crate::varint;

/// Collects records and makes a batch of them.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    codec: Codec,
    header: BatchHeader,
    /// Room for the header, then the records as they are before packing.
    bytes: Vec<u8>,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new(Compression::None)
    }
}

impl BatchBuilder {
    /// An empty batch that will be packed with `codec`.
    pub fn new(codec: impl Into<Codec>) -> Self {
        let codec = codec.into();
        let mut header = BatchHeader {
            base_offset: Offset(0),
            batch_length: 0,
            partition_leader_epoch: -1,
            magic: 2,
            crc: 0,
            attributes: 0,
            last_offset_delta: -1,
            base_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: 0,
        };
        header.set_compression(codec.compression);
        Self {
            codec,
            header,
            bytes: vec![0; HEADER_BYTES],
        }
    }

    /// Marks the batch as an idempotent producer's, from `base_sequence` on; `None` in control batches.
    pub fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: Option<i32>) -> Self {
        self.header.producer_id = id.0;
        self.header.producer_epoch = epoch.0;
        self.header.base_sequence = base_sequence.unwrap_or(-1);
        self
    }

    /// Marks the batch as part of its producer's transaction.
    pub fn transactional(mut self) -> Self {
        self.header.set_transactional(true);
        self
    }

    /// Marks the batch as one of control records.
    pub fn control(mut self) -> Self {
        self.header.set_control(true);
        self
    }

    /// The batch that ends a transaction in a partition.
    pub fn end_transaction(
        id: ProducerId,
        epoch: ProducerEpoch,
        marker: EndTransactionMarker,
        now: TimestampMs,
    ) -> Self {
        let mut builder = Self::default()
            .producer(id, epoch, None)
            .transactional()
            .control();
        builder.append(now, Some(&marker.key()), Some(&marker.value()), &[]);
        builder
    }

    /// Makes room for records that take so many bytes before packing.
    pub fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve(bytes);
    }

    /// Adds a record and says by how much its offset is above the first one's.
    ///
    /// # Panics
    ///
    /// If the batch would exceed 2 GiB before packing: the caller cuts batches long before.
    pub fn append(
        &mut self,
        timestamp: TimestampMs,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) -> i32 {
        let header = &mut self.header;
        if header.record_count == 0 {
            header.base_timestamp = timestamp;
            header.max_timestamp = timestamp;
        }
        header.max_timestamp = header.max_timestamp.max(timestamp);
        let timestamp_delta = timestamp.0.wrapping_sub(header.base_timestamp.0);
        let offset_delta = header.record_count;

        let length = record_length(timestamp_delta, offset_delta, key, value, headers);
        let out = &mut self.bytes;
        let grown = out.len().saturating_add(length).saturating_add(5);
        assert!(i32::try_from(grown).is_ok(), "a batch is below 2 GiB");
        varint::put_i32(out, i32::try_from(length).expect("below the batch's size"));
        out.push(0);
        varint::put_i64(out, timestamp_delta);
        varint::put_i32(out, offset_delta);
        put_nullable(out, key);
        put_nullable(out, value);
        varint::put_i64(out, headers.len() as i64);
        for (key, value) in headers {
            put_nullable(out, Some(key));
            put_nullable(out, *value);
        }
        header.record_count += 1;
        header.last_offset_delta = offset_delta;
        offset_delta
    }

    /// How many records were added.
    pub fn record_count(&self) -> i32 {
        self.header.record_count
    }

    /// Whether no record was added.
    pub fn is_empty(&self) -> bool {
        self.header.record_count == 0
    }

    /// Bytes of the batch before packing.
    pub fn size_before_packing(&self) -> usize {
        self.bytes.len()
    }

    /// What a record would add to [`size_before_packing`](Self::size_before_packing) at most.
    pub fn size_of_record(
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) -> usize {
        record_length(i64::MIN, i32::MIN, key, value, headers).saturating_add(5)
    }

    /// The batch, its first record at `base_offset`. Fails only when the codec's context cannot be made.
    pub fn build(mut self, base_offset: Offset) -> io::Result<Bytes> {
        let mut bytes = if self.codec.compression == Compression::None {
            self.bytes
        } else {
            let mut packer = Compressor::new(self.codec, vec![0; HEADER_BYTES])?;
            packer.write_all(&self.bytes[HEADER_BYTES..])?;
            packer.finish()?
        };
        self.header.base_offset = base_offset;
        self.header.batch_length = i32::try_from(bytes.len() - LOG_OVERHEAD).map_err(io::Error::other)?;
        self.header.seal(&bytes[HEADER_BYTES..]);
        let (head, _) = bytes
            .split_first_chunk_mut()
            .expect("room was made for the header");
        self.header.write_to(head);
        Ok(bytes.into())
    }
}

fn record_length(
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[(&[u8], Option<&[u8]>)],
) -> usize {
    let pairs = headers
        .iter()
        .map(|(key, value)| nullable_length(Some(key)) + nullable_length(*value));
    1 + varint::size_of(timestamp_delta)
        + varint::size_of(i64::from(offset_delta))
        + nullable_length(key)
        + nullable_length(value)
        + varint::size_of(headers.len() as i64)
        + pairs.sum::<usize>()
}

fn nullable_length(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint::size_of(bytes.len() as i64) + bytes.len())
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            varint::put_i64(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
        None => varint::put_i32(out, -1),
    }
}
