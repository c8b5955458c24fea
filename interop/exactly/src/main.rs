//! Exactly once, by real clients that are killed: this program starts them, kills them, and compares their books.
//!
//! Always holds: the clients are programs of `interop/python`, which know nothing of Klamm; what must hold of their books is
//! `klamm_sim::exactly_once`. The broker is killed by whoever started this program, when it prints `kill MILLISECONDS`
//! (`interop/README.md`).
//!
//! Next: [`copy`] and [`bank`] for what is shown, [`stage`] for how it goes on, [`ledger`] for how books become a history.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program at the edge: it starts and kills processes
#![allow(clippy::print_stdout)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod bank;
mod copy;
mod crew;
mod death;
mod describe;
mod entry;
mod ledger;
mod programs;
mod stage;
mod verdict;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Clients that process exactly once while they and the broker are killed.
#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    surroundings: Surroundings,
    #[command(subcommand)]
    command: Command,
}

/// What is there.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Surroundings {
    /// Where the broker listens.
    #[arg(long, env = "KLAMM_BOOTSTRAP", value_name = "HOST:PORT")]
    bootstrap: String,
    /// An interpreter that has the clients.
    #[arg(long)]
    python: PathBuf,
    /// Where their programs lie.
    #[arg(long)]
    programs: PathBuf,
    /// The command line of Klamm.
    #[arg(long)]
    klamm: PathBuf,
    /// What draws all that is random; by default another one each time.
    #[arg(long, env = "KLAMM_SEED")]
    seed: Option<u64>,
}

/// How members share the partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Protocol {
    /// Their leader assigns.
    Classic,
    /// The broker assigns (KIP-848).
    Consumer,
}

impl Protocol {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Protocol::Classic => "classic",
            Protocol::Consumer => "consumer",
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Three workers copy a topic; one is killed, another joins, and the group is described meanwhile.
    Copy(copy::Args),
    /// Four workers move money between a hundred accounts; they and the broker are killed all the time.
    Bank(bank::Args),
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    match cli.command {
        Command::Copy(args) => copy::run(cli.surroundings, &args),
        Command::Bank(args) => bank::run(cli.surroundings, &args),
    }
}
