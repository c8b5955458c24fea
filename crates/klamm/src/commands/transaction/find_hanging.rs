//! `klamm transaction find-hanging`.

use std::io::Write;
use std::time::Duration;

use clap::Args;
use klamm_client::Admin;
use klamm_client::admin::transactions::HangingTransaction;
use klamm_model::{TimestampMs, TopicPartition};
use serde::Serialize;

use crate::commands::topic_choice::{self, TopicChoice, chosen};
use crate::commands::{duration, time};
use crate::output::{Output, Show, Table, or_dash};

#[derive(Args, Debug)]
pub(crate) struct FindHangingArgs {
    /// Only in this topic, or these partitions of it; default: in all topics
    #[arg(short, long = "topic", value_name = "TOPIC[:PARTITION,...]", value_parser = topic_choice::parse)]
    topics: Vec<TopicChoice>,
    /// The longest time that a transaction may be open: the brokers' transaction.max.timeout.ms
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = duration::parse)]
    max_timeout: Duration,
}

#[derive(Serialize)]
struct Row {
    topic: String,
    partition: i32,
    start_offset: Option<i64>,
    producer_id: i64,
    producer_epoch: i16,
    coordinator_epoch: Option<i32>,
    last_written: Option<String>,
    quiet_for_ms: Option<i64>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Rows(Vec<Row>);

impl Show for Rows {
    fn tables(&self) -> Vec<Table> {
        let mut table = Table::new(&[
            "TOPIC",
            "PARTITION",
            "START",
            "PRODUCER",
            "EPOCH",
            "COORDINATOR EPOCH",
            "LAST WRITTEN",
            "QUIET FOR",
        ]);
        for row in &self.0 {
            table.row([
                row.topic.clone(),
                row.partition.to_string(),
                or_dash(row.start_offset),
                row.producer_id.to_string(),
                row.producer_epoch.to_string(),
                or_dash(row.coordinator_epoch),
                or_dash(row.last_written.as_ref()),
                or_dash(row.quiet_for_ms.map(duration::format)),
            ]);
        }
        vec![table]
    }
}

pub(super) async fn run(admin: &Admin, args: FindHangingArgs, out: &mut Output) -> anyhow::Result<()> {
    let partitions = partitions(admin, &args.topics).await?;
    let hanging = admin.hanging_transactions(&partitions, args.max_timeout).await?;
    let now = admin.client().env().now();
    let rows: Vec<Row> = hanging.into_iter().map(|found| row(found, now)).collect();
    let hint = rows.first().and_then(|row| {
        let (topic, partition, start) = (&row.topic, row.partition, row.start_offset?);
        Some(format!("-t {topic} -p {partition} --start-offset {start}"))
    });
    out.show(&Rows(rows))?;
    out.flush()?;
    if let Some(hint) = hint {
        tell(&format!("klamm transaction abort {hint} ends the first of them"));
    }
    Ok(())
}

/// The partitions to look into. One that nobody leads cannot be asked, and must not keep the others from being.
async fn partitions(admin: &Admin, choices: &[TopicChoice]) -> anyhow::Result<Vec<TopicPartition>> {
    let client = admin.client();
    let wanted: Vec<TopicPartition> = if choices.is_empty() {
        let cluster = client.refresh_all().await?;
        let topics = cluster.topics.values();
        let all = topics.flat_map(|topic| {
            let indexes = topic.partitions.iter().map(|partition| partition.index);
            indexes.map(|index| TopicPartition::new(topic.name.clone(), index))
        });
        all.collect()
    } else {
        chosen(admin, choices).await?.into_iter().collect()
    };
    let (led, left): (Vec<_>, Vec<_>) = wanted
        .into_iter()
        .partition(|partition| client.known_leader(partition).is_some());
    if let Some(first) = left.first() {
        let count = left.len();
        tell(&format!(
            "{count} partitions have no leader and were not looked into: {first}, ..."
        ));
    }
    Ok(led)
}

fn row(found: HangingTransaction, now: TimestampMs) -> Row {
    let HangingTransaction { partition, producer } = found;
    Row {
        topic: partition.topic.to_string(),
        partition: partition.partition,
        start_offset: producer.open_from.map(|offset| offset.0),
        producer_id: producer.id.0,
        producer_epoch: producer.epoch.0,
        coordinator_epoch: producer.coordinator_epoch,
        last_written: producer.last_timestamp.map(time::format),
        quiet_for_ms: producer.last_timestamp.map(|last| (now.0 - last.0).max(0)),
    }
}

fn tell(what: &str) {
    // A message; when nobody can read it, that is no failure.
    let _ = writeln!(std::io::stderr(), "note: {what}");
}
