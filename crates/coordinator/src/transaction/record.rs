//! What is recorded of transactions in `__transaction_state`.
//!
//! Values are in version 1 whatever the level of `transaction.version`. Kafka writes version 0, without the producer ids before and
//! after, while the level is 0; every broker that has the feature reads both.
//!
//! Next: `records.rs` for the bytes.

use crate::records::coordinator_records;

coordinator_records! {
    /// A record of `__transaction_state`; without a value it is a tombstone, which forgets the transactional id.
    TransactionRecord {
        /// The whole state of a transactional id.
        Transaction(TransactionLogKey, TransactionLogValue) |_| 1;
    }
}
