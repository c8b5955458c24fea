//! Runs one input and says what is wrong with how it ran: a panic, too much memory, too much time.
//!
//! Always holds: memory and panics are those of the calling thread, so targets run beside each other in tests. A panic
//! counts even when it was caught on its way, by a task's runtime for example.
//!
//! What no process survives (an abort, an endless loop, an allocation of more than [`MOST_BYTES`]) is found by the
//! process above, in `main.rs`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::time::{Duration, Instant};

use crate::targets::Target;

/// How long one input may take; generous, because machines are slow and shared, and an input that hangs is found anyway.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// A thread that holds more is given none: most programs then abort.
const MOST_BYTES: isize = 2 << 30;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static PANIC: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

/// The system's allocator, with a count for each thread.
#[derive(Debug)]
pub struct Counting;

/// Notes a change; false if the thread would hold too much.
fn note(change: isize) -> bool {
    // At the end of a thread its counters may be gone already.
    let live = LIVE.try_with(|live| {
        live.set(live.get().saturating_add(change));
        live.get()
    });
    let live = live.unwrap_or_default();
    let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live)));
    change < 0 || live <= MOST_BYTES
}

// SAFETY: every call is passed on to the system's allocator as it came, or answered with null.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !note(layout.size().cast_signed()) {
            note(-layout.size().cast_signed());
            return std::ptr::null_mut();
        }
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !note(layout.size().cast_signed()) {
            note(-layout.size().cast_signed());
            return std::ptr::null_mut();
        }
        // SAFETY: as promised by the caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(-layout.size().cast_signed());
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What is wrong with an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A panic, its place and its words.
    Panic {
        /// File and line.
        place: String,
        /// What it says.
        words: String,
    },
    /// More memory at once than allowed.
    Memory {
        /// Bytes held.
        peak: usize,
        /// Bytes allowed.
        allowed: usize,
    },
    /// More time than allowed, three times in a row.
    Slow(Duration),
}

impl Failure {
    /// Whether both are the same fault, as far as one can tell.
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Panic { place, .. }, Self::Panic { place: other, .. }) => place == other,
            (Self::Memory { .. }, Self::Memory { .. }) | (Self::Slow(_), Self::Slow(_)) => true,
            _ => false,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Panic { place, words } => write!(f, "panicked at {place}: {words}"),
            Self::Memory { peak, allowed } => write!(f, "held {peak} bytes at once, {allowed} are allowed"),
            Self::Slow(took) => write!(f, "took {took:?}, {TIME_LIMIT:?} are allowed"),
        }
    }
}

/// Runs `target` on `input`.
pub fn run(target: &Target, input: &[u8]) -> Result<(), Failure> {
    let took = run_once(target, input)?;
    if took <= TIME_LIMIT {
        return Ok(());
    }
    // Another process may have had the processor.
    let again = run_once(target, input)?.min(run_once(target, input)?);
    match took.min(again) {
        took if took > TIME_LIMIT => Err(Failure::Slow(took)),
        _ => Ok(()),
    }
}

fn run_once(target: &Target, input: &[u8]) -> Result<Duration, Failure> {
    hear_panics();
    let before = LIVE.get();
    PEAK.set(before);
    WATCHED.set(true);
    let begin = Instant::now();
    let ran = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let took = begin.elapsed();
    WATCHED.set(false);
    let peak = (PEAK.get() - before).unsigned_abs();
    if let Some((place, words)) = PANIC.take() {
        return Err(Failure::Panic { place, words });
    }
    assert!(ran.is_ok(), "a panic is heard before it is caught");
    let allowed = (target.allowance)(input.len());
    if peak > allowed {
        return Err(Failure::Memory { peak, allowed });
    }
    Ok(took)
}

/// Panics of a watched thread are noted, the first one in particular, and not printed.
fn hear_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !WATCHED.get() {
                return usual(info);
            }
            let place = info
                .location()
                .map_or_else(String::new, |at| format!("{}:{}", at.file(), at.line()));
            let words = info.payload_as_str().unwrap_or("(no words)").to_owned();
            PANIC.with_borrow_mut(|first| {
                first.get_or_insert((place, words));
            });
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(run: fn(&[u8])) -> Target {
        Target {
            name: "test",
            about: "",
            sample: |_| Vec::new(),
            run,
            allowance: |len| 1000 + len,
        }
    }

    #[test]
    fn faults_are_told_apart() {
        assert_eq!(run(&target(|_| ()), b""), Ok(()));
        let panics = run(&target(|input| panic!("of {}", input.len())), b"ab").unwrap_err();
        assert!(panics.to_string().contains("watch.rs") && panics.to_string().ends_with("of 2"));
        let caught = run(&target(|_| drop(panic::catch_unwind(|| panic!("inner")))), b"");
        assert!(matches!(caught, Err(Failure::Panic { words, .. }) if words == "inner"));
        let greedy = run(&target(|_| drop(vec![1_u8; 5000])), b"ab").unwrap_err();
        assert!(
            matches!(greedy, Failure::Memory { peak, allowed: 1002 } if peak >= 5000),
            "{greedy}"
        );
        assert!(!greedy.is_like(&panics) && greedy.is_like(&greedy));
    }

    #[test]
    fn more_memory_than_a_machine_has_is_not_given() {
        let tries = run(
            &target(|_| assert!(Vec::<u8>::new().try_reserve(3 << 30).is_err())),
            b"",
        );
        assert!(!matches!(tries, Err(Failure::Panic { .. })), "{tries:?}");
    }
}
