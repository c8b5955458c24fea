//! How long something took, as a histogram with fixed bounds, of which each thread has its own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::per_thread::PerThread;

/// Upper bounds in microseconds; one more bucket takes the rest.
const BOUNDS_US: [u64; 14] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 2_500_000, 10_000_000,
];

/// A histogram of durations.
#[derive(Debug, Default)]
pub(super) struct Timing {
    copies: PerThread<OfThread>,
}

/// What one thread has counted.
#[derive(Debug, Default)]
struct OfThread {
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

/// A histogram at one moment.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    /// The upper bound of each bucket, and how many fell into it.
    pub(super) buckets: [(f64, u64); BOUNDS_US.len() + 1],
    pub(super) sum_seconds: f64,
}

impl Snapshot {
    /// How many there were.
    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }
}

impl Timing {
    pub(super) fn record(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
        let own = self.copies.own();
        own.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        own.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let bounds = BOUNDS_US.iter().map(|us| *us as f64 / 1e6).chain([f64::INFINITY]);
        let mut buckets = [(0.0, 0); BOUNDS_US.len() + 1];
        for (at, (slot, bound)) in buckets.iter_mut().zip(bounds).enumerate() {
            let counts = self
                .copies
                .all()
                .map(|copy| copy.buckets[at].load(Ordering::Relaxed));
            *slot = (bound, counts.sum());
        }
        let sums = self.copies.all().map(|copy| copy.sum_us.load(Ordering::Relaxed));
        Snapshot {
            buckets,
            sum_seconds: sums.sum::<u64>() as f64 / 1e6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_the_bucket_of_the_next_bound() {
        let timing = Timing::default();
        for us in [0, 50, 51, 10_000_000, 10_000_001] {
            timing.record(Duration::from_micros(us));
        }
        let snapshot = timing.snapshot();
        assert_eq!(
            snapshot.buckets[..3],
            [(0.000_05, 2), (0.000_1, 1), (0.000_25, 0)]
        );
        assert_eq!(snapshot.buckets[13..], [(10.0, 1), (f64::INFINITY, 1)]);
        assert_eq!(snapshot.count(), 5);
        assert!((snapshot.sum_seconds - 20.000_102).abs() < 1e-9);
    }
}
