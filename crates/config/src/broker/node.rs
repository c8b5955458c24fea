//! Who this node is, where its data lies, and the quorum.
//!
//! Always holds: the node is broker and controller at once and the only voter; the forms in which Apache Kafka's files say
//! so (`controller.quorum.voters`, `controller.quorum.bootstrap.servers`) are checked, and anything larger is refused
//! rather than started as less than it says.
//!
//! Next: `broker/listeners.rs`.

use klamm_model::BrokerId;

use super::listeners::HostPort;
use super::read::Reader;
use crate::source::Fixed;

/// Who this node is, where its data lies, and the quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// `node.id`.
    pub id: BrokerId,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// `log.dirs`, or `log.dir`, or the data folder; at least one, each once.
    pub log_dirs: Vec<String>,
    /// `metadata.log.dir`, or the first of the log folders.
    pub metadata_log_dir: String,
    /// `klamm.log.dirs.unformatted`: whether a log dir without anything joins others that have data.
    pub format_new_log_dirs: bool,
    /// `metadata.log.max.record.bytes.between.snapshots`.
    pub metadata_snapshot_bytes: u64,
    /// `controller.quorum.voters`; empty, or this node alone.
    pub voters: Vec<Voter>,
    /// `controller.quorum.bootstrap.servers`.
    pub bootstrap_servers: Vec<HostPort>,
}

/// A voter of the quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    /// Its `node.id`.
    pub id: BrokerId,
    /// Where its controller listens.
    pub address: HostPort,
}

/// Fills in what other settings imply: the data lies in `folder` when no key names a folder, and `node.id` and its old name
/// stand for each other.
pub(super) fn supply(fixed: &mut Fixed, folder: &str) {
    if !fixed.is_set("log.dirs") && !fixed.is_set("log.dir") {
        fixed.supply("log.dirs", folder.to_owned());
    }
    if !fixed.is_default("broker.id") {
        fixed.alias("broker.id", "node.id");
    }
    fixed.alias("node.id", "broker.id");
}

pub(super) fn read(reader: &Reader<'_>, fixed: &mut Fixed) -> Option<Node> {
    let id = read_id(reader, fixed)?;
    let mut roles = reader.list("process.roles");
    roles.sort();
    roles.dedup();
    if roles.len() < 2 {
        fixed.refuse(
            "process.roles",
            "roles apart are not served yet; allowed: broker,controller",
        );
    }
    let log_dirs = read_dirs(reader, fixed);
    let metadata_log_dir = reader
        .text("metadata.log.dir")
        .filter(|folder| !folder.is_empty());
    Some(Node {
        id,
        rack: reader.text("broker.rack").filter(|rack| !rack.is_empty()),
        metadata_log_dir: metadata_log_dir.or_else(|| log_dirs.first().cloned())?,
        metadata_snapshot_bytes: reader.bytes("metadata.log.max.record.bytes.between.snapshots"),
        log_dirs,
        format_new_log_dirs: reader.text("klamm.log.dirs.unformatted").as_deref() == Some("format"),
        voters: read_voters(reader, fixed, id),
        bootstrap_servers: read_bootstrap_servers(reader, fixed),
    })
}

fn read_id(reader: &Reader<'_>, fixed: &mut Fixed) -> Option<BrokerId> {
    let id = reader.whole("node.id");
    let old = reader.whole("broker.id");
    if old >= 0 && old != id {
        fixed.refuse(
            "broker.id",
            format!("is the old name of node.id, which is {id}; set one of them"),
        );
        return None;
    }
    i32::try_from(id).ok().map(BrokerId)
}

fn read_dirs(reader: &Reader<'_>, fixed: &mut Fixed) -> Vec<String> {
    let key = if fixed.is_set("log.dirs") {
        "log.dirs"
    } else {
        "log.dir"
    };
    let dirs = reader.list(key);
    let twice = dirs
        .iter()
        .enumerate()
        .find(|(index, dir)| dirs[..*index].contains(dir));
    if let Some((_, dir)) = twice {
        fixed.refuse(key, format!("names {dir} twice"));
    }
    dirs
}

fn read_voters(reader: &Reader<'_>, fixed: &mut Fixed, own: BrokerId) -> Vec<Voter> {
    let key = "controller.quorum.voters";
    let parse = |text: &String| {
        let (id, address) = text.split_once('@')?;
        Some(Voter {
            id: BrokerId(id.parse().ok().filter(|id| *id >= 0)?),
            address: HostPort::parse(address)?,
        })
    };
    let items = reader.list(key);
    let voters: Option<Vec<_>> = items.iter().map(parse).collect();
    match voters {
        None => fixed.refuse(key, "allowed: ID@HOST:PORT items, separated by commas"),
        Some(voters) if voters.len() > 1 => {
            fixed.refuse(
                key,
                "a quorum of several nodes is not served yet; allowed: this node alone",
            );
        }
        Some(voters) if voters.iter().any(|voter| voter.id != own) => {
            fixed.refuse(key, format!("must name this node, whose node.id is {}", own.0));
        }
        Some(voters) => return voters,
    }
    Vec::new()
}

fn read_bootstrap_servers(reader: &Reader<'_>, fixed: &mut Fixed) -> Vec<HostPort> {
    let key = "controller.quorum.bootstrap.servers";
    let items = reader.list(key);
    let servers: Option<Vec<_>> = items.iter().map(|text| HostPort::parse(text)).collect();
    match servers {
        None => fixed.refuse(key, "allowed: HOST:PORT items, separated by commas"),
        Some(servers) if servers.len() > 1 => {
            fixed.refuse(
                key,
                "a quorum of several nodes is not served yet; allowed: one address",
            );
        }
        Some(servers) => return servers,
    }
    Vec::new()
}
