//! The machine's file system.
//!
//! Always holds: every read and write names its position and is repeated when a signal interrupts it; a sync is not (an
//! `fdatasync` that failed may have dropped what it could not write). A file position is below 2^63.
//!
//! Next: `lock.rs` beside this file keeps other processes out of a folder.

mod lock;

use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut};
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::UNIX_EPOCH;

use klamm_model::TimestampMs;
use rustix::fs::{Advice, fadvise, fdatasync, statvfs};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2, pwritev};

use super::retried;
use crate::files::{DirEntry, File, Files, FolderLock, OpenMode, Space};

/// Pieces that the kernel takes in one call (IOV_MAX).
const MAX_PIECES_PER_CALL: usize = 1024;

/// The machine's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemFiles;

impl Files for SystemFiles {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(SystemFile::open(path, mode)?))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // Links are followed: what is asked for is what an open would find. A link to nowhere is still a name that is
            // taken: what it led to may be on a disk that is not mounted.
            let path = entry.path();
            match fs::metadata(&path).or_else(|_| fs::symlink_metadata(&path)) {
                Ok(metadata) => entries.push(dir_entry(&entry.file_name(), &metadata)),
                // Removed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        entries.sort();
        Ok(entries)
    }

    fn entry(&self, path: &Path) -> io::Result<Option<DirEntry>> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(dir_entry(path.file_name().unwrap_or_default(), &metadata))),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn modified(&self, path: &Path) -> io::Result<TimestampMs> {
        let modified = fs::metadata(path)?.modified()?;
        Ok(match modified.duration_since(UNIX_EPOCH) {
            Ok(since) => TimestampMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
            Err(before) => {
                TimestampMs(i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms))
            }
        })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        // The folder itself, with its length: not only what its contents need.
        fs::File::open(path)?.sync_all()
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let stat = statvfs(path)?;
        Ok(Space {
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
            usable_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }

    fn lock(
        &self,
        folder: &Path,
        name: &str,
        owner: &str,
    ) -> Result<Box<dyn FolderLock>, Result<String, io::Error>> {
        lock::take(&folder.join(name), owner).map(|lock| Box::new(lock) as Box<dyn FolderLock>)
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn dir_entry(name: &std::ffi::OsStr, metadata: &Metadata) -> DirEntry {
    DirEntry {
        name: name.to_string_lossy().into_owned(),
        is_dir: metadata.is_dir(),
        len: if metadata.is_dir() { 0 } else { metadata.len() },
    }
}

/// An open file of the machine.
#[derive(Debug)]
struct SystemFile {
    file: fs::File,
    /// The file system of this file cannot tell what is in the page cache.
    residence_unknown: AtomicBool,
}

impl SystemFile {
    fn open(path: &Path, mode: OpenMode) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::Write => drop(options.write(true)),
            OpenMode::Create => drop(options.write(true).create(true).truncate(false)),
            OpenMode::CreateNew => drop(options.write(true).create_new(true)),
        }
        Ok(Self {
            file: options.open(path)?,
            residence_unknown: AtomicBool::new(false),
        })
    }
}

impl File for SystemFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        retried(|| pread(&self.file, &mut *buffer, offset))
    }

    fn read_at_resident(&self, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        check_position(offset)?;
        if self.residence_unknown.load(Ordering::Relaxed) {
            return self.read_at(buffer, offset).map(Some);
        }
        let mut one = [IoSliceMut::new(buffer)];
        match retried(|| preadv2(&self.file, &mut one, offset, ReadWriteFlags::NOWAIT)) {
            Ok(n) => Ok(Some(n)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            // Some file systems have no such read; a wait there is better than no data.
            Err(error) if is_unsupported(&error) => {
                self.residence_unknown.store(true, Ordering::Relaxed);
                self.read_at(buffer, offset).map(Some)
            }
            Err(error) => Err(error),
        }
    }

    fn read_passing(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if let Some(read) = self.read_at_resident(buffer, offset)? {
            return Ok(read);
        }
        // Only what is asked for comes into the page cache, and goes again. Advice that is not taken costs others their pages,
        // which is no error.
        let _ = fadvise(&self.file, 0, None, Advice::Random);
        let read = self.read_at(buffer, offset)?;
        let _ = fadvise(&self.file, offset, NonZeroU64::new(read as u64), Advice::DontNeed);
        Ok(read)
    }

    fn write_at(&self, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let mut offset = offset;
        for group in pieces.chunks(MAX_PIECES_PER_CALL) {
            offset = self.write_group(group, offset)?;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(fdatasync(&self.file)?)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}

impl SystemFile {
    /// Writes all of `pieces` (no more than one call takes) and returns the position after them.
    fn write_group(&self, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<u64> {
        let (mut rest, mut offset) = (pieces, offset);
        while !rest.is_empty() {
            let mut written = retried(|| pwritev(&self.file, rest, offset))?;
            offset += written as u64;
            let whole = rest.iter().take_while(|piece| {
                let fits = piece.len() <= written;
                written -= if fits { piece.len() } else { 0 };
                fits
            });
            let whole = whole.count();
            if whole == 0 && written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            rest = &rest[whole..];
            // What was cut within a piece: finish that piece, then go on with the others.
            if written > 0 {
                offset = self.write_rest(&rest[0][written..], offset)?;
                rest = &rest[1..];
            }
        }
        Ok(offset)
    }

    fn write_rest(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<u64> {
        while !bytes.is_empty() {
            match retried(|| pwritev(&self.file, &[IoSlice::new(bytes)], offset))? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                n => {
                    bytes = &bytes[n..];
                    offset += n as u64;
                }
            }
        }
        Ok(offset)
    }
}

/// The call `preadv2` takes the greatest position for "wherever the cursor stands".
fn check_position(offset: u64) -> io::Result<()> {
    if i64::try_from(offset).is_err() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(())
}

fn is_unsupported(error: &io::Error) -> bool {
    [Errno::OPNOTSUPP, Errno::NOSYS]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests;
