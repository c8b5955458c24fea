//! Whether a leader may append what a producer, or the coordinator of its transactions, sent.
//!
//! Always holds: checking changes nothing, apart from the beginning of a verification; the order of the checks is Kafka's.

use klamm_model::{Offset, ProducerEpoch, ProducerId, TimestampMs};
use klamm_records::{BatchHeader, EndTransactionMarker, Producer};

use super::ProducerState;
use super::standing::ProducerStanding;
use super::transactions::{Verification, VerificationGuard};
use crate::error::AppendError;

/// How the transaction of a producer ends in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndTransaction {
    /// The producer.
    pub producer_id: ProducerId,
    /// The epoch that its transaction ends in.
    pub producer_epoch: ProducerEpoch,
    /// What is written.
    pub marker: EndTransactionMarker,
    /// The `transaction.version` that the coordinator ends it under (KIP-1228).
    pub transaction_version: u8,
}

/// What a producer has written before a batch, in the log or in the same call.
struct Before {
    epoch: i16,
    last_sequence: Option<i32>,
    in_transaction: bool,
}

/// Whether the batch is the next one of its producer.
fn check_sequence(producer: &Producer, before: Option<&Before>, offset: Offset) -> Result<(), AppendError> {
    let (Some(base), Some(before)) = (producer.base_sequence, before) else {
        return Ok(());
    };
    let in_order = match before.last_sequence {
        _ if producer.epoch.0 != before.epoch => base == 0,
        None => base == 0,
        Some(i32::MAX) => base == 0,
        Some(last_sequence) => base == last_sequence + 1,
    };
    if in_order {
        return Ok(());
    }
    Err(AppendError::OutOfOrderSequence {
        producer_id: producer.id,
        offset,
        found: base,
        last: before.last_sequence.unwrap_or(-1),
    })
}

impl ProducerState {
    /// Whether a leader may append the batch, which holds data, at `offset`. `guard` is of the verification that its append
    /// waited for; `earlier` are batches accepted in the same call, newest first.
    pub(crate) fn check<'a>(
        &self,
        header: &BatchHeader,
        offset: Offset,
        guard: Option<VerificationGuard>,
        earlier: impl Iterator<Item = &'a BatchHeader>,
    ) -> Result<(), AppendError> {
        let Some(producer) = header.producer() else {
            return Ok(());
        };
        let mut previous = None;
        for header in earlier.filter(|header| header.producer_id == producer.id.0) {
            let is_same = || header.producer().is_some_and(|earlier| earlier == producer);
            if producer.base_sequence.is_some() && is_same() {
                return Err(AppendError::Duplicate {
                    base_offset: header.base_offset,
                    last_offset: header.last_offset(),
                    timestamp: header.max_timestamp,
                });
            }
            previous.get_or_insert(header);
        }
        let entry = self.entries.get(producer.id);
        if let Some((base, last)) = producer.base_sequence.zip(producer.last_sequence)
            && let Some(entry) = entry.filter(|entry| entry.epoch == producer.epoch.0)
            && let Some(batch) = entry.find(base, last)
        {
            return Err(AppendError::Duplicate {
                base_offset: batch.base_offset(),
                last_offset: batch.last_offset,
                timestamp: batch.timestamp,
            });
        }
        let before = match (previous, entry) {
            (Some(previous), _) => Some(Before {
                epoch: previous.producer_epoch,
                last_sequence: previous.last_sequence(),
                in_transaction: previous.is_transactional() && !previous.is_control(),
            }),
            (None, Some(entry)) => Some(Before {
                epoch: entry.epoch,
                last_sequence: entry.last().map(|batch| batch.last_sequence),
                in_transaction: entry.current_txn_first_offset.is_some(),
            }),
            (None, None) => None,
        };
        if let Some(before) = &before
            && producer.epoch.0 < before.epoch
        {
            return Err(AppendError::InvalidProducerEpoch {
                producer_id: producer.id,
                offset,
                found: producer.epoch,
                current: ProducerEpoch(before.epoch),
            });
        }
        // A marker is of no sequence and opens nothing; `check_marker` has its rules.
        if header.is_transactional() && !header.is_control() {
            self.check_transaction(&producer, before.as_ref(), offset, guard)?;
        }
        check_sequence(&producer, before.as_ref(), offset)?;
        if !header.is_transactional() && before.is_some_and(|before| before.in_transaction) {
            return Err(AppendError::InvalidTransactionState {
                producer_id: producer.id,
                offset,
                what: "its transaction is open, and the batch is not of it",
            });
        }
        Ok(())
    }

    /// A transactional batch belongs to an open transaction, or its producer was just verified to have one.
    fn check_transaction(
        &self,
        producer: &Producer,
        before: Option<&Before>,
        offset: Offset,
        guard: Option<VerificationGuard>,
    ) -> Result<(), AppendError> {
        let verifying = self
            .transactions
            .as_ref()
            .and_then(|known| known.verifying(producer.id));
        let is_open = before.is_some_and(|before| before.in_transaction && before.epoch == producer.epoch.0);
        if !is_open && (guard.is_none() || verifying.map(|verifying| verifying.guard) != guard) {
            return Err(AppendError::InvalidTransactionState {
                producer_id: producer.id,
                offset,
                what: "the batch is not of an open transaction, and was not verified to be of one",
            });
        }
        let Some((found, verifying)) = producer.base_sequence.zip(verifying) else {
            return Ok(());
        };
        let begins = verifying.bumps_epoch && before.is_none_or(|before| before.last_sequence.is_none());
        if (begins && found != 0) || found > verifying.lowest_sequence {
            return Err(AppendError::OutOfOrderSequence {
                producer_id: producer.id,
                offset,
                found,
                last: before.and_then(|before| before.last_sequence).unwrap_or(-1),
            });
        }
        Ok(())
    }

    /// Whether a leader may write the marker that ends a transaction.
    pub(crate) fn check_marker(&self, end: &EndTransaction, offset: Offset) -> Result<(), AppendError> {
        ProducerStanding::check_end(self.standing(end.producer_id), end, offset)
    }

    /// Begins to verify that a producer may write in its transaction, or joins the verification that has begun. `None`: the
    /// transaction is open here, nobody needs to be asked.
    pub(crate) fn verify(
        &mut self,
        asked: &Verification,
        offset: Offset,
        now: TimestampMs,
    ) -> Result<Option<VerificationGuard>, AppendError> {
        if let Some(entry) = self.entries.get(asked.producer_id) {
            if asked.producer_epoch.0 < entry.epoch {
                return Err(AppendError::InvalidProducerEpoch {
                    producer_id: asked.producer_id,
                    offset,
                    found: asked.producer_epoch,
                    current: ProducerEpoch(entry.epoch),
                });
            }
            if entry.current_txn_first_offset.is_some() && entry.epoch == asked.producer_epoch.0 {
                return Ok(None);
            }
        }
        let transactions = self.transactions.get_or_insert_default();
        Ok(Some(transactions.verify(asked, now)))
    }

    /// Somebody with this guard was told to ask again.
    pub(crate) fn verification_left(&mut self, id: ProducerId, guard: VerificationGuard) {
        if let Some(transactions) = &mut self.transactions {
            transactions.left(id, guard);
            if transactions.is_empty() {
                self.transactions = None;
            }
        }
    }

    /// Somebody with this guard was told no, for good, or does not wait for an answer.
    pub(crate) fn verification_over(&mut self, id: ProducerId, guard: VerificationGuard) {
        if let Some(transactions) = &mut self.transactions {
            transactions.over(id, guard);
            if transactions.is_empty() {
                self.transactions = None;
            }
        }
    }
}
