//! Open files, as few as possible: a file is opened when it is needed and closed when many others were needed since.
//!
//! Always holds: the cache keeps at most its limit of files open; who has got a file from it may use it for as long as
//! it keeps it, also after the cache has let it go.
//!
//! The cache is a ring with a hand (second chance): a use only sets a flag, so that no lock is shared on the way of a
//! request.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use klamm_env::{File, Files, OpenMode};
use parking_lot::Mutex;

/// The files that are kept open, of all logs of a node.
#[derive(Debug)]
pub struct HandleCache {
    limit: usize,
    open: AtomicUsize,
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    handles: Vec<Arc<Cached>>,
    hand: usize,
}

#[derive(Debug)]
struct Cached {
    file: Arc<dyn File>,
    used: AtomicBool,
}

impl HandleCache {
    /// A cache of at most `limit` files (at least one).
    pub fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            open: AtomicUsize::new(0),
            ring: Mutex::default(),
        }
    }

    /// How many files the cache keeps open.
    pub fn open_count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    fn keep(&self, cached: &Arc<Cached>) {
        let mut ring = self.ring.lock();
        let evicted = if ring.handles.len() < self.limit {
            ring.handles.push(Arc::clone(cached));
            None
        } else {
            let at = ring.victim();
            Some(std::mem::replace(&mut ring.handles[at], Arc::clone(cached)))
        };
        self.open.store(ring.handles.len(), Ordering::Relaxed);
        drop(ring);
        // Closing may take time: not under the lock.
        drop(evicted);
    }
}

impl HandleCache {
    fn forget(&self, cached: &Arc<Cached>) {
        let mut ring = self.ring.lock();
        ring.handles.retain(|handle| !Arc::ptr_eq(handle, cached));
        self.open.store(ring.handles.len(), Ordering::Relaxed);
    }
}

impl Ring {
    fn victim(&mut self) -> usize {
        loop {
            let at = self.hand % self.handles.len();
            self.hand = at + 1;
            if !self.handles[at].used.swap(false, Ordering::Relaxed) {
                return at;
            }
        }
    }
}

/// The place of one file that may be open.
#[derive(Debug, Default)]
pub(crate) struct Slot(Mutex<Weak<Cached>>);

impl Slot {
    /// The file, if it is open. Never blocks on the device.
    pub(crate) fn get(&self) -> Option<Arc<dyn File>> {
        let cached = self.0.lock().upgrade()?;
        if !cached.used.load(Ordering::Relaxed) {
            cached.used.store(true, Ordering::Relaxed);
        }
        Some(Arc::clone(&cached.file))
    }

    /// The file, opened if it is not. Blocks.
    pub(crate) fn open(
        &self,
        cache: &HandleCache,
        files: &dyn Files,
        path: &Path,
        mode: OpenMode,
    ) -> io::Result<Arc<dyn File>> {
        if let Some(file) = self.get() {
            return Ok(file);
        }
        let file = files.open(path, mode)?;
        self.put(cache, &file);
        Ok(file)
    }

    /// Takes in a file that was opened elsewhere.
    pub(crate) fn put(&self, cache: &HandleCache, file: &Arc<dyn File>) {
        let cached = Arc::new(Cached {
            file: Arc::clone(file),
            used: AtomicBool::new(true),
        });
        *self.0.lock() = Arc::downgrade(&cached);
        cache.keep(&cached);
    }

    /// Lets the file go: it is closed as soon as nobody uses it.
    pub(crate) fn close(&self, cache: &HandleCache) {
        let cached = std::mem::take(&mut *self.0.lock()).upgrade();
        if let Some(cached) = cached {
            cache.forget(&cached);
        }
    }
}
