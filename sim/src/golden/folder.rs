//! A folder's way from this machine onto the simulated disk of a node, and back.
//!
//! Always holds: names and bytes are the same on both sides; a folder without files is left out, as git leaves it out, and
//! so is the lock, which says whose process held it.
#![allow(clippy::disallowed_methods)] // files of the project, read and written outside of any simulation

use std::fs;
use std::io::{self, IoSlice};
use std::path::Path;

use klamm_env::sim::Disk;
use klamm_env::{Files, OpenMode};

use crate::stage::LOGS;

const LOCK: &str = ".lock";
/// More than any file of a golden folder has.
const MOST_BYTES: u64 = 1 << 20;

/// Copies the node's log dir to `to`.
pub(super) fn to_machine(disk: &Disk, to: &Path) -> io::Result<()> {
    out(disk, Path::new(LOGS), to)
}

fn out(disk: &Disk, from: &Path, to: &Path) -> io::Result<()> {
    for entry in disk.read_dir(from)? {
        let (from, to) = (from.join(&entry.name), to.join(&entry.name));
        if entry.is_dir {
            out(disk, &from, &to)?;
        } else if entry.name != LOCK {
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(to, disk.read(&from, MOST_BYTES)?)?;
        }
    }
    Ok(())
}

/// Puts the files in `from` into the node's log dir.
pub(super) fn to_disk(from: &Path, disk: &Disk) -> io::Result<()> {
    into(from, disk, Path::new(LOGS))?;
    disk.sync_all();
    Ok(())
}

fn into(from: &Path, disk: &Disk, to: &Path) -> io::Result<()> {
    disk.create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            into(&entry.path(), disk, &to)?;
        } else {
            let file = disk.open(&to, OpenMode::Create)?;
            file.write_at(&[IoSlice::new(&fs::read(entry.path())?)], 0)?;
        }
    }
    Ok(())
}

/// Writes a text beside a folder.
pub(super) fn write_text(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)
}
