//! The aborted transactions of a segment: Kafka's `.txnindex`.
//!
//! Always holds: entries stand in the order of their markers, so their last offsets grow.
//!
//! ```text
//! version i16 (0), producer id i64, first offset i64, last offset i64, last stable offset i64     34 bytes
//! ```

use klamm_model::{Offset, ProducerId};

/// Bytes of an entry.
pub const ENTRY_BYTES: usize = 34;
/// The version of an entry.
const VERSION: i16 = 0;

/// A transaction that was aborted in this partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Whose it was.
    pub producer_id: ProducerId,
    /// Its first record.
    pub first_offset: Offset,
    /// The marker that ended it.
    pub last_offset: Offset,
    /// The last stable offset when it ended: no transaction of a later entry begins below.
    pub last_stable_offset: Offset,
}

impl AbortedTransaction {
    /// The entry's bytes.
    pub fn to_bytes(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..2].copy_from_slice(&VERSION.to_be_bytes());
        let fields = [
            self.producer_id.0,
            self.first_offset.0,
            self.last_offset.0,
            self.last_stable_offset.0,
        ];
        for (place, field) in bytes[2..].chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_be_bytes());
        }
        bytes
    }

    /// Reads an entry; `None` if it is cut, of another version, or has offsets that no transaction has.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; ENTRY_BYTES] = bytes.try_into().ok()?;
        let field =
            |i: usize| i64::from_be_bytes(bytes[2 + 8 * i..10 + 8 * i].try_into().expect("eight bytes"));
        let entry = Self {
            producer_id: ProducerId(field(0)),
            first_offset: Offset(field(1)),
            last_offset: Offset(field(2)),
            last_stable_offset: Offset(field(3)),
        };
        let plausible = i16::from_be_bytes([bytes[0], bytes[1]]) == VERSION
            && entry.first_offset.0 >= 0
            && entry.first_offset <= entry.last_offset;
        plausible.then_some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_read_back() {
        let entry = AbortedTransaction {
            producer_id: ProducerId(7),
            first_offset: Offset(10),
            last_offset: Offset(20),
            last_stable_offset: Offset(10),
        };
        let bytes = entry.to_bytes();
        assert_eq!(bytes[..10], [0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
        assert_eq!(AbortedTransaction::parse(&bytes), Some(entry));
        assert_eq!(AbortedTransaction::parse(&bytes[1..]), None);
        let mut newer = bytes;
        newer[1] = 1;
        assert_eq!(AbortedTransaction::parse(&newer), None);
    }
}
