//! Folders of partitions that go: they are renamed first, and removed when nobody reads in them any more.
//!
//! Always holds: once a name is free, neither a checkpoint nor the journal says anything of the partition that had it; a start
//! after a crash removes what was renamed to be removed, and leaves alone what was set aside.

use std::io;
use std::path::{Path, PathBuf};

use klamm_model::{TopicPartition, Uuid};

use super::LogDir;
use crate::error::LogError;
use crate::journal::retired_names;
use crate::names;

impl LogDir {
    /// Renames the folders of partitions so that they count as removed, durably; returns what is left to be removed with
    /// [`LogDir::remove_folder`]. Partitions of the same names can be made at once. Their logs must have been
    /// [retired](crate::retire). A failure takes the log dir out of service. Blocks.
    pub fn retire(&self, gone: &[(TopicPartition, Uuid)]) -> Result<Vec<PathBuf>, LogError> {
        let named = gone
            .iter()
            .map(|(partition, unique)| (partition, names::delete_folder(partition, *unique)));
        self.move_aside(named.collect())
    }

    /// Sets the folder of a partition aside that the metadata does not know, durably. Blocks.
    pub fn set_aside(&self, partition: &TopicPartition, unique: Uuid) -> Result<PathBuf, LogError> {
        let name = names::stray_folder(partition, unique);
        let moved = self.move_aside(vec![(partition, name)])?.pop();
        moved.ok_or_else(|| LogError::io(&self.folder(partition))(io::ErrorKind::NotFound.into()))
    }

    fn move_aside(&self, moves: Vec<(&TopicPartition, String)>) -> Result<Vec<PathBuf>, LogError> {
        self.check()?;
        let moved = || {
            // First: what they say must never be taken for the state of another partition of that name.
            self.forget(moves.iter().map(|(partition, _)| *partition))?;
            let mut paths = Vec::with_capacity(moves.len());
            for (partition, name) in &moves {
                let (from, to) = (self.folder(partition), self.path.join(name));
                match self.files.rename(&from, &to) {
                    Ok(()) => paths.push(to),
                    // It never came to be, on a full device for instance.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(LogError::io(&from)(error)),
                }
            }
            self.files
                .sync_dir(&self.path)
                .map_err(LogError::io(&self.path))?;
            Ok(paths)
        };
        let paths = moved().inspect_err(|error| self.fail(error))?;
        retired_names(self, moves.iter().map(|(partition, _)| *partition));
        Ok(paths)
    }

    /// Removes a folder that was [retired](LogDir::retire). Blocks.
    pub fn remove_folder(&self, path: &Path) -> Result<(), LogError> {
        self.files.remove_dir_all(path).map_err(LogError::io(path))
    }
}
