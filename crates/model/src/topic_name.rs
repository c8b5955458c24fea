//! Which names a topic may have, as Kafka rules it.

use crate::limits::MAX_TOPIC_NAME_CHARS;

/// Why a topic name is refused. The text is what the client is shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTopicName {
    /// The name has no characters.
    #[error("Topic name is invalid: the empty string is not allowed")]
    Empty,
    /// The name is `.` or `..`, which no folder can have.
    #[error("Topic name is invalid: '.' or '..' is not allowed")]
    Dots,
    /// The name has more than [`MAX_TOPIC_NAME_CHARS`] characters.
    #[error("Topic name is invalid: the length of '{0}' is longer than the max allowed length 249")]
    TooLong(String),
    /// The name has a character other than ASCII letters, digits, `.`, `_` and `-`.
    #[error(
        "Topic name is invalid: '{0}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
    )]
    Characters(String),
}

/// Checks `name` against Kafka's rules.
pub fn validate(name: &str) -> Result<(), InvalidTopicName> {
    if name.is_empty() {
        return Err(InvalidTopicName::Empty);
    }
    if name == "." || name == ".." {
        return Err(InvalidTopicName::Dots);
    }
    if name.len() > MAX_TOPIC_NAME_CHARS {
        return Err(InvalidTopicName::TooLong(name.to_owned()));
    }
    if !name
        .bytes()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-'))
    {
        return Err(InvalidTopicName::Characters(name.to_owned()));
    }
    Ok(())
}

/// The name with `.` as `_`: two topics that agree in this have metrics that cannot be told apart, so the second one is
/// refused.
pub fn collision_key(name: &str) -> String {
    name.replace('.', "_")
}

/// Whether the topic belongs to a coordinator: clients may not make, write or delete it.
pub fn is_internal(name: &str) -> bool {
    matches!(
        name,
        "__consumer_offsets" | "__transaction_state" | "__share_group_state"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_as_kafka_does() {
        let long = "a".repeat(250);
        let cases = [
            ("orders", true),
            ("a.b_c-D9", true),
            ("...", true),
            (&long[..249], true),
            (&long[..], false),
            ("", false),
            (".", false),
            ("..", false),
            ("a b", false),
            ("a/b", false),
            ("ä", false),
            ("a\0", false),
        ];
        for (name, valid) in cases {
            assert_eq!(validate(name).is_ok(), valid, "{name:?}");
        }
    }

    #[test]
    fn dots_and_underscores_collide() {
        assert_eq!(collision_key("a.b"), collision_key("a_b"));
        assert_ne!(collision_key("a-b"), collision_key("a_b"));
    }
}
