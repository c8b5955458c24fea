//! `klamm topic`: list, create, describe, delete, alter.

mod alter;
mod create;
mod delete;
mod describe;
mod list;

use clap::Subcommand;

use crate::connect::Session;
use crate::output::Output;

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// List topics
    List(list::ListArgs),
    /// Create topics
    Create(create::CreateArgs),
    /// Describe topics: partitions, offsets, configurations
    Describe(describe::DescribeArgs),
    /// Delete topics
    Delete(delete::DeleteArgs),
    /// Add partitions to a topic, set and unset its configurations
    Alter(alter::AlterArgs),
}

pub(crate) fn run(session: &Session, command: Command, out: &mut Output) -> anyhow::Result<()> {
    session.administer(|admin| async move {
        match command {
            Command::List(args) => list::run(&admin, args, out).await,
            Command::Create(args) => create::run(&admin, args, out).await,
            Command::Describe(args) => describe::run(&admin, args, out).await,
            Command::Delete(args) => delete::run(&admin, args, out).await,
            Command::Alter(args) => alter::run(&admin, args, out).await,
        }
    })
}
