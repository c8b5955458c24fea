//! Between openraft and the [`StateMachine`]: applying, taking snapshots, installing them.
//!
//! Always holds: a snapshot is the state after exactly the last applied entry, because it is taken between two
//! applications; the state is in memory only, so the start restores the snapshot and applies what follows; a snapshot
//! is in force when it is durable.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use klamm_env::Env;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::machine::{Position, ReplayError, StateMachine};
use crate::storage::{Folder, snapshot};
use crate::types::{Entry, LogId, Snapshot, SnapshotMeta, StoredMembership, Types, term_of};

/// When a snapshot is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SnapshotPolicy {
    pub(crate) after_bytes: u64,
    pub(crate) after_entries: u64,
}

/// What the applier shares with its snapshot builders and with the quorum.
pub(crate) struct Shared {
    env: Env,
    folder: Folder,
    /// What is in force on disk. Held while a snapshot file is written or read.
    in_force: tokio::sync::Mutex<Option<SnapshotMeta>>,
    /// Told when a snapshot is due.
    pub(crate) due: Notify,
    /// The snapshot, or the entry, that the machine cannot follow.
    pub(crate) refused: Mutex<Option<(Position, ReplayError)>>,
}

impl Shared {
    pub(crate) fn new(env: &Env, folder: Folder, in_force: Option<SnapshotMeta>) -> Arc<Self> {
        Arc::new(Self {
            env: env.clone(),
            folder,
            in_force: tokio::sync::Mutex::new(in_force),
            due: Notify::new(),
            refused: Mutex::new(None),
        })
    }

    /// Writes a snapshot unless one as new is in force.
    async fn write(&self, snapshot: Snapshot) -> io::Result<()> {
        let mut in_force = self.in_force.lock().await;
        if in_force
            .as_ref()
            .is_some_and(|meta| meta.last_log_id >= snapshot.meta.last_log_id)
        {
            return Ok(());
        }
        let meta = snapshot.meta.clone();
        let folder = self.folder.clone();
        self.env
            .blocking(move || snapshot::write(&folder, &snapshot))
            .await?;
        *in_force = Some(meta);
        Ok(())
    }

    async fn read(&self) -> io::Result<Option<Snapshot>> {
        let in_force = self.in_force.lock().await;
        if in_force.is_none() {
            return Ok(None);
        }
        let folder = self.folder.clone();
        Ok(self.env.blocking(move || snapshot::read_newest(&folder)).await?)
    }

    /// The machine cannot follow: what openraft is told, and stops at.
    fn refuse(&self, position: Position, error: ReplayError) -> io::Error {
        *self.refused.lock() = Some((position, error.clone()));
        io::Error::new(io::ErrorKind::InvalidData, error)
    }

    /// Waits for a snapshot that is being written.
    pub(crate) async fn settle(&self) {
        drop(self.in_force.lock().await);
    }
}

/// The state machine as openraft sees it.
pub(crate) struct Applier {
    shared: Arc<Shared>,
    machine: Arc<dyn StateMachine>,
    policy: SnapshotPolicy,
    applied: Option<LogId>,
    membership: StoredMembership,
    bytes_since: u64,
    entries_since: u64,
}

impl Applier {
    pub(crate) fn new(shared: Arc<Shared>, machine: Arc<dyn StateMachine>, policy: SnapshotPolicy) -> Self {
        Self {
            shared,
            machine,
            policy,
            applied: None,
            membership: StoredMembership::default(),
            bytes_since: 0,
            entries_since: 0,
        }
    }

    fn apply_one(&mut self, entry: Entry) -> Result<(), io::Error> {
        let id = entry.log_id;
        let decision = match entry.payload {
            EntryPayload::Normal(decision) => Some(decision.0),
            EntryPayload::Blank => None,
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(id), membership);
                None
            }
        };
        self.bytes_since += decision.as_ref().map_or(0, |bytes| bytes.len() as u64);
        self.entries_since += 1;
        let applied = self.machine.apply(position(&id), decision);
        applied.map_err(|error| self.shared.refuse(position(&id), error))?;
        self.applied = Some(id);
        Ok(())
    }
}

/// The place of an entry, as the rest of Klamm writes it.
pub(crate) fn position(id: &LogId) -> Position {
    Position {
        index: id.index,
        term: term_of(id),
    }
}

impl RaftStateMachine<Types> for Applier {
    type SnapshotData = Bytes;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            self.apply_one(entry)?;
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        if self.bytes_since >= self.policy.after_bytes || self.entries_since >= self.policy.after_entries {
            self.shared.due.notify_one();
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        self.bytes_since = 0;
        self.entries_since = 0;
        let meta = SnapshotMeta {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
        };
        Builder {
            shared: self.shared.clone(),
            snapshot: Snapshot {
                meta,
                snapshot: self.machine.snapshot(),
            },
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, state: Bytes) -> Result<(), io::Error> {
        // The machine first: a snapshot that it refuses must not come into force. Should the write fail, the quorum
        // stops, and with it the machine, which is in memory only.
        let position = meta.last_log_id.as_ref().map(position).unwrap_or_default();
        if let Err(error) = self.machine.restore(position, state.clone()) {
            return Err(self.shared.refuse(position, error));
        }
        let snapshot = Snapshot {
            meta: meta.clone(),
            snapshot: state,
        };
        self.shared.write(snapshot).await?;
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.bytes_since = 0;
        self.entries_since = 0;
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        self.shared.read().await
    }
}

/// A snapshot that was taken and is not yet written.
pub(crate) struct Builder {
    shared: Arc<Shared>,
    snapshot: Snapshot,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        self.shared.write(self.snapshot.clone()).await?;
        Ok(self.snapshot.clone())
    }
}
