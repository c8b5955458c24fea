//! `klamm log`: dump, verify, repair, index, adopt.

mod adopt;
mod dump;
mod index;
mod repair;
mod target;
mod verify;

use clap::Subcommand;

use crate::output::Output;

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Print what is in the files of a partition: segments, indexes, producer snapshots, checkpoints
    Dump(dump::DumpArgs),
    /// Read everything in a log dir, a partition's folder or a segment, and say what is damaged
    Verify(verify::VerifyArgs),
    /// Make damaged partitions usable again; says what it would do before it asks
    Repair(repair::RepairArgs),
    /// Make the indexes of segments anew
    Index(index::IndexArgs),
    /// Take over the data of a stopped Apache Kafka broker
    Adopt(adopt::AdoptArgs),
}

pub(crate) fn run(command: Command, out: &mut Output) -> anyhow::Result<()> {
    match command {
        Command::Dump(args) => dump::run(args, out),
        Command::Verify(args) => verify::run(&args, out),
        Command::Repair(args) => repair::run(&args, out),
        Command::Index(args) => index::run(&args, out),
        Command::Adopt(args) => adopt::run(args, out),
    }
}
