//! Reads the few fields of an answer that the program looks at, from bytes of which more may still come.
//!
//! Always holds: `None` means that the bytes end before the field does; nothing panics and nothing allocates.

use klamm_model::Uuid;

/// A place in the bytes of an answer.
pub(crate) struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes were read.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let bytes = self.bytes.get(self.at..)?.get(..count)?;
        self.at += count;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn i16(&mut self) -> Option<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    pub(crate) fn uuid(&mut self) -> Option<Uuid> {
        self.array().map(Uuid)
    }

    /// An unsigned variable-length integer of at most five bytes.
    pub(crate) fn varint(&mut self) -> Option<usize> {
        let mut value = 0_u64;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        usize::try_from(value).ok()
    }

    /// A compact length, of an array, a string or bytes; null counts as empty.
    pub(crate) fn length(&mut self) -> Option<usize> {
        self.varint().map(|length| length.saturating_sub(1))
    }

    /// Passes over tagged fields.
    pub(crate) fn tags(&mut self) -> Option<()> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let size = self.varint()?;
            self.take(size)?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_in_order_and_none_beyond_the_end() {
        let bytes = [
            0x80, 0x01, 3, 2, 0, 5, 1, 2, 1, 7, 1, 9, 9, 0xff, 0xff, 0xff, 0xff, 0x7f,
        ];
        let mut walk = Walk::new(&bytes);
        assert_eq!(walk.varint(), Some(128));
        assert_eq!(walk.length(), Some(2));
        assert_eq!(walk.take(1), Some(&[2][..]));
        assert_eq!(walk.i16(), Some(5));
        assert_eq!(walk.varint(), Some(1));
        // Two tagged fields would need more than there is of the second: one here.
        let mut tags = Walk::new(&bytes[8..]);
        assert_eq!((tags.tags(), tags.at()), (Some(()), 4));
        let mut large = Walk::new(&bytes[13..]);
        assert_eq!(large.varint(), Some(0x7_ffff_ffff));
        for cut in 0..8 {
            assert_eq!(Walk::new(&bytes[..cut]).i64(), None);
        }
        assert_eq!(Walk::new(&[2, 1, 1, 7, 2, 9, 1]).tags(), None, "a cut field");
        assert_eq!(Walk::new(&[0]).length(), Some(0), "null");
    }
}
