//! When the broker dies.
//!
//! Always holds: one seed is one schedule. Two of three kills come while records are acknowledged, the others soon after
//! the last kill, while the broker is still starting or reading what the last one left.

use std::time::Duration;

use klamm_env::sim::SeededRng;

/// A kill to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kill {
    /// So long after the broker has acknowledged something.
    AtWork(Duration),
    /// So long after it was started.
    AtTheStart(Duration),
}

/// The longest time between an acknowledgement and the kill.
const AT_WORK_US: u64 = 1_200_000;
/// The same after a start: some come up in sixty milliseconds, some have not begun by then.
const AT_THE_START_US: u64 = 120_000;

/// The kills that a seed draws.
pub(crate) fn draw(seed: u64, count: u32) -> Vec<Kill> {
    let rng = SeededRng::new(seed, "kills");
    let draw = |_| {
        if rng.one_in(3) {
            Kill::AtTheStart(Duration::from_micros(rng.below(AT_THE_START_US)))
        } else {
            Kill::AtWork(Duration::from_micros(rng.below(AT_WORK_US)))
        }
    };
    (0..count).map(draw).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_schedule_with_kills_of_both_kinds() {
        let kills = draw(7, 50);
        assert_eq!(kills, draw(7, 50));
        assert_ne!(kills, draw(8, 50));
        let at_work = kills
            .iter()
            .filter(|kill| matches!(kill, Kill::AtWork(_)))
            .count();
        assert!((20..45).contains(&at_work), "{at_work} of 50 come at work");
    }
}
