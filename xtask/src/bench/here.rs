//! What this machine has: a scenario that needs more, or less, is not valid here, which is said and is no failure.
//!
//! Always holds: what there is of memory is the least of what the machine has and of what the control groups around this process
//! allow, by either version of them. Nothing is changed about them: who wants less memory starts the comparison in a group with less.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::disk;

/// Why a scenario cannot be measured on this machine.
#[derive(Debug)]
pub(super) struct NotHere(pub(super) String);

impl fmt::Display for NotHere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not valid here: {}", self.0)
    }
}

impl std::error::Error for NotHere {}

/// Unless there is room for so many bytes.
pub(super) fn has_room(folder: &Path, bytes: u64) -> Result<()> {
    let room = disk::room(folder)?;
    if room < bytes {
        let (needed, room) = (gigabytes(bytes), gigabytes(room));
        return Err(NotHere(format!("it needs {needed} GB of disk, there are {room}")).into());
    }
    Ok(())
}

/// Unless so many bytes are at most a quarter of the memory.
pub(super) fn fits_quarter(bytes: u64) -> Result<()> {
    let memory = memory()?;
    if bytes > memory / 4 {
        let (bytes, memory) = (gigabytes(bytes), gigabytes(memory));
        return Err(NotHere(format!(
            "{bytes} GB are more than a quarter of {memory} GB of memory"
        ))
        .into());
    }
    Ok(())
}

/// Unless there is so much memory at most.
pub(super) fn has_at_most(most: u64) -> Result<()> {
    let memory = memory()?;
    if memory > most {
        let (most, memory) = (gigabytes(most), gigabytes(memory));
        return Err(NotHere(format!(
            "there are {memory} GB of memory: it is to be started in a control group with {most} GB \
             (systemd-run --scope -p MemoryMax=...)"
        ))
        .into());
    }
    Ok(())
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e9)
}

fn memory() -> Result<u64> {
    let told = fs::read_to_string("/proc/meminfo")?;
    let machine = total(&told).context("/proc/meminfo does not tell how much memory there is")?;
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let allowed = allowed(Path::new("/sys/fs/cgroup"), &groups);
    Ok(allowed.map_or(machine, |allowed| allowed.min(machine)))
}

fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The least that a group around this process allows, by the lines of `/proc/self/cgroup`. A group in the way of which
/// nothing can be read allows everything.
fn allowed(root: &Path, groups: &str) -> Option<u64> {
    let group = |line: &str| -> Option<(PathBuf, &'static str, String)> {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let relative = path.trim_start_matches('/').to_owned();
        match controllers {
            "" => Some((root.to_owned(), "memory.max", relative)),
            _ if controllers.split(',').any(|one| one == "memory") => {
                Some((root.join("memory"), "memory.limit_in_bytes", relative))
            }
            _ => None,
        }
    };
    let limits = groups
        .lines()
        .filter_map(group)
        .flat_map(|(root, file, relative)| {
            let all: Vec<PathBuf> = Path::new(&relative)
                .ancestors()
                .map(|group| root.join(group).join(file))
                .collect();
            all
        });
    limits
        .filter_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok())
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_of_all_groups_around_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |group: &str, file: &str, limit: &str| {
            let group = root.path().join(group);
            fs::create_dir_all(&group).unwrap();
            fs::write(group.join(file), limit).unwrap();
        };
        write("a/b", "memory.max", "max\n");
        write("a", "memory.max", "8000\n");
        write("memory/x", "memory.limit_in_bytes", "9000\n");
        for (groups, expected) in [
            ("0::/a/b\n", Some(8000)),
            ("0::/\n", None),
            ("4:memory:/x/y\n3:cpuset:/a\n", Some(9000)),
            ("4:memory:/x\n0::/a\n", Some(8000)),
            ("5:cpu,cpuacct:/a\n", None),
            ("", None),
        ] {
            assert_eq!(allowed(root.path(), groups), expected, "{groups}");
        }
    }

    #[test]
    fn the_memory_of_the_machine_is_found() {
        assert_eq!(total("MemTotal:       2 kB\nMemFree: 1 kB\n"), Some(2048));
        assert_eq!(total("MemFree: 1 kB\n"), None);
        assert!(memory().unwrap() > 1 << 20);
    }

    #[test]
    fn what_does_not_fit_is_told_apart_from_failures() {
        let folder = tempfile::tempdir().unwrap();
        for error in [
            has_room(folder.path(), u64::MAX).unwrap_err(),
            fits_quarter(u64::MAX / 4).unwrap_err(),
            has_at_most(1).unwrap_err(),
        ] {
            assert!(error.context("with klamm").downcast_ref::<NotHere>().is_some());
        }
        assert!(
            has_room(folder.path(), 1).is_ok() && fits_quarter(1).is_ok() && has_at_most(u64::MAX).is_ok()
        );
    }
}
