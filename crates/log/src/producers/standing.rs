//! How a producer stands, as far as that decides on what a coordinator may write for it.
//!
//! Always holds: it can be told from the log, and from what was decided on and is about to be written, by the same rules: so who
//! gathers before he writes knows beforehand what the log will refuse.

use klamm_model::{Offset, ProducerEpoch, ProducerId};

use super::ProducerState;
use super::check::EndTransaction;
use super::transactions::VerificationGuard;
use crate::error::AppendError;

/// See the head of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerStanding {
    /// Its newest incarnation.
    pub epoch: ProducerEpoch,
    /// The epoch of the coordinator that ended its last transaction, -1 for none.
    pub coordinator_epoch: i32,
    /// Whether its transaction is open.
    pub in_transaction: bool,
}

impl ProducerStanding {
    /// Whether a coordinator may write for the incarnation `epoch` of a producer at `offset`. `is_verified`: it was asked whether the
    /// producer has a transaction here, and the verification goes on.
    pub fn check_write(
        standing: Option<Self>,
        (producer_id, epoch): (ProducerId, ProducerEpoch),
        is_verified: bool,
        offset: Offset,
    ) -> Result<(), AppendError> {
        if let Some(standing) = standing {
            if epoch.0 < standing.epoch.0 {
                return Err(AppendError::InvalidProducerEpoch {
                    producer_id,
                    offset,
                    found: epoch,
                    current: standing.epoch,
                });
            }
            if standing.in_transaction && epoch == standing.epoch {
                return Ok(());
            }
        }
        if is_verified {
            return Ok(());
        }
        Err(AppendError::InvalidTransactionState {
            producer_id,
            offset,
            what: "what a coordinator writes is not of an open transaction, and was not verified to be of one",
        })
    }

    /// Once that is written.
    pub fn after_write(standing: Option<Self>, epoch: ProducerEpoch) -> Self {
        Self {
            epoch,
            coordinator_epoch: standing.map_or(-1, |standing| standing.coordinator_epoch),
            in_transaction: true,
        }
    }

    /// Whether a leader may write the marker that ends a transaction. Under version 2 a transaction ends in an epoch above
    /// that of its records (KIP-890): a marker of their own epoch, or a lower one, is late, unless it is the same again.
    pub fn check_end(
        standing: Option<Self>,
        end: &EndTransaction,
        offset: Offset,
    ) -> Result<(), AppendError> {
        let Some(standing) = standing else {
            return Ok(());
        };
        let (found, current) = (end.producer_epoch.0, standing.epoch.0);
        let is_again = found == current && (!standing.in_transaction || found == i16::MAX);
        let is_late = match end.transaction_version {
            ..=1 => found < current,
            2.. => found <= current && !is_again,
        };
        if is_late {
            return Err(AppendError::InvalidProducerEpoch {
                producer_id: end.producer_id,
                offset,
                found: end.producer_epoch,
                current: standing.epoch,
            });
        }
        if end.marker.coordinator_epoch < standing.coordinator_epoch {
            return Err(AppendError::CoordinatorFenced {
                producer_id: end.producer_id,
                offset,
                found: end.marker.coordinator_epoch,
                current: standing.coordinator_epoch,
            });
        }
        Ok(())
    }

    /// Once that is written.
    pub fn after_end(end: &EndTransaction) -> Self {
        Self {
            epoch: end.producer_epoch,
            coordinator_epoch: end.marker.coordinator_epoch,
            in_transaction: false,
        }
    }
}

impl ProducerState {
    /// How a producer stands in the log; `None` if it is not known.
    pub fn standing(&self, id: ProducerId) -> Option<ProducerStanding> {
        self.entries.get(id).map(|entry| ProducerStanding {
            epoch: ProducerEpoch(entry.epoch),
            coordinator_epoch: entry.coordinator_epoch,
            in_transaction: entry.current_txn_first_offset.is_some(),
        })
    }

    /// Whether the verification of the producer that `guard` stands for goes on.
    pub fn is_verified(&self, id: ProducerId, guard: VerificationGuard) -> bool {
        let transactions = self.transactions.as_ref();
        let verifying = transactions.and_then(|transactions| transactions.verifying(id));
        verifying.is_some_and(|verifying| verifying.guard == guard)
    }

    /// The same, once a marker of this epoch is written.
    pub fn is_verified_behind(
        &self,
        marker: ProducerEpoch,
        id: ProducerId,
        guard: VerificationGuard,
    ) -> bool {
        let transactions = self.transactions.as_ref();
        let verifying = transactions.and_then(|transactions| transactions.verifying(id));
        verifying.is_some_and(|verifying| verifying.guard == guard && verifying.outlasts(marker.0))
    }
}
