//! What coordinators decide: groups, their offsets, and transactions.
//!
//! Always holds: nothing here does I/O, reads a clock, draws a random number or waits; time and chance are arguments. A decision
//! changes nothing: it gives records, changes of what is not recorded, answers and timers. Replaying a record is the only way to
//! change what is recorded, and a shard that is loaded again by the same replay is the same shard, but for what is not recorded.
//!
//! Next: [`contract`] for what a shard is.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod contract;
pub mod group;
mod records;
#[cfg(test)]
mod seeds;
pub mod transaction;

pub use contract::{
    Answer, CoordinatorRecord, CoordinatorResult, InvalidRecord, RecordBytes, RecordExtent, Shard,
    Surroundings, Ticket, TimerChange, TransactionalProducer,
};
