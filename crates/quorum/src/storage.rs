//! The quorum's folder: what of Raft survives a crash.
//!
//! ```text
//! <directory>/
//!   vote                        whom this node voted for, in which term; and whose folder this is
//!   00000000000000000000.raft   entries, in segments named by their first index
//!   00000000000000041873.raft
//!   00000000000000041872.snapshot   the state up to and with that entry; at most one
//!   *.tmp                       a file being written; removed at the start
//! ```
//!
//! Always holds:
//! - a file under its final name is whole: it was written beside, synced and renamed. Only the last segment grows, and
//!   only its tail can be torn;
//! - what was reported as flushed is on the device, and so is everything before it;
//! - a write or sync that failed is the last one ([`writer`]): nothing is retried, nothing later succeeds;
//! - no bytes of a file are believed before their checksum agrees, and no length in a file sizes an allocation beyond
//!   the file.
//!
//! The bytes are drawn in `docs/formats/metadata-log.md`. [`log`] keeps the segments, [`frame`] is one entry in them,
//! [`vote`] and [`snapshot`] are the other files, [`store`] is what openraft sees.

pub(crate) mod frame;
pub(crate) mod log;
pub(crate) mod scan;
pub(crate) mod snapshot;
pub(crate) mod store;
pub(crate) mod vote;
pub(crate) mod writer;

#[cfg(test)]
mod format_tests;
#[cfg(test)]
mod suite_tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use klamm_env::Files;
use klamm_model::Uuid;

use crate::error::FileError;

/// Whose folder it is, and through what it is reached. A clone is cheap.
#[derive(Clone)]
pub(crate) struct Folder {
    pub(crate) files: Arc<dyn Files>,
    pub(crate) path: PathBuf,
    pub(crate) cluster_id: Uuid,
    pub(crate) node_id: u64,
}

impl Folder {
    /// Makes the folder where it is missing, removes what a crash left half written, and makes sure that the names
    /// that are seen are durable.
    pub(crate) fn open(&self) -> Result<(), FileError> {
        self.files
            .create_dir_durably(&self.path)
            .map_err(FileError::io(&self.path))?;
        for name in self.names_with(".tmp")? {
            let path = self.path.join(name);
            self.files.remove_file(&path).map_err(FileError::io(path))?;
        }
        self.sync()
    }

    pub(crate) fn sync(&self) -> Result<(), FileError> {
        self.files.sync_dir(&self.path).map_err(FileError::io(&self.path))
    }

    pub(crate) fn names_with(&self, suffix: &str) -> Result<Vec<String>, FileError> {
        let entries = self
            .files
            .read_dir(&self.path)
            .map_err(FileError::io(&self.path))?;
        let names = entries
            .into_iter()
            .filter(|entry| !entry.is_dir)
            .map(|entry| entry.name);
        Ok(names.filter(|name| name.ends_with(suffix)).collect())
    }

    /// Removes a file; a crash may bring it back until the next [`Folder::sync`].
    pub(crate) fn remove(&self, name: &str) -> Result<(), FileError> {
        let path = self.path.join(name);
        self.files.remove_file(&path).map_err(FileError::io(path))
    }

    pub(crate) fn write_atomically(&self, name: &str, bytes: &[u8]) -> Result<(), FileError> {
        let path = self.path.join(name);
        self.files
            .write_atomically(&path, bytes)
            .map_err(FileError::io(path))
    }

    pub(crate) fn corrupt(path: &Path, position: u64, what: impl Into<String>) -> FileError {
        FileError::Corrupt {
            path: path.to_path_buf(),
            position,
            what: what.into(),
        }
    }
}

/// The number in a file name of the form `<20 digits><suffix>`.
fn number_in(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}
