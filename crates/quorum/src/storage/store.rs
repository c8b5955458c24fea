//! The log and the vote as openraft sees them.
//!
//! Always holds: what [`Memory`] says is on disk or on its way there in the same order ([`crate::storage::writer`]);
//! an entry leaves the memory only when it is on disk; reading gives every entry of the range that the log holds, and
//! nothing that was cut.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use klamm_env::{Env, Task};
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{EntryPayload, OptionalSend};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::codec::FRAME_OVERHEAD_BYTES;
use crate::error::FileError;
use crate::storage::log::{DiskLog, Place, Recovered};
use crate::storage::writer::{self, Done, Failure, Write};
use crate::storage::{Folder, vote};
use crate::types::{Entry, LogId, Types, Vote, term_of};

/// Bytes of entries that are kept in memory after they are written.
const CACHE_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of entries that one message to a follower carries; more only for a single entry.
const MAX_READ_BYTES: usize = 1024 * 1024;

/// An entry: in memory, on disk, or both.
struct Slot {
    log_id: LogId,
    entry: Option<Entry>,
    place: Option<Place>,
}

/// The log as it will be when all writes are done.
pub(crate) struct Memory {
    pub(crate) vote: Option<Vote>,
    purged: Option<LogId>,
    committed: Option<LogId>,
    slots: VecDeque<Slot>,
    /// Slots at the front whose entry has left the memory.
    cold: usize,
    cached_bytes: usize,
}

impl Memory {
    fn new(vote: Option<Vote>, recovered: Recovered, snapshot: Option<LogId>) -> Self {
        let mut memory = Self {
            vote,
            purged: recovered.purged,
            committed: None,
            slots: VecDeque::new(),
            cold: 0,
            cached_bytes: 0,
        };
        for (entry, place) in recovered.entries {
            let log_id = entry.log_id;
            memory.push(entry);
            memory.written(&log_id, place);
        }
        let last = memory.last().map_or(0, |id| id.index + 1);
        let recorded = recovered.committed_end.min(last);
        memory.committed = recorded
            .checked_sub(1)
            .and_then(|index| memory.at(index))
            .max(snapshot);
        memory
    }

    fn first(&self) -> u64 {
        self.slots.front().map_or(0, |slot| slot.log_id.index)
    }

    fn slot(&self, index: u64) -> Option<&Slot> {
        let at = index.checked_sub(self.first())?;
        self.slots.get(usize::try_from(at).ok()?)
    }

    /// The id of entry `index`, if it is here or just before the first one.
    fn at(&self, index: u64) -> Option<LogId> {
        let purged = self.purged.filter(|purged| purged.index == index);
        self.slot(index).map(|slot| slot.log_id).or(purged)
    }

    pub(crate) fn last(&self) -> Option<LogId> {
        self.slots.back().map(|slot| slot.log_id).or(self.purged)
    }

    pub(crate) fn purged(&self) -> Option<LogId> {
        self.purged
    }

    /// The id of the entry before `index`.
    pub(crate) fn before(&self, index: u64) -> Option<LogId> {
        self.at(index.checked_sub(1)?)
    }

    pub(crate) fn committed_end(&self) -> u64 {
        self.committed.map_or(0, |id| id.index + 1)
    }

    pub(crate) fn place(&self, index: u64) -> Option<Place> {
        self.slot(index)?.place.clone()
    }

    fn push(&mut self, entry: Entry) {
        self.cached_bytes += cost(&entry);
        self.slots.push_back(Slot {
            log_id: entry.log_id,
            entry: Some(entry),
            place: None,
        });
    }

    /// Notes that the entry stands at `place`.
    pub(crate) fn written(&mut self, id: &LogId, place: Place) {
        let Some(at) = id.index.checked_sub(self.first()) else {
            return;
        };
        if let Some(slot) = self.slots.get_mut(at as usize).filter(|slot| slot.log_id == *id) {
            slot.place = Some(place);
        }
        while self.cached_bytes > CACHE_BYTES {
            let Some(slot) = self.slots.get_mut(self.cold).filter(|slot| slot.place.is_some()) else {
                return;
            };
            self.cached_bytes -= slot.entry.take().map_or(0, |entry| cost(&entry));
            self.cold += 1;
        }
    }

    pub(crate) fn cut(&mut self, from: u64) {
        while self.slots.back().is_some_and(|slot| slot.log_id.index >= from) {
            let slot = self.slots.pop_back().expect("seen above");
            self.cached_bytes -= slot.entry.map_or(0, |entry| cost(&entry));
        }
        self.cold = self.cold.min(self.slots.len());
    }

    pub(crate) fn purge(&mut self, upto: LogId) {
        while self
            .slots
            .front()
            .is_some_and(|slot| slot.log_id.index <= upto.index)
        {
            let slot = self.slots.pop_front().expect("seen above");
            self.cached_bytes -= slot.entry.map_or(0, |entry| cost(&entry));
            self.cold = self.cold.saturating_sub(1);
        }
        self.purged = Some(upto);
    }
}

/// Bytes that an entry takes in a message or a file.
fn cost(entry: &Entry) -> usize {
    FRAME_OVERHEAD_BYTES
        + match &entry.payload {
            EntryPayload::Normal(decision) => decision.0.len(),
            EntryPayload::Blank | EntryPayload::Membership(_) => 0,
        }
}

/// Reads the log. A clone reads the same log.
#[derive(Clone)]
pub(crate) struct LogReader {
    env: Env,
    memory: Arc<Mutex<Memory>>,
}

enum Piece {
    Here(Entry),
    OnDisk(Place),
}

impl LogReader {
    /// The entries of `range`, of which only the first are given when they exceed `limit` bytes.
    async fn read(&self, range: impl RangeBounds<u64>, limit: usize) -> io::Result<Vec<Entry>> {
        let (pieces, cold) = self.collect(range, limit);
        if !cold {
            let here = pieces.into_iter().filter_map(|piece| match piece {
                Piece::Here(entry) => Some(entry),
                Piece::OnDisk(_) => None,
            });
            return Ok(here.collect());
        }
        let read = move || {
            let read = |piece| match piece {
                Piece::Here(entry) => Ok(entry),
                Piece::OnDisk(place) => place.read(),
            };
            pieces
                .into_iter()
                .map(read)
                .collect::<Result<Vec<_>, FileError>>()
        };
        Ok(self.env.blocking(read).await?)
    }

    fn collect(&self, range: impl RangeBounds<u64>, limit: usize) -> (Vec<Piece>, bool) {
        let memory = self.memory.lock();
        let from = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let mut pieces = Vec::new();
        let mut cold = false;
        let mut bytes = 0;
        let skipped = from.saturating_sub(memory.first());
        let slots = memory
            .slots
            .iter()
            .skip(usize::try_from(skipped).unwrap_or(usize::MAX));
        for slot in slots.take_while(|slot| range.contains(&slot.log_id.index)) {
            let (piece, size) = match (&slot.entry, &slot.place) {
                (Some(entry), _) => (Piece::Here(entry.clone()), cost(entry)),
                (None, Some(place)) => (Piece::OnDisk(place.clone()), place.frame_bytes()),
                (None, None) => unreachable!("an entry leaves the memory only when it is on disk"),
            };
            bytes += size;
            if bytes > limit && !pieces.is_empty() {
                break;
            }
            cold |= matches!(piece, Piece::OnDisk(_));
            pieces.push(piece);
        }
        (pieces, cold)
    }
}

impl RaftLogReader<Types> for LogReader {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        self.read(range, usize::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        self.read(start..end, MAX_READ_BYTES).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.memory.lock().vote)
    }
}

/// The log, for the one who writes it.
pub(crate) struct LogStore {
    reader: LogReader,
    writes: mpsc::Sender<Write>,
}

impl LogStore {
    /// Opens the log and the vote in `folder`, and starts the task that writes them. `snapshot` is the last entry of
    /// the snapshot in force.
    pub(crate) async fn open(
        env: &Env,
        folder: Folder,
        segment_bytes: u64,
        snapshot: Option<LogId>,
        failure: Failure,
    ) -> Result<(Self, Task<()>), FileError> {
        let opening = folder.clone();
        let open = move || {
            let vote = vote::read(&opening)?;
            let (log, recovered) = DiskLog::open(opening.clone(), segment_bytes, snapshot)?;
            let last = recovered.entries.last().map(|(entry, _)| entry.log_id);
            vote::check(&opening, vote.as_ref(), last.max(recovered.purged).max(snapshot))?;
            check_snapshot(&opening, &recovered, snapshot)?;
            Ok::<_, FileError>((vote, log, recovered))
        };
        let (vote, log, recovered) = env.blocking(open).await?;
        if recovered.torn_bytes > 0 {
            tracing::warn!(
                bytes = recovered.torn_bytes,
                "cut the torn end of the metadata log"
            );
        }
        let memory = Arc::new(Mutex::new(Memory::new(vote, recovered, snapshot)));
        let (writes, task) = writer::start(env, folder, log, memory.clone(), failure);
        let reader = LogReader {
            env: env.clone(),
            memory,
        };
        Ok((Self { reader, writes }, task))
    }

    async fn write(&self, write: impl FnOnce(Done) -> Write) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        self.send(write(done)).await?;
        answer.await.map_err(|_| stopped())?
    }

    async fn send(&self, write: Write) -> io::Result<()> {
        self.writes.send(write).await.map_err(|_| stopped())
    }
}

/// Refuses a log that is not the one that `snapshot`, its last entry, was taken of: terms never fall from entry to entry.
fn check_snapshot(folder: &Folder, recovered: &Recovered, snapshot: Option<LogId>) -> Result<(), FileError> {
    let Some(snapshot) = snapshot else {
        return Ok(());
    };
    let entries = recovered.entries.iter().map(|(entry, _)| entry.log_id);
    let unfit = recovered.purged.into_iter().chain(entries).find(|id| {
        let (order, terms) = (
            id.index.cmp(&snapshot.index),
            term_of(id).cmp(&term_of(&snapshot)),
        );
        terms.is_ne() && terms != order
    });
    let Some(unfit) = unfit else { return Ok(()) };
    let what = format!("the log has {unfit} and the snapshot ends with {snapshot}");
    Err(Folder::corrupt(&folder.path, 0, what))
}

fn stopped() -> io::Error {
    io::Error::other("the task that writes the metadata log has ended")
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let memory = self.reader.memory.lock();
        Ok(LogState {
            last_purged_log_id: memory.purged,
            last_log_id: memory.last(),
        })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        self.reader.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let vote = *vote;
        self.write(|done| Write::Vote(vote, done)).await
    }

    /// Not written by itself: each entry on disk carries what was committed when it was written.
    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.reader.memory.lock().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.reader.memory.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().collect::<Vec<_>>();
        {
            let mut memory = self.reader.memory.lock();
            for entry in &entries {
                let last = memory.last();
                if last.is_some_and(|last| last.index + 1 != entry.log_id.index) {
                    let text = format!("entry {} cannot follow {last:?}", entry.log_id);
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
                }
                memory.push(entry.clone());
            }
        }
        self.send(Write::Append { entries, flushed }).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let from = match last {
            Some(last) => last.index + 1,
            None => self.reader.memory.lock().first(),
        };
        self.write(|done| Write::Cut(from, done)).await
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        self.write(|done| Write::Purge(upto, done)).await
    }
}
