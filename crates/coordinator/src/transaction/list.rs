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
    let listed = entries.iter().filter_map(|(id, entry)| {
        let transaction = &entry.known.transaction;
        let name = transaction.status.name();
        // As in Kafka, one that has not begun is as old as can be.
        let began = transaction.started.unwrap_or(TimestampMs(-1));
        let is_wanted = (request.producer_ids.is_empty()
            || request.producer_ids.contains(&transaction.producer.id.0))
            && (request.states.is_empty() || request.states.iter().any(|state| state == name))
            && (request.longer_than_ms < 0 || now.ms_since(began) > request.longer_than_ms)
            && request.wanted.as_ref().is_none_or(|wanted| wanted(id));
        is_wanted.then(|| ListedTransaction {
            transactional_id: id.clone(),
            producer_id: transaction.producer.id,
            status: transaction.status,
        })
    });
    TransactionAnswer::Listed(Ok(listed.collect()))
}
