//! A disk for one broker, whose power can be cut.
//!
//! The broker's data lies on an ext4 file system in an image file, which is a loop device; the image lies on a file system of its own,
//! and that one can be frozen. A cut is: freeze it, so that no write reaches the device from one moment on; copy the image; kill the
//! broker, which has not answered anything since that rests on a write; thaw; throw the old image away and mount the copy.
//! What the broker had not synced was in the page cache of the inner file system and not in the image, so it is gone, and the
//! copy is the device as it was at one moment: it is not torn by the time that copying takes.
//!
//! What a cut does not show: a device that loses writes out of its own cache although it was told to flush them, or reorders
//! them against that. The simulated disk (`klamm_env::sim::disk`) has torn and reordered writes.
//!
//! Always holds: the mounts are this process's own (a mount namespace), so they are gone when it is, however it ends. Needs root and
//! loop devices; [`missing`] says what is not there.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::OnceLock,
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::process::{self, quietly};

/// Bytes of the broker's file system, and of those that hold its image. Only what is written takes memory.
const INNER: &str = "448M";
const OUTER: &str = "512M";
/// Two outer file systems in memory, hardly ever full at once.
const MEMORY: &str = "1100M";
/// The image's name on an outer file system.
const IMAGE: &str = "disk.img";

/// Why there can be no such disk on this machine, if so.
pub(crate) fn missing() -> Option<String> {
    static MISSING: OnceLock<Option<String>> = OnceLock::new();
    MISSING.get_or_init(find_missing).clone()
}

fn find_missing() -> Option<String> {
    for program in ["mount", "umount", "mkfs.ext4", "fsfreeze", "losetup"] {
        if process::find(program).is_none() {
            return Some(format!("there is no {program} on this machine"));
        }
    }
    let trial = || {
        let place = tempfile::tempdir()?;
        let data = place.path().join("data");
        fs::create_dir(&data)?;
        let disk = Power::on(place.path(), &data)?;
        disk.frozen(|_| Ok(()))
    };
    let error = trial().err()?;
    Some(format!("a disk in a loop device cannot be had: {error:#}"))
}

/// Gives this process, and what it starts from this thread, mounts of its own.
pub(crate) fn own_mounts() -> Result<()> {
    static OWN: OnceLock<std::result::Result<(), String>> = OnceLock::new();
    let own = OWN.get_or_init(|| {
        // SAFETY: a system call without memory; of this process's threads only this one changes its root and mounts.
        if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
            return Err(format!(
                "no mounts of our own: {}",
                std::io::Error::last_os_error()
            ));
        }
        // Nothing that is mounted here is seen outside.
        let private = quietly(Command::new("mount").args(["--make-rprivate", "/"]));
        private.map_err(|error| format!("{error:#}"))
    });
    own.clone().map_err(anyhow::Error::msg)
}

/// A file system in memory of so many bytes, at `at`; gone when dropped.
pub(crate) struct Memory {
    at: PathBuf,
}

impl Memory {
    pub(crate) fn mount(at: &Path, size: &str) -> Result<Self> {
        own_mounts()?;
        fs::create_dir_all(at)?;
        let size = format!("size={size}");
        quietly(
            Command::new("mount")
                .args(["-t", "tmpfs", "-o", &size, "none"])
                .arg(at),
        )?;
        Ok(Memory { at: at.to_owned() })
    }

    /// Mounts it again with other options.
    pub(crate) fn remount(&self, options: &str) -> Result<()> {
        let options = format!("remount,{options}");
        quietly(Command::new("mount").args(["-o", &options]).arg(&self.at))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        unmount(&self.at);
    }
}

/// A mount that is still in use is gone with this process at the latest.
fn unmount(at: &Path) {
    if quietly(Command::new("umount").arg(at)).is_err() {
        let _ = quietly(Command::new("umount").arg("--lazy").arg(at));
    }
}

/// See the head of the file.
pub(crate) struct Power {
    /// Where the broker's data is.
    data: PathBuf,
    /// The file systems that hold the image by turns.
    outer: [PathBuf; 2],
    turn: usize,
    cuts: u32,
    _memory: Memory,
    _place: TempDir,
}

impl Power {
    /// An empty disk at `data`, a folder that exists. What holds it is made below `place`.
    pub(crate) fn on(place: &Path, data: &Path) -> Result<Self> {
        own_mounts()?;
        let place = tempfile::Builder::new().prefix("disk-").tempdir_in(place)?;
        let memory = Memory::mount(&place.path().join("memory"), MEMORY)?;
        let outer = ["a", "b"].map(|name| place.path().join(name));
        let power = Power {
            data: data.to_owned(),
            outer,
            turn: 0,
            cuts: 0,
            _memory: memory,
            _place: place,
        };
        for at in power.outer.clone() {
            let name = at.file_name().unwrap_or_default();
            let image = power._memory.at.join(name);
            // Without a journal: it is never cut, only frozen.
            make(&image, OUTER, &["-O", "^has_journal"])?;
            fs::create_dir(&at)?;
            mount(&image, &at)?;
        }
        make(&power.image(), INNER, &[])?;
        mount(&power.image(), &power.data)?;
        // What mkfs puts at the top is no partition.
        fs::remove_dir(power.data.join("lost+found")).context("a new file system without lost+found")?;
        Ok(power)
    }

    fn image(&self) -> PathBuf {
        self.outer[self.turn].join(IMAGE)
    }

    /// How often the power was cut.
    pub(crate) fn cuts(&self) -> u32 {
        self.cuts
    }

    /// Calls `work` while no write reaches the disk. The place of the image is its argument.
    fn frozen<T>(&self, work: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
        let outer = &self.outer[self.turn];
        quietly(Command::new("fsfreeze").arg("--freeze").arg(outer))?;
        let done = work(&self.image());
        quietly(Command::new("fsfreeze").arg("--unfreeze").arg(outer))?;
        done
    }

    /// Cuts the power: the process is ended, and the disk holds what it held at that moment.
    pub(crate) fn cut(&mut self, process: Option<Child>) -> Result<()> {
        let next = 1 - self.turn;
        let copy = self.outer[next].join(IMAGE);
        let ended = self.frozen(|image| {
            quietly(Command::new("cp").arg("--sparse=always").arg(image).arg(&copy))?;
            // Before the thaw: no answer may go out that rests on a write after the copy.
            process.map(kill).transpose()
        })?;
        if let Some(mut process) = ended {
            process.wait()?;
        }
        quietly(Command::new("umount").arg(&self.data))?;
        fs::remove_file(self.image())?;
        self.turn = next;
        self.cuts += 1;
        mount(&copy, &self.data)
    }

    /// Has the file system refuse every write from now on, also to files that are open: an emergency, as the kernel declares one itself
    /// when a device fails under a file system that was mounted so.
    pub(crate) fn stop_writes(&self) -> Result<()> {
        let remount = ["-o", "remount,abort"];
        quietly(Command::new("mount").args(remount).arg(&self.data))
    }

    /// Mounts the file system anew. Nothing may use it.
    pub(crate) fn allow_writes(&self) -> Result<()> {
        quietly(Command::new("umount").arg(&self.data))?;
        mount(&self.image(), &self.data)
    }

    /// Keeps the disk for a look, in `folder`.
    pub(crate) fn keep(&self, folder: &Path) -> Result<PathBuf> {
        let kept = folder.join(IMAGE);
        quietly(Command::new("sync").arg("--file-system").arg(&self.data))?;
        quietly(
            Command::new("cp")
                .arg("--sparse=always")
                .arg(self.image())
                .arg(&kept),
        )?;
        Ok(kept)
    }
}

/// Tells the process to end; it has when it is waited for.
fn kill(mut process: Child) -> Result<Child> {
    process.kill()?;
    Ok(process)
}

impl Drop for Power {
    fn drop(&mut self) {
        unmount(&self.data);
        self.outer.iter().for_each(|at| unmount(at));
    }
}

fn make(image: &Path, size: &str, options: &[&str]) -> Result<()> {
    quietly(Command::new("truncate").args(["--size", size]).arg(image))?;
    let mut make = Command::new("mkfs.ext4");
    make.args([
        "-q",
        "-F",
        "-m",
        "0",
        "-E",
        "lazy_itable_init=0,lazy_journal_init=0",
    ]);
    quietly(make.args(options).arg(image))
}

fn mount(image: &Path, at: &Path) -> Result<()> {
    quietly(
        Command::new("mount")
            .args(["-o", "loop,noatime"])
            .arg(image)
            .arg(at),
    )
}

/// That a cut is one: what was synced is there afterwards, and what was not is not.
pub(crate) fn check_cut() -> Result<()> {
    let place = tempfile::tempdir()?;
    let data = place.path().join("data");
    fs::create_dir(&data)?;
    let mut power = Power::on(place.path(), &data)?;
    let write = |name: &str| -> Result<fs::File> {
        let mut file = fs::File::create(data.join(name))?;
        file.write_all(&[7; 100_000])?;
        Ok(file)
    };
    write("synced")?.sync_all()?;
    drop(write("written")?);
    fs::File::open(&data)?.sync_all()?;
    power.cut(None)?;
    let length = |name: &str| {
        fs::read(data.join(name)).map_or(0, |bytes| bytes.iter().filter(|byte| **byte == 7).count())
    };
    match (length("synced"), length("written")) {
        (100_000, 0) => Ok(()),
        (synced, written) => bail!(
            "after a cut {synced} of 100000 synced bytes are there, and {written} of 100000 that were not synced"
        ),
    }
}
