//! The load program: it drives a broker with Kafka's protocol, and costs little itself.
//!
//! An instrument for `cargo xtask bench`, which runs it against Klamm and against Apache Kafka. Requests are encoded once
//! and patched; answers are read into one buffer and parsed as far as counts and error codes need. Threads are plain, each
//! with its own epoll: a runtime would add its own wake-ups to those that are measured.
//!
//! Always holds: a command sets up, prints `{"event":"ready"}`, waits for a line, measures, prints `{"event":"done", ...}`
//! and ends; one that measures several times prints `ready` before and `settled` behind each, and waits at both. An error
//! of the broker, a record too many or too few, ends it with a message and exit code 1 instead.
//!
//! Next: [`produce`], [`fetch`] and [`commit`] for the closed loops; [`open_loop`] for latencies, [`transact`] for those of
//! transactions; [`consumer_group`] and [`classic_group`] for members that come and go; [`compact`] for the cleaner's work;
//! [`topics`] for what comes before and after; [`socket`] and [`poll`] for how bytes move.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::print_stderr)] // a program at the edge
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod admin;
mod classic_group;
mod clock;
mod commit;
mod compact;
mod configs;
mod consumer;
mod consumer_group;
mod division;
mod exchange;
mod fetch;
mod fetch_answer;
mod groups;
mod idle;
mod membership;
mod open_loop;
mod paced;
mod payload;
mod poll;
mod produce;
mod produce_answer;
mod produce_frame;
mod report;
mod socket;
mod topics;
mod transact;
mod transaction;
mod walk;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Drives a broker and measures.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes topics.
    Create(NewTopics),
    /// Deletes topics.
    Delete(Topics),
    /// Changes settings of a topic.
    Configure(configs::Args),
    /// Has a topic compacted, and waits until it is as small as it becomes.
    Compact(compact::Args),
    /// Sends as fast as the answers come.
    Produce(produce::Args),
    /// Reads as fast as the answers come.
    Fetch(fetch::Args),
    /// Sends at a fixed rate, and times each record from when it was due until a consumer has it.
    Latency(open_loop::Latency),
    /// The same over many topics, which one consumer follows.
    Follow(open_loop::Follow),
    /// Opens connections that do nothing.
    Idle(idle::Args),
    /// Commits offsets for groups without members, as fast as the answers come.
    Commit(commit::Args),
    /// Waits until a broker that starts tells the offsets of groups.
    Offsets(groups::Args),
    /// Has a member join a group of the consumer protocol, and leave it, and times the joins.
    ConsumerGroup(consumer_group::Args),
    /// Has a member leave a group of the classic protocol, and come back, and times what the others wait.
    ClassicGroup(classic_group::Args),
    /// Makes transactions at a fixed rate, and times them.
    Transact(transact::Args),
}

#[derive(Debug, clap::Args)]
struct Topics {
    #[command(flatten)]
    place: topics::Where,
    /// How many; with more than one, `-0`, `-1`, ... is put behind the name.
    #[arg(long, default_value_t = 1)]
    topics: usize,
    /// Partitions of each.
    #[arg(long, default_value_t = 1)]
    partitions: i32,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("klamm-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Topics to make.
#[derive(Debug, clap::Args)]
struct NewTopics {
    #[command(flatten)]
    topics: Topics,
    /// End with the answer, and let somebody else wait for leaders.
    #[arg(long)]
    impatient: bool,
    /// Settings of each, KEY=VALUE.
    #[arg(long = "config", value_name = "KEY=VALUE")]
    configs: Vec<configs::Setting>,
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Create(new) => {
            let Topics {
                place,
                topics,
                partitions,
            } = &new.topics;
            topics::create(place, *topics, *partitions, &new.configs, !new.impatient)
        }
        Command::Delete(args) => topics::delete(&args.place, args.topics),
        Command::Configure(args) => configs::run(&args),
        Command::Compact(args) => compact::run(&args),
        Command::Produce(args) => produce::run(&args),
        Command::Fetch(args) => fetch::run(&args),
        Command::Latency(args) => open_loop::latency(&args),
        Command::Follow(args) => open_loop::follow(&args),
        Command::Idle(args) => idle::run(&args),
        Command::Commit(args) => commit::run(&args),
        Command::Offsets(args) => groups::run(&args),
        Command::ConsumerGroup(args) => consumer_group::run(&args),
        Command::ClassicGroup(args) => classic_group::run(&args),
        Command::Transact(args) => transact::run(&args),
    }
}
