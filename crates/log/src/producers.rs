//! What a log knows of its producers, so that a repeated batch is recognised and a gap refused (KIP-98).
//!
//! Always holds: the state follows from the batches of the log in order; checking changes nothing, only a batch that was
//! written does. A producer that is not known may begin with any sequence number.
//!
//! Transactions: an entry knows where its producer's open transaction began; `transactions.rs` has what is kept only while
//! there are any.

mod check;
mod entries;
pub(crate) mod snapshot;
mod standing;
mod transactions;

use std::time::Duration;

use klamm_model::limits::PRODUCER_BATCHES_REMEMBERED;
use klamm_model::{Offset, ProducerEpoch, ProducerId, TimestampMs};
use klamm_records::{Batch, BatchHeader, EndTransactionMarker};

use crate::index::transaction::AbortedTransaction;
pub use check::EndTransaction;
use entries::Entries;
pub use standing::ProducerStanding;
use transactions::Transactions;
pub use transactions::{Verification, VerificationGuard};

/// More than any control batch unpacks to.
const MARKER_BYTES: u64 = 64 * 1024;

/// A batch that a producer wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WrittenBatch {
    pub(crate) last_sequence: i32,
    pub(crate) last_offset: Offset,
    pub(crate) offset_delta: i32,
    pub(crate) timestamp: TimestampMs,
}

impl WrittenBatch {
    fn of(header: &BatchHeader, last_sequence: i32) -> Self {
        Self {
            last_sequence,
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        }
    }

    fn base_offset(&self) -> Offset {
        Offset(self.last_offset.0 - i64::from(self.offset_delta))
    }

    fn base_sequence(&self) -> i32 {
        klamm_records::header::sequence_plus(self.last_sequence, -self.offset_delta)
    }
}

/// What is known of one producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProducerEntry {
    pub(crate) epoch: i16,
    pub(crate) coordinator_epoch: i32,
    pub(crate) last_timestamp: TimestampMs,
    pub(crate) current_txn_first_offset: Option<Offset>,
    /// Those of the current epoch: a ring, once it is full.
    batches: Vec<WrittenBatch>,
    newest: u8,
}

impl ProducerEntry {
    pub(crate) fn new(epoch: i16) -> Self {
        Self {
            epoch,
            coordinator_epoch: -1,
            last_timestamp: TimestampMs(-1),
            current_txn_first_offset: None,
            batches: Vec::new(),
            newest: 0,
        }
    }

    /// The newest batch of the current epoch.
    pub(crate) fn last(&self) -> Option<&WrittenBatch> {
        self.batches.get(usize::from(self.newest))
    }

    /// The batches of the current epoch before the newest, oldest first.
    pub(crate) fn earlier(&self) -> impl Iterator<Item = &WrittenBatch> {
        let (newer, older) = self.batches.split_at(usize::from(self.newest));
        older.iter().skip(1).chain(newer)
    }

    /// Begins another incarnation if `epoch` is one: sequence numbers start over.
    fn enter_epoch(&mut self, epoch: i16) {
        if epoch != self.epoch {
            self.epoch = epoch;
            self.batches.clear();
            self.newest = 0;
        }
    }

    pub(crate) fn add(&mut self, batch: WrittenBatch) {
        let count = self.batches.len();
        if count < PRODUCER_BATCHES_REMEMBERED {
            if count == self.batches.capacity() {
                // The first, and then all: many producers write once.
                self.batches.reserve_exact(if count == 0 {
                    1
                } else {
                    PRODUCER_BATCHES_REMEMBERED - count
                });
            }
            self.batches.push(batch);
            self.newest = count as u8;
        } else {
            self.newest = (self.newest + 1) % PRODUCER_BATCHES_REMEMBERED as u8;
            self.batches[usize::from(self.newest)] = batch;
        }
        self.last_timestamp = batch.timestamp;
    }

    fn find(&self, base_sequence: i32, last_sequence: i32) -> Option<&WrittenBatch> {
        let same = |batch: &&WrittenBatch| {
            batch.last_sequence == last_sequence && batch.base_sequence() == base_sequence
        };
        self.batches.iter().find(same)
    }
}

/// A producer as DescribeProducers shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Its id.
    pub producer_id: ProducerId,
    /// Its incarnation.
    pub producer_epoch: ProducerEpoch,
    /// The last sequence number in the log; `None` when only a marker is there.
    pub last_sequence: Option<i32>,
    /// The timestamp of its last batch.
    pub last_timestamp: TimestampMs,
    /// The epoch of the coordinator that ended its last transaction.
    pub coordinator_epoch: Option<i32>,
    /// Where its open transaction began.
    pub current_txn_start_offset: Option<Offset>,
}

/// The producers of one log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerState {
    entries: Entries,
    /// `None` while there are none.
    transactions: Option<Box<Transactions>>,
}

/// The marker in a control batch, if it holds one.
fn marker(header: &BatchHeader, body: &[u8]) -> Option<EndTransactionMarker> {
    let bytes = [&header.to_bytes()[..], body].concat();
    let batch = Batch::parse(&bytes.into()).ok()?;
    let record = batch.records(MARKER_BYTES).ok()?.next()?.ok()?;
    EndTransactionMarker::parse(&record.key?, &record.value?)
}

impl ProducerState {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.entries.len() == 0
    }

    /// The producers, by id.
    pub fn active(&self) -> impl Iterator<Item = ActiveProducer> + '_ {
        self.entries.iter().map(|(id, entry)| ActiveProducer {
            producer_id: id,
            producer_epoch: ProducerEpoch(entry.epoch),
            last_sequence: entry.last().map(|batch| batch.last_sequence),
            last_timestamp: entry.last_timestamp,
            coordinator_epoch: (entry.coordinator_epoch >= 0).then_some(entry.coordinator_epoch),
            current_txn_start_offset: entry.current_txn_first_offset,
        })
    }

    /// Takes in a batch that stands in the log. An aborted transaction that had records goes to the index.
    pub(crate) fn take_in(&mut self, header: &BatchHeader, body: &[u8]) -> Option<AbortedTransaction> {
        if !header.is_control() {
            self.add(header);
            return None;
        }
        self.end_transaction(header, marker(header, body)?)
    }

    fn add(&mut self, header: &BatchHeader) {
        let Some(producer) = header.producer() else {
            return;
        };
        let entry = self.entries.of(producer.id, producer.epoch.0);
        entry.enter_epoch(producer.epoch.0);
        match producer.last_sequence {
            Some(last_sequence) => entry.add(WrittenBatch::of(header, last_sequence)),
            // A group coordinator wrote it for the producer.
            None => entry.last_timestamp = header.max_timestamp,
        }
        if header.is_transactional() {
            let transactions = self.transactions.get_or_insert_default();
            if entry.current_txn_first_offset.is_none() {
                entry.current_txn_first_offset = Some(header.base_offset);
                transactions.open.insert(header.base_offset, producer.id);
            }
            transactions.verified(producer.id, header);
        }
    }

    fn end_transaction(
        &mut self,
        header: &BatchHeader,
        marker: EndTransactionMarker,
    ) -> Option<AbortedTransaction> {
        let producer = header.producer()?;
        let entry = self.entries.of(producer.id, producer.epoch.0);
        entry.enter_epoch(producer.epoch.0);
        entry.coordinator_epoch = marker.coordinator_epoch;
        entry.last_timestamp = header.max_timestamp;
        let first_offset = entry.current_txn_first_offset.take();
        if let Some(transactions) = &mut self.transactions {
            transactions.verified(producer.id, header);
        }
        let first_offset = first_offset?;
        let transactions = self.transactions.get_or_insert_default();
        transactions.open.remove(&first_offset);
        transactions.ended.insert(first_offset, header.base_offset);
        (!marker.committed).then(|| AbortedTransaction {
            producer_id: producer.id,
            first_offset,
            last_offset: header.base_offset,
            last_stable_offset: self.first_undecided().unwrap_or(header.next_offset()),
        })
    }

    fn first_undecided(&self) -> Option<Offset> {
        let open = &self.transactions.as_ref()?.open;
        open.first_key_value().map(|(first, _)| *first)
    }

    /// The first offset of a transaction whose end is not below the high watermark.
    pub fn first_unstable_offset(&self) -> Option<Offset> {
        let ended = &self.transactions.as_ref()?.ended;
        let ended = ended.first_key_value().map(|(first, _)| *first);
        self.first_undecided().into_iter().chain(ended).min()
    }

    /// The high watermark moved: transactions that ended below it are settled.
    pub(crate) fn settle(&mut self, high_watermark: Offset) {
        let Some(transactions) = &mut self.transactions else {
            return;
        };
        transactions.ended.retain(|_, marker| *marker >= high_watermark);
        if transactions.is_empty() {
            self.transactions = None;
        }
    }

    /// Forgets producers that were silent for `expiration`, apart from those with an open transaction.
    pub fn expire(&mut self, now: TimestampMs, expiration: Duration) {
        let limit = i64::try_from(expiration.as_millis()).unwrap_or(i64::MAX);
        self.entries.retain(|entry| {
            entry.current_txn_first_offset.is_some() || now.ms_since(entry.last_timestamp) < limit
        });
        if let Some(transactions) = &mut self.transactions {
            transactions.expire(now, limit);
            if transactions.is_empty() {
                self.transactions = None;
            }
        }
    }

    /// The producer of the transaction that holds the last stable offset, and when it last wrote.
    pub fn oldest_open(&self) -> Option<(ProducerId, TimestampMs)> {
        let (_, id) = self.transactions.as_ref()?.open.first_key_value()?;
        Some((*id, self.entries.get(*id)?.last_timestamp))
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (ProducerId, &ProducerEntry)> {
        self.entries.iter()
    }

    pub(crate) fn restore(&mut self, id: ProducerId, entry: ProducerEntry) {
        if let Some(first_offset) = entry.current_txn_first_offset {
            let transactions = self.transactions.get_or_insert_default();
            transactions.open.insert(first_offset, id);
        }
        self.entries.insert(id, entry);
    }
}

#[cfg(test)]
mod tests;
