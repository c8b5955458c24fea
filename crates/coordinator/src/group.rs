//! Groups of consumers: their members, what these are assigned, and the offsets they have committed.
//!
//! Next: [`shard`] for where a request goes, [`record`] for what is recorded.

mod answer;
mod classic;
mod config;
pub mod consumer;
mod describe;
#[cfg(test)]
pub(crate) mod driver;
mod kinds;
#[cfg(test)]
mod model;
mod offsets;
pub mod record;
mod request;
pub mod shard;
mod sweep;

pub use answer::{Answer, Shape};
pub use classic::ClassicGroup;
pub use config::{GroupConfig, GroupOverrides, MigrationPolicy};
pub use describe::narrowed;
pub use record::GroupRecord;
pub use request::{Client, Request};
pub use shard::{Effect, Group, GroupResult, GroupShard, Timer, Volatile};
