//! The project's command menu: `cargo xtask <command>`.
//!
//! What a change is checked with lives here, in Rust, and not in shell: `.ci/run` only calls `cargo xtask ci`.
//! Each command is a module of its own; [`process`] is how all of them run other programs.

// A program of the developer's machine: it prints, and it talks to the real files and processes.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod bench;
mod broker;
mod ci;
mod crash;
mod docs;
mod fuzz;
mod golden;
mod instructions;
mod mutants;
mod power;
mod process;
mod protocol;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "The project's command menu"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything that a change must pass: lints, rules of the code, dependencies, all tests
    Ci,
    /// Check the rules of the code that the compiler does not: layers, sizes, heads, documentation
    Tidy,
    /// Write the reference pages that are made from the code's own tables
    Docs(docs::Args),
    /// Write the code of the wire protocol out of the schemas of a Kafka release
    Protocol {
        /// The release, for instance 4.4.0
        version: String,
    },
    /// Run hostile bytes through every decoder
    Fuzz(fuzz::Args),
    /// Make the golden data folder of this version, which later versions must start on
    Golden,
    /// Measure beside Apache Kafka
    Bench(bench::Args),
    /// Count the instructions of the hot path's steps, and compare them with what is expected
    Instructions(instructions::Args),
    /// Run the tests, with what they need set up first
    Test(test::Args),
    /// Cut a broker's power and kill it, again and again, under producers that keep books
    Crash(crash::Args),
    /// Break the code in known ways, and demand that a test sees each
    Mutants(mutants::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Ci => ci::run(),
        Command::Tidy => tidy::run(),
        Command::Docs(args) => docs::run(&args),
        Command::Protocol { version } => protocol::run(&[version]).map(|()| true),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Golden => golden::run(),
        Command::Bench(args) => bench::run(&args),
        Command::Instructions(args) => instructions::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Crash(args) => crash::run(&args),
        Command::Mutants(args) => mutants::run(&args),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
