//! Who waits for a partition's high watermark: produce requests with acks=all, and fetches that found too little.
//!
//! Always holds: a waiter is woken at most once for each time it was armed; entries of earlier times are recognised by
//! their generation and swept, so that nothing has to be removed when a request gives up. Arming again allocates
//! nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use klamm_model::Offset;

/// One request that waits. Its owner arms it, looks at the partitions again, and polls.
#[derive(Debug, Default)]
pub(crate) struct Waiter {
    waker: AtomicWaker,
    /// Odd while armed.
    generation: AtomicU64,
}

impl Waiter {
    /// Begins a new wait; entries made before it are void.
    pub(crate) fn arm(&self) -> u64 {
        let next = (self.generation.load(Ordering::Relaxed) | 1) + 2;
        self.generation.store(next, Ordering::Release);
        next
    }

    /// Who is woken.
    pub(crate) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Whether something has happened since it was armed.
    pub(crate) fn has_fired(&self) -> bool {
        self.generation.load(Ordering::Acquire) & 1 == 0
    }

    /// Ends the wait: nobody wakes it any more.
    pub(crate) fn disarm(&self) {
        let armed = self.generation.load(Ordering::Relaxed);
        if armed & 1 == 1 {
            self.generation.store(armed + 1, Ordering::Release);
        }
    }

    fn fire(&self, generation: u64) {
        let fired = generation + 1;
        if self
            .generation
            .compare_exchange(generation, fired, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
        {
            self.waker.wake();
        }
    }

    fn is_armed_as(&self, generation: u64) -> bool {
        self.generation.load(Ordering::Relaxed) == generation
    }
}

/// Those who wait for one partition.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// Wakes when the high watermark has reached this.
    offset: Offset,
    generation: u64,
    waiter: Arc<Waiter>,
}

impl Waiters {
    /// Wakes `waiter` (armed as `generation`) once the high watermark is `offset` or more.
    pub(crate) fn add(&mut self, offset: Offset, waiter: &Arc<Waiter>, generation: u64) {
        if self.entries.len() == self.entries.capacity() {
            self.entries
                .retain(|entry| entry.waiter.is_armed_as(entry.generation));
        }
        self.entries.push(Entry {
            offset,
            generation,
            waiter: waiter.clone(),
        });
    }

    /// The high watermark is `high_watermark` now.
    pub(crate) fn advanced(&mut self, high_watermark: Offset) {
        self.entries.retain(|entry| {
            let waits = entry.offset > high_watermark;
            if !waits {
                entry.waiter.fire(entry.generation);
            }
            waits
        });
    }

    /// The partition is no longer led here, or failed: all must look again.
    pub(crate) fn fire_all(&mut self) {
        for entry in self.entries.drain(..) {
            entry.waiter.fire(entry.generation);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watermark_wakes_those_it_has_reached() {
        let mut waiters = Waiters::default();
        let cases = [3, 5, 7].map(|offset| (Offset(offset), Arc::new(Waiter::default())));
        for (offset, waiter) in &cases {
            waiters.add(*offset, waiter, waiter.arm());
        }
        waiters.advanced(Offset(5));
        assert_eq!(
            cases.each_ref().map(|(_, waiter)| waiter.has_fired()),
            [true, true, false]
        );
        waiters.fire_all();
        assert!(cases[2].1.has_fired());
        assert!(waiters.entries.is_empty());
    }

    #[test]
    fn entries_of_an_earlier_wait_are_void_and_swept() {
        let mut waiters = Waiters::default();
        let waiter = Arc::new(Waiter::default());
        waiters.add(Offset(1), &waiter, waiter.arm());
        waiter.disarm();
        let again = waiter.arm();
        waiters.advanced(Offset(1));
        assert!(!waiter.has_fired(), "only the earlier wait was reached");
        for _ in 0..1000 {
            waiters.add(Offset(9), &waiter, waiter.arm());
        }
        assert!(waiters.entries.capacity() < 100, "void entries must not pile up");
        assert_ne!(again, waiter.arm());
    }
}
