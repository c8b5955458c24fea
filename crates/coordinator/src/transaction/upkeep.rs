//! What happens by itself: transactions that take too long are made void, and ids that nobody uses are forgotten.
//!
//! Always holds: a transaction is ended no earlier than its timeout says, and no later than one interval after that; its producer
//! is shut out. An id is forgotten only when it has no transaction. A timer is set while there is anything for it to find: the one
//! for timeouts while a transaction is open, the one for expiration while there is an id. One decision looks at so many ids; the next
//! goes on behind them. Where what is due cannot be ended together, it is ended one by one: one transaction whose end the topic does
//! not take, which is smaller than it was when that transaction began, is passed over, and tried again later.

use std::sync::Arc;
use std::time::Duration;

use klamm_model::{ProducerId, TimestampMs};
use klamm_protocol::coordinator_records::TransactionLogKey;

use super::decision::Decision;
use super::record::TransactionRecord;
use super::request::{AbortTimedOut, TransactionAnswer, TransactionConfig, TransactionEffect};
use super::shard::{TransactionShard, TransactionTimer, TransactionVolatile};
use super::state::Status;
use crate::contract::{CoordinatorResult, Ticket, TimerChange};

/// Transactions that are ended, and ids that are forgotten, in one decision.
const AT_ONCE: usize = 500;
/// Ids that are looked at in one decision.
const LOOKED_AT_ONCE: usize = 5_000;
/// When an end that the topic does not take is tried again: something must be set otherwise first.
const NOT_TAKEN: Duration = Duration::from_mins(10);

pub(super) fn after(now: TimestampMs, interval: Duration) -> TimestampMs {
    now.plus_ms(i64::try_from(interval.as_millis()).unwrap_or(i64::MAX))
}

/// The timer for timeouts rang.
pub(super) fn abort_timed_out(
    shard: &TransactionShard,
    config: &TransactionConfig,
    server_version: i16,
    now: TimestampMs,
) -> CoordinatorResult<TransactionShard> {
    let mut result = CoordinatorResult {
        atomic: false,
        unwritten: Some(TransactionTimer::Timeouts),
        ..Default::default()
    };
    let (mut ended, mut looked_at) = (0, 0);
    for id in shard.due(now).take(AT_ONCE) {
        let mut decision = Decision::new(shard, config, server_version, now, id.clone(), result);
        ended += usize::from(abort(&mut decision, None));
        looked_at += 1;
        result = decision.finish();
    }
    if shard.open_count() > ended {
        let goes_on = looked_at == AT_ONCE && ended > 0;
        let next = if goes_on {
            now
        } else {
            after(now, config.abort_interval)
        };
        result
            .timers
            .push(TimerChange::At(TransactionTimer::Timeouts, next));
    }
    result
}

/// Those that are due could not be ended together.
pub(super) fn one_at_a_time(
    shard: &TransactionShard,
    config: &TransactionConfig,
    now: TimestampMs,
) -> CoordinatorResult<TransactionShard> {
    CoordinatorResult {
        timers: next_alone(shard, config, now, None).into_iter().collect(),
        ..Default::default()
    }
}

/// The timer for the timeout of one id rang.
pub(super) fn abort_alone(
    shard: &TransactionShard,
    config: &TransactionConfig,
    server_version: i16,
    now: TimestampMs,
    id: &Arc<str>,
) -> CoordinatorResult<TransactionShard> {
    let result = CoordinatorResult {
        unwritten: Some(TransactionTimer::Timeout(id.clone())),
        ..Default::default()
    };
    let mut decision = Decision::new(shard, config, server_version, now, id.clone(), result);
    let is_ended = abort(&mut decision, None);
    let mut result = decision.finish();
    if !is_ended && shard.is_due(id, now) {
        // A producer id is drawn first.
        let again = TransactionVolatile::DueAgain(id.clone(), after(now, config.abort_interval));
        result.volatile.push(again);
    }
    result.timers.extend(next_alone(shard, config, now, Some(id)));
    result
}

/// The end of the transaction of `id` cannot be recorded.
pub(super) fn pass_over(
    shard: &TransactionShard,
    config: &TransactionConfig,
    now: TimestampMs,
    id: Arc<str>,
) -> CoordinatorResult<TransactionShard> {
    CoordinatorResult {
        timers: next_alone(shard, config, now, Some(&id)).into_iter().collect(),
        volatile: vec![TransactionVolatile::DueAgain(id, after(now, NOT_TAKEN))],
        ..Default::default()
    }
}

/// The next that is due beside `this` is ended alone, or, when there is none, all that are due later are again looked for together.
fn next_alone(
    shard: &TransactionShard,
    config: &TransactionConfig,
    now: TimestampMs,
    this: Option<&Arc<str>>,
) -> Option<TimerChange<TransactionTimer>> {
    let next = shard.due(now).find(|id| Some(*id) != this);
    match next {
        Some(next) => Some(TimerChange::At(TransactionTimer::Timeout(next.clone()), now)),
        None => (shard.open_count() > 0)
            .then(|| TimerChange::At(TransactionTimer::Timeouts, after(now, config.abort_interval))),
    }
}

/// A producer id was drawn to end a transaction with.
pub(super) fn abort_with(decision: &mut Decision<'_>, ticket: Ticket, request: &AbortTimedOut) {
    decision.answer(&[ticket], TransactionAnswer::Reported);
    let known = decision.known();
    if known.is_some_and(|known| known.transaction.producer == request.producer) {
        abort(decision, request.fresh);
    }
}

/// Ends the transaction if it takes too long; returns whether it did.
fn abort(decision: &mut Decision<'_>, fresh: Option<ProducerId>) -> bool {
    let (now, server_version) = (decision.now(), decision.server_version());
    let Some(known) = decision.known() else {
        return false;
    };
    let transaction = &known.transaction;
    if transaction.deadline().is_none_or(|deadline| deadline >= now) {
        return false;
    }
    if transaction.is_exhausted() && fresh.is_none() {
        decision.effect(TransactionEffect::DrawProducerId {
            transactional_id: decision.id(),
            producer: transaction.producer,
        });
        return false;
    }
    let next_id = fresh.filter(|_| transaction.is_exhausted());
    decision.change(known.fenced(server_version, next_id, now));
    true
}

/// The timer for expiration rang: looks at the ids behind `behind`.
pub(super) fn expire(
    shard: &TransactionShard,
    config: &TransactionConfig,
    now: TimestampMs,
    behind: Option<&str>,
) -> CoordinatorResult<TransactionShard> {
    let limit = i64::try_from(config.id_expiration.as_millis()).unwrap_or(i64::MAX);
    let mut records = Vec::new();
    let mut goes_on = None;
    for (looked_at, (id, entry)) in (1..).zip(shard.entries_behind(behind)) {
        let transaction = &entry.known.transaction;
        let is_at_rest = !transaction.status.is_prepared() && transaction.status != Status::Ongoing;
        if is_at_rest && now.ms_since(transaction.updated) >= limit {
            records.push(tombstone(id));
        }
        if looked_at == LOOKED_AT_ONCE || records.len() == AT_ONCE {
            let timer = TransactionTimer::ExpirationBehind(id.clone());
            goes_on = Some(TimerChange::At(timer, now));
            break;
        }
    }
    let again = (shard.len() > records.len()).then(|| {
        TimerChange::At(
            TransactionTimer::Expiration,
            after(now, config.expiration_interval),
        )
    });
    CoordinatorResult {
        records,
        atomic: false,
        timers: goes_on.or(again).into_iter().collect(),
        ..Default::default()
    }
}

fn tombstone(id: &str) -> TransactionRecord {
    let key = TransactionLogKey {
        transactional_id: id.into(),
    };
    TransactionRecord::Transaction(key, None)
}

#[cfg(test)]
mod tests;
