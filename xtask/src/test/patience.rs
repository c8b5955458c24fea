//! Waiting for what Kafka answers early.
//!
//! Always: Klamm answers a change when it is true, so it is looked at once. Kafka answers one before all of it shows, and
//! gets more chances, but only so many in a scenario: what is wrong there fails in the end.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::broker::Kind;

/// How long Kafka gets in all, on a slow machine that is busy with other things.
const ALL: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);

/// What is left of it.
pub(super) struct Patience {
    left: Duration,
    pause: Duration,
}

impl Patience {
    pub(super) fn with(kind: Kind) -> Self {
        let left = match kind {
            Kind::Klamm => Duration::ZERO,
            Kind::Kafka => ALL,
        };
        Patience { left, pause: PAUSE }
    }

    /// What `work` says, which is one that may be repeated after it failed. The first failure is told too.
    pub(super) fn wait_for<T>(&mut self, work: impl Fn() -> Result<T>) -> Result<T> {
        let first = match work() {
            Err(error) if !self.left.is_zero() => error,
            result => return result,
        };
        loop {
            let start = Instant::now();
            thread::sleep(self.pause);
            let result = work();
            self.left = self.left.saturating_sub(start.elapsed());
            if result.is_ok() || self.left.is_zero() {
                return result.with_context(|| format!("at first: {first:#}; at last"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use anyhow::ensure;

    use super::*;

    /// Work that is good at its third time.
    fn third(times: &Cell<u32>) -> Result<u32> {
        times.set(times.get() + 1);
        ensure!(times.get() >= 3, "time {}", times.get());
        Ok(times.get())
    }

    #[test]
    fn kafka_gets_more_chances_and_klamm_one() {
        let times = Cell::new(0);
        let mut patience = Patience {
            pause: Duration::ZERO,
            ..Patience::with(Kind::Kafka)
        };
        assert_eq!(patience.wait_for(|| third(&times)).unwrap(), 3);
        times.set(0);
        assert!(Patience::with(Kind::Klamm).wait_for(|| third(&times)).is_err());
        assert_eq!(times.get(), 1);
    }

    #[test]
    fn what_never_comes_true_fails_and_says_what_it_said() {
        let mut patience = Patience {
            left: Duration::from_nanos(1),
            pause: Duration::ZERO,
        };
        let times = Cell::new(0);
        let error = format!("{:#}", patience.wait_for(|| third(&times)).unwrap_err());
        assert!(error.contains("time 1") && error.contains("time 2"), "{error}");
    }
}
