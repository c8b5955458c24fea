//! What is recorded of transactions in `__transaction_state`.
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
