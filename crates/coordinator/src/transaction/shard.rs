//! A shard of the transaction coordinator: the transactional ids of one partition of `__transaction_state`.
//!
//! Always holds: what is recorded of an id follows from its last record. Not recorded are: the epoch before the current one, by which
//! a retry of InitProducerId is told from a stranger; which markers are still to be written (after a load: all); and who waits.
//!
//! **Waiting.** A request that cannot be decided before markers are written is kept, and decided behind the record that completes
//! the transaction, at once: so the producer of a version 2 client never sees CONCURRENT_TRANSACTIONS, which costs it a
//! round trip and a pause of 20 ms, between two transactions. Those who wait are bounded (`queue.rs`) and wait for a limited time;
//! then they are told CONCURRENT_TRANSACTIONS after all, at which every client tries again.
//!
//! Next: `Decision` for how changes of one id are put together; one file for each request.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use klamm_metadata::Image;
use klamm_model::{ErrorCode, Offset, ProducerEpoch, TimestampMs, TopicPartition};

use super::queue::Queue;
use super::record::TransactionRecord;
use super::request::{
    AddPartitions, EndTransaction, InitProducerId, RequestKind, TransactionAnswer, TransactionConfig,
    TransactionEffect, TransactionRequest,
};
use super::state::{Status, Transaction};
use super::{decision::Decision, describe, list, markers, upkeep};
use crate::contract::{CoordinatorResult, Shard, Surroundings, Ticket, TimerChange, TransactionalProducer};

/// The feature whose level says how transactions end that the coordinator ends by itself.
const FEATURE: &str = "transaction.version";

/// What is known of a transactional id, but for how far it is with its markers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) transaction: Transaction,
    /// The epoch that the same producer had before the current one.
    pub(super) last_epoch: Option<ProducerEpoch>,
}

/// What a request leads to.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Nothing changes.
    Answered(TransactionAnswer),
    /// One record is written, and the answer leaves when it is committed.
    Changed(Known, TransactionAnswer),
    /// One record is written, and the request is decided when its markers are.
    ChangedAndWaits(Known),
    /// The request is decided when the markers are written.
    Waits,
}

/// A request that may wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// [`TransactionRequest::InitProducerId`].
    InitProducerId(InitProducerId),
    /// [`TransactionRequest::AddPartitions`].
    AddPartitions(AddPartitions),
    /// [`TransactionRequest::EndTransaction`].
    EndTransaction(EndTransaction),
}

impl Waiting {
    pub(super) fn kind(&self) -> RequestKind {
        match self {
            Self::InitProducerId(_) => RequestKind::InitProducerId,
            Self::AddPartitions(_) => RequestKind::AddPartitions,
            Self::EndTransaction(_) => RequestKind::EndTransaction,
        }
    }

    fn transactional_id(&self) -> &Arc<str> {
        match self {
            Self::InitProducerId(request) => &request.transactional_id,
            Self::AddPartitions(request) => &request.transactional_id,
            Self::EndTransaction(request) => &request.transactional_id,
        }
    }
}

/// A transaction whose markers are being written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    /// Where there is none yet; sorted.
    unmarked: Vec<TopicPartition>,
    /// How often in a row some could not be written.
    pub(super) failures: u32,
    pub(super) waiting: Queue,
}

/// A transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) known: Known,
    /// From when on it is looked at as one that takes too long.
    due: Option<TimestampMs>,
    pub(super) ending: Option<Box<Ending>>,
}

impl Entry {
    fn of(transaction: Transaction) -> Self {
        let ending = || Ending {
            unmarked: transaction.partitions.clone(),
            failures: 0,
            waiting: Queue::default(),
        };
        Self {
            ending: transaction.status.is_prepared().then(|| Box::new(ending())),
            due: transaction.deadline(),
            known: Known {
                transaction,
                last_epoch: None,
            },
        }
    }

    /// The partitions whose end is not told yet.
    pub(super) fn unmarked(&self) -> &[TopicPartition] {
        match &self.ending {
            Some(ending) => &ending.unmarked,
            None => &self.known.transaction.partitions,
        }
    }
}

/// A change of what is not recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionVolatile {
    /// The epoch that the same producer had before; `None` for one that is new.
    LastEpoch(Arc<str>, Option<ProducerEpoch>),
    /// What these ask is decided when the markers are written.
    Wait(Arc<str>, Vec<Ticket>, Waiting),
    /// Whoever waits was answered.
    Dismiss(Arc<str>),
    /// Only these markers are still to be written, after so many failures in a row.
    Unmarked(Arc<str>, Vec<TopicPartition>, u32),
    /// The transaction takes too long and was not ended: it is looked at again then.
    DueAgain(Arc<str>, TimestampMs),
}

/// A timer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TransactionTimer {
    /// Looks for transactions that take too long.
    Timeouts,
    /// The same, one at a time: looks at that of this id.
    Timeout(Arc<str>),
    /// Looks for ids that are not used.
    Expiration,
    /// Goes on with that behind this id.
    ExpirationBehind(Arc<str>),
    /// Ends the wait for the markers of this id's transaction.
    Patience(Arc<str>),
}

/// See the head of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransactionShard {
    entries: BTreeMap<Arc<str>, Entry>,
    /// The open transactions that may take too long, by when they are looked at.
    deadlines: BTreeSet<(TimestampMs, Arc<str>)>,
}

impl TransactionShard {
    pub(super) fn entry(&self, id: &str) -> Option<&Entry> {
        self.entries.get(id)
    }

    /// All behind an id, in the order of their names.
    pub(super) fn entries_behind(&self, id: Option<&str>) -> impl Iterator<Item = (&Arc<str>, &Entry)> {
        let from = id.map_or(Bound::Unbounded, Bound::Excluded);
        self.entries.range::<str, _>((from, Bound::Unbounded))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many transactions are open that may take too long.
    pub(super) fn open_count(&self) -> usize {
        self.deadlines.len()
    }

    /// Those that take too long, the longest first.
    pub(super) fn due(&self, now: TimestampMs) -> impl Iterator<Item = &Arc<str>> {
        let due = self
            .deadlines
            .iter()
            .take_while(move |(deadline, _)| *deadline < now);
        due.map(|(_, id)| id)
    }

    /// Whether the transaction of `id` is one of them.
    pub(super) fn is_due(&self, id: &str, now: TimestampMs) -> bool {
        let due = self.entry(id).and_then(|entry| entry.due);
        due.is_some_and(|due| due < now)
    }

    fn decision<'a>(
        &'a self,
        around: &Surroundings<'_>,
        config: &'a TransactionConfig,
        id: &Arc<str>,
    ) -> Decision<'a> {
        let server_version = server_version(around.image);
        let result = CoordinatorResult::default();
        Decision::new(self, config, server_version, around.now, id.clone(), result)
    }

    fn run(
        &self,
        around: &Surroundings<'_>,
        config: &TransactionConfig,
        ticket: Ticket,
        request: Waiting,
    ) -> CoordinatorResult<Self> {
        let mut decision = self.decision(around, config, request.transactional_id());
        decision.run(&[ticket], request);
        decision.finish()
    }

    /// Tells those who wait that they have waited for long enough.
    fn dismiss(&self, id: Arc<str>) -> CoordinatorResult<Self> {
        let ending = self.entry(&id).and_then(|entry| entry.ending.as_ref());
        let waiting = ending.iter().flat_map(|ending| ending.waiting.askers());
        let answers = waiting.map(|(ticket, kind)| {
            let code = ErrorCode::ConcurrentTransactions;
            (ticket, crate::Answer::refused(&kind, code))
        });
        CoordinatorResult {
            answers: answers.collect(),
            volatile: vec![TransactionVolatile::Dismiss(id)],
            ..Default::default()
        }
    }
}

/// How the coordinator ends transactions by itself.
fn server_version(image: &Image) -> i16 {
    image.feature_level(FEATURE)
}

impl Shard for TransactionShard {
    type Config = TransactionConfig;
    type Request = TransactionRequest;
    type Answer = TransactionAnswer;
    type Record = TransactionRecord;
    type Volatile = TransactionVolatile;
    type Timer = TransactionTimer;
    type Effect = TransactionEffect;

    fn new() -> Self {
        Self::default()
    }

    fn decide(
        &self,
        around: &mut Surroundings<'_>,
        config: &Self::Config,
        ticket: Ticket,
        request: Self::Request,
    ) -> CoordinatorResult<Self> {
        use TransactionRequest as Request;
        match request {
            Request::InitProducerId(request) => {
                self.run(around, config, ticket, Waiting::InitProducerId(request))
            }
            Request::AddPartitions(request) => {
                self.run(around, config, ticket, Waiting::AddPartitions(request))
            }
            Request::EndTransaction(request) => {
                self.run(around, config, ticket, Waiting::EndTransaction(request))
            }
            Request::VerifyPartitions(request) => {
                let known = self.entry(&request.transactional_id).map(|entry| &entry.known);
                CoordinatorResult::answer(ticket, super::add_partitions::verify(known, &request))
            }
            Request::Markers(report) => {
                let mut decision = self.decision(around, config, &report.transactional_id);
                markers::report(&mut decision, around.image, ticket, &report);
                // The end, and what each of those does who have waited for it, stand for themselves.
                CoordinatorResult {
                    atomic: false,
                    ..decision.finish()
                }
            }
            Request::AbortTimedOut(request) => {
                let mut decision = self.decision(around, config, &request.transactional_id);
                upkeep::abort_with(&mut decision, ticket, &request);
                decision.finish()
            }
            Request::Describe(id) => {
                CoordinatorResult::answer(ticket, describe::describe(&id, self.entry(&id)))
            }
            Request::List(request) => {
                CoordinatorResult::answer(ticket, list::list(&self.entries, around.now, &request))
            }
        }
    }

    fn on_timer(
        &self,
        around: &mut Surroundings<'_>,
        config: &Self::Config,
        timer: Self::Timer,
    ) -> CoordinatorResult<Self> {
        match timer {
            TransactionTimer::Timeouts => {
                upkeep::abort_timed_out(self, config, server_version(around.image), around.now)
            }
            TransactionTimer::Timeout(id) => {
                upkeep::abort_alone(self, config, server_version(around.image), around.now, &id)
            }
            TransactionTimer::Expiration => upkeep::expire(self, config, around.now, None),
            TransactionTimer::ExpirationBehind(id) => upkeep::expire(self, config, around.now, Some(&id)),
            TransactionTimer::Patience(id) => self.dismiss(id),
        }
    }

    /// One transaction whose end is too large must not keep the others from theirs.
    fn on_unwritten(
        &self,
        around: &mut Surroundings<'_>,
        config: &Self::Config,
        about: TransactionTimer,
        _code: ErrorCode,
    ) -> CoordinatorResult<Self> {
        match about {
            TransactionTimer::Timeout(id) => upkeep::pass_over(self, config, around.now, id),
            _ => upkeep::one_at_a_time(self, config, around.now),
        }
    }

    fn on_loaded(&self, around: &mut Surroundings<'_>, config: &Self::Config) -> CoordinatorResult<Self> {
        let mut result = CoordinatorResult {
            atomic: false,
            ..Default::default()
        };
        let prepared = self.entries.iter().filter(|(_, entry)| entry.ending.is_some());
        for (id, _) in prepared {
            let server_version = server_version(around.image);
            let mut decision = Decision::new(self, config, server_version, around.now, id.clone(), result);
            decision.carry_out();
            result = decision.finish();
        }
        if !self.deadlines.is_empty() {
            let at = upkeep::after(around.now, config.abort_interval);
            result
                .timers
                .push(TimerChange::At(TransactionTimer::Timeouts, at));
        }
        if !self.entries.is_empty() {
            let at = upkeep::after(around.now, config.expiration_interval);
            result
                .timers
                .push(TimerChange::At(TransactionTimer::Expiration, at));
        }
        result
    }

    /// What is deleted meanwhile is found when its marker is not taken.
    fn on_metadata(
        &self,
        _around: &mut Surroundings<'_>,
        _config: &Self::Config,
        _before: &Image,
    ) -> CoordinatorResult<Self> {
        CoordinatorResult::default()
    }

    fn replay(
        &mut self,
        _offset: Offset,
        _producer: Option<TransactionalProducer>,
        record: TransactionRecord,
    ) {
        let TransactionRecord::Transaction(key, value) = record;
        let id: &str = &key.transactional_id;
        let transaction = match value.as_ref().map(Transaction::of_record) {
            // A state that no broker ever records is nothing to follow.
            Some(None) => return,
            Some(Some(transaction)) => Some(transaction),
            None => None,
        };
        let before = self.entries.get_key_value(id);
        let id: Arc<str> = before.map_or_else(|| id.into(), |(id, _)| id.clone());
        if let Some(due) = before.and_then(|(_, entry)| entry.due) {
            self.deadlines.remove(&(due, id.clone()));
        }
        let Some(transaction) = transaction else {
            self.entries.remove(&id);
            return;
        };
        if let Some(deadline) = transaction.deadline() {
            self.deadlines.insert((deadline, id.clone()));
        }
        self.entries.insert(id, Entry::of(transaction));
    }

    /// Nothing is written to this topic in a transaction.
    fn replay_end_transaction_marker(&mut self, _producer: TransactionalProducer, _committed: bool) {}

    fn note(&mut self, change: TransactionVolatile) {
        let id = match &change {
            TransactionVolatile::LastEpoch(id, _)
            | TransactionVolatile::Wait(id, ..)
            | TransactionVolatile::Dismiss(id)
            | TransactionVolatile::Unmarked(id, ..)
            | TransactionVolatile::DueAgain(id, _) => id,
        };
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        match (change, &mut entry.ending) {
            (TransactionVolatile::DueAgain(id, at), _) => {
                if let Some(due) = &mut entry.due {
                    let before = std::mem::replace(due, at);
                    self.deadlines.remove(&(before, id.clone()));
                    self.deadlines.insert((at, id));
                }
            }
            (TransactionVolatile::LastEpoch(_, epoch), _) => entry.known.last_epoch = epoch,
            (TransactionVolatile::Wait(_, tickets, request), Some(ending)) => {
                ending.waiting.push(tickets, request);
            }
            (TransactionVolatile::Dismiss(_), Some(ending)) => ending.waiting = Queue::default(),
            (TransactionVolatile::Unmarked(_, unmarked, failures), Some(ending)) => {
                (ending.unmarked, ending.failures) = (unmarked, failures);
            }
            // The transaction has ended meanwhile, and with it what was to be remembered of its end.
            (_, None) => {}
        }
    }
}

impl Known {
    /// The transaction is void, and its producer shut out.
    pub(super) fn fenced(
        &self,
        server_version: i16,
        next_id: Option<klamm_model::ProducerId>,
        now: TimestampMs,
    ) -> Self {
        let keeps = server_version >= super::request::VERSION_2;
        Self {
            transaction: self.transaction.fenced(server_version, next_id, now),
            last_epoch: keeps.then_some(self.transaction.producer.epoch),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.transaction.status == Status::Ongoing
    }
}

#[cfg(test)]
mod tests;
