//! A disk in memory that loses what was not synced.
//!
//! Always holds: what the calls return is what Linux would return; what is there after [`Disk::crash`] is what a file
//! system may leave after the loss of a process or of power (`contents.rs` and `names.rs` say what that is). Handles and
//! locks of before a crash are dead after it. The same calls and the same seed leave the same disk.
//!
//! To place a crash after every single change: [`Disk::crash_after`] in a loop until [`Disk::is_down`] stays false.

mod calls;
mod contents;
mod faults;
mod file;
mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use klamm_model::TimestampMs;
use parking_lot::{Mutex, MutexGuard};

use crate::clock::Clock;
use crate::files::DirEntry;
use crate::sim::clock::{HostClock, SeededRng, SimTime};
use crate::sim::trace::Trace;

pub use faults::{Failure, Fault, Operation};

use contents::Contents;
use names::{Inode, Names, Place, ROOT};

/// What [`crate::files::Space::total_bytes`] says of a disk without a limit.
const UNLIMITED_BYTES: u64 = 1 << 44;
/// Removed files that may wait for their memory to be freed.
const MAX_REMOVED: usize = 64;

/// What ends the life of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashMode {
    /// The process is killed: all that was written is there, though still not synced.
    KeepPageCache,
    /// Power is lost before anything unsynced reached the device: exactly the synced is there.
    DropUnsynced,
    /// Power is lost while the cache was being written back: of the unsynced, what this seed chooses is there.
    Torn {
        /// Chooses.
        seed: u64,
    },
}

/// A simulated disk. A clone is the same disk.
#[derive(Clone)]
pub struct Disk {
    shared: Arc<Shared>,
}

struct Shared {
    host: String,
    clock: HostClock,
    trace: Trace,
    state: Mutex<State>,
}

struct State {
    files: BTreeMap<Inode, FileNode>,
    names: Names,
    next_inode: Inode,
    /// Which life of the machine this is.
    generation: u64,
    locks: BTreeSet<Inode>,
    is_down: bool,
    is_read_only: bool,
    capacity_bytes: Option<u64>,
    faults: Vec<Fault>,
    changes: u64,
    /// The change after which the machine is down.
    last_change: Option<u64>,
    removed: usize,
}

struct FileNode {
    contents: Contents,
    modified: TimestampMs,
    /// Shared with the open files.
    handles: Arc<()>,
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Disk({})", self.shared.host)
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self::new(
            "disk",
            HostClock::new(SimTime::default(), TimestampMs(0)),
            Trace::default(),
        )
    }
}

impl Disk {
    /// An empty disk of `host` that adds what is done to it to `trace`; `clock` says when files change.
    pub fn new(host: &str, clock: HostClock, trace: Trace) -> Self {
        Self {
            shared: Arc::new(Shared {
                host: host.to_owned(),
                clock,
                trace,
                state: Mutex::new(State {
                    files: BTreeMap::new(),
                    names: Names::default(),
                    next_inode: ROOT + 1,
                    generation: 0,
                    locks: BTreeSet::new(),
                    is_down: false,
                    is_read_only: false,
                    capacity_bytes: None,
                    faults: Vec::new(),
                    changes: 0,
                    last_change: None,
                    removed: 0,
                }),
            }),
        }
    }

    /// The machine stops: every call fails until [`Disk::crash`].
    pub fn power_off(&self) {
        self.state().is_down = true;
    }

    /// Ends this life of the machine and begins the next. Faults and limits stay as they are.
    pub fn crash(&self, mode: CrashMode) {
        self.note(format_args!("crash {mode:?}"));
        let mut state = self.state();
        let chance = match mode {
            CrashMode::Torn { seed } => Some(SeededRng::new(seed, &self.shared.host)),
            CrashMode::KeepPageCache | CrashMode::DropUnsynced => None,
        };
        if mode != CrashMode::KeepPageCache {
            state.names.lose_power(chance.as_ref());
            for file in state.files.values_mut() {
                file.contents.lose_power(chance.as_ref());
            }
        }
        state.generation += 1;
        state.locks.clear();
        state.is_down = false;
        state.last_change = None;
        for file in state.files.values_mut() {
            file.handles = Arc::default();
        }
        state.free_removed();
    }

    /// Power is off after the next `changes` changes ([`Operation::is_change`]); 0: from now on.
    pub fn crash_after(&self, changes: u64) {
        let mut state = self.state();
        state.last_change = Some(state.changes + changes);
    }

    /// Whether the machine is off, by [`Disk::power_off`] or because a call met the end that [`Disk::crash_after`] set.
    pub fn is_down(&self) -> bool {
        self.state().is_down
    }

    /// How many changes were made so far.
    pub fn changes(&self) -> u64 {
        self.state().changes
    }

    /// Brings all files and names to the device.
    pub fn sync_all(&self) {
        let mut state = self.state();
        state.names.sync_all();
        for file in state.files.values_mut() {
            file.contents.sync();
        }
    }

    /// Whether anything is there that a power loss could take.
    pub fn has_unsynced_data(&self) -> bool {
        self.state().files.values().any(|file| file.contents.is_dirty())
    }

    /// Memory forgets what it may: reads go to the device again ([`crate::File::read_at_resident`] gives `None`).
    pub fn evict_page_cache(&self) {
        for file in self.state().files.values_mut() {
            file.contents.evict();
        }
    }

    /// Has calls fail from now on.
    pub fn inject(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// No more injected failures.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// Gives the disk room for so many bytes (in whole pages; holes take none); `None` for no limit.
    pub fn limit(&self, capacity_bytes: Option<u64>) {
        self.state().capacity_bytes = capacity_bytes;
    }

    /// Refuses changes (EROFS), or takes them again.
    pub fn set_read_only(&self, is_read_only: bool) {
        self.state().is_read_only = is_read_only;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock()
    }

    fn now(&self) -> TimestampMs {
        self.shared.clock.now()
    }

    fn note(&self, what: fmt::Arguments<'_>) {
        let shared = &self.shared;
        shared.trace.note(shared.clock.time.elapsed(), &shared.host, what);
    }

    /// Every call (`calls.rs`, `file.rs`) comes through here first: it is noted, counted and perhaps refused.
    fn begin(
        &self,
        operation: Operation,
        path: &Path,
        detail: fmt::Arguments<'_>,
    ) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        let result = state.admit(operation, path);
        let refused = if result.is_err() { " refused" } else { "" };
        self.note(format_args!("{operation:?} {}{detail}{refused}", path.display()));
        result.map(|()| state)
    }
}

impl State {
    fn admit(&mut self, operation: Operation, path: &Path) -> io::Result<()> {
        if operation.is_change() && self.last_change.is_some_and(|last| self.changes >= last) {
            self.is_down = true;
        }
        if self.is_down {
            return Err(power_is_off());
        }
        if operation.is_change() && self.is_read_only {
            return Err(io::Error::from_raw_os_error(libc::EROFS));
        }
        // Each fault counts each call, whichever of them strikes.
        let mut struck = None;
        for fault in &mut self.faults {
            if fault.hits(operation, path) {
                struck = struck.or(Some(fault.failure));
            }
        }
        if operation.is_change() {
            self.changes += 1;
        }
        struck.map_or(Ok(()), |failure| Err(failure.error()))
    }

    fn file(&mut self, inode: Inode) -> io::Result<&mut FileNode> {
        // A name that is in no list of files is a folder's.
        self.files
            .get_mut(&inode)
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EISDIR))
    }

    fn new_inode(&mut self) -> Inode {
        self.next_inode += 1;
        self.next_inode - 1
    }

    fn new_file(&mut self, place: Place, now: TimestampMs) -> Inode {
        let inode = self.new_inode();
        self.files.insert(
            inode,
            FileNode {
                contents: Contents::default(),
                modified: now,
                handles: Arc::default(),
            },
        );
        self.names.add_file(place, inode);
        inode
    }

    /// The contents of an open file change.
    fn touch(&mut self, inode: Inode, now: TimestampMs) {
        if let Some(file) = self.files.get_mut(&inode) {
            file.modified = now;
        }
    }

    /// Room that is left, where there is a limit.
    fn free_bytes(&mut self) -> Option<u64> {
        let capacity = self.capacity_bytes?;
        self.free_removed();
        let used: u64 = self.files.values().map(|file| file.contents.stored_bytes()).sum();
        Some(capacity.saturating_sub(used))
    }

    fn was_removed(&mut self) {
        self.removed += 1;
        if self.removed > MAX_REMOVED {
            self.free_removed();
        }
    }

    /// Forgets the files without a name, present or possible, that nobody has open.
    fn free_removed(&mut self) {
        let named = self.names.named();
        self.files
            .retain(|inode, file| named.contains(inode) || Arc::strong_count(&file.handles) > 1);
        self.removed = 0;
    }

    fn dir_entry(&self, name: &str, inode: Inode) -> DirEntry {
        DirEntry {
            name: name.to_owned(),
            is_dir: self.names.is_folder(inode),
            len: self.files.get(&inode).map_or(0, |file| file.contents.len()),
        }
    }
}

fn power_is_off() -> io::Error {
    io::Error::other("the simulated machine is down")
}

#[cfg(test)]
mod tests;
