//! The pairs of one scenario: who runs when, what is repeated, what is kept.
//!
//! Always holds: in a pair every side has run once, right after the other; a pair in which the machine was not quiet is
//! run again, some times, and the last one is kept and marked. An error ends its scenario and no other.

use std::{
    fmt,
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tempfile::TempDir;

use super::{
    gate::{Gate, Reading, Verdict},
    here::NotHere,
    measured::Measured,
    programs::Programs,
    scenario::{Process, Scenario},
    statistics::order,
    subject::Side,
    work::Worker,
};

/// Ours has nothing to compile: this much brings its pages in.
const WARM_ENOUGH_FOR_OURS: Duration = Duration::from_secs(5);

/// What all scenarios of a run share.
pub(super) struct Bench {
    pub(super) programs: Programs,
    pub(super) gate: Gate,
    pub(super) place: TempDir,
    pub(super) lines: Lines,
    pub(super) pairs: usize,
    pub(super) repeats: usize,
    pub(super) warm: Duration,
    pub(super) with_limit: bool,
}

/// The JSON lines beside the table: everything that was seen, the repeated pairs too.
pub(super) struct Lines {
    file: File,
    pub(super) path: PathBuf,
}

impl Lines {
    /// A new file in `folder`, named after the time.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let path = folder.join(format!("{now}.jsonl"));
        let file = File::create(&path).with_context(|| path.display().to_string())?;
        Ok(Lines { file, path })
    }

    pub(super) fn write(&mut self, line: &impl Serialize) -> Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        Ok(self.file.write_all(&text)?)
    }
}

/// One line.
#[derive(Serialize)]
struct RunLine<'a> {
    scenario: &'a str,
    side: Side,
    pair: usize,
    attempt: usize,
    before: Reading,
    verdict: &'a Verdict,
    measured: &'a Measured,
}

/// The line about a run whose sync calls were counted.
#[derive(Serialize)]
struct SyncsLine<'a> {
    scenario: &'a str,
    side: Side,
    sync_calls: u64,
    requests: u64,
    seconds: f64,
}

/// What came of a scenario.
pub(super) struct Outcome {
    pub(super) scenario: &'static Scenario,
    /// Ours, theirs, and the limit when it takes part; ours alone when theirs could not do it and need not.
    pub(super) sides: Vec<Side>,
    pub(super) pairs: Vec<Pair>,
    /// Why it ended early.
    pub(super) failure: Option<Failure>,
    /// Why this machine cannot measure it.
    pub(super) absent: Option<String>,
    /// What a reader must know about it.
    pub(super) note: Option<String>,
}

/// Why a scenario ended early.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// Against whom it happened; nobody when it is about both, or about the machine.
    pub(super) side: Option<Side>,
    pub(super) why: String,
}

impl Failure {
    fn of(error: &anyhow::Error) -> Self {
        Failure {
            side: error.downcast_ref::<Against>().map(|against| against.0),
            why: format!("{error:#}"),
        }
    }
}

/// Marks an error as one that happened with a side.
#[derive(Debug)]
struct Against(Side);

impl fmt::Display for Against {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "with {}", self.0.name())
    }
}

/// The runs of one pair, in the order of the sides.
pub(super) struct Pair {
    pub(super) runs: Vec<Measured>,
    pub(super) is_quiet: bool,
}

impl Bench {
    /// Runs a scenario; what goes wrong is in the outcome.
    pub(super) fn run(&mut self, scenario: &'static Scenario) -> Outcome {
        let mut sides = scenario.sides.to_vec();
        if self.with_limit && scenario.has_limit {
            sides.push(Side::Limit);
        }
        println!("{}: {}", scenario.name, scenario.what);
        let both = self.with(scenario, sides);
        let Some(failure) = both
            .failure
            .as_ref()
            .filter(|failure| may_go_alone(scenario, failure))
        else {
            return both;
        };
        println!("  without {}", scenario.sides[1].name());
        Outcome {
            note: Some(format!("measured alone: {}", failure.why)),
            ..self.with(scenario, vec![scenario.sides[0]])
        }
    }

    fn with(&mut self, scenario: &'static Scenario, sides: Vec<Side>) -> Outcome {
        let mut outcome = Outcome {
            scenario,
            sides,
            pairs: Vec::new(),
            failure: None,
            absent: None,
            note: None,
        };
        if let Err(error) = self.fill(&mut outcome) {
            match error.downcast_ref::<NotHere>() {
                Some(NotHere(why)) => {
                    println!("  not valid here: {why}");
                    outcome.absent = Some(why.clone());
                }
                None => {
                    println!("  failed: {error:#}");
                    outcome.failure = Some(Failure::of(&error));
                }
            }
        }
        outcome
    }

    fn fill(&mut self, outcome: &mut Outcome) -> Result<()> {
        let Bench {
            programs,
            gate,
            place,
            lines,
            ..
        } = self;
        let mut row = Row {
            scenario: outcome.scenario,
            programs,
            gate,
            place: place.path(),
            lines,
            standing: Vec::new(),
        };
        if row.scenario.work.process() == Process::Warm {
            for side in &outcome.sides {
                row.stand(*side, self.warm).context(Against(*side))?;
            }
        }
        for pair in 0..self.pairs {
            let kept = row.pair(&outcome.sides, pair, self.repeats)?;
            println!("  pair {}: {}", pair + 1, describe(outcome, &kept));
            outcome.pairs.push(kept);
        }
        Ok(())
    }
}

/// Whether ours are to be measured alone after this: it was theirs who could not do it, and they need not.
fn may_go_alone(scenario: &Scenario, failure: &Failure) -> bool {
    scenario.is_beside_optional && failure.side == Some(scenario.sides[1])
}

/// The first figure of every side, for who is watching.
fn describe(outcome: &Outcome, pair: &Pair) -> String {
    let figure = &outcome.scenario.figures[0];
    let values: Vec<String> = outcome
        .sides
        .iter()
        .zip(&pair.runs)
        .map(|(side, run)| match (figure.read)(run) {
            Some(value) => format!("{} {value:.3}", side.name()),
            None => format!("{} nothing", side.name()),
        })
        .collect();
    let noisy = if pair.is_quiet { "" } else { " (noisy)" };
    format!("{} {}{noisy}", figure.name, values.join(", "))
}

/// A scenario while it runs.
struct Row<'a> {
    scenario: &'static Scenario,
    programs: &'a Programs,
    gate: &'a Gate,
    place: &'a Path,
    lines: &'a mut Lines,
    /// The warmed processes, stopped, in the order of the sides; none of a row of fresh ones.
    standing: Vec<Worker<'a>>,
}

impl<'a> Row<'a> {
    fn start(&self, side: Side) -> Result<Worker<'a>> {
        Worker::start(side, self.scenario, self.programs, self.place)
    }

    /// Starts a side, warms it, counts its sync calls, and stops it until its turn comes.
    fn stand(&mut self, side: Side, warm: Duration) -> Result<()> {
        let mut worker = self.start(side)?;
        let warm = match side {
            Side::Kafka => warm,
            Side::Limit => Duration::ZERO,
            _ => warm.min(WARM_ENOUGH_FOR_OURS),
        };
        println!("  warming {} for {} s", side.name(), warm.as_secs());
        let work = &self.scenario.work;
        worker.warm(work, self.programs, warm)?;
        if side != Side::Limit
            && let Some(counted) = worker.count_syncs(work)?
        {
            println!(
                "  {} made {} sync calls for {} requests in {:.1} s",
                side.name(),
                counted.calls,
                counted.requests,
                counted.seconds
            );
            self.lines.write(&SyncsLine {
                scenario: self.scenario.name,
                side,
                sync_calls: counted.calls,
                requests: counted.requests,
                seconds: counted.seconds,
            })?;
        }
        worker.subject.pause()?;
        self.standing.push(worker);
        Ok(())
    }

    /// Runs a pair until it was quiet, or often enough.
    fn pair(&mut self, sides: &[Side], pair: usize, repeats: usize) -> Result<Pair> {
        let mut attempt = 0;
        loop {
            let kept = self.attempt(sides, pair, attempt)?;
            if kept.is_quiet || attempt == repeats {
                return Ok(kept);
            }
            attempt += 1;
        }
    }

    fn attempt(&mut self, sides: &[Side], pair: usize, attempt: usize) -> Result<Pair> {
        let mut runs: Vec<Option<Measured>> = vec![None; sides.len()];
        let mut is_quiet = true;
        for index in order(pair, sides.len()) {
            let side = sides[index];
            let (before, verdict, measured) = self.measure(side, index).context(Against(side))?;
            let verdict = verdict.and_during(measured.foreign);
            if let Verdict::Noisy(why) = &verdict {
                println!("  pair {}, {}: noisy, {why}", pair + 1, side.name());
                is_quiet = false;
            }
            self.lines.write(&RunLine {
                scenario: self.scenario.name,
                side,
                pair: pair + 1,
                attempt: attempt + 1,
                before,
                verdict: &verdict,
                measured: &measured,
            })?;
            runs[index] = Some(measured);
        }
        let runs: Vec<Measured> = runs.into_iter().flatten().collect();
        if self.scenario.work.has_fixed_count() {
            same_counts(sides, &runs)?;
        }
        Ok(Pair { runs, is_quiet })
    }

    fn measure(&mut self, side: Side, index: usize) -> Result<(Reading, Verdict, Measured)> {
        let work = &self.scenario.work;
        if let Some(worker) = self.standing.get_mut(index) {
            worker.subject.resume()?;
            let (before, verdict) = self.gate.wait()?;
            let measured = worker.once(work, self.programs)?;
            worker.subject.pause()?;
            return Ok((before, verdict, measured));
        }
        let (before, verdict) = self.gate.wait()?;
        let measured = self.start(side)?.once(work, self.programs)?;
        Ok((before, verdict, measured))
    }
}

/// An error when the sides did not write the same number of records.
fn same_counts(sides: &[Side], runs: &[Measured]) -> Result<()> {
    let counts: Vec<Option<u64>> = runs
        .iter()
        .map(|run| run.done.as_ref().and_then(|done| done.records))
        .collect();
    let same = counts.windows(2).all(|pair| pair[0] == pair[1]);
    ensure!(same, "record counts differ: {counts:?} of {sides:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{driver::Done, measured::tests::measured, scenarios::SCENARIOS};

    fn of(records: u64) -> Measured {
        measured(Done {
            records: Some(records),
            ..Done::default()
        })
    }

    #[test]
    fn sides_that_wrote_different_amounts_are_not_compared() {
        let sides = [Side::Klamm, Side::Kafka, Side::Limit];
        assert!(same_counts(&sides, &[of(10), of(10), of(10)]).is_ok());
        let error = same_counts(&sides, &[of(10), of(10), of(11)]).unwrap_err();
        assert!(error.to_string().contains("11"), "{error}");
    }

    #[test]
    fn only_the_failure_of_the_optional_side_leaves_ours_alone() {
        let row = |name: &str| SCENARIOS.iter().find(|row| row.name == name).unwrap();
        let with = |side| Failure::of(&anyhow::anyhow!("lost").context("deep").context(Against(side)));
        let of_both = Failure::of(&anyhow::anyhow!("record counts differ"));
        assert_eq!(with(Side::Kafka).why, "with kafka: deep: lost");
        for (name, failure, alone) in [
            ("s6d", with(Side::Kafka), true),
            ("s6d", with(Side::Klamm), false),
            ("s6d", of_both, false),
            ("s1", with(Side::Kafka), false),
        ] {
            assert_eq!(may_go_alone(row(name), &failure), alone, "{name}: {failure:?}");
        }
    }

    #[test]
    fn lines_are_json_one_each() {
        let folder = tempfile::tempdir().unwrap();
        let mut lines = Lines::new(folder.path()).unwrap();
        for pair in [1, 2] {
            lines
                .write(&RunLine {
                    scenario: "s1",
                    side: Side::Kafka,
                    pair,
                    attempt: 1,
                    before: Reading::default(),
                    verdict: &Verdict::Noisy("why".to_owned()),
                    measured: &of(7),
                })
                .unwrap();
        }
        let text = std::fs::read_to_string(&lines.path).unwrap();
        let parsed: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(parsed.len(), 2);
        assert_eq!(parsed[1]["pair"], 2);
        assert_eq!(parsed[1]["side"], "kafka");
        assert_eq!(parsed[1]["measured"]["done"]["records"], 7);
    }
}
