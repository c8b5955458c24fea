//! The zigzag variable-length integers inside a record.
//!
//! Always holds: at most 5 bytes for 32 bits and 10 for 64; the last one's surplus bits are dropped, as Kafka does.

/// Writes `value` in as few bytes as it takes.
pub(crate) fn put_i32(out: &mut Vec<u8>, value: i32) {
    put_i64(out, i64::from(value));
}

/// Writes `value` in as few bytes as it takes.
pub(crate) fn put_i64(out: &mut Vec<u8>, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Bytes that `value` takes.
pub(crate) fn size_of(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The 32-bit value behind its zigzag form.
pub(crate) const fn unzigzag_32(raw: u32) -> i32 {
    (raw >> 1) as i32 ^ -((raw & 1) as i32)
}

/// The 64-bit value behind its zigzag form.
pub(crate) const fn unzigzag_64(raw: u64) -> i64 {
    (raw >> 1) as i64 ^ -((raw & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::walk::{Fields, SliceFields};

    #[test]
    fn written_integers_read_back_and_have_their_size() {
        let mut values = vec![
            0,
            1,
            -1,
            63,
            64,
            -64,
            -65,
            i64::from(i32::MAX),
            i64::from(i32::MIN),
            i64::MAX,
            i64::MIN,
        ];
        values.extend((0..63).flat_map(|bit| [1_i64 << bit, -(1_i64 << bit), (1_i64 << bit) - 1]));
        for value in values {
            let mut bytes = Vec::new();
            put_i64(&mut bytes, value);
            assert_eq!(bytes.len(), size_of(value), "{value}");
            assert_eq!(SliceFields::new(&bytes).varlong(), Ok(value));
            if let Ok(short) = i32::try_from(value) {
                assert_eq!(SliceFields::new(&bytes).varint(), Ok(short));
            }
        }
    }

    #[test]
    fn overlong_integers_are_refused() {
        assert!(
            SliceFields::new(&[0xff, 0xff, 0xff, 0xff, 0xff])
                .varint()
                .is_err()
        );
        assert!(SliceFields::new(&[0xff; 10]).varlong().is_err());
        assert!(SliceFields::new(&[0x80]).varint().is_err());
    }
}
