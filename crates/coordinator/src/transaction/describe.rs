//! DescribeTransactions: where the transaction of an id stands (KIP-664).

use klamm_model::ErrorCode;

use super::request::{DescribedTransaction, TransactionAnswer};
use super::shard::Entry;

pub(super) fn describe(id: &str, entry: Option<&Entry>) -> TransactionAnswer {
    TransactionAnswer::Described(match entry {
        _ if id.is_empty() => Err(ErrorCode::InvalidRequest),
        None => Err(ErrorCode::TransactionalIdNotFound),
        Some(entry) => {
            let transaction = &entry.known.transaction;
            Ok(Box::new(DescribedTransaction {
                status: transaction.status,
                producer: transaction.producer,
                timeout_ms: transaction.timeout_ms,
                started: transaction.started,
                partitions: entry.unmarked().to_vec(),
            }))
        }
    })
}
