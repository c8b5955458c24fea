//! Who waits for a partition's high watermark: produce requests with acks=all, and fetches that found too little.
//!
//! Always holds: a [`Waiter`] is woken at most once for each time it was armed, a [`Watch`] once for each partition that was
//! entered; entries of earlier times are recognised by their generation and swept, so that nothing has to be removed when
//! a request gives up. Arming again allocates nothing; the room that many took is not kept for few.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use klamm_model::Offset;
use parking_lot::Mutex;

use crate::replicas::Isolation;

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

/// A wait for many partitions that goes on from request to request: each is entered once, by its place in a list, and stays
/// entered until something has happened to it. So a request looks only at those that have something.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    waker: AtomicWaker,
    fired: Mutex<Fired>,
}

#[derive(Debug, Default)]
struct Fired {
    generation: u64,
    /// Of the partitions that something has happened to: each as often as it was entered, at most.
    places: Vec<u32>,
}

impl Watch {
    /// Who is woken.
    pub(crate) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Nobody is woken any more; what happens is noted all the same.
    pub(crate) fn rest(&self) {
        self.waker.take();
    }

    /// Whether something has happened that was not taken.
    pub(crate) fn has_fired(&self) -> bool {
        !self.fired.lock().places.is_empty()
    }

    /// Tells `each` the places of the partitions that something has happened to since the last call; they are no longer
    /// entered.
    pub(crate) fn take_fired(&self, each: impl FnMut(usize)) {
        // Not under the lock: partitions that something happens to wait for it.
        let mut places = std::mem::take(&mut self.fired.lock().places);
        places.drain(..).map(|place| place as usize).for_each(each);
        let mut fired = self.fired.lock();
        if fired.places.is_empty() && places.capacity() <= KEPT {
            fired.places = places;
        }
    }

    /// The list is another one: all entries are void.
    pub(crate) fn restart(&self) {
        let mut fired = self.fired.lock();
        fired.generation += 1;
        fired.places.clear();
        fired.places.shrink_to(KEPT);
    }

    fn generation(&self) -> u64 {
        self.fired.lock().generation
    }

    fn fire(&self, generation: u64, place: u32) {
        {
            let mut fired = self.fired.lock();
            if fired.generation != generation {
                return;
            }
            fired.places.push(place);
        }
        self.waker.wake();
    }
}

/// Room for so many that is kept for the next ones.
const KEPT: usize = 64;

/// Those who wait for one partition.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// Wakes when what it sees has reached this.
    offset: Offset,
    sees: Isolation,
    generation: u64,
    who: Who,
}

#[derive(Debug)]
enum Who {
    Once(Arc<Waiter>),
    /// With the partition's place.
    Watch(Arc<Watch>, u32),
}

impl Entry {
    fn fire(&self) {
        match &self.who {
            Who::Once(waiter) => waiter.fire(self.generation),
            Who::Watch(watch, place) => watch.fire(self.generation, *place),
        }
    }

    fn is_void(&self) -> bool {
        match &self.who {
            Who::Once(waiter) => !waiter.is_armed_as(self.generation),
            Who::Watch(watch, _) => watch.generation() != self.generation,
        }
    }
}

impl Waiters {
    /// Wakes `waiter` (armed as `generation`) once the high watermark is `offset` or more.
    pub(crate) fn add(&mut self, offset: Offset, waiter: &Arc<Waiter>, generation: u64) {
        self.push(Entry {
            offset,
            sees: Isolation::Uncommitted,
            generation,
            who: Who::Once(waiter.clone()),
        });
    }

    /// Tells `watch` of the partition at `place` once the high watermark, or the last stable offset for who sees no more than that,
    /// is `offset` or more, or something else that a fetch would see has changed.
    pub(crate) fn watch(&mut self, (offset, sees): (Offset, Isolation), watch: &Arc<Watch>, place: u32) {
        let generation = watch.generation();
        // A request without a session may name a partition again and again, and looks at all of them when it is told of one.
        let is_entered = self.entries.last().is_some_and(|last| {
            last.generation == generation
                && matches!(&last.who, Who::Watch(other, _) if Arc::ptr_eq(other, watch))
        });
        if !is_entered {
            self.push(Entry {
                offset,
                sees,
                generation,
                who: Who::Watch(watch.clone(), place),
            });
        }
    }

    fn push(&mut self, entry: Entry) {
        if self.entries.len() == self.entries.capacity() {
            self.entries.retain(|entry| !entry.is_void());
            self.shrink();
        }
        self.entries.push(entry);
    }

    /// Does not keep the room of many for few.
    fn shrink(&mut self) {
        if self.entries.capacity() > KEPT && self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to((2 * self.entries.len()).max(KEPT));
        }
    }

    /// This is now the high watermark, and the last stable offset.
    pub(crate) fn advanced(&mut self, high_watermark: Offset, last_stable_offset: Offset) {
        self.entries.retain(|entry| {
            let waits = match entry.sees {
                Isolation::Uncommitted => entry.offset > high_watermark,
                Isolation::Committed => entry.offset > last_stable_offset,
            };
            if !waits {
                entry.fire();
            }
            waits
        });
        self.shrink();
    }

    /// The log starts elsewhere: those who watch look again.
    pub(crate) fn start_moved(&mut self) {
        self.entries.retain(|entry| {
            let watches = matches!(entry.who, Who::Watch(..));
            if watches {
                entry.fire();
            }
            !watches
        });
    }

    /// The partition is no longer led here, or failed: all must look again.
    pub(crate) fn fire_all(&mut self) {
        self.entries.drain(..).for_each(|entry| entry.fire());
        self.shrink();
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
        waiters.advanced(Offset(5), Offset(5));
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
        waiters.advanced(Offset(1), Offset(1));
        assert!(!waiter.has_fired(), "only the earlier wait was reached");
        for _ in 0..1000 {
            waiters.add(Offset(9), &waiter, waiter.arm());
        }
        assert!(waiters.entries.capacity() < 100, "void entries must not pile up");
        assert_ne!(again, waiter.arm());
    }

    fn fired(watch: &Watch) -> Vec<usize> {
        let mut places = Vec::new();
        watch.take_fired(|place| places.push(place));
        places
    }

    #[test]
    fn a_watch_is_told_which_partitions_have_something() {
        let watch = Arc::new(Watch::default());
        let mut partitions: [Waiters; 3] = Default::default();
        for (place, waiters) in (0..).zip(&mut partitions) {
            waiters.watch((Offset(5), Isolation::Uncommitted), &watch, place);
        }
        partitions[0].advanced(Offset(4), Offset(4));
        assert!(!watch.has_fired());
        partitions[2].advanced(Offset(5), Offset(5));
        partitions[2].advanced(Offset(6), Offset(6));
        partitions[1].start_moved();
        assert!(watch.has_fired());
        assert_eq!(fired(&watch), [2, 1], "each once: it must be entered again");
        assert_eq!(fired(&watch), []);
        partitions[0].fire_all();
        assert_eq!(fired(&watch), [0]);
    }

    #[test]
    fn a_watch_of_another_list_hears_nothing_of_the_former_one() {
        let watch = Arc::new(Watch::default());
        let mut waiters = Waiters::default();
        waiters.watch((Offset(1), Isolation::Uncommitted), &watch, 7);
        watch.restart();
        waiters.watch((Offset(1), Isolation::Uncommitted), &watch, 3);
        waiters.advanced(Offset(1), Offset(1));
        assert_eq!(fired(&watch), [3]);
        for _ in 0..1000 {
            watch.restart();
            waiters.watch((Offset(9), Isolation::Uncommitted), &watch, 0);
        }
        assert!(waiters.entries.capacity() < 100, "void entries must not pile up");
    }

    #[test]
    fn what_many_took_is_not_kept() {
        let watches: Vec<_> = (0..10_000).map(|_| Arc::new(Watch::default())).collect();
        for how in 0..3 {
            let mut waiters = Waiters::default();
            for watch in &watches {
                waiters.watch((Offset(1), Isolation::Uncommitted), watch, 0);
            }
            assert_eq!(waiters.entries.len(), watches.len());
            match how {
                0 => waiters.advanced(Offset(1), Offset(1)),
                1 => waiters.fire_all(),
                _ => {
                    watches.iter().for_each(|watch| watch.restart());
                    for _ in 0..20_000 {
                        watches[0].restart();
                        waiters.watch((Offset(1), Isolation::Uncommitted), &watches[0], 0);
                    }
                }
            }
            assert!(waiters.entries.capacity() <= 2 * KEPT, "{how}");
        }
        let (mut waiters, watch) = (Waiters::default(), &watches[0]);
        for place in 0..10_000 {
            waiters.watch((Offset(1), Isolation::Uncommitted), watch, place);
        }
        assert_eq!(waiters.entries.len(), 1, "named again and again");
        let mut many: Vec<Waiters> = (0..10_000).map(|_| Waiters::default()).collect();
        for (place, waiters) in (0..).zip(&mut many) {
            waiters.watch((Offset(1), Isolation::Uncommitted), watch, place);
            waiters.fire_all();
        }
        watch.restart();
        assert!(watch.fired.lock().places.capacity() <= KEPT);
    }

    #[test]
    fn a_produce_that_waits_does_not_hear_of_a_moved_start() {
        let (mut waiters, waiter) = (Waiters::default(), Arc::new(Waiter::default()));
        waiters.add(Offset(1), &waiter, waiter.arm());
        waiters.start_moved();
        assert!(!waiter.has_fired());
        waiters.advanced(Offset(1), Offset(1));
        assert!(waiter.has_fired());
    }

    #[test]
    fn a_reader_of_committed_records_hears_of_no_others() {
        let watch = Arc::new(Watch::default());
        let mut waiters = Waiters::default();
        waiters.watch((Offset(3), Isolation::Committed), &watch, 1);
        waiters.advanced(Offset(9), Offset(2));
        assert!(!watch.has_fired());
        waiters.advanced(Offset(9), Offset(3));
        assert_eq!(fired(&watch), [1]);
    }
}
