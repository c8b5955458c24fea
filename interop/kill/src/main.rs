//! Clients of a broker that is killed: they keep books of what was acknowledged, and compare at the end.
//!
//! Always holds: producers, readers and checkers are those of the simulator (`klamm_sim`), in the real world; this program
//! adds when the broker is to be killed. It starts and kills nothing itself: the harness does (`interop/README.md`).
//!
//! Next: [`kills`] for the proof, [`schedule`] for when a kill comes, [`restart`] for the two halves of the benchmark,
//! [`probe`] for one record at a time.
#![allow(clippy::print_stdout)] // a program at the edge
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod kills;
mod probe;
mod restart;
mod schedule;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use klamm_env::{Env, real};
use klamm_sim::wire::Address;

/// Clients of a broker that is killed again and again.
#[derive(Debug, Parser)]
struct Cli {
    /// Where the broker listens.
    #[arg(long, env = "KLAMM_BOOTSTRAP", value_name = "HOST:PORT", value_parser = address)]
    bootstrap: Address,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes and reads while the broker is killed, and says whether anything was lost or doubled.
    Kills(kills::Args),
    /// Makes a topic and fills it.
    Fill(restart::Fill),
    /// Tries to write one record until it is acknowledged.
    First(restart::First),
    /// Writes one record, once, and says what became of it.
    Write(probe::Write),
    /// Reads everything of a topic's partition 0, and prints the keys.
    Read(probe::Read),
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    let runtime = real::runtime(2)?;
    let env = Env::real();
    runtime.block_on(async {
        match cli.command {
            Command::Kills(args) => kills::run(env, cli.bootstrap, args).await,
            Command::Fill(fill) => fill.run(&env, &cli.bootstrap).await,
            Command::First(first) => first.run(&env, &cli.bootstrap).await,
            Command::Write(write) => write.run(&env, &cli.bootstrap).await,
            Command::Read(read) => read.run(&env, &cli.bootstrap).await,
        }
    })
}

fn address(text: &str) -> Result<Address> {
    let (host, port) = text.rsplit_once(':').context("an address is HOST:PORT")?;
    Ok(Address {
        host: host.to_owned(),
        port: port.parse().context("a port is a number below 65536")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port() {
        let parsed = address("127.0.0.1:9092").unwrap();
        assert_eq!((parsed.host.as_str(), parsed.port), ("127.0.0.1", 9092));
        assert!(address("127.0.0.1").is_err());
        assert!(address("host:70000").is_err());
    }
}
