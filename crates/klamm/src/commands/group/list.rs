//! `klamm group list`.

use clap::{Args, ValueEnum};
use klamm_client::Admin;
use klamm_client::admin::groups::GroupListing;
use serde::Serialize;

use crate::output::{Output, Show, Table, or_dash};

#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// Only groups in one of these states
    #[arg(
        long = "state",
        value_name = "STATE",
        value_enum,
        value_delimiter = ',',
        ignore_case = true
    )]
    states: Vec<State>,
    /// Only groups of one of these types
    #[arg(
        long = "type",
        value_name = "TYPE",
        value_enum,
        value_delimiter = ',',
        ignore_case = true
    )]
    types: Vec<Kind>,
}

/// The states that groups of any type can be in; Kafka's words, with and without dashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum State {
    Stable,
    Empty,
    #[value(alias = "preparingrebalance")]
    PreparingRebalance,
    #[value(alias = "completingrebalance")]
    CompletingRebalance,
    Assigning,
    Reconciling,
    #[value(alias = "notready")]
    NotReady,
    Dead,
}

/// The types of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Classic,
    Consumer,
    Share,
    Streams,
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
    let states: Vec<String> = args.states.iter().map(|state| format!("{state:?}")).collect();
    let kinds: Vec<String> = args.types.iter().map(|kind| format!("{kind:?}")).collect();
    let groups = admin.list_groups(&states, &kinds).await?;
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
