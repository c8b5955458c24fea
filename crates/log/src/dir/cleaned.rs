//! How far the logs of a log dir were compacted: Kafka's `cleaner-offset-checkpoint`.
//!
//! Always holds: a log is named once it was compacted, and as long as its folder is there; an offset that is too low costs a round.

use klamm_model::{Offset, TopicPartition};

use super::{CLEANED, LogDir};
use crate::error::LogError;

impl LogDir {
    /// Where the part of a partition begins that compaction has not gone over; `None` before it has done so once.
    pub fn cleaned_up_to(&self, partition: &TopicPartition) -> Option<Offset> {
        self.checkpoints.lock().cleaned.get(partition).copied()
    }

    /// Compaction has gone over everything below `offset`. Blocks.
    pub(crate) fn note_cleaned(&self, partition: &TopicPartition, offset: Offset) -> Result<(), LogError> {
        let mut checkpoints = self.checkpoints.lock();
        checkpoints.cleaned.insert(partition.clone(), offset);
        self.write_checkpoint(CLEANED, &checkpoints.cleaned)
    }

    /// Before a log is cut: what comes in its place was not gone over. Blocks.
    pub(crate) fn lower_cleaned(&self, partition: &TopicPartition, to: Offset) -> Result<(), LogError> {
        let mut checkpoints = self.checkpoints.lock();
        match checkpoints.cleaned.get_mut(partition) {
            Some(offset) if *offset > to => *offset = to,
            _ => return Ok(()),
        }
        self.write_checkpoint(CLEANED, &checkpoints.cleaned)
    }
}
