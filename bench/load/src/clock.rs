//! The clocks of a measurement, in nanoseconds: the monotonic one, and the CPU time of this process and of one thread.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of a second.
pub(crate) const SECOND: u64 = 1_000_000_000;

/// The monotonic clock, which is also the one that timers are set by.
pub(crate) fn now() -> u64 {
    read(ClockId::Monotonic)
}

/// What all threads of this process have used.
pub(crate) fn process_cpu() -> u64 {
    read(ClockId::ProcessCPUTime)
}

/// What the calling thread has used.
pub(crate) fn thread_cpu() -> u64 {
    read(ClockId::ThreadCPUTime)
}

/// The time of day in milliseconds, as records carry it.
pub(crate) fn wall_ms() -> i64 {
    let time = clock_gettime(ClockId::Realtime);
    time.tv_sec * 1000 + time.tv_nsec / 1_000_000
}

/// Nanoseconds as seconds.
pub(crate) fn seconds(nanos: u64) -> f64 {
    nanos as f64 / SECOND as f64
}

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).expect("these clocks start at zero");
    let nanos = u64::try_from(time.tv_nsec).expect("below a second");
    seconds * SECOND + nanos
}
