//! `klamm config set`.

use clap::Args;
use klamm_client::Admin;
use klamm_client::admin::configs::ConfigChange;
use serde::Serialize;

use super::resource::{ResourceArgs, alter};
use crate::commands::key_value;
use crate::output::{Output, Show, Table};

#[derive(Args, Debug)]
pub(crate) struct SetArgs {
    #[command(flatten)]
    resource: ResourceArgs,
    /// What to set
    #[arg(required = true, value_name = "KEY=VALUE", value_parser = key_value::parse)]
    values: Vec<(String, String)>,
    /// Only say whether it could be done
    #[arg(long)]
    dry_run: bool,
}

/// A change that was made.
#[derive(Serialize)]
pub(super) struct Change {
    pub(super) key: String,
    /// None for a key that was unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<String>,
    pub(super) status: &'static str,
}

/// The changes that were made.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct Changes(pub(super) Vec<Change>);

impl Show for Changes {
    fn tables(&self) -> Vec<Table> {
        let mut table = Table::new(&["KEY", "VALUE", "STATUS"]);
        for change in &self.0 {
            let value = change.value.clone().unwrap_or_else(|| "-".to_owned());
            table.row([change.key.clone(), value, change.status.to_owned()]);
        }
        vec![table]
    }
}

pub(super) async fn run(admin: &Admin, args: SetArgs, out: &mut Output) -> anyhow::Result<()> {
    let resource = args.resource.resource(admin).await?;
    let changes: Vec<ConfigChange> = args
        .values
        .iter()
        .map(|(key, value)| ConfigChange::Set(key.clone(), value.clone()))
        .collect();
    alter(admin, &resource, &changes, args.dry_run).await?;
    let status = if args.dry_run { "could be set" } else { "set" };
    let done = args.values.into_iter().map(|(key, value)| Change {
        key,
        value: Some(value),
        status,
    });
    out.show(&Changes(done.collect()))
}
