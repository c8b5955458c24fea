//! Reads a partition whole and replays it to a new shard.
//!
//! Always holds: what is read is checked against its checksum; a record type that is not known is passed over, and told of
//! once; one that is known and cannot be read fails the load, since what it says would be lost. Reading, unpacking,
//! replaying and the first decision are done in pieces where blocking is allowed, for a few partitions at a time.
//!
//! Next: `seat.rs`.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use klamm_coordinator::{CoordinatorRecord, InvalidRecord, Shard, TransactionalProducer};
use klamm_log::ReadError;
use klamm_model::{ErrorCode, Offset};
use klamm_records::{Batch, BatchError, Batches, EndTransactionMarker, Limits, Record, Scratch};
use thiserror::Error;

use super::Coordinator;
use super::seat::Seat;
use crate::replicas::Partition;

/// Why a shard cannot be loaded.
#[derive(Debug, Error)]
pub(super) enum LoadError {
    #[error("{0}")]
    Refused(ErrorCode),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("reading: {0}")]
    Io(#[from] io::Error),
    #[error("batch after offset {after}: {source}")]
    Batch { after: Offset, source: BatchError },
    #[error("record at offset {offset}: {source}")]
    Record { offset: Offset, source: InvalidRecord },
    #[error("record at offset {0} has no key")]
    WithoutKey(Offset),
}

/// Loads the shard of a seat and puts it into service, unless nobody needs it any more.
pub(super) async fn load<C: Coordinator>(seat: &Arc<Seat<C>>) -> Result<(), LoadError> {
    let shared = &seat.shared;
    let permit = shared.loaders.acquire().await;
    let began = shared.env.monotonic();
    let (start, mut end) = bounds(seat)?;
    let mut replay = Replay::new(start);
    while replay.next < end {
        let (partition, bytes) = (seat.partition.clone(), shared.load_bytes);
        let piece = shared.env.blocking(move || replay.read(&partition, end, bytes));
        replay = piece.await?;
        end = bounds(seat)?.1;
    }
    let Replay {
        shard, next, records, ..
    } = replay;
    if records > 0 {
        let took_ms = shared.env.monotonic().saturating_sub(began).as_millis();
        tracing::info!(partition = %seat.partition, records, took_ms, "a coordinator has loaded what was recorded");
    }
    // What is looked at in all of the shard is looked at here, not under the lock that askers wait for.
    let of = seat.clone();
    let loaded = shared.env.blocking(move || of.make(shard, next)).await;
    drop(permit);
    seat.install(loaded);
    Ok(())
}

/// Puts the shard of a partition without records into service at once.
pub(super) fn load_if_empty<C: Coordinator>(seat: &Seat<C>) {
    if let Ok((start, end)) = bounds(seat)
        && start == end
    {
        seat.install(seat.make(C::Shard::new(), end));
    }
}

fn bounds<C: Coordinator>(seat: &Seat<C>) -> Result<(Offset, Offset), LoadError> {
    seat.partition.bounds(seat.epoch).map_err(LoadError::Refused)
}

/// A shard that is being loaded.
struct Replay<S> {
    shard: S,
    /// What is replayed next.
    next: Offset,
    records: u64,
    unknown: BTreeSet<i16>,
}

impl<S: Shard> Replay<S> {
    fn new(start: Offset) -> Self {
        Self {
            shard: S::new(),
            next: start,
            records: 0,
            unknown: BTreeSet::new(),
        }
    }

    /// Replays the next piece of the partition. Blocks.
    fn read(mut self, partition: &Arc<Partition>, end: Offset, max_bytes: usize) -> Result<Self, LoadError> {
        let Some(range) = partition.read_all(self.next, end, max_bytes)? else {
            // What was compacted away at the end.
            self.next = end;
            return Ok(self);
        };
        let mut bytes = vec![0; range.len];
        range.file.read_exact_at(&mut bytes, range.position)?;
        let mut scratch = Scratch::new();
        let mut batches = Batches::new(bytes.into());
        for batch in batches.by_ref() {
            let after = self.next;
            let told = |source| LoadError::Batch { after, source };
            let batch = batch.map_err(told)?;
            batch
                .check_crc()
                .inspect_err(|_| range.distrust())
                .map_err(told)?;
            self.replay_batch(partition, &batch, &mut scratch)?;
        }
        if !batches.rest().is_empty() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(self)
    }

    fn replay_batch(
        &mut self,
        partition: &Partition,
        batch: &Batch,
        scratch: &mut Scratch,
    ) -> Result<(), LoadError> {
        let header = batch.header();
        let after = self.next;
        let told = |source| LoadError::Batch { after, source };
        let producer = header.producer().filter(|_| header.is_transactional());
        let producer = producer.map(|producer| TransactionalProducer {
            id: producer.id,
            epoch: producer.epoch,
        });
        let records = batch
            .records_with(Limits::default().batch_bytes, scratch)
            .map_err(told)?;
        for record in records {
            let record = record.map_err(told)?;
            if record.offset < self.next {
                continue;
            }
            self.records += 1;
            match (header.is_control(), producer) {
                (false, producer) => self.replay_record(partition, producer, record)?,
                (true, Some(producer)) => self.replay_marker(producer, &record),
                (true, None) => {}
            }
        }
        self.next = self.next.max(header.next_offset());
        Ok(())
    }

    fn replay_record(
        &mut self,
        partition: &Partition,
        producer: Option<TransactionalProducer>,
        record: Record,
    ) -> Result<(), LoadError> {
        let offset = record.offset;
        let key: Bytes = record.key.ok_or(LoadError::WithoutKey(offset))?;
        match CoordinatorRecord::decode(&key, record.value.as_ref()) {
            Ok(typed) => self.shard.replay(offset, producer, typed),
            Err(InvalidRecord::UnknownType(record_type)) => {
                if self.unknown.insert(record_type) {
                    tracing::warn!(%partition, %offset, record_type, "records of this type are not known: passed over");
                }
            }
            Err(source) => return Err(LoadError::Record { offset, source }),
        }
        Ok(())
    }

    fn replay_marker(&mut self, producer: TransactionalProducer, record: &Record) {
        let (Some(key), Some(value)) = (&record.key, &record.value) else {
            return;
        };
        if let Some(marker) = EndTransactionMarker::parse(key, value) {
            self.shard
                .replay_end_transaction_marker(producer, marker.committed);
        }
    }
}
