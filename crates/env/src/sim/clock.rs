//! Simulated time and seeded chance.
//!
//! Always holds: within a simulation, time is turmoil's (it moves only when every task of a host waits); outside of one
//! (a test of one crate on a plain runtime) it is that runtime's, which such a test starts paused, plus what
//! [`SimTime::advance`] added. No host ever sees its monotonic clock go back.

use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use klamm_model::TimestampMs;
use parking_lot::Mutex;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use siphasher::sip::SipHasher13;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::clock::{Clock, Rng};

/// The time of a whole world. A clone is the same time.
#[derive(Clone, Debug, Default)]
pub struct SimTime {
    inner: Arc<Mutex<Time>>,
}

#[derive(Debug, Default)]
struct Time {
    /// What was reached by steps of the simulation, or by [`SimTime::advance`].
    reached: Duration,
    /// Turmoil is running a host.
    stepping: bool,
    /// The first reading on a plain runtime.
    origin: Option<Instant>,
    /// The world belongs to a simulation: no other runtime's clock counts.
    simulation: bool,
}

impl SimTime {
    /// Time since the world began.
    pub fn elapsed(&self) -> Duration {
        let mut time = self.inner.lock();
        if time.stepping {
            return turmoil::sim_elapsed().unwrap_or(time.reached);
        }
        if time.simulation || Handle::try_current().is_err() {
            return time.reached;
        }
        let now = Instant::now();
        let origin = *time.origin.get_or_insert(now);
        time.reached + now.saturating_duration_since(origin)
    }

    /// Moves the time of a world that is in no simulation (for tests without a runtime).
    pub fn advance(&self, by: Duration) {
        self.inner.lock().reached += by;
    }

    pub(super) fn belongs_to_simulation(&self) {
        self.inner.lock().simulation = true;
    }

    pub(super) fn begin_step(&self) {
        self.inner.lock().stepping = true;
    }

    pub(super) fn end_step(&self, reached: Duration) {
        let mut time = self.inner.lock();
        time.stepping = false;
        time.reached = reached;
    }
}

/// The clocks of one host. A clone is the same clock.
#[derive(Clone, Debug)]
pub struct HostClock {
    pub(super) time: SimTime,
    start: TimestampMs,
    /// By how much the wall clock was set wrong.
    offset_ms: Arc<AtomicI64>,
    /// The latest that was read, in nanoseconds.
    latest: Arc<AtomicU64>,
}

impl HostClock {
    /// A clock whose wall shows `start` when the world begins.
    pub fn new(time: SimTime, start: TimestampMs) -> Self {
        Self {
            time,
            start,
            offset_ms: Arc::default(),
            latest: Arc::default(),
        }
    }

    /// Sets the wall clock forward, or back.
    pub fn jump(&self, by_ms: i64) {
        self.offset_ms.fetch_add(by_ms, Ordering::Relaxed);
    }
}

impl Clock for HostClock {
    fn now(&self) -> TimestampMs {
        let ran_ms = i64::try_from(self.monotonic().as_millis()).unwrap_or(i64::MAX);
        self.start
            .plus_ms(ran_ms)
            .plus_ms(self.offset_ms.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        let now = u64::try_from(self.time.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let before = self.latest.fetch_max(now, Ordering::Relaxed);
        Duration::from_nanos(now.max(before))
    }
}

/// The random numbers of one host. A clone draws from the same sequence.
#[derive(Clone, Debug)]
pub struct SeededRng {
    inner: Arc<Mutex<Xoshiro256PlusPlus>>,
}

impl SeededRng {
    /// The sequence that `seed` and `name` (of a host, a purpose) give.
    pub fn new(seed: u64, name: &str) -> Self {
        let mut hasher = SipHasher13::new_with_keys(seed, 0);
        hasher.write(name.as_bytes());
        Self {
            inner: Arc::new(Mutex::new(Xoshiro256PlusPlus::seed_from_u64(hasher.finish()))),
        }
    }

    /// The next number.
    pub fn next(&self) -> u64 {
        self.inner.lock().next_u64()
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub fn below(&self, bound: u64) -> u64 {
        // The bias of the remainder is below 2^-32 for every bound that occurs here.
        self.next().checked_rem(bound).unwrap_or(0)
    }

    /// True once in `n` times.
    pub fn one_in(&self, n: u64) -> bool {
        self.below(n) == 0
    }
}

impl Rng for SeededRng {
    fn fill(&self, bytes: &mut [u8]) {
        self.inner.lock().fill_bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_jumps_and_the_monotonic_one_does_not() {
        let time = SimTime::default();
        let clock = HostClock::new(time.clone(), TimestampMs(1_000));
        time.advance(Duration::from_millis(5));
        assert_eq!(clock.now(), TimestampMs(1_005));
        clock.jump(-700);
        assert_eq!(clock.now(), TimestampMs(305));
        assert_eq!(clock.monotonic(), Duration::from_millis(5));
    }

    #[tokio::test(start_paused = true)]
    async fn on_a_plain_runtime_time_is_that_of_the_runtime() {
        let clock = HostClock::new(SimTime::default(), TimestampMs(0));
        clock.now();
        crate::task::sleep(Duration::from_secs(90)).await;
        assert_eq!(clock.now(), TimestampMs(90_000));
    }

    #[test]
    fn a_seed_and_a_name_give_a_sequence() {
        let draw = |seed, name| {
            let rng = SeededRng::new(seed, name);
            [rng.next(), rng.next()]
        };
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
        let rng = SeededRng::new(1, "a");
        assert!((0..100).all(|_| rng.below(3) < 3));
        assert_eq!(rng.below(0), 0);
    }
}
