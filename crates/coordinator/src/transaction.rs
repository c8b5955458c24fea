//! Transactions: who owns a transactional id, which partitions take part, and how it ends.
//!
//! Next: [`record`] for what is recorded.

pub mod record;

pub use record::TransactionRecord;
