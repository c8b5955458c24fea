//! A shard with all that belongs to it: the records on their way into the log, who waits for which answer, timers.
//!
//! Always holds: a result is taken whole or not at all; a decision sees what all earlier ones have changed; the shard is told
//! of each change of the cluster before it decides on a request that could see it. An answer is parked until everything is
//! committed that its decision could have seen: up to the end of its own records, which stand behind all others. A timer that
//! begins with answers is held as long as they are parked.
//!
//! Records go into the log in one of two ways. On a quiet shard, on which nobody waits, who asks appends them at once: that is
//! a copy into the page cache, and where that suffices the answer is due with it. Where others wait already, records gather, and
//! the seat's task appends them all together.
//!
//! Next: `loaded/take.rs` for how a result is taken; `seat.rs`, which holds it under a lock; `parked.rs`, `gathered.rs`,
//! `producers.rs`, `retry.rs`.

mod take;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use klamm_coordinator::{Shard, Ticket, TransactionalProducer};
use klamm_log::{EndTransaction, Log, VerificationGuard};
use klamm_metadata::Image;
use klamm_model::{ErrorCode, Offset, TimestampMs};
use tokio::sync::oneshot;

use super::around::{AppendFailure, Around};
use super::encoded::Encoded;
use super::gathered::{Gathered, Taken};
use super::parked::{Begins, Due, Parked, Sender, Told};
use super::producers::Producers;
use super::retry::Retry;
use super::timers::Timers;
use take::Answers;

/// How long what the topic does not take waits, though nobody has asked for it: something must be set otherwise first.
const NOT_TAKEN: Duration = Duration::from_mins(10);

/// See the head of the file.
pub(super) struct Loaded<S: Shard> {
    shard: S,
    /// Its number among all that were loaded.
    load: u64,
    /// What the shard was last told of.
    image: Arc<Image>,
    /// Of the result that is being taken.
    encoded: Encoded,
    gathered: Gathered,
    /// Of what is gathered, and of what is being appended.
    producers: Producers,
    /// Up to where what was decided is in the log.
    appended: Offset,
    /// The seat's task appends what it has taken.
    is_appending: bool,
    parked: Parked<S>,
    waiting: BTreeMap<Ticket, Sender<S::Answer>>,
    timers: Timers<S::Timer>,
    retry: Retry,
    /// What the shard decides on when it is loaded was taken.
    is_started: bool,
    /// When that is decided on again, or the shard is told of the cluster again.
    again_at: Option<Duration>,
    /// A result was taken in part when something panicked, or an append failed: the shard must not be used any more.
    is_torn: bool,
    failure: Option<AppendFailure>,
}

/// What became of a request.
pub(super) enum Decided<S: Shard> {
    Now(S::Answer),
    Later(oneshot::Receiver<Result<S::Answer, ErrorCode>>),
}

impl<S: Shard> Loaded<S> {
    /// A shard to which all records below `next_offset` were replayed.
    pub(super) fn new(
        around: &Around<'_, S>,
        shard: S,
        load: u64,
        next_offset: Offset,
        image: Arc<Image>,
    ) -> Self {
        let mut loaded = Self {
            shard,
            load,
            image,
            encoded: Encoded::default(),
            gathered: Gathered::new(next_offset),
            producers: Producers::default(),
            appended: next_offset,
            is_appending: false,
            parked: Parked::default(),
            waiting: BTreeMap::new(),
            timers: Timers::default(),
            retry: Retry::default(),
            is_started: false,
            again_at: None,
            is_torn: false,
            failure: None,
        };
        loaded.start(around);
        loaded
    }

    /// Has the shard decide on what it finds when it is loaded. If that cannot be recorded, it is in service all the same.
    fn start(&mut self, around: &Around<'_, S>) {
        let (now, result) = self.decide(around, |shard, surroundings| {
            shard.on_loaded(surroundings, around.config)
        });
        match self.take(around, now, result, Answers::Parked) {
            Ok(()) => self.is_started = true,
            Err(code) => self.again_at = Some(self.again_at(around, code, &"what was loaded")),
        }
    }

    /// Which of all that were loaded this is.
    pub(super) fn load(&self) -> u64 {
        self.load
    }

    /// Whether the shard must not be used any more.
    pub(super) fn is_torn(&self) -> bool {
        self.is_torn
    }

    /// Why it must not be, if that is known.
    pub(super) fn failure(&mut self) -> Option<AppendFailure> {
        self.failure.take()
    }

    /// Whether there are records that nobody has taken to append them.
    pub(super) fn has_gathered(&self) -> bool {
        !self.gathered.is_empty()
    }

    /// When the next timer wants to be looked at.
    pub(super) fn next_timer(&self) -> Option<Duration> {
        self.timers.next().into_iter().chain(self.again_at).min()
    }

    /// What the first of those who wait for the high watermark waits for, of what is in the log.
    pub(super) fn next_due(&self) -> Option<Offset> {
        self.parked.next_due().filter(|offset| *offset <= self.appended)
    }

    /// When somebody will have waited for longer than `limit`.
    pub(super) fn next_late(&self, limit: Duration) -> Option<Duration> {
        self.parked.since().map(|since| since.saturating_add(limit))
    }

    /// Takes the records that are to be appended; until [`appended`](Self::appended) is told, nobody else appends.
    pub(super) fn take_gathered(&mut self) -> Option<Taken> {
        let taken = self.gathered.take();
        self.is_appending |= taken.is_some();
        taken
    }

    /// What was taken is in the log, which ends there.
    pub(super) fn appended(&mut self, end: Offset) {
        self.is_appending = false;
        self.appended = end;
        self.producers.appended(end);
    }

    /// Takes what is due, and those who wait for longer than `limit`.
    pub(super) fn take_due(
        &mut self,
        around: &Around<'_, S>,
        limit: Duration,
        due: &mut Due<S>,
    ) -> Result<(), ErrorCode> {
        if self.parked.is_empty() {
            return Ok(());
        }
        // Of what is not in the log nothing is committed, whoever has written there.
        let committed = around.committed()?.min(self.appended);
        let now = around.env.monotonic();
        self.parked.take_due(committed, due);
        self.take_late(now, limit, due);
        Ok(())
    }

    /// Takes those who wait for longer than `limit`.
    pub(super) fn take_late(&mut self, now: Duration, limit: Duration, due: &mut Due<S>) {
        self.parked.take_late(limit, now, due);
        self.begin(now, due);
    }

    /// Begins the timers that are due.
    fn begin(&mut self, now: Duration, due: &mut Due<S>) {
        for Begins { timer, hold, wait } in due.begins.drain(..) {
            self.timers.begin(timer, hold, now.saturating_add(wait));
        }
    }

    /// Whoever holds this ticket waits no more.
    pub(super) fn forget(&mut self, ticket: Ticket) {
        self.waiting.remove(&ticket);
    }

    /// Nor do all whose answers somebody else must decide on first.
    pub(super) fn dismiss(&mut self) -> impl Iterator<Item = Sender<S::Answer>> + use<S> {
        std::mem::take(&mut self.waiting).into_values()
    }

    /// What takes memory, when nobody asks any more. Whoever waits is told so.
    pub(super) fn into_memory(self) -> impl Send + 'static {
        (self.shard, self.timers)
    }

    /// Decides on a request; `guard` is of the verification that one in a transaction has waited for.
    pub(super) fn ask(
        &mut self,
        around: &Around<'_, S>,
        ticket: Ticket,
        (request, guard): (S::Request, Option<VerificationGuard>),
    ) -> Result<Decided<S>, ErrorCode> {
        let (now, mut result) = self.decide(around, |shard, surroundings| {
            shard.decide(surroundings, around.config, ticket, request)
        });
        let producer = result.producer.filter(|_| !result.records.is_empty());
        let will_stand = producer
            .map(|producer| {
                let at = self.gathered.next_offset();
                let check = |log: &Log| self.producers.check_write(log, producer, guard, at);
                around
                    .as_log_allows(check)
                    .map(|standing| (producer.id, standing))
            })
            .transpose()?;
        let own = result.answers.iter().position(|(whose, _)| *whose == ticket);
        let own = own.map(|own| result.answers.remove(own).1);
        let unwritten = result.unwritten.take();
        let is_quiet = self.is_quiet();
        let answers = match own {
            Some(_) if result.records.is_empty() && self.is_committed(around)? => Answers::Due,
            Some(_) => Answers::Waiting,
            None => Answers::Parked,
        };
        if let Err(code) = self.take(around, now, result, answers) {
            if let Some(about) = unwritten {
                self.do_without(around, about, code)?;
            }
            return Err(code);
        }
        if let Some((id, standing)) = will_stand {
            let end = self.gathered.next_offset();
            self.producers.will_stand(id, standing, end);
        }
        let Some(answer) = own else {
            if is_quiet {
                self.append_at_once(around, now)?;
            }
            if around.is_stopping() {
                return Err(ErrorCode::NotCoordinator);
            }
            let (sender, receiver) = oneshot::channel();
            self.waiting.insert(ticket, sender);
            return Ok(Decided::Later(receiver));
        };
        if answers == Answers::Due {
            return Ok(Decided::Now(answer));
        }
        let offset = self.gathered.next_offset();
        if is_quiet
            && let Some(committed) = self.append_at_once(around, now)?
            && offset <= committed
        {
            let mut due = Due::default();
            self.parked.take_timers(committed, &mut due);
            self.begin(around.env.monotonic(), &mut due);
            return Ok(Decided::Now(answer));
        }
        let (sender, receiver) = oneshot::channel();
        let told = Told::Answer(sender, answer);
        self.parked.tell(offset, around.env.monotonic(), told);
        Ok(Decided::Later(receiver))
    }

    /// Whether what is decided now may be appended now.
    fn is_quiet(&self) -> bool {
        self.gathered.is_empty() && !self.is_appending && self.parked.nobody_waits()
    }

    /// Whether all is committed that was decided on up to now.
    fn is_committed(&self, around: &Around<'_, S>) -> Result<bool, ErrorCode> {
        let offset = self.gathered.next_offset();
        Ok(offset <= self.appended && offset <= around.committed()?)
    }

    /// Appends what has gathered, if it is little and nothing must be waited for; up to where everything is committed then.
    /// Otherwise it is left to the seat's task.
    fn append_at_once(
        &mut self,
        around: &Around<'_, S>,
        now: TimestampMs,
    ) -> Result<Option<Offset>, ErrorCode> {
        let appended = self
            .gathered
            .append_little(|at, batch| around.append(at, batch, now));
        match appended {
            Ok(Some(committed)) => {
                self.appended = self.gathered.next_offset();
                self.producers.appended(self.appended);
                Ok(Some(committed))
            }
            Ok(None) => Ok(None),
            Err(failure) => {
                self.is_torn = true;
                self.failure = Some(failure);
                Err(ErrorCode::NotCoordinator)
            }
        }
    }

    /// Tells the shard of what has changed in the cluster since it was last told; and has it decide on what it found when it
    /// was loaded, if that could not be recorded.
    pub(super) fn follow(&mut self, around: &Around<'_, S>, image: &Arc<Image>) {
        let is_known = Arc::ptr_eq(&self.image, image);
        if is_known && self.is_started {
            return;
        }
        if let Some(at) = self.again_at
            && around.env.monotonic() < at
        {
            return;
        }
        self.again_at = None;
        if !self.is_started {
            self.start(around);
        }
        if is_known || !self.is_started {
            return;
        }
        let before = std::mem::replace(&mut self.image, image.clone());
        let (now, result) = self.decide(around, |shard, surroundings| {
            shard.on_metadata(surroundings, around.config, &before)
        });
        if let Err(code) = self.take(around, now, result, Answers::Parked) {
            // Told again later, with what has changed until then.
            self.image = before;
            self.again_at = Some(self.again_at(around, code, &"a change of the cluster"));
        }
    }

    /// Lets the next timer that is due ring; `false` if there is none.
    pub(super) fn ring(&mut self, around: &Around<'_, S>, now: Duration) -> bool {
        let Some(timer) = self.timers.ring(now) else {
            return false;
        };
        let (time, mut result) = self.decide(around, |shard, surroundings| {
            shard.on_timer(surroundings, around.config, timer.clone())
        });
        let unwritten = result.unwritten.take();
        let Err(code) = self.take(around, time, result, Answers::Parked) else {
            return true;
        };
        // What the topic does not take now, it may never take.
        let unwritten = unwritten.filter(|_| code == ErrorCode::UnknownServerError);
        if let Some(about) = unwritten
            && self.do_without(around, about, code).is_ok()
        {
            let partition = around.partition;
            tracing::error!(%partition, what = ?timer, "what follows for a coordinator cannot be recorded: the topic does not take it; it goes on without");
            return true;
        }
        let at = self.again_at(around, code, &timer);
        self.timers.set(timer, at);
        true
    }

    /// What was decided cannot be recorded: has the shard decide on what else follows.
    fn do_without(
        &mut self,
        around: &Around<'_, S>,
        about: S::Timer,
        code: ErrorCode,
    ) -> Result<(), ErrorCode> {
        let (now, result) = self.decide(around, |shard, surroundings| {
            shard.on_unwritten(surroundings, around.config, about, code)
        });
        self.take(around, now, result, Answers::Parked)
    }

    /// When something that nobody has asked for, and that could not be appended, is decided on again.
    fn again_at(&mut self, around: &Around<'_, S>, code: ErrorCode, what: &dyn fmt::Debug) -> Duration {
        let (partition, now) = (around.partition, around.env.monotonic());
        if code == ErrorCode::UnknownServerError {
            tracing::error!(%partition, ?what, "what follows for a coordinator cannot be recorded: the topic does not take it");
            return now.saturating_add(NOT_TAKEN);
        }
        let (wait, is_news) = self.retry.failed(now);
        if is_news {
            tracing::warn!(%partition, ?what, %code, "what follows for a coordinator cannot be recorded now: tried again and again");
        }
        now.saturating_add(wait)
    }

    /// Ends the transaction of a producer; `written` is told once that is committed.
    pub(super) fn end_transaction(
        &mut self,
        around: &Around<'_, S>,
        end: &EndTransaction,
        written: Sender<()>,
    ) -> Result<(), ErrorCode> {
        around.packing()?;
        let at = self.gathered.next_offset();
        let standing = around.as_log_allows(|log| self.producers.check_end(log, end, at))?;
        let is_quiet = self.is_quiet();
        let producer = TransactionalProducer {
            id: end.producer_id,
            epoch: end.producer_epoch,
        };
        let now = around.env.now();
        self.is_torn = true;
        self.gathered.push_marker(producer, end.marker, now);
        let offset = self.gathered.next_offset();
        self.producers.will_stand(producer.id, standing, offset);
        self.shard
            .replay_end_transaction_marker(producer, end.marker.committed);
        self.is_torn = false;
        let committed = match is_quiet {
            true => self.append_at_once(around, now)?,
            false => None,
        };
        let told = Told::Written(written);
        match committed.is_some_and(|committed| offset <= committed) {
            true => told.send(),
            false => self.parked.tell(offset, around.env.monotonic(), told),
        }
        Ok(())
    }
}
