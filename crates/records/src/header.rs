//! The 61 bytes that open a batch.
//!
//! ```text
//!  0 base offset            i64   21 attributes         i16   43 producer id     i64
//!  8 batch length (from 12) i32   23 last offset delta  i32   51 producer epoch  i16
//! 12 partition leader epoch i32   27 base timestamp     i64   53 base sequence   i32
//! 16 magic (2)              i8    35 max timestamp      i64   57 record count    i32
//! 17 CRC-32C (from 21)      u32                               61 records, perhaps compressed
//! ```
//!
//! Always holds: `parse` and `write_to` are inverse for every header that `parse` accepts; parsing checks the length and
//! the magic, nothing else. Whether the records fit the header is [`validate`](crate::validate())'s question.

use klamm_model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs, limits};

use crate::compression::{Compression, UnknownCompression};
use crate::crc;
use crate::error::BatchError;

/// Bytes of a batch's header.
pub const HEADER_BYTES: usize = limits::BATCH_HEADER_BYTES;
/// The timestamp of a record or batch that has none.
pub const NO_TIMESTAMP: TimestampMs = TimestampMs(-1);

/// Bytes before those that the batch length counts.
pub(crate) const LOG_OVERHEAD: usize = 12;
/// Bytes up to and with the magic, which stands at one place in every format.
pub(crate) const UP_TO_MAGIC: usize = 17;
pub(crate) const CRC_AT: usize = 17;
pub(crate) const ATTRIBUTES_AT: usize = 21;
/// The smallest length of any format: a message of magic 0 without key and value.
pub(crate) const SMALLEST_LENGTH: i32 = 14;

const COMPRESSION_MASK: i16 = 0x07;
const TIMESTAMP_TYPE_BIT: i16 = 0x08;
const TRANSACTIONAL_BIT: i16 = 0x10;
const CONTROL_BIT: i16 = 0x20;
const DELETE_HORIZON_BIT: i16 = 0x40;

/// Whose clock the timestamps of a batch are from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's, one for each record.
    #[default]
    CreateTime,
    /// The leader's, at the append; the batch's max timestamp is that of every record.
    LogAppendTime,
}

/// The idempotent producer of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Producer {
    /// What the cluster calls it.
    pub id: ProducerId,
    /// Its incarnation.
    pub epoch: ProducerEpoch,
    /// The sequence number of the first record; `None` in control batches.
    pub base_sequence: Option<i32>,
    /// The sequence number of the last record, counted on from 0 after `i32::MAX`.
    pub last_sequence: Option<i32>,
}

/// The header of a batch as it stands in its bytes, sentinels included; the accessors give meaning to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset of the first record that the batch was made with.
    pub base_offset: Offset,
    /// Bytes after this field.
    pub batch_length: i32,
    /// The epoch of the leader that appended the batch, -1 before that.
    pub partition_leader_epoch: i32,
    /// The format; 2 in every header that was parsed.
    pub magic: i8,
    /// CRC-32C of all that follows.
    pub crc: u32,
    /// Codec, timestamp type, transactional, control, delete horizon.
    pub attributes: i16,
    /// The last record's offset less the base offset; kept when compaction removes records.
    pub last_offset_delta: i32,
    /// What the records' timestamps count from, or the delete horizon.
    pub base_timestamp: TimestampMs,
    /// The largest timestamp, or the append time.
    pub max_timestamp: TimestampMs,
    /// The idempotent producer, -1 for none.
    pub producer_id: i64,
    /// Its incarnation, -1 for none.
    pub producer_epoch: i16,
    /// The first record's sequence number, -1 for none.
    pub base_sequence: i32,
    /// How many records follow.
    pub record_count: i32,
}

/// `N` bytes of the header at `at`; the caller has made sure that they exist.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("a slice of N bytes")
}

impl BatchHeader {
    /// Reads the header that `bytes` begin with. The records behind it need not be there.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        Self::peek_size(bytes)?;
        if bytes.len() < HEADER_BYTES {
            return Err(BatchError::Incomplete {
                need: HEADER_BYTES,
                have: bytes.len(),
            });
        }
        Ok(Self {
            base_offset: Offset(i64::from_be_bytes(field(bytes, 0))),
            batch_length: i32::from_be_bytes(field(bytes, 8)),
            partition_leader_epoch: i32::from_be_bytes(field(bytes, 12)),
            magic: i8::from_be_bytes(field(bytes, 16)),
            crc: u32::from_be_bytes(field(bytes, CRC_AT)),
            attributes: i16::from_be_bytes(field(bytes, ATTRIBUTES_AT)),
            last_offset_delta: i32::from_be_bytes(field(bytes, 23)),
            base_timestamp: TimestampMs(i64::from_be_bytes(field(bytes, 27))),
            max_timestamp: TimestampMs(i64::from_be_bytes(field(bytes, 35))),
            producer_id: i64::from_be_bytes(field(bytes, 43)),
            producer_epoch: i16::from_be_bytes(field(bytes, 51)),
            base_sequence: i32::from_be_bytes(field(bytes, 53)),
            record_count: i32::from_be_bytes(field(bytes, 57)),
        })
    }

    /// The size of the batch that `bytes` begin with, from its first 17 bytes: what a scanner needs to go on to the next.
    ///
    /// Too few bytes are [`BatchError::Incomplete`]; the batch itself may still reach beyond `bytes`.
    pub fn peek_size(bytes: &[u8]) -> Result<usize, BatchError> {
        if bytes.len() < UP_TO_MAGIC {
            return Err(BatchError::Incomplete {
                need: UP_TO_MAGIC,
                have: bytes.len(),
            });
        }
        let length = i32::from_be_bytes(field(bytes, 8));
        if length < SMALLEST_LENGTH {
            return Err(BatchError::Length(length));
        }
        let magic = i8::from_be_bytes(field(bytes, 16));
        if magic != 2 {
            return Err(BatchError::Magic(magic));
        }
        let size = LOG_OVERHEAD + usize::try_from(length).expect("at least the smallest length");
        if size < HEADER_BYTES {
            return Err(BatchError::Length(length));
        }
        Ok(size)
    }

    /// Writes the header over `bytes`.
    pub fn write_to(&self, bytes: &mut [u8; HEADER_BYTES]) {
        bytes[0..8].copy_from_slice(&self.base_offset.0.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.partition_leader_epoch.to_be_bytes());
        bytes[16..17].copy_from_slice(&self.magic.to_be_bytes());
        bytes[17..21].copy_from_slice(&self.crc.to_be_bytes());
        bytes[21..23].copy_from_slice(&self.attributes.to_be_bytes());
        bytes[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        bytes[27..35].copy_from_slice(&self.base_timestamp.0.to_be_bytes());
        bytes[35..43].copy_from_slice(&self.max_timestamp.0.to_be_bytes());
        bytes[43..51].copy_from_slice(&self.producer_id.to_be_bytes());
        bytes[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        bytes[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        bytes[57..61].copy_from_slice(&self.record_count.to_be_bytes());
    }

    /// The header's bytes.
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        self.write_to(&mut bytes);
        bytes
    }

    /// Gives the batch its place in the partition. The checksum does not cover these two fields and stays right.
    pub fn patch(&mut self, base_offset: Offset, leader_epoch: LeaderEpoch) {
        self.base_offset = base_offset;
        self.partition_leader_epoch = leader_epoch.0;
    }

    /// Computes the checksum anew, after a change to the attributes or a later field.
    pub fn seal(&mut self, body: &[u8]) {
        self.crc = crc::crc_of_parts(self, body);
    }

    /// The codec of the records.
    pub fn compression(&self) -> Result<Compression, UnknownCompression> {
        let id = u8::try_from(self.attributes & COMPRESSION_MASK).expect("three bits");
        Compression::from_id(id)
    }

    /// Sets the codec of the records.
    pub fn set_compression(&mut self, compression: Compression) {
        self.attributes = (self.attributes & !COMPRESSION_MASK) | i16::from(compression.id());
    }

    /// Whose clock the timestamps are from.
    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & TIMESTAMP_TYPE_BIT == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Sets whose clock the timestamps are from.
    pub fn set_timestamp_type(&mut self, timestamp_type: TimestampType) {
        self.set_bit(TIMESTAMP_TYPE_BIT, timestamp_type == TimestampType::LogAppendTime);
    }

    /// Whether the batch is part of a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    pub(crate) fn set_transactional(&mut self, transactional: bool) {
        self.set_bit(TRANSACTIONAL_BIT, transactional);
    }

    /// Whether the batch holds control records, which consumers skip.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    pub(crate) fn set_control(&mut self, control: bool) {
        self.set_bit(CONTROL_BIT, control);
    }

    /// Whether the base timestamp is the time from which tombstones and markers of the batch may go (KIP-534).
    pub fn has_delete_horizon(&self) -> bool {
        self.attributes & DELETE_HORIZON_BIT != 0
    }

    /// The time from which tombstones and markers of the batch may go (KIP-534).
    pub fn delete_horizon(&self) -> Option<TimestampMs> {
        self.has_delete_horizon().then_some(self.base_timestamp)
    }

    pub(crate) fn set_delete_horizon(&mut self) {
        self.set_bit(DELETE_HORIZON_BIT, true);
    }

    pub(crate) fn clear_delete_horizon(&mut self) {
        self.set_bit(DELETE_HORIZON_BIT, false);
    }

    /// The epoch of the leader that appended the batch.
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        (self.partition_leader_epoch >= 0).then_some(LeaderEpoch(self.partition_leader_epoch))
    }

    /// The offset of the last record.
    pub fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0.wrapping_add(i64::from(self.last_offset_delta)))
    }

    /// The offset after the last record.
    pub fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0.wrapping_add(1))
    }

    /// Bytes of the whole batch, header included.
    pub fn size_in_bytes(&self) -> usize {
        LOG_OVERHEAD.saturating_add(usize::try_from(self.batch_length).unwrap_or(0))
    }

    /// The idempotent producer of the batch.
    pub fn producer(&self) -> Option<Producer> {
        (self.producer_id >= 0).then(|| Producer {
            id: ProducerId(self.producer_id),
            epoch: ProducerEpoch(self.producer_epoch),
            base_sequence: (self.base_sequence >= 0).then_some(self.base_sequence),
            last_sequence: self.last_sequence(),
        })
    }

    /// The sequence number of the last record. After `i32::MAX` comes 0.
    pub fn last_sequence(&self) -> Option<i32> {
        (self.base_sequence >= 0).then(|| sequence_plus(self.base_sequence, self.last_offset_delta))
    }

    fn set_bit(&mut self, bit: i16, on: bool) {
        self.attributes = if on {
            self.attributes | bit
        } else {
            self.attributes & !bit
        };
    }
}

/// The sequence number `delta` records after `sequence`. After `i32::MAX` comes 0.
pub fn sequence_plus(sequence: i32, delta: i32) -> i32 {
    let sum = (i64::from(sequence) + i64::from(delta)).rem_euclid(i64::from(i32::MAX) + 1);
    i32::try_from(sum).expect("within the modulus of 2^31")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> BatchHeader {
        BatchHeader {
            base_offset: Offset(0x0102_0304_0506_0708),
            batch_length: 60,
            partition_leader_epoch: 9,
            magic: 2,
            crc: 0xdead_beef,
            attributes: 0x0014,
            last_offset_delta: 3,
            base_timestamp: TimestampMs(1000),
            max_timestamp: TimestampMs(2000),
            producer_id: 77,
            producer_epoch: 5,
            base_sequence: i32::MAX - 1,
            record_count: 4,
        }
    }

    #[test]
    fn bytes_read_back() {
        let header = header();
        assert_eq!(BatchHeader::parse(&header.to_bytes()), Ok(header));
        assert_eq!(header.size_in_bytes(), 72);
        assert_eq!(header.last_offset(), Offset(0x0102_0304_0506_070b));
        assert_eq!(header.next_offset(), Offset(0x0102_0304_0506_070c));
        assert_eq!(header.compression(), Ok(Compression::Zstd));
        assert!(header.is_transactional() && !header.is_control() && !header.has_delete_horizon());
    }

    #[test]
    fn sequences_wrap_to_zero() {
        for (base, delta, last) in [
            (0, 0, 0),
            (5, 3, 8),
            (i32::MAX, 0, i32::MAX),
            (i32::MAX, 1, 0),
            (i32::MAX - 1, 3, 1),
            (i32::MAX, i32::MAX, i32::MAX - 1),
        ] {
            let header = BatchHeader {
                base_sequence: base,
                last_offset_delta: delta,
                ..header()
            };
            assert_eq!(header.last_sequence(), Some(last));
        }
        let none = BatchHeader {
            base_sequence: -1,
            producer_id: -1,
            ..header()
        };
        assert_eq!((none.last_sequence(), none.producer()), (None, None));
    }

    #[test]
    fn sizes_that_no_batch_has_are_told_apart() {
        let with = |length: i32, magic: i8| {
            BatchHeader {
                batch_length: length,
                magic,
                ..header()
            }
            .to_bytes()
        };
        assert_eq!(BatchHeader::peek_size(&with(49, 2)), Ok(61));
        assert_eq!(
            BatchHeader::peek_size(&with(i32::MAX, 2)),
            Ok(12 + i32::MAX as usize)
        );
        for length in [i32::MIN, -1, 0, 13, 48] {
            assert_eq!(
                BatchHeader::peek_size(&with(length, 2)),
                Err(BatchError::Length(length))
            );
        }
        for magic in [-1, 0, 1, 3, 9] {
            assert_eq!(
                BatchHeader::peek_size(&with(49, magic)),
                Err(BatchError::Magic(magic))
            );
        }
        for have in 0..61 {
            let need = if have < 17 { 17 } else { 61 };
            assert_eq!(
                BatchHeader::parse(&with(49, 2)[..have]),
                Err(BatchError::Incomplete { need, have })
            );
        }
    }

    #[test]
    fn attributes_are_set_one_by_one() {
        let mut header = BatchHeader {
            attributes: 0x7f80,
            ..header()
        };
        header.set_compression(Compression::Lz4);
        header.set_timestamp_type(TimestampType::LogAppendTime);
        header.set_control(true);
        assert_eq!(header.attributes, 0x7fab);
        header.set_timestamp_type(TimestampType::CreateTime);
        header.set_compression(Compression::None);
        assert_eq!(header.attributes, 0x7fa0);
    }
}
