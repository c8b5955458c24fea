//! Group commit: waiting appends of many logs become durable together.
//!
//! Always holds: what was appended before [`Commit::submit`] is durable when [`CommitTarget::committed`] says so; several
//! submits of one log before a round are one; a round runs on a thread that may block.
//!
//! [`SegmentSync`] syncs the segments themselves; [`Journal`](crate::journal::Journal) does that too, and goes by one file for many
//! logs when that is cheaper.

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

    /// [`flush`](crate::flush::flush) of everything: the journal is to be told that it is not needed any more. Blocks.
    fn flush(&self) -> Result<(), LogError>;
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

    /// Takes the log out of the queue, with what there is to make durable.
    pub(crate) fn ticket(self: Arc<Self>) -> Option<(Arc<Self>, FlushTicket)> {
        // Before the ticket is taken: what is appended from here on may need another round.
        self.queued.store(false, Ordering::Release);
        let ticket = self.target.flush_target()?;
        Some((self, ticket))
    }

    /// See [`CommitTarget::flush`].
    pub(crate) fn flush(&self) -> Result<(), LogError> {
        self.target.flush()
    }
}

/// Tells the owner what became of its ticket.
pub(crate) fn tell((submission, ticket): &(Arc<Submission>, FlushTicket), result: &Result<(), LogError>) {
    submission.target.committed(ticket, result.as_ref().copied());
}

/// Syncs the segments of a ticket, and tells the owner. Blocks.
pub(crate) fn sync_segments(waiting: &(Arc<Submission>, FlushTicket)) {
    tell(waiting, &waiting.1.sync());
}

/// Makes appends durable.
pub trait Commit: Send + Sync {
    /// Everything appended to the log so far is to become durable. Returns whether a round must be started: nobody waited
    /// before. Never blocks on the device.
    fn submit(&self, submission: &Arc<Submission>) -> bool;

    /// Makes what waits durable, tells the owners, and returns how many logs there were. Blocks. While there were any,
    /// others may wait already: run rounds until one finds none.
    fn run_round(&self) -> usize;

    /// Whether [`Commit::tidy`] has something to do.
    fn is_tidying_due(&self) -> bool {
        false
    }

    /// Does what rounds must not wait for; rounds may run meanwhile. One at a time. Blocks for long.
    fn tidy(&self) {}
}

/// Who waits for the next round.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    queue: Vec<Arc<Submission>>,
    /// The queue of the last round, emptied: its memory is used again.
    spare: Vec<Arc<Submission>>,
    running: bool,
}

impl Queue {
    /// See [`Commit::submit`].
    pub(crate) fn submit(&self, submission: &Arc<Submission>) -> bool {
        if submission.queued.swap(true, Ordering::AcqRel) {
            return false;
        }
        let mut waiting = self.waiting.lock();
        waiting.queue.push(Arc::clone(submission));
        !std::mem::replace(&mut waiting.running, true)
    }

    /// All who wait. With nobody, the next submission asks for a round.
    pub(crate) fn take(&self) -> Vec<Arc<Submission>> {
        let mut waiting = self.waiting.lock();
        waiting.running = !waiting.queue.is_empty();
        let spare = std::mem::take(&mut waiting.spare);
        std::mem::replace(&mut waiting.queue, spare)
    }

    /// A round is over: its memory, emptied, is for another.
    pub(crate) fn give_back(&self, emptied: Vec<Arc<Submission>>) {
        self.waiting.lock().spare = emptied;
    }
}

/// The commit that syncs the segments that were written to, one after another.
#[derive(Default)]
pub struct SegmentSync {
    queue: Queue,
}

impl Commit for SegmentSync {
    fn submit(&self, submission: &Arc<Submission>) -> bool {
        self.queue.submit(submission)
    }

    fn run_round(&self) -> usize {
        let mut round = self.queue.take();
        let count = round.len();
        for waiting in round.drain(..).filter_map(Submission::ticket) {
            sync_segments(&waiting);
        }
        self.queue.give_back(round);
        count
    }
}

#[cfg(test)]
mod tests;
