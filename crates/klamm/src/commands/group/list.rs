//! `klamm group list`.

use clap::Args;
use klamm_client::Admin;
use klamm_client::admin::groups::GroupListing;
use serde::Serialize;

use super::or_dash;
use crate::output::{Output, Show, Table};

#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// Only groups in one of these states: stable, empty, assigning, reconciling, ...
    #[arg(long = "state", value_name = "STATE", value_delimiter = ',')]
    states: Vec<String>,
    /// Only groups of one of these types: classic, consumer, share, streams
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
    types: Vec<String>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    state: Option<String>,
    protocol: Option<String>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Rows(Vec<Row>);

impl Show for Rows {
    fn tables(&self) -> Vec<Table> {
        let mut table = Table::new(&["GROUP", "TYPE", "STATE", "PROTOCOL"]);
        for row in &self.0 {
            table.row([
                row.name.clone(),
                or_dash(row.kind.as_ref()),
                or_dash(row.state.as_ref()),
                or_dash(row.protocol.as_ref()),
            ]);
        }
        vec![table]
    }
}

pub(super) async fn run(admin: &Admin, args: ListArgs, out: &mut Output) -> anyhow::Result<()> {
    let groups = admin.list_groups(&args.states, &args.types).await?;
    out.show(&Rows(groups.into_iter().map(row).collect()))
}

/// States and types are written in small letters, in every format.
fn row(group: GroupListing) -> Row {
    Row {
        name: group.name,
        kind: group.kind.map(|word| word.to_lowercase()),
        state: group.state.map(|word| word.to_lowercase()),
        protocol: group.protocol,
    }
}
