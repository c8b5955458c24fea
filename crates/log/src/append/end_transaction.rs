//! The marker that ends a producer's transaction in this partition, appended as the leader.
//!
//! Always holds: a marker is never too large and never repeated data: it is refused only because it is late, by the epoch of the
//! producer or of the coordinator.

use std::io::IoSlice;

use klamm_model::{LeaderEpoch, TimestampMs};
use klamm_records::{BatchBuilder, BatchHeader, HEADER_BYTES};

use super::Outcome;
use crate::error::{AppendError, NotReady};
use crate::log::Log;
use crate::producers::EndTransaction;

impl Log {
    /// Appends the marker. The transaction need not be open: what a coordinator writes again after a failover ends nothing.
    ///
    /// On [`NotReady`] nothing was appended: call again when it is ready.
    pub fn append_end_transaction(
        &mut self,
        end: &EndTransaction,
        leader_epoch: LeaderEpoch,
        now: TimestampMs,
    ) -> Result<Outcome, NotReady> {
        if let Err(error) = self.check_dir() {
            return Ok(Err(error.into()));
        }
        let file = self.writable()?;
        if let Err(refusal) = self.producers.check_marker(end, self.log_end_offset) {
            return Ok(Err(refusal));
        }
        let builder = BatchBuilder::end_transaction(end.producer_id, end.producer_epoch, end.marker, now);
        let bytes = builder
            .build(self.log_end_offset)
            .expect("nothing is compressed, so nothing can fail");
        let mut header = BatchHeader::parse(&bytes).expect("just built");
        let size = u32::try_from(bytes.len()).expect("a record of a few bytes");
        if self.must_roll(0, size, header.last_offset(), now, now) {
            return Err(self.roll_need());
        }
        header.patch(self.log_end_offset, leader_epoch);
        self.epochs.assign(leader_epoch, self.log_end_offset);
        let (head, body) = (header.to_bytes(), &bytes[HEADER_BYTES..]);
        if let Err(error) = self.write(&[IoSlice::new(&head), IoSlice::new(body)], &file) {
            return Ok(Err(AppendError::Storage(error)));
        }
        let appended = self.note(&header, body);
        self.noted(&file);
        Ok(Ok(appended))
    }
}
