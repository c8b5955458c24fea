//! One partition's batches: what goes out when, and what an answer means for those behind it.
//!
//! Always holds:
//! - Batches that wait and batches in flight are each in the order of their records.
//! - A batch goes out again only when nothing younger is in flight, so the leader never sees a sequence before the one in
//!   front of it has been decided, except for batches sent while everything went well.
//! - As long as the leader has acknowledged nothing of this producer, one batch is in flight at a time: a leader without
//!   a memory of the producer takes any sequence, a later one before an earlier.
//! - A batch that may be stored keeps its sequence until it is known, or its producer is named anew; then it fails.
//!
//! No I/O and no clock: `now` is an argument. The sender (`sender.rs`) asks and obeys.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use klamm_model::{ErrorCode, TimestampMs, TopicPartition};
use klamm_records::header::sequence_plus;
use tokio::sync::OwnedSemaphorePermit;

use super::ProducerConfig;
use super::batch::{Batch, Kind, OpenBatch};
use super::identity::Identity;
use super::outcome::{Delivery, Place, ProduceError, Reporter};
use crate::error::Refusal;

/// Batches of a partition in flight: as many as a leader remembers of a producer.
pub(super) const IN_FLIGHT: usize = klamm_model::limits::PRODUCER_BATCHES_REMEMBERED;

/// The distance between the orders of two batches: the parts of a batch that is cut have their place between them.
const ORDERS_PER_BATCH: u64 = 1 << 32;

/// A record on its way into a batch.
pub(super) struct NewRecord<'a> {
    pub(super) timestamp: TimestampMs,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: &'a [(&'a [u8], Option<&'a [u8]>)],
    /// Its size in the batch, at most.
    pub(super) bytes: usize,
    pub(super) memory: OwnedSemaphorePermit,
}

/// What taking a record did.
pub(super) struct Appended {
    pub(super) delivery: Delivery,
    /// Batches begun, 0 or 1.
    pub(super) opened: usize,
}

/// What became of a batch that was sent.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// It is stored.
    Stored(Place),
    /// It is not stored, and may be sent again.
    Again(String),
    /// It may be stored or not, and may be sent again.
    Unknown(String),
    /// It is not stored, because it is too large.
    TooLarge(Refusal),
    /// It is not stored, because the leader waits for another sequence, or knows the producer by another epoch.
    OutOfOrder(Refusal),
    /// It is not stored, and never will be.
    Refused(Refusal),
    /// It failed for a reason that does not say whether it is stored; sending it again would not help.
    Failed(Refusal),
}

impl Answer {
    /// What the leader's error code says.
    pub(super) fn of(refusal: Refusal) -> Self {
        use ErrorCode as Code;
        match refusal.code {
            Code::DuplicateSequenceNumber => Self::Stored(Place {
                base_offset: None,
                append_time: None,
            }),
            Code::MessageTooLarge | Code::RecordListTooLarge => Self::TooLarge(refusal),
            Code::OutOfOrderSequenceNumber | Code::UnknownProducerId | Code::InvalidProducerEpoch => {
                Self::OutOfOrder(refusal)
            }
            Code::UnknownTopicOrPartition
            | Code::UnknownTopicId
            | Code::LeaderNotAvailable
            | Code::NotEnoughReplicas
            | Code::CorruptMessage
            | Code::ConcurrentTransactions
            | Code::ThrottlingQuotaExceeded => Self::Again(refusal.to_string()),
            // NOT_LEADER_OR_FOLLOWER too comes after the append when leadership was lost before the replicas had it.
            code if code.is_retriable() => Self::Unknown(refusal.to_string()),
            Code::UnknownServerError => Self::Failed(refusal),
            _ => Self::Refused(refusal),
        }
    }
}

/// What the sender has to do after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Effect {
    /// Batches that are done, well or not.
    pub(super) done: usize,
    /// Batches that came into being because one was cut.
    pub(super) added: usize,
    /// The producer must be named anew, because its sequence cannot be continued.
    pub(super) renew: bool,
}

/// The batches of one partition.
pub(super) struct Queue {
    partition: TopicPartition,
    config: ProducerConfig,
    is_transactional: bool,
    open: Option<OpenBatch>,
    waiting: VecDeque<Batch>,
    in_flight: VecDeque<Batch>,
    next_order: u64,
    next_id: u64,
    next_sequence: i32,
    /// The order of the youngest batch that the leader acknowledged to this identity, and the sequence after it.
    acknowledged: Option<(u64, i32)>,
    /// A batch of this order failed without being stored: those behind it get other sequences.
    gap_at: Option<u64>,
    paused_until: Duration,
    pub(super) failures: u32,
    /// The first failure that was not taken note of; in transactions only, which it ends.
    failure: Option<ProduceError>,
}

impl Queue {
    pub(super) fn new(partition: TopicPartition, config: ProducerConfig, is_transactional: bool) -> Self {
        Self {
            partition,
            config,
            is_transactional,
            open: None,
            waiting: VecDeque::new(),
            in_flight: VecDeque::new(),
            next_order: 0,
            next_id: 0,
            next_sequence: 0,
            acknowledged: None,
            gap_at: None,
            paused_until: Duration::ZERO,
            failures: 0,
            failure: None,
        }
    }

    fn kind(&self) -> Kind {
        Kind {
            codec: self.config.codec,
            is_transactional: self.is_transactional,
        }
    }

    /// What failed since this was last asked; `None` outside of transactions, where a failure ends nothing else.
    pub(super) fn take_failure(&mut self) -> Option<ProduceError> {
        self.failure.take()
    }

    fn note(&mut self, failure: &ProduceError) {
        if self.is_transactional && self.failure.is_none() {
            self.failure = Some(failure.clone());
        }
    }

    fn fail(&mut self, batch: Batch, error: ProduceError) {
        self.note(&error);
        batch.report(Err(error));
    }

    /// Takes a record.
    pub(super) fn append(&mut self, record: NewRecord<'_>, now: Duration) -> Appended {
        if let Some(open) = &mut self.open {
            if open.bytes() + record.bytes <= self.config.batch_bytes {
                return Appended {
                    delivery: open.append(record),
                    opened: 0,
                };
            }
            self.seal();
        }
        let reporter = Reporter::new(self.partition.clone());
        let (open, delivery) = OpenBatch::begin(self.kind(), reporter, record, now);
        self.open = Some(open);
        Appended { delivery, opened: 1 }
    }

    fn seal(&mut self) {
        if let Some(open) = self.open.take() {
            let deadline = open.since + self.config.delivery_timeout;
            self.waiting.push_back(open.seal(self.next_order, deadline));
            self.next_order += ORDERS_PER_BATCH;
        }
    }

    /// Whether nothing waits and nothing is in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_none() && self.waiting.is_empty() && self.in_flight.is_empty()
    }

    /// Whether nothing is in flight.
    pub(super) fn is_settled(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Whether a batch may go out now; with `flush`, without waiting for more records.
    pub(super) fn can_send(&self, now: Duration, flush: bool) -> bool {
        if now < self.paused_until {
            return false;
        }
        let limit = match self.acknowledged {
            Some(_) => IN_FLIGHT,
            None => 1,
        };
        if self.in_flight.len() >= limit || (self.gap_at.is_some() && !self.in_flight.is_empty()) {
            return false;
        }
        match self.waiting.front() {
            Some(head) => self.in_flight.iter().all(|sent| sent.order <= head.order),
            None => self
                .open
                .as_ref()
                .is_some_and(|open| flush || now >= open.since + self.config.linger),
        }
    }

    /// How many bytes [`Queue::send`] would give.
    pub(super) fn next_bytes(&self) -> usize {
        match (self.waiting.front(), &self.open) {
            (Some(head), _) => head.bytes.len(),
            (None, Some(open)) => open.bytes(),
            (None, None) => 0,
        }
    }

    /// Puts the next batch in flight, stamped, and returns its number and bytes. Only after [`Queue::can_send`].
    pub(super) fn send(&mut self, identity: Identity) -> Option<(u64, Bytes)> {
        if self.waiting.is_empty() {
            self.seal();
        }
        self.close_gap();
        let mut batch = self.waiting.pop_front()?;
        if batch.sequence.is_none() {
            batch.stamp(identity, self.next_sequence);
            self.next_sequence = after(&batch, self.next_sequence);
        }
        self.next_id += 1;
        batch.id = self.next_id;
        let sent = (batch.id, batch.bytes.clone());
        self.in_flight.push_back(batch);
        Some(sent)
    }

    /// Batches behind one that failed lose their sequences, which the leader cannot have taken.
    fn close_gap(&mut self) {
        let Some(gap) = self.gap_at.take() else { return };
        let (mut last, mut next) = self.acknowledged.unwrap_or((0, 0));
        for batch in &mut self.waiting {
            match batch.sequence {
                Some(sequence) if batch.order < gap => {
                    if batch.order >= last {
                        (last, next) = (batch.order, after(batch, sequence));
                    }
                }
                _ => {
                    batch.sequence = None;
                    batch.may_be_stored = false;
                }
            }
        }
        self.next_sequence = next;
    }

    /// Takes the answer to batch `id`; `pause` is how long the partition rests after a failure.
    pub(super) fn answer(&mut self, id: u64, answer: Answer, now: Duration, pause: Duration) -> Effect {
        let mut effect = Effect::default();
        let Some(place) = self.in_flight.iter().position(|batch| batch.id == id) else {
            return effect;
        };
        let mut batch = self.in_flight.remove(place).expect("it was just found");
        match answer {
            Answer::Stored(place) => {
                let end = (batch.order, after(&batch, batch.sequence.unwrap_or_default()));
                // A repeated batch may be acknowledged after younger ones.
                if self.acknowledged.is_none_or(|(order, _)| order < batch.order) {
                    self.acknowledged = Some(end);
                }
                self.failures = 0;
                batch.report(Ok(place));
                effect.done = 1;
            }
            Answer::Again(why) => self.repeat(batch, why, now + pause),
            Answer::Unknown(why) => {
                batch.may_be_stored = true;
                self.repeat(batch, why, now + pause);
            }
            Answer::OutOfOrder(refusal) => {
                let is_head = self.earlier(&batch).next().is_none();
                effect.renew = is_head && self.gap_at.is_none();
                if effect.renew {
                    self.note(&self.refused(refusal.clone()));
                }
                // Behind an undecided batch it says nothing about this one; as the first one it says that the leader
                // has neither this nor any other of the batches outstanding.
                batch.may_be_stored &= !effect.renew;
                let until = if effect.renew { now + pause } else { now };
                self.repeat(batch, refusal.to_string(), until);
            }
            Answer::TooLarge(refusal) if batch.count > 1 => {
                self.gap(batch.order);
                effect = self.cut(batch, refusal);
            }
            Answer::TooLarge(refusal) | Answer::Refused(refusal) => {
                self.gap(batch.order);
                self.fail(batch, self.refused(refusal));
                effect.done = 1;
            }
            Answer::Failed(refusal) => {
                self.fail(batch, self.refused(refusal));
                effect.done = 1;
                effect.renew = true;
            }
        }
        effect
    }

    fn refused(&self, refusal: Refusal) -> ProduceError {
        ProduceError::Refused {
            partition: self.partition.clone(),
            refusal,
        }
    }

    fn earlier<'a>(&'a self, batch: &'a Batch) -> impl Iterator<Item = &'a Batch> {
        let all = self.waiting.iter().chain(&self.in_flight);
        all.filter(move |other| other.order < batch.order)
    }

    fn gap(&mut self, order: u64) {
        self.gap_at = Some(self.gap_at.map_or(order, |gap| gap.min(order)));
    }

    fn repeat(&mut self, mut batch: Batch, why: String, until: Duration) {
        batch.last_failure = Some(why);
        self.failures += 1;
        self.paused_until = self.paused_until.max(until);
        self.put_back(batch);
    }

    fn put_back(&mut self, batch: Batch) {
        let place = self.waiting.partition_point(|other| other.order < batch.order);
        self.waiting.insert(place, batch);
    }

    fn cut(&mut self, batch: Batch, refusal: Refusal) -> Effect {
        let order = batch.order;
        match batch.cut(self.kind()) {
            Ok([left, right]) => {
                let place = self.waiting.partition_point(|other| other.order < order);
                self.waiting.insert(place, right);
                self.waiting.insert(place, left);
                Effect {
                    added: 1,
                    ..Effect::default()
                }
            }
            // The batch was built here and reads back; should it not, its records are lost with it, and said to be.
            Err(error) => {
                tracing::error!(%error, %refusal, "a batch could not be cut");
                self.note(&self.refused(refusal));
                Effect {
                    done: 1,
                    ..Effect::default()
                }
            }
        }
    }

    /// Fails what has waited past its deadline.
    pub(super) fn expire(&mut self, now: Duration) -> Effect {
        let mut effect = Effect::default();
        let timeout = self.config.delivery_timeout;
        if self.open.as_ref().is_some_and(|open| now >= open.since + timeout) {
            self.seal();
        }
        while let Some(place) = self.waiting.iter().position(|batch| now >= batch.deadline) {
            let batch = self.waiting.remove(place).expect("it was just found");
            effect.done += 1;
            if batch.may_be_stored {
                effect.renew = true;
            } else if batch.sequence.is_some() {
                self.gap(batch.order);
            }
            let error = batch.expired(timeout);
            self.fail(batch, error);
        }
        effect
    }

    /// When something is due without an answer: a linger or a pause that ends, a deadline.
    pub(super) fn next_due(&self, now: Duration) -> Option<Duration> {
        let lingering = self.open.as_ref().map(|open| open.since + self.config.linger);
        let deadline = self.waiting.iter().map(|batch| batch.deadline).min();
        let has_work = self.open.is_some() || !self.waiting.is_empty();
        let paused = has_work.then_some(self.paused_until);
        [lingering, deadline, paused]
            .into_iter()
            .flatten()
            .filter(|due| *due > now)
            .min()
    }

    /// The producer has a new name: sequences begin at 0. Only while nothing is in flight.
    pub(super) fn renew(&mut self) -> Effect {
        assert!(self.in_flight.is_empty(), "a producer is renamed between batches");
        let mut effect = Effect::default();
        self.acknowledged = None;
        self.next_sequence = 0;
        self.gap_at = None;
        let (unknown, rest): (Vec<Batch>, Vec<Batch>) =
            self.waiting.drain(..).partition(|batch| batch.may_be_stored);
        self.waiting = rest.into();
        for batch in &mut self.waiting {
            batch.sequence = None;
        }
        for batch in unknown {
            let partition = self.partition.clone();
            batch.report(Err(ProduceError::OutcomeUnknown { partition }));
            effect.done += 1;
        }
        effect
    }

    /// Fails everything that is not in flight.
    pub(super) fn fail_all(&mut self, error: &ProduceError) -> Effect {
        self.seal();
        let done = self.waiting.len();
        for batch in self.waiting.drain(..) {
            batch.report(Err(error.clone()));
        }
        Effect {
            done,
            ..Effect::default()
        }
    }
}

fn after(batch: &Batch, sequence: i32) -> i32 {
    let count = i32::try_from(batch.count).expect("a batch counts its records in an i32");
    sequence_plus(sequence, count)
}

#[cfg(test)]
mod tests;
