//! How a decision is made and its result taken.
//!
//! Always holds: a result is taken whole or not at all; what panics in between leaves the shard torn.
//!
//! Next: `encoded.rs` for the records, `gathered.rs` for the batches that they go into.

use std::time::Duration;

use klamm_coordinator::{CoordinatorResult, Shard, Surroundings, TimerChange};
use klamm_model::{ErrorCode, Offset, TimestampMs};

use super::super::around::Around;
use super::super::gathered::{Gathered, Packing, TooLarge};
use super::super::parked::{Begins, Told};
use super::Loaded;

/// Who is answered by a result that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answers {
    /// Who asked, at once.
    Due,
    /// Who asked, perhaps not at once.
    Waiting,
    /// Those of whom the result knows, if any.
    Parked,
}

impl<S: Shard> Loaded<S> {
    /// What is decided, and at which time of day.
    pub(super) fn decide(
        &self,
        around: &Around<'_, S>,
        decide: impl FnOnce(&S, &mut Surroundings<'_>) -> CoordinatorResult<S>,
    ) -> (TimestampMs, CoordinatorResult<S>) {
        let now = around.env.now();
        let mut draw_uuid = || around.env.random_uuid();
        let mut surroundings = Surroundings {
            now,
            image: &self.image,
            draw_uuid: &mut draw_uuid,
        };
        (now, decide(&self.shard, &mut surroundings))
    }

    /// Takes a result, or changes nothing.
    pub(super) fn take(
        &mut self,
        around: &Around<'_, S>,
        now: TimestampMs,
        result: CoordinatorResult<S>,
        answers: Answers,
    ) -> Result<(), ErrorCode> {
        let packing = match result.records.is_empty() {
            true => None,
            false => Some(self.encode(around, &result)?),
        };
        self.is_torn = true;
        if let Some(packing) = packing {
            self.retry.succeeded();
            let needs_replay = result.needs_replay();
            let (encoded, producer) = (self.encoded.iter(), result.producer);
            let first = self.gathered.push(packing, producer, encoded, result.atomic, now);
            if needs_replay {
                for (delta, record) in (0..).zip(result.records) {
                    self.shard.replay(first.plus(delta), producer, record);
                }
            }
        }
        for change in result.volatile {
            self.shard.note(change);
        }
        let monotonic = around.env.monotonic();
        let offset = self.gathered.next_offset();
        let told_at = match answers {
            Answers::Parked if result.answers.is_empty() => None,
            Answers::Waiting | Answers::Parked => Some(offset),
            Answers::Due => None,
        };
        for change in result.timers {
            self.change_timer((now, monotonic), told_at, change);
        }
        for (ticket, answer) in result.answers {
            // Who is not waiting any more has given up.
            if let Some(asker) = self.waiting.remove(&ticket) {
                self.parked.tell(offset, monotonic, Told::Answer(asker, answer));
            }
        }
        for effect in result.effects {
            self.parked.carry_out(offset, effect);
        }
        self.is_torn = false;
        Ok(())
    }

    /// Times of day become times of the monotonic clock: a clock that is set does not make everybody late. The answers of the
    /// same decision wait for what is below `told_at`, if they wait.
    fn change_timer(
        &mut self,
        (now, monotonic): (TimestampMs, Duration),
        told_at: Option<Offset>,
        change: TimerChange<S::Timer>,
    ) {
        match change {
            TimerChange::At(timer, at) => {
                let wait = Duration::from_millis(u64::try_from(at.ms_since(now)).unwrap_or(0));
                self.timers.set(timer, monotonic.saturating_add(wait));
            }
            TimerChange::AfterAnswers(timer, wait) => match told_at {
                Some(offset) => {
                    let hold = self.timers.hold(timer.clone());
                    let begins = Begins { timer, hold, wait };
                    self.parked.begin(offset, monotonic, begins);
                }
                None => self.timers.set(timer, monotonic.saturating_add(wait)),
            },
            TimerChange::Cancel(timer) => self.timers.cancel(timer),
        }
    }

    /// Brings the records of a result into the form in which they are stored, if the topic takes them.
    fn encode(
        &mut self,
        around: &Around<'_, S>,
        result: &CoordinatorResult<S>,
    ) -> Result<Packing, ErrorCode> {
        let packing = around.packing()?;
        self.encoded.fill(&result.records).map_err(|error| {
            tracing::error!(%error, "a coordinator decided on records that cannot be written");
            ErrorCode::UnknownServerError
        })?;
        Gathered::check(packing, self.encoded.iter(), result.atomic)
            .map_err(|TooLarge| ErrorCode::UnknownServerError)?;
        Ok(packing)
    }
}
