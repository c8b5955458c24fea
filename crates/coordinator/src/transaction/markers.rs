//! Markers: what became of them, and the end of a transaction when all are written.
//!
//! Always holds: a transaction is complete when every partition that took part has its marker, is deleted, or belongs to a later
//! epoch of the producer. A report of another epoch says nothing, however late it comes.
//!
//! In version 1 many transactions have one epoch, so that an epoch does not tell a report of the last one from one of this. Whoever
//! writes the markers sees to that: nothing that was ordered before a load of the shard is reported after it, and no marker of an
//! id is written while another of that id is still on its way to the partition.

use std::collections::BTreeMap;

use klamm_metadata::Image;
use klamm_model::TopicPartition;

use super::decision::Decision;
use super::request::{MarkerOutcome, MarkersReport, TransactionAnswer};
use super::shard::Known;
use crate::contract::Ticket;

/// What is left after a report.
#[derive(Default)]
struct Left {
    /// Partitions without a marker.
    unmarked: Vec<TopicPartition>,
    /// Those of them that failed.
    again: Vec<TopicPartition>,
}

fn left(unmarked: &[TopicPartition], report: &MarkersReport, image: &Image) -> Left {
    let outcomes: BTreeMap<&TopicPartition, MarkerOutcome> = report
        .outcomes
        .iter()
        .map(|(partition, outcome)| (partition, *outcome))
        .collect();
    let is_there = |partition: &TopicPartition| {
        image
            .partition_by_name(&partition.topic, partition.partition)
            .is_some()
    };
    let mut left = Left::default();
    for partition in unmarked {
        match outcomes.get(partition) {
            None => left.unmarked.push(partition.clone()),
            Some(MarkerOutcome::Failed) if is_there(partition) => {
                left.unmarked.push(partition.clone());
                left.again.push(partition.clone());
            }
            Some(
                MarkerOutcome::Failed
                | MarkerOutcome::Written
                | MarkerOutcome::Gone
                | MarkerOutcome::Superseded,
            ) => {}
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
