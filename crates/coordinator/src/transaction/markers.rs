//! Markers: what became of them, and the end of a transaction when all are written.
//!
//! Always holds: a transaction is complete when every partition that took part has its marker, is deleted, or belongs to a later
//! epoch of the producer. A report of another epoch says nothing, however late it comes.

use klamm_metadata::Image;
use klamm_model::TopicPartition;

use super::decision::Decision;
use super::request::{MarkerOutcome, MarkersReport, TransactionAnswer};
use super::shard::Known;
use crate::contract::Ticket;

/// What is left after a report.
struct Left {
    /// Partitions without a marker.
    unmarked: Vec<TopicPartition>,
    /// Those of them that failed.
    again: Vec<TopicPartition>,
}

fn left(unmarked: &[TopicPartition], report: &MarkersReport, image: &Image) -> Left {
    let mut left = Left {
        unmarked: unmarked.to_vec(),
        again: Vec::new(),
    };
    for (partition, outcome) in &report.outcomes {
        let Ok(at) = left.unmarked.binary_search(partition) else {
            continue;
        };
        let is_gone = || {
            image
                .partition_by_name(&partition.topic, partition.partition)
                .is_none()
        };
        match outcome {
            MarkerOutcome::Failed if !is_gone() => left.again.push(partition.clone()),
            MarkerOutcome::Failed
            | MarkerOutcome::Written
            | MarkerOutcome::Gone
            | MarkerOutcome::Superseded => drop(left.unmarked.remove(at)),
        }
    }
    left
}

pub(super) fn report(decision: &mut Decision<'_>, image: &Image, ticket: Ticket, report: &MarkersReport) {
    decision.answer(&[ticket], TransactionAnswer::Reported);
    let Some(known) = decision.known() else { return };
    if !known.transaction.status.is_prepared() || known.transaction.producer != report.producer {
        return;
    }
    let left = left(decision.unmarked(), report, image);
    if left.unmarked.is_empty() {
        let completed = Known {
            transaction: known.transaction.completed(decision.now()),
            last_epoch: known.last_epoch,
        };
        decision.complete(completed);
        return;
    }
    let failures = match left.again.is_empty() {
        true => 0,
        false => decision.failures().saturating_add(1),
    };
    decision.write_markers(left.again, failures);
    decision.marked(left.unmarked, failures);
}

#[cfg(test)]
mod tests;
