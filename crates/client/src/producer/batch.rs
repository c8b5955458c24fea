//! A batch on its way: filling, sealed, stamped with its producer's sequence, cut in two.
//!
//! Always holds: a sealed batch keeps its records and their order; only the header changes with the sequence.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use klamm_model::Offset;
use klamm_records::{Batch as Packed, BatchBuilder, BatchError, BatchHeader, Codec, HEADER_BYTES};
use tokio::sync::OwnedSemaphorePermit;

use super::identity::Identity;
use super::outcome::{Delivery, Place, ProduceError, Reporter};
use super::queue::NewRecord;

/// The most that a batch of this client unpacks to; it was below that before it was packed.
const UNPACK_LIMIT_BYTES: u64 = 1 << 31;

/// How batches are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) codec: Codec,
    pub(super) is_transactional: bool,
}

impl Kind {
    fn builder(self) -> BatchBuilder {
        let builder = BatchBuilder::new(self.codec);
        match self.is_transactional {
            true => builder.transactional(),
            false => builder,
        }
    }
}

/// A batch that takes records.
pub(super) struct OpenBatch {
    builder: BatchBuilder,
    pub(super) since: Duration,
    reporter: Reporter,
    memory: OwnedSemaphorePermit,
}

impl OpenBatch {
    /// A batch with its first record.
    pub(super) fn begin(
        kind: Kind,
        reporter: Reporter,
        record: NewRecord<'_>,
        now: Duration,
    ) -> (Self, Delivery) {
        let mut builder = kind.builder();
        builder.append(record.timestamp, record.key, record.value, record.headers);
        let delivery = reporter.delivery(0);
        let open = Self {
            builder,
            since: now,
            reporter,
            memory: record.memory,
        };
        (open, delivery)
    }

    /// Bytes before packing.
    pub(super) fn bytes(&self) -> usize {
        self.builder.size_before_packing()
    }

    /// Adds a record.
    pub(super) fn append(&mut self, record: NewRecord<'_>) -> Delivery {
        let index = self.count();
        self.builder
            .append(record.timestamp, record.key, record.value, record.headers);
        self.memory.merge(record.memory);
        self.reporter.delivery(index)
    }

    fn count(&self) -> usize {
        usize::try_from(self.builder.record_count()).expect("a count is not negative")
    }

    /// Packs the batch. `order` is its place among the partition's batches.
    pub(super) fn seal(self, order: u64, deadline: Duration) -> Batch {
        let count = self.count();
        let bytes = self
            .builder
            .build(Offset(0))
            .expect("a codec's context can be made, and the batch is below 2 GiB");
        Batch {
            bytes,
            count,
            order,
            id: 0,
            deadline,
            sequence: None,
            may_be_stored: false,
            last_failure: None,
            reporter: self.reporter,
            memory: Some(self.memory),
        }
    }
}

/// A sealed batch.
pub(super) struct Batch {
    pub(super) bytes: Bytes,
    pub(super) count: usize,
    /// Its place among the batches of the partition.
    pub(super) order: u64,
    /// Which sending it is.
    pub(super) id: u64,
    pub(super) deadline: Duration,
    pub(super) sequence: Option<i32>,
    /// It was sent, and no answer said that it is not stored.
    pub(super) may_be_stored: bool,
    pub(super) last_failure: Option<String>,
    reporter: Reporter,
    memory: Option<OwnedSemaphorePermit>,
}

impl Batch {
    /// Gives the batch its sequence.
    pub(super) fn stamp(&mut self, identity: Identity, sequence: i32) {
        self.sequence = Some(sequence);
        let bytes = std::mem::take(&mut self.bytes);
        // The bytes are this batch's own unless an earlier sending is still being written.
        let mut bytes = bytes
            .try_into_mut()
            .unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        let mut header = BatchHeader::parse(&bytes).expect("a batch that was built here");
        header.producer_id = identity.id.0;
        header.producer_epoch = identity.epoch.0;
        header.base_sequence = sequence;
        let (head, body) = bytes
            .split_first_chunk_mut::<HEADER_BYTES>()
            .expect("a batch begins with its header");
        header.seal(body);
        header.write_to(head);
        self.bytes = bytes.freeze();
    }

    /// Cuts the batch in two, for a leader that takes only smaller ones.
    pub(super) fn cut(mut self, kind: Kind) -> Result<[Batch; 2], BatchError> {
        let first = self.count / 2;
        let mut builders = [kind.builder(), kind.builder()];
        let records = Packed::parse(&self.bytes)?.records(UNPACK_LIMIT_BYTES)?;
        for (index, record) in records.enumerate() {
            let record = record?;
            let headers: Vec<(&[u8], Option<&[u8]>)> = record
                .headers
                .iter()
                .map(|header| (&header.key[..], header.value.as_deref()))
                .collect();
            builders[usize::from(index >= first)].append(
                record.timestamp,
                record.key.as_deref(),
                record.value.as_deref(),
                &headers,
            );
        }
        let [left, right] = builders.map(|builder| {
            builder
                .build(Offset(0))
                .expect("a codec's context can be made, and the batch is below 2 GiB")
        });
        let right = Batch {
            bytes: right,
            count: self.count - first,
            order: self.order + first as u64,
            sequence: None,
            reporter: self.reporter.from(first),
            memory: None,
            last_failure: self.last_failure.clone(),
            ..self
        };
        self.bytes = left;
        self.count = first;
        self.sequence = None;
        Ok([self, right])
    }

    /// Reports what became of it.
    pub(super) fn report(self, result: Result<Place, ProduceError>) {
        drop(self.memory);
        self.reporter.report(self.count, result);
    }

    /// What is reported when its time is over.
    pub(super) fn expired(&self, after: Duration) -> ProduceError {
        ProduceError::Expired {
            partition: self.reporter.partition().clone(),
            after,
            may_be_stored: self.may_be_stored,
            last: self
                .last_failure
                .clone()
                .unwrap_or_else(|| "it was not sent: no leader could be reached".to_owned()),
        }
    }
}
