//! What a server sees of a connection while it runs: whether anything moves, and whether it keeps memory waiting.
//!
//! Always holds: only the connection's own task writes; the server reads, from time to time, and takes the time itself,
//! so that a request costs no look at the clock.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// The client keeps no memory waiting.
const NONE: u64 = u64::MAX;

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct Activity {
    /// Counts reads and writes.
    moved: AtomicU64,
    /// A request is being handled, or is parked: it is not the client who lets the connection rest.
    under_way: AtomicBool,
    /// Since when the client owes the rest of a frame, or leaves a large answer unread, in milliseconds of the monotonic
    /// clock.
    owed_since_ms: AtomicU64,
    /// The memory that this is charged with meanwhile.
    owed_bytes: AtomicUsize,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            moved: AtomicU64::new(0),
            under_way: AtomicBool::new(false),
            owed_since_ms: AtomicU64::new(NONE),
            owed_bytes: AtomicUsize::new(0),
        }
    }
}

impl Activity {
    /// Bytes came or went.
    pub(crate) fn moved(&self) {
        let count = self.moved.load(Ordering::Relaxed);
        self.moved.store(count.wrapping_add(1), Ordering::Relaxed);
    }

    /// Whether a request is under way from now on.
    pub(crate) fn under_way(&self, is_under_way: bool) {
        self.under_way.store(is_under_way, Ordering::Relaxed);
    }

    /// The client owes the rest of a frame, or leaves an answer unread, that is charged with `bytes`.
    pub(crate) fn owes(&self, since: Duration, bytes: usize) {
        self.owed_bytes.store(bytes, Ordering::Relaxed);
        self.owed_since_ms
            .store(since.as_millis() as u64, Ordering::Relaxed);
    }

    /// The client owes nothing, or it is not its fault that nothing comes.
    pub(crate) fn owes_nothing(&self) {
        self.owed_since_ms.store(NONE, Ordering::Relaxed);
    }

    /// Since when the client keeps memory waiting, and how much.
    pub(crate) fn owed(&self) -> Option<(Duration, usize)> {
        let since = self.owed_since_ms.load(Ordering::Relaxed);
        let bytes = self.owed_bytes.load(Ordering::Relaxed);
        (since != NONE).then(|| (Duration::from_millis(since), bytes))
    }
}

/// Finds out how long a connection has been idle.
#[derive(Debug)]
pub(crate) struct IdleWatch {
    seen: u64,
    since: Duration,
}

impl IdleWatch {
    /// Of a connection that begins at `now`.
    pub(crate) fn new(now: Duration) -> Self {
        Self { seen: 0, since: now }
    }

    /// For how long nothing has moved and nothing was under way, as far as the looks so far tell.
    pub(crate) fn look(&mut self, activity: &Activity, now: Duration) -> Duration {
        let moved = activity.moved.load(Ordering::Relaxed);
        if moved != self.seen || activity.under_way.load(Ordering::Relaxed) {
            self.seen = moved;
            self.since = now;
        }
        now.saturating_sub(self.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_connection_on_which_nothing_moves_and_nothing_is_asked_is_idle() {
        let activity = Activity::default();
        let at = Duration::from_secs;
        let mut watch = IdleWatch::new(at(0));
        assert_eq!(watch.look(&activity, at(10)), at(10));
        activity.moved();
        assert_eq!(watch.look(&activity, at(20)), at(0));
        assert_eq!(watch.look(&activity, at(30)), at(10));
        activity.under_way(true);
        assert_eq!(watch.look(&activity, at(40)), at(0));
        activity.under_way(false);
        assert_eq!(watch.look(&activity, at(50)), at(10));
    }
}
