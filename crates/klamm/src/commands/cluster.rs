//! `klamm cluster`: describe.

mod describe;

use clap::Subcommand;

use crate::connect::Session;
use crate::output::Output;

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Describe the cluster: brokers, controller, features, disks
    Describe,
}

pub(crate) fn run(session: &Session, command: Command, out: &mut Output) -> anyhow::Result<()> {
    session.administer(|admin| async move {
        match command {
            Command::Describe => describe::run(&admin, out).await,
        }
    })
}
