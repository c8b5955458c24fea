//! The producers in whose transactions something was decided on that is not in the log yet.
//!
//! Always holds: what is decided in a transaction is taken only if the log will take it, as that will stand behind everything that
//! was decided before. So a producer that was shut out, or the marker of a coordinator that was, is refused alone: in the log it
//! would cost the shard, and everybody who waits for it.
//!
//! Next: `loaded.rs`; `klamm_log::ProducerStanding` for the rules.

use std::collections::BTreeMap;

use klamm_coordinator::TransactionalProducer;
use klamm_log::{AppendError, EndTransaction, Log, ProducerStanding, VerificationGuard};
use klamm_model::{Offset, ProducerId};

/// See the head of the file.
#[derive(Debug, Default)]
pub(super) struct Producers {
    /// How each will stand, and up to where the log must be for that.
    ahead: BTreeMap<ProducerId, (ProducerStanding, Offset)>,
}

impl Producers {
    fn standing(&self, log: &Log, id: ProducerId) -> Option<ProducerStanding> {
        match self.ahead.get(&id) {
            Some((standing, _)) => Some(*standing),
            None => log.producers().standing(id),
        }
    }

    /// How a producer stands once something of its transaction is written at `offset`; why it must not be. `guard` is of the
    /// verification that whoever asks has waited for.
    pub(super) fn check_write(
        &self,
        log: &Log,
        producer: TransactionalProducer,
        guard: Option<VerificationGuard>,
        offset: Offset,
    ) -> Result<ProducerStanding, AppendError> {
        // What is about to be written ends the verification before it.
        let guard = guard.filter(|_| !self.ahead.contains_key(&producer.id));
        let is_verified = guard.is_some_and(|guard| log.producers().is_verified(producer.id, guard));
        let standing = self.standing(log, producer.id);
        ProducerStanding::check_write(standing, (producer.id, producer.epoch), is_verified, offset)?;
        Ok(ProducerStanding::after_write(standing, producer.epoch))
    }

    /// The same for the marker that ends its transaction.
    pub(super) fn check_end(
        &self,
        log: &Log,
        end: &EndTransaction,
        offset: Offset,
    ) -> Result<ProducerStanding, AppendError> {
        ProducerStanding::check_end(self.standing(log, end.producer_id), end, offset)?;
        Ok(ProducerStanding::after_end(end))
    }

    /// A producer will stand like this once the log ends at `end`.
    pub(super) fn will_stand(&mut self, id: ProducerId, standing: ProducerStanding, end: Offset) {
        self.ahead.insert(id, (standing, end));
    }

    /// The log ends at `end`, or behind it.
    pub(super) fn appended(&mut self, end: Offset) {
        if !self.ahead.is_empty() {
            self.ahead.retain(|_, (_, offset)| *offset > end);
        }
    }
}
