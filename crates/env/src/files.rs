//! The file system: what the log, the quorum and the checkpoints stand on.
//!
//! Always holds: reads and writes name their position (there is no cursor); a write is in the page cache when it
//! returns and on the device after `sync_data`; a name is durable after `sync_dir` of its folder. The calls may block:
//! on a network thread only those marked so are allowed.

use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

use klamm_model::TimestampMs;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// For reading; it must exist.
    Read,
    /// For reading and writing; it must exist.
    Write,
    /// For reading and writing; made if it does not exist, kept as it is if it does.
    Create,
    /// For reading and writing; it must not exist.
    CreateNew,
}

/// One entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// Its name within the folder.
    pub name: String,
    /// Whether it is a folder.
    pub is_dir: bool,
    /// Its size in bytes (of a file).
    pub len: u64,
}

/// Whether a call failed before it did anything, for the limit of open files (of the process, or of the machine).
pub fn is_too_many_open_files(error: &io::Error) -> bool {
    matches!(
        rustix::io::Errno::from_io_error(error),
        Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE)
    )
}

/// Room on the device of a path, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub total_bytes: u64,
    /// What a process without privileges may still take.
    pub usable_bytes: u64,
}

/// An open file. Closed when dropped.
pub trait File: Send + Sync + fmt::Debug {
    /// Reads once at `offset`; 0 at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Like [`File::read_at`], but `None` when the bytes would have to come from the device. Allowed on network threads.
    fn read_at_resident(&self, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>>;

    /// Like [`File::read_at`], but what was not in the page cache before is not there afterwards either, where the system can
    /// be told. For a handle that is not read otherwise: it does not read ahead any more.
    fn read_passing(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_at(buffer, offset)
    }

    /// Writes all of `pieces`, one after another, at `offset`. Allowed on network threads (page cache).
    fn write_at(&self, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<()>;

    /// Returns when the contents and the length are on the device.
    fn sync_data(&self) -> io::Result<()>;

    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts the file, or extends it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// The descriptor, where there is a real one.
    fn as_fd(&self) -> Option<BorrowedFd<'_>>;

    /// Reads exactly `buffer.len()` bytes at `offset`.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            match self.read_at(&mut buffer[done..], offset + done as u64)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => done += n,
            }
        }
        Ok(())
    }
}

/// A lock on a folder, held until it is dropped or the process ends.
pub trait FolderLock: Send + Sync {}

/// A file system.
pub trait Files: Send + Sync {
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;

    /// Makes a folder and those above it, where they are missing.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Gives a file or folder another name, replacing a file that has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a folder and all in it.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;

    /// The entries of a folder, sorted by name. A link stands for what it leads to, and one to nowhere for a file.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>>;

    /// The entry a path names, `None` when there is none.
    fn entry(&self, path: &Path) -> io::Result<Option<DirEntry>>;

    /// When the contents of a file last changed, by the wall clock of its file system.
    fn modified(&self, path: &Path) -> io::Result<TimestampMs>;

    /// Returns when the names in this folder are on the device.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Room on the device that holds `path`.
    fn space(&self, path: &Path) -> io::Result<Space>;

    /// Locks the folder by a file `name` in it that holds `owner` (a text that names this process). `Err(Ok(text))` is
    /// what the file of the present holder says.
    fn lock(
        &self,
        folder: &Path,
        name: &str,
        owner: &str,
    ) -> Result<Box<dyn FolderLock>, Result<String, io::Error>>;

    /// The whole contents of a file, which must not be longer than `limit` bytes.
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let file = self.open(path, OpenMode::Read)?;
        let len = file.len()?;
        if len > limit {
            let text = format!("{}: {len} bytes, at most {limit} expected", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let mut bytes = vec![0; len as usize];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Puts `bytes` in the place of the file as a whole: after a crash at any moment the file has the old or the new
    /// contents, and when this returns, the new ones durably.
    fn write_atomically(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.replace(path, bytes)?;
        self.sync_dir(path.parent().unwrap_or(Path::new(".")))
    }

    /// As [`Files::write_atomically`], but the new contents are durable only when the folder is synced.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let parent = path.parent().unwrap_or(Path::new("."));
        let mut name = path
            .file_name()
            .ok_or(io::ErrorKind::InvalidInput)?
            .to_os_string();
        name.push(".tmp");
        let temporary = parent.join(name);
        let file = self.open(&temporary, OpenMode::Create)?;
        file.set_len(0)?;
        file.write_at(&[IoSlice::new(bytes)], 0)?;
        file.sync_data()?;
        self.rename(&temporary, path)
    }

    /// Makes a folder, and those above it that are missing, so that no power cut takes it, and with it all that it will
    /// hold. Its name is synced where the folder was there too: a process that was killed may have made it and come no
    /// further.
    fn create_dir_durably(&self, path: &Path) -> io::Result<()> {
        let was_there = self.entry(path)?.is_some();
        let Some(parent) = path.parent() else {
            return Ok(());
        };
        let parent = match parent.as_os_str().is_empty() {
            true => Path::new("."),
            false => parent,
        };
        if !was_there {
            // From the top down, each durable before the next is made: of a chain that a killed process left, only the
            // last name can be in doubt.
            if parent != path {
                self.create_dir_durably(parent)?;
            }
            self.create_dir_all(path)?;
        }
        match self.sync_dir(parent) {
            // A folder above that this process may not read is one in which it did not make anything.
            Err(error) if was_there && error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            synced => synced,
        }
    }
}
