//! The quorum of a node: starting it, proposing, watching it.
//!
//! Always holds: a single node is a quorum of one and takes the same path as any other; all that is special is that a
//! voter without peers stands for election at once, because no one else can lead. A node counts as the leader only
//! when it has applied all that was committed before its term. After a failure nothing is proposed any more.

mod describe;
mod supervise;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use klamm_env::{Env, Task};
use openraft::errors::{ClientWriteError, InitializeError, RaftError};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::applier::{Applier, Shared, SnapshotPolicy, position};
use crate::codec::{DecodeError, MAX_DECISION_BYTES};
use crate::config::{Endpoint, QuorumConfig};
use crate::error::{FatalError, ProposeError, StartError};
use crate::machine::{Position, StateMachine};
use crate::network::Peers;
use crate::runtime::seeded;
use crate::storage::store::LogStore;
use crate::storage::writer::{self, Failure};
use crate::storage::{Folder, snapshot};
use crate::transport::Transport;
use crate::types::{Decision, LogId, Raft, SnapshotMeta, node_id};
use crate::wire::{Answer, Request};

pub use describe::{QuorumDescription, ReplicaDescription};

/// Who leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The leader, if there is one that this node knows; this node only once it has applied all that came before.
    pub leader: Option<i32>,
    /// The highest term that this node has seen.
    pub term: u64,
}

/// A node's part in the quorum. A clone is the same part.
#[derive(Clone)]
pub struct Quorum {
    parts: Arc<Parts>,
}

struct Parts {
    env: Env,
    raft: Raft,
    config: QuorumConfig,
    applier: Arc<Shared>,
    leadership: watch::Receiver<Leadership>,
    failure: watch::Receiver<Option<String>>,
    stop: watch::Sender<bool>,
    /// The tasks that end after Raft has.
    tasks: Mutex<Vec<Task<()>>>,
}

impl Quorum {
    /// Starts this node's part: reads its folder, brings `machine` to the last state that is known to be committed, and
    /// takes part. The first start of all makes the quorum of `config.voters`.
    pub async fn start(
        env: Env,
        config: QuorumConfig,
        machine: Arc<dyn StateMachine>,
        transport: Arc<dyn Transport>,
    ) -> Result<Quorum, StartError> {
        if let Some(problem) = config.problem() {
            return Err(StartError::Config(problem));
        }
        let seed = env.random_u64();
        let (failing, failure) = watch::channel(None);
        let starting = Self::start_seeded(env, config, machine, transport, (failing.clone(), failure));
        seeded(seed, failing, starting).await
    }

    async fn start_seeded(
        env: Env,
        config: QuorumConfig,
        machine: Arc<dyn StateMachine>,
        transport: Arc<dyn Transport>,
        (failing, failure): (Failure, watch::Receiver<Option<String>>),
    ) -> Result<Quorum, StartError> {
        let folder = Folder {
            files: env.files().clone(),
            path: config.directory.clone(),
            cluster_id: config.cluster_id,
            node_id: config.node_id as u64,
        };
        let opening = folder.clone();
        let opened = env.blocking(move || {
            opening.open()?;
            snapshot::read_newest(&opening)
        });
        let in_force: Option<SnapshotMeta> = opened.await?.map(|snapshot| snapshot.meta);
        let last: Option<LogId> = in_force.as_ref().and_then(|meta| meta.last_log_id);
        let (store, writing) =
            LogStore::open(&env, folder.clone(), config.segment_bytes, last, failing.clone()).await?;

        let applier = Shared::new(&env, folder, in_force);
        let raft = start_raft(&config, store, &applier, machine, transport).await?;

        let (leading, leadership) = watch::channel(Leadership::default());
        let (stop, stopping) = watch::channel(false);
        let watched = failing.clone();
        let supervisor = supervise::Supervisor {
            raft: raft.clone(),
            applier: applier.clone(),
            leading,
            failing,
            stopping,
        };
        let supervisor = writer::spawn(&env, &watched, "follows the quorum", supervisor.run());
        let parts = Parts {
            env,
            raft,
            config,
            applier,
            leadership,
            failure,
            stop,
            tasks: Mutex::new(vec![supervisor, writing]),
        };
        let quorum = Quorum {
            parts: Arc::new(parts),
        };
        match quorum.take_part().await {
            Ok(()) => Ok(quorum),
            Err(error) => {
                quorum.shutdown().await;
                Err(error)
            }
        }
    }

    /// Makes the quorum if there is none yet, and stands for election at once if no other node can lead. From then on Raft
    /// stands by its own clock: two elections at once would be in each other's way.
    async fn take_part(&self) -> Result<(), StartError> {
        let config = &self.parts.config;
        let raft = &self.parts.raft;
        let fatal = |error: String| StartError::Recovery(self.failure_or(error));
        let mut is_new = false;
        if !raft
            .is_initialized()
            .await
            .map_err(|error| fatal(error.to_string()))?
        {
            let voters = config
                .voters
                .iter()
                .map(|(id, endpoint)| (*id as u64, endpoint.clone()));
            match raft.initialize(voters.collect::<BTreeMap<u64, Endpoint>>()).await {
                // It stands for election itself.
                Ok(()) => is_new = true,
                // The message of another voter came first.
                Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
                Err(error) => return Err(fatal(error.to_string())),
            }
        }
        let voters =
            raft.with_raft_state(|state| state.membership_state.effective().voter_ids().collect::<Vec<_>>());
        let voters = voters.await.map_err(|error| fatal(error.to_string()))?;
        if voters == [config.node_id as u64] && !is_new {
            raft.trigger()
                .elect(false)
                .await
                .map_err(|error| fatal(error.to_string()))?;
        }
        if voters.is_empty() && config.voters.len() == 1 {
            return Err(fatal("there is a vote, but no log: its files are missing".into()));
        }
        // Answered behind the election that was asked for.
        let begun = raft.with_raft_state(|_| ()).await;
        begun.map_err(|error| fatal(error.to_string()))?;
        raft.runtime_config().elect(true);
        Ok(())
    }

    /// Proposes an entry. Returns its place when it is committed, durably, and applied on this node. When the future is
    /// dropped the entry may come all the same.
    pub async fn propose(&self, entry: Bytes) -> Result<Position, ProposeError> {
        if entry.len() > MAX_DECISION_BYTES {
            return Err(ProposeError::TooLarge {
                bytes: entry.len(),
                limit: MAX_DECISION_BYTES,
            });
        }
        match self.parts.raft.client_write(Decision(entry)).await {
            Ok(written) => Ok(position(&written.log_id)),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to))) => Err(ProposeError::NotLeader {
                leader: to.leader_id.map(node_id),
            }),
            Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(to))) => {
                Err(ProposeError::OutcomeUnknown {
                    leader: to.leader_id.map(node_id),
                })
            }
            Err(error) => Err(ProposeError::Stopped(self.failure_or(error.to_string()))),
        }
    }

    /// The first failure if there was one: it says more than what followed from it.
    fn failure_or(&self, other: String) -> String {
        self.parts.failure.borrow().clone().unwrap_or(other)
    }

    /// Answers a message that the [`Transport`] of another voter carried here. Bytes that no voter sends are the fault
    /// of the peer.
    pub async fn handle(&self, message: Bytes) -> Result<Bytes, DecodeError> {
        let config = &self.parts.config;
        let raft = &self.parts.raft;
        let answer = match Request::decode(message, config.cluster_id, config.node_id as u64)? {
            Request::Append(request) => raft
                .append_entries(request)
                .await
                .map(Answer::Append)
                .map_err(text),
            Request::Vote(request) => raft.vote(request).await.map(Answer::Vote).map_err(text),
            Request::PreVote(request) => raft.pre_vote(request).await.map(Answer::Vote).map_err(text),
            Request::Snapshot(vote, snapshot) => {
                let installed = raft.install_full_snapshot(vote, snapshot).await;
                installed.map(Answer::Snapshot).map_err(text)
            }
            Request::Transfer(request) => raft
                .handle_transfer_leader(request)
                .await
                .map(Answer::Transfer)
                .map_err(text),
        };
        Ok(answer.unwrap_or_else(Answer::Refused).encode())
    }

    /// The leader, if there is one that this node knows; this node only once it has applied all that came before.
    pub fn leader(&self) -> Option<i32> {
        self.parts.leadership.borrow().leader
    }

    /// The highest term that this node has seen.
    pub fn term(&self) -> u64 {
        self.parts.leadership.borrow().term
    }

    /// Follows who leads.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.parts.leadership.clone()
    }

    /// Waits until some node leads.
    pub async fn wait_for_leader(&self) -> Result<i32, FatalError> {
        let mut leadership = self.parts.leadership.clone();
        let led = async {
            let leadership = leadership
                .wait_for(|leadership| leadership.leader.is_some())
                .await;
            leadership.ok().and_then(|leadership| leadership.leader)
        };
        let leader = tokio::select! {
            biased;
            leader = led => leader,
            failure = self.fatal() => return Err(failure),
        };
        leader.ok_or_else(|| FatalError(self.failure_or("it was shut down".into())))
    }

    /// Waits until the quorum of this node fails; for ever if it never does.
    pub async fn fatal(&self) -> FatalError {
        let mut failure = self.parts.failure.clone();
        let failed = failure
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|failure| failure.clone());
        match failed {
            Some(failure) => FatalError(failure),
            None => std::future::pending().await,
        }
    }

    /// Takes a snapshot now rather than when one is due. Returns before it is written.
    pub fn snapshot(&self) {
        self.parts.applier.due.notify_one();
    }

    /// Stops taking part and waits until nothing is written any more. What was proposed and not answered may be in the
    /// log.
    pub async fn shutdown(&self) {
        self.parts.stop.send_replace(true);
        // It fails only when Raft has ended by itself.
        let _ = self.parts.raft.shutdown().await;
        self.parts.applier.settle().await;
        let tasks = std::mem::take(&mut *self.parts.tasks.lock());
        for task in tasks {
            task.await;
        }
    }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

async fn start_raft(
    config: &QuorumConfig,
    store: LogStore,
    applier: &Arc<Shared>,
    machine: Arc<dyn StateMachine>,
    transport: Arc<dyn Transport>,
) -> Result<Raft, StartError> {
    let policy = SnapshotPolicy {
        after_bytes: config.snapshot_after_bytes,
        after_entries: config.snapshot_after_entries,
    };
    let peers = Peers {
        transport,
        cluster_id: config.cluster_id,
    };
    let machine = Applier::new(applier.clone(), machine, policy);
    let raft_config = Arc::new(raft_config(config)?);
    let raft = Raft::new(config.node_id as u64, raft_config, peers, store, machine).await;
    raft.map_err(|error| match applier.refused.lock().take() {
        Some((position, error)) => StartError::Replay { position, error },
        None => StartError::Recovery(error.to_string()),
    })
}

/// openraft's configuration. Snapshots are asked for by the applier, which counts bytes as well.
fn raft_config(config: &QuorumConfig) -> Result<openraft::Config, StartError> {
    let election = u64::try_from(config.election_timeout.as_millis()).unwrap_or(u64::MAX / 2);
    let heartbeat = u64::try_from(config.heartbeat_interval.as_millis()).unwrap_or(u64::MAX / 2);
    let raft = openraft::Config {
        cluster_name: config.cluster_id.to_string(),
        election_timeout_min: election,
        election_timeout_max: election * 2,
        heartbeat_interval: heartbeat,
        install_snapshot_timeout: 60_000,
        max_payload_entries: crate::wire::MAX_ENTRIES as u64,
        snapshot_policy: openraft::SnapshotPolicy::Never,
        replication_lag_threshold: config.snapshot_after_entries.saturating_mul(2),
        max_in_snapshot_log_to_keep: config.entries_behind_snapshot,
        api_channel_size: Some(1024),
        // Until the node takes part: see there.
        enable_elect: false,
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(false),
        ..openraft::Config::default()
    };
    raft.validate().map_err(|_| {
        StartError::Config("the election timeout and the heartbeat interval do not fit together")
    })
}
