//! `klamm topic describe`.

use clap::Args;
use klamm_client::admin::configs::{ConfigEntry, ConfigSource, Resource};
use klamm_client::consumer::{Isolation, OffsetSpec};
use klamm_client::{Admin, Topic};
use klamm_model::{BrokerId, TopicPartition};
use serde::Serialize;

use super::list::replicas;
use crate::connect::known_topic;
use crate::output::{Output, Show, Table, or_dash};

#[derive(Args, Debug)]
pub(crate) struct DescribeArgs {
    /// Names of the topics
    #[arg(required = true, value_name = "TOPIC")]
    names: Vec<String>,
}

#[derive(Serialize)]
struct Description {
    name: String,
    id: Option<String>,
    is_internal: bool,
    replicas: usize,
    partitions: Vec<PartitionRow>,
    /// Those that are set on the topic.
    configs: Vec<ConfigRow>,
}

#[derive(Serialize)]
struct PartitionRow {
    partition: i32,
    leader: Option<i32>,
    leader_epoch: Option<i32>,
    replicas: Vec<i32>,
    isr: Vec<i32>,
    offline: Vec<i32>,
    start_offset: Option<i64>,
    end_offset: Option<i64>,
}

#[derive(Serialize)]
struct ConfigRow {
    key: String,
    value: Option<String>,
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
        let facts = Table::facts([
            ("topic", self.name.clone()),
            ("id", self.id.clone().unwrap_or_else(|| "-".to_owned())),
            ("partitions", self.partitions.len().to_string()),
            ("replicas", self.replicas.to_string()),
            ("internal", if self.is_internal { "yes" } else { "no" }.to_owned()),
        ]);
        let mut partitions = Table::new(&["PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR", "START", "END"]);
        for row in &self.partitions {
            partitions.row([
                row.partition.to_string(),
                or_dash(row.leader),
                or_dash(row.leader_epoch),
                joined(&row.replicas),
                joined(&row.isr),
                or_dash(row.start_offset),
                or_dash(row.end_offset),
            ]);
        }
        let mut tables = vec![facts, partitions];
        let mut configs = Table::new(&["CONFIG", "VALUE"]);
        for config in &self.configs {
            configs.row([
                config.key.clone(),
                config.value.clone().unwrap_or_else(|| "(secret)".to_owned()),
            ]);
        }
        if !configs.is_empty() {
            tables.push(configs);
        }
        tables
    }
}

fn joined(brokers: &[i32]) -> String {
    let texts: Vec<String> = brokers.iter().map(i32::to_string).collect();
    texts.join(",")
}

pub(super) async fn run(admin: &Admin, args: DescribeArgs, out: &mut Output) -> anyhow::Result<()> {
    let mut all = Vec::new();
    for name in &args.names {
        let topic = known_topic(admin.client(), name).await?;
        all.push(describe(admin, &topic).await?);
    }
    out.show(&Descriptions(all))
}

async fn describe(admin: &Admin, topic: &Topic) -> anyhow::Result<Description> {
    // A partition without a leader has no offsets to show, and must not keep the others from being shown.
    let led: Vec<TopicPartition> = topic
        .partitions
        .iter()
        .filter(|partition| partition.leader.is_some())
        .map(|partition| TopicPartition::new(topic.name.clone(), partition.index))
        .collect();
    let mut ends = Vec::new();
    for spec in [OffsetSpec::Earliest, OffsetSpec::Latest] {
        let asked: Vec<(TopicPartition, OffsetSpec)> = led.iter().map(|p| (p.clone(), spec)).collect();
        ends.push(
            admin
                .client()
                .list_offsets(&asked, Isolation::ReadUncommitted)
                .await?,
        );
    }
    let offset = |place: usize, index: i32| {
        let partition = TopicPartition::new(topic.name.clone(), index);
        Some(ends.get(place)?.get(&partition)?.offset?.0)
    };
    let ids = |brokers: &[BrokerId]| brokers.iter().map(|broker| broker.0).collect();
    let configs = admin
        .describe_configs(&Resource::Topic(topic.name.to_string()), None)
        .await?;
    Ok(Description {
        name: topic.name.to_string(),
        id: topic.id.map(|id| id.to_string()),
        is_internal: topic.is_internal,
        replicas: replicas(topic),
        partitions: topic
            .partitions
            .iter()
            .map(|partition| PartitionRow {
                partition: partition.index,
                leader: partition.leader.map(|leader| leader.0),
                leader_epoch: partition.leader_epoch.map(|epoch| epoch.0),
                replicas: ids(&partition.replicas),
                isr: ids(&partition.isr),
                offline: ids(&partition.offline),
                start_offset: offset(0, partition.index),
                end_offset: offset(1, partition.index),
            })
            .collect(),
        configs: configs.into_iter().filter(is_own).map(config_row).collect(),
    })
}

fn is_own(config: &ConfigEntry) -> bool {
    config.source == ConfigSource::Topic
}

fn config_row(config: ConfigEntry) -> ConfigRow {
    ConfigRow {
        key: config.name,
        value: config.value,
    }
}
