//! The device under a folder: what went to it, what came from it, how much room it has, and what of it is kept in memory.
//!
//! Always holds: what is counted was written by then: whoever counts has the file system write out what waits, before and
//! after. The device's own counter has the file system's journal in it, and what everybody else writes; the one of the process has
//! neither, and a page that is written twice before it leaves counts once.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use rustix::fs::{Advice, fadvise, major, minor, statvfs};
use serde::Serialize;

use crate::process;

/// What the kernel counts in, whatever the device does.
const SECTOR_BYTES: u64 = 512;

/// Bytes that went to the device in a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Written {
    /// As the device counts; unknown where no one device stands behind the file system.
    pub(super) device: Option<u64>,
    /// As the kernel charges the process.
    pub(super) process: u64,
}

/// A device and a process, from now on.
pub(super) struct Counting {
    pid: u32,
    /// Where the device tells its numbers.
    device: PathBuf,
    before: Written,
}

impl Counting {
    pub(super) fn begin(pid: u32, folder: &Path) -> Result<Self> {
        let number = fs::metadata(folder)?.dev();
        let device = format!("/sys/dev/block/{}:{}/stat", major(number), minor(number));
        let device = PathBuf::from(device);
        let before = look(pid, &device)?;
        Ok(Counting { pid, device, before })
    }

    pub(super) fn end(&self) -> Result<Written> {
        let now = look(self.pid, &self.device)?;
        let device = now.device.zip(self.before.device);
        Ok(Written {
            device: device.map(|(now, before)| now.saturating_sub(before)),
            process: now.process.saturating_sub(self.before.process),
        })
    }
}

fn look(pid: u32, device: &Path) -> Result<Written> {
    let stat = fs::read_to_string(device).unwrap_or_default();
    Ok(Written {
        device: sectors_written(&stat).map(|sectors| sectors * SECTOR_BYTES),
        process: of_process(pid, "write_bytes")?,
    })
}

/// What a process had read from devices since it began.
pub(super) fn read_by(pid: u32) -> Result<u64> {
    of_process(pid, "read_bytes")
}

fn of_process(pid: u32, name: &str) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/io"))
        .with_context(|| format!("process {pid} does not say what it reads and writes"))?;
    counter(&text, name).with_context(|| format!("/proc/{pid}/io says nothing about {name}"))
}

/// A line `NAME: 123`.
fn counter(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(found, _)| *found == name)?;
    value.trim().parse().ok()
}

/// The seventh number of a block device's `stat`.
fn sectors_written(stat: &str) -> Option<u64> {
    stat.split_whitespace().nth(6)?.parse().ok()
}

/// Has the file system write out what waits.
pub(super) fn settle(folder: &Path) -> Result<()> {
    process::quietly(Command::new("sync").arg("-f").arg(folder))
}

/// Bytes that may still be written.
pub(super) fn room(folder: &Path) -> Result<u64> {
    let told = statvfs(folder).with_context(|| folder.display().to_string())?;
    Ok(told.f_bavail.saturating_mul(told.f_frsize))
}

/// Lets the page cache forget the segments of a topic, which must be on the device.
pub(super) fn forget(log_dir: &Path, topic: &str) -> Result<()> {
    for path in segments(log_dir, topic)? {
        let file = File::open(&path).with_context(|| path.display().to_string())?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

/// The `.log` files of all partitions of a topic, by partition and offset.
pub(super) fn segments(log_dir: &Path, topic: &str) -> Result<Vec<PathBuf>> {
    let prefix = format!("{topic}-");
    let mut found = Vec::new();
    for entry in fs::read_dir(log_dir)? {
        let entry = entry?;
        let is_of_topic = entry
            .file_name()
            .to_string_lossy()
            .strip_prefix(&prefix)
            .is_some_and(|partition| partition.parse::<u32>().is_ok());
        if is_of_topic {
            for file in fs::read_dir(entry.path())? {
                let path = file?.path();
                if path.extension().is_some_and(|extension| extension == "log") {
                    found.push(path);
                }
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_at_their_places() {
        let stat = "  10 1 800 5 20 2 1600 9 0 12 14 0 0 0 0 3 1\n";
        assert_eq!(sectors_written(stat), Some(1600));
        assert_eq!(sectors_written("10 1 800"), None);
        let io = "rchar: 9\nwrite_bytes: 4096\ncancelled_write_bytes: 7\n";
        assert_eq!(counter(io, "write_bytes"), Some(4096));
        assert_eq!(counter(io, "bytes"), None);
    }

    #[test]
    fn what_is_written_and_synced_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let counting = Counting::begin(std::process::id(), folder.path()).unwrap();
        let file = folder.path().join("file");
        fs::write(&file, vec![7; 1 << 20]).unwrap();
        File::open(&file).unwrap().sync_all().unwrap();
        let written = counting.end().unwrap();
        // A file system in memory has no device, and charges nobody.
        if let Some(device) = written.device {
            assert!(device >= 1 << 20 && written.process >= 1 << 20, "{written:?}");
        }
        assert!(room(folder.path()).unwrap() > 0);
    }

    #[test]
    fn segments_are_those_of_one_topic() {
        let folder = tempfile::tempdir().unwrap();
        for (partition, file) in [
            ("t-0", "00000000000000000000.log"),
            ("t-0", "00000000000000000010.log"),
            ("t-0", "00000000000000000010.index"),
            ("t-1-0", "00000000000000000000.log"),
            ("t-1", "00000000000000000000.log"),
        ] {
            let place = folder.path().join(partition);
            fs::create_dir_all(&place).unwrap();
            fs::write(place.join(file), "x").unwrap();
        }
        let found = segments(folder.path(), "t").unwrap();
        let names: Vec<_> = found
            .iter()
            .map(|path| path.strip_prefix(folder.path()).unwrap().to_string_lossy())
            .collect();
        assert_eq!(
            names,
            [
                "t-0/00000000000000000000.log",
                "t-0/00000000000000000010.log",
                "t-1/00000000000000000000.log"
            ]
        );
        forget(folder.path(), "t").unwrap();
    }
}
