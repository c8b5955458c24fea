//! What lies in a log dir at the start: partitions, and copies of partitions that were being made when the last process ended.

use std::path::PathBuf;

use klamm_model::{TopicId, TopicPartition, Uuid};

use super::{LogDir, moves, read_topic_id};
use crate::error::LogError;
use crate::names::{self, FolderKind};

/// A partition's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundPartition {
    /// The partition its name says.
    pub partition: TopicPartition,
    /// The topic's id; `None` if the folder was made but not finished, is damaged or cannot be read: opening it tells.
    pub topic_id: Option<TopicId>,
    /// How often it was moved between log dirs: of two folders that say that they are of one partition, the one with more is.
    pub moves: u64,
}

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
    /// The partitions in the folder, sorted. Blocks.
    pub fn partitions(&self) -> Result<Vec<FoundPartition>, LogError> {
        let mut found = Vec::new();
        for name in self.folders()? {
            if let FolderKind::Partition(partition) = names::parse_folder(&name) {
                let topic_id = match read_topic_id(&*self.files, &self.path.join(&name)) {
                    // Opening it tells why: that costs this partition, and no other.
                    Err(LogError::Corrupt { .. } | LogError::Io { .. }) => None,
                    topic_id => topic_id?,
                };
                let moves = moves::read(&*self.files, &self.path.join(&name)).unwrap_or_default();
                found.push(FoundPartition {
                    partition,
                    topic_id,
                    moves,
                });
            }
        }
        Ok(found)
    }

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
