//! `cargo run -p klamm-sim -- --seeds 1000`: runs worlds by their seeds and says which failed.
//!
//! Always holds: the last line is `N passed, N failed, N skipped`, and the exit code is 1 when a seed failed. A seed that
//! failed fails again, with the same trace, under the same build.
#![allow(clippy::print_stdout)] // a program at the edge

use std::io;
use std::panic;
use std::process::ExitCode;

use clap::Parser;
use klamm_sim::scenario::{self, Ends, Outcome};
use klamm_sim::{checkers, work};
use tracing_subscriber::EnvFilter;

/// Runs a whole node in the simulator, crashes it, and checks that it keeps its word.
#[derive(Debug, Parser)]
struct Args {
    /// What the clients do.
    #[arg(long, value_enum, default_value_t = World::Log)]
    world: World,
    /// How many seeds to run.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Runs each seed twice and compares the traces.
    #[arg(long)]
    twice: bool,
    /// Prints so many of the last lines of each trace; with --twice, those around the first that differs.
    #[arg(long, default_value_t = 0)]
    trace: usize,
    /// Prints what the node logs, filtered as RUST_LOG says.
    #[arg(long)]
    log: bool,
}

/// What the clients do.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum World {
    /// They write and read: nothing acknowledged is lost.
    Log,
    /// Groups share work, in transactions: all is done once.
    Work,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.log {
        tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::from_default_env())
            .with_writer(io::stderr)
            .without_time()
            .init();
    }
    let (mut passed, mut failed, mut acknowledged) = (0_u64, 0_u64, 0);
    let (mut ends, mut powerless) = (Ends::default(), 0);
    for seed in args.from..args.from + args.seeds {
        match run(seed, &args) {
            Ok(outcome) => {
                passed += 1;
                acknowledged += outcome.acknowledged;
                ends += outcome.ends;
                powerless += u64::from(outcome.ends.dropped + outcome.ends.torn > 0);
            }
            Err(reason) => {
                failed += 1;
                println!("seed {seed} failed: {reason}");
            }
        }
    }
    println!(
        "{acknowledged} records or transactions acknowledged, {} ends of the node:",
        ends.total()
    );
    println!(
        "{} with the page cache kept, {} with it dropped, {} with it torn; {powerless} of {passed} seeds lost it at least once",
        ends.kept, ends.dropped, ends.torn
    );
    println!("{passed} passed, {failed} failed, 0 skipped");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn run(seed: u64, args: &Args) -> Result<Outcome, String> {
    let outcome = world(seed, args)?;
    if !args.twice {
        outcome.lines.iter().for_each(|line| println!("{line}"));
    }
    if !outcome.is_good() {
        return Err(describe(&outcome));
    }
    if args.twice {
        let again = world(seed, args)?;
        if again != outcome {
            return Err(difference(&outcome, &again));
        }
    }
    Ok(outcome)
}

/// A panic outside of the simulated hosts fails the seed, not the whole run.
fn world(seed: u64, args: &Args) -> Result<Outcome, String> {
    let run = match args.world {
        World::Log => scenario::run,
        World::Work => work::run,
    };
    panic::catch_unwind(|| run(seed, args.trace)).map_err(|_| "a panic".to_owned())
}

/// Where two runs part, if that is among the lines that were kept.
fn difference(one: &Outcome, other: &Outcome) -> String {
    let mut both = one.lines.iter().zip(&other.lines).enumerate();
    let place = both.find(|(_, (one, other))| one != other);
    let lines = place.map(|(at, _)| {
        let show = |lines: &[String]| lines[at.saturating_sub(3)..lines.len().min(at + 3)].join("\n  ");
        format!("\n  {}\nand\n  {}", show(&one.lines), show(&other.lines))
    });
    format!(
        "two runs differ: {} events and {}, digests {:016x} and {:016x}{}",
        one.events,
        other.events,
        one.digest,
        other.digest,
        lines.unwrap_or_default()
    )
}

/// The violations, of each rule as many as one can look at.
fn describe(outcome: &Outcome) -> String {
    let mut lines = format!("{} violations", outcome.violations.len());
    for rule in checkers::rules().chain(work::rules()) {
        let of_it = outcome.violations.iter().filter(|one| one.rule == rule);
        lines.extend(of_it.take(3).map(|one| format!("\n  {one}")));
    }
    lines
}
