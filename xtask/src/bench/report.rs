//! The table at the end, and what makes a run a failure.
//!
//! Always holds: a figure stands in the table with the spread of its ratios, or with the reason why it does not; a goal
//! that is missed is no failure. A figure of a load program without a processor to spare is a failure when a goal is set for
//! it; other figures that are not the broker's own are marked, and said in a note.

use comfy_table::{Table, presets};

use super::{
    driver::Done,
    run::Outcome,
    scenario::{Figure, Goal},
    statistics::{Spread, median},
};

const HEAD: [&str; 10] = [
    "scenario", "figure", "ours", "beside", "theirs", "ratio", "spread", "pairs", "goal", "reached",
];

/// What a run came to.
pub(super) struct Report {
    pub(super) table: String,
    /// Why the run counts as failed; none when it does not.
    pub(super) failures: Vec<String>,
    /// What a reader of the table must know.
    pub(super) notes: Vec<String>,
}

impl Report {
    pub(super) fn of(outcomes: &[Outcome]) -> Self {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(HEAD);
        let mut failures = Vec::new();
        let mut notes = Vec::new();
        for outcome in outcomes {
            let name = outcome.scenario.name;
            notes.extend(outcome.note.iter().map(|note| format!("{name}: {note}")));
            let absent = outcome.absent.iter();
            notes.extend(absent.map(|why| format!("{name}: not valid here: {why}")));
            if let Some(failure) = &outcome.failure {
                failures.push(format!("{name}: {}", failure.why));
            }
            for figure in outcome.scenario.figures {
                for index in 1..outcome.sides.len().max(2) {
                    table.add_row(row(outcome, figure, index));
                }
                // A figure that nothing is asked of is marked, and misleads nobody.
                match spoiled(outcome, figure) {
                    Some(spoiled) if spoiled.is_bottleneck && !figure.goals.is_empty() => {
                        failures.push(spoiled.why);
                    }
                    spoiled => notes.extend(spoiled.map(|spoiled| spoiled.why)),
                }
            }
            notes.extend(overloaded(outcome));
        }
        Report {
            table: table.to_string(),
            failures,
            notes,
        }
    }
}

/// The row of a figure beside the side with this index.
fn row(outcome: &Outcome, figure: &Figure, index: usize) -> Vec<String> {
    let ours = values(outcome, figure, 0);
    let theirs = values(outcome, figure, index);
    let ratio = Spread::of_ratios(&ours, &theirs).filter(|_| figure.has_ratio);
    let (ours, theirs) = (middle(&ours), middle(&theirs));
    let is_limit = index > 1;
    let goals: Vec<Goal> = figure
        .goals
        .iter()
        .copied()
        .filter(|goal| goal.is_plain() != is_limit)
        .collect();
    let mut verdicts: Vec<&str> = goals
        .iter()
        .map(|goal| match ours {
            Some(ours) if goal.is_reached(ours, ratio.map(|ratio| ratio.median)) => "yes",
            Some(_) => "no",
            None => "-",
        })
        .collect();
    if figure.is_rate_or_time && overloaded(outcome).is_some() {
        verdicts = vec!["overloaded"];
    }
    if spoiled(outcome, figure).is_some() {
        verdicts = vec!["not valid"];
    }
    if outcome.absent.is_some() {
        verdicts = vec!["not valid here"];
    }
    // The pairs before it are shown, and reach nothing.
    if outcome.failure.is_some() {
        verdicts = vec!["failed"];
    }
    vec![
        outcome.scenario.name.to_owned(),
        figure.name.to_owned(),
        number(ours),
        outcome
            .sides
            .get(index)
            .map_or("-", |side| side.name())
            .to_owned(),
        number(theirs),
        number(ratio.map(|ratio| ratio.median)),
        ratio.map_or_else(
            || "-".to_owned(),
            |ratio| format!("[{}..{}]", short(ratio.least), short(ratio.most)),
        ),
        pairs(outcome),
        goals
            .iter()
            .map(|goal| spell(*goal))
            .collect::<Vec<_>>()
            .join(", "),
        verdicts.join(", "),
    ]
}

fn values(outcome: &Outcome, figure: &Figure, side: usize) -> Vec<Option<f64>> {
    outcome
        .pairs
        .iter()
        .map(|pair| pair.runs.get(side).and_then(|run| (figure.read)(run)))
        .collect()
}

fn middle(values: &[Option<f64>]) -> Option<f64> {
    median(&values.iter().copied().flatten().collect::<Vec<_>>())
}

/// How many pairs there were, and how many of them were noisy.
fn pairs(outcome: &Outcome) -> String {
    let noisy = outcome.pairs.iter().filter(|pair| !pair.is_quiet).count();
    match noisy {
        0 => format!("{} quiet", outcome.pairs.len()),
        _ => format!("{}, {noisy} noisy", outcome.pairs.len()),
    }
}

/// That a figure is the load program's, and not the brokers'.
struct Spoiled {
    why: String,
    /// It had no processor left, or else was only late.
    is_bottleneck: bool,
}

fn spoiled(outcome: &Outcome, figure: &Figure) -> Option<Spoiled> {
    if !figure.is_rate_or_time {
        return None;
    }
    let runs = outcome
        .pairs
        .iter()
        .flat_map(|pair| outcome.sides.iter().zip(&pair.runs));
    let spoiled: Vec<Spoiled> = runs
        .flat_map(|(side, run)| {
            let both = run.done.iter().chain(&run.beside);
            both.filter_map(|done| {
                let why = format!(
                    "{}, {}: not valid, {} against {}",
                    outcome.scenario.name,
                    figure.name,
                    why_spoiled(done)?,
                    side.name()
                );
                let is_bottleneck = done.is_bottleneck();
                Some(Spoiled { why, is_bottleneck })
            })
        })
        .collect();
    // The worse one is told.
    spoiled
        .into_iter()
        .reduce(|worst, other| if worst.is_bottleneck { worst } else { other })
}

/// What the load program did, if rates and times are its own.
fn why_spoiled(done: &Done) -> Option<String> {
    if done.is_bottleneck() {
        let percent = done.busiest_thread * 100.0;
        return Some(format!(
            "a thread of the load program used {percent:.0} % of a processor"
        ));
    }
    let percent = done.late_share()? * 100.0;
    Some(format!(
        "the load program was late by {percent:.0} % of the 99th percentile"
    ))
}

/// Who could not keep up with a load that comes at a fixed rate, if somebody could not.
fn overloaded(outcome: &Outcome) -> Option<String> {
    let amount = outcome.scenario.work.paced()?;
    let runs = outcome
        .pairs
        .iter()
        .flat_map(|pair| outcome.sides.iter().zip(&pair.runs));
    // What comes at a fixed rate beside something else is what is asked about.
    let (side, seconds) = runs
        .filter_map(|(side, run)| {
            let done = run.beside.as_ref().or(run.done.as_ref())?;
            let seconds = run.beside.as_ref().map_or(run.seconds, |done| done.seconds);
            done.since_due().map(|_| (side, seconds))
        })
        .find(|(_, seconds)| amount.is_overrun(*seconds))?;
    Some(format!(
        "{}: {} could not keep up (the last record came after {seconds:.1} s), its times are those of a queue that grows",
        outcome.scenario.name,
        side.name()
    ))
}

fn spell(goal: Goal) -> String {
    match goal {
        Goal::RatioAtMost(most) => format!("ratio <= {most}"),
        Goal::RatioAtLeast(least) => format!("ratio >= {least}"),
        Goal::LimitAtMost(most) => format!("<= {most} x the limit"),
        Goal::AtMost(most) => format!("<= {most}"),
    }
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), short)
}

/// Three digits that matter.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        large if large >= 100.0 => 0,
        medium if medium >= 10.0 => 1,
        small if small >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{
        driver::{Done, Quantiles},
        measured::{Measured, tests::measured},
        run::{Failure, Pair},
        scenario::Scenario,
        scenarios::SCENARIOS,
        subject::Side,
    };

    fn scenario(name: &str) -> &'static Scenario {
        SCENARIOS.iter().find(|scenario| scenario.name == name).unwrap()
    }

    fn run(cpu_seconds: f64, seconds: f64, busiest_thread: f64) -> Measured {
        Measured {
            cpu_seconds,
            seconds,
            ..measured(Done {
                payload_bytes: Some(1_000_000_000),
                busiest_thread,
                ..Done::default()
            })
        }
    }

    fn outcome(pairs: Vec<Pair>) -> Outcome {
        Outcome {
            scenario: scenario("s2-none"),
            sides: vec![Side::Klamm, Side::Kafka],
            pairs,
            failure: None,
            absent: None,
            note: None,
        }
    }

    fn pair(ours: Measured, theirs: Measured, is_quiet: bool) -> Pair {
        Pair {
            runs: vec![ours, theirs],
            is_quiet,
        }
    }

    fn lines(report: &Report) -> Vec<Vec<String>> {
        let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect();
        report.table.lines().skip(2).map(cells).collect()
    }

    #[test]
    fn a_row_has_medians_spread_and_whether_the_goal_is_reached() {
        let report = Report::of(&[outcome(vec![
            pair(run(0.5, 1.0, 0.5), run(2.0, 2.0, 0.5), true),
            pair(run(0.6, 1.0, 0.5), run(1.0, 1.0, 0.5), false),
            pair(run(0.4, 1.0, 0.5), run(2.0, 1.5, 0.5), true),
        ])]);
        let lines = lines(&report);
        let speed = ["s2-none", "MB/s", "1000", "kafka", "667", "1.50", "[1.00..2.00]"];
        assert_eq!(lines[0][1..8], speed);
        assert_eq!(lines[0][8..11], ["3, 1 noisy", "ratio >= 1.3", "yes"]);
        let cost = ["0.500", "kafka", "2.00", "0.250", "[0.200..0.600]"];
        assert_eq!(lines[1][3..8], cost);
        assert_eq!(lines[1][10], "yes");
        assert!(report.failures.is_empty(), "{:?}", report.failures);
    }

    #[test]
    fn a_missed_goal_is_no_failure() {
        let report = Report::of(&[outcome(vec![pair(run(1.0, 1.0, 0.1), run(1.0, 1.0, 0.1), true)])]);
        assert_eq!(lines(&report)[0][8], "1 quiet");
        assert_eq!([&lines(&report)[0][10], &lines(&report)[1][10]], ["no", "no"]);
        assert!(report.failures.is_empty());
    }

    #[test]
    fn a_driver_without_rest_spoils_rates_and_not_costs() {
        let report = Report::of(&[outcome(vec![pair(run(0.5, 1.0, 0.95), run(2.0, 2.0, 0.5), true)])]);
        let lines = lines(&report);
        assert_eq!([&lines[0][10], &lines[1][10]], ["not valid", "yes"]);
        assert_eq!(report.failures.len(), 1);
        assert!(report.failures[0].contains("MB/s") && report.failures[0].contains("95 %"));
    }

    #[test]
    fn a_spoiled_figure_that_nothing_is_asked_of_is_marked_only() {
        let report = Report::of(&[Outcome {
            scenario: scenario("s1"),
            ..outcome(vec![pair(run(0.5, 1.0, 0.95), run(2.0, 2.0, 0.5), true)])
        }]);
        let lines = lines(&report);
        assert_eq!((&*lines[1][2], &*lines[1][10]), ("MB/s", "not valid"));
        assert!(report.notes[0].contains("95 %"), "{:?}", report.notes);
        assert!(report.failures.is_empty(), "{:?}", report.failures);
    }

    /// A pair of `s4-1k` that took theirs so long, with a load program that was late by so much.
    fn timed(seconds: f64, slip: f64) -> Outcome {
        let done = |slip| Done {
            end_to_end_us: Some(quantiles(1_000.0)),
            slip_us: Some(quantiles(slip)),
            ..Done::default()
        };
        let run = |seconds, slip| Measured {
            seconds,
            ..measured(done(slip))
        };
        Outcome {
            scenario: scenario("s4-1k"),
            ..outcome(vec![pair(run(10.0, 0.0), run(seconds, slip), true)])
        }
    }

    fn quantiles(p99: f64) -> Quantiles {
        Quantiles {
            p99,
            ..Quantiles::default()
        }
    }

    #[test]
    fn a_late_load_program_spoils_times() {
        assert!(Report::of(&[timed(10.0, 100.0)]).notes.is_empty());
        let report = Report::of(&[timed(10.0, 200.0)]);
        assert_eq!(lines(&report)[1][10], "not valid");
        assert!(
            report.notes[1].contains("20 %") && report.notes[1].contains("kafka"),
            "{:?}",
            report.notes
        );
        assert!(report.failures.is_empty(), "{:?}", report.failures);
    }

    #[test]
    fn who_cannot_keep_up_is_named_and_reaches_nothing() {
        let report = Report::of(&[timed(10.1, 0.0)]);
        assert!(report.notes.is_empty() && lines(&report)[1][10] != "overloaded");
        let report = Report::of(&[timed(12.0, 0.0)]);
        assert_eq!(lines(&report)[1][10], "overloaded");
        assert!(
            report.notes[0].contains("kafka could not keep up"),
            "{:?}",
            report.notes
        );
        assert!(report.failures.is_empty());
    }

    #[test]
    fn memory_under_a_heap_of_fixed_size_makes_no_ratio() {
        let report = Report::of(&[Outcome {
            scenario: scenario("s7-memory"),
            ..outcome(vec![pair(run(0.1, 1.0, 0.5), run(2.0, 2.0, 0.5), true)])
        }]);
        let lines = lines(&report);
        assert_eq!(lines[0][3..8], ["0.040", "kafka", "0.040", "-", "-"]);
        assert_eq!(lines[0][10], "yes");
    }

    #[test]
    fn the_limit_has_a_row_and_a_goal_of_its_own() {
        let report = Report::of(&[Outcome {
            scenario: scenario("s1"),
            sides: vec![Side::Klamm, Side::Kafka, Side::Limit],
            pairs: vec![Pair {
                runs: vec![run(0.6, 1.0, 0.5), run(2.0, 2.0, 0.5), run(0.2, 1.0, 0.5)],
                is_quiet: true,
            }],
            failure: None,
            absent: None,
            note: None,
        }]);
        let lines = lines(&report);
        assert_eq!(
            (&*lines[0][4], &*lines[0][9], &*lines[0][10]),
            ("kafka", "ratio <= 0.33", "yes")
        );
        assert_eq!(
            (&*lines[1][4], &*lines[1][9], &*lines[1][10]),
            ("limit", "<= 2 x the limit", "no")
        );
    }

    #[test]
    fn a_scenario_that_failed_has_no_figures_and_a_reason() {
        let mut failed = outcome(Vec::new());
        failed.failure = Some(Failure {
            side: None,
            why: "record counts differ".to_owned(),
        });
        let report = Report::of(&[failed]);
        assert_eq!(lines(&report)[0][3..7], ["-", "kafka", "-", "-"]);
        assert_eq!(report.failures, ["s2-none: record counts differ"]);
    }

    #[test]
    fn what_the_machine_cannot_measure_is_said_and_is_no_failure() {
        let report = Report::of(&[Outcome {
            absent: Some("there is too much memory".to_owned()),
            ..outcome(Vec::new())
        }]);
        assert!(lines(&report).iter().all(|line| line[10] == "not valid here"));
        assert_eq!(
            report.notes,
            ["s2-none: not valid here: there is too much memory"]
        );
        assert!(report.failures.is_empty());
    }

    #[test]
    fn a_second_load_program_is_looked_at_too() {
        let report = Report::of(&[Outcome {
            scenario: scenario("d6-6g"),
            ..outcome(vec![pair(
                run(0.5, 1.0, 0.5),
                Measured {
                    beside: Some(Done {
                        busiest_thread: 0.95,
                        ..Done::default()
                    }),
                    ..run(2.0, 2.0, 0.5)
                },
                true,
            )])
        }]);
        assert_eq!(lines(&report)[0][10], "not valid");
        assert!(report.failures[0].contains("95 %"), "{:?}", report.failures);
    }

    #[test]
    fn pairs_before_a_failure_reach_nothing() {
        let report = Report::of(&[Outcome {
            failure: Some(Failure {
                side: Some(Side::Kafka),
                why: "gone".to_owned(),
            }),
            ..outcome(vec![pair(run(0.1, 1.0, 0.5), run(2.0, 2.0, 0.5), true)])
        }]);
        for line in lines(&report) {
            assert_eq!(line[10], "failed", "{line:?}");
        }
    }

    #[test]
    fn ours_alone_have_their_figures_and_a_note() {
        let report = Report::of(&[Outcome {
            scenario: scenario("s6d"),
            sides: vec![Side::Klamm],
            pairs: vec![Pair {
                runs: vec![measured(Done {
                    end_to_end_us: Some(Quantiles {
                        p50: 400.0,
                        p99: 3_500.0,
                        ..Default::default()
                    }),
                    ..Done::default()
                })],
                is_quiet: true,
            }],
            failure: None,
            absent: None,
            note: Some("they are slow".to_owned()),
        }]);
        let lines = lines(&report);
        assert_eq!(lines[0][3..7], ["0.400", "-", "-", "-"]);
        assert_eq!([&lines[0][10], &lines[1][10]], ["yes", "no"]);
        assert_eq!(report.notes, ["s6d: they are slow"]);
        assert!(report.failures.is_empty());
    }

    #[test]
    fn three_digits() {
        for (value, text) in [
            (1234.5, "1234"),
            (12.34, "12.3"),
            (1.234, "1.23"),
            (0.1234, "0.123"),
        ] {
            assert_eq!(short(value), text);
        }
    }
}
