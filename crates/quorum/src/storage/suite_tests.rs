//! openraft's own tests of a log and a state machine, run on ours.

use std::sync::Arc;

use bytes::Bytes;
use klamm_env::Task;
use klamm_env::sim::World;
use klamm_model::Uuid;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use tokio::sync::watch;

use crate::applier::{Applier, Shared, SnapshotPolicy};
use crate::machine::{Position, ReplayError, StateMachine};
use crate::storage::Folder;
use crate::storage::store::LogStore;
use crate::types::Types;

struct Nothing;

impl StateMachine for Nothing {
    fn apply(&self, _: Position, _: Option<Bytes>) -> Result<(), ReplayError> {
        Ok(())
    }

    fn snapshot(&self) -> Bytes {
        Bytes::from_static(b"nothing")
    }

    fn restore(&self, _: Position, _: Bytes) -> Result<(), ReplayError> {
        Ok(())
    }
}

struct Builder;

impl StoreBuilder<Types, LogStore, Applier, Task<()>> for Builder {
    async fn build(&self) -> Result<(Task<()>, LogStore, Applier), StorageError<Types>> {
        let env = World::new(1).env("node");
        let folder = Folder {
            files: env.files().clone(),
            path: "/data/metadata".into(),
            cluster_id: Uuid::ONE,
            node_id: 0,
        };
        folder.open().unwrap();
        let (failing, _) = watch::channel(None);
        // Segments of a few entries, so that the tests meet the borders between them.
        let opened = LogStore::open(&env, folder.clone(), 256, None, failing).await;
        let (store, task) = opened.unwrap();
        let shared = Shared::new(&env, folder, None);
        let policy = SnapshotPolicy {
            after_bytes: u64::MAX,
            after_entries: u64::MAX,
        };
        Ok((task, store, Applier::new(shared, Arc::new(Nothing), policy)))
    }
}

#[tokio::test(start_paused = true)]
async fn the_suite_of_openraft_passes() {
    Suite::test_all(Builder).await.unwrap();
}
