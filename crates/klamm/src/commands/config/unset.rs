//! `klamm config unset`.

use clap::Args;
use klamm_client::Admin;
use klamm_client::admin::configs::ConfigChange;

use super::resource::{ResourceArgs, alter};
use super::set::{Change, Changes};
use crate::output::Output;

#[derive(Args, Debug)]
pub(crate) struct UnsetArgs {
    #[command(flatten)]
    resource: ResourceArgs,
    /// What to unset
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,
    /// Only say whether it could be done
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(admin: &Admin, args: UnsetArgs, out: &mut Output) -> anyhow::Result<()> {
    let resource = args.resource.resource(admin).await?;
    let changes: Vec<ConfigChange> = args.keys.iter().cloned().map(ConfigChange::Unset).collect();
    alter(admin, &resource, &changes, args.dry_run).await?;
    let status = if args.dry_run { "could be unset" } else { "unset" };
    let done = args.keys.into_iter().map(|key| Change {
        key,
        value: None,
        status,
    });
    out.show(&Changes(done.collect()))
}
