//! Keeping other processes out of a folder.
//!
//! Always holds: the lock belongs to an open file description (an OFD lock), so a second attempt of the same process is
//! refused as well, and the kernel lets go of it when the process ends, however it ends. It excludes the `fcntl` locks
//! that Apache Kafka takes on the same file. The file stays when the lock goes: removing it would let two others hold
//! "the" lock, each on its own file.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;

use crate::files::FolderLock;

/// Longer than any text that names a process.
const MAX_OWNER_BYTES: u64 = 1024;

/// The open file that has the lock.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl FolderLock for Lock {}

/// Takes the lock and writes `owner` into the file, or says what stands in it.
pub(super) fn take(path: &Path, owner: &str) -> Result<Lock, Result<String, io::Error>> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(Err)?;
    if !try_lock(&file).map_err(Err)? {
        let mut text = Vec::new();
        file.take(MAX_OWNER_BYTES).read_to_end(&mut text).map_err(Err)?;
        return Err(Ok(String::from_utf8_lossy(&text).trim_end().to_owned()));
    }
    file.set_len(0).map_err(Err)?;
    file.write_all(owner.as_bytes()).map_err(Err)?;
    Ok(Lock { _file: file })
}

fn try_lock(file: &File) -> io::Result<bool> {
    let whole_file = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    // SAFETY: the descriptor is open as long as `file` is borrowed, and the kernel only reads the structure.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &whole_file) } == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Ok(false),
        _ => Err(error),
    }
}
