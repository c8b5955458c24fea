//! What the kernel says about this process.
//!
//! Always holds: where it says nothing (another system, a simulation), there is no figure rather than a zero.

use std::path::Path;
use std::sync::Arc;

use klamm_env::{Files, OpenMode};

/// Longer than any of the files read here.
const MAX_BYTES: usize = 16 * 1024;
/// The unit of processor time in `/proc`: 1/100 s on every architecture (`USER_HZ` of the kernel's interface).
const TICKS_PER_SECOND: f64 = 100.0;

/// Figures of the process.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Process {
    pub(super) resident_bytes: Option<u64>,
    pub(super) open_fds: Option<u64>,
    pub(super) max_fds: Option<u64>,
    pub(super) cpu_seconds: Option<f64>,
}

impl Process {
    /// Asks the kernel. Blocks for moments.
    pub(super) fn look(files: &Arc<dyn Files>) -> Self {
        let read = |name: &str| read(&**files, &Path::new("/proc/self").join(name));
        Self {
            resident_bytes: read("status").as_deref().and_then(resident),
            open_fds: files
                .read_dir(Path::new("/proc/self/fd"))
                .ok()
                .map(|entries| entries.len() as u64),
            max_fds: read("limits").as_deref().and_then(max_fds),
            cpu_seconds: read("stat").as_deref().and_then(cpu),
        }
    }
}

/// The text of a file whose length is not known before.
fn read(files: &dyn Files, path: &Path) -> Option<String> {
    let file = files.open(path, OpenMode::Read).ok()?;
    let mut bytes = vec![0; MAX_BYTES];
    let mut len = 0;
    loop {
        match file.read_at(&mut bytes[len..], len as u64).ok()? {
            0 => break,
            n => len += n,
        }
    }
    bytes.truncate(len);
    String::from_utf8(bytes).ok()
}

/// `VmRSS:    12345 kB`.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// `Max open files  1024  524288  files`: the first is in force.
fn max_fds(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Fields 14 and 15; the second one, the program's name, may hold anything and ends with the last parenthesis.
fn cpu(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some((next()? + next()?) as f64 / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read() {
        assert_eq!(
            resident("Name:\tx\nVmRSS:\t   2048 kB\nThreads: 1"),
            Some(2 << 20)
        );
        assert_eq!(resident("VmRSS: many"), None);
        assert_eq!(
            max_fds("Limit\nMax open files            1024  524288  files\n"),
            Some(1024)
        );
        assert_eq!(max_fds("Max open files   unlimited unlimited files"), None);
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0";
        assert_eq!(cpu(stat), Some(2.0));
        assert_eq!(cpu("7 (a"), None);
    }

    #[test]
    fn this_process_has_figures() {
        let process = Process::look(klamm_env::Env::real().files());
        assert!(process.resident_bytes > Some(100_000), "{process:?}");
        assert!(
            process.open_fds > Some(2) && process.cpu_seconds.is_some(),
            "{process:?}"
        );
    }
}
