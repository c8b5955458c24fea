//! Where a log is at home, and the way in: what its parts share, and what never changes.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use klamm_model::{TopicId, TopicPartition};

use crate::dir::LogDir;
use crate::gate::Gate;
use crate::names;

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) dir: Arc<LogDir>,
    pub(crate) partition: TopicPartition,
    pub(crate) topic_id: TopicId,
    /// It is a copy that is still being made (`relocate`): its folder has another name.
    pub(crate) is_future: AtomicBool,
    /// For whoever does something slow with the files, outside the caller's lock.
    pub(crate) gate: Gate,
    /// A round of compaction is under way.
    pub(crate) is_cleaned: AtomicBool,
}

/// A round of compaction, as long as this lives.
#[derive(Debug)]
pub(crate) struct Cleaning(Arc<Home>);

impl Drop for Cleaning {
    fn drop(&mut self) {
        self.0.is_cleaned.store(false, Ordering::Release);
    }
}

impl Home {
    /// The partition's folder. Made up each time: a log at rest does not keep it.
    pub(crate) fn folder(&self) -> PathBuf {
        match self.is_future.load(Ordering::Acquire) {
            true => self.future_folder(),
            false => self.dir.folder(&self.partition),
        }
    }

    /// The folder that the log has, or would have, as a copy that is still being made.
    pub(crate) fn future_folder(&self) -> PathBuf {
        let name = names::future_folder(&self.partition, self.topic_id);
        self.dir.path().join(name)
    }

    /// Begins a round of compaction; `None` while another one is under way.
    pub(crate) fn begin_cleaning(self: &Arc<Self>) -> Option<Cleaning> {
        let was = self.is_cleaned.swap(true, Ordering::AcqRel);
        (!was).then(|| Cleaning(Arc::clone(self)))
    }
}
