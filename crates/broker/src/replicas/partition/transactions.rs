//! What transactions ask of a partition.

use std::ops::Range;

use klamm_log::{AbortedTransaction, LogError, aborted_transactions};
use klamm_model::Offset;

use super::Partition;

impl Partition {
    /// Finds what [`Partition::read`] could not without the device; `None` when what was read is gone meanwhile. Blocks.
    pub(crate) fn aborted_transactions(
        &self,
        range: Range<Offset>,
    ) -> Result<Option<Vec<AbortedTransaction>>, LogError> {
        aborted_transactions(self, range)
    }
}
