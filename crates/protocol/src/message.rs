//! What all generated types can do.
//!
//! Always holds: decoding sets every field (to its default when the version lacks it) and reuses the memory that the
//! value already owns; it ends for every input, and it never panics.

use std::fmt::Debug;
use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::api_key::ApiKey;
use crate::error::{DecodeError, EncodeError};
use crate::reader::Reader;
use crate::writer::Writer;

/// A tagged field that this version of the schemas does not know; kept, so that it can be passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawTaggedField {
    /// The number of the field.
    pub tag: u32,
    /// Its value, not interpreted.
    pub data: Bytes,
}

/// A struct of a message: fields in order, written without a frame of their own.
pub trait Fields: Default {
    /// The fewest bytes that the struct takes in any version.
    const MIN_BYTES: usize;

    /// Reads the fields of `version`, and sets the others to their defaults.
    fn read(&mut self, r: &mut Reader, version: i16) -> Result<(), DecodeError>;

    /// Writes the fields of `version`.
    fn write(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError>;
}

/// A request, a response, a record, or another struct that stands alone.
pub trait Message: Fields + Clone + PartialEq + Debug {
    /// Kafka's name, for instance `ProduceRequest`.
    const NAME: &'static str;
    /// The number of the API, or of the record type in its own numbering.
    const API_KEY: Option<i16>;
    /// The versions that can be read and written.
    const VERSIONS: RangeInclusive<i16>;

    /// Whether `version` has compact lengths and tagged fields (KIP-482).
    fn is_flexible(version: i16) -> bool;

    /// Decodes over an earlier value, whose memory is used again. After an error the value is unspecified, but usable.
    fn decode_into(&mut self, r: &mut Reader, version: i16) -> Result<(), DecodeError> {
        if !Self::VERSIONS.contains(&version) {
            return Err(DecodeError::UnsupportedVersion {
                message: Self::NAME,
                version,
            });
        }
        self.read(r, version)
    }

    /// Decodes a new value.
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let mut message = Self::default();
        message.decode_into(r, version)?;
        Ok(message)
    }

    /// Appends the message to `w`. After an error, `w` holds a part of it: clear it.
    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        if !Self::VERSIONS.contains(&version) {
            return Err(EncodeError::UnsupportedVersion {
                message: Self::NAME,
                version,
            });
        }
        self.write(w, version)
    }

    /// The encoded message alone, in contiguous bytes.
    fn to_bytes(&self, version: i16) -> Result<Bytes, EncodeError> {
        let mut w = Writer::contiguous();
        self.encode(&mut w, version)?;
        Ok(w.into_bytes())
    }
}

/// A request, and the response that belongs to it.
pub trait Request: Message {
    /// The API.
    const KEY: ApiKey;
    /// What answers the request, in the same version.
    type Response: Message;
}
