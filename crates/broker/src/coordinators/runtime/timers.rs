//! The timers of a shard: what rings when.
//!
//! Always holds: a key is set once at most; what is due rings in the order of its time, and among equals in that of the keys.
//! A timer that is moved to later, as each heartbeat does, is looked at again when its earlier time has come, and not before:
//! that takes no memory.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// See the head of the file. Times are those of the monotonic clock.
#[derive(Debug)]
pub(super) struct Timers<T> {
    by_key: BTreeMap<T, Due>,
    by_time: BTreeSet<(Duration, T)>,
}

#[derive(Clone, Copy, Debug)]
struct Due {
    at: Duration,
    /// Its place in the order of times; never later than `at`.
    entered: Duration,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self {
            by_key: BTreeMap::new(),
            by_time: BTreeSet::new(),
        }
    }
}

impl<T: Ord + Clone> Timers<T> {
    /// Rings once at `at`; what was set under the key before does not.
    pub(super) fn set(&mut self, key: T, at: Duration) {
        if let Some(due) = self.by_key.get_mut(&key) {
            due.at = at;
            if due.entered <= at {
                return;
            }
            let entered = std::mem::replace(&mut due.entered, at);
            let (_, key) = self
                .by_time
                .take(&(entered, key))
                .expect("a timer stands in both orders");
            self.by_time.insert((at, key));
            return;
        }
        self.by_time.insert((at, key.clone()));
        self.by_key.insert(key, Due { at, entered: at });
    }

    /// Does not ring.
    pub(super) fn cancel(&mut self, key: T) {
        if let Some(due) = self.by_key.remove(&key) {
            self.by_time.remove(&(due.entered, key));
        }
    }

    /// When to look again.
    pub(super) fn next(&self) -> Option<Duration> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// The next timer whose time has come; it is no longer set.
    pub(super) fn ring(&mut self, now: Duration) -> Option<T> {
        while self.next().is_some_and(|at| at <= now) {
            let (entered, key) = self.by_time.pop_first()?;
            let due = self.by_key.get_mut(&key)?;
            if due.at == entered {
                self.by_key.remove(&key);
                return Some(key);
            }
            due.entered = due.at;
            self.by_time.insert((due.at, key));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn rung(timers: &mut Timers<&'static str>, now: u64) -> Vec<&'static str> {
        std::iter::from_fn(|| timers.ring(at(now))).collect()
    }

    #[test]
    fn what_is_due_rings_once_in_the_order_of_time_and_key() {
        let mut timers = Timers::default();
        for (key, time) in [("d", 30), ("b", 20), ("a", 20), ("c", 10), ("e", 99)] {
            timers.set(key, at(time));
        }
        timers.cancel("d");
        timers.cancel("nobody");
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!(rung(&mut timers, 9), [""; 0]);
        assert_eq!(rung(&mut timers, 30), ["c", "a", "b"]);
        assert_eq!(rung(&mut timers, 30), [""; 0]);
        assert_eq!(timers.next(), Some(at(99)));
    }

    #[test]
    fn one_that_is_moved_rings_at_its_new_time_alone() {
        let mut timers = Timers::default();
        timers.set("later", at(10));
        timers.set("other", at(20));
        timers.set("sooner", at(50));
        timers.set("later", at(40));
        timers.set("sooner", at(15));
        assert_eq!(rung(&mut timers, 12), [""; 0]);
        assert_eq!(rung(&mut timers, 60), ["sooner", "other", "later"]);
        timers.set("later", at(70));
        timers.set("later", at(80));
        timers.cancel("later");
        assert_eq!(rung(&mut timers, 99), [""; 0]);
        assert!(timers.by_key.is_empty() && timers.by_time.is_empty());
    }
}
