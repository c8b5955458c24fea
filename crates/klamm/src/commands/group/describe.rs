//! `klamm group describe`.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use klamm_client::Admin;
use klamm_client::admin::groups::{GroupDescription, GroupMember};
use klamm_model::{ErrorCode, TopicPartition};
use serde::Serialize;

use super::lag::{self, Lag};
use super::unknown_group;
use crate::commands::duration;
use crate::commands::several::{self, once_each};
use crate::failure::{Hinted, of_refusal};
use crate::output::{Output, Show, Table, or_dash, printable};

#[derive(Args, Debug)]
pub(crate) struct DescribeArgs {
    /// Names of the groups
    #[arg(required = true, value_name = "GROUP")]
    names: Vec<String>,
}

#[derive(Serialize)]
struct Description {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    state: String,
    coordinator: i32,
    assignor: Option<String>,
    epoch: Option<i32>,
    members: Vec<MemberRow>,
    offsets: Vec<OffsetRow>,
}

#[derive(Serialize)]
struct MemberRow {
    id: String,
    instance: Option<String>,
    client_id: String,
    host: String,
    epoch: Option<i32>,
    /// By topic; nothing when the members divide something else.
    assigned: Option<BTreeMap<String, Vec<i32>>>,
}

#[derive(Serialize)]
struct OffsetRow {
    #[serde(flatten)]
    lag: Lag,
    /// Who has the partition.
    member: Option<String>,
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
            ("group", self.name.clone()),
            ("type", self.kind.to_owned()),
            ("state", self.state.clone()),
            ("coordinator", self.coordinator.to_string()),
            ("assignor", or_dash(self.assignor.as_ref())),
            ("epoch", or_dash(self.epoch)),
            ("members", self.members.len().to_string()),
        ]);
        let mut tables = vec![facts];
        let mut members = Table::new(&["MEMBER", "INSTANCE", "CLIENT", "HOST", "EPOCH", "ASSIGNED"]);
        for member in &self.members {
            members.row([
                member.id.clone(),
                or_dash(member.instance.as_ref()),
                member.client_id.clone(),
                member.host.clone(),
                or_dash(member.epoch),
                or_dash(member.assigned.as_ref().map(assigned)),
            ]);
        }
        let mut offsets = Table::new(&[
            "TOPIC",
            "PARTITION",
            "COMMITTED",
            "END",
            "LAG",
            "LAG TIME",
            "MEMBER",
        ]);
        for row in &self.offsets {
            offsets.row([
                row.lag.topic.clone(),
                row.lag.partition.to_string(),
                or_dash(row.lag.committed_offset),
                or_dash(row.lag.end_offset),
                or_dash(row.lag.lag),
                or_dash(row.lag.lag_ms.map(duration::format)),
                or_dash(row.member.as_ref()),
            ]);
        }
        tables.extend([members, offsets].into_iter().filter(|table| !table.is_empty()));
        tables
    }
}

/// Partitions in the way in which they are chosen elsewhere: `orders:0,1,2`.
fn assigned(topics: &BTreeMap<String, Vec<i32>>) -> String {
    let texts = topics.iter().map(|(topic, partitions)| {
        let partitions: Vec<String> = partitions.iter().map(i32::to_string).collect();
        format!("{topic}:{}", partitions.join(","))
    });
    let texts: Vec<String> = texts.collect();
    if texts.is_empty() {
        return "-".to_owned();
    }
    texts.join(" ")
}

pub(super) async fn run(admin: &Admin, args: DescribeArgs, out: &mut Output) -> anyhow::Result<()> {
    let (mut all, mut failed) = (Vec::new(), Vec::new());
    for name in once_each(&args.names) {
        match describe(admin, name).await {
            Ok(description) => all.push(description),
            Err(error) => failed.push(error),
        }
    }
    several::show(all, failed, Descriptions, out)
}

async fn describe(admin: &Admin, name: &str) -> anyhow::Result<Description> {
    let group = described(admin, name).await?;
    let committed = admin.group_offsets(name).await?;
    let owners = owners(&group.members);
    let partitions: BTreeSet<TopicPartition> = committed.keys().chain(owners.keys()).cloned().collect();
    let lags = lag::of(admin, &committed, partitions.iter().cloned()).await?;
    let offsets = lags
        .into_iter()
        .zip(&partitions)
        .map(|(lag, partition)| OffsetRow {
            lag,
            member: owners.get(partition).cloned(),
        });
    Ok(Description {
        name: group.name,
        kind: group.kind.name(),
        state: group.state.to_lowercase(),
        coordinator: group.coordinator.id.0,
        assignor: group.assignor,
        epoch: group.epoch,
        offsets: offsets.collect(),
        members: group.members.into_iter().map(member_row).collect(),
    })
}

/// A group that is there.
pub(super) async fn described(admin: &Admin, name: &str) -> anyhow::Result<GroupDescription> {
    let refusal = match admin.describe_group(name).await? {
        Ok(group) => return Ok(group),
        Err(refusal) => refusal,
    };
    if refusal.code != ErrorCode::GroupIdNotFound {
        let hint = of_refusal(refusal.code, None);
        return Err(Hinted::error(
            format!("group '{}': {refusal}", printable(name)),
            hint,
        ));
    }
    // Groups of other types are there, but neither of the two APIs knows them.
    let listed = admin.list_groups(&[], &[]).await?;
    match listed.into_iter().find(|group| group.name == name) {
        Some(group) => {
            let kind = group.kind.unwrap_or_default().to_lowercase();
            let shown = printable(name);
            let message = format!("group '{shown}' is a {kind} group, which klamm does not describe yet");
            let hint = format!("klamm group list --type {kind} shows the state of those there are");
            Err(Hinted::error(message, hint))
        }
        None => Err(unknown_group(admin, name).await),
    }
}

fn owners(members: &[GroupMember]) -> BTreeMap<TopicPartition, String> {
    let owned = members.iter().flat_map(|member| {
        let assigned = member.assigned.iter().flatten();
        assigned.map(|partition| (partition.clone(), member.id.clone()))
    });
    owned.collect()
}

fn member_row(member: GroupMember) -> MemberRow {
    let assigned = member.assigned.map(|partitions| {
        let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        for partition in partitions {
            let topic = topics.entry(partition.topic.to_string()).or_default();
            topic.push(partition.partition);
        }
        topics
    });
    MemberRow {
        id: member.id,
        instance: member.instance,
        client_id: member.client_id,
        host: member.host,
        epoch: member.epoch,
        assigned,
    }
}
