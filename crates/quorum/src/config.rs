//! What a node's quorum is configured with.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use klamm_model::Uuid;

/// Where the controller listener of a voter is.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// A name or an address.
    pub host: String,
    /// A port; 0 where none is known yet.
    pub port: u16,
}

impl Endpoint {
    /// The endpoint `host`:`port`.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// What a node's quorum is configured with.
#[derive(Clone, Debug)]
pub struct QuorumConfig {
    /// This node: `node.id`, not negative.
    pub node_id: i32,
    /// The voters a new quorum starts with; this node is among them. A quorum that has started keeps its own list.
    pub voters: BTreeMap<i32, Endpoint>,
    /// The folder of the log, the vote and the snapshots; made if it does not exist. Nothing else lives in it.
    pub directory: PathBuf,
    /// The cluster; files of another one are refused.
    pub cluster_id: Uuid,
    /// A follower that hears nothing for this long (up to twice as long, by chance) stands for election:
    /// `controller.quorum.fetch.timeout.ms`.
    pub election_timeout: Duration,
    /// How often a leader lets its followers know; well below the election timeout.
    pub heartbeat_interval: Duration,
    /// A snapshot is taken after this many bytes of decisions: `metadata.log.max.record.bytes.between.snapshots`.
    pub snapshot_after_bytes: u64,
    /// A snapshot is taken after this many entries.
    pub snapshot_after_entries: u64,
    /// So many entries stay in the log behind a snapshot, for followers that are a little late.
    pub entries_behind_snapshot: u64,
    /// A segment file that has reached this size is followed by the next one.
    pub segment_bytes: u64,
}

impl QuorumConfig {
    /// The usual times and sizes for node `node_id` of `voters`.
    pub fn new(
        node_id: i32,
        voters: BTreeMap<i32, Endpoint>,
        directory: impl Into<PathBuf>,
        cluster_id: Uuid,
    ) -> Self {
        Self {
            node_id,
            voters,
            directory: directory.into(),
            cluster_id,
            election_timeout: Duration::from_millis(1000),
            heartbeat_interval: Duration::from_millis(200),
            snapshot_after_bytes: 20 * 1024 * 1024,
            snapshot_after_entries: 100_000,
            entries_behind_snapshot: 1000,
            segment_bytes: 8 * 1024 * 1024,
        }
    }

    /// What is wrong with the values, if anything.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        if self.node_id < 0 || self.voters.keys().any(|id| *id < 0) {
            return Some("a node id is negative");
        }
        if !self.voters.contains_key(&self.node_id) {
            return Some("this node is not among the voters");
        }
        if self
            .voters
            .values()
            .any(|e| e.host.len() > crate::codec::MAX_HOST_BYTES)
        {
            return Some("the host name of a voter is too long");
        }
        if self.heartbeat_interval.as_millis() == 0 || self.heartbeat_interval * 2 > self.election_timeout {
            return Some("the heartbeat interval must be above 0 and at most half the election timeout");
        }
        if self.snapshot_after_bytes == 0 || self.snapshot_after_entries == 0 || self.segment_bytes == 0 {
            return Some("a snapshot or segment size is 0");
        }
        None
    }
}
