//! The controller of the cluster: takes decisions one at a time and makes them durable through the quorum.
//!
//! Always holds: a decision sees the state that all earlier decisions have made; it is answered when its records are
//! committed and applied; what to decide is in `klamm_metadata::controller`, nothing of that is here. [`decide`] has the
//! requests that it answers, [`service`] its own listener.

mod decide;
mod describe_cluster;
mod served;
pub(crate) mod service;
mod without_effect;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use klamm_config::BrokerConfig;
use klamm_env::Env;
use klamm_metadata::controller::{Context, Decision, Sessions};
use klamm_metadata::{Image, bootstrap, encode_decision};
use klamm_model::ErrorCode;
use klamm_quorum::{ProposeError, Quorum};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tracing::{error, warn};

pub(crate) use self::decide::{Asked, Decide};
use crate::features;
use crate::metadata_store::MetadataStore;

/// A broker that was silent for this long is no longer taken for alive: `broker.session.timeout.ms`.
const SESSION_TIMEOUT: Duration = Duration::from_secs(9);

/// Room that is left for the metadata log itself: its segments, its vote and a snapshot.
pub(crate) const RESERVE_BYTES: u64 = 8 * 1024 * 1024;

/// See the head of the file.
pub(crate) struct Controller {
    env: Env,
    cluster_id: Arc<str>,
    config: BrokerConfig,
    quorum: Quorum,
    metadata: Arc<MetadataStore>,
    /// Held while a decision is made and until it is applied.
    turn: Arc<Mutex<Sessions>>,
}

/// What a decision is made on, beside the request.
struct Turn<'a> {
    image: &'a Image,
    sessions: &'a mut Sessions,
    now: Duration,
}

impl Controller {
    /// The controller of this node; the quorum has a leader and the state is applied.
    pub(crate) fn new(
        env: Env,
        cluster_id: Arc<str>,
        config: BrokerConfig,
        quorum: Quorum,
        metadata: Arc<MetadataStore>,
    ) -> Self {
        let sessions = Sessions::new(&metadata.applied(), SESSION_TIMEOUT, env.monotonic());
        Self {
            env,
            cluster_id,
            config,
            quorum,
            metadata,
            turn: Arc::new(Mutex::new(sessions)),
        }
    }

    /// Writes the first records of a new cluster.
    pub(crate) async fn bootstrap(&self) -> Result<(), ErrorCode> {
        self.decide(|turn, _| {
            let records = match turn.image.features().is_empty() {
                true => bootstrap::records(&features::initial(), self.min_insync_replicas()),
                false => Vec::new(),
            };
            Decision {
                records,
                response: (),
            }
        })
        .await
    }

    /// What `min.insync.replicas` was set to at the start.
    fn min_insync_replicas(&self) -> u32 {
        self.config
            .fixed
            .get("min.insync.replicas")
            .and_then(|value| value.trim().parse().ok())
            .unwrap_or(1)
    }

    /// Makes a decision and commits it. An error means that nothing is known to be decided.
    async fn decide<R>(
        &self,
        decide: impl FnOnce(&mut Turn<'_>, &mut Context<'_>) -> Decision<R>,
    ) -> Result<R, ErrorCode> {
        let sessions = self.turn.clone().lock_owned().await;
        let (response, _) = self.decide_in_turn(sessions, decide).await?;
        Ok(response)
    }

    /// Makes a decision in a turn that has begun, commits it, and gives the turn back.
    async fn decide_in_turn<R>(
        &self,
        mut sessions: OwnedMutexGuard<Sessions>,
        decide: impl FnOnce(&mut Turn<'_>, &mut Context<'_>) -> Decision<R>,
    ) -> Result<(R, OwnedMutexGuard<Sessions>), ErrorCode> {
        let decision = {
            let image = self.metadata.applied();
            let mut draw = || self.env.random_u64();
            let mut context = Context {
                image: &image,
                node: self.config.node.id,
                fixed: &self.config.fixed,
                draw: &mut draw,
            };
            let mut turn = Turn {
                image: &image,
                sessions: &mut sessions,
                now: self.env.monotonic(),
            };
            decide(&mut turn, &mut context)
        };
        if decision.records.is_empty() {
            return Ok((decision.response, sessions));
        }
        let entry = encode_decision(&decision.records);
        self.check_room(entry.len()).await?;
        // The turn ends when the entry is applied, though whoever asked may be gone by then: the next decision would be
        // made on a state that is about to change.
        let quorum = self.quorum.clone();
        let proposing = self.env.spawn(async move {
            let proposed = quorum.propose(entry).await;
            (proposed, sessions)
        });
        let (proposed, sessions) = proposing.await.ok_or(ErrorCode::UnknownServerError)?;
        match proposed {
            Ok(_) => {
                without_effect::warn_of(&decision.records);
                Ok((decision.response, sessions))
            }
            Err(ProposeError::NotLeader { .. }) => Err(ErrorCode::NotController),
            Err(error @ ProposeError::TooLarge { .. }) => {
                error!(%error, records = decision.records.len(), "a decision does not fit one entry");
                Err(ErrorCode::PolicyViolation)
            }
            // It may be decided, or not: whoever asks the next controller finds out.
            Err(error @ (ProposeError::OutcomeUnknown { .. } | ProposeError::Stopped(_))) => {
                warn!(%error, "a decision could not be committed");
                Err(ErrorCode::NotController)
            }
        }
    }

    /// Makes a decision that one entry may not hold, entry by entry, in one turn: no other decision sees, or changes, what is
    /// half done.
    async fn decide_in_parts<R>(
        &self,
        mut decide: impl FnMut(&mut Turn<'_>, &mut Context<'_>) -> Decision<Option<R>>,
    ) -> Result<R, ErrorCode> {
        let mut sessions = self.turn.clone().lock_owned().await;
        loop {
            let (response, turn) = self.decide_in_turn(sessions, &mut decide).await?;
            if let Some(response) = response {
                return Ok(response);
            }
            sessions = turn;
        }
    }

    /// A metadata log that cannot be written ends the node: while there is room for one decision and its snapshot, and no
    /// more, decisions are refused instead.
    async fn check_room(&self, bytes: usize) -> Result<(), ErrorCode> {
        let (files, folder) = (
            self.env.files().clone(),
            self.config.node.metadata_log_dir.clone(),
        );
        let space = self.env.blocking(move || files.space(Path::new(&folder))).await;
        match space {
            Ok(space) if space.usable_bytes < RESERVE_BYTES + bytes as u64 => {
                error!(
                    folder = self.config.node.metadata_log_dir,
                    usable_bytes = space.usable_bytes,
                    "the disk of the metadata log is full: nothing can be decided until there is room"
                );
                Err(ErrorCode::KafkaStorageError)
            }
            // What cannot be asked is left to the write.
            Ok(_) | Err(_) => Ok(()),
        }
    }
}
