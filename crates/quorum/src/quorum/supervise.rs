//! The task that follows Raft: who leads, whether it lives, and when a snapshot is due.

use std::sync::Arc;

use openraft::async_runtime::WatchReceiver;
use tokio::sync::watch;

use crate::applier::Shared;
use crate::error::StartError;
use crate::quorum::Leadership;
use crate::storage::writer::Failure;
use crate::types::{Raft, node_id, term_of};

pub(super) struct Supervisor {
    pub(super) raft: Raft,
    pub(super) applier: Arc<Shared>,
    pub(super) leading: watch::Sender<Leadership>,
    pub(super) failing: Failure,
    pub(super) stopping: watch::Receiver<bool>,
}

impl Supervisor {
    pub(super) async fn run(self) {
        let mut metrics = self.raft.metrics();
        loop {
            let running = metrics.borrow_and_update().running_state.clone();
            if let Err(error) = running {
                self.end(&error.to_string());
                return;
            }
            self.publish();
            let mut stopping = self.stopping.clone();
            tokio::select! {
                biased;
                () = async { drop(stopping.wait_for(|stop| *stop).await) } => {
                    self.leading.send_modify(|leadership| leadership.leader = None);
                    return;
                }
                changed = metrics.changed() => if changed.is_err() {
                    self.end("it ended");
                    return;
                },
                () = self.applier.due.notified() => {
                    if let Err(error) = self.raft.trigger().snapshot().await {
                        self.end(&error.to_string());
                        return;
                    }
                }
            }
        }
    }

    /// Raft has ended: by a failure, unless it was asked to.
    fn end(&self, text: &str) {
        self.leading.send_modify(|leadership| leadership.leader = None);
        if *self.stopping.borrow() {
            return;
        }
        self.failing.send_if_modified(|failure| {
            let first = failure.is_none();
            if first {
                let refused = self.applier.refused.lock().take();
                let text = match refused {
                    Some((position, error)) => StartError::Replay { position, error }.to_string(),
                    None => text.to_owned(),
                };
                tracing::error!(error = text, "this node's quorum stops");
                *failure = Some(text);
            }
            first
        });
    }

    fn publish(&self) {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let ready = metrics.last_applied.as_ref().map(term_of) == Some(metrics.current_term);
        let now = Leadership {
            leader: metrics
                .current_leader
                .filter(|leader| *leader != metrics.id || ready)
                .map(node_id),
            term: metrics.current_term,
        };
        self.leading.send_if_modified(|leadership| {
            let changed = *leadership != now;
            *leadership = now;
            changed
        });
    }
}
