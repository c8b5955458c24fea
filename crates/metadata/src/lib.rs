//! The state of the cluster: its records, the image that they make, and the decisions that write more of them.
//!
//! Always holds: nothing here does I/O, reads a clock, draws a random number or depends on the order of a hash map. A
//! decision returns records and changes nothing; replaying records is the only way to change an [`Image`], and it gives
//! the same image however the records are cut into batches.
//!
//! Next: [`record`] for what is written, [`image`] for what is read, [`delta`] for what changed, [`controller`] for who
//! decides, one file per decision.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod adopt;
pub mod bootstrap;
pub mod controller;
pub mod delta;
pub mod election;
pub mod image;
pub mod placement;
pub mod record;
mod replay;

pub use delta::{Delta, LocalChanges, TopicChange};
pub use image::{Image, PartitionImage, Position, ResourceKind, TopicImage};
pub use record::{InvalidDecision, MetadataRecord, decode_decision, encode_decision};
pub use replay::{ReplayError, Unfit};
