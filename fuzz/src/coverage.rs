//! Which code an input reached: the counters that the compiler puts in when `cargo xtask fuzz` builds.
//!
//! Always holds: in a build without counters nothing is ever new.

use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

static FIRST: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Called before `main` by every instrumented module, each time with the counters of the whole program.
// SAFETY: nothing else has this name; it is the one that the compiler's instrumentation calls.
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_8bit_counters_init(first: *mut u8, end: *mut u8) {
    FIRST.store(first, Ordering::Relaxed);
    COUNT.store(end.addr() - first.addr(), Ordering::Relaxed);
}

/// Counters that are looked at together.
const PIECE: usize = 256;
const ZEROS: [u8; PIECE] = [0; PIECE];

/// What all inputs so far have reached.
#[derive(Debug)]
pub(crate) struct Coverage {
    /// For each counter, how often it was hit within one input: a bit for each order of magnitude.
    seen: Vec<u8>,
    reached: usize,
}

impl Coverage {
    pub(crate) fn new() -> Self {
        Self {
            seen: vec![0; COUNT.load(Ordering::Relaxed)],
            reached: 0,
        }
    }

    /// Whether this build counts at all.
    pub(crate) fn is_guided(&self) -> bool {
        !self.seen.is_empty()
    }

    /// How many places were reached.
    pub(crate) fn reached(&self) -> usize {
        self.reached
    }

    fn counters(&self) -> &'static mut [u8] {
        if self.seen.is_empty() {
            return &mut [];
        }
        // SAFETY: the compiler made so many counters there, they live as long as the program, and any byte is valid. A
        // guided run has one thread, which does not count while it looks at the counters: what is instrumented here
        // merely adds to some of them.
        unsafe { std::slice::from_raw_parts_mut(FIRST.load(Ordering::Relaxed), self.seen.len()) }
    }

    pub(crate) fn begin(&mut self) {
        self.counters().fill(0);
    }

    /// Whether something was reached since [`Coverage::begin`] that no input reached before, or not as often.
    pub(crate) fn is_news(&mut self) -> bool {
        let mut news = false;
        let counters = self.counters();
        for (counters, seen) in counters.chunks(PIECE).zip(self.seen.chunks_mut(PIECE)) {
            // Most code is not reached. Comparing slices is a call into code that is not itself counted.
            if counters == &ZEROS[..counters.len()] {
                continue;
            }
            for (count, seen) in counters.iter().zip(seen).filter(|(count, _)| **count > 0) {
                let bit = magnitude(*count);
                if *seen & bit != bit {
                    news = true;
                    self.reached += usize::from(*seen == 0);
                    *seen |= bit;
                }
            }
        }
        news
    }
}

fn magnitude(count: u8) -> u8 {
    match count {
        0 => 0,
        1 => 1,
        2 => 2,
        3 => 4,
        4..=7 => 8,
        8..=15 => 16,
        16..=31 => 32,
        32..=127 => 64,
        128.. => 128,
    }
}
