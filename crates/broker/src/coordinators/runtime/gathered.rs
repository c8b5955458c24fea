//! The records that a shard has decided on and that are not in the log yet.
//!
//! Always holds: they go into the log in the order in which they came; records of one producer's transaction share batches with
//! nothing else; records that belong together share one batch; no batch is larger than the topic takes.

use std::io;

use klamm_coordinator::TransactionalProducer;
use klamm_model::{Offset, TimestampMs};
use klamm_records::{
    Batch, BatchBuilder, BatchError, Codec, Compression, EndTransactionMarker, HEADER_BYTES,
};

use super::around::AppendFailure;
use super::encoded::Stored;
use crate::replicas::{WriteError, Written};

/// What is little enough to be packed and appended under the lock of the shard, in bytes before it is packed.
const LITTLE: usize = 64 << 10;

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Gathered {
    /// Of the first record here.
    base_offset: Offset,
    /// Of the next record.
    next_offset: Offset,
    /// What stands before all others: it was to be appended at once, and the log was not ready.
    packed: Option<Written>,
    batches: Vec<Gathering>,
}

#[derive(Debug)]
struct Gathering {
    builder: BatchBuilder,
    producer: Option<TransactionalProducer>,
    /// Nothing more comes in.
    is_closed: bool,
}

/// Records that the topic does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

/// Why what was gathered is no batch.
#[derive(Debug, thiserror::Error)]
pub(super) enum PackError {
    #[error("packing: {0}")]
    Pack(#[from] io::Error),
    #[error("the batch just made: {0}")]
    Made(#[from] BatchError),
}

/// How records are made into batches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packing {
    pub(super) codec: Codec,
    /// The largest batch that the topic takes.
    pub(super) max_batch_bytes: usize,
}

impl Packing {
    /// What may be gathered for a batch.
    fn limit(&self) -> usize {
        match self.codec.compression {
            Compression::None => self.max_batch_bytes,
            // What cannot be made smaller grows a little.
            _ => self.max_batch_bytes - self.max_batch_bytes / 16,
        }
    }
}

/// What a record takes in a batch at most.
fn size_of(record: Stored<'_>) -> usize {
    BatchBuilder::size_of_record(Some(record.key), record.value, &[])
}

impl Gathered {
    /// Nothing yet; the next record will be at `next_offset`.
    pub(super) fn new(next_offset: Offset) -> Self {
        Self {
            base_offset: next_offset,
            next_offset,
            packed: None,
            batches: Vec::new(),
        }
    }

    /// Of the next record.
    pub(super) fn next_offset(&self) -> Offset {
        self.next_offset
    }

    pub(super) fn is_empty(&self) -> bool {
        self.packed.is_none() && self.batches.is_empty()
    }

    /// Whether the topic takes records, all in one batch if they are `atomic`.
    pub(super) fn check<'a>(
        packing: Packing,
        records: impl Iterator<Item = Stored<'a>>,
        atomic: bool,
    ) -> Result<(), TooLarge> {
        let sizes = records.map(size_of);
        let most: usize = if atomic {
            sizes.sum()
        } else {
            sizes.max().unwrap_or(0)
        };
        match HEADER_BYTES.saturating_add(most) > packing.limit() {
            true => Err(TooLarge),
            false => Ok(()),
        }
    }

    /// Takes some records that were [checked](Self::check), and says at which offset the first of them will be.
    pub(super) fn push<'a>(
        &mut self,
        packing: Packing,
        producer: Option<TransactionalProducer>,
        records: impl Iterator<Item = Stored<'a>> + Clone,
        atomic: bool,
        now: TimestampMs,
    ) -> Offset {
        let first = self.next_offset;
        let append = |builder: &mut BatchBuilder, record: Stored<'_>| {
            builder.append(now, Some(record.key), record.value, &[]);
        };
        let mut pushed = 0;
        if atomic {
            let bytes = records.clone().map(size_of).sum();
            let builder = self.room_for(packing, producer, bytes);
            for record in records {
                append(builder, record);
                pushed += 1;
            }
        } else {
            for record in records {
                append(self.room_for(packing, producer, size_of(record)), record);
                pushed += 1;
            }
        }
        self.next_offset = first.plus(pushed);
        first
    }

    /// The last batch, if it may take so many bytes of the producer's, or a new one.
    fn room_for(
        &mut self,
        packing: Packing,
        producer: Option<TransactionalProducer>,
        bytes: usize,
    ) -> &mut BatchBuilder {
        let has_room = self.batches.last().is_some_and(|last| {
            !last.is_closed
                && last.producer == producer
                && last.builder.size_before_packing() + bytes <= packing.limit()
        });
        if !has_room {
            let empty = BatchBuilder::new(packing.codec);
            let builder = match producer {
                Some(TransactionalProducer { id, epoch }) => empty.producer(id, epoch, None).transactional(),
                None => empty,
            };
            self.batches.push(Gathering {
                builder,
                producer,
                is_closed: false,
            });
        }
        let last = self.batches.last_mut().expect("there is one, or one was made");
        last.builder.reserve(bytes);
        &mut last.builder
    }

    /// Takes the end of a producer's transaction.
    pub(super) fn push_marker(
        &mut self,
        producer: TransactionalProducer,
        marker: EndTransactionMarker,
        now: TimestampMs,
    ) {
        self.batches.push(Gathering {
            builder: BatchBuilder::end_transaction(producer.id, producer.epoch, marker, now),
            producer: Some(producer),
            is_closed: true,
        });
        self.next_offset = self.next_offset.plus(1);
    }

    /// Has `append` append all that has gathered, if that is one batch and little. `None` if it stays here, as it does when
    /// `append` could not.
    pub(super) fn append_little<R>(
        &mut self,
        append: impl FnOnce(Offset, &mut Written) -> Result<Option<R>, WriteError>,
    ) -> Result<Option<R>, AppendFailure> {
        let is_little = match (&self.packed, &*self.batches) {
            (None, [one]) => one.builder.size_before_packing() <= LITTLE,
            _ => false,
        };
        let Some(gathering) = self.batches.pop_if(|_| is_little) else {
            return Ok(None);
        };
        let mut batch = gathering.pack()?;
        let appended = append(self.base_offset, &mut batch)?;
        match appended {
            Some(_) => self.base_offset = self.next_offset,
            None => self.packed = Some(batch),
        }
        Ok(appended)
    }

    /// All that has gathered, to be packed; `None` if there is nothing.
    pub(super) fn take(&mut self) -> Option<Taken> {
        if self.is_empty() {
            return None;
        }
        let base_offset = std::mem::replace(&mut self.base_offset, self.next_offset);
        Some(Taken {
            base_offset,
            end_offset: self.next_offset,
            packed: self.packed.take(),
            batches: std::mem::take(&mut self.batches),
        })
    }
}

impl Gathering {
    fn pack(self) -> Result<Written, PackError> {
        let batch = Batch::parse(&self.builder.build(Offset(0))?)?;
        Ok(Written {
            header: *batch.header(),
            body: batch.body(),
        })
    }
}

/// What is about to be appended.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) base_offset: Offset,
    pub(super) end_offset: Offset,
    packed: Option<Written>,
    batches: Vec<Gathering>,
}

impl Taken {
    /// The batches.
    pub(super) fn pack(self) -> Result<Vec<Written>, PackError> {
        let others = self.batches.into_iter().map(Gathering::pack);
        self.packed.map(Ok).into_iter().chain(others).collect()
    }
}

#[cfg(test)]
mod tests {
    use klamm_model::{ProducerEpoch, ProducerId};

    use super::*;

    const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

    fn packing(max_batch_bytes: usize) -> Packing {
        Packing {
            codec: Compression::None.into(),
            max_batch_bytes,
        }
    }

    fn records(sizes: &[usize]) -> impl Iterator<Item = Stored<'static>> + Clone {
        const VALUE: &[u8] = &[b'v'; 1_000];
        let record = |size: &usize| Stored {
            key: b"k",
            value: Some(&VALUE[..*size]),
        };
        sizes.iter().map(record).collect::<Vec<_>>().into_iter()
    }

    fn transaction_of(id: i64) -> Option<TransactionalProducer> {
        Some(TransactionalProducer {
            id: ProducerId(id),
            epoch: ProducerEpoch(0),
        })
    }

    /// The producer, the number of records and the bytes of each batch.
    fn packed(gathered: &mut Gathered) -> Vec<(i64, i32)> {
        let written = gathered.take().unwrap().pack().unwrap();
        written
            .iter()
            .map(|batch| (batch.header.producer_id, batch.header.record_count))
            .collect()
    }

    #[test]
    fn records_share_a_batch_until_it_is_full_or_another_producer_comes() {
        let mut gathered = Gathered::new(Offset(100));
        assert!(gathered.take().is_none());
        let packing = packing(1_000);
        let mut push = |producer, sizes: &[usize], atomic| {
            gathered.push(packing, producer, records(sizes), atomic, NOW).0
        };
        assert_eq!(push(None, &[10, 10], true), 100);
        assert_eq!(push(None, &[10], false), 102);
        assert_eq!(push(transaction_of(7), &[10], true), 103);
        assert_eq!(push(transaction_of(8), &[10], true), 104);
        assert_eq!(push(transaction_of(8), &[10], true), 105);
        assert_eq!(push(None, &[500], true), 106);
        assert_eq!(
            push(None, &[300, 300], true),
            107,
            "together, hence in the next batch"
        );
        assert_eq!(push(None, &[200, 200, 200], false), 109, "as they fit");
        assert_eq!(gathered.next_offset(), Offset(112));
        let batches = [(-1, 3), (7, 1), (8, 2), (-1, 1), (-1, 3), (-1, 2)];
        assert_eq!(packed(&mut gathered), batches);
        assert_eq!(gathered.base_offset, Offset(112));
    }

    #[test]
    fn a_marker_stands_alone() {
        let mut gathered = Gathered::new(Offset(0));
        let producer = transaction_of(7);
        let marker = EndTransactionMarker {
            committed: true,
            coordinator_epoch: 3,
        };
        gathered.push(packing(1_000), producer, records(&[1]), true, NOW);
        gathered.push_marker(producer.unwrap(), marker, NOW);
        gathered.push(packing(1_000), producer, records(&[1]), true, NOW);
        let written = gathered.take().unwrap().pack().unwrap();
        let controls: Vec<bool> = written.iter().map(|batch| batch.header.is_control()).collect();
        assert_eq!(controls, [false, true, false]);
        assert!(written.iter().all(|batch| batch.header.is_transactional()));
        assert_eq!(gathered.next_offset(), Offset(3));
    }

    #[test]
    fn what_the_topic_does_not_take_is_known_before() {
        for (limit, sizes, atomic, expected) in [
            (500, &[190, 190][..], true, Ok(())),
            (500, &[200, 250], true, Err(TooLarge)),
            (500, &[200, 250], false, Ok(())),
            (500, &[200, 450], false, Err(TooLarge)),
            (10, &[], true, Err(TooLarge)),
        ] {
            let records = records(sizes);
            let checked = Gathered::check(packing(limit), records.clone(), atomic);
            assert_eq!(checked, expected, "{limit} {sizes:?} {atomic}");
            if checked.is_ok() {
                let mut gathered = Gathered::new(Offset(0));
                gathered.push(packing(limit), None, records, atomic, NOW);
                for batch in gathered.take().unwrap().pack().unwrap() {
                    assert!(HEADER_BYTES + batch.body.len() <= limit);
                }
            }
        }
    }
}
