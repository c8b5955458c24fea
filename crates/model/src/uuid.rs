//! Kafka's 128-bit identifiers, written as 22 characters of URL-safe base64 without padding.

use std::fmt;
use std::str::FromStr;

/// A 128-bit identifier as Kafka's protocol carries it: 16 bytes, big endian.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

/// The identifier of one incarnation of a topic (KIP-516).
pub type TopicId = Uuid;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl Uuid {
    /// All zeros: "none" on the wire.
    pub const ZERO: Uuid = Uuid([0; 16]);
    /// Reserved for the topic that carries the metadata log.
    pub const ONE: Uuid = Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

    /// Whether this is [`Uuid::ZERO`].
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// Makes a version 4 identifier out of 16 random bytes; the result is none of the reserved values, and its text
    /// does not begin with `-`, so that it can stand as an argument on a command line.
    pub fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        if bytes[0] >> 2 == 62 {
            bytes[0] &= 0x7f;
        }
        Uuid(bytes)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; 22];
        let bits = u128::from_be_bytes(self.0);
        for (i, c) in text.iter_mut().enumerate() {
            let shift = 122 - 6 * i as i32;
            let six = if shift >= 0 {
                (bits >> shift) & 63
            } else {
                (bits << -shift) & 63
            };
            *c = ALPHABET[six as usize];
        }
        f.write_str(std::str::from_utf8(&text).expect("the alphabet is ASCII"))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not 22 characters of URL-safe base64.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an id: expected 22 characters out of A-Z a-z 0-9 - _")]
pub struct InvalidUuid(String);

impl FromStr for Uuid {
    type Err = InvalidUuid;

    fn from_str(text: &str) -> Result<Self, InvalidUuid> {
        let invalid = || InvalidUuid(text.chars().take(64).collect());
        if text.len() != 22 {
            return Err(invalid());
        }
        let mut bits: u128 = 0;
        for (i, c) in text.bytes().enumerate() {
            let six = ALPHABET.iter().position(|a| *a == c).ok_or_else(invalid)? as u128;
            bits = if i < 21 {
                (bits << 6) | six
            } else {
                (bits << 2) | (six >> 4)
            };
        }
        Ok(Uuid(bits.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_agree() {
        let cases = [
            ([0u8; 16], "AAAAAAAAAAAAAAAAAAAAAA"),
            (Uuid::ONE.0, "AAAAAAAAAAAAAAAAAAAAAQ"),
            ([0xff; 16], "_____________________w"),
            (
                [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
                "AAECAwQFBgcICQoLDA0ODw",
            ),
        ];
        for (bytes, text) in cases {
            assert_eq!(Uuid(bytes).to_string(), text);
            assert_eq!(text.parse::<Uuid>().unwrap(), Uuid(bytes));
        }
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "AAAA",
            "AAAAAAAAAAAAAAAAAAAAA+",
            "AAAAAAAAAAAAAAAAAAAAAAAA",
            "ääääääääääa",
        ] {
            assert!(text.parse::<Uuid>().is_err(), "{text}");
        }
    }

    #[test]
    fn random_ids_never_begin_with_a_dash() {
        for first in 0..=255u8 {
            let mut bytes = [7u8; 16];
            bytes[0] = first;
            assert!(!Uuid::from_random(bytes).to_string().starts_with('-'), "{first}");
        }
    }
}
