//! `cargo xtask bench`: measurements beside Apache Kafka, on the same machine, one after the other. No test.
//!
//! Always holds: both brokers start from the same configuration, promise the same durability and meet the same load; what
//! is printed is a ratio beside the figures, since only the ratio says something about another machine.
//!
//! - [`scenarios`] is the table of what is measured; [`scenario`] says what a row is made of.
//! - [`run`] makes the pairs of a row, [`work`] one run of it with one side ([`subject`]), driven by the load program
//!   ([`driver`]) and read off the kernel ([`probe`]).
//! - [`gate`], [`syncs`] and [`offsets`] are what a run must pass to count; [`report`] is the table at the end.
//! - [`restart`] stands alone: it measures a kill, and needs no warm process.

mod compare;
mod driver;
mod gate;
mod measured;
mod offsets;
mod probe;
mod programs;
mod report;
mod restart;
mod run;
mod scenario;
mod scenarios;
mod statistics;
mod subject;
mod syncs;
mod work;

use anyhow::Result;
use clap::Subcommand;

/// What to measure.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    alone: Option<Alone>,
    #[command(flatten)]
    compare: compare::Args,
}

/// A scenario with options of its own.
#[derive(Subcommand)]
enum Alone {
    /// Time from the start after a kill to the first acknowledged record
    Restart(restart::Args),
}

pub(crate) fn run(args: &Args) -> Result<bool> {
    match &args.alone {
        Some(Alone::Restart(args)) => restart::run(args),
        None => compare::run(&args.compare),
    }
}
