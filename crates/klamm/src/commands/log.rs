//! `klamm log`: dump.

mod dump;

use clap::Subcommand;

use crate::output::Output;

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Print what is in the files of a partition: segments, indexes, producer snapshots
    Dump(dump::DumpArgs),
}

pub(crate) fn run(command: Command, out: &mut Output) -> anyhow::Result<()> {
    match command {
        Command::Dump(args) => dump::run(args, out),
    }
}
