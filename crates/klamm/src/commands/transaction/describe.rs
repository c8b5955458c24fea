//! `klamm transaction describe`.

use std::collections::BTreeMap;

use clap::Args;
use klamm_client::Admin;
use klamm_client::admin::transactions::TransactionDescription;
use klamm_model::{ErrorCode, Offset, TimestampMs, TopicPartition};
use serde::Serialize;

use super::{state, unknown_id};
use crate::commands::several::{self, once_each};
use crate::commands::{duration, time};
use crate::failure::{Hinted, of_refusal};
use crate::output::{Output, Show, Table, or_dash, printable};

#[derive(Args, Debug)]
pub(crate) struct DescribeArgs {
    /// The transactional ids
    #[arg(required = true, value_name = "TRANSACTIONAL_ID")]
    ids: Vec<String>,
}

#[derive(Serialize)]
struct Description {
    transactional_id: String,
    state: String,
    coordinator: i32,
    producer_id: i64,
    producer_epoch: i16,
    timeout_ms: u128,
    open_since: Option<String>,
    open_for_ms: Option<i64>,
    partitions: Vec<PartitionRow>,
}

#[derive(Serialize)]
struct PartitionRow {
    topic: String,
    partition: i32,
    /// Where the transaction begins there; nothing when it has no record there, or nobody could be asked.
    start_offset: Option<i64>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Descriptions(Vec<Description>);

impl Show for Descriptions {
    fn tables(&self) -> Vec<Table> {
        self.0.iter().flat_map(Description::tables).collect()
    }
}

impl Description {
    fn tables(&self) -> Vec<Table> {
        let timeout_ms = i64::try_from(self.timeout_ms).unwrap_or(i64::MAX);
        let facts = Table::facts([
            ("transactional id", self.transactional_id.clone()),
            ("state", self.state.clone()),
            ("coordinator", self.coordinator.to_string()),
            ("producer", self.producer_id.to_string()),
            ("epoch", self.producer_epoch.to_string()),
            ("timeout", duration::format(timeout_ms)),
            ("open since", or_dash(self.open_since.as_ref())),
            ("open for", or_dash(self.open_for_ms.map(duration::format))),
        ]);
        let mut partitions = Table::new(&["TOPIC", "PARTITION", "START"]);
        for row in &self.partitions {
            partitions.row([
                row.topic.clone(),
                row.partition.to_string(),
                or_dash(row.start_offset),
            ]);
        }
        let tables = [facts, partitions].into_iter();
        tables.filter(|table| !table.is_empty()).collect()
    }
}

pub(super) async fn run(admin: &Admin, args: DescribeArgs, out: &mut Output) -> anyhow::Result<()> {
    let (mut all, mut failed) = (Vec::new(), Vec::new());
    for id in once_each(&args.ids) {
        match described(admin, id).await {
            Ok(described) => {
                let starts = starts(admin, &described).await;
                all.push(description(described, &starts, admin.client().env().now()));
            }
            Err(error) => failed.push(error),
        }
    }
    several::show(all, failed, Descriptions, out)
}

/// A transactional id that is known.
async fn described(admin: &Admin, id: &str) -> anyhow::Result<TransactionDescription> {
    match admin.describe_transaction(id).await? {
        Ok(described) => Ok(described),
        Err(refusal) if refusal.code == ErrorCode::TransactionalIdNotFound => {
            Err(unknown_id(admin, id).await)
        }
        Err(refusal) => {
            let hint = of_refusal(refusal.code, None);
            Err(Hinted::error(
                format!("transactional id '{}': {refusal}", printable(id)),
                hint,
            ))
        }
    }
}

/// Where the transaction begins in its partitions. What cannot be found out must not keep the rest from being shown.
async fn starts(admin: &Admin, described: &TransactionDescription) -> BTreeMap<TopicPartition, Offset> {
    let asked = async {
        let mut topics: Vec<&str> = described
            .partitions
            .iter()
            .map(|partition| &*partition.topic)
            .collect();
        topics.dedup();
        let client = admin.client();
        client.refresh(&topics).await?;
        let led = described.partitions.iter().cloned();
        let led: Vec<_> = led
            .filter(|partition| client.known_leader(partition).is_some())
            .collect();
        admin.describe_producers(&led).await
    };
    let found = asked.await.unwrap_or_else(|error| {
        tracing::warn!(%error, "where the transaction begins is not known");
        BTreeMap::new()
    });
    let starts = found.into_iter().filter_map(|(partition, said)| {
        let producers = said.ok()?.into_iter();
        let mut own = producers.filter(|producer| producer.id == described.producer);
        Some((partition, own.find_map(|producer| producer.open_from)?))
    });
    starts.collect()
}

fn description(
    described: TransactionDescription,
    starts: &BTreeMap<TopicPartition, Offset>,
    now: TimestampMs,
) -> Description {
    let partitions = described.partitions.iter().map(|partition| PartitionRow {
        topic: partition.topic.to_string(),
        partition: partition.partition,
        start_offset: starts.get(partition).map(|offset| offset.0),
    });
    Description {
        partitions: partitions.collect(),
        state: state::shown(&described.state),
        transactional_id: described.id,
        coordinator: described.coordinator.id.0,
        producer_id: described.producer.0,
        producer_epoch: described.epoch.0,
        timeout_ms: described.timeout.as_millis(),
        open_since: described.since.map(time::format),
        open_for_ms: described.since.map(|since| (now.0 - since.0).max(0)),
    }
}
