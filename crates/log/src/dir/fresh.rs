//! Names that were made and are not durable yet: one sync of the folder serves all who wait for theirs.
//!
//! Always holds: a sync that serves somebody began after that one had made its names.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use klamm_env::files::is_too_many_open_files;
use parking_lot::Mutex;

use super::LogDir;
use crate::error::LogError;

/// See the head of the file.
#[derive(Default)]
pub(super) struct FreshNames {
    asked: AtomicU64,
    /// How many of those who asked have been served.
    served: Mutex<u64>,
}

impl FreshNames {
    /// Somebody has made its names. The turn is for [`FreshNames::wait`].
    fn ask(&self) -> u64 {
        self.asked.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Returns when a `sync` has run that began after the turn was given. Blocks.
    fn wait(&self, turn: u64, sync: impl FnOnce() -> Result<(), LogError>) -> Result<(), LogError> {
        let mut served = self.served.lock();
        if *served >= turn {
            return Ok(());
        }
        // Whoever has asked by now made its names before.
        let all = self.asked.load(Ordering::Acquire);
        sync()?;
        *served = all;
        Ok(())
    }
}

impl LogDir {
    /// Returns when the names that were made in the folder so far are durable. Blocks.
    pub(crate) fn sync_names(&self) -> Result<(), LogError> {
        self.fresh.wait(self.fresh.ask(), || self.sync_folder(&self.path))
    }

    /// Syncs a folder, of which nothing is known after a failure: it takes the log dir out of service, unless the folder could
    /// not even be opened for the limit of open files. Blocks.
    pub(crate) fn sync_folder(&self, folder: &Path) -> Result<(), LogError> {
        self.check()?;
        self.files.sync_dir(folder).map_err(|error| {
            let is_unknown = !is_too_many_open_files(&error);
            let error = LogError::io(folder)(error);
            if is_unknown {
                self.fail(&error);
            }
            error
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_serves_those_who_had_asked_and_nobody_else() {
        let names = FreshNames::default();
        let wait = |turn| {
            let mut syncs = 0;
            names
                .wait(turn, || {
                    syncs += 1;
                    Ok(())
                })
                .unwrap();
            syncs
        };
        let (first, second) = (names.ask(), names.ask());
        assert_eq!((wait(first), wait(second)), (1, 0), "one for both");
        let mut third = 0;
        let fourth = names.ask();
        names
            .wait(fourth, || {
                third = names.ask();
                Ok(())
            })
            .unwrap();
        assert_eq!(wait(third), 1, "who asked during a sync needs another");
        let fifth = names.ask();
        assert!(names.wait(fifth, || Err(LogError::Retired)).is_err());
        assert_eq!(wait(fifth), 1, "a sync that failed serves nobody");
    }
}
