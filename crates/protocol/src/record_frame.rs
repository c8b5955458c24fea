//! What stands before a record of the metadata log, and before the key and the value of a coordinator's record.
//!
//! A record of the metadata log: frame version (1), type and version as variable-length integers, then the fields.
//! A coordinator's key: its type in two bytes, then the fields at version 0. A coordinator's value: its version in two
//! bytes, then the fields.
//!
//! Always holds: bytes behind a record of the metadata log are refused, those behind a coordinator's are not, as in Kafka.

use crate::error::{DecodeError, EncodeError};
use crate::message::Message;
use crate::reader::Reader;
use crate::writer::Writer;

const FRAME_VERSION: u32 = 1;

/// The type and the version of a record of the metadata log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordFrame {
    /// The number of the type: [`Message::API_KEY`].
    pub record_type: i16,
    /// The version of its fields.
    pub version: i16,
}

impl RecordFrame {
    /// Reads the frame; the fields follow.
    pub fn decode(r: &mut Reader) -> Result<Self, DecodeError> {
        let frame = r.unsigned_varint()?;
        if frame != FRAME_VERSION {
            return Err(DecodeError::UnknownRecord {
                what: "frame version",
                value: frame,
            });
        }
        let record_type = short(r.unsigned_varint()?, "type")?;
        let version = short(r.unsigned_varint()?, "version")?;
        Ok(Self { record_type, version })
    }
}

fn short(value: u32, what: &'static str) -> Result<i16, DecodeError> {
    i16::try_from(value).map_err(|_| DecodeError::UnknownRecord { what, value })
}

/// A record of the metadata log, with its frame.
pub fn encode_record<M: Message>(w: &mut Writer, version: i16, record: &M) -> Result<(), EncodeError> {
    encode_record_as(w, numbered::<M>() as u32, version, record)
}

/// As [`encode_record`], with a type number that is not the message's own.
pub fn encode_record_as<M: Message>(
    w: &mut Writer,
    record_type: u32,
    version: i16,
    record: &M,
) -> Result<(), EncodeError> {
    w.unsigned_varint(FRAME_VERSION);
    w.unsigned_varint(record_type);
    w.unsigned_varint(version as u32);
    record.encode(w, version)
}

/// Reads the fields behind a [`RecordFrame`], up to the end.
pub fn decode_record<M: Message>(r: &mut Reader, version: i16) -> Result<M, DecodeError> {
    let record = M::decode(r, version)?;
    r.finish()?;
    Ok(record)
}

/// Appends the key of a coordinator's record.
pub fn encode_coordinator_key<M: Message>(w: &mut Writer, key: &M) -> Result<(), EncodeError> {
    w.i16(numbered::<M>());
    key.encode(w, 0)
}

/// Appends the value of a coordinator's record.
pub fn encode_coordinator_value<M: Message>(
    w: &mut Writer,
    version: i16,
    value: &M,
) -> Result<(), EncodeError> {
    w.i16(version);
    value.encode(w, version)
}

/// The type of the record that a coordinator's key belongs to; [`Message::decode`] at version 0 reads the rest.
pub fn coordinator_key_type(r: &mut Reader) -> Result<i16, DecodeError> {
    r.i16()
}

/// Reads the value of a coordinator's record.
pub fn decode_coordinator_value<M: Message>(r: &mut Reader) -> Result<M, DecodeError> {
    let version = r.i16()?;
    M::decode(r, version)
}

fn numbered<M: Message>() -> i16 {
    M::API_KEY.expect("every record schema of Kafka has a number")
}
