//! Kafka's answers, recorded: asks a broker all requests of the table and writes the answers down (`record`), or compares
//! them with what was written down (`check`).
//!
//! Always holds: `answers/` was recorded from Apache Kafka 4.4 and from nothing else; a broker that is checked gets the
//! same requests in the same order. Start with [`scenarios`] for what is asked, [`normal`] for what is made alike before
//! comparing, `README.md` for how to run it.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program at the edge: a client with a real clock
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answers;
mod batches;
mod check;
mod connection;
mod decode;
mod diff;
mod differences;
mod encode;
mod normal;
mod render;
mod scenario;
mod scenarios;
mod value;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::normal::Place;
use crate::scenario::Subject;

/// Asks a broker all requests of the wire table.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes the answers of a real Kafka into the table.
    Record(Target),
    /// Compares the answers of a broker with those of the table.
    Check {
        #[command(flatten)]
        target: Target,
        /// The file of deliberate differences.
        #[arg(long)]
        differences: Option<PathBuf>,
        /// Writes down what the deliberate differences are, to be held from now on.
        #[arg(long, requires = "differences")]
        accept: bool,
    },
}

#[derive(Debug, Args)]
struct Target {
    /// A broker without topics.
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap: String,
    /// Which broker it is: Kafka answers a change before all of it shows, so it is waited for; Klamm is not.
    #[arg(long, env = "KLAMM_BROKER", value_enum, default_value = "kafka")]
    broker: Broker,
    /// Only the scenarios with these names.
    #[arg(long, value_name = "NAME")]
    scenario: Vec<String>,
    /// Deletes all topics first.
    #[arg(long)]
    clean: bool,
    /// The folder with the answers.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/answers"))]
    answers: PathBuf,
}

/// A broker that is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Broker {
    Klamm,
    Kafka,
}

impl Target {
    fn subject<'a>(&'a self, place: &'a Place) -> Subject<'a> {
        Subject {
            bootstrap: &self.bootstrap,
            place,
            answers_early: self.broker == Broker::Kafka,
        }
    }
}

fn main() -> Result<ExitCode> {
    let passed = match Cli::parse().command {
        Command::Record(target) => check::record(&target)?,
        Command::Check {
            target,
            differences,
            accept,
        } => check::check(&target, differences.as_deref(), accept)?,
    };
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
