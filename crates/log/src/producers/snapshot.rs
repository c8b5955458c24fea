//! The `.snapshot` file: the producers' state at an offset, so that a start need not read the whole log.
//!
//! Always holds: a file is written as a whole; one whose checksum does not fit is no snapshot. Kafka keeps the newest
//! batch of each producer, so that after a clean restart it takes the repetition of any but the last request in flight
//! for a gap. Here a producer has an entry for each batch that is remembered, the newest last: who reads one entry a
//! producer, as Kafka does, ends up with that one.
//!
//! ```text
//!  0 version i16 (1)
//!  2 CRC-32C u32, of all that follows
//!  6 count i32, then that many entries of 46 bytes:
//!    producer id i64, epoch i16, last sequence i32, last offset i64, offset delta i32, timestamp i64,
//!    coordinator epoch i32, first offset of the open transaction i64 (-1 for none)
//! ```

use crc_fast::{CrcAlgorithm, checksum};
use klamm_model::{Offset, ProducerId, TimestampMs};

use super::{ProducerEntry, ProducerState, WrittenBatch};

const VERSION: i16 = 1;
const COUNT_AT: usize = 6;
const ENTRY_BYTES: usize = 46;

/// Why bytes are no snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SnapshotError {
    /// The file is shorter or longer than its count says.
    #[error("{0} bytes do not fit the announced entries")]
    Length(usize),
    /// Another version.
    #[error("snapshot version {0}, only 1 is known")]
    Version(i16),
    /// The checksum does not fit.
    #[error("stored CRC {stored:#010x}, computed {computed:#010x}")]
    Crc {
        /// The checksum in the file.
        stored: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
}

fn crc_of(bytes: &[u8]) -> u32 {
    u32::try_from(checksum(CrcAlgorithm::Crc32Iscsi, bytes) & 0xffff_ffff).expect("masked to 32 bits")
}

/// The bytes of a snapshot of `state`.
pub(crate) fn encode(state: &ProducerState) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(COUNT_AT + 4 + state.len() * ENTRY_BYTES);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&[0; COUNT_AT + 4 - 2]);
    for (id, entry) in state.entries() {
        for batch in entry.earlier() {
            put(&mut bytes, id, entry, Some(batch), batch.timestamp);
        }
        put(&mut bytes, id, entry, entry.last(), entry.last_timestamp);
    }
    let count = (bytes.len() - COUNT_AT - 4) / ENTRY_BYTES;
    let count = i32::try_from(count).expect("producers fit memory");
    bytes[COUNT_AT..COUNT_AT + 4].copy_from_slice(&count.to_be_bytes());
    let crc = crc_of(&bytes[COUNT_AT..]);
    bytes[2..COUNT_AT].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn put(
    bytes: &mut Vec<u8>,
    id: ProducerId,
    entry: &ProducerEntry,
    batch: Option<&WrittenBatch>,
    timestamp: TimestampMs,
) {
    bytes.extend_from_slice(&id.0.to_be_bytes());
    bytes.extend_from_slice(&entry.epoch.to_be_bytes());
    bytes.extend_from_slice(&batch.map_or(-1, |batch| batch.last_sequence).to_be_bytes());
    bytes.extend_from_slice(&batch.map_or(-1, |batch| batch.last_offset.0).to_be_bytes());
    bytes.extend_from_slice(&batch.map_or(0, |batch| batch.offset_delta).to_be_bytes());
    bytes.extend_from_slice(&timestamp.0.to_be_bytes());
    bytes.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
    let first = entry.current_txn_first_offset.map_or(-1, |offset| offset.0);
    bytes.extend_from_slice(&first.to_be_bytes());
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("a slice of N bytes")
}

/// Reads a snapshot.
pub(crate) fn decode(bytes: &[u8]) -> Result<ProducerState, SnapshotError> {
    if bytes.len() < COUNT_AT + 4 {
        return Err(SnapshotError::Length(bytes.len()));
    }
    let version = i16::from_be_bytes(field(bytes, 0));
    if version != VERSION {
        return Err(SnapshotError::Version(version));
    }
    let (stored, computed) = (u32::from_be_bytes(field(bytes, 2)), crc_of(&bytes[COUNT_AT..]));
    if stored != computed {
        return Err(SnapshotError::Crc { stored, computed });
    }
    let entries = &bytes[COUNT_AT + 4..];
    let count = usize::try_from(i32::from_be_bytes(field(bytes, COUNT_AT))).ok();
    if !entries.len().is_multiple_of(ENTRY_BYTES) || count != Some(entries.len() / ENTRY_BYTES) {
        return Err(SnapshotError::Length(bytes.len()));
    }
    let mut state = ProducerState::default();
    let mut producer: Option<(ProducerId, ProducerEntry)> = None;
    for bytes in entries.chunks_exact(ENTRY_BYTES) {
        let id = ProducerId(i64::from_be_bytes(field(bytes, 0)));
        let epoch = i16::from_be_bytes(field(bytes, 8));
        let mut entry = match producer.take() {
            Some((before, entry)) if before == id && entry.epoch == epoch => entry,
            other => {
                other.into_iter().for_each(|(id, entry)| state.restore(id, entry));
                ProducerEntry::new(epoch)
            }
        };
        let batch = WrittenBatch {
            last_sequence: i32::from_be_bytes(field(bytes, 10)),
            last_offset: Offset(i64::from_be_bytes(field(bytes, 14))),
            offset_delta: i32::from_be_bytes(field(bytes, 22)),
            timestamp: TimestampMs(i64::from_be_bytes(field(bytes, 26))),
        };
        if batch.last_sequence >= 0 && batch.offset_delta >= 0 {
            entry.add(batch);
        }
        entry.last_timestamp = batch.timestamp;
        entry.coordinator_epoch = i32::from_be_bytes(field(bytes, 34));
        let first = i64::from_be_bytes(field(bytes, 38));
        entry.current_txn_first_offset = (first >= 0).then_some(Offset(first));
        producer = Some((id, entry));
    }
    producer
        .into_iter()
        .for_each(|(id, entry)| state.restore(id, entry));
    Ok(state)
}
