//! A partition of the broker of the tests: its batches, and the sequences of its producers.

use std::collections::{BTreeMap, VecDeque};

use bytes::BytesMut;
use klamm_model::{ErrorCode, LeaderEpoch, Offset};
use klamm_records::{Batch, BatchHeader, Record};

/// First sequence, next sequence, base offset.
type Taken = (i32, i32, i64);

/// A partition.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) batches: Vec<Batch>,
    pub(crate) start: i64,
    /// Whether a bit of what is fetched is another one.
    pub(crate) is_damaged: bool,
    pub(super) end: i64,
    /// By producer, the last batches.
    sequences: BTreeMap<(i64, i16), VecDeque<Taken>>,
}

impl Log {
    /// Whether anything of this producer and epoch is here.
    pub(super) fn knows(&self, producer: (i64, i16)) -> bool {
        self.sequences.contains_key(&producer)
    }

    /// As a leader does: a repetition of the last batches is answered with their offset, a gap is refused, a producer that
    /// is not known may begin anywhere.
    pub(crate) fn append(&mut self, batch: Batch) -> Result<i64, ErrorCode> {
        let header = *batch.header();
        let base = self.end;
        if let Some(producer) = header.producer() {
            let first = producer.base_sequence.unwrap();
            let next = klamm_records::header::sequence_plus(first, header.record_count);
            let known = self
                .sequences
                .entry((producer.id.0, producer.epoch.0))
                .or_default();
            if let Some((_, _, base)) = known.iter().find(|(f, n, _)| (*f, *n) == (first, next)) {
                return Ok(*base);
            }
            if known.back().is_some_and(|(_, expected, _)| *expected != first) {
                return Err(ErrorCode::OutOfOrderSequenceNumber);
            }
            known.push_back((first, next, base));
            if known.len() > 5 {
                known.pop_front();
            }
        }
        let mut bytes = BytesMut::from(&batch.bytes()[..]);
        let mut header = BatchHeader::parse(&bytes).unwrap();
        header.patch(Offset(base), LeaderEpoch(0));
        header.write_to(bytes.first_chunk_mut().unwrap());
        let batch = Batch::parse(&bytes.freeze()).unwrap();
        batch.check_crc().unwrap();
        self.end = batch.header().next_offset().0;
        self.batches.push(batch);
        Ok(base)
    }

    /// Whether the sequence of `batch` is the expected one.
    pub(crate) fn would_take(&self, batch: &Batch) -> bool {
        let Some(producer) = batch.header().producer() else {
            return true;
        };
        let known = self.sequences.get(&(producer.id.0, producer.epoch.0));
        let last = known.and_then(|known| known.back());
        last.is_none_or(|(_, expected, _)| Some(*expected) == producer.base_sequence)
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        let batches = self.batches.iter();
        batches
            .flat_map(|batch| batch.records(u64::MAX).unwrap().map(Result::unwrap))
            .collect()
    }

    /// Forgets the producers, as a leader does that lost its log.
    pub(crate) fn forget(&mut self) {
        self.sequences.clear();
    }
}
