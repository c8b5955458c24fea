//! Counters that each thread has for itself, so that threads which count the same thing do not take the line of memory from
//! each other with every request.
//!
//! Always holds: what was counted is the sum over all copies. Threads are few; should there be more than copies, some share one,
//! which the copies, being atomic, allow.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many copies there are.
const COPIES: usize = 8;

/// Two lines of memory, as processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart<T>(T);

/// A copy of `T` for each thread.
#[derive(Debug, Default)]
pub(super) struct PerThread<T>([Apart<T>; COPIES]);

impl<T> PerThread<T> {
    /// The copy of this thread.
    pub(super) fn own(&self) -> &T {
        &self.0[place()].0
    }

    /// All copies.
    pub(super) fn all(&self) -> impl Iterator<Item = &T> + Clone {
        self.0.iter().map(|copy| &copy.0)
    }
}

/// Which copies are this thread's.
fn place() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static PLACE: Cell<Option<usize>> = const { Cell::new(None) };
    }
    PLACE.with(|place| {
        place.get().unwrap_or_else(|| {
            let next = NEXT.fetch_add(1, Ordering::Relaxed) % COPIES;
            place.set(Some(next));
            next
        })
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "the test is about threads")]
    fn nothing_is_lost_between_threads() {
        let counters = PerThread::<AtomicU64>::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * COPIES {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        counters.own().fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        let counts: Vec<_> = counters
            .all()
            .map(|count| count.load(Ordering::Relaxed))
            .collect();
        assert_eq!(counts.iter().sum::<u64>(), 2000 * COPIES as u64);
        assert!(
            counts.iter().filter(|count| **count > 0).count() > 1,
            "{counts:?}"
        );
    }
}
