//! `cargo xtask bench`: measurements beside Apache Kafka, on the same machine, one after the other. No test.
//!
//! Always holds: both brokers start from the same configuration, hold the same data and meet the same client; what is
//! printed is a ratio beside the times, since only the ratio says something about another machine.

mod restart;

use anyhow::Result;
use clap::Subcommand;

/// What to measure.
#[derive(Subcommand)]
pub(crate) enum Bench {
    /// Time from the start after a kill to the first acknowledged record
    Restart(restart::Args),
}

pub(crate) fn run(bench: &Bench) -> Result<bool> {
    match bench {
        Bench::Restart(args) => restart::run(args),
    }
}
