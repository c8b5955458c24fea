//! Open files and held locks of a simulated disk.
//!
//! Always holds: a handle works only in the life of the machine in which it was opened.

use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::MutexGuard;

use super::contents::Contents;
use super::{Disk, Inode, Operation, State, power_is_off};
use crate::files::{File, FolderLock};
use crate::sim::trace::fingerprint;

/// An open file.
pub(super) struct SimFile {
    disk: Disk,
    path: PathBuf,
    inode: Inode,
    generation: u64,
    is_writable: bool,
    _handle: Arc<()>,
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimFile({})", self.path.display())
    }
}

impl SimFile {
    pub(super) fn new(
        disk: Disk,
        path: &Path,
        inode: Inode,
        generation: u64,
        is_writable: bool,
        handle: Arc<()>,
    ) -> Self {
        Self {
            disk,
            path: path.to_owned(),
            inode,
            generation,
            is_writable,
            _handle: handle,
        }
    }

    fn begin(&self, operation: Operation, detail: fmt::Arguments<'_>) -> io::Result<MutexGuard<'_, State>> {
        self.check_alive(&self.disk.state())?;
        if operation.is_change() && operation != Operation::SyncData && !self.is_writable {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        }
        self.disk.begin(operation, &self.path, detail)
    }

    fn check_alive(&self, state: &State) -> io::Result<()> {
        if state.generation == self.generation {
            Ok(())
        } else {
            Err(power_is_off())
        }
    }

    fn contents<'a>(&self, state: &'a mut State) -> &'a mut Contents {
        let file = state.files.get_mut(&self.inode);
        &mut file.expect("a file that is open is kept").contents
    }
}

impl File for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.begin(Operation::Read, format_args!(" {offset}+{}", buffer.len()))?;
        Ok(self.contents(&mut state).read(buffer, offset))
    }

    fn read_at_resident(&self, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        let detail = format_args!(" {offset}+{} if resident", buffer.len());
        let mut state = self.begin(Operation::Read, detail)?;
        let contents = self.contents(&mut state);
        let n = contents.resident(buffer.len(), offset);
        Ok(n.map(|n| contents.read(&mut buffer[..n], offset)))
    }

    fn write_at(&self, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let len: usize = pieces.iter().map(|piece| piece.len()).sum();
        if offset
            .checked_add(len as u64)
            .is_none_or(|end| i64::try_from(end).is_err())
        {
            return Err(io::Error::from_raw_os_error(libc::EFBIG));
        }
        let hash = fingerprint(pieces);
        let mut state = self.begin(Operation::Write, format_args!(" {offset}+{len} {hash:016x}"))?;
        let free = state.free_bytes();
        state.touch(self.inode, self.disk.now());
        let contents = self.contents(&mut state);
        let fits = free.map_or(len as u64, |free| contents.fits(offset, len as u64, free));
        let (mut at, mut left) = (offset, fits as usize);
        for piece in pieces {
            let n = piece.len().min(left);
            contents.write(&piece[..n], at);
            at += n as u64;
            left -= n;
        }
        if fits < len as u64 {
            // What fitted is written, as the kernel does it.
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        match self.begin(Operation::SyncData, format_args!("")) {
            Ok(mut state) => {
                self.contents(&mut state).sync();
                Ok(())
            }
            Err(error) => {
                let mut state = self.disk.state();
                if self.check_alive(&state).is_ok() && !state.is_down {
                    self.contents(&mut state).sync_failed();
                }
                Err(error)
            }
        }
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.disk.state();
        self.check_alive(&state)?;
        if state.is_down {
            return Err(power_is_off());
        }
        Ok(self.contents(&mut state).len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if i64::try_from(len).is_err() {
            return Err(io::Error::from_raw_os_error(libc::EFBIG));
        }
        let mut state = self.begin(Operation::SetLen, format_args!(" {len}"))?;
        state.touch(self.inode, self.disk.now());
        self.contents(&mut state).set_len(len);
        Ok(())
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// A lock that is held.
pub(super) struct SimLock {
    disk: Disk,
    inode: Inode,
    generation: u64,
}

impl SimLock {
    pub(super) fn new(disk: Disk, inode: Inode, generation: u64) -> Self {
        Self {
            disk,
            inode,
            generation,
        }
    }
}

impl FolderLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.generation == self.generation {
            state.locks.remove(&self.inode);
        }
    }
}
