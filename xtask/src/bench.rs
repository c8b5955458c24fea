//! `cargo xtask bench`: measurements beside Apache Kafka, on the same machine, one after the other. No test.
//!
//! Always holds: both brokers start from the same configuration, promise the same durability and meet the same load; what
//! is printed is a ratio beside the figures, since only the ratio says something about another machine.
//!
//! - [`scenarios`] is the table of what is measured; [`scenario`] says what a row is made of.
//! - [`run`] makes the pairs of a row, [`work`] one run of it with one side ([`subject`]), driven by the load program
//!   ([`driver`], or by a client that people use, [`librdkafka`]) and read off the kernel ([`probe`])
//!   over a [`window`].
//! - [`gate`], [`syncs`] and [`offsets`] are what a run must pass to count, [`here`] what the machine must have; [`report`] is the
//!   table at the end.
//! - [`restart`] stands alone: it measures a kill, and needs no warm process.

mod cold;
mod compaction;
mod compare;
mod disk;
mod driver;
mod gate;
mod groups;
mod here;
mod librdkafka;
mod measured;
mod offsets;
mod partitions;
mod probe;
mod programs;
mod rebalance;
mod report;
mod restart;
mod run;
mod scenario;
mod scenarios;
mod starts;
mod statistics;
mod stored;
mod subject;
mod syncs;
mod window;
mod work;
mod written;

use anyhow::Result;
use clap::Subcommand;

/// What to measure.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    alone: Option<Alone>,
    #[command(flatten)]
    compare: compare::Comparison,
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

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};

    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        let command = Args::augment_args(Command::new("bench").no_binary_name(true));
        Args::from_arg_matches(&command.try_get_matches_from(line.split_whitespace())?)
    }

    #[test]
    fn scenarios_are_named_and_restart_has_options_of_its_own() {
        assert!(parse("").unwrap().alone.is_none());
        assert!(parse("s1 s2 --pairs 3 --limit").unwrap().alone.is_none());
        assert!(parse("restart --records 5 --pairs 1").unwrap().alone.is_some());
        for wrong in ["s1 --pairs 0", "restart --limit", "--profile debug"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
