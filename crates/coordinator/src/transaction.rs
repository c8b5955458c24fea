//! Transactions: who owns a transactional id, which partitions take part, and how it ends.
//!
//! ```text
//!                  InitProducerId                                        AddPartitionsToTxn
//!          ┌──────────────────────────► Empty ──────────────────────────────────────┐
//!          │                              │ EndTxn (abort, version 2)               ▼
//!   CompleteCommit ◄── PrepareCommit ◄────┼──────────────────── EndTxn ───────── Ongoing
//!   CompleteAbort  ◄── PrepareAbort  ◄────┴──── EndTxn, timeout, InitProducerId ────┘
//!        │     markers written                                                      ▲
//!        └──────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Always holds: what a *prepare* state says is decided; it is carried out by markers (control batches) in every partition that
//! takes part, however often that takes, and only then the next transaction begins. In version 2 (KIP-890) each end raises
//! the producer's epoch, so that nothing of one transaction can be taken for part of the next.
//!
//! Nobody is told CONCURRENT_TRANSACTIONS because markers are still being written, as Kafka does: EndTxn is answered as soon as
//! the decision is recorded, and whoever wants to go on waits here until the markers are there ([`shard`]). A retry of EndTxn
//! meanwhile has its answer at once, for it is decided.
//!
//! Next: [`shard`]; [`request`] for what is asked and answered; `state.rs` for a transaction and its changes; one file for each
//! request; [`record`] for what is recorded.

mod add_partitions;
mod decision;
mod describe;
mod end_transaction;
mod init_producer_id;
mod list;
mod markers;
#[cfg(test)]
mod model_tests;
pub mod pattern;
mod queue;
pub mod record;
pub mod request;
pub mod shard;
mod state;
#[cfg(test)]
mod testing;
mod upkeep;

pub use pattern::IdPattern;
pub use record::TransactionRecord;
pub use request::{TransactionAnswer, TransactionConfig, TransactionEffect, TransactionRequest};
pub use shard::TransactionShard;
pub use state::Status;
