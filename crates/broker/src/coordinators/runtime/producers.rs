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
    ahead: BTreeMap<ProducerId, Ahead>,
}

/// What will stand in the log of one producer.
#[derive(Debug)]
struct Ahead {
    /// How it will stand then.
    standing: ProducerStanding,
    /// Up to where the log must be for that.
    end: Offset,
    /// Up to where it must be until no verification is ended by what is ahead, but for those that the marker of `standing` ends.
    ends_all: Option<Offset>,
}

impl Producers {
    fn standing(&self, log: &Log, id: ProducerId) -> Option<ProducerStanding> {
        match self.ahead.get(&id) {
            Some(ahead) => Some(ahead.standing),
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
        let is_verified = guard.is_some_and(|guard| self.is_verified(log, producer.id, guard));
        let standing = self.standing(log, producer.id);
        ProducerStanding::check_write(standing, (producer.id, producer.epoch), is_verified, offset)?;
        Ok(ProducerStanding::after_write(standing, producer.epoch))
    }

    /// Whether the verification of `guard` will go on. What is about to be written ends it, as it does once it is written; but for a
    /// marker that is written again while the producer is in its next transaction already.
    fn is_verified(&self, log: &Log, id: ProducerId, guard: VerificationGuard) -> bool {
        match self.ahead.get(&id) {
            None => log.producers().is_verified(id, guard),
            Some(ahead) if ahead.ends_all.is_some() => false,
            Some(ahead) => log
                .producers()
                .is_verified_behind(ahead.standing.epoch, id, guard),
        }
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
        let before = self.ahead.get(&id);
        let ends_all = match before {
            _ if standing.in_transaction => Some(end),
            // Two markers: none outlasts both.
            Some(before) if before.ends_all.is_none() && before.standing.epoch != standing.epoch => {
                Some(before.end)
            }
            Some(before) => before.ends_all,
            None => None,
        };
        let ahead = Ahead {
            standing,
            end,
            ends_all,
        };
        self.ahead.insert(id, ahead);
    }

    /// The log ends at `end`, or behind it.
    pub(super) fn appended(&mut self, end: Offset) {
        self.ahead.retain(|_, ahead| {
            ahead.ends_all = ahead.ends_all.filter(|ends| *ends > end);
            ahead.end > end
        });
    }
}
