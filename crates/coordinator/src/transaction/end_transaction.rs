//! EndTxn: the producer decides how its transaction ends.
//!
//! Always holds: what is decided is never changed. In version 1 the state and the epoch tell a retry from a mistake. In version 2
//! (KIP-890) the epoch alone does: that of the request is the current one for what is asked now, and one below for what was
//! decided before, which is answered with what the producer has become and changes nothing. A producer of version 2 does not know
//! whether its transaction has begun here, so it may abort one that has not: that too takes it to the next epoch.
//!
//! ```text
//! version 2      Abort, epoch below   Abort, current   Commit, epoch below   Commit, current
//! Empty          fenced               next epoch       fenced                invalid state
//! Ongoing        fenced               next epoch       fenced                next epoch
//! PrepareAbort   the same answer      waits            invalid state         waits
//! PrepareCommit  invalid state        waits            the same answer       waits
//! CompleteAbort  the same answer      next epoch       invalid state         invalid state
//! CompleteCommit invalid state        next epoch       the same answer       invalid state
//! ```

use klamm_model::{ErrorCode, TimestampMs};

use super::request::{EndTransaction, TransactionAnswer, VERSION_2};
use super::shard::{Known, Outcome};
use super::state::{Status, Transaction};

fn refused(code: ErrorCode) -> Outcome {
    Outcome::Answered(TransactionAnswer::Ended(Err(code)))
}

pub(super) fn decide(known: Option<&Known>, now: TimestampMs, request: &EndTransaction) -> Outcome {
    if request.transactional_id.is_empty() {
        return refused(ErrorCode::InvalidRequest);
    }
    let Some(known) = known else {
        return refused(ErrorCode::InvalidProducerIdMapping);
    };
    if request.version >= VERSION_2 {
        version_2(&known.transaction, now, request)
    } else {
        version_1(known, now, request)
    }
}

fn version_1(known: &Known, now: TimestampMs, request: &EndTransaction) -> Outcome {
    let transaction = &known.transaction;
    if transaction.producer.id != request.producer.id {
        return refused(ErrorCode::InvalidProducerIdMapping);
    }
    if transaction.producer.epoch != request.producer.epoch {
        return refused(ErrorCode::ProducerFenced);
    }
    match transaction.status {
        Status::Ongoing => Outcome::Changed(
            Known {
                transaction: transaction.prepared(request.commit, request.version, None, now),
                last_epoch: known.last_epoch,
            },
            TransactionAnswer::Ended(Ok(None)),
        ),
        Status::Empty => refused(ErrorCode::InvalidTxnState),
        decided if decided.commits() == request.commit => {
            Outcome::Answered(TransactionAnswer::Ended(Ok(None)))
        }
        _ => refused(ErrorCode::InvalidTxnState),
    }
}

fn version_2(transaction: &Transaction, now: TimestampMs, request: &EndTransaction) -> Outcome {
    let status = transaction.status;
    let decided = !matches!(status, Status::Empty | Status::Ongoing);
    if decided && is_retry(transaction, request) {
        return if status.commits() == request.commit {
            Outcome::Answered(TransactionAnswer::Ended(Ok(Some(transaction.upcoming()))))
        } else {
            refused(ErrorCode::InvalidTxnState)
        };
    }
    let producer = transaction.upcoming();
    if producer.id != request.producer.id {
        return refused(ErrorCode::InvalidProducerIdMapping);
    }
    if producer.epoch != request.producer.epoch {
        return refused(ErrorCode::ProducerFenced);
    }
    if status.is_prepared() {
        return Outcome::Waits;
    }
    if status != Status::Ongoing && request.commit {
        return refused(ErrorCode::InvalidTxnState);
    }
    if transaction.is_exhausted() && request.fresh.is_none() {
        return Outcome::Answered(TransactionAnswer::NeedsProducerId);
    }
    let next_id = request.fresh.filter(|_| transaction.is_exhausted());
    let next = transaction.prepared(request.commit, VERSION_2, next_id, now);
    let answer = TransactionAnswer::Ended(Ok(Some(next.upcoming())));
    Outcome::Changed(
        Known {
            transaction: next,
            last_epoch: Some(transaction.producer.epoch),
        },
        answer,
    )
}

/// Whether the request asks for what was decided before, by the epoch before.
fn is_retry(transaction: &Transaction, request: &EndTransaction) -> bool {
    let (now, asked) = (transaction.producer, request.producer);
    if now.id == asked.id {
        return i32::from(now.epoch.0) == i32::from(asked.epoch.0) + 1;
    }
    // The epochs of the producer's former id were used up.
    transaction.previous_id == Some(asked.id) && asked.epoch.0 == i16::MAX - 1 && now.epoch.0 == 0
}

#[cfg(test)]
mod interleavings;
#[cfg(test)]
mod tests;
