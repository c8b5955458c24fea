//! What can be wrong with bytes that are decoded, and with a message that is encoded.
//!
//! Always holds: a [`DecodeError`] is the fault of whoever sent the bytes, an [`EncodeError`] is the fault of whoever
//! filled the message. Neither holds bytes of the peer, so both can be logged as they are.

/// Bytes that are not the message they were said to be, or that ask for more than they may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The frame ends inside a value.
    #[error("the frame ends early: {needed} more bytes are announced, {remaining} are left")]
    UnexpectedEnd {
        /// Bytes that the value still needs.
        needed: usize,
        /// Bytes that are left.
        remaining: usize,
    },
    /// A field that always has a value came without one.
    #[error("non-nullable field {field} was serialized as null")]
    Null {
        /// Kafka's name of the field.
        field: &'static str,
    },
    /// An array announces more elements than any message may have.
    #[error("field {field} announces {count} elements")]
    ArrayTooLong {
        /// Kafka's name of the field.
        field: &'static str,
        /// The announced number of elements.
        count: usize,
    },
    /// An array announces more elements than the rest of the frame can hold.
    #[error("field {field} announces {count} elements, but only {remaining} bytes are left")]
    ArrayBeyondFrame {
        /// Kafka's name of the field.
        field: &'static str,
        /// The announced number of elements.
        count: usize,
        /// Bytes that are left.
        remaining: usize,
    },
    /// A string announces more bytes than any string may have.
    #[error("string field {field} had invalid length {length}")]
    StringTooLong {
        /// Kafka's name of the field.
        field: &'static str,
        /// The announced number of bytes.
        length: usize,
    },
    /// A string that is not UTF-8.
    #[error("string field {field} is not UTF-8")]
    NotUtf8 {
        /// Kafka's name of the field.
        field: &'static str,
    },
    /// A variable-length integer of more than five bytes.
    #[error("a variable-length integer has more than five bytes")]
    VarintTooLong,
    /// A struct announces more tagged fields than it may have, or than the frame can hold.
    #[error("{0} tagged fields are announced")]
    TooManyTaggedFields(u32),
    /// A tagged field that this version of the message does not know yet, or no more.
    #[error("tag {tag} is not valid for version {version}")]
    TagNotInVersion {
        /// The tag.
        tag: u32,
        /// The version that is decoded.
        version: i16,
    },
    /// A tagged field whose announced size is not the size of its value.
    #[error("tag {tag} announces {announced} bytes, its value takes {taken}")]
    TagSize {
        /// The tag.
        tag: u32,
        /// The announced size.
        announced: usize,
        /// The size of the value.
        taken: usize,
    },
    /// The decoded form would take more memory than this message was allowed.
    #[error("decoding needs {needed} bytes more, {left} are left of its allowance")]
    OverBudget {
        /// Bytes that were asked for.
        needed: usize,
        /// Bytes that were left.
        left: usize,
    },
    /// The memory that all messages share is used up.
    #[error("decoding needs {needed} bytes more than the shared pool has")]
    PoolExhausted {
        /// Bytes that were asked for.
        needed: usize,
    },
    /// The message exists, but not in this version.
    #[error("{message} has no version {version}")]
    UnsupportedVersion {
        /// The name of the message.
        message: &'static str,
        /// The version that was asked for.
        version: i16,
    },
    /// An API key that Kafka does not have.
    #[error("there is no API {0}")]
    UnknownApi(i16),
    /// A record whose frame, type or version number is none of those that exist.
    #[error("a record has {what} {value}")]
    UnknownRecord {
        /// Which number it is.
        what: &'static str,
        /// The number.
        value: u32,
    },
    /// Bytes are left behind the end of the message.
    #[error("{0} bytes are left behind the message")]
    TrailingBytes(usize),
}

/// A message that cannot be written in the version that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A field was set that the version lacks and that must not be lost silently.
    #[error("attempted to write a non-default {field} at version {version}")]
    FieldNotInVersion {
        /// Kafka's name of the field.
        field: &'static str,
        /// The version that is written.
        version: i16,
    },
    /// A field is null, and the version has no way to say so.
    #[error("{field} is null, which version {version} does not allow")]
    Null {
        /// Kafka's name of the field.
        field: &'static str,
        /// The version that is written.
        version: i16,
    },
    /// A string of more than 32,767 bytes.
    #[error("'{field}' field is too long to be serialized ({length} bytes)")]
    StringTooLong {
        /// Kafka's name of the field.
        field: &'static str,
        /// Its length in bytes.
        length: usize,
    },
    /// An array, bytes or records longer than their length field can say.
    #[error("{0} elements or bytes do not fit a length field")]
    LengthTooLarge(usize),
    /// Unknown tagged fields were set, but the version has none.
    #[error("tagged fields were set, but version {version} of this message does not support them")]
    TagsNotInVersion {
        /// The version that is written.
        version: i16,
    },
    /// Unknown tagged fields that are not in ascending order, or that use the number of a known one.
    #[error("unknown tagged field {0} is out of order or known")]
    TagOrder(u32),
    /// Records that lie outside of memory were given to a writer that must produce contiguous bytes.
    #[error("records outside of memory cannot be written into contiguous bytes")]
    ExternalRecords,
    /// The message exists, but not in this version.
    #[error("{message} has no version {version}")]
    UnsupportedVersion {
        /// The name of the message.
        message: &'static str,
        /// The version that was asked for.
        version: i16,
    },
}

/// The error of generated code for a field that would be lost.
pub(crate) fn not_in_version(field: &'static str, version: i16) -> Result<(), EncodeError> {
    Err(EncodeError::FieldNotInVersion { field, version })
}

/// The error of generated code for a null that cannot be said.
pub(crate) fn null_in_version(field: &'static str, version: i16) -> Result<(), EncodeError> {
    Err(EncodeError::Null { field, version })
}
