//! `klamm topic list`.

use clap::Args;
use klamm_client::{Admin, Topic};
use serde::Serialize;

use crate::output::{Output, Show, Table};

#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// List the cluster's own topics too
    #[arg(long)]
    internal: bool,
}

#[derive(Serialize)]
struct Row {
    name: String,
    id: Option<String>,
    partitions: usize,
    replicas: usize,
    is_internal: bool,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Rows(Vec<Row>);

impl Show for Rows {
    fn tables(&self) -> Vec<Table> {
        let mut table = Table::new(&["TOPIC", "PARTITIONS", "REPLICAS"]);
        for row in &self.0 {
            table.row([
                row.name.clone(),
                row.partitions.to_string(),
                row.replicas.to_string(),
            ]);
        }
        vec![table]
    }
}

pub(super) async fn run(admin: &Admin, args: ListArgs, out: &mut Output) -> anyhow::Result<()> {
    let cluster = admin.client().refresh_all().await?;
    let shown = cluster
        .topics
        .values()
        .filter(|topic| args.internal || !topic.is_internal);
    out.show(&Rows(shown.map(row).collect()))
}

fn row(topic: &Topic) -> Row {
    Row {
        name: topic.name.to_string(),
        id: topic.id.map(|id| id.to_string()),
        partitions: topic.partitions.len(),
        replicas: replicas(topic),
        is_internal: topic.is_internal,
    }
}

/// The replicas of a partition, where most have as many.
pub(super) fn replicas(topic: &Topic) -> usize {
    topic
        .partitions
        .iter()
        .map(|partition| partition.replicas.len())
        .max()
        .unwrap_or(0)
}
