//! A crash after every single change to the disk: what a test of anything that writes files runs.
//!
//! Always holds: [`crash_everywhere`] plays a [`Scenario`] anew for each change it makes and each way of losing the machine, and
//! once more with a second crash while the first is recovered from. The scenario says what must be there; that it makes changes at
//! all is checked.
//!
//! Who adds something that writes files adds a scenario: [`History`] for steps of one log, or one of its own.

use klamm_env::sim::disk::{CrashMode, Disk};

use crate::error::LogError;
use crate::life::{Life, Step, config};

/// What is crashed.
pub(crate) trait Scenario {
    /// The disk under it.
    fn disk(&self) -> &Disk;
    /// Does all there is to do, up to the first call that fails.
    fn work(&mut self) -> Result<(), LogError>;
    /// Begins the next life of the machine and panics if what must be there is not, or what must not be is. Fails only if the
    /// machine goes down again.
    fn recover(&mut self) -> Result<(), LogError>;
}

/// The ways in which a machine is lost: the process alone, or power with none or any part of what was not synced, in any order and torn
/// at any sector.
const MODES: [CrashMode; 6] = [
    CrashMode::KeepPageCache,
    CrashMode::DropUnsynced,
    CrashMode::Torn { seed: 1 },
    CrashMode::Torn { seed: 2 },
    CrashMode::Torn { seed: 3 },
    CrashMode::Torn { seed: 4 },
];

/// Crashes the scenario after each of its changes, and again at some change of the recovery; returns how many changes there were.
pub(crate) fn crash_everywhere<S: Scenario>(begin: impl Fn() -> S) -> u64 {
    let mut most = 0;
    for mode in MODES {
        let mut changes = 0;
        while crash_after(&begin, mode, changes) {
            changes += 1;
        }
        assert!(changes > 3, "{mode:?}: the scenario changes hardly anything");
        most = most.max(changes);
    }
    most
}

/// Whether the machine went down: else the scenario has come to its end.
fn crash_after<S: Scenario>(begin: &impl Fn() -> S, mode: CrashMode, changes: u64) -> bool {
    let mut scenario = begin();
    let disk = scenario.disk().clone();
    disk.crash_after(changes);
    let worked = scenario.work();
    if !disk.is_down() {
        worked.unwrap_or_else(|error| panic!("{mode:?}: {error}, and the machine is well"));
        disk.crash(mode);
        must_recover(&mut scenario, mode, changes);
        return false;
    }
    disk.crash(mode);
    // A recovery of ever another length is cut short.
    disk.crash_after(changes % 13);
    if scenario.recover().is_err() {
        assert!(
            disk.is_down(),
            "{mode:?} after {changes} changes: the recovery fails by itself"
        );
        disk.crash(mode);
        must_recover(&mut scenario, mode, changes);
    }
    true
}

fn must_recover(scenario: &mut impl Scenario, mode: CrashMode, changes: u64) {
    if let Err(error) = scenario.recover() {
        panic!("{mode:?} after {changes} changes: {error}");
    }
}

/// Steps of one log, beside its model.
pub(crate) struct History {
    life: Life,
    steps: &'static [Step],
}

impl History {
    /// A new log to which these steps happen.
    pub(crate) fn new(steps: &'static [Step]) -> Self {
        let mut life = Life::new(config());
        life.open().unwrap();
        Self { life, steps }
    }
}

impl Scenario for History {
    fn disk(&self) -> &Disk {
        &self.life.disk
    }

    fn work(&mut self) -> Result<(), LogError> {
        self.steps.iter().try_for_each(|step| self.life.run(step))
    }

    /// The log is as the model says, and goes on.
    fn recover(&mut self) -> Result<(), LogError> {
        self.life.open()?;
        self.life.run(&Step::Append(1, 10))?;
        self.life.run(&Step::CloseAndOpen)
    }
}

#[cfg(test)]
mod tests;
