//! What becomes due once everything below an offset is committed: answers, the timers that begin with them, and what is to be done
//! outside of the shard.
//!
//! Always holds: each kind comes out in the order in which it was decided. An answer waits for a limited time, and so does what
//! begins with it; what is to be done outside waits for as long as the shard is there.
//!
//! Next: `loaded.rs`.

use std::collections::VecDeque;
use std::time::Duration;

use klamm_coordinator::Shard;
use klamm_model::{ErrorCode, Offset};
use tokio::sync::oneshot;

use super::timers::Hold;

/// The way to somebody who waits.
pub(super) type Sender<T> = oneshot::Sender<Result<T, ErrorCode>>;

/// See the head of the file.
pub(super) struct Parked<S: Shard> {
    answers: VecDeque<Entry<Told<S>>>,
    timers: VecDeque<Entry<Begins<S::Timer>>>,
    effects: VecDeque<(Offset, S::Effect)>,
}

struct Entry<T> {
    offset: Offset,
    /// Of the monotonic clock.
    since: Duration,
    what: T,
}

/// A timer that begins with the answers of the same decision.
pub(super) struct Begins<T> {
    pub(super) timer: T,
    pub(super) hold: Hold,
    pub(super) wait: Duration,
}

/// Who is told what.
pub(super) enum Told<S: Shard> {
    Answer(Sender<S::Answer>, S::Answer),
    /// That a marker is committed.
    Written(Sender<()>),
}

/// What is due.
pub(super) struct Due<S: Shard> {
    pub(super) told: Vec<Told<S>>,
    /// With what is told, and with what is told too late.
    pub(super) begins: Vec<Begins<S::Timer>>,
    /// Who has waited for too long.
    pub(super) late: Vec<Told<S>>,
    pub(super) effects: Vec<S::Effect>,
}

impl<S: Shard> Told<S> {
    /// Tells it. Who has gone needs nothing.
    pub(super) fn send(self) {
        match self {
            Self::Answer(asker, answer) => drop(asker.send(Ok(answer))),
            Self::Written(asker) => drop(asker.send(Ok(()))),
        }
    }

    /// Tells `code` in its place.
    pub(super) fn refuse(self, code: ErrorCode) {
        match self {
            Self::Answer(asker, _) => drop(asker.send(Err(code))),
            Self::Written(asker) => drop(asker.send(Err(code))),
        }
    }
}

impl<S: Shard> Default for Parked<S> {
    fn default() -> Self {
        Self {
            answers: VecDeque::new(),
            timers: VecDeque::new(),
            effects: VecDeque::new(),
        }
    }
}

impl<S: Shard> Default for Due<S> {
    fn default() -> Self {
        Self {
            told: Vec::new(),
            begins: Vec::new(),
            late: Vec::new(),
            effects: Vec::new(),
        }
    }
}

impl<S: Shard> Parked<S> {
    /// Whether nobody waits for an answer.
    pub(super) fn nobody_waits(&self) -> bool {
        self.answers.is_empty()
    }

    /// `offset` and `since` are not below what they were before.
    pub(super) fn tell(&mut self, offset: Offset, since: Duration, told: Told<S>) {
        let what = told;
        self.answers.push_back(Entry { offset, since, what });
    }

    /// `offset` and `since` are not below what they were before.
    pub(super) fn begin(&mut self, offset: Offset, since: Duration, begins: Begins<S::Timer>) {
        let what = begins;
        self.timers.push_back(Entry { offset, since, what });
    }

    /// `offset` is not below what it was before.
    pub(super) fn carry_out(&mut self, offset: Offset, effect: S::Effect) {
        self.effects.push_back((offset, effect));
    }

    /// What the first of all waits for.
    pub(super) fn next_due(&self) -> Option<Offset> {
        let told = self.answers.front().map(|entry| entry.offset);
        let begun = self.timers.front().map(|entry| entry.offset);
        let carried_out = self.effects.front().map(|(offset, _)| *offset);
        [told, begun, carried_out].into_iter().flatten().min()
    }

    /// Since when the first of those who wait for an answer, or begin with one, does.
    pub(super) fn since(&self) -> Option<Duration> {
        let told = self.answers.front().map(|entry| entry.since);
        let begun = self.timers.front().map(|entry| entry.since);
        told.into_iter().chain(begun).min()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.answers.is_empty() && self.timers.is_empty() && self.effects.is_empty()
    }

    /// Takes what is due when everything below `committed` is.
    pub(super) fn take_due(&mut self, committed: Offset, due: &mut Due<S>) {
        take(&mut self.answers, |offset, _| offset <= committed, &mut due.told);
        self.take_timers(committed, due);
        while let Some((offset, _)) = self.effects.front()
            && *offset <= committed
        {
            let effect = self.effects.pop_front();
            due.effects.extend(effect.map(|(_, effect)| effect));
        }
    }

    /// Takes those timers that are due when everything below `committed` is.
    pub(super) fn take_timers(&mut self, committed: Offset, due: &mut Due<S>) {
        take(&mut self.timers, |offset, _| offset <= committed, &mut due.begins);
    }

    /// Takes those who wait for an answer for longer than `limit`.
    pub(super) fn take_late(&mut self, limit: Duration, now: Duration, due: &mut Due<S>) {
        let is_late = |_, since: Duration| since.saturating_add(limit) <= now;
        take(&mut self.answers, is_late, &mut due.late);
        take(&mut self.timers, is_late, &mut due.begins);
    }
}

/// Takes those at the front of which this holds.
fn take<T>(from: &mut VecDeque<Entry<T>>, takes: impl Fn(Offset, Duration) -> bool, to: &mut Vec<T>) {
    while let Some(front) = from.front()
        && takes(front.offset, front.since)
    {
        to.extend(from.pop_front().map(|entry| entry.what));
    }
}
