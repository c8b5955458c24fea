//! The field of a message that carries record batches.
//!
//! Always holds: record bytes are never copied by this crate. Decoded, they are a slice of the frame; encoded, they are
//! noted as a [`crate::Hole`] of the written buffer, which the network layer fills when it sends.

use std::fmt;

use bytes::Bytes;

/// Record batches of one partition.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Records {
    /// No records, not even an empty sequence.
    #[default]
    Null,
    /// Batches in memory, one behind the other.
    Bytes(Bytes),
    /// Batches that lie elsewhere (in a file, say). Never the result of decoding.
    External {
        /// What the one who sends knows the batches by.
        token: u32,
        /// Their length in bytes.
        len: usize,
    },
}

impl Records {
    /// The length in bytes; of [`Records::Null`], 0.
    pub fn len(&self) -> usize {
        match self {
            Records::Null => 0,
            Records::Bytes(bytes) => bytes.len(),
            Records::External { len, .. } => *len,
        }
    }

    /// Whether there is not a single byte of records.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The batches, when they are in memory.
    pub fn bytes(&self) -> Option<&Bytes> {
        match self {
            Records::Bytes(bytes) => Some(bytes),
            Records::Null | Records::External { .. } => None,
        }
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Self {
        Records::Bytes(bytes)
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Records::Null => f.write_str("Null"),
            Records::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Records::External { token, len } => write!(f, "External({token}, {len} bytes)"),
        }
    }
}
