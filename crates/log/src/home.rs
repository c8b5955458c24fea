//! Where a log is at home, and the way in: what its parts share, and what never changes.

use std::path::PathBuf;
use std::sync::Arc;

use klamm_model::{TopicId, TopicPartition};

use crate::dir::LogDir;
use crate::gate::Gate;

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) dir: Arc<LogDir>,
    pub(crate) partition: TopicPartition,
    pub(crate) topic_id: TopicId,
    /// For whoever does something slow with the files, outside the caller's lock.
    pub(crate) gate: Gate,
}

impl Home {
    /// The partition's folder. Made up each time: a log at rest does not keep it.
    pub(crate) fn folder(&self) -> PathBuf {
        self.dir.folder(&self.partition)
    }
}
