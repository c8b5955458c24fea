//! The values that every crate of Klamm speaks in: identifiers, offsets and epochs, Kafka's error codes, and every limit.
//!
//! Always holds: nothing here does I/O, reads a clock or draws a random number, and no value is built from a wire
//! sentinel (`-1`, the empty string): those become `Option` where a request is decoded.
//!
//! Start with [`ids`] for the newtypes, [`error_code`] for what a client is told, [`limits`] for every bound.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod error_code;
pub mod ids;
pub mod java_hash;
pub mod limits;
pub mod topic_name;
pub mod uuid;

pub use error_code::ErrorCode;
pub use ids::{BrokerId, LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs, TopicPartition};
pub use uuid::{TopicId, Uuid};
