//! The command line: which commands there are, and what holds for all of them.
//!
//! Next: `commands.rs`.

use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use klamm_client::HostPort;
use klamm_client::address::InvalidAddress;

use crate::commands::{cluster, completion, config, consume, group, log, produce, topic, transaction};
use crate::connect::Session;
use crate::failure;
use crate::output::{Format, Output};
use crate::serve;

/// An event streaming platform that speaks Kafka's protocol
#[derive(Parser, Debug)]
#[command(name = "klamm", bin_name = "klamm", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Args, Debug, Clone)]
pub(crate) struct Global {
    /// Brokers to begin with; default: the profile's, or 127.0.0.1:9092
    #[arg(
        short,
        long,
        global = true,
        env = "KLAMM_BOOTSTRAP",
        value_name = "HOST:PORT,...",
        help_heading = "Connection",
        value_parser = bootstrap
    )]
    pub(crate) bootstrap: Option<Bootstrap>,
    /// A profile of ~/.config/klamm/profiles.toml
    #[arg(
        long,
        global = true,
        env = "KLAMM_PROFILE",
        value_name = "NAME",
        help_heading = "Connection"
    )]
    pub(crate) profile: Option<String>,
    /// How data is written
    #[arg(short, long, global = true, value_name = "FORMAT", value_enum)]
    pub(crate) output: Option<Format>,
}

/// Addresses, as one value of the command line.
#[derive(Debug, Clone)]
pub(crate) struct Bootstrap(pub(crate) Vec<HostPort>);

fn bootstrap(text: &str) -> Result<Bootstrap, InvalidAddress> {
    HostPort::parse_list(text).map(Bootstrap)
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Start a node in the foreground
    Serve(serve::ServeArgs),
    /// List, create, describe, delete and alter topics
    #[command(subcommand)]
    Topic(topic::Command),
    /// Read and change configurations
    #[command(subcommand)]
    Config(config::Command),
    /// Write records to a topic
    Produce(produce::ProduceArgs),
    /// Read records of a topic
    Consume(consume::ConsumeArgs),
    /// List, describe, delete and reset groups of consumers
    #[command(subcommand)]
    Group(group::Command),
    /// List, describe and abort transactions, and find those that nobody will end
    #[command(subcommand)]
    Transaction(transaction::Command),
    /// Describe the cluster
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// Look into the files of a partition
    #[command(subcommand)]
    Log(log::Command),
    /// Print the completion script of a shell
    Completion(completion::CompletionArgs),
}

/// Reads the command line and does what it says.
pub(crate) fn main() -> ExitCode {
    // Usage errors end the process here, with code 2.
    let Cli { global, command } = Cli::parse();
    let command = match command {
        Command::Serve(args) => return failure::exit_with(serve::run(args)),
        other => other,
    };
    failure::exit(run(&global, command))
}

fn run(global: &Global, command: Command) -> anyhow::Result<()> {
    let session = Session::new(global)?;
    let mut output = Output::stdout(session.format());
    let out = &mut output;
    match command {
        Command::Serve(_) => {}
        Command::Topic(command) => topic::run(&session, command, out)?,
        Command::Config(command) => config::run(&session, command, out)?,
        Command::Produce(args) => produce::run(&session, args, out)?,
        Command::Consume(args) => consume::run(&session, args, out)?,
        Command::Group(command) => group::run(&session, command, out)?,
        Command::Transaction(command) => transaction::run(&session, command, out)?,
        Command::Cluster(command) => cluster::run(&session, command, out)?,
        Command::Log(command) => log::run(command, out)?,
        Command::Completion(args) => completion::run(&args, &mut Cli::command(), out)?,
    }
    output.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_are_understood_before_and_after_the_command() {
        let cases: [(&str, Option<&str>); 38] = [
            ("klamm -b a:1,b:2 topic list", None),
            ("klamm topic list -b a:1 -o json", None),
            ("klamm consume t --from -5 -n 3", None),
            ("klamm consume t --from @1700000000000", None),
            ("klamm produce t -k : -H a=b -H c=d -p 3 --compression zstd", None),
            ("klamm consume t --from soon", Some("beginning")),
            ("klamm topic", Some("Usage")),
            ("klamm -b a:x topic list", Some("HOST:PORT")),
            ("klamm config get", Some("--topic")),
            ("klamm consume t -g g --isolation read-uncommitted", None),
            ("klamm consume t -g g -p 1", Some("cannot be used with")),
            (
                "klamm consume t --read-uncommitted --isolation read-committed",
                Some("cannot be used"),
            ),
            ("klamm group list --state stable,empty --type classic", None),
            (
                "klamm group list --state PreparingRebalance,not-ready --type Streams",
                None,
            ),
            ("klamm group list --state stabel", Some("'stable'")),
            ("klamm group list --type consumers", Some("'consumer'")),
            (
                "klamm group reset g --to-datetime 20261121",
                Some("1970-01-01T05:37:41"),
            ),
            ("klamm group reset g --by-duration P1M", Some("PT90M")),
            ("klamm group reset g --shift-by -5 -t a:0,1 -t b -y", None),
            ("klamm group reset g --by-duration PT1H --dry-run", None),
            ("klamm group reset g", Some("--to-earliest")),
            (
                "klamm group reset g --to-latest --to-offset 5",
                Some("cannot be used with"),
            ),
            ("klamm group reset g --to-offset -5", Some("--to-offset")),
            ("klamm group reset g --to-latest -t a:x", Some("TOPIC:0,1,2")),
            (
                "klamm transaction list --state ongoing,prepare-commit --open-for 5m --id a.*",
                None,
            ),
            ("klamm transaction list --state open", Some("ongoing")),
            ("klamm transaction list --producer-id 1,2", None),
            ("klamm transaction abort a b -y", None),
            ("klamm transaction abort", Some("TRANSACTIONAL_ID")),
            ("klamm transaction abort a -t t", Some("cannot be used with")),
            ("klamm transaction abort -t t -p 0", Some("--start-offset")),
            ("klamm transaction abort -t t -p 0 --start-offset 5", None),
            (
                "klamm transaction abort -t t -p 0 --start-offset 5 --producer-id 1",
                Some("cannot be used with"),
            ),
            (
                "klamm transaction abort -t t -p 0 --producer-id 1",
                Some("--producer-epoch"),
            ),
            (
                "klamm transaction abort -t t -p 0 --producer-id 1 --producer-epoch 0 --coordinator-epoch 3",
                None,
            ),
            ("klamm transaction find-hanging -t t:0,1 --max-timeout 1h", None),
            (
                "klamm produce t --transactional-id x --transaction-records 10 --transaction-timeout 5m",
                None,
            ),
            (
                "klamm produce t --transaction-records 10",
                Some("--transactional-id"),
            ),
        ];
        for (line, error) in cases {
            let parsed = Cli::try_parse_from(line.split(' '));
            match (parsed, error) {
                (Ok(_), None) => {}
                (Err(seen), Some(words)) => {
                    assert_eq!(seen.exit_code(), 2, "{line}");
                    assert!(seen.to_string().contains(words), "{line}: {seen}");
                }
                (parsed, _) => panic!("{line}: {parsed:?}"),
            }
        }
    }
}
