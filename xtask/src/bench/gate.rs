//! The quietness gate: whether the machine is as it was at the start, asked before each run.
//!
//! Always holds: a reading is a spin on every processor at once (a build next door, a hypervisor that gives less) and
//! small synced writes (a disk that somebody else uses, pages of the last run that are still written back). Each is
//! compared with the median of several taken at the start. What happens *during* a run the gate cannot see: the run
//! counts the processor time of the whole machine beside its own ([`super::probe::Machine`]).

use std::{
    fmt,
    fs::File,
    hint::black_box,
    io::Write,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde::Serialize;

use super::statistics::median;

/// Some ten milliseconds of work, even without optimisation.
const SPIN_STEPS: u32 = 500_000;
/// Readings that make the baseline.
const BASELINE_READINGS: usize = 9;
/// Times that one reading takes of each kind; their median counts.
const REPEATS: usize = 5;
/// How much longer than at the start the spin may take.
const SPIN_LIMIT: f64 = 1.15;
/// How much longer the synced write may take: a device varies more than a processor.
const SYNC_LIMIT: f64 = 3.0;
/// The share of the machine that others may use during a run.
const FOREIGN_LIMIT: f64 = 0.10;
/// How often the gate looks again before it lets a run begin on a noisy machine, and how long it waits before.
const LOOKS: usize = 5;
const PAUSE: Duration = Duration::from_secs(2);

/// What the machine was seen to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Reading {
    spin_ms: f64,
    sync_ms: f64,
}

/// Whether a run counts.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Quiet,
    Noisy(String),
}

impl Verdict {
    pub(super) fn is_quiet(&self) -> bool {
        *self == Verdict::Quiet
    }

    /// Quiet before the run, and quiet during it: `foreign` is the share of the machine that others used.
    pub(super) fn and_during(self, foreign: f64) -> Self {
        if self.is_quiet() && foreign > FOREIGN_LIMIT {
            return Verdict::Noisy(format!("others used {:.0} % of the machine", foreign * 100.0));
        }
        self
    }
}

pub(super) struct Gate {
    file: File,
    baseline: Reading,
    /// Readings at the start that were noisy beside their own median.
    restless: usize,
}

impl Gate {
    /// Takes the baseline, with a file of its own in `folder`: the disk that the brokers use.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(folder).with_context(|| folder.display().to_string())?;
        let readings = (0..BASELINE_READINGS)
            .map(|_| Reading::take(&file))
            .collect::<Result<Vec<_>>>()?;
        let middle = |field: fn(&Reading) -> f64| {
            let values: Vec<f64> = readings.iter().map(field).collect();
            median(&values).expect("several readings were taken")
        };
        let baseline = Reading {
            spin_ms: middle(|reading| reading.spin_ms),
            sync_ms: middle(|reading| reading.sync_ms),
        };
        Ok(Gate {
            file,
            restless: baseline.restless(&readings),
            baseline,
        })
    }

    /// What a reader of the table must know about the start, when the machine was not quiet even then.
    pub(super) fn note(&self) -> Option<String> {
        (self.restless > 0).then(|| {
            format!(
                "{} of {BASELINE_READINGS} readings at the start were noisy beside the others: the gate may let noise pass",
                self.restless
            )
        })
    }

    pub(super) fn baseline(&self) -> Reading {
        self.baseline
    }

    /// Looks until the machine is quiet, but not for ever.
    pub(super) fn wait(&self) -> Result<(Reading, Verdict)> {
        let mut look = 1;
        loop {
            let reading = Reading::take(&self.file)?;
            let verdict = self.baseline.compare(&reading);
            if verdict.is_quiet() || look == LOOKS {
                return Ok((reading, verdict));
            }
            look += 1;
            thread::sleep(PAUSE);
        }
    }
}

impl Reading {
    fn take(file: &File) -> Result<Self> {
        let mut spins = Vec::new();
        let mut syncs = Vec::new();
        for _ in 0..REPEATS {
            spins.push(spin().as_secs_f64() * 1e3);
            syncs.push(sync(file)?.as_secs_f64() * 1e3);
        }
        let middle = |values: &[f64]| median(values).expect("several times were taken");
        Ok(Reading {
            spin_ms: middle(&spins),
            sync_ms: middle(&syncs),
        })
    }

    /// How many of those that this one is the middle of lie too far above it.
    fn restless(&self, readings: &[Reading]) -> usize {
        let noisy = |reading: &&Reading| !self.compare(reading).is_quiet();
        readings.iter().filter(noisy).count()
    }

    /// What a later reading says, seen from this one.
    fn compare(&self, later: &Reading) -> Verdict {
        let spin = later.spin_ms / self.spin_ms;
        let sync = later.sync_ms / self.sync_ms;
        if spin > SPIN_LIMIT {
            return Verdict::Noisy(format!("a spin takes {spin:.2} times as long as at the start"));
        }
        if sync > SYNC_LIMIT {
            return Verdict::Noisy(format!(
                "a synced write takes {sync:.1} times as long as at the start"
            ));
        }
        Verdict::Quiet
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "spin {:.2} ms, synced write {:.3} ms",
            self.spin_ms, self.sync_ms
        )
    }
}

/// The time of a fixed amount of work on every processor at once, until the last is done.
fn spin() -> Duration {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..processors {
            scope.spawn(|| {
                let mut value = 0x9E37_79B9_7F4A_7C15_u64;
                for _ in 0..SPIN_STEPS {
                    value ^= value << 13;
                    value ^= value >> 7;
                    value = black_box(value ^ (value << 17));
                }
            });
        }
    });
    begun.elapsed()
}

/// The time until 4 KiB more are on the disk.
fn sync(mut file: &File) -> Result<Duration> {
    let begun = Instant::now();
    file.write_all(&[0xA5; 4096])?;
    file.sync_data()?;
    Ok(begun.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASELINE: Reading = Reading {
        spin_ms: 20.0,
        sync_ms: 0.2,
    };

    #[test]
    fn the_machine_may_vary_but_not_change() {
        for (spin_ms, sync_ms, quiet) in [
            (20.0, 0.2, true),
            (22.0, 0.5, true),
            (15.0, 0.1, true),
            (24.0, 0.2, false),
            (20.0, 0.7, false),
        ] {
            let verdict = BASELINE.compare(&Reading { spin_ms, sync_ms });
            assert_eq!(verdict.is_quiet(), quiet, "{spin_ms} {sync_ms} {verdict:?}");
        }
    }

    #[test]
    fn a_restless_start_is_told() {
        let reading = |spin_ms| Reading {
            spin_ms,
            sync_ms: 0.2,
        };
        assert_eq!(BASELINE.restless(&[reading(20.0), reading(22.0)]), 0);
        assert_eq!(BASELINE.restless(&[reading(20.0), reading(30.0)]), 1);
        let gate = |restless| Gate {
            file: tempfile::tempfile().unwrap(),
            baseline: BASELINE,
            restless,
        };
        assert_eq!(gate(0).note(), None);
        assert!(gate(2).note().unwrap().starts_with("2 of 9"));
    }

    #[test]
    fn a_noisy_verdict_says_what_was_noisy() {
        let spin = BASELINE.compare(&Reading {
            spin_ms: 40.0,
            sync_ms: 0.2,
        });
        assert!(
            matches!(&spin, Verdict::Noisy(why) if why.contains("spin")),
            "{spin:?}"
        );
        let sync = BASELINE.compare(&Reading {
            spin_ms: 20.0,
            sync_ms: 2.0,
        });
        assert!(
            matches!(&sync, Verdict::Noisy(why) if why.contains("write")),
            "{sync:?}"
        );
    }

    #[test]
    fn others_during_the_run_make_it_noisy() {
        assert!(Verdict::Quiet.and_during(0.05).is_quiet());
        assert!(!Verdict::Quiet.and_during(0.20).is_quiet());
        let before = Verdict::Noisy("before".to_owned());
        assert_eq!(before.clone().and_during(0.0), before);
    }

    #[test]
    fn a_reading_takes_time() {
        let reading = Reading::take(&tempfile::tempfile().unwrap()).unwrap();
        assert!(reading.spin_ms > 0.0 && reading.sync_ms > 0.0, "{reading:?}");
    }
}
