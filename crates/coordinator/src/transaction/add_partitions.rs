//! AddPartitionsToTxn and AddOffsetsToTxn: partitions take part; and whether they do, for who is about to write.
//!
//! Always holds: a partition takes part before the first record of the transaction is written to it, so that its end is told to
//! all of them. While the transaction before is being ended, who has the next epoch waits; a verification does not, for it is of
//! the transaction before.

use klamm_model::{ErrorCode, TimestampMs};

use super::request::{AddPartitions, TransactionAnswer, VerifyPartitions};
use super::shard::{Known, Outcome};
use super::state::Status;

pub(super) fn decide(known: Option<&Known>, now: TimestampMs, request: &AddPartitions) -> Outcome {
    let answered = |code| Outcome::Answered(TransactionAnswer::Added(code));
    if request.transactional_id.is_empty() {
        return answered(ErrorCode::InvalidRequest);
    }
    let Some(known) = known else {
        return answered(ErrorCode::InvalidProducerIdMapping);
    };
    let transaction = &known.transaction;
    let producer = transaction.upcoming();
    if producer.id != request.producer.id {
        return answered(ErrorCode::InvalidProducerIdMapping);
    }
    if producer.epoch != request.producer.epoch {
        return answered(ErrorCode::ProducerFenced);
    }
    if transaction.status.is_prepared() {
        return Outcome::Waits;
    }
    let takes_part = |partition| transaction.partitions.binary_search(partition).is_ok();
    if transaction.status == Status::Ongoing && request.partitions.iter().all(takes_part) {
        return answered(ErrorCode::None);
    }
    Outcome::Changed(
        Known {
            transaction: transaction.with_partitions(&request.partitions, request.version, now),
            last_epoch: known.last_epoch,
        },
        TransactionAnswer::Added(ErrorCode::None),
    )
}

pub(super) fn verify(known: Option<&Known>, request: &VerifyPartitions) -> TransactionAnswer {
    let verdict = verdict(known, request).map(|()| {
        let takes_part = |partition| {
            let partitions = known.map(|known| &known.transaction.partitions);
            partitions.is_some_and(|partitions| partitions.binary_search(partition).is_ok())
        };
        let verdicts = request.partitions.iter().map(|partition| {
            let code = if takes_part(partition) {
                ErrorCode::None
            } else {
                ErrorCode::TransactionAbortable
            };
            (partition.clone(), code)
        });
        verdicts.collect()
    });
    TransactionAnswer::Verified(verdict)
}

fn verdict(known: Option<&Known>, request: &VerifyPartitions) -> Result<(), ErrorCode> {
    if request.transactional_id.is_empty() {
        return Err(ErrorCode::InvalidRequest);
    }
    let transaction = &known.ok_or(ErrorCode::InvalidProducerIdMapping)?.transaction;
    if transaction.producer.id != request.producer.id {
        return Err(ErrorCode::InvalidProducerIdMapping);
    }
    if transaction.producer.epoch != request.producer.epoch {
        return Err(ErrorCode::ProducerFenced);
    }
    if transaction.status.is_prepared() {
        return Err(ErrorCode::ConcurrentTransactions);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
