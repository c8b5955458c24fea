//! `klamm cluster describe`.

use std::collections::BTreeMap;

use klamm_client::Admin;
use klamm_client::admin::cluster::{LogDir, Quorum};
use serde::Serialize;

use crate::commands::size::bytes;
use crate::output::{Output, Show, Table};

#[derive(Serialize)]
struct Cluster {
    id: String,
    controller: Option<i32>,
    topics: usize,
    partitions: usize,
    features: BTreeMap<String, i16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quorum: Option<QuorumRow>,
    brokers: Vec<BrokerRow>,
}

#[derive(Serialize)]
struct QuorumRow {
    leader: Option<i32>,
    leader_epoch: i32,
    high_watermark: i64,
    voters: Vec<i32>,
    observers: Vec<i32>,
}

#[derive(Serialize)]
struct BrokerRow {
    id: i32,
    address: String,
    rack: Option<String>,
    is_fenced: bool,
    log_dirs: Vec<LogDirRow>,
}

#[derive(Serialize)]
struct LogDirRow {
    path: String,
    error: Option<String>,
    replicas: usize,
    used_bytes: u64,
    free_bytes: Option<u64>,
    total_bytes: Option<u64>,
}

impl Show for Cluster {
    fn tables(&self) -> Vec<Table> {
        let number = |number: Option<i32>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let joined = |ids: &[i32]| {
            let texts: Vec<String> = ids.iter().map(i32::to_string).collect();
            texts.join(",")
        };
        let quorum = self.quorum.as_ref();
        let facts = Table::facts([
            ("cluster", self.id.clone()),
            (
                "controller",
                number(quorum.map_or(self.controller, |quorum| quorum.leader)),
            ),
            (
                "voters",
                quorum.map_or_else(|| "-".to_owned(), |quorum| joined(&quorum.voters)),
            ),
            ("topics", self.topics.to_string()),
            ("partitions", self.partitions.to_string()),
        ]);
        let mut brokers = Table::new(&["BROKER", "ADDRESS", "RACK", "STATE", "REPLICAS", "USED", "FREE"]);
        for broker in &self.brokers {
            let used: u64 = broker.log_dirs.iter().map(|dir| dir.used_bytes).sum();
            let free: Option<u64> = broker.log_dirs.iter().map(|dir| dir.free_bytes).sum();
            let replicas: usize = broker.log_dirs.iter().map(|dir| dir.replicas).sum();
            brokers.row([
                broker.id.to_string(),
                broker.address.clone(),
                broker.rack.clone().unwrap_or_else(|| "-".to_owned()),
                if broker.is_fenced { "fenced" } else { "alive" }.to_owned(),
                replicas.to_string(),
                bytes(used),
                free.filter(|_| !broker.log_dirs.is_empty())
                    .map_or_else(|| "-".to_owned(), bytes),
            ]);
        }
        let mut tables = vec![facts, brokers];
        let mut features = Table::new(&["FEATURE", "LEVEL"]);
        for (name, level) in &self.features {
            features.row([name.clone(), level.to_string()]);
        }
        if !features.is_empty() {
            tables.push(features);
        }
        let mut broken = Table::new(&["BROKER", "LOG DIR", "ERROR"]);
        for broker in &self.brokers {
            for dir in &broker.log_dirs {
                if let Some(error) = &dir.error {
                    broken.row([broker.id.to_string(), dir.path.clone(), error.clone()]);
                }
            }
        }
        if !broken.is_empty() {
            tables.push(broken);
        }
        tables
    }
}

pub(super) async fn run(admin: &Admin, out: &mut Output) -> anyhow::Result<()> {
    let description = admin.describe_cluster().await?;
    let known = admin.client().refresh_all().await?;
    // A cluster that does not say who its voters are is described without them.
    let quorum = match admin.describe_quorum().await {
        Ok(quorum) => Some(quorum_row(&quorum)),
        Err(error) => {
            tracing::debug!(%error, "the quorum is not described");
            None
        }
    };
    let mut brokers = Vec::new();
    for broker in description.brokers {
        let mut log_dirs = Vec::new();
        if !broker.is_fenced {
            match admin.log_dirs(broker.id).await {
                Ok(dirs) => log_dirs = dirs.iter().map(log_dir).collect(),
                Err(error) => tracing::warn!(%error, broker = %broker.id, "no answer about its log dirs"),
            }
        }
        brokers.push(BrokerRow {
            id: broker.id.0,
            address: broker.address.to_string(),
            rack: broker.rack,
            is_fenced: broker.is_fenced,
            log_dirs,
        });
    }
    out.show(&Cluster {
        id: description.id,
        controller: description.controller.map(|id| id.0),
        topics: known.topics.len(),
        partitions: known.topics.values().map(|topic| topic.partitions.len()).sum(),
        features: description.features,
        quorum,
        brokers,
    })
}

fn quorum_row(quorum: &Quorum) -> QuorumRow {
    QuorumRow {
        leader: quorum.leader,
        leader_epoch: quorum.leader_epoch,
        high_watermark: quorum.high_watermark.0,
        voters: quorum.voters.iter().map(|voter| voter.id).collect(),
        observers: quorum.observers.iter().map(|observer| observer.id).collect(),
    }
}

fn log_dir(dir: &LogDir) -> LogDirRow {
    LogDirRow {
        path: dir.path.clone(),
        error: dir.error.as_ref().map(ToString::to_string),
        replicas: dir.replicas.len(),
        used_bytes: dir.replicas.iter().map(|replica| replica.size_bytes).sum(),
        free_bytes: dir.usable_bytes,
        total_bytes: dir.total_bytes,
    }
}
