//! A log dir with a journal: what both ask of each other.
//!
//! Always holds: a folder that has a journal says so by its version, before the first file is made; what
//! [`LogDir::flush_checkpoint`] promises is on the device.

use klamm_model::{Offset, TopicPartition, Uuid};

use super::{FORMAT_VERSION, LogDir, MARKER, MARKER_VERSION, RECOVERY_POINTS, read_small};
use crate::error::LogError;
use crate::journal::Book;

impl LogDir {
    /// Before the first file of a journal is made: a binary that knows of none must not start on the folder. Blocks.
    pub(crate) fn mark_journaled(&self) -> Result<(), LogError> {
        let path = self.path.join(MARKER).join(MARKER_VERSION);
        let text = format!("{FORMAT_VERSION}\n");
        match read_small(&*self.files, &path)? {
            Some(found) if found != text => self.write(&path, text.as_bytes()),
            // One that is not formatted is nobody's yet.
            _ => Ok(()),
        }
    }

    /// What is known of the journal.
    pub(crate) fn book(&self) -> &Book {
        &self.book
    }

    /// The id of the log dir, which all checksums of the journal begin with.
    pub(crate) fn directory_id(&self) -> Uuid {
        self.meta().map_or(Uuid::ZERO, |meta| meta.directory_id)
    }

    /// Everything of the log below is in its segments, synced, and known to be so at the next start too: a replay of the journal
    /// leaves alone what ends there or before. Only segments wholly below may be written anew. Waits while checkpoints are
    /// written.
    pub fn flush_checkpoint(&self, partition: &TopicPartition) -> Offset {
        let checkpoints = self.checkpoints.lock();
        let point = checkpoints.recovery_points.get(partition).copied();
        point.filter(|_| !checkpoints.is_uncertain).unwrap_or(Offset(0))
    }

    /// Before a log is cut: no checkpoint may promise what is about to go. Blocks.
    pub(crate) fn lower_recovery_point(
        &self,
        partition: &TopicPartition,
        to: Offset,
    ) -> Result<(), LogError> {
        let mut checkpoints = self.checkpoints.lock();
        let was_uncertain = checkpoints.is_uncertain;
        match checkpoints.recovery_points.get_mut(partition) {
            Some(point) if *point > to => *point = to,
            _ if was_uncertain => {}
            _ => return Ok(()),
        }
        checkpoints.is_uncertain = true;
        self.write_checkpoint(RECOVERY_POINTS, &checkpoints.recovery_points)?;
        checkpoints.is_uncertain = was_uncertain;
        Ok(())
    }
}
