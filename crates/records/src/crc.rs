//! The checksum of a batch: CRC-32C over everything from the attributes on.
//!
//! Always holds: base offset and leader epoch stand before the covered bytes, so a leader sets them without a new checksum.

use crc_fast::{CrcAlgorithm, Digest, checksum};

use crate::header::{ATTRIBUTES_AT, BatchHeader, CRC_AT, HEADER_BYTES};

fn low_32(sum: u64) -> u32 {
    u32::try_from(sum & 0xffff_ffff).expect("masked to 32 bits")
}

/// The CRC-32C of `covered`, the bytes of a batch from its attributes on.
pub(crate) fn crc_of(covered: &[u8]) -> u32 {
    low_32(checksum(CrcAlgorithm::Crc32Iscsi, covered))
}

/// The CRC-32C of a batch whose header and body do not lie together.
pub(crate) fn crc_of_parts(header: &BatchHeader, body: &[u8]) -> u32 {
    let mut head = [0; HEADER_BYTES];
    header.write_to(&mut head);
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&head[ATTRIBUTES_AT..]);
    digest.update(body);
    low_32(digest.finalize())
}

/// The stored and the computed checksum of a batch of at least a header's length.
pub(crate) fn stored_and_computed(batch: &[u8]) -> Option<(u32, u32)> {
    let stored = batch.get(CRC_AT..CRC_AT + 4)?;
    let stored = u32::from_be_bytes(stored.try_into().expect("four bytes"));
    Some((stored, crc_of(batch.get(ATTRIBUTES_AT..)?)))
}

/// Whether the checksum in `batch`, exactly one whole batch, fits its bytes.
pub fn verify_crc(batch: &[u8]) -> bool {
    batch.len() >= HEADER_BYTES
        && stored_and_computed(batch).is_some_and(|(stored, computed)| stored == computed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnoli() {
        assert_eq!(crc_of(b"123456789"), 0xe306_9283);
        assert_eq!(crc_of(b""), 0);
    }

    #[test]
    fn less_than_a_header_has_no_checksum() {
        for length in 0..HEADER_BYTES {
            assert!(!verify_crc(&vec![0; length]));
        }
    }
}
