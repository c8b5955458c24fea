//! `klamm group`: list, describe, delete, reset.
//!
//! Next: one file each; `group/lag.rs` for how far behind a group is.

mod delete;
mod describe;
mod lag;
mod list;
mod reset;
mod target;

use clap::Subcommand;
use klamm_client::Admin;

use crate::connect::Session;
use crate::failure::{Hinted, nearest};
use crate::output::{Output, printable};

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// List groups: type, state, protocol
    List(list::ListArgs),
    /// Describe groups: members, what they are assigned, offsets, lag in records and in time
    Describe(describe::DescribeArgs),
    /// Delete groups that have no members, and what they committed
    Delete(delete::DeleteArgs),
    /// Set the committed offsets of a group that has no members
    Reset(reset::ResetArgs),
}

pub(crate) fn run(session: &Session, command: Command, out: &mut Output) -> anyhow::Result<()> {
    session.administer(|admin| async move {
        match command {
            Command::List(args) => list::run(&admin, args, out).await,
            Command::Describe(args) => describe::run(&admin, args, out).await,
            Command::Delete(args) => delete::run(&admin, args, out).await,
            Command::Reset(args) => reset::run(&admin, args, out).await,
        }
    })
}

/// The error about a group that is not there; it names the nearest one that is.
async fn unknown_group(admin: &Admin, name: &str) -> anyhow::Error {
    let known = match admin.list_groups(&[], &[]).await {
        Ok(known) => known,
        Err(error) => return error.into(),
    };
    let hint = match nearest(name, known.iter().map(|group| group.name.as_str())) {
        Some(near) => format!(
            "did you mean '{}'? klamm group list shows those that exist",
            printable(near)
        ),
        None => "klamm group list shows those that exist".to_owned(),
    };
    Hinted::error(format!("there is no group '{}'", printable(name)), hint)
}
