//! What a simulated disk is told to do wrong.

use std::io;
use std::path::Path;

/// The kinds of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Opening a file that is there.
    Open,
    /// Opening a file that is made by that.
    Create,
    /// A read of either kind.
    Read,
    /// A write.
    Write,
    /// A sync of a file.
    SyncData,
    /// A change of a file's length.
    SetLen,
    /// Making a folder.
    CreateDir,
    /// A rename.
    Rename,
    /// The removal of a file, or of a folder with all in it.
    Remove,
    /// Listing a folder, looking for a name.
    List,
    /// A sync of a folder.
    SyncDir,
    /// Taking a lock.
    Lock,
}

impl Operation {
    /// Whether it changes what is on the disk, in the cache or on the device.
    pub fn is_change(self) -> bool {
        !matches!(self, Self::Open | Self::Read | Self::List)
    }
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// EIO.
    Io,
    /// ENOSPC.
    NoSpace,
    /// EMFILE.
    TooManyFiles,
}

impl Failure {
    pub(super) fn error(self) -> io::Error {
        io::Error::from_raw_os_error(match self {
            Self::Io => libc::EIO,
            Self::NoSpace => libc::ENOSPC,
            Self::TooManyFiles => libc::EMFILE,
        })
    }
}

/// Calls that fail. A call that fails changes nothing (but see `sync_data`: the unsynced pages are lost).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which kind of call.
    pub operation: Operation,
    /// Only those whose path has this text in it.
    pub path_contains: Option<String>,
    /// So many go well before.
    pub after: u64,
    /// So many fail.
    pub times: u64,
    /// How.
    pub failure: Failure,
}

impl Fault {
    /// The call of this kind after the next `after` ones fails, once, with EIO.
    pub fn nth(operation: Operation, after: u64) -> Self {
        Self {
            operation,
            path_contains: None,
            after,
            times: 1,
            failure: Failure::Io,
        }
    }

    /// Every call of this kind fails with EIO.
    pub fn always(operation: Operation) -> Self {
        Self {
            times: u64::MAX,
            ..Self::nth(operation, 0)
        }
    }

    /// The same for paths with `text` in them.
    pub fn on(mut self, text: &str) -> Self {
        self.path_contains = Some(text.to_owned());
        self
    }

    /// The same with another error.
    pub fn with(mut self, failure: Failure) -> Self {
        self.failure = failure;
        self
    }

    /// Whether this call fails.
    pub(super) fn hits(&mut self, operation: Operation, path: &Path) -> bool {
        let on_path = |text: &String| path.to_string_lossy().contains(text.as_str());
        if self.operation != operation || !self.path_contains.as_ref().is_none_or(on_path) {
            return false;
        }
        if self.after > 0 {
            self.after -= 1;
            return false;
        }
        let hits = self.times > 0;
        self.times = self.times.saturating_sub(1);
        hits
    }
}
