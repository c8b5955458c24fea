//! `partition.metadata`: of which topic a partition's folder is.
//!
//! Always holds: the file is written as a whole, and before any record; a folder without it was made and not finished, or is
//! damaged ([`make`](crate::make) tells).

use std::path::Path;

use klamm_env::Files;
use klamm_model::TopicId;

use super::read_small;
use crate::error::LogError;

const PARTITION_METADATA: &str = "partition.metadata";

/// The topic's id in a partition's folder.
pub(crate) fn read_topic_id(files: &dyn Files, folder: &Path) -> Result<Option<TopicId>, LogError> {
    let path = folder.join(PARTITION_METADATA);
    let Some(text) = read_small(files, &path)? else {
        return Ok(None);
    };
    let field = |name: &str| {
        text.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.trim() == name)
            .map(|f| f.1.trim())
    };
    match field("version").and_then(|version| version.parse().ok()) {
        Some(0) => {}
        Some(found) => {
            return Err(LogError::NewerFormat {
                path,
                found,
                known: 0,
            });
        }
        None => return Err(LogError::corrupt(&path, "no version")),
    }
    let id = field("topic_id").and_then(|id| id.parse().ok());
    id.map(Some)
        .ok_or_else(|| LogError::corrupt(&path, "no topic id"))
}

/// Writes it as a whole; its name is durable when the folder is synced.
pub(crate) fn write_topic_id(files: &dyn Files, folder: &Path, topic_id: TopicId) -> Result<(), LogError> {
    let path = folder.join(PARTITION_METADATA);
    let text = format!("version: 0\ntopic_id: {topic_id}");
    files.replace(&path, text.as_bytes()).map_err(LogError::io(&path))
}

/// Whether a file has, or was to become, the topic's id.
pub(crate) fn is_topic_id_file(name: &str) -> bool {
    name.strip_suffix(".tmp").unwrap_or(name) == PARTITION_METADATA
}
