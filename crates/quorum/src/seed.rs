//! A metadata log that begins with a state: for a node that takes over a cluster.
//!
//! Always holds: the folder starts only when it is whole: a vote without a log, and a log without its vote, are refused. What
//! has entries is not written over.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use klamm_env::Files;
use klamm_model::Uuid;

use crate::config::Endpoint;
use crate::error::FileError;
use crate::storage::{Folder, snapshot, vote};
use crate::types::{Membership, Snapshot, SnapshotMeta, StoredMembership, Vote, log_id};

/// The term that the state is of.
const TERM: u64 = 1;
/// The entry that the state is said to end with; the membership has the one before.
const INDEX: u64 = 1;

/// Makes `directory` the log of a quorum of one, `node_id`, that begins with `state`, as its machine's snapshot has it.
/// Blocks.
pub fn seed(
    files: Arc<dyn Files>,
    directory: PathBuf,
    cluster_id: Uuid,
    node_id: i32,
    state: Bytes,
) -> Result<(), FileError> {
    let node = node_id as u64;
    let folder = Folder {
        files,
        path: directory,
        cluster_id,
        node_id: node,
    };
    folder.open()?;
    if let Some(name) = folder.names_with(".raft")?.pop() {
        let path = folder.path.join(name);
        return Err(Folder::corrupt(&path, 0, "there is a metadata log already"));
    }
    let nodes = std::collections::BTreeMap::from([(node, Endpoint::default())]);
    let membership = Membership::new(vec![[node].into()], nodes)
        .map_err(|error| Folder::corrupt(&folder.path, 0, error.to_string()))?;
    // Whoever finds only this knows that something is missing.
    vote::write(&folder, &Vote::new(TERM, node))?;
    let meta = SnapshotMeta {
        last_log_id: Some(log_id(TERM, INDEX)),
        last_membership: StoredMembership::new(Some(log_id(0, 0)), membership),
    };
    snapshot::write(
        &folder,
        &Snapshot {
            meta,
            snapshot: state,
        },
    )
}
