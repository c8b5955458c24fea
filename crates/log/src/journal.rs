//! The journal of a log dir: appends of many logs become durable by one write and one sync, while their segments stay in the page
//! cache and are flushed later.
//!
//! Always holds:
//! - What is durable by the journal is replayed until it is in its segments and synced: a file is used again only when the
//!   recovery points of all logs in it have passed what it has of them.
//! - It is prefix-closed: an entry begins where the log was durable before, so below it nothing is missing on the device.
//! - Before a log is cut, or its folder made anew, the journal is told to forget it, durably: an old round never meets what was
//!   written in its bytes' place.
//! - A write or a sync of the journal that fails takes the log dir out of service.
//! - A round that finds no room, or is not worth a write, syncs the segments: slower, never less safe, and never stuck.
//!
//! [`format`] is the bytes, [`ring`] the files and the next place in them, [`needs`] who needs which, [`replay`] the start; drawn in
//! `docs/formats/journal.md`.

mod apply;
mod find;
mod format;
mod needs;
pub(crate) mod replay;
mod ring;
mod settle;
mod walk;
mod way;
mod write;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use klamm_model::Offset;
use parking_lot::Mutex;

use crate::commit::{Commit, Queue, Submission, sync_segments, tell};
use crate::dir::LogDir;
use crate::error::LogError;
use crate::flush::FlushTicket;
use crate::home::Home;

use self::format::{Append, Entry, ROUND_HEADER_BYTES, Whose};
pub(crate) use self::needs::Floor;
use self::needs::Needs;
pub use self::ring::Limits;
use self::ring::{Ring, make};
pub(crate) use self::settle::{left, recreate, retired, retired_names, settle};
use self::way::Range;
use self::write::{Piece, round_bytes};

/// A round has at most so many bytes; what waits beyond is the next.
const ROUND_BYTES: u64 = 4 * 1024 * 1024;
/// Rounds without room before a making or freeing of files that failed is tried again.
const PATIENCE: u32 = 1000;

/// What a log dir knows of its journal.
#[derive(Default)]
pub(crate) struct Book {
    ring: Mutex<Ring>,
    needs: Mutex<Needs>,
}

impl Book {
    /// What a log must have when it is opened, by what the journal had for it at the start.
    pub(crate) fn floor(&self, home: &Home) -> Option<Floor> {
        self.needs.lock().floor(whose(home))
    }

    /// Everything of the log below `recovery_point` is in its segments, and synced.
    pub(crate) fn flushed(&self, home: &Home, recovery_point: Offset) {
        self.needs.lock().flushed(whose(home), recovery_point);
    }
}

fn whose(home: &Home) -> Whose {
    (home.topic_id, home.partition.partition)
}

/// Sums since the start, and how the journal stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Rounds written.
    pub rounds: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Logs whose segments were synced directly.
    pub direct_syncs: u64,
    /// Files there are.
    pub files: usize,
    /// Files that no log needs.
    pub ready_files: usize,
}

/// The commit of a log dir that goes by its journal when that is cheaper.
pub struct Journal {
    dir: Arc<LogDir>,
    limits: Limits,
    queue: Queue,
    /// There is something for [`Commit::tidy`].
    due: AtomicBool,
    /// Rounds to wait before the next try to make or free files.
    patience: AtomicU32,
    rounds: AtomicU64,
    bytes: AtomicU64,
    direct_syncs: AtomicU64,
    files: AtomicUsize,
    ready_files: AtomicUsize,
}

type Waiting = (Arc<Submission>, FlushTicket);

impl Journal {
    /// The commit of `dir`; no file is made until it is of use.
    pub fn new(dir: Arc<LogDir>, limits: Limits) -> Self {
        Self {
            dir,
            limits: limits.in_blocks(),
            queue: Queue::default(),
            due: AtomicBool::new(false),
            patience: AtomicU32::new(0),
            rounds: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            direct_syncs: AtomicU64::new(0),
            files: AtomicUsize::new(0),
            ready_files: AtomicUsize::new(0),
        }
    }

    /// How it stands.
    pub fn stats(&self) -> Stats {
        Stats {
            rounds: self.rounds.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            direct_syncs: self.direct_syncs.load(Ordering::Relaxed),
            files: self.files.load(Ordering::Relaxed),
            ready_files: self.ready_files.load(Ordering::Relaxed),
        }
    }

    /// For who must not wait for the ring.
    fn count_files(&self, ring: &Ring) {
        self.files.store(ring.file_count(), Ordering::Relaxed);
        self.ready_files.store(ring.ready.len(), Ordering::Relaxed);
    }

    fn is_off(&self) -> bool {
        self.limits.max_bytes < self.limits.file_bytes
    }

    /// Writes the small ranges of the round to the journal, if it is worth it and there is room. Those that are durable then, or for
    /// whom it failed, are told; the others are returned.
    fn journal(&self, submissions: &mut Vec<Arc<Submission>>) -> Vec<Waiting> {
        let book = self.dir.book();
        // Held from before the tickets are taken: who makes the journal forget a log waits until what it has of it is written.
        let mut ring = book.ring.lock();
        let mut waiting: Vec<Waiting> = submissions.drain(..).filter_map(Submission::ticket).collect();
        waiting
            .iter_mut()
            .for_each(|(_, ticket)| ticket.keep_out_unless_in(&self.dir));
        if !way::is_worth_a_round(waiting.iter().map(|(_, ticket)| ticket.range())) {
            return waiting;
        }
        let (mut small, mut direct): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|(_, ticket)| ticket.range().is_small());
        let mut done = 0;
        let mut failure = None;
        while done < small.len() {
            let (group, bytes) = group(&small[done..]);
            match self.write(&mut ring, &small[done..done + group], bytes) {
                Ok(true) => {
                    small[done..done + group]
                        .iter_mut()
                        .for_each(|(_, ticket)| ticket.set_journaled());
                    done += group;
                }
                Ok(false) => break,
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        self.count_files(&ring);
        if ring.wants_another(self.limits) || ring.oldest_full().is_some() {
            self.ask_for_tidying();
        }
        drop(ring);
        let rest = small.split_off(done);
        small.iter().for_each(|waiting| tell(waiting, &Ok(())));
        match failure {
            None => direct.extend(rest),
            Some(error) => {
                let failed = Err(error);
                rest.iter().for_each(|waiting| tell(waiting, &failed));
            }
        }
        direct
    }

    /// `false` if there is no room.
    fn write(&self, ring: &mut Ring, group: &[Waiting], bytes: u64) -> Result<bool, LogError> {
        if !ring.take_room(&self.dir, bytes, self.limits)? {
            return Ok(false);
        }
        let pieces: Vec<Piece<'_>> = group.iter().flat_map(|(_, ticket)| pieces(ticket)).collect();
        debug_assert_eq!(round_bytes(&pieces), bytes);
        let written = ring.write(&self.dir, &pieces)?;
        let mut needs = self.dir.book().needs.lock();
        for (submission, ticket) in group {
            let submission = Arc::downgrade(submission);
            needs.add(
                written.sequence,
                whose(ticket.home()),
                ticket.up_to(),
                &submission,
            );
        }
        drop(needs);
        self.rounds.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(written.bytes, Ordering::Relaxed);
        Ok(true)
    }

    fn ask_for_tidying(&self) {
        let waits = |patience: u32| patience.checked_sub(1);
        let waited = self
            .patience
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, waits);
        if waited.is_err() {
            self.due.store(true, Ordering::Release);
        }
    }

    /// Flushes the logs that need full files, oldest first, so that these become free. Whether all went well.
    fn free_full(&self) -> bool {
        let book = self.dir.book();
        loop {
            let Some(sequence) = book.ring.lock().oldest_full() else {
                return true;
            };
            let who = book.needs.lock().who_can_flush(sequence);
            for submission in who {
                match submission.flush() {
                    // Deleted meanwhile.
                    Ok(()) | Err(LogError::Retired) => {}
                    Err(error) => {
                        tracing::warn!(%error, "a log could not be flushed, and a journal file not freed");
                        return false;
                    }
                }
            }
            if !book.needs.lock().release(sequence) {
                return false;
            }
            book.ring.lock().free_oldest(sequence);
        }
    }

    /// Makes another file if one is wanted and there is room for it. Whether all went well.
    fn make_wanted(&self) -> bool {
        let name = {
            let mut ring = self.dir.book().ring.lock();
            self.count_files(&ring);
            if !ring.wants_another(self.limits) {
                return true;
            }
            ring.take_name()
        };
        match make(&self.dir, name, self.limits.file_bytes) {
            Ok(file) => {
                let mut ring = self.dir.book().ring.lock();
                ring.ready.push_back(file);
                self.count_files(&ring);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "no journal file can be made: commits sync the segments one by one");
                false
            }
        }
    }
}

/// How many of the first tickets go into one round, and its bytes.
fn group(waiting: &[Waiting]) -> (usize, u64) {
    let (mut count, mut bytes) = (0, ROUND_HEADER_BYTES as u64);
    for (_, ticket) in waiting {
        let more: u64 = pieces(ticket).map(|piece| piece.bytes()).sum();
        if count > 0 && bytes + more > ROUND_BYTES {
            break;
        }
        count += 1;
        bytes += more;
    }
    (count, bytes)
}

/// The entries of a ticket, in the order of their offsets.
fn pieces(ticket: &FlushTicket) -> impl Iterator<Item = Piece<'_>> {
    ticket.ranges().map(|(range, source)| Piece {
        entry: Entry::Append(Append {
            whose: whose(ticket.home()),
            leader_epoch: ticket.leader_epoch(),
            base_offset: range.base_offset,
            end_offset: range.end_offset,
            segment: range.segment,
            position: range.position,
            length: range.length,
        }),
        source: Some(source),
    })
}

impl FlushTicket {
    fn range(&self) -> Range {
        let (bytes, files) = self.extent();
        Range {
            bytes,
            files,
            may_be_journaled: self.may_be_journaled(),
        }
    }
}

impl Commit for Journal {
    fn submit(&self, submission: &Arc<Submission>) -> bool {
        self.queue.submit(submission)
    }

    fn run_round(&self) -> usize {
        let mut round = self.queue.take();
        let count = round.len();
        // A few need no journal, whatever they have.
        if count > 2 && !self.is_off() {
            for waiting in self.journal(&mut round) {
                self.direct_syncs.fetch_add(1, Ordering::Relaxed);
                sync_segments(&waiting);
            }
        }
        for waiting in round.drain(..).filter_map(Submission::ticket) {
            self.direct_syncs.fetch_add(1, Ordering::Relaxed);
            sync_segments(&waiting);
        }
        self.queue.give_back(round);
        count
    }

    fn is_tidying_due(&self) -> bool {
        self.due.load(Ordering::Acquire)
    }

    fn tidy(&self) {
        if !self.due.swap(false, Ordering::AcqRel) || self.dir.failure().is_some() {
            return;
        }
        let freed = self.free_full();
        let made = self.make_wanted();
        if !(freed && made) {
            self.patience.store(PATIENCE, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
