//! Does what the shards of transactions want done outside of them: writes the markers that end transactions, and draws producer
//! ids for those that took too long.
//!
//! ```text
//! shard ─► carry_out ─► orders ─► one at a time for each transactional id ─► markers::write_markers ─► report ─► shard
//!                                        ▲                                                              │
//!                                        └──────────── those that failed, after a pause ◄───────────────┘
//! ```
//!
//! Always holds: for a transactional id, markers are never on their way twice: what a shard orders that was loaded anew waits until
//! the order before has ended, whose outcome nobody hears of then. So a marker that is late cannot end the transaction after the
//! one that it was meant for, which a producer of version 1 begins in the same epoch. Only the load of a shard that has ordered is
//! told what became of it. There are no more orders than transactions that are being ended.
//!
//! Which partition failed is told to the shard, which orders it again, with how often in a row that was. The first failure, the tenth
//! and so on are told in the log: until the last marker is written, readers of committed records and the producer wait.
//!
//! Next: `markers.rs` for the way into the partitions; `klamm_coordinator::transaction` for what is ordered when.

use std::collections::BTreeMap;
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, Either, select};
use futures_util::stream::FuturesUnordered;
use klamm_coordinator::TransactionalProducer;
use klamm_coordinator::transaction::request::{AbortTimedOut, MarkerOutcome, Markers, MarkersReport};
use klamm_coordinator::transaction::{TransactionEffect, TransactionRequest};
use klamm_env::Task;
use klamm_model::{ErrorCode, TimestampMs, TopicPartition};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::broker::Broker;
use crate::coordinators::markers::{Marker, write_markers};
use crate::coordinators::runtime::Place;

/// Before markers that could not be written are tried again: at first, at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// What a shard wants done.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) from: Place,
    pub(super) effect: TransactionEffect,
}

/// What is ordered.
#[derive(Debug, Default)]
pub(super) struct Orders {
    /// And not begun.
    waiting: Mutex<Vec<Order>>,
    told: Notify,
    /// The transactional ids whose markers are on their way.
    underway: Mutex<BTreeMap<Arc<str>, Underway>>,
}

/// Markers on their way.
#[derive(Debug)]
struct Underway {
    /// When it was decided that the transaction ends.
    since: TimestampMs,
    /// What is to be sent next.
    next: Option<(Place, Markers)>,
}

impl Orders {
    pub(super) fn put(&self, order: Order) {
        self.waiting.lock().push(order);
        self.told.notify_one();
    }

    fn take(&self) -> Vec<Order> {
        std::mem::take(&mut *self.waiting.lock())
    }

    /// How many transactions are being ended since before `time`.
    pub(super) fn older_than(&self, time: TimestampMs) -> usize {
        let underway = self.underway.lock();
        underway.values().filter(|underway| underway.since < time).count()
    }
}

/// Something that is done, and what it ends with.
type Job = BoxFuture<'static, Ended>;

/// What a shard is told.
enum Ended {
    Markers(Place, Report),
    /// A producer id was drawn, or could not be: then the shard asks for it again.
    Draw(Place, Option<AbortTimedOut>),
}

/// What became of markers.
struct Report {
    transactional_id: Arc<str>,
    producer: TransactionalProducer,
    outcomes: Vec<(TopicPartition, MarkerOutcome)>,
}

/// Starts working off the orders, for as long as the node runs.
pub(crate) fn start(broker: &Arc<Broker>) -> Task<()> {
    let sending = run(broker.clone());
    broker.vitals.spawn(&broker.env, "writes markers", sending)
}

async fn run(broker: Arc<Broker>) {
    let mut sending = Sending {
        broker: broker.clone(),
        jobs: FuturesUnordered::new(),
    };
    let orders = &broker.transactions.coordinator().orders;
    loop {
        let ended = {
            let ended = pin!(sending.next_ended());
            let told = pin!(orders.told.notified());
            match select(ended, told).await {
                Either::Left((ended, _)) => Some(ended),
                Either::Right(_) => None,
            }
        };
        match ended {
            Some(ended) => sending.ended(ended),
            None => orders.take().into_iter().for_each(|order| sending.begin(order)),
        }
    }
}

struct Sending {
    broker: Arc<Broker>,
    jobs: FuturesUnordered<Job>,
}

impl Sending {
    fn underway(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Underway>> {
        self.broker.transactions.coordinator().orders.underway.lock()
    }

    async fn next_ended(&mut self) -> Ended {
        match self.jobs.next().await {
            Some(ended) => ended,
            None => pending().await,
        }
    }

    fn begin(&mut self, Order { from, effect }: Order) {
        match effect {
            TransactionEffect::WriteMarkers(markers) => {
                let mut all = self.underway();
                match all.get_mut(&markers.transactional_id) {
                    Some(underway) => underway.next = Some((from, markers)),
                    None => {
                        let (since, next) = (markers.since, None);
                        all.insert(markers.transactional_id.clone(), Underway { since, next });
                        drop(all);
                        self.send(from, markers);
                    }
                }
            }
            TransactionEffect::DrawProducerId {
                transactional_id,
                producer,
            } => {
                let broker = self.broker.clone();
                self.jobs.push(Box::pin(async move {
                    let drawn = broker.producer_ids.next(&broker.router).await.ok();
                    let request = drawn.map(|fresh| AbortTimedOut {
                        transactional_id,
                        producer,
                        fresh: Some(fresh),
                    });
                    Ended::Draw(from, request)
                }));
            }
        }
    }

    /// What is to be sent now that the order before has ended.
    fn next(&self, id: &str) -> Option<(Place, Markers)> {
        let mut all = self.underway();
        let underway = all.get_mut(id)?;
        let next = underway.next.take()?;
        underway.since = next.1.since;
        Some(next)
    }

    fn send(&self, from: Place, markers: Markers) {
        let broker = self.broker.clone();
        self.jobs.push(Box::pin(async move {
            if markers.failures > 0 {
                broker.env.sleep(pause(markers.failures)).await;
            }
            let marker = Marker {
                producer: markers.producer,
                coordinator_epoch: from.epoch.0,
                transaction_version: markers.version,
                committed: markers.commit,
            };
            let written = write_markers(&broker, marker, &markers.partitions).await;
            tell_of_failures(&markers, &written);
            let outcomes = written
                .into_iter()
                .map(|(partition, code)| (partition, outcome(code)));
            let report = Report {
                transactional_id: markers.transactional_id,
                producer: markers.producer,
                outcomes: outcomes.collect(),
            };
            Ended::Markers(from, report)
        }));
    }

    fn ended(&mut self, ended: Ended) {
        match ended {
            Ended::Markers(from, report) => match self.next(&report.transactional_id) {
                Some((from, markers)) => self.send(from, markers),
                None => self.report(from, report),
            },
            Ended::Draw(from, Some(request)) => {
                // If that cannot be recorded now, the transaction is found to take too long once more.
                let request = TransactionRequest::AbortTimedOut(request);
                let _asked = self.broker.transactions.report(from, request);
            }
            Ended::Draw(_, None) => {}
        }
    }

    /// Tells the shard. It decides at once; whether that comes to be committed, it finds out itself.
    fn report(&mut self, to: Place, report: Report) {
        let request = TransactionRequest::Markers(MarkersReport {
            transactional_id: report.transactional_id.clone(),
            producer: report.producer,
            outcomes: report.outcomes.clone(),
        });
        match self.broker.transactions.report(to, request) {
            // What follows from it cannot be recorded now.
            Err(ErrorCode::CoordinatorNotAvailable | ErrorCode::UnknownServerError) => {
                let env = self.broker.env.clone();
                self.jobs.push(Box::pin(async move {
                    env.sleep(AGAIN.1).await;
                    Ended::Markers(to, report)
                }));
            }
            // Of a shard that was given up nobody wants to know: the next one orders all of it again.
            Ok(_) | Err(_) => drop(self.underway().remove(&report.transactional_id)),
        }
    }
}

/// How long markers wait that have failed so often in a row.
fn pause(failures: u32) -> Duration {
    let factor = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    AGAIN.0.saturating_mul(factor).min(AGAIN.1)
}

/// Says in the log that markers could not be written, ever more seldom.
fn tell_of_failures(markers: &Markers, written: &[(TopicPartition, ErrorCode)]) {
    let failures = markers.failures.saturating_add(1);
    let failed = || {
        let failed = |(_, code): &&(_, ErrorCode)| outcome(*code) == MarkerOutcome::Failed;
        written.iter().filter(failed)
    };
    let Some((partition, code)) = failed().find(|(_, code)| is_told(failures, *code)) else {
        return;
    };
    let (transactional_id, producer_id) = (&markers.transactional_id, markers.producer.id);
    let others = failed().count() - 1;
    tracing::warn!(%transactional_id, %producer_id, failures, %partition, %code, others, "the end of a transaction cannot be written to a partition: tried again");
}

/// Whether so many failures in a row are worth a line. Where the leader is on its way, or still reads the partition, as after each
/// start, the first is not.
fn is_told(failures: u32, code: ErrorCode) -> bool {
    match failures {
        1 => code != ErrorCode::NotLeaderOrFollower,
        _ => 10_u32.checked_pow(failures.ilog10()) == Some(failures),
    }
}

/// What the answer of a partition's leader means.
fn outcome(code: ErrorCode) -> MarkerOutcome {
    match code {
        ErrorCode::None => MarkerOutcome::Written,
        ErrorCode::InvalidProducerEpoch => MarkerOutcome::Superseded,
        // Nothing is written there in a transaction, whoever has added it.
        ErrorCode::InvalidTopicException => MarkerOutcome::Gone,
        _ => MarkerOutcome::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_that_fail_wait_longer_each_time() {
        let waits = [1, 2, 3, 8, 32, 33, u32::MAX].map(|failures| pause(failures).as_millis());
        assert_eq!(waits, [50, 100, 200, 5_000, 5_000, 5_000, 5_000]);
    }

    #[test]
    fn failures_are_told_ever_more_seldom() {
        let told = |code| {
            let failures = (1..=20_000).chain([u32::MAX]);
            let told = failures.filter(move |failures| is_told(*failures, code));
            told.collect::<Vec<_>>()
        };
        let powers = [1, 10, 100, 1_000, 10_000];
        assert_eq!(told(ErrorCode::KafkaStorageError), powers);
        assert_eq!(
            told(ErrorCode::NotLeaderOrFollower),
            powers[1..],
            "after a start, this is the usual course"
        );
    }

    #[test]
    fn a_marker_of_a_later_epoch_says_that_this_one_is_not_needed() {
        let cases = [
            (ErrorCode::None, MarkerOutcome::Written),
            (ErrorCode::InvalidProducerEpoch, MarkerOutcome::Superseded),
            (ErrorCode::InvalidTopicException, MarkerOutcome::Gone),
            (ErrorCode::TransactionCoordinatorFenced, MarkerOutcome::Failed),
            (ErrorCode::NotLeaderOrFollower, MarkerOutcome::Failed),
            (ErrorCode::UnknownTopicOrPartition, MarkerOutcome::Failed),
            (ErrorCode::KafkaStorageError, MarkerOutcome::Failed),
        ];
        for (code, expected) in cases {
            assert_eq!(outcome(code), expected, "{code:?}");
        }
    }
}
