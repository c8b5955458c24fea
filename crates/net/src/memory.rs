//! The memory that all requests of the node share.
//!
//! Always holds: what is charged never exceeds the limit by more than one request. When it is used up, those who need
//! more wait: readers, decoders, and those who make large answers; one of them at a time may overdraw, so that half-read
//! frames can never block each other for good. A client that never sends the rest, or never reads its answer, could: the
//! server watches those who wait ([`RequestMemory::contended`]) and lets go of such a client. Answers to parked requests,
//! for which nobody can wait, come on top: each is no larger than what its request was charged with.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// A budget of bytes. A clone is the same budget.
#[derive(Clone, Debug)]
pub struct RequestMemory {
    shared: Arc<Reference>,
}

/// What a budget's clones and charges count themselves by. A connection has one of its own: one count for all requests of the
/// node would go to and fro between the processors with each of them.
#[derive(Debug)]
struct Reference(Arc<Shared>);

impl Deref for Reference {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

#[derive(Debug)]
struct Shared {
    limit: usize,
    used: AtomicUsize,
    /// How many wait for memory.
    waiting: AtomicUsize,
    /// How much they wait for.
    wanted: AtomicUsize,
    freed: Notify,
    /// Somebody waits.
    contended: Notify,
    overdraft: Arc<Semaphore>,
}

impl Shared {
    fn try_take(&self, bytes: usize) -> bool {
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .is_ok()
    }

    fn give_back(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.used.fetch_sub(bytes, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.freed.notify_waiters();
        }
    }
}

/// Bytes taken from a [`RequestMemory`]; dropping it gives them back.
#[derive(Debug)]
pub struct Charge {
    shared: Arc<Reference>,
    bytes: usize,
    overdraft: Option<OwnedSemaphorePermit>,
}

impl RequestMemory {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Self {
        let overdraft = Arc::new(Semaphore::new(1));
        Self {
            shared: Arc::new(Reference(Arc::new(Shared {
                limit,
                used: AtomicUsize::new(0),
                waiting: AtomicUsize::new(0),
                wanted: AtomicUsize::new(0),
                freed: Notify::new(),
                contended: Notify::new(),
                overdraft,
            }))),
        }
    }

    /// The same budget, for one connection: its clones and charges are counted apart from all others.
    #[must_use]
    pub fn for_connection(&self) -> Self {
        Self {
            shared: Arc::new(Reference(self.shared.0.clone())),
        }
    }

    /// Bytes in use now.
    pub fn used(&self) -> usize {
        self.shared.used.load(Ordering::Relaxed)
    }

    /// The budget.
    pub fn limit(&self) -> usize {
        self.shared.limit
    }

    /// How many bytes are waited for.
    pub fn wanted(&self) -> usize {
        self.shared.wanted.load(Ordering::Relaxed)
    }

    /// Returns when somebody waits. For one caller at a time.
    pub(crate) async fn contended(&self) {
        while self.shared.waiting.load(Ordering::SeqCst) == 0 {
            self.shared.contended.notified().await;
        }
    }

    /// Takes `bytes` if they are there, to be given back with [`RequestMemory::give_back`].
    pub fn try_take(&self, bytes: usize) -> bool {
        self.shared.try_take(bytes)
    }

    /// Gives back what [`RequestMemory::try_take`] took.
    pub fn give_back(&self, bytes: usize) {
        self.shared.give_back(bytes);
    }

    /// Takes `bytes` whether they are there or not: for what exists already, and is bounded by what was charged before.
    pub(crate) fn take(&self, bytes: usize) -> Charge {
        self.shared.used.fetch_add(bytes, Ordering::Relaxed);
        Charge {
            shared: self.shared.clone(),
            bytes,
            overdraft: None,
        }
    }

    /// A charge of nothing yet.
    pub fn charge(&self) -> Charge {
        Charge {
            shared: self.shared.clone(),
            bytes: 0,
            overdraft: None,
        }
    }
}

impl Charge {
    /// The budget that the charge is taken from.
    pub fn limit(&self) -> usize {
        self.shared.limit
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes `bytes` more if they are there.
    pub fn try_grow(&mut self, bytes: usize) -> bool {
        if self.overdraft.is_some() {
            self.shared.used.fetch_add(bytes, Ordering::Relaxed);
            self.bytes += bytes;
            return true;
        }
        let is_taken = self.shared.try_take(bytes);
        if is_taken {
            self.bytes += bytes;
        }
        is_taken
    }

    /// Takes `bytes` more, waiting until they are there or until this charge may overdraw.
    pub async fn grow(&mut self, bytes: usize) {
        if self.try_grow(bytes) {
            return;
        }
        let _waiting = Waiting::new(&self.shared, bytes);
        loop {
            let shared = self.shared.clone();
            let mut freed = std::pin::pin!(shared.freed.notified());
            // Before it looks: what is given back from here on wakes it.
            freed.as_mut().enable();
            if self.try_grow(bytes) {
                return;
            }
            tokio::select! {
                biased;
                () = freed => {}
                permit = shared.overdraft.clone().acquire_owned() => self.overdraft = permit.ok(),
            }
        }
    }

    /// Makes `other`, of the same memory, a part of this one.
    pub(crate) fn absorb(&mut self, mut other: Charge) {
        debug_assert!(Arc::ptr_eq(&self.shared.0, &other.shared.0));
        self.bytes += std::mem::take(&mut other.bytes);
        self.overdraft = self.overdraft.take().or(other.overdraft.take());
    }

    /// Gives back all of it, and the right to overdraw.
    pub fn release(&mut self) {
        self.shared.give_back(std::mem::take(&mut self.bytes));
        self.overdraft = None;
    }

    /// Splits off a charge of `bytes` of this one, which keeps the overdraft.
    pub(crate) fn split_bytes(&mut self, bytes: usize) -> Charge {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Charge {
            shared: self.shared.clone(),
            bytes,
            overdraft: None,
        }
    }

    /// Splits off a charge of `bytes` of this one (all of it when it holds less); the overdraft goes with it.
    pub fn split(&mut self, bytes: usize) -> Charge {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Charge {
            shared: self.shared.clone(),
            bytes,
            overdraft: self.overdraft.take(),
        }
    }
}

/// Counts one that waits, and what for.
struct Waiting {
    shared: Arc<Reference>,
    bytes: usize,
}

impl Waiting {
    fn new(shared: &Arc<Reference>, bytes: usize) -> Self {
        shared.wanted.fetch_add(bytes, Ordering::Relaxed);
        if shared.waiting.fetch_add(1, Ordering::SeqCst) == 0 {
            shared.contended.notify_one();
        }
        Self {
            shared: shared.clone(),
            bytes,
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.shared.wanted.fetch_sub(self.bytes, Ordering::Relaxed);
        self.shared.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.shared.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges_are_given_back() {
        let memory = RequestMemory::new(100);
        let mut a = memory.charge();
        assert!(a.try_grow(60));
        assert!(!a.try_grow(50));
        let b = a.split(20);
        assert_eq!((a.bytes(), b.bytes(), memory.used()), (40, 20, 60));
        drop(a);
        assert_eq!(memory.used(), 20);
        drop(b);
        assert_eq!(memory.used(), 0);
    }

    #[tokio::test]
    async fn one_half_read_frame_at_a_time_may_overdraw() {
        let memory = RequestMemory::new(100);
        let mut a = memory.charge();
        let mut b = memory.charge();
        let mut c = memory.charge();
        a.grow(50).await;
        b.grow(50).await;
        // Both want more and neither has a whole frame: the first goes on, the second waits for it.
        a.grow(30).await;
        assert_eq!(memory.used(), 130);
        let mut blocked = Box::pin(b.grow(30));
        let poll =
            std::future::poll_fn(|cx| std::task::Poll::Ready(blocked.as_mut().poll(cx).is_pending())).await;
        assert!(poll, "only one may overdraw");
        drop(a);
        blocked.await;
        assert_eq!(memory.used(), 80);
        assert!(c.try_grow(20));
    }
}
