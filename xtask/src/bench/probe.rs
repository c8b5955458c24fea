//! What a process and the machine have used, as the kernel counts it.
//!
//! Always holds: CPU time comes from the process's own clock, which counts nanoseconds, is up to date while the process
//! runs, and keeps the time of threads that have ended (compilers in a virtual machine come and go). The ticks of
//! `/proc/PID/stat` are 10 ms long, and the sum over the threads in `schedstat` forgets those that are gone.

use std::{
    fs, io,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

/// CPU time that a process has used, in user and kernel mode.
pub(super) fn cpu(pid: u32) -> Result<Duration> {
    let pid = libc::pid_t::try_from(pid)?;
    let mut clock = 0;
    // SAFETY: it writes one clock id, to a place of that type.
    let failed = unsafe { libc::clock_getcpuclockid(pid, &mut clock) };
    ensure!(failed == 0, "process {pid} has no CPU clock");
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: it writes one time, to a place of that type.
    let failed = unsafe { libc::clock_gettime(clock, &mut time) };
    ensure!(
        failed == 0,
        "the CPU clock of process {pid}: {}",
        io::Error::last_os_error()
    );
    Ok(Duration::new(time.tv_sec.try_into()?, time.tv_nsec.try_into()?))
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Memory {
    /// All pages that are there (VmRSS).
    pub(super) resident: u64,
    /// Those of them that no file stands behind (RssAnon): what grows with what the process holds.
    pub(super) anonymous: u64,
    /// With shared pages divided among those that share them (Pss).
    pub(super) proportional: u64,
    /// The most that was resident since the process began, or since it was told to forget that (VmHWM).
    pub(super) peak: u64,
}

impl Memory {
    pub(super) fn of(pid: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))
            .with_context(|| format!("process {pid} is gone"))?;
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let field = |text: &str, name: &str| {
            kibibytes(text, name).with_context(|| format!("/proc/{pid} says nothing about {name}"))
        };
        Ok(Memory {
            resident: field(&status, "VmRSS")?,
            anonymous: field(&status, "RssAnon")?,
            proportional: field(&rollup, "Pss")?,
            peak: field(&status, "VmHWM")?,
        })
    }

    /// Lets the peak of a process begin with what it has now.
    pub(super) fn forget_peak(pid: u32) -> Result<()> {
        fs::write(format!("/proc/{pid}/clear_refs"), "5")
            .with_context(|| format!("the peak of process {pid} cannot be forgotten"))
    }
}

/// A line `NAME:   123 kB`, in bytes.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(found, _)| *found == name)?;
    let count: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    count.checked_mul(1024)
}

/// What the objects take that a Java virtual machine holds, in bytes, after it has collected all others.
pub(super) fn live_objects(pid: u32) -> Result<u64> {
    let output = Command::new("jmap")
        .args(["-histo:live", &pid.to_string()])
        .output();
    let output = output.context("cannot run jmap, which comes with a JDK")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "jmap ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    total_bytes(&text).context("jmap says no total")
}

/// The last column of the line `Total instances bytes`.
fn total_bytes(histogram: &str) -> Option<u64> {
    let mut lines = histogram.lines().rev().map(str::split_whitespace);
    let mut total = lines.find_map(|mut line| (line.next() == Some("Total")).then_some(line))?;
    total.nth(1)?.parse().ok()
}

/// Processor time of the whole machine, since it started.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Machine {
    /// Somebody's programs and the kernel, and what a hypervisor gave to others, over all processors.
    busy: Duration,
    at: Instant,
}

impl Machine {
    pub(super) fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/stat")?;
        let ticks = busy_ticks(&text).context("/proc/stat does not begin with the processors")?;
        let per_second = rustix::param::clock_ticks_per_second();
        Ok(Machine {
            busy: Duration::from_secs_f64(ticks as f64 / per_second as f64),
            at: Instant::now(),
        })
    }

    /// The share of all processors since `earlier` that neither of ours can have used, given what ours did use.
    pub(super) fn foreign_share(&self, earlier: &Machine, ours: Duration) -> f64 {
        let wall = (self.at - earlier.at).as_secs_f64();
        let processors = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let foreign = self.busy.saturating_sub(earlier.busy).saturating_sub(ours);
        foreign.as_secs_f64() / (wall * processors)
    }
}

/// User, nice, system and steal of the first line of `/proc/stat`.
fn busy_ticks(text: &str) -> Option<u64> {
    let values = text.lines().next()?.strip_prefix("cpu ")?;
    let values: Vec<u64> = values
        .split_whitespace()
        .map_while(|value| value.parse().ok())
        .collect();
    [0, 1, 2, 7].iter().map(|index| values.get(*index)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_a_process_runs_when_it_works() {
        let pid = std::process::id();
        let before = cpu(pid).unwrap();
        let mut value = 1_u64;
        while cpu(pid).unwrap() - before < Duration::from_millis(2) {
            value = std::hint::black_box(value.wrapping_mul(3));
        }
        assert!(cpu(pid).unwrap() > before);
    }

    #[test]
    fn this_process_has_memory() {
        let memory = Memory::of(std::process::id()).unwrap();
        assert!(
            memory.anonymous > 0 && memory.resident > memory.anonymous,
            "{memory:?}"
        );
        assert!(memory.proportional > 0, "{memory:?}");
        assert!(memory.peak >= memory.resident, "{memory:?}");
    }

    #[test]
    fn a_peak_is_forgotten() {
        let pid = std::process::id();
        drop(std::hint::black_box(vec![1_u8; 64 << 20]));
        let before = Memory::of(pid).unwrap();
        Memory::forget_peak(pid).unwrap();
        let after = Memory::of(pid).unwrap();
        assert!(after.peak + (32 << 20) < before.peak, "{before:?} {after:?}");
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "Name:\tx\nVmRSS:\t    1234 kB\nRssAnon:\t 5 kB\n";
        assert_eq!(kibibytes(text, "VmRSS"), Some(1234 * 1024));
        assert_eq!(kibibytes(text, "RssAnon"), Some(5 * 1024));
        assert_eq!(kibibytes(text, "Rss"), None);
        assert_eq!(kibibytes(text, "Name"), None);
        assert_eq!(kibibytes("Pss: many kB\n", "Pss"), None);
    }

    #[test]
    fn objects_are_counted_in_the_last_line() {
        let text =
            " num     #instances         #bytes  class name\n   1:  2  48  [B\nTotal        2       48\n";
        assert_eq!(total_bytes(text), Some(48));
        assert_eq!(total_bytes("Total 2\n"), None);
        assert_eq!(total_bytes(""), None);
    }

    #[test]
    fn idle_and_waiting_are_not_busy() {
        let text = "cpu  100 20 3 1000 500 7 8 40 0 0\ncpu0 1 1 1 1\n";
        assert_eq!(busy_ticks(text), Some(163));
        assert_eq!(busy_ticks("cpu  1 2 3\n"), None);
        assert_eq!(busy_ticks("intr 5\n"), None);
    }

    #[test]
    fn what_ours_used_is_not_foreign() {
        let earlier = Machine {
            busy: Duration::from_secs(10),
            at: Instant::now(),
        };
        let later = Machine {
            busy: Duration::from_secs(14),
            at: earlier.at + Duration::from_secs(10),
        };
        let processors = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let share = later.foreign_share(&earlier, Duration::from_secs(3));
        assert!((share * processors - 0.1).abs() < 1e-9, "{share}");
        assert_eq!(later.foreign_share(&earlier, Duration::from_secs(9)), 0.0);
    }
}
