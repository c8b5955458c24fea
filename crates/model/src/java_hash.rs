//! The hash of a text as Java computes it, by which Kafka places groups and transactional ids on partitions.

/// `31 * hash + unit` over the UTF-16 units of `text`, wrapping: Java's `String.hashCode`.
pub fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    })
}

/// Which of `partitions` a text belongs to, as Kafka's coordinators place it. The one hash that has no positive
/// counterpart counts as 0. Without partitions there is none.
pub fn partition_of(text: &str, partitions: usize) -> Option<usize> {
    let hash = java_hash(text).checked_abs().unwrap_or(0);
    (hash.unsigned_abs() as usize).checked_rem(partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Java prints them.
    #[test]
    fn texts_are_placed_as_java_does() {
        let cases = [
            ("", 0, 0),
            ("a", 97, 47),
            ("my-group", -1_906_497_762, 12),
            ("console-consumer-1", 35_782_224, 24),
            ("ä", 228, 28),
            ("😀 group", -1_570_619_006, 6),
            ("polygenelubricants", i32::MIN, 0),
        ];
        for (text, hash, partition) in cases {
            assert_eq!(java_hash(text), hash, "{text:?}");
            assert_eq!(partition_of(text, 50), Some(partition), "{text:?}");
        }
        assert_eq!(partition_of("a", 0), None);
        assert_eq!(partition_of("a", 1), Some(0));
    }
}
