//! `klamm transaction list`.

use std::time::Duration;

use clap::Args;
use klamm_client::Admin;
use klamm_client::admin::transactions::{TransactionFilter, TransactionListing};
use klamm_model::ProducerId;
use serde::Serialize;

use super::state::{self, State};
use crate::commands::duration;
use crate::output::{Output, Show, Table};

#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// Only those in one of these states
    #[arg(long = "state", value_name = "STATE", value_delimiter = ',', value_enum)]
    states: Vec<State>,
    /// Only those of these producers
    #[arg(long = "producer-id", value_name = "NUMBER", value_delimiter = ',')]
    producers: Vec<i64>,
    /// Only those that have been open for longer (1d12h, 90m, PT90M)
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    open_for: Option<Duration>,
    /// Only those whose whole transactional id this regular expression matches
    #[arg(long, value_name = "REGEX")]
    id: Option<String>,
}

#[derive(Serialize)]
struct Row {
    transactional_id: String,
    state: String,
    producer_id: i64,
    coordinator: i32,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Rows(Vec<Row>);

impl Show for Rows {
    fn tables(&self) -> Vec<Table> {
        let mut table = Table::new(&["TRANSACTIONAL ID", "STATE", "PRODUCER", "COORDINATOR"]);
        for row in &self.0 {
            table.row([
                row.transactional_id.clone(),
                row.state.clone(),
                row.producer_id.to_string(),
                row.coordinator.to_string(),
            ]);
        }
        vec![table]
    }
}

pub(super) async fn run(admin: &Admin, args: ListArgs, out: &mut Output) -> anyhow::Result<()> {
    let filter = TransactionFilter {
        states: args.states.iter().map(|state| state.name().to_owned()).collect(),
        producers: args.producers.into_iter().map(ProducerId).collect(),
        open_for: args.open_for,
        pattern: args.id,
    };
    let listed = admin.list_transactions(&filter).await?;
    out.show(&Rows(listed.into_iter().map(row).collect()))
}

fn row(listed: TransactionListing) -> Row {
    Row {
        state: state::shown(&listed.state),
        transactional_id: listed.id,
        producer_id: listed.producer.0,
        coordinator: listed.coordinator.0,
    }
}
