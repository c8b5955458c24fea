//! What can go wrong, by whose fault.

use std::io;
use std::path::PathBuf;

use crate::machine::{Position, ReplayError};

/// A file of the quorum that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The device or the system refused.
    #[error("{path}: {error}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// Written by a later version of Klamm.
    #[error("{path}: format version {found}, but this version of Klamm reads up to {supported}", path = path.display())]
    NewerVersion {
        /// The file.
        path: PathBuf,
        /// The version in it.
        found: u16,
        /// The highest version that is read.
        supported: u16,
    },
    /// Bytes that were durable are not what was written.
    #[error("{path}: corrupt at byte {position}: {what}", path = path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in it.
        position: u64,
        /// What is wrong there.
        what: String,
    },
    /// What was to be written is above what is read again.
    #[error("{path}: {found} bytes are more than the {limit} that can be read again", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes it would have.
        found: u64,
        /// Bytes that are read.
        limit: u64,
    },
    /// A file of another node or cluster.
    #[error("{path}: belongs to {found}, expected {expected}", path = path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Who this node is.
        expected: String,
    },
    /// A file is missing between others.
    #[error("{path}: entries {from} to {to} are in no file", path = path.display())]
    Gap {
        /// The folder.
        path: PathBuf,
        /// The first entry that is missing.
        from: u64,
        /// The last entry that is missing.
        to: u64,
    },
}

impl FileError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> FileError {
        let path = path.into();
        move |error| FileError::Io { path, error }
    }
}

impl From<FileError> for io::Error {
    fn from(error: FileError) -> Self {
        let kind = match &error {
            FileError::Io { error, .. } => error.kind(),
            _ => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, error)
    }
}

/// Why a quorum did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration contradicts itself.
    #[error("the quorum's configuration: {0}")]
    Config(&'static str),
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The state machine cannot follow the snapshot that is on disk, or an entry behind it.
    #[error("the metadata log at offset {} cannot be followed: {error}", position.index)]
    Replay {
        /// The entry, or the last one in the snapshot.
        position: Position,
        /// What the state machine says.
        error: ReplayError,
    },
    /// The log, the vote and the snapshot do not fit together, or the disk failed during the start.
    #[error("the metadata log cannot be recovered: {0}")]
    Recovery(String),
}

/// Why an entry is not known to be committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another node leads, or none; the entry was not written.
    #[error("not the leader (the leader is {leader:?})")]
    NotLeader {
        /// Who leads, if that is known.
        leader: Option<i32>,
    },
    /// Leadership was lost before the entry was known to be committed: it may still come, or not.
    #[error("leadership was lost before the entry was committed (the leader is {leader:?})")]
    OutcomeUnknown {
        /// Who leads, if that is known.
        leader: Option<i32>,
    },
    /// The entry is larger than one may be; it was not written.
    #[error("an entry of {bytes} bytes, at most {limit} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest size.
        limit: usize,
    },
    /// The quorum of this node has stopped, or stopped while the entry was under way: it may still be in the log.
    #[error("the quorum has stopped: {0}")]
    Stopped(String),
}

/// Why the quorum of this node stopped by itself. It serves nothing until the process is started again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the quorum has failed: {0}")]
pub struct FatalError(pub String);
