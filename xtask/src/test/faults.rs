//! The group `faults`: what disks and ends do to a broker in a process of its own. Power is cut, the process is killed, the disk is
//! full or read-only, calls fail.
//!
//! Always: what was acknowledged is there afterwards, and nothing that nobody sent; the clients that keep books are those of
//! the groups `kill` and `exactly-once`. A fault that this machine cannot be made to have (it takes root, loop devices, strace) is
//! skipped by its name, and counted.
//!
//! Where to go next: [`crate::power`] cuts the power, [`device`] has disks that refuse, [`folder`] looks at what is left, `cargo
//! xtask crash` (`crate::crash`) goes on for as long as one likes. Damaged files are in `sim/tests/damage.rs`.

mod device;
mod folder;

use std::{path::Path, process::Command};

use anyhow::Result;

use super::{
    Tally,
    check::Checks,
    exactly,
    group::{Ready, Scenario, run_scenario},
    kill, program, python,
};
use crate::{
    broker::{Broker, Disk, Jars, Kind},
    power,
};

/// The group's name.
pub(super) const NAME: &str = "faults";
/// Power cuts of a test, and kills.
const CUTS: u32 = 36;
const KILLS: u32 = 20;
/// How long the bank's power is cut.
const BANK_SECONDS: &str = "15";

/// Segments of a few batches, an index entry for nearly each, and one topic as it comes.
const TOPICS: &[&str] = &[
    "internal.segment.bytes=16384,index.interval.bytes=512,segment.index.bytes=512",
    "internal.segment.bytes=131072",
    "",
];

/// How a broker's life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The power of its disk is cut.
    PowerCut,
    /// The process is killed, and the page cache stays.
    Kill,
}

impl End {
    pub(crate) fn name(self) -> &'static str {
        match self {
            End::PowerCut => "power-cuts",
            End::Kill => "kills",
        }
    }

    /// Why this machine has no such end.
    pub(crate) fn missing(self) -> Option<String> {
        match self {
            End::PowerCut => power::missing(),
            End::Kill => None,
        }
    }

    fn disk(self) -> Disk {
        match self {
            End::PowerCut => Disk::Power,
            End::Kill => Disk::Machine,
        }
    }
}

pub(super) fn prepare(kind: Kind) -> Result<Ready> {
    if kind == Kind::Kafka {
        // What is tried is our own work with disks.
        return Ok(Ready::Scenarios(Vec::new()));
    }
    let books = kill::build()?;
    let mut scenarios = Vec::new();
    for (end, count) in [(End::PowerCut, CUTS), (End::Kill, KILLS)] {
        scenarios.push(match end.missing() {
            None => ends(end, count, &books),
            Some(reason) => Scenario::skipped(end.name(), reason),
        });
    }
    scenarios.push(match power::missing().or_else(python::missing) {
        None => exactly::bank("power-cuts-bank", "consumer", BANK_SECONDS)?.on(Disk::Power),
        Some(reason) => Scenario::skipped("power-cuts-bank", reason),
    });
    scenarios.extend(device::scenarios(&books));
    Ok(Ready::Scenarios(scenarios))
}

/// Producers that keep books while the broker's life ends again and again; then both readers of files look at what is left.
fn ends(end: End, count: u32, books: &Path) -> Scenario {
    let books = books.to_owned();
    let scenario = Scenario::killing(end.name(), move |broker, checks| {
        if end == End::PowerCut {
            checks.check(
                "a cut takes what was not synced, and nothing else",
                power::check_cut,
            );
        }
        let mut command = Command::new(&books);
        command.arg("kills").arg("--kills").arg(count.to_string());
        for topic in TOPICS {
            command.arg("--topic").arg(topic);
        }
        program::run_asking(command, end.name(), broker, checks)?;
        if end == End::PowerCut {
            println!("  the power was cut {} times", broker.cuts());
        }
        look(broker, checks)
    });
    scenario.on(end.disk())
}

/// What Klamm and Kafka say of the folder that a last kill leaves.
fn look(broker: &mut Broker, checks: &mut Checks) -> Result<()> {
    broker.kill()?;
    match Jars::missing() {
        Some(reason) => checks.skipped("dump-log agrees", reason),
        None => {
            let jars = Jars::tools()?;
            checks.check("dump-log agrees", || folder::agree(&jars, &broker.log_dir()));
        }
    }
    Ok(())
}

/// One round of `cargo xtask crash`.
pub(crate) fn round(end: End, count: u32, books: &Path, tally: &mut Tally) {
    let scenario = ends(end, count, books);
    let mut checks = Checks::new(format!("crash/{}", end.name()), tally);
    drop(run_scenario(&scenario, Kind::Klamm, None, &mut checks));
}
