//! Copies of partitions that were being made when the last process ended.

use std::path::PathBuf;

use klamm_model::{TopicId, Uuid};

use super::{LogDir, read_topic_id};
use crate::error::LogError;
use crate::names::{self, FolderKind};

/// A copy that was being made from another log dir.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFuture {
    /// The topic's id; `None` if the copy had hardly begun, or cannot be read.
    pub topic_id: Option<TopicId>,
    /// The number of the partition.
    pub partition: i32,
    /// Its folder.
    pub folder: PathBuf,
}

impl LogDir {
    /// The copies in the folder that were being made. Blocks.
    pub fn futures(&self) -> Result<Vec<FoundFuture>, LogError> {
        let mut found = Vec::new();
        for name in self.folders()? {
            if let FolderKind::Future(partition) = names::parse_folder(&name) {
                let folder = self.path.join(name);
                found.push(FoundFuture {
                    topic_id: read_topic_id(&*self.files, &folder).unwrap_or_default(),
                    partition,
                    folder,
                });
            }
        }
        Ok(found)
    }

    /// Renames the folder of a copy that nobody wants any more, so that it counts as removed, and removes it. Blocks.
    pub fn remove_future(&self, found: &FoundFuture, unique: Uuid) -> Result<(), LogError> {
        self.check()?;
        let ending = format!(
            "-{}.{:032x}-delete",
            found.partition,
            u128::from_be_bytes(unique.0)
        );
        let aside = self.path.join(format!("future{ending}"));
        self.files
            .rename(&found.folder, &aside)
            .map_err(LogError::io(&found.folder))?;
        self.remove_folder(&aside)
    }
}
