//! What a shard of a coordinator is to the runtime that drives it: a state machine over one partition of an internal topic.
//!
//! ```text
//! request, timer, metadata ──► decide(&shard) ──► CoordinatorResult
//!                                                   ├─ records ───► appended, then replay(&mut shard) if it needs it
//!                                                   ├─ volatile ──► note(&mut shard)
//!                                                   ├─ timers ────► set or cancelled; some begin with the answers
//!                                                   ├─ effects ───► carried out, outside
//!                                                   └─ answers ───► sent once the high watermark has passed
//! ```
//!
//! Always holds: the runtime takes a result whole or not at all, in the order of the picture, before the next decision: a
//! decision sees what all earlier ones have changed, committed or not. No answer leaves before the last record that its
//! decision could have seen is committed. When an append or a sync fails, or the leadership is lost, the shard is dropped with
//! all that it knew, everybody who waits is told NOT_COORDINATOR, and another one is loaded by the same replay. So a decision
//! never has to be undone.
//!
//! *Recorded* is what [`Shard::replay`] changes; it survives. *Volatile* is what [`Shard::note`] changes: who waits for which
//! answer, when a member was last heard of; it is gone after a load, and a shard must do the right thing without it.
//!
//! Texts and bytes of a request or of a record that was read are slices of what was received or read as a whole. What a shard keeps
//! is copied, or a few bytes would hold a megabyte.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use klamm_metadata::Image;
use klamm_model::{ErrorCode, Offset, ProducerEpoch, ProducerId, TimestampMs, Uuid};
use klamm_protocol::{DecodeError, EncodeError, Writer};

/// Somebody who waits for an answer. The runtime gives each request one, and no ticket twice in the life of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What a decision may look at beside the shard.
pub struct Surroundings<'a> {
    /// The time of day.
    pub now: TimestampMs,
    /// The cluster as this broker has published it.
    pub image: &'a Image,
    /// Draws an identifier that nobody else has.
    pub draw_uuid: &'a mut dyn FnMut() -> Uuid,
}

impl fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings")
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

/// A producer in whose transaction records are written: they count once its marker says *commit*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TransactionalProducer {
    /// The id.
    pub id: ProducerId,
    /// The epoch.
    pub epoch: ProducerEpoch,
}

/// A record of an internal topic, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordBytes {
    /// With the type of the record before it.
    pub key: Bytes,
    /// With its version before it; `None` is a tombstone.
    pub value: Option<Bytes>,
}

/// Bytes of an internal topic that are not a record of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRecord {
    /// Written by something newer, or for another kind of group: to be passed over, and told of.
    #[error("record type {0} is not known")]
    UnknownType(i16),
    /// The key.
    #[error("the key: {0}")]
    Key(#[source] DecodeError),
    /// The value.
    #[error("the value: {0}")]
    Value(#[source] DecodeError),
}

/// What a record takes that was written behind others: its key, then its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordExtent {
    /// Of the key.
    pub key_bytes: usize,
    /// Of the value; `None` is a tombstone.
    pub value_bytes: Option<usize>,
}

/// A typed record of a shard.
pub trait CoordinatorRecord: Clone + fmt::Debug + Send + Sized + 'static {
    /// Appends the record as it is stored to a writer that copies all bytes. After an error, that holds a part of it.
    fn write(&self, w: &mut Writer) -> Result<RecordExtent, EncodeError>;

    /// The record alone, as it is stored.
    fn encode(&self) -> Result<RecordBytes, EncodeError> {
        let mut w = Writer::contiguous();
        let extent = self.write(&mut w)?;
        let mut bytes = w.into_bytes();
        let key = bytes.split_to(extent.key_bytes);
        Ok(RecordBytes {
            key,
            value: extent.value_bytes.map(|_| bytes),
        })
    }

    /// From what is stored; never panics, whatever the bytes.
    fn decode(key: &Bytes, value: Option<&Bytes>) -> Result<Self, InvalidRecord>;
}

/// An answer of a shard, one variant for each of its requests.
pub trait Answer: fmt::Debug + Send + 'static {
    /// What the request gets in the place of its answer when no decision could be made or carried out.
    type Shape: Clone + fmt::Debug + Send + 'static;

    /// The answer that says `code` to a request of this shape.
    fn refused(shape: &Self::Shape, code: ErrorCode) -> Self;
}

/// What happens to a timer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimerChange<T> {
    /// Rings once at this time; whatever was set under the same key before is cancelled.
    At(T, TimestampMs),
    /// Rings once, this long after the answers of the result have been sent: the time of somebody who cannot be heard of before it is
    /// answered begins then. Whatever was set under the same key before is cancelled at once, and a change of the same key that
    /// is decided on before the answers are sent takes the place of this one. Where no answer waits, the time begins at once.
    AfterAnswers(T, Duration),
    /// Does not ring.
    Cancel(T),
}

/// What was decided.
#[derive(Debug)]
pub struct CoordinatorResult<S: Shard> {
    /// To be appended, in this order.
    pub records: Vec<S::Record>,
    /// In whose transaction; `None` for records that count at once.
    pub producer: Option<TransactionalProducer>,
    /// Whether the records must come to stand in one batch, so that they are found together or not at all. Without it they may
    /// stand in several.
    pub atomic: bool,
    /// Changes of what is not recorded, made after the replay.
    pub volatile: Vec<S::Volatile>,
    /// Of how many records the changes say all that they say; see [`needs_replay`](Self::needs_replay).
    pub noted: usize,
    /// What is told to whom, once all of this is committed. Of a request that is not answered here somebody must have taken
    /// note (`volatile`).
    pub answers: Vec<(Ticket, S::Answer)>,
    /// Timers, in this order.
    pub timers: Vec<TimerChange<S::Timer>>,
    /// What is to be done outside of the shard, once all of this is committed.
    pub effects: Vec<S::Effect>,
    /// What [`Shard::on_unwritten`] is asked when a request was decided on and the records cannot be written, or a timer has rung and
    /// they never can be, because the topic does not take them.
    pub unwritten: Option<S::Timer>,
}

impl<S: Shard> Default for CoordinatorResult<S> {
    fn default() -> Self {
        Self {
            records: Vec::new(),
            producer: None,
            atomic: true,
            volatile: Vec::new(),
            noted: 0,
            answers: Vec::new(),
            timers: Vec::new(),
            effects: Vec::new(),
            unwritten: None,
        }
    }
}

impl<S: Shard> CoordinatorResult<S> {
    /// Nothing changes.
    pub fn answer(ticket: Ticket, answer: S::Answer) -> Self {
        Self {
            answers: vec![(ticket, answer)],
            ..Self::default()
        }
    }

    /// Whether the records must be replayed before the changes are noted. Where the changes say it all, replaying them is a loss of time
    /// and nothing else. After a load, the records must be enough.
    pub fn needs_replay(&self) -> bool {
        self.noted < self.records.len()
    }

    /// Adds what was decided after this. Of both, the records are written in one transaction or in none.
    pub fn append(&mut self, later: Self) {
        assert_eq!(
            self.producer, later.producer,
            "two decisions in different transactions"
        );
        self.records.extend(later.records);
        self.noted += later.noted;
        self.atomic |= later.atomic;
        self.volatile.extend(later.volatile);
        self.answers.extend(later.answers);
        self.timers.extend(later.timers);
        self.effects.extend(later.effects);
        self.unwritten = self.unwritten.take().or(later.unwritten);
    }
}

/// See the head of the file.
pub trait Shard: Sized + Send + 'static {
    /// Settings, which may change while the shard is loaded.
    type Config: Send + Sync + 'static;
    /// What is asked.
    type Request: Send + 'static;
    /// What is answered.
    type Answer: Answer;
    /// What is recorded.
    type Record: CoordinatorRecord;
    /// A change of what is not recorded.
    type Volatile: fmt::Debug + Send + 'static;
    /// The name of a timer.
    type Timer: Ord + Clone + fmt::Debug + Send + 'static;
    /// What is to be done outside.
    type Effect: fmt::Debug + Send + 'static;

    /// A shard without a record.
    fn new() -> Self;

    /// Decides on a request.
    fn decide(
        &self,
        around: &mut Surroundings<'_>,
        config: &Self::Config,
        ticket: Ticket,
        request: Self::Request,
    ) -> CoordinatorResult<Self>;

    /// A timer rang, which is one more request.
    fn on_timer(
        &self,
        around: &mut Surroundings<'_>,
        config: &Self::Config,
        timer: Self::Timer,
    ) -> CoordinatorResult<Self>;

    /// What was decided cannot be written. If a request has asked for it, who asked is told `code`: decides what others must know of
    /// it, without a record. If a timer has rung, which does not ring again by itself then: decides what is to be done instead. `about`
    /// is what the result named.
    fn on_unwritten(
        &self,
        _around: &mut Surroundings<'_>,
        _config: &Self::Config,
        _about: Self::Timer,
        _code: ErrorCode,
    ) -> CoordinatorResult<Self> {
        CoordinatorResult::default()
    }

    /// Everything that was recorded has been replayed: sets the timers.
    fn on_loaded(&self, around: &mut Surroundings<'_>, config: &Self::Config) -> CoordinatorResult<Self>;

    /// The cluster has changed from what `before` says to what `around` says.
    fn on_metadata(
        &self,
        around: &mut Surroundings<'_>,
        config: &Self::Config,
        before: &Image,
    ) -> CoordinatorResult<Self>;

    /// Takes over what was recorded at `offset`: by a decision of this shard, or by whoever led the partition before. Never fails
    /// on a record that a shard wrote.
    fn replay(&mut self, offset: Offset, producer: Option<TransactionalProducer>, record: Self::Record);

    /// The transaction of a producer ended: what it has written here counts, or is void.
    fn replay_end_transaction_marker(&mut self, producer: TransactionalProducer, committed: bool);

    /// Makes a change of what is not recorded.
    fn note(&mut self, change: Self::Volatile);
}
