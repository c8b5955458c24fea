//! The messages of Kafka 4.4, in every version, generated out of Kafka's own schemas (`cargo xtask protocol 4.4.0`).
//!
//! Always holds: decoding is total. Whatever the bytes are, it returns, it does not panic, and it takes no more memory
//! than its [`DecodeBudget`] allows; a value is decoded over an earlier one without taking memory again. Strings, bytes
//! and records are slices of the frame, and record bytes are never copied into what is sent. So whoever keeps a decoded
//! string or bytes beyond the request copies them, or keeps the whole frame with them.
//!
//! Where to go: [`messages`] for requests and responses, [`metadata_records`] and [`coordinator_records`] for what Kafka
//! stores, [`header`] for what stands before a message, [`Message`] for what all of them can do, [`ApiKey`] for the
//! table of APIs. `generated/` is never edited; what it is made of is in `xtask/src/protocol`.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod api_key;
pub mod budget;
pub mod error;
mod generated;
pub mod header;
mod message;
pub mod reader;
pub mod record_frame;
mod records;
#[cfg(feature = "schema")]
pub mod schema;
pub mod writer;

pub use api_key::ApiKey;
pub use budget::{DecodeBudget, MemoryPool};
pub use bytestring::ByteString;
pub use error::{DecodeError, EncodeError};
pub use generated::{coordinator_records, data_records, messages, metadata_records, remote_log_records};
pub use header::{RequestHeader, RequestPrefix, ResponseHeader, encode_request, encode_response};
pub use message::{Fields, Message, RawTaggedField, Request};
pub use reader::Reader;
pub use records::Records;
#[cfg(feature = "schema")]
pub use schema::fuzz_decode;
pub use writer::{Hole, HoleContent, Piece, Writer};
