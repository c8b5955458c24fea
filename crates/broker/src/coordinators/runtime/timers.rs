//! The timers of a shard: what rings when.
//!
//! Always holds: a key is set once at most; what is due rings in the order of its time, and among equals in that of the keys.
//! A timer that is moved to later, as each heartbeat does, is looked at again when its earlier time has come, and not before:
//! that takes no memory. One that is held does not ring before it is begun, by the hold that is its last change.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// See the head of the file. Times are those of the monotonic clock.
#[derive(Debug)]
pub(super) struct Timers<T> {
    by_key: BTreeMap<T, Due>,
    by_time: BTreeSet<(Duration, T)>,
    holds: u64,
}

/// What a timer that is held is begun by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hold(u64);

#[derive(Clone, Copy, Debug)]
struct Due {
    rings: Rings,
    /// Its place in the order of times, if it has one; never later than when it rings.
    entered: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rings {
    At(Duration),
    NotYet(Hold),
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self {
            by_key: BTreeMap::new(),
            by_time: BTreeSet::new(),
            holds: 0,
        }
    }
}

impl<T: Ord + Clone> Timers<T> {
    /// Rings once at `at`; what was set under the key before does not.
    pub(super) fn set(&mut self, key: T, at: Duration) {
        let due = Due {
            rings: Rings::At(at),
            entered: Some(at),
        };
        let Some(known) = self.by_key.get_mut(&key) else {
            self.by_time.insert((at, key.clone()));
            self.by_key.insert(key, due);
            return;
        };
        match known.entered {
            Some(entered) if entered <= at => known.rings = Rings::At(at),
            Some(entered) => {
                *known = due;
                let (_, key) = self
                    .by_time
                    .take(&(entered, key))
                    .expect("a timer stands in both orders");
                self.by_time.insert((at, key));
            }
            None => {
                *known = due;
                self.by_time.insert((at, key));
            }
        }
    }

    /// Does not ring before it is [begun](Self::begin); what was set under the key before does not ring.
    pub(super) fn hold(&mut self, key: T) -> Hold {
        self.holds += 1;
        let hold = Hold(self.holds);
        let rings = Rings::NotYet(hold);
        match self.by_key.get_mut(&key) {
            Some(known) => known.rings = rings,
            None => {
                self.by_key.insert(key, Due { rings, entered: None });
            }
        }
        hold
    }

    /// Rings once at `at`, unless something has happened to the timer since it was held.
    pub(super) fn begin(&mut self, key: T, hold: Hold, at: Duration) {
        if self
            .by_key
            .get(&key)
            .is_some_and(|due| due.rings == Rings::NotYet(hold))
        {
            self.set(key, at);
        }
    }

    /// Does not ring.
    pub(super) fn cancel(&mut self, key: T) {
        if let Some(due) = self.by_key.remove(&key)
            && let Some(entered) = due.entered
        {
            self.by_time.remove(&(entered, key));
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
            match due.rings {
                Rings::At(at) if at == entered => {
                    self.by_key.remove(&key);
                    return Some(key);
                }
                Rings::At(at) => {
                    due.entered = Some(at);
                    self.by_time.insert((at, key));
                }
                Rings::NotYet(_) => due.entered = None,
            }
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

    #[test]
    fn one_that_is_held_rings_when_its_last_hold_was_begun() {
        let mut timers = Timers::default();
        for key in ["begun", "cancelled", "held again", "never", "set"] {
            timers.set(key, at(10));
        }
        let keys = ["begun", "cancelled", "held again", "new", "set"];
        let holds = keys.map(|key| timers.hold(key));
        timers.hold("never");
        assert_eq!(
            rung(&mut timers, 20),
            [""; 0],
            "what was set before does not ring"
        );
        assert_eq!(timers.next(), None);
        timers.cancel("cancelled");
        timers.set("set", at(50));
        let again = timers.hold("held again");
        for (key, hold) in keys.into_iter().zip(holds) {
            timers.begin(key, hold, at(30));
        }
        assert_eq!(rung(&mut timers, 40), ["begun", "new"]);
        timers.begin("held again", again, at(45));
        assert_eq!(rung(&mut timers, 60), ["held again", "set"]);
        timers.cancel("never");
        assert!(timers.by_key.is_empty() && timers.by_time.is_empty());

        // Begun before the time that was set before it was held.
        timers.set("sooner", at(100));
        let hold = timers.hold("sooner");
        timers.begin("sooner", hold, at(70));
        assert_eq!(rung(&mut timers, 80), ["sooner"]);
        assert!(timers.by_key.is_empty() && timers.by_time.is_empty());
    }
}
