//! What becomes due once everything below an offset is committed: answers, and what is to be done outside of the shard.
//!
//! Always holds: both come out in the order in which they were decided. An answer waits for a limited time, what is to be done
//! outside for as long as the shard is there.
//!
//! Next: `loaded.rs`.

use std::collections::VecDeque;
use std::time::Duration;

use klamm_coordinator::Shard;
use klamm_model::{ErrorCode, Offset};
use tokio::sync::oneshot;

/// The way to somebody who waits.
pub(super) type Sender<T> = oneshot::Sender<Result<T, ErrorCode>>;

/// See the head of the file.
pub(super) struct Parked<S: Shard> {
    answers: VecDeque<Entry<S>>,
    effects: VecDeque<(Offset, S::Effect)>,
}

struct Entry<S: Shard> {
    offset: Offset,
    /// Of the monotonic clock.
    since: Duration,
    told: Told<S>,
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
            effects: VecDeque::new(),
        }
    }
}

impl<S: Shard> Default for Due<S> {
    fn default() -> Self {
        Self {
            told: Vec::new(),
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
        self.answers.push_back(Entry { offset, since, told });
    }

    /// `offset` is not below what it was before.
    pub(super) fn carry_out(&mut self, offset: Offset, effect: S::Effect) {
        self.effects.push_back((offset, effect));
    }

    /// What the first of all waits for.
    pub(super) fn next_due(&self) -> Option<Offset> {
        let told = self.answers.front().map(|entry| entry.offset);
        let carried_out = self.effects.front().map(|(offset, _)| *offset);
        told.into_iter().chain(carried_out).min()
    }

    /// Since when the first of those who wait for an answer does.
    pub(super) fn since(&self) -> Option<Duration> {
        self.answers.front().map(|entry| entry.since)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.answers.is_empty() && self.effects.is_empty()
    }

    /// Takes what is due when everything below `committed` is.
    pub(super) fn take_due(&mut self, committed: Offset, due: &mut Due<S>) {
        while let Some(front) = self.answers.front()
            && front.offset <= committed
        {
            due.told.extend(self.answers.pop_front().map(|entry| entry.told));
        }
        while let Some((offset, _)) = self.effects.front()
            && *offset <= committed
        {
            let effect = self.effects.pop_front();
            due.effects.extend(effect.map(|(_, effect)| effect));
        }
    }

    /// Takes those who wait for an answer for longer than `limit`.
    pub(super) fn take_late(&mut self, limit: Duration, now: Duration, due: &mut Due<S>) {
        while let Some(front) = self.answers.front()
            && front.since.saturating_add(limit) <= now
        {
            due.late.extend(self.answers.pop_front().map(|entry| entry.told));
        }
    }
}
