//! Record batches of format v2, the only bytes that a partition is made of: read, validate, iterate, build, compress.
//!
//! Always holds: no I/O, no clock, no async. Bytes given here come from a peer or a disk: nothing in them can panic, and
//! no number in them sizes an allocation; whatever is unpacked is unpacked under a limit.
//!
//! Start with [`BatchHeader`] for the 61 bytes, [`validate()`] for what a leader does with a produced batch, [`Batch`] to
//! read one, [`BatchBuilder`] to make one, [`raw`] to leave some of its records out, [`compression`] for the codecs.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod batch;
mod builder;
pub mod compression;
mod control;
mod crc;
mod error;
pub mod header;
pub mod raw;
mod rejection;
mod usual;
mod validate;
mod varint;
mod walk;

pub use batch::{Batch, Batches, Record, RecordHeader, RecordIter};
pub use builder::BatchBuilder;
pub use compression::{Codec, Compression, Scratch};
pub use control::{ControlType, EndTransactionMarker};
pub use crc::verify_crc;
pub use error::{BatchError, RecordFault};
pub use header::{BatchHeader, HEADER_BYTES, NO_TIMESTAMP, Producer, TimestampType};
pub use rejection::{RecordError, RecordErrors, RecordReason, Rejection, RejectionKind};
pub use validate::{Origin, Rules, Validated, validate, validate_briefly, validate_framing};
pub use walk::{Limits, Passed, RecordHead, Visit, walk};
