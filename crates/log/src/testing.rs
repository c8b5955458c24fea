//! What the tests of this crate share: a log on the simulated disk, and batches to put into it.

use std::path::Path;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use klamm_env::Files;
use klamm_env::sim::disk::Disk;
use klamm_model::{
    LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs, TopicId, TopicPartition, Uuid,
};
use klamm_records::{Batch, BatchBuilder, EndTransactionMarker, HEADER_BYTES};
use parking_lot::Mutex;

use crate::append::{Appended, Incoming};
use crate::commit::{CommitTarget, Submission};
use crate::config::LogConfig;
use crate::dir::LogDir;
use crate::error::{AppendError, LogError, NotReady};
use crate::flush::{FlushScope, FlushTicket, flush};
use crate::handles::HandleCache;
use crate::log::{Log, RecoveryState};
use crate::prepare::prepare;
use crate::producers::{EndTransaction, Verification, VerificationGuard};
use crate::read::{FileRange, ReadRequest, read_blocking};

pub(crate) const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
pub(crate) const TOPIC_ID: TopicId = Uuid([7; 16]);
pub(crate) const EPOCH: LeaderEpoch = LeaderEpoch(3);

pub(crate) fn partition() -> TopicPartition {
    TopicPartition::new("orders", 3)
}

/// Small segments and indexes, so that little data makes many of them.
pub(crate) fn small() -> LogConfig {
    LogConfig {
        segment_bytes: 2000,
        index_interval_bytes: 200,
        ..LogConfig::default()
    }
}

pub(crate) fn open_dir(disk: &Disk) -> Result<Arc<LogDir>, LogError> {
    let files: Arc<dyn Files> = Arc::new(disk.clone());
    LogDir::open(files, Path::new("/data"), Arc::new(HandleCache::new(5)), "a test")
}

/// The owner of a log, as a commit sees it.
pub(crate) struct Owner {
    pub(crate) held: Arc<Held>,
    /// What it was told.
    pub(crate) told: Mutex<Vec<(Offset, bool)>>,
}

struct Place(Weak<Owner>);

impl CommitTarget for Place {
    fn flush_target(&self) -> Option<FlushTicket> {
        self.0.upgrade()?.held.log.lock().flush_target()
    }

    fn committed(&self, ticket: &FlushTicket, result: Result<(), &LogError>) {
        let Some(owner) = self.0.upgrade() else { return };
        if result.is_ok() {
            let mut log = owner.held.log.lock();
            log.flushed(ticket);
            let durable = log.durable_end_offset();
            log.update_high_watermark(durable);
        }
        owner.told.lock().push((ticket.up_to(), result.is_ok()));
    }

    fn flush(&self) -> Result<(), LogError> {
        let owner = self.0.upgrade().ok_or(LogError::Retired)?;
        flush(&owner.held.log, FlushScope::All)
    }
}

impl Owner {
    pub(crate) fn new(held: Held) -> (Arc<Self>, Arc<Submission>) {
        let owner = Arc::new(Self {
            held: Arc::new(held),
            told: Mutex::default(),
        });
        let submission = Submission::new(Place(Arc::downgrade(&owner)));
        (owner, submission)
    }
}

/// A log behind a lock, as its owner keeps it.
pub(crate) struct Held {
    pub(crate) log: Mutex<Log>,
    pub(crate) dir: Arc<LogDir>,
}

impl Held {
    /// Opens the log with what the checkpoints say.
    pub(crate) fn open(disk: &Disk, config: LogConfig) -> Result<Self, LogError> {
        Self::open_in(&open_dir(disk)?, &partition(), TOPIC_ID, config)
    }

    /// The same of any partition.
    pub(crate) fn open_in(
        dir: &Arc<LogDir>,
        partition: &TopicPartition,
        topic_id: TopicId,
        config: LogConfig,
    ) -> Result<Self, LogError> {
        let recovery = RecoveryState {
            clean: dir.was_clean(),
            positions: dir.positions(partition),
        };
        let log = Log::open(dir, partition, topic_id, Arc::new(config), recovery, NOW)?;
        Ok(Self {
            log: Mutex::new(log),
            dir: Arc::clone(dir),
        })
    }

    pub(crate) fn new(config: LogConfig) -> (Disk, Self) {
        let disk = Disk::default();
        let held = Self::open(&disk, config).unwrap();
        (disk, held)
    }

    /// Appends, doing what the log is not ready for in between.
    pub(crate) fn append(&self, batch: &Bytes) -> Result<Appended, AppendError> {
        self.append_guarded(batch, None)
    }

    /// Verifies a transactional batch as if the coordinator had said yes, and appends it.
    pub(crate) fn append_verified(&self, batch: &Bytes) -> Result<Appended, AppendError> {
        let header = *Batch::parse(batch).unwrap().header();
        let producer = header.producer().unwrap();
        let asked = Verification {
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            base_sequence: producer.base_sequence,
            bumps_epoch: false,
        };
        let guard = self.log.lock().verify(&asked, NOW)?;
        self.append_guarded(batch, guard)
    }

    /// Ends a transaction, doing what the log is not ready for in between.
    pub(crate) fn end_transaction(&self, end: &EndTransaction) -> Result<Appended, AppendError> {
        loop {
            let outcome = self.log.lock().append_end_transaction(end, EPOCH, NOW);
            match outcome {
                Ok(outcome) => return outcome,
                Err(need) => self.prepare(need)?,
            }
        }
    }

    pub(crate) fn append_guarded(
        &self,
        batch: &Bytes,
        guard: Option<VerificationGuard>,
    ) -> Result<Appended, AppendError> {
        let parsed = Batch::parse(batch).unwrap();
        let mut header = *parsed.header();
        loop {
            let incoming = Incoming {
                header: &mut header,
                body: &batch[HEADER_BYTES..],
                guard,
            };
            let outcome = self.log.lock().append_one(incoming, EPOCH, NOW);
            match outcome {
                Ok(outcome) => return outcome,
                Err(need) => self.prepare(need)?,
            }
        }
    }

    pub(crate) fn prepare(&self, need: NotReady) -> Result<(), LogError> {
        prepare(&self.log, need, NOW)
    }

    pub(crate) fn checkpoint(&self) -> Result<(), LogError> {
        let collect = || {
            let log = self.log.lock();
            vec![(log.partition().clone(), log.positions())]
        };
        self.dir.checkpoint(collect)
    }

    /// Makes everything durable, as a commit does.
    pub(crate) fn commit(&self) -> Result<(), LogError> {
        let ticket = self.log.lock().flush_target();
        if let Some(ticket) = ticket {
            ticket.sync()?;
            let mut log = self.log.lock();
            log.flushed(&ticket);
            let durable = log.durable_end_offset();
            log.update_high_watermark(durable);
        }
        Ok(())
    }

    /// Everything from `offset` to the log end, as (offset, value).
    pub(crate) fn records(&self, offset: Offset) -> Vec<(i64, Bytes)> {
        let (mut at, mut found) = (offset, Vec::new());
        loop {
            let request = ReadRequest {
                offset: at,
                max_bytes: 300,
                upper_bound: self.log.lock().log_end_offset(),
                min_one: true,
            };
            let read = read_blocking(&self.log, &request, NOW).unwrap();
            let Some(range) = read.range else {
                return found;
            };
            range.verify().unwrap();
            found.extend(records_of(&range));
            assert!(read.next_offset > at, "a read goes on");
            at = read.next_offset;
        }
    }
}

pub(crate) fn bytes_of(range: &FileRange) -> Bytes {
    let mut bytes = vec![0; range.len];
    range.file.read_exact_at(&mut bytes, range.position).unwrap();
    bytes.into()
}

pub(crate) fn records_of(range: &FileRange) -> Vec<(i64, Bytes)> {
    let mut found = Vec::new();
    for batch in klamm_records::Batches::new(bytes_of(range)) {
        for record in batch.unwrap().records(1 << 20).unwrap() {
            let record = record.unwrap();
            found.push((record.offset.0, record.value.unwrap()));
        }
    }
    found
}

/// A batch of records with these values, the first with the timestamp, each next 1 ms later.
pub(crate) fn batch(timestamp: i64, values: &[&str]) -> Bytes {
    build(BatchBuilder::default(), timestamp, values)
}

/// The same of a producer, in its transaction.
pub(crate) fn transactional(id: i64, epoch: i16, sequence: Option<i32>, values: &[&str]) -> Bytes {
    let builder = BatchBuilder::default().producer(ProducerId(id), ProducerEpoch(epoch), sequence);
    build(builder.transactional(), NOW.0, values)
}

/// The end of a producer's transaction.
pub(crate) fn end_of(id: i64, epoch: i16, committed: bool, transaction_version: u8) -> EndTransaction {
    EndTransaction {
        producer_id: ProducerId(id),
        producer_epoch: ProducerEpoch(epoch),
        marker: EndTransactionMarker {
            committed,
            coordinator_epoch: 5,
        },
        transaction_version,
    }
}

/// The same of a producer.
pub(crate) fn idempotent(id: i64, epoch: i16, sequence: i32, values: &[&str]) -> Bytes {
    let builder = BatchBuilder::default().producer(ProducerId(id), ProducerEpoch(epoch), Some(sequence));
    build(builder, NOW.0, values)
}

pub(crate) fn build(mut builder: BatchBuilder, timestamp: i64, values: &[&str]) -> Bytes {
    for (i, value) in values.iter().enumerate() {
        builder.append(
            TimestampMs(timestamp + i as i64),
            Some(b"k"),
            Some(value.as_bytes()),
            &[],
        );
    }
    builder.build(Offset(0)).unwrap()
}

/// The values as [`Held::records`] gives them.
pub(crate) fn expected(first: i64, values: &[&str]) -> Vec<(i64, Bytes)> {
    (first..)
        .zip(values)
        .map(|(offset, value)| (offset, Bytes::copy_from_slice(value.as_bytes())))
        .collect()
}
