//! Drives the commit of one log dir: whoever has appended is made durable in the next round, all that came meanwhile in
//! the one after.
//!
//! Always holds: one round a log dir at a time, on a thread that may block; the task sleeps while nobody waits. Beside the rounds
//! runs at most one tidying of the journal: it makes files, and flushes the logs that full ones are needed for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use klamm_env::Env;
use klamm_log::journal::{Limits, Stats};
use klamm_log::{
    Commit, CommitTarget, FlushScope, FlushTicket, Journal, LogCell, LogDir, LogError, Submission,
};
use tokio::sync::Notify;

use super::partition::Partition;
use crate::vitals::Vitals;

/// See the head of the file.
pub(crate) struct Committer {
    journal: Journal,
    is_tidying: AtomicBool,
    /// Wakes the task, which must not keep the committer itself.
    waiting: Arc<Notify>,
}

impl Committer {
    /// Starts the commit of a log dir.
    pub(crate) fn start(env: &Env, vitals: &Arc<Vitals>, dir: &Arc<LogDir>, limits: Limits) -> Arc<Self> {
        let committer = Arc::new(Self {
            journal: Journal::new(dir.clone(), limits),
            is_tidying: AtomicBool::new(false),
            waiting: Arc::default(),
        });
        let weak = Arc::downgrade(&committer);
        let driving = drive(env.clone(), vitals.clone(), weak, committer.waiting.clone());
        vitals.spawn(env, "makes appends durable", driving);
        committer
    }

    /// Makes what was appended to the log durable, and tells it.
    pub(crate) fn submit(&self, submission: &Arc<Submission>) {
        if self.journal.submit(submission) {
            self.waiting.notify_one();
        }
    }

    fn run_rounds(&self) -> Next {
        while self.journal.run_round() > 0 {
            if self.journal.is_tidying_due() && !self.is_tidying.swap(true, Ordering::AcqRel) {
                return Next::Tidy;
            }
        }
        Next::Wait
    }

    /// What the journal has done, and how it stands.
    pub(crate) fn stats(&self) -> Stats {
        self.journal.stats()
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.waiting.notify_one();
    }
}

async fn drive(env: Env, vitals: Arc<Vitals>, committer: Weak<Committer>, waiting: Arc<Notify>) {
    loop {
        waiting.notified().await;
        let Some(held) = committer.upgrade() else { return };
        loop {
            let running = held.clone();
            let next = env.blocking(move || running.run_rounds()).await;
            match next {
                Next::Wait => break,
                Next::Tidy => tidy(&env, &vitals, held.clone()),
            }
        }
    }
}

/// What there is to do when no more rounds are run.
enum Next {
    /// Nobody waits.
    Wait,
    /// The journal is to be looked after; somebody may wait.
    Tidy,
}

/// Rounds go on meanwhile.
fn tidy(env: &Env, vitals: &Arc<Vitals>, committer: Arc<Committer>) {
    let blocking = env.clone();
    vitals.spawn(env, "looks after the journal", async move {
        blocking
            .blocking(move || {
                committer.journal.tidy();
                committer.is_tidying.store(false, Ordering::Release);
            })
            .await;
    });
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
