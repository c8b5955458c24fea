//! A decision about one transactional id: changes that follow from each other, put together in one result.
//!
//! Always holds: each step is decided on what the steps before have changed, as the shard will stand when the result is taken;
//! nobody is answered twice. When the last step leaves the transaction with markers to write, they are an effect of the result.

use std::sync::Arc;
use std::time::Duration;

use klamm_model::{ErrorCode, TimestampMs, TopicPartition};

use super::queue::Occupancy;
use super::request::{Markers, TransactionAnswer, TransactionConfig, TransactionEffect};
use super::shard::{Entry, Known, Outcome, TransactionShard, TransactionTimer, TransactionVolatile, Waiting};
use super::upkeep::after;
use super::{add_partitions, end_transaction, init_producer_id};
use crate::contract::{Answer, CoordinatorResult, Ticket, TimerChange};

/// How long a request waits for markers. Clients give up after 30 s, most after 60.
const PATIENCE: Duration = Duration::from_secs(10);

/// See the head of the file.
pub(super) struct Decision<'a> {
    shard: &'a TransactionShard,
    config: &'a TransactionConfig,
    server_version: i16,
    now: TimestampMs,
    id: Arc<str>,
    entry: Option<&'a Entry>,
    /// As it will be.
    known: Option<Known>,
    /// Those who have waited are being looked at, or were.
    woken: bool,
    /// How many wait, those of this decision too.
    waiting: Occupancy,
    result: CoordinatorResult<TransactionShard>,
}

impl<'a> Decision<'a> {
    /// A decision that adds to `result`.
    pub(super) fn new(
        shard: &'a TransactionShard,
        config: &'a TransactionConfig,
        server_version: i16,
        now: TimestampMs,
        id: Arc<str>,
        result: CoordinatorResult<TransactionShard>,
    ) -> Self {
        let entry = shard.entry(&id);
        let ending = entry.and_then(|entry| entry.ending.as_ref());
        let waiting = ending.map_or_else(Occupancy::default, |ending| ending.waiting.occupancy());
        Self {
            shard,
            config,
            server_version,
            now,
            entry,
            known: entry.map(|entry| entry.known.clone()),
            id,
            woken: false,
            waiting,
            result,
        }
    }

    pub(super) fn finish(self) -> CoordinatorResult<TransactionShard> {
        self.result
    }

    pub(super) fn now(&self) -> TimestampMs {
        self.now
    }

    pub(super) fn server_version(&self) -> i16 {
        self.server_version
    }

    pub(super) fn id(&self) -> Arc<str> {
        self.id.clone()
    }

    /// As the steps so far leave it.
    pub(super) fn known(&self) -> Option<&Known> {
        self.known.as_ref()
    }

    /// Where there was no marker before this decision.
    pub(super) fn unmarked(&self) -> &'a [TopicPartition] {
        self.entry.map_or(&[], Entry::unmarked)
    }

    pub(super) fn answer(&mut self, tickets: &[Ticket], answer: TransactionAnswer) {
        let answers = tickets.iter().map(|ticket| (*ticket, answer.clone()));
        self.result.answers.extend(answers);
    }

    pub(super) fn effect(&mut self, effect: TransactionEffect) {
        self.result.effects.push(effect);
    }

    /// Decides on what these ask.
    pub(super) fn run(&mut self, tickets: &[Ticket], request: Waiting) {
        loop {
            match self.outcome(&request) {
                Outcome::Answered(answer) => return self.answer(tickets, answer),
                Outcome::Changed(known, answer) => {
                    self.change(known);
                    return self.answer(tickets, answer);
                }
                Outcome::ChangedAndWaits(known) => {
                    self.change(known);
                    // Without a partition there is no marker to wait for.
                    if self.is_prepared() {
                        return self.park(tickets, request);
                    }
                }
                Outcome::Waits => return self.park(tickets, request),
            }
        }
    }

    fn outcome(&self, request: &Waiting) -> Outcome {
        let known = self.known.as_ref();
        match request {
            Waiting::InitProducerId(request) => {
                init_producer_id::decide(known, self.config, self.server_version, self.now, request)
            }
            Waiting::AddPartitions(request) => add_partitions::decide(known, self.now, request),
            Waiting::EndTransaction(request) => end_transaction::decide(known, self.now, request),
        }
    }

    fn is_prepared(&self) -> bool {
        self.known
            .as_ref()
            .is_some_and(|known| known.transaction.status.is_prepared())
    }

    /// One record.
    pub(super) fn change(&mut self, known: Known) {
        self.set_timers(&known);
        self.result.records.push(known.transaction.to_record(&self.id));
        // Also that there is none: all records are replayed before, and the last change of one id counts.
        let last_epoch = TransactionVolatile::LastEpoch(self.id.clone(), known.last_epoch);
        self.result.volatile.push(last_epoch);
        self.known = Some(known);
        if self.is_prepared() {
            self.carry_out();
        }
    }

    fn set_timers(&mut self, known: &Known) {
        if known.is_open() && self.shard.open_count() == 0 {
            let at = after(self.now, self.config.abort_interval);
            self.result
                .timers
                .push(TimerChange::At(TransactionTimer::Timeouts, at));
        }
        if self.shard.is_empty() && self.known.is_none() {
            let at = after(self.now, self.config.expiration_interval);
            self.result
                .timers
                .push(TimerChange::At(TransactionTimer::Expiration, at));
        }
    }

    /// The transaction is decided: its markers are to be written. Where there is none to write, it is complete.
    pub(super) fn carry_out(&mut self) {
        let Some(known) = &self.known else { return };
        if known.transaction.partitions.is_empty() {
            let completed = Known {
                transaction: known.transaction.completed(self.now),
                last_epoch: known.last_epoch,
            };
            self.complete(completed);
        } else {
            self.write_markers(known.transaction.partitions.clone(), 0);
        }
    }

    pub(super) fn write_markers(&mut self, partitions: Vec<TopicPartition>, failures: u32) {
        let Some(known) = self.known.as_ref().filter(|_| !partitions.is_empty()) else {
            return;
        };
        let markers = Markers {
            transactional_id: self.id.clone(),
            producer: known.transaction.producer,
            commit: known.transaction.status.commits(),
            version: known.transaction.version,
            partitions,
            since: known.transaction.updated,
            failures,
        };
        self.effect(TransactionEffect::WriteMarkers(markers));
    }

    /// How often in a row some markers could not be written before this decision.
    pub(super) fn failures(&self) -> u32 {
        let ending = self.entry.and_then(|entry| entry.ending.as_ref());
        ending.map_or(0, |ending| ending.failures)
    }

    /// Only these markers are still to be written.
    pub(super) fn marked(&mut self, unmarked: Vec<TopicPartition>, failures: u32) {
        let change = TransactionVolatile::Unmarked(self.id.clone(), unmarked, failures);
        self.result.volatile.push(change);
    }

    /// All markers are written: whoever waits goes on.
    pub(super) fn complete(&mut self, completed: Known) {
        self.change(completed);
        if std::mem::replace(&mut self.woken, true) {
            return;
        }
        // Whoever is parked from here on waits for the next markers.
        self.waiting = Occupancy::default();
        let ending = self.entry.and_then(|entry| entry.ending.as_ref());
        let Some(ending) = ending.filter(|ending| !ending.waiting.is_empty()) else {
            return;
        };
        let patience = TransactionTimer::Patience(self.id.clone());
        self.result.timers.push(TimerChange::Cancel(patience));
        for (tickets, request) in ending.waiting.requests() {
            self.run(tickets, request.clone());
        }
    }

    fn park(&mut self, tickets: &[Ticket], request: Waiting) {
        let is_first = self.waiting.is_empty();
        if !self.waiting.admit(&request, tickets.len()) {
            let refused = TransactionAnswer::refused(&request.kind(), ErrorCode::ConcurrentTransactions);
            return self.answer(tickets, refused);
        }
        if is_first {
            let patience = TransactionTimer::Patience(self.id.clone());
            let at = after(self.now, PATIENCE);
            self.result.timers.push(TimerChange::At(patience, at));
        }
        let wait = TransactionVolatile::Wait(self.id.clone(), tickets.to_vec(), request);
        self.result.volatile.push(wait);
    }
}
