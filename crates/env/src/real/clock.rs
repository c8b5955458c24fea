//! The machine's clocks and random numbers.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use klamm_model::TimestampMs;

use crate::clock::{Clock, Rng};

/// The kernel's clocks. The monotonic one counts from the making of this value.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> TimestampMs {
        // A clock that is set before 1970 reads as 1970: the formats have no use for a negative time.
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        TimestampMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// The kernel's random numbers.
#[derive(Clone, Copy, Debug)]
pub struct SystemRng;

impl Rng for SystemRng {
    fn fill(&self, bytes: &mut [u8]) {
        super::fill_random(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_run() {
        let clock = SystemClock::default();
        assert!(clock.now().0 > 1_700_000_000_000);
        let before = clock.monotonic();
        assert!(clock.monotonic() >= before);
    }
}
