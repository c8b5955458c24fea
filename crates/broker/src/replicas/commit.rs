//! Drives the commit of one log dir: whoever has appended is made durable in the next round, all that came meanwhile in
//! the one after.
//!
//! Always holds: one round a log dir at a time, on a thread that may block; the task sleeps while nobody waits.

use std::sync::{Arc, Weak};

use klamm_env::Env;
use klamm_log::{
    Commit, CommitTarget, FlushScope, FlushTicket, LogCell, LogError, SegmentSync, Submission,
};
use tokio::sync::Notify;

use super::partition::Partition;
use crate::vitals::Vitals;

/// See the head of the file.
pub(crate) struct Committer {
    commit: Box<dyn Commit>,
    /// Wakes the task, which must not keep the committer itself.
    waiting: Arc<Notify>,
}

impl Committer {
    /// Starts the commit of a log dir.
    pub(crate) fn start(env: &Env, vitals: &Arc<Vitals>) -> Arc<Self> {
        let committer = Arc::new(Self {
            commit: Box::new(SegmentSync::default()),
            waiting: Arc::default(),
        });
        let weak = Arc::downgrade(&committer);
        let driving = drive(env.clone(), weak, committer.waiting.clone());
        vitals.spawn(env, "makes appends durable", driving);
        committer
    }

    /// Makes what was appended to the log durable, and tells it.
    pub(crate) fn submit(&self, submission: &Arc<Submission>) {
        if self.commit.submit(submission) {
            self.waiting.notify_one();
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.waiting.notify_one();
    }
}

async fn drive(env: Env, committer: Weak<Committer>, waiting: Arc<Notify>) {
    loop {
        waiting.notified().await;
        let Some(held) = committer.upgrade() else { return };
        env.blocking(move || while held.commit.run_round() > 0 {}).await;
    }
}

/// A partition as the commit sees it: it may be gone by the time of the round.
pub(super) struct Target(pub(super) Weak<Partition>);

impl CommitTarget for Target {
    fn flush_target(&self) -> Option<FlushTicket> {
        self.0.upgrade()?.with(|log| log.flush_target())
    }

    fn committed(&self, ticket: &FlushTicket, result: Result<(), &LogError>) {
        let Some(partition) = self.0.upgrade() else { return };
        match result {
            Ok(()) => partition.made_durable(ticket),
            Err(_) => partition.storage_failed(),
        }
    }

    fn flush(&self) -> Result<(), LogError> {
        let partition = self.0.upgrade().ok_or(LogError::Retired)?;
        partition.flush(FlushScope::All)
    }
}
