//! `klamm config`: get, set, unset, reference.

mod get;
mod reference;
pub(crate) mod resource;
mod set;
mod unset;

use clap::Subcommand;

use crate::connect::Session;
use crate::output::Output;

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Show configurations and where their values come from
    Get(get::GetArgs),
    /// Set configurations
    Set(set::SetArgs),
    /// Let configurations go back to what they inherit
    Unset(unset::UnsetArgs),
    /// List every key that Klamm knows; needs no cluster
    Reference(reference::ReferenceArgs),
}

pub(crate) fn run(session: &Session, command: Command, out: &mut Output) -> anyhow::Result<()> {
    let command = match command {
        Command::Reference(args) => return reference::run(&args, out),
        other => other,
    };
    session.administer(|admin| async move {
        match command {
            Command::Get(args) => get::run(&admin, args, out).await,
            Command::Set(args) => set::run(&admin, args, out).await,
            Command::Unset(args) => unset::run(&admin, args, out).await,
            Command::Reference(args) => reference::run(&args, out),
        }
    })
}
