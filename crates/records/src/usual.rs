//! Records in their usual form: short integers and no headers. They are read in a tenth of the instructions that
//! [`crate::walk`] takes for any record.
//!
//! Always holds: what is read here is what is read there; a record that is wrong, or unusual in any way, is left to it.

use crate::varint::unzigzag_32;

/// Eight bytes at `at`, the first one lowest: integers are taken off its low end without a comparison for each byte.
#[inline(always)]
fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let eight = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*eight))
}

/// Takes an integer of at most three bytes off `word`, still in its zigzag form, and counts them; `None` for a longer one.
#[inline(always)]
fn short_varint(word: &mut u64, at: &mut usize) -> Option<u32> {
    let bits = *word;
    let (raw, size) = match bits {
        _ if bits & 0x80 == 0 => (bits & 0x7f, 1),
        _ if bits & 0x8000 == 0 => (bits & 0x7f | (bits >> 1) & 0x3f80, 2),
        _ if bits & 0x80_0000 == 0 => (bits & 0x7f | (bits >> 1) & 0x3f80 | (bits >> 2) & 0x1f_c000, 3),
        _ => return None,
    };
    *word = bits >> (8 * size);
    *at += size;
    Some(raw as u32)
}

/// What stands before the key of a record in its usual form, and where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UsualRecord {
    pub(crate) timestamp_delta: i32,
    pub(crate) offset_delta: i32,
    pub(crate) has_key: bool,
    /// Its bytes, as its length says.
    pub(crate) length: usize,
    /// Bytes up to its end, its length among them.
    pub(crate) end: usize,
}

impl UsualRecord {
    /// The record that `bytes` begin with, if it is well formed and in its usual form, and a few bytes follow its integers.
    #[inline(always)]
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut at = 0;
        let mut front = word(bytes, at)?;
        let length = usize::try_from(unzigzag_32(short_varint(&mut front, &mut at)?)).ok()?;
        let end = at + length;
        // The attributes: one byte without a meaning.
        front >>= 8;
        at += 1;
        let timestamp_delta = unzigzag_32(short_varint(&mut front, &mut at)?);
        let mut middle = word(bytes, at)?;
        let offset_delta = unzigzag_32(short_varint(&mut middle, &mut at)?);
        let key = unzigzag_32(short_varint(&mut middle, &mut at)?);
        at += usize::try_from(key).unwrap_or(0);
        let value = unzigzag_32(short_varint(&mut word(bytes, at)?, &mut at)?);
        at += usize::try_from(value).unwrap_or(0);
        // What is left is the count of headers.
        (at + 1 == end && *bytes.get(at)? == 0).then_some(Self {
            timestamp_delta,
            offset_delta,
            has_key: key >= 0,
            length,
            end,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::varint::put_i64;
    use crate::walk::{SliceFields, Stop, record_head, split_record};

    /// A record, and what follows it.
    fn framed(record: &[u8], behind: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_i64(&mut bytes, record.len() as i64);
        bytes.extend_from_slice(record);
        bytes.resize(bytes.len() + behind, 0xff);
        bytes
    }

    /// What the exact reading says of the record that `bytes` begin with.
    fn exact(mut bytes: &[u8]) -> Result<UsualRecord, Stop> {
        let whole = bytes.len();
        let record = split_record(&mut bytes)?;
        let head = record_head(&mut SliceFields::new(record), 7)?;
        Ok(UsualRecord {
            timestamp_delta: i32::try_from(head.timestamp_delta).unwrap_or(i32::MIN),
            offset_delta: head.offset_delta,
            has_key: head.has_key,
            length: record.len(),
            end: whole - bytes.len(),
        })
    }

    /// A record without its length.
    fn record(timestamp_delta: i64, key: Option<usize>, value: Option<usize>, headers: &[usize]) -> Vec<u8> {
        let mut bytes = vec![0];
        put_i64(&mut bytes, timestamp_delta);
        put_i64(&mut bytes, 7);
        for part in [key, value] {
            put_i64(&mut bytes, part.map_or(-1, |length| length as i64));
            bytes.resize(bytes.len() + part.unwrap_or(0), 0xa5);
        }
        put_i64(&mut bytes, headers.len() as i64);
        for length in headers {
            put_i64(&mut bytes, 1);
            bytes.push(b'h');
            put_i64(&mut bytes, *length as i64);
            bytes.resize(bytes.len() + length, 0);
        }
        bytes
    }

    #[test]
    fn records_in_their_usual_form_are_read_quickly_and_others_are_not() {
        for (usual, record) in [
            (true, record(0, None, Some(100), &[])),
            (true, record(-1, Some(0), Some(0), &[])),
            (true, record(1 << 19, Some(200), None, &[])),
            (true, record(5, Some(20_000), Some(1_000_000), &[])),
            (false, record(1 << 20, None, Some(100), &[])),
            (false, record(0, None, Some(2_000_000), &[])),
            (false, record(0, None, Some(1), &[3])),
        ] {
            let bytes = framed(&record, 8);
            let quick = UsualRecord::parse(&bytes);
            assert_eq!(quick.is_some(), usual, "{} bytes", record.len());
            assert!(quick.is_none_or(|quick| exact(&bytes) == Ok(quick)));
        }
    }

    #[test]
    fn every_integer_of_up_to_three_bytes_is_read_and_no_longer_one() {
        let mut bytes = Vec::new();
        for value in (-(1 << 20)..1 << 20).chain([-(1 << 20) - 1, 1 << 20, i64::from(i32::MIN)]) {
            bytes.clear();
            put_i64(&mut bytes, value);
            let size = bytes.len();
            bytes.resize(8, 0xff);
            let mut at = 0;
            let read = short_varint(&mut word(&bytes, 0).unwrap(), &mut at);
            match size {
                1..=3 => assert_eq!((read.map(unzigzag_32), at), (Some(value as i32), size)),
                _ => assert_eq!((read, at), (None, 0)),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn what_is_read_quickly_is_what_is_there(
            timestamp_delta in -5_000_i64..5_000,
            key in proptest::option::of(0_usize..300),
            value in proptest::option::of(0_usize..300),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
            behind in 0_usize..12,
            cut in proptest::option::of(any::<prop::sample::Index>()),
        ) {
            let mut bytes = framed(&record(timestamp_delta, key, value, &[]), behind);
            for (at, byte) in changes {
                // In the first bytes, where the integers are.
                let at = at.index(bytes.len().min(14));
                bytes[at] = byte;
            }
            bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len() + 1)));
            if let Some(quick) = UsualRecord::parse(&bytes) {
                prop_assert_eq!(exact(&bytes), Ok(quick));
            }
        }
    }
}
