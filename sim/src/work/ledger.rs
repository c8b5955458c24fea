//! What the members of groups and the transactional producers did and saw: the only thing that the rules know.
//!
//! Always holds: every operation has the moment at which it was asked and that at which its answer was there, both from one
//! count of all clients; what is said of ownership has the simulated time, which all clients share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use klamm_model::ErrorCode;
use parking_lot::Mutex;

use crate::history::Moment;

/// A transaction that somebody began: its place in [`Pages::attempts`].
pub(crate) type AttemptId = u32;

/// An event that goes in, by its partition and offset.
pub(crate) type Input = (i32, i64);

/// What a producer was told of the end of a transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Told {
    /// Nothing: it may be either, if a commit was asked for.
    #[default]
    Nothing,
    Committed,
    Aborted,
}

/// A transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// Whose.
    pub(crate) transactional_id: String,
    /// Which of those that had the id before, and after: its place in [`Pages::instances`].
    pub(crate) instance: usize,
    /// For each of these one record is written.
    pub(crate) inputs: Vec<Input>,
    /// The offsets that it commits.
    pub(crate) offsets: BTreeMap<i32, i64>,
    /// When a commit was first asked for.
    pub(crate) commit_asked: Option<Moment>,
    /// How it ended.
    pub(crate) told: Told,
    /// When that was known.
    pub(crate) told_at: Option<Moment>,
}

/// A producer that was given a transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instance {
    pub(crate) transactional_id: String,
    pub(crate) asked: Moment,
    pub(crate) answered: Moment,
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
}

/// A record that goes out, as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Output {
    pub(crate) offset: i64,
    /// In which transaction it was written.
    pub(crate) attempt: AttemptId,
    /// What for.
    pub(crate) input: Input,
}

/// One read of a partition that events go out to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) partition: i32,
    /// Only what is committed was asked for.
    pub(crate) committed: bool,
    pub(crate) asked: Moment,
    pub(crate) answered: Moment,
    /// What was looked at: from here up to there.
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) high_watermark: i64,
    pub(crate) last_stable_offset: i64,
    pub(crate) outputs: Vec<Output>,
}

/// A commit outside of transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) asked: Moment,
    /// When it was known to be made; it may have been without.
    pub(crate) answered: Option<Moment>,
    /// The answer was that it was not made.
    pub(crate) refused: bool,
}

/// What a group was said to have committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) group: &'static str,
    pub(crate) partition: i32,
    /// `None`: nothing.
    pub(crate) offset: Option<i64>,
    /// Only what no transaction may still change was asked for.
    pub(crate) stable: bool,
    pub(crate) asked: Moment,
    pub(crate) answered: Moment,
}

/// A time in which a member took a partition for its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) group: &'static str,
    pub(crate) partition: i32,
    pub(crate) member: String,
    /// The generation, in the classic protocol.
    pub(crate) generation: Option<i32>,
    pub(crate) from: Duration,
    pub(crate) to: Duration,
}

/// All that happened, as far as the clients know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pages {
    moments: Moment,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) instances: Vec<Instance>,
    pub(crate) readings: Vec<Reading>,
    /// What the events that went in hold, as they were read.
    pub(crate) held: BTreeMap<Input, String>,
    /// What was read at the end, whole: all of it, and what is committed.
    pub(crate) end: BTreeMap<(i32, bool), Reading>,
    pub(crate) commits: Vec<Commit>,
    pub(crate) found: Vec<Found>,
    /// What was found at the end.
    pub(crate) found_at_the_end: BTreeMap<(&'static str, i32), Option<i64>>,
    pub(crate) claims: Vec<Claim>,
    /// Answers that told a client to try again.
    pub(crate) refusals: BTreeMap<(&'static str, ErrorCode), u64>,
    /// What no client should meet.
    pub(crate) faults: Vec<String>,
}

impl Pages {
    /// A new moment.
    pub(crate) fn moment(&mut self) -> Moment {
        self.moments += 1;
        self.moments
    }

    /// Adds to what was read at the end.
    pub(crate) fn note_end(&mut self, reading: Reading) {
        let key = (reading.partition, reading.committed);
        let Some(before) = self.end.get_mut(&key) else {
            self.end.insert(key, reading);
            return;
        };
        before.answered = reading.answered;
        before.to = reading.to;
        before.high_watermark = reading.high_watermark;
        before.last_stable_offset = reading.last_stable_offset;
        before.outputs.extend(reading.outputs);
    }

    /// How many transactions were answered to be committed.
    pub(crate) fn acknowledged(&self) -> u64 {
        let transactions = self.attempts.iter();
        transactions
            .filter(|attempt| attempt.told == Told::Committed)
            .count() as u64
    }
}

/// The pages as they are being written, and the word that the work is over. A clone is the same ledger.
#[derive(Clone, Default)]
pub(crate) struct Ledger {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    pages: Mutex<Pages>,
    is_over: AtomicBool,
}

impl Ledger {
    /// Reads or writes.
    pub(crate) fn write<T>(&self, change: impl FnOnce(&mut Pages) -> T) -> T {
        change(&mut self.inner.pages.lock())
    }

    /// A new moment.
    pub(crate) fn moment(&self) -> Moment {
        self.write(Pages::moment)
    }

    /// Notes what no client should meet.
    pub(crate) fn fault(&self, what: String) {
        self.write(|pages| pages.faults.push(what));
    }

    /// Notes an answer that told a client to try again.
    pub(crate) fn refused(&self, api: &'static str, code: ErrorCode) {
        self.write(|pages| *pages.refusals.entry((api, code)).or_default() += 1);
    }

    /// Clients begin nothing new from now on.
    pub(crate) fn finish(&self) {
        self.inner.is_over.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.inner.is_over.load(Ordering::Relaxed)
    }
}
