//! InitProducerId: a producer takes over its transactional id (KIP-98), or goes on after an error (KIP-360).
//!
//! Always holds: whoever had the id before is shut out by a higher epoch, or by another producer id when the epochs are used up.
//! A transaction that is open is made void first, and the answer waits for its markers. A producer that says who it is, and is
//! not the one that has the id, changes nothing, nor does it end a transaction.

use std::time::Duration;

use klamm_model::{ErrorCode, ProducerEpoch, TimestampMs};

use super::request::{InitProducerId, TransactionAnswer, TransactionConfig};
use super::shard::{Known, Outcome};
use super::state::{Status, Transaction};
use crate::contract::TransactionalProducer;

fn refused(code: ErrorCode) -> Outcome {
    Outcome::Answered(TransactionAnswer::Initialized(Err(code)))
}

/// What needs no look at the transaction.
pub(super) fn check(config: &TransactionConfig, request: &InitProducerId) -> Result<(), ErrorCode> {
    if request.transactional_id.is_empty() {
        return Err(ErrorCode::InvalidRequest);
    }
    if request.two_phase_commit {
        return Err(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    if request.keep_prepared {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let timeout = u64::try_from(request.timeout_ms)
        .ok()
        .filter(|timeout| *timeout > 0);
    match timeout.map(Duration::from_millis) {
        Some(timeout) if timeout <= config.max_timeout => Ok(()),
        _ => Err(ErrorCode::InvalidTransactionTimeout),
    }
}

pub(super) fn decide(
    known: Option<&Known>,
    config: &TransactionConfig,
    server_version: i16,
    now: TimestampMs,
    request: &InitProducerId,
) -> Outcome {
    if let Err(code) = check(config, request) {
        return refused(code);
    }
    let Some(known) = known else {
        return match request.fresh {
            None => Outcome::Answered(TransactionAnswer::NeedsProducerId),
            Some(id) => given(Transaction::created(id, request.timeout_ms, now), None),
        };
    };
    let transaction = &known.transaction;
    if request
        .expected
        .is_some_and(|expected| !may_be(transaction, expected))
    {
        return refused(ErrorCode::ProducerFenced);
    }
    match transaction.status {
        Status::PrepareCommit | Status::PrepareAbort => match request.expected {
            // Nothing that happens meanwhile lets a producer in again that is shut out already.
            Some(expected) if !is_current_or_retry(known, expected) => refused(ErrorCode::ProducerFenced),
            _ => Outcome::Waits,
        },
        Status::Ongoing => fence(known, server_version, now, request),
        Status::Empty | Status::CompleteCommit | Status::CompleteAbort => take_over(known, now, request),
    }
}

/// Whether the producer has the id, or had it before its epochs were used up.
fn may_be(transaction: &Transaction, expected: TransactionalProducer) -> bool {
    let used_up = expected.epoch.0 >= i16::MAX - 1;
    expected.id == transaction.producer.id
        || expected.id == transaction.upcoming().id
        || (Some(expected.id) == transaction.previous_id && used_up)
}

/// Whether the producer has the epoch that there is once the markers are written, or had the one before it.
fn is_current_or_retry(known: &Known, expected: TransactionalProducer) -> bool {
    let epoch = known.transaction.upcoming().epoch;
    expected.epoch == epoch || Some(expected.epoch) == known.last_epoch
}

fn given(transaction: Transaction, last_epoch: Option<ProducerEpoch>) -> Outcome {
    let producer = transaction.producer;
    Outcome::Changed(
        Known {
            transaction,
            last_epoch,
        },
        TransactionAnswer::Initialized(Ok(producer)),
    )
}

/// The open transaction is void; the request is looked at again when its markers are written.
fn fence(known: &Known, server_version: i16, now: TimestampMs, request: &InitProducerId) -> Outcome {
    let transaction = &known.transaction;
    if request
        .expected
        .is_some_and(|expected| expected != transaction.producer)
    {
        return refused(ErrorCode::ProducerFenced);
    }
    if transaction.is_exhausted() && request.fresh.is_none() {
        return Outcome::Answered(TransactionAnswer::NeedsProducerId);
    }
    let next_id = request.fresh.filter(|_| transaction.is_exhausted());
    Outcome::ChangedAndWaits(known.fenced(server_version, next_id, now))
}

fn take_over(known: &Known, now: TimestampMs, request: &InitProducerId) -> Outcome {
    let transaction = &known.transaction;
    let TransactionalProducer { id, epoch } = transaction.producer;
    let expected = request.expected;
    if expected.is_some_and(|expected| !is_current_or_retry(known, expected)) {
        return refused(ErrorCode::ProducerFenced);
    }
    // A retry of what was answered before gets the same answer.
    if expected.is_some_and(|expected| expected.epoch != epoch) {
        let again = transaction.initialized(transaction.producer, request.timeout_ms, now);
        return given(again, known.last_epoch);
    }
    let producer = if transaction.is_exhausted() {
        let Some(fresh) = request.fresh else {
            return Outcome::Answered(TransactionAnswer::NeedsProducerId);
        };
        TransactionalProducer {
            id: fresh,
            epoch: ProducerEpoch(0),
        }
    } else {
        TransactionalProducer {
            id,
            epoch: ProducerEpoch(epoch.0 + 1),
        }
    };
    given(
        transaction.initialized(producer, request.timeout_ms, now),
        expected.map(|_| epoch),
    )
}

#[cfg(test)]
mod tests;
