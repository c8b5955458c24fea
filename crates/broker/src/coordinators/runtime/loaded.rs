//! A shard with all that belongs to it: the records on their way into the log, who waits for which answer, timers.
//!
//! Always holds: a result is taken whole or not at all; a decision sees what all earlier ones have changed; the shard is told
//! of each change of the cluster before it decides on a request that could see it. An answer is parked until everything is
//! committed that its decision could have seen: up to the end of its own records, which stand behind all others. No I/O here.
//!
//! Next: `seat.rs`, which holds it under a lock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use klamm_coordinator::{
    CoordinatorRecord, CoordinatorResult, RecordBytes, Shard, Surroundings, Ticket, TimerChange,
    TransactionalProducer,
};
use klamm_env::Env;
use klamm_metadata::Image;
use klamm_model::{ErrorCode, Offset, TimestampMs};
use klamm_records::EndTransactionMarker;
use tokio::sync::oneshot;

use super::gathered::{Gathered, Packing, Taken};
use super::timers::Timers;

/// How long a decision that nobody asked for waits when it could not be carried out.
const RETRY: Duration = Duration::from_millis(500);

/// See the head of the file.
pub(super) struct Loaded<S: Shard> {
    shard: S,
    /// What the shard was last told of.
    image: Arc<Image>,
    gathered: Gathered,
    /// In the order of their offsets.
    parked: VecDeque<Parked<S>>,
    waiting: BTreeMap<Ticket, oneshot::Sender<S::Answer>>,
    timers: Timers<S::Timer>,
    /// A result was taken in part when something panicked: the shard must not be used any more.
    is_torn: bool,
}

/// What becomes due when everything below an offset is committed.
struct Parked<S: Shard> {
    offset: Offset,
    due: Due<S>,
}

/// What is due.
pub(super) struct Due<S: Shard> {
    pub(super) answers: Vec<(oneshot::Sender<S::Answer>, S::Answer)>,
    pub(super) effects: Vec<S::Effect>,
    /// Somebody who waits for a marker.
    pub(super) written: Option<oneshot::Sender<()>>,
}

impl<S: Shard> Default for Due<S> {
    fn default() -> Self {
        Self {
            answers: Vec::new(),
            effects: Vec::new(),
            written: None,
        }
    }
}

/// What decisions are made with beside the shard and the cluster.
pub(super) struct Around<'a, S: Shard> {
    pub(super) env: &'a Env,
    pub(super) config: &'a S::Config,
    /// How records are packed; why there can be none now.
    pub(super) packing: &'a dyn Fn() -> Result<Packing, ErrorCode>,
}

/// What became of a request.
pub(super) enum Decided<S: Shard> {
    Now(S::Answer),
    Later(oneshot::Receiver<S::Answer>),
}

impl<S: Shard> Loaded<S> {
    /// A shard to which all records below `next_offset` were replayed.
    pub(super) fn new(
        around: &Around<'_, S>,
        shard: S,
        next_offset: Offset,
        image: Arc<Image>,
    ) -> Result<Self, ErrorCode> {
        let mut loaded = Self {
            shard,
            image,
            gathered: Gathered::new(next_offset),
            parked: VecDeque::new(),
            waiting: BTreeMap::new(),
            timers: Timers::default(),
            is_torn: false,
        };
        let result = loaded.decide(around, |shard, surroundings| {
            shard.on_loaded(surroundings, around.config)
        });
        loaded.take(around, result)?;
        Ok(loaded)
    }

    /// Whether the shard must not be used any more.
    pub(super) fn is_torn(&self) -> bool {
        self.is_torn
    }

    /// Whether there are records that are not in the log.
    pub(super) fn has_gathered(&self) -> bool {
        !self.gathered.is_empty()
    }

    /// When the next timer wants to be looked at.
    pub(super) fn next_timer(&self) -> Option<Duration> {
        self.timers.next()
    }

    /// What the first of those who wait for the high watermark waits for.
    pub(super) fn next_due(&self) -> Option<Offset> {
        self.parked.front().map(|parked| parked.offset)
    }

    /// Takes the records that are to be appended.
    pub(super) fn take_gathered(&mut self) -> Option<Taken> {
        self.gathered.take()
    }

    /// Takes what is due under this high watermark.
    pub(super) fn take_due(&mut self, high_watermark: Offset, due: &mut Vec<Due<S>>) {
        while let Some(front) = self.parked.front()
            && front.offset <= high_watermark
        {
            due.extend(self.parked.pop_front().map(|parked| parked.due));
        }
    }

    /// Whoever holds this ticket waits no more.
    pub(super) fn forget(&mut self, ticket: Ticket) {
        self.waiting.remove(&ticket);
    }

    /// What takes memory, when nobody asks any more. Whoever waits is told so.
    pub(super) fn into_memory(self) -> impl Send + 'static {
        (self.shard, self.timers)
    }

    /// Decides on a request. `high_watermark` is that of the moment.
    pub(super) fn ask(
        &mut self,
        around: &Around<'_, S>,
        ticket: Ticket,
        request: S::Request,
        high_watermark: Offset,
    ) -> Result<Decided<S>, ErrorCode> {
        let mut result = self.decide(around, |shard, surroundings| {
            shard.decide(surroundings, around.config, ticket, request)
        });
        let sees_the_committed = result.records.is_empty() && self.gathered.next_offset() <= high_watermark;
        let own = result.answers.iter().position(|(whose, _)| *whose == ticket);
        if let (true, Some(own)) = (sees_the_committed, own) {
            let (_, answer) = result.answers.remove(own);
            self.take(around, result)?;
            return Ok(Decided::Now(answer));
        }
        let (sender, receiver) = oneshot::channel();
        self.waiting.insert(ticket, sender);
        match self.take(around, result) {
            Ok(()) => Ok(Decided::Later(receiver)),
            Err(code) => {
                self.waiting.remove(&ticket);
                Err(code)
            }
        }
    }

    /// Tells the shard of what has changed in the cluster since it was last told.
    pub(super) fn follow(&mut self, around: &Around<'_, S>, image: &Arc<Image>) {
        if Arc::ptr_eq(&self.image, image) {
            return;
        }
        let before = std::mem::replace(&mut self.image, image.clone());
        let result = self.decide(around, |shard, surroundings| {
            shard.on_metadata(surroundings, around.config, &before)
        });
        match self.take(around, result) {
            Ok(()) => {}
            // Told again at the next look, with what has changed until then.
            Err(code) if code != ErrorCode::UnknownServerError => self.image = before,
            Err(code) => tracing::error!(%code, "a change of the cluster has no effect on a coordinator"),
        }
    }

    /// Lets the next timer that is due ring; `false` if there is none.
    pub(super) fn ring(&mut self, around: &Around<'_, S>, now: Duration) -> bool {
        let Some(timer) = self.timers.ring(now) else {
            return false;
        };
        let result = self.decide(around, |shard, surroundings| {
            shard.on_timer(surroundings, around.config, timer.clone())
        });
        if let Err(code) = self.take(around, result) {
            tracing::warn!(?timer, %code, "what a timer of a coordinator asks for is tried again");
            self.timers.set(timer, now + RETRY);
        }
        true
    }

    /// Ends the transaction of a producer; `written` is told once that is committed.
    pub(super) fn end_transaction(
        &mut self,
        around: &Around<'_, S>,
        producer: TransactionalProducer,
        marker: EndTransactionMarker,
        written: oneshot::Sender<()>,
    ) -> Result<(), ErrorCode> {
        (around.packing)()?;
        self.is_torn = true;
        self.gathered.push_marker(producer, marker, around.env.now());
        self.shard
            .replay_end_transaction_marker(producer, marker.committed);
        let due = Due {
            written: Some(written),
            ..Due::default()
        };
        self.park(due);
        self.is_torn = false;
        Ok(())
    }

    fn decide(
        &self,
        around: &Around<'_, S>,
        decide: impl FnOnce(&S, &mut Surroundings<'_>) -> CoordinatorResult<S>,
    ) -> CoordinatorResult<S> {
        let mut draw_uuid = || around.env.random_uuid();
        let mut surroundings = Surroundings {
            now: around.env.now(),
            image: &self.image,
            draw_uuid: &mut draw_uuid,
        };
        decide(&self.shard, &mut surroundings)
    }

    /// Takes a result, or changes nothing.
    fn take(&mut self, around: &Around<'_, S>, result: CoordinatorResult<S>) -> Result<(), ErrorCode> {
        let now = around.env.now();
        let encoded = match result.records.is_empty() {
            true => None,
            false => Some(encode(around, &result)?),
        };
        self.is_torn = true;
        let records = result.records.into_iter();
        if let Some((packing, encoded)) = encoded {
            let first = self
                .gathered
                .push(packing, result.producer, &encoded, result.atomic, now);
            for (delta, record) in (0..).zip(records) {
                self.shard.replay(first.plus(delta), result.producer, record);
            }
        }
        for change in result.volatile {
            self.shard.note(change);
        }
        for change in result.timers {
            self.change_timer(around.env, now, change);
        }
        let waiting = &mut self.waiting;
        // Who is not waiting any more has given up.
        let answers = result
            .answers
            .into_iter()
            .filter_map(|(ticket, answer)| Some((waiting.remove(&ticket)?, answer)));
        let due = Due {
            answers: answers.collect(),
            effects: result.effects,
            written: None,
        };
        if !due.answers.is_empty() || !due.effects.is_empty() {
            self.park(due);
        }
        self.is_torn = false;
        Ok(())
    }

    fn park(&mut self, due: Due<S>) {
        self.parked.push_back(Parked {
            offset: self.gathered.next_offset(),
            due,
        });
    }

    /// Times of day become times of the monotonic clock: a clock that is set does not make everybody late.
    fn change_timer(&mut self, env: &Env, now: TimestampMs, change: TimerChange<S::Timer>) {
        match change {
            TimerChange::At(timer, at) => {
                let wait = Duration::from_millis(u64::try_from(at.ms_since(now)).unwrap_or(0));
                self.timers.set(timer, env.monotonic().saturating_add(wait));
            }
            TimerChange::Cancel(timer) => self.timers.cancel(timer),
        }
    }
}

/// The records of a result as they are stored, if the topic takes them.
fn encode<S: Shard>(
    around: &Around<'_, S>,
    result: &CoordinatorResult<S>,
) -> Result<(Packing, Vec<RecordBytes>), ErrorCode> {
    let packing = (around.packing)()?;
    let encoded: Result<Vec<_>, _> = result.records.iter().map(CoordinatorRecord::encode).collect();
    let encoded = encoded.map_err(|error| {
        tracing::error!(%error, "a coordinator decided on records that cannot be written");
        ErrorCode::UnknownServerError
    })?;
    Gathered::check(packing, &encoded, result.atomic).map_err(|_| ErrorCode::UnknownServerError)?;
    Ok((packing, encoded))
}
