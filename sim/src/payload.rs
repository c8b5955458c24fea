//! What a record holds follows from three numbers, so that a reader can make it again and compare.
//!
//! Always holds: two records have different keys, and the value says again whose it is.

use std::sync::LazyLock;

/// Which record: the `number`th that `producer` sent to `partition`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordId {
    /// The producer's name.
    pub producer: u32,
    /// The partition.
    pub partition: u32,
    /// Counted from 0 for each producer and partition.
    pub number: u32,
}

/// Bytes that do not repeat within the longest value.
static TEXT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b'!' + (state % 90) as u8
    };
    (0..MOST_BYTES + STARTS as usize).map(|_| next()).collect()
});

/// The longest filling of a value.
const MOST_BYTES: usize = 2_048;
/// Where in the text a value may start.
const STARTS: u32 = 997;

impl RecordId {
    /// The record's key.
    pub fn key(self) -> String {
        format!("{}-{}-{}", self.producer, self.partition, self.number)
    }

    /// The record's value.
    pub fn value(self) -> Vec<u8> {
        let Self {
            producer,
            partition,
            number,
        } = self;
        let mixed = number
            .wrapping_mul(2_654_435_761)
            .wrapping_add(partition.wrapping_mul(40_503))
            .wrapping_add(producer.wrapping_mul(65_537));
        // Most are short, one in 16 is long.
        let most = if mixed >> 28 == 0 { MOST_BYTES } else { 160 };
        let (start, length) = ((mixed % STARTS) as usize, (mixed >> 8) as usize % most);
        let mut value = format!("{producer}:{partition}:{number}:").into_bytes();
        value.extend_from_slice(&TEXT[start..start + length]);
        value
    }

    /// The record that these bytes are, to the last of them.
    pub fn recognise(key: Option<&[u8]>, value: Option<&[u8]>) -> Option<Self> {
        let mut numbers = str::from_utf8(key?).ok()?.split('-').map(str::parse);
        let id = Self {
            producer: numbers.next()?.ok()?,
            partition: numbers.next()?.ok()?,
            number: numbers.next()?.ok()?,
        };
        (numbers.next().is_none() && value? == id.value()).then_some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_recognised_and_a_changed_one_is_not() {
        for number in 0..500 {
            let id = RecordId {
                producer: 3,
                partition: 7,
                number,
            };
            let (key, mut value) = (id.key(), id.value());
            assert_eq!(RecordId::recognise(Some(key.as_bytes()), Some(&value)), Some(id));
            let at = number as usize % value.len();
            value[at] ^= 1;
            assert_eq!(RecordId::recognise(Some(key.as_bytes()), Some(&value)), None);
            assert_eq!(RecordId::recognise(Some(key.as_bytes()), None), None);
        }
        assert_eq!(RecordId::recognise(None, None), None);
        assert_eq!(RecordId::recognise(Some(b"1-2"), Some(b"")), None);
    }
}
