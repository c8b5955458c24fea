//! What the broker counts, in Prometheus' terms; `/metrics` shows it.
//!
//! Always holds: counting on the way of a request is a few relaxed additions to counters that are the thread's own: no lock, no
//! allocation, no look-up by name.
//! Durations are in seconds and sizes in bytes; each metric is described once, in [`table`].
//!
//! Here are the counters. [`errors`] finds the error codes in answers, [`observe`] asks the broker's parts for the rest at
//! the moment of a scrape, [`page`] puts both into the rows of the table, and [`health`] says whether the broker can be
//! used.

mod errors;
mod health;
mod observe;
mod page;
mod per_thread;
mod process;
mod reference;
mod requests;
mod table;
mod timing;

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use klamm_net::{NetMetrics, Refused};

pub use self::health::Health;
use self::per_thread::PerThread;
pub use self::reference::metrics_reference;
pub(crate) use self::requests::{Phases, RequestMetrics};
use crate::broker::Broker;

/// Listeners that are counted apart; all others are counted as one.
const MAX_LISTENERS: usize = 16;
/// What stands in the place of names that are too many. No listener and no topic is called so.
const OTHERS: &str = "(others)";

/// All counters of a broker.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) requests: RequestMetrics,
    pub(crate) topics: TopicMetrics,
    pub(crate) net: ConnectionMetrics,
}

/// The sum of what the threads have counted.
fn sum<T>(copies: &PerThread<T>, counter: impl Fn(&T) -> &AtomicU64) -> u64 {
    copies
        .all()
        .map(|copy| counter(copy).load(Ordering::Relaxed))
        .sum()
}

/// Shows a broker from outside, for as long as it lives: its metrics and its health. A clone shows the same broker.
#[derive(Clone)]
pub struct Observer {
    broker: Arc<Broker>,
}

impl Observer {
    pub(crate) fn new(broker: Arc<Broker>) -> Self {
        Self { broker }
    }

    /// All metrics in the text format of OpenMetrics 1.0. Reads files and takes the locks of all partitions, one after
    /// another, on a thread that may block.
    pub async fn metrics(&self) -> String {
        let broker = self.broker.clone();
        self.broker.env.blocking(move || render(&broker)).await
    }

    /// How the broker is.
    pub fn health(&self) -> Health {
        health::of(&self.broker)
    }
}

/// All metrics of `broker` in the text format of OpenMetrics 1.0. Blocks.
pub(crate) fn render(broker: &Broker) -> String {
    page::text(page::rows(&broker.metrics, &observe::observe(broker)))
}

/// Records in and out.
#[derive(Debug, Default)]
pub(crate) struct TopicMetrics {
    copies: PerThread<RecordCounters>,
}

#[derive(Debug, Default)]
struct RecordCounters {
    produced_records: AtomicU64,
    produced_batches: AtomicU64,
    produced_bytes: AtomicU64,
    fetched_bytes: AtomicU64,
    fetched_records: AtomicU64,
}

impl TopicMetrics {
    /// A batch was appended.
    pub(crate) fn produced(&self, records: i32, bytes: usize) {
        let own = self.copies.own();
        own.produced_batches.fetch_add(1, Ordering::Relaxed);
        own.produced_records
            .fetch_add(u64::try_from(records).unwrap_or(0), Ordering::Relaxed);
        own.produced_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Batches are sent to a client, up to so many offsets behind the one it asked for.
    pub(crate) fn fetched(&self, records: u64, bytes: usize) {
        let own = self.copies.own();
        own.fetched_records.fetch_add(records, Ordering::Relaxed);
        own.fetched_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Connections and their bytes.
#[derive(Debug, Default)]
pub(crate) struct ConnectionMetrics {
    /// Filled from the front, each once; one more than are counted apart.
    listeners: [OnceLock<ListenerMetrics>; MAX_LISTENERS + 1],
    bytes: PerThread<ByteCounters>,
}

#[derive(Debug, Default)]
struct ByteCounters {
    received: AtomicU64,
    sent: AtomicU64,
}

/// The connections of one listener.
#[derive(Debug, Default)]
struct ListenerMetrics {
    name: String,
    opened: AtomicU64,
    closed: AtomicU64,
    refused_full: AtomicU64,
    refused_address: AtomicU64,
}

impl ListenerMetrics {
    fn called(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }
}

impl ConnectionMetrics {
    fn of(&self, listener: &str) -> &ListenerMetrics {
        let (last, apart) = self.listeners.split_last().expect("there is at least one place");
        let find = |place: &'_ OnceLock<ListenerMetrics>| {
            place.get_or_init(|| ListenerMetrics::called(listener)).name == listener
        };
        match apart.iter().position(find).and_then(|at| apart[at].get()) {
            Some(metrics) => metrics,
            None => last.get_or_init(|| ListenerMetrics::called(OTHERS)),
        }
    }

    /// The listeners that were used so far.
    fn listeners(&self) -> impl Iterator<Item = &ListenerMetrics> {
        self.listeners.iter().filter_map(OnceLock::get)
    }
}

impl NetMetrics for Metrics {
    fn opened(&self, listener: &str) {
        self.net.of(listener).opened.fetch_add(1, Ordering::Relaxed);
    }

    fn closed(&self, listener: &str) {
        self.net.of(listener).closed.fetch_add(1, Ordering::Relaxed);
    }

    fn refused(&self, listener: &str, why: &Refused) {
        let metrics = self.net.of(listener);
        let counter = match why {
            Refused::Full(_) => &metrics.refused_full,
            Refused::Address { .. } => &metrics.refused_address,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn received(&self, bytes: usize) {
        let own = self.net.bytes.own();
        own.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn sent(&self, bytes: usize) {
        let own = self.net.bytes.own();
        own.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn answered(&self, kind: i16, took: Duration) {
        self.requests.sent(kind, took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_counted_apart_until_they_are_too_many() {
        let metrics = Metrics::default();
        for _ in 0..2 {
            for n in 0..MAX_LISTENERS + 2 {
                metrics.opened(&format!("L{n}"));
            }
        }
        metrics.closed("L0");
        metrics.refused("L1", &Refused::Full(1));
        let counts: Vec<_> = metrics
            .net
            .listeners()
            .map(|l| {
                let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
                (
                    l.name.as_str(),
                    load(&l.opened),
                    load(&l.closed),
                    load(&l.refused_full),
                )
            })
            .collect();
        assert_eq!(counts.len(), MAX_LISTENERS + 1);
        assert_eq!(counts[0], ("L0", 2, 1, 0));
        assert_eq!(counts[1], ("L1", 2, 0, 1));
        assert_eq!(counts[MAX_LISTENERS], (OTHERS, 4, 0, 0));
    }
}
