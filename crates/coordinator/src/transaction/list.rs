//! ListTransactions: the transactional ids of a shard, by state, producer, duration (KIP-994) and pattern (KIP-1152).

use std::collections::BTreeMap;
use std::sync::Arc;

use klamm_model::TimestampMs;

use super::request::{ListTransactions, ListedTransaction, TransactionAnswer};
use super::shard::Entry;

pub(super) fn list(
    entries: &BTreeMap<Arc<str>, Entry>,
    now: TimestampMs,
    request: &ListTransactions,
) -> TransactionAnswer {
    let mut matcher = request.wanted.as_ref().map(|wanted| wanted.matcher());
    let listed = entries.iter().filter_map(|(id, entry)| {
        let transaction = &entry.known.transaction;
        // As in Kafka, one that has not begun is as old as can be.
        let began = transaction.started.unwrap_or(TimestampMs(-1));
        let is_wanted = (request.producer_ids.is_empty()
            || request
                .producer_ids
                .binary_search(&transaction.producer.id.0)
                .is_ok())
            && request
                .states
                .as_ref()
                .is_none_or(|states| states.contains(&transaction.status))
            && (request.longer_than_ms < 0 || now.ms_since(began) > request.longer_than_ms)
            && matcher.as_mut().is_none_or(|matcher| matcher.is_match(id));
        is_wanted.then(|| ListedTransaction {
            transactional_id: id.clone(),
            producer_id: transaction.producer.id,
            status: transaction.status,
        })
    });
    TransactionAnswer::Listed(Ok(listed.collect()))
}
