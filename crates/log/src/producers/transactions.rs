//! The transactions of a log beyond what the entries of their producers say: where they begin, which have ended above the high
//! watermark, and which are being verified.
//!
//! Always holds: `open` has the first offset of every open transaction; one that ended stays unstable until the high watermark
//! has passed its marker, for the marker may still be lost.
//!
//! A verification (KIP-890) begins before the coordinator is asked whether a producer may write here, and ends with the
//! producer's first record in the transaction, or with a marker. Only a batch with the guard of the running verification, or of
//! a transaction that is open, is appended: so an answer of the coordinator that comes after the marker opens nothing that nobody
//! would ever end. One that the coordinator refuses, or whose asker goes away, leaves nothing behind, or producers that do not exist
//! would fill the memory. One that is to be tried again is remembered, so that no later batch comes before the one that was first:
//! for minutes after it was last asked about, and so many of them in a partition, since nobody has said that there is such a producer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use klamm_model::{Offset, ProducerEpoch, ProducerId, TimestampMs};
use klamm_records::BatchHeader;

/// Given out so far. Of the process, not of the log: a log that forgets all its transactions must not give one out again.
static GUARDS: AtomicU64 = AtomicU64::new(0);

/// How long a verification goes on that is not asked about any more: much longer than a coordinator may take to answer, and than a
/// producer waits before it tries again.
const QUIET_MS: i64 = 5 * 60 * 1_000;

/// Among how many verifications of a partition one goes on with nobody who asks the coordinator. Forgotten beyond that is which batch
/// of the producer was the first: should a later one come before it, the first is refused, as out of order.
const MOST_LEFT: usize = 1_000;

/// Stands for one verification; no two are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerificationGuard(u64);

impl VerificationGuard {
    fn next() -> Self {
        Self(GUARDS.fetch_add(1, Ordering::Relaxed))
    }
}

/// A producer that is about to write its first record of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verification {
    /// The producer.
    pub producer_id: ProducerId,
    /// Its incarnation.
    pub producer_epoch: ProducerEpoch,
    /// The sequence number of its batch; `None` for what a group coordinator writes.
    pub base_sequence: Option<i32>,
    /// Whether the client speaks transaction version 2: then its epoch is another one after each transaction.
    pub bumps_epoch: bool,
}

/// A verification under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verifying {
    pub(super) guard: VerificationGuard,
    /// When it was last asked about.
    asked_at: TimestampMs,
    epoch: i16,
    /// No batch may be appended before the one with this number, which was seen and is being tried again.
    pub(super) lowest_sequence: i32,
    pub(super) bumps_epoch: bool,
    /// Those who ask the coordinator, or were told yes.
    askers: u32,
    /// Somebody was told to ask again.
    is_left: bool,
}

impl Verifying {
    /// Whether a marker of this epoch leaves it alone. One of the epoch that is being verified under transaction version 2 ended
    /// the transaction before.
    pub(super) fn outlasts(&self, marker: i16) -> bool {
        self.bumps_epoch && marker == self.epoch
    }
}

/// See the head of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Transactions {
    /// By their first offsets.
    pub(super) open: BTreeMap<Offset, ProducerId>,
    /// The markers of those that ended, by their first offsets.
    pub(super) ended: BTreeMap<Offset, Offset>,
    verifying: BTreeMap<ProducerId, Verifying>,
}

impl Transactions {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.ended.is_empty() && self.verifying.is_empty()
    }

    pub(super) fn verifying(&self, id: ProducerId) -> Option<&Verifying> {
        self.verifying.get(&id)
    }

    /// The guard of the producer's verification, which begins if none is under way.
    pub(super) fn verify(&mut self, asked: &Verification, now: TimestampMs) -> VerificationGuard {
        let (epoch, sequence) = (asked.producer_epoch.0, asked.base_sequence.unwrap_or(-1));
        let verifying = self
            .verifying
            .entry(asked.producer_id)
            .or_insert_with(|| Verifying {
                guard: VerificationGuard::next(),
                asked_at: now,
                epoch,
                lowest_sequence: sequence,
                bumps_epoch: asked.bumps_epoch,
                askers: 0,
                is_left: false,
            });
        verifying.asked_at = now;
        verifying.askers = verifying.askers.saturating_add(1);
        if epoch > verifying.epoch || (epoch == verifying.epoch && sequence < verifying.lowest_sequence) {
            verifying.epoch = epoch;
            verifying.lowest_sequence = sequence;
        }
        verifying.guard
    }

    /// A transactional batch of the producer stands in the log.
    pub(super) fn verified(&mut self, id: ProducerId, header: &BatchHeader) {
        let stays = |verifying: &Verifying| header.is_control() && verifying.outlasts(header.producer_epoch);
        if self.verifying.get(&id).is_some_and(|verifying| !stays(verifying)) {
            self.verifying.remove(&id);
        }
    }

    /// The coordinator has said no for good to one who asked, or will not be heard: a verification that nobody else waits for is over.
    pub(super) fn over(&mut self, id: ProducerId, guard: VerificationGuard) {
        self.answered(id, guard, false);
    }

    /// One who asked is to ask again: the verification goes on, unless too many do.
    pub(super) fn left(&mut self, id: ProducerId, guard: VerificationGuard) {
        let has_room = self.verifying.len() <= MOST_LEFT;
        self.answered(id, guard, has_room);
    }

    fn answered(&mut self, id: ProducerId, guard: VerificationGuard, is_left: bool) {
        let found = self.verifying.get_mut(&id);
        let Some(verifying) = found.filter(|verifying| verifying.guard == guard) else {
            return;
        };
        verifying.askers -= 1;
        verifying.is_left |= is_left;
        if verifying.askers == 0 && !verifying.is_left {
            self.verifying.remove(&id);
        }
    }

    /// Forgets verifications of which nothing came.
    pub(super) fn expire(&mut self, now: TimestampMs, limit_ms: i64) {
        let limit_ms = limit_ms.min(QUIET_MS);
        self.verifying
            .retain(|_, verifying| now.ms_since(verifying.asked_at) < limit_ms);
    }
}
