//! What happens to the node between two of its lives.

use std::time::Duration;

use klamm_env::sim::{CrashMode, SeededRng};

use super::{BROKER, Failure, PATIENCE, Stage, Until};

/// How a life of the node ends, or what disturbs it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// It ends after some time.
    After(Duration, CrashMode),
    /// It ends at some change that it makes to its disk.
    AtChange(u64, CrashMode),
    /// It is told to stop after some time, and does.
    Stops(Duration),
    /// The links of a client are cut for some time, and the node lives on.
    CutOff(Duration),
    /// The wall clock is set to another time, and the node lives on.
    Clock(i64),
}

impl Fate {
    pub(crate) fn draw(rng: &SeededRng, power_fails: bool) -> Self {
        let some_time = Duration::from_millis(rng.below(1_500));
        match rng.below(10) {
            0..=3 => Self::After(some_time, mode(rng, power_fails)),
            4..=6 => Self::AtChange(rng.below(400), mode(rng, power_fails)),
            7 => Self::Stops(some_time),
            8 => Self::CutOff(Duration::from_millis(rng.below(7_000))),
            _ => Self::Clock(rng.below(3_600_000) as i64 - 1_800_000),
        }
    }

    /// An end at a time at which the node is still coming up.
    pub(crate) fn early(rng: &SeededRng, power_fails: bool) -> Self {
        if rng.one_in(2) {
            Self::AtChange(rng.below(60), mode(rng, power_fails))
        } else {
            Self::After(Duration::from_millis(rng.below(100)), mode(rng, power_fails))
        }
    }
}

fn mode(rng: &SeededRng, power_fails: bool) -> CrashMode {
    let seed = rng.next();
    match rng.below(3) {
        0 if power_fails => CrashMode::DropUnsynced,
        1 if power_fails => CrashMode::Torn { seed },
        _ => CrashMode::KeepPageCache,
    }
}

impl Stage {
    /// Lets the present life meet its fate; afterwards the node lives again. `client` is the one that may be cut off.
    pub(crate) fn meet(&mut self, fate: Fate, client: &str) -> Result<(), Failure> {
        match fate {
            Fate::After(time, mode) => {
                self.advance(time, Until::Time)?;
                self.end(mode);
            }
            Fate::AtChange(changes, mode) => {
                let disk = self.simulation.world().disk(BROKER);
                disk.crash_after(changes);
                self.advance(Duration::from_secs(5), Until::Time)?;
                self.end(mode);
            }
            Fate::Stops(time) => {
                self.advance(time, Until::Time)?;
                self.stop()?;
            }
            Fate::CutOff(time) => {
                self.simulation.partition(client, BROKER);
                self.advance(time, Until::Time)?;
                self.simulation.repair(client, BROKER);
            }
            Fate::Clock(by_ms) => {
                self.simulation.jump_clock(BROKER, by_ms);
                self.advance(Duration::from_millis(200), Until::Time)?;
            }
        }
        Ok(())
    }

    /// Tells the node to stop; it must do so in order, and then has nothing left to lose.
    fn stop(&mut self) -> Result<(), Failure> {
        self.stop.notify_one();
        let end = self.simulation.elapsed() + PATIENCE;
        loop {
            self.simulation.step()?;
            match self.simulation.ended(BROKER) {
                Some(Ok(())) => break,
                Some(ended) => return Err(Failure::Ended(ended)),
                None if self.simulation.elapsed() >= end => return Err(Failure::Stuck),
                None => {}
            }
        }
        self.end_worst();
        Ok(())
    }
}
