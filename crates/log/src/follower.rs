//! Appending what a leader has: the bytes as they are, offsets and epochs included.
//!
//! Always holds: every batch is checked against its checksum before it is written; offsets grow. May run on a network
//! thread, like [`append`](crate::append).

use std::io::IoSlice;

use bytes::Bytes;
use klamm_model::TimestampMs;
use klamm_records::{Batch, BatchHeader, HEADER_BYTES};

use crate::error::{AppendError, FollowerError};
use crate::log::Log;

impl Log {
    /// Appends whole batches as a fetch from the leader returned them; a cut one at the end is left out. Batches that are
    /// in the log already are skipped.
    pub fn append_as_follower(&mut self, records: &Bytes, now: TimestampMs) -> Result<(), FollowerError> {
        let mut rest = self.skip_known(records)?;
        while !rest.is_empty() {
            self.check_dir().map_err(AppendError::from)?;
            let file = self.writable().map_err(FollowerError::NotReady)?;
            let (run, is_all) = self.run(&rest, now)?;
            if run.is_empty() {
                return if is_all {
                    Ok(())
                } else {
                    Err(FollowerError::NotReady(self.roll_need()))
                };
            }
            self.write(&[IoSlice::new(&run)], &file)
                .map_err(AppendError::from)?;
            let mut at = 0;
            while at < run.len() {
                let header = BatchHeader::parse(&run[at..]).expect("parsed when the run was made");
                let end = at + header.size_in_bytes();
                if let Some(epoch) = header.leader_epoch() {
                    self.epochs.assign(epoch, header.base_offset);
                }
                self.note(&header, &run[at + HEADER_BYTES..end]);
                at = end;
            }
            self.noted(&file);
            rest = rest.slice(run.len()..);
        }
        Ok(())
    }

    fn skip_known(&self, records: &Bytes) -> Result<Bytes, AppendError> {
        let mut rest = records.clone();
        while let Some(batch) = whole_batch(&rest)? {
            if batch.header().next_offset() > self.log_end_offset {
                break;
            }
            rest = rest.slice(batch.bytes().len()..);
        }
        Ok(rest)
    }

    /// The batches at the front that fit the active segment, and whether no whole one is left behind them.
    fn run(&self, records: &Bytes, now: TimestampMs) -> Result<(Bytes, bool), AppendError> {
        let (mut at, mut end) = (0, self.log_end_offset);
        while let Some(batch) = whole_batch(&records.slice(at..))? {
            let header = batch.header();
            if header.base_offset < end || header.next_offset() <= header.base_offset {
                let found = header.base_offset;
                return Err(AppendError::OffsetsNotMonotonic { found, end });
            }
            batch.check_crc()?;
            let unreachable =
                at == 0 && self.active().size == 0 && self.active().relative(header.last_offset()).is_none();
            if unreachable {
                let found = header.base_offset;
                return Err(AppendError::OffsetsNotMonotonic { found, end });
            }
            let size = self.fits_segment(header.size_in_bytes())?;
            let before = u32::try_from(at).unwrap_or(u32::MAX);
            if self.must_roll(before, size, header.last_offset(), header.max_timestamp, now) {
                return Ok((records.slice(..at), false));
            }
            end = header.next_offset();
            at += batch.bytes().len();
        }
        Ok((records.slice(..at), true))
    }
}

/// The first batch; `None` if nothing, or only a part of one, is there.
fn whole_batch(records: &Bytes) -> Result<Option<Batch>, AppendError> {
    if records.is_empty() {
        return Ok(None);
    }
    match Batch::parse(records) {
        Ok(batch) => Ok(Some(batch)),
        Err(klamm_records::BatchError::Incomplete { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
