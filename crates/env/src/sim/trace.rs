//! What happened in a simulated world, in order: the evidence that two runs were the same.
//!
//! Always holds: every event is folded into the digest; of the lines themselves the last ones are kept, so that two runs
//! that part can be laid side by side.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::hash::Hasher;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use siphasher::sip::SipHasher13;

/// Lines that are kept unless [`Trace::keep`] asks for more.
const LINES_KEPT: usize = 64;

/// The events of one world. A clone is the same trace.
#[derive(Clone)]
pub struct Trace {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    hasher: SipHasher13,
    events: u64,
    line: String,
    lines: VecDeque<String>,
    keep: usize,
}

impl Default for Trace {
    fn default() -> Self {
        Self {
            inner: Arc::new(Mutex::new(Inner {
                hasher: SipHasher13::new(),
                events: 0,
                line: String::new(),
                lines: VecDeque::new(),
                keep: LINES_KEPT,
            })),
        }
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trace({} events, {:016x})", self.events(), self.digest())
    }
}

impl Trace {
    /// Adds an event of `host` at `time`. Tests add their own events by this too.
    pub fn note(&self, time: Duration, host: &str, what: fmt::Arguments<'_>) {
        let inner = &mut *self.inner.lock();
        inner.line.clear();
        write!(inner.line, "{:>12} {host} {what}", time.as_micros()).expect("a string takes all");
        inner.hasher.write(inner.line.as_bytes());
        inner.hasher.write_u8(0xff);
        inner.events += 1;
        if inner.keep == 0 {
            return;
        }
        // The oldest line gives its room to the newest.
        let mut line = if inner.lines.len() >= inner.keep {
            inner.lines.pop_front().unwrap_or_default()
        } else {
            String::new()
        };
        line.clear();
        line.push_str(&inner.line);
        inner.lines.push_back(line);
    }

    /// A number that is equal for equal traces.
    pub fn digest(&self) -> u64 {
        self.inner.lock().hasher.finish()
    }

    /// How many events there were.
    pub fn events(&self) -> u64 {
        self.inner.lock().events
    }

    /// Keeps the last `lines` lines from now on.
    pub fn keep(&self, lines: usize) {
        self.inner.lock().keep = lines;
    }

    /// The lines that are kept, oldest first.
    pub fn lines(&self) -> Vec<String> {
        self.inner.lock().lines.iter().cloned().collect()
    }
}

/// A short name of `bytes` for a line of the trace.
pub(super) fn fingerprint(pieces: &[std::io::IoSlice<'_>]) -> u64 {
    let mut hasher = SipHasher13::new();
    for piece in pieces {
        hasher.write(piece);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_bounds_of_events_count() {
        let digest = |events: &[&str]| {
            let trace = Trace::default();
            for event in events {
                trace.note(Duration::ZERO, "a", format_args!("{event}"));
            }
            (trace.digest(), trace.events())
        };
        assert_eq!(digest(&["x", "y"]), digest(&["x", "y"]));
        assert_ne!(digest(&["x", "y"]), digest(&["y", "x"]));
        assert_ne!(digest(&["xy"]), digest(&["x", "y"]));
    }

    #[test]
    fn the_last_lines_are_kept() {
        let trace = Trace::default();
        trace.keep(2);
        for n in 0..5 {
            trace.note(Duration::from_micros(n), "a", format_args!("event {n}"));
        }
        assert_eq!(
            trace.lines(),
            ["           3 a event 3", "           4 a event 4"]
        );
    }
}
