//! The shape of every message as data, and what decodes any of them from bytes (feature `schema`).
//!
//! Always holds: the tables are emitted from the same schemas as the code, but by other means than the code: a test
//! that writes bytes by the table and reads them by the code compares two readings of the schema.

pub mod sample;

use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::error::{DecodeError, EncodeError};
use crate::generated::SCHEMAS;
use crate::message::Message;
use crate::reader::Reader;
use crate::writer::Writer;

/// The type of a field or of an array's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// One byte, 0 or 1.
    Bool,
    /// One byte.
    Int8,
    /// Two bytes.
    Int16,
    /// Two bytes without sign.
    Uint16,
    /// Four bytes.
    Int32,
    /// Four bytes without sign.
    Uint32,
    /// Eight bytes.
    Int64,
    /// Eight bytes, IEEE 754.
    Float64,
    /// Sixteen bytes.
    Uuid,
    /// UTF-8 with a length of two bytes, or compact.
    String,
    /// Bytes with a length of four bytes, or compact.
    Bytes,
    /// Record batches, as bytes.
    Records,
    /// The struct at this place of [`MessageSchema::structs`].
    Struct(usize),
    /// Elements with a count of four bytes, or compact.
    Array(&'static FieldKind),
}

/// A field.
#[derive(Debug, Clone)]
pub struct FieldSchema {
    /// Kafka's name.
    pub name: &'static str,
    /// Its type.
    pub kind: FieldKind,
    /// The versions that have it.
    pub versions: RangeInclusive<i16>,
    /// The versions in which it may be null.
    pub nullable: RangeInclusive<i16>,
    /// Its number, if it is a tagged field.
    pub tag: Option<u32>,
    /// `null`, a number or `true`; empty for zero, false, empty and a struct of defaults.
    pub default: &'static str,
    /// Whether a value is silently lost in a version that lacks it.
    pub ignorable: bool,
}

/// A struct of a message.
#[derive(Debug)]
pub struct StructSchema {
    /// Its name.
    pub name: &'static str,
    /// Its fields, in the order of the wire.
    pub fields: &'static [FieldSchema],
}

/// What a message that was decoded encodes to.
pub type Recoded = Result<Result<Bytes, EncodeError>, DecodeError>;

/// A message.
#[derive(Debug)]
pub struct MessageSchema {
    /// Kafka's name.
    pub name: &'static str,
    /// The module of this crate that holds it.
    pub group: &'static str,
    /// The number of its API or record type.
    pub api_key: Option<i16>,
    /// The versions.
    pub versions: RangeInclusive<i16>,
    /// The first version with compact lengths and tagged fields; `i16::MAX` if there is none.
    pub first_flexible: i16,
    /// The message itself, then the structs in it.
    pub structs: &'static [StructSchema],
    /// Decodes the message and drops it.
    pub decode: fn(&mut Reader, i16) -> Result<(), DecodeError>,
    /// Decodes the message and encodes it again, in the same version.
    pub recode: fn(&mut Reader, i16) -> Recoded,
}

impl MessageSchema {
    /// Whether `version` has compact lengths and tagged fields.
    pub fn is_flexible(&self, version: i16) -> bool {
        version >= self.first_flexible
    }
}

/// All messages, sorted by name.
pub fn messages() -> &'static [&'static MessageSchema] {
    &SCHEMAS
}

/// Which message of an API is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// What the client sends.
    Request,
    /// What it is answered.
    Response,
}

/// The schema of an API's request or response.
pub fn of_api(api_key: i16, direction: Direction) -> Option<&'static MessageSchema> {
    let suffix = match direction {
        Direction::Request => "Request",
        Direction::Response => "Response",
    };
    let fits =
        |m: &&&MessageSchema| m.group == "messages" && m.api_key == Some(api_key) && m.name.ends_with(suffix);
    SCHEMAS.iter().find(fits).copied()
}

/// Decodes `bytes` as a request or response, with the allowance of a request, and encodes again what came out.
pub fn fuzz_decode(api_key: i16, version: i16, direction: Direction, bytes: &[u8]) -> Recoded {
    let schema = of_api(api_key, direction).ok_or(DecodeError::UnknownApi(api_key))?;
    (schema.recode)(&mut Reader::new(Bytes::copy_from_slice(bytes)), version)
}

pub(crate) const fn message<M: Message>(
    group: &'static str,
    first_flexible: i16,
    structs: &'static [StructSchema],
) -> MessageSchema {
    MessageSchema {
        name: M::NAME,
        group,
        api_key: M::API_KEY,
        versions: M::VERSIONS,
        first_flexible,
        structs,
        decode: |r, version| M::decode(r, version).map(drop),
        recode: |r, version| {
            let message = M::decode(r, version)?;
            let mut w = Writer::contiguous();
            Ok(message.encode(&mut w, version).map(|()| w.into_bytes()))
        },
    }
}

pub(crate) const fn structure(name: &'static str, fields: &'static [FieldSchema]) -> StructSchema {
    StructSchema { name, fields }
}

pub(crate) const fn field(
    name: &'static str,
    kind: FieldKind,
    versions: (i16, i16),
    nullable: (i16, i16),
    tag: Option<u32>,
    default: &'static str,
    ignorable: bool,
) -> FieldSchema {
    FieldSchema {
        name,
        kind,
        versions: versions.0..=versions.1,
        nullable: nullable.0..=nullable.1,
        tag,
        default,
        ignorable,
    }
}
