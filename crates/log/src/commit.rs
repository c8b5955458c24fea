//! Group commit: waiting appends of many logs become durable together.
//!
//! Always holds: what was appended before [`Commit::submit`] is durable when [`CommitTarget::committed`] says so; several
//! submits of one log before a round are one; a round runs on a thread that may block.
//!
//! [`SegmentSync`] syncs the segments themselves. A journal will stand in its place, behind the same trait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::error::LogError;
use crate::flush::FlushTicket;

/// A log whose appends wait, as its owner gives access to it.
pub trait CommitTarget: Send + Sync {
    /// [`Log::flush_target`](crate::Log::flush_target), under the owner's lock.
    fn flush_target(&self) -> Option<FlushTicket>;

    /// The ticket's bytes are durable: [`Log::flushed`](crate::Log::flushed) is to be called under the owner's lock, and
    /// who waits to be told. Or they are not, and the log dir is out of service.
    fn committed(&self, ticket: &FlushTicket, result: Result<(), &LogError>);
}

/// A log's place in the queue; made once per log.
pub struct Submission {
    target: Box<dyn CommitTarget>,
    queued: AtomicBool,
}

impl Submission {
    /// The place of `target`.
    pub fn new(target: impl CommitTarget + 'static) -> Arc<Self> {
        Arc::new(Self {
            target: Box::new(target),
            queued: AtomicBool::new(false),
        })
    }
}

/// Makes appends durable.
pub trait Commit: Send + Sync {
    /// Everything appended to the log so far is to become durable. Returns whether a round must be started: nobody waited
    /// before. Never blocks on the device.
    fn submit(&self, submission: &Arc<Submission>) -> bool;

    /// Makes what waits durable, tells the owners, and returns how many logs there were. Blocks. While there were any,
    /// others may wait already: run rounds until one finds none.
    fn run_round(&self) -> usize;
}

/// The commit that syncs the segments that were written to, one after another.
#[derive(Default)]
pub struct SegmentSync {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    queue: Vec<Arc<Submission>>,
    /// The queue of the last round, emptied: its memory is used again.
    spare: Vec<Arc<Submission>>,
    running: bool,
}

impl Commit for SegmentSync {
    fn submit(&self, submission: &Arc<Submission>) -> bool {
        if submission.queued.swap(true, Ordering::AcqRel) {
            return false;
        }
        let mut waiting = self.waiting.lock();
        waiting.queue.push(Arc::clone(submission));
        !std::mem::replace(&mut waiting.running, true)
    }

    fn run_round(&self) -> usize {
        let mut round = {
            let mut waiting = self.waiting.lock();
            waiting.running = !waiting.queue.is_empty();
            let spare = std::mem::take(&mut waiting.spare);
            std::mem::replace(&mut waiting.queue, spare)
        };
        let count = round.len();
        for submission in round.drain(..) {
            // Before the ticket is taken: what is appended from here on may need another round.
            submission.queued.store(false, Ordering::Release);
            if let Some(ticket) = submission.target.flush_target() {
                let result = ticket.sync();
                submission.target.committed(
                    &ticket,
                    match &result {
                        Ok(()) => Ok(()),
                        Err(error) => Err(error),
                    },
                );
            }
        }
        self.waiting.lock().spare = round;
        count
    }
}

#[cfg(test)]
mod tests;
