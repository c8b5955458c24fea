//! Sends records to partitions: in order, once each, acknowledged by all in-sync replicas.
//!
//! Always holds: records of one partition are stored in the order in which [`Producer::send`] took them, each once,
//! whatever is repeated on the way (idempotence, KIP-98); every delivery ends with an offset or an error, and an error says
//! whether the record may be stored all the same. Memory is bounded: beyond it, `send` waits.
//!
//! Next: `producer/queue.rs` decides for one partition what goes out when; `producer/sender.rs` is the task that sends;
//! `producer/transaction.rs` makes all or none of many records readable.

mod batch;
mod identity;
mod outcome;
mod queue;
mod request;
mod sender;
pub mod transaction;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use klamm_model::{TimestampMs, TopicPartition};
use klamm_records::{BatchBuilder, Codec};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, watch};

use crate::client::Client;
use crate::error::ClientError;
use crate::metadata::Topic;
use crate::partitioner::{self, Sticky};

pub use outcome::{Delivery, ProduceError, Stored};
use queue::{NewRecord, Queue};
use transaction::Ledger;
pub use transaction::{Transaction, TransactionConfig, TransactionError, TransactionalProducer};

/// A record larger than this is refused here: no broker would take it.
const MAX_RECORD_BYTES: usize = 256 * 1024 * 1024;

/// How a producer batches and how patient it is.
#[derive(Clone, Copy, Debug)]
pub struct ProducerConfig {
    /// How batches are packed.
    pub codec: Codec,
    /// How long a batch waits for more records.
    pub linger: Duration,
    /// Bytes of a batch before packing; a larger record goes alone. A topic that allows less gets smaller batches.
    pub batch_bytes: usize,
    /// Bytes of one request, unless its only batch is larger.
    pub request_bytes: usize,
    /// Bytes of all records that are not acknowledged yet.
    pub buffer_bytes: usize,
    /// How long a record may take to be acknowledged.
    pub delivery_timeout: Duration,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            codec: Codec::default(),
            linger: Duration::from_millis(5),
            batch_bytes: 1_000_000,
            request_bytes: 4 * 1024 * 1024,
            buffer_bytes: 32 * 1024 * 1024,
            delivery_timeout: Duration::from_secs(120),
        }
    }
}

/// A record to be stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerRecord {
    /// Where to; `None` leaves it to the key.
    pub partition: Option<i32>,
    /// What partitions and compacts it.
    pub key: Option<Bytes>,
    /// The payload; none is a tombstone.
    pub value: Option<Bytes>,
    /// The headers; names may occur twice.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
    /// Its time; `None` for now.
    pub timestamp: Option<TimestampMs>,
}

/// A producer. Dropped, it still sends what it took, as long as its runtime lives; [`Producer::flush`] waits for that.
pub struct Producer {
    client: Client,
    shared: Arc<Shared>,
}

/// What callers and the sender share.
struct Shared {
    config: ProducerConfig,
    /// Where the transactions stand, of a producer that has any.
    ledger: Option<Arc<Ledger>>,
    accumulator: Mutex<Accumulator>,
    memory: Arc<Semaphore>,
    /// There is something to send, or to stop for.
    wake: Notify,
    /// Batches that are not done.
    outstanding: watch::Sender<usize>,
}

#[derive(Default)]
struct Accumulator {
    queues: BTreeMap<TopicPartition, Queue>,
    sticky: BTreeMap<Arc<str>, Sticky>,
    /// Calls that wait for everything to be sent.
    flushes: usize,
    is_closed: bool,
}

impl Producer {
    /// A producer; what it needs of the cluster it asks for when it sends.
    pub fn new(client: Client, config: ProducerConfig) -> Self {
        Self::with_ledger(client, config, None)
    }

    fn with_ledger(client: Client, config: ProducerConfig, ledger: Option<Arc<Ledger>>) -> Self {
        let shared = Arc::new(Shared {
            memory: Arc::new(Semaphore::new(config.buffer_bytes.min(Semaphore::MAX_PERMITS))),
            config,
            ledger,
            accumulator: Mutex::default(),
            wake: Notify::new(),
            outstanding: watch::Sender::new(0),
        });
        let task = sender::Sender::new(client.clone(), shared.clone());
        // It ends by itself once the producer is dropped and everything is done.
        drop(client.env().spawn(task.run()));
        Self { client, shared }
    }

    /// Takes a record. Waits for room in the memory, and the first time for what the cluster says about the topic; the
    /// [`Delivery`] then says what became of the record.
    pub async fn send(&self, topic: &str, record: ProducerRecord) -> Result<Delivery, ProduceError> {
        let headers = borrowed_headers(&record);
        let placed = self.place(topic, &record, &headers).await?;
        self.append(placed, &record, &headers).await
    }

    /// Decides where a record goes.
    async fn place(
        &self,
        topic: &str,
        record: &ProducerRecord,
        headers: &[BorrowedHeader<'_>],
    ) -> Result<Placed, ProduceError> {
        let topic = self.client.topic(topic).await?;
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let bytes = BatchBuilder::size_of_record(key, value, headers);
        if bytes > MAX_RECORD_BYTES {
            return Err(ProduceError::RecordTooLarge {
                bytes,
                limit: MAX_RECORD_BYTES,
            });
        }
        self.check_partition(&topic, record.partition)?;
        let partition = match (record.partition, key) {
            (Some(partition), _) => partition,
            (None, Some(key)) => partitioner::for_key(key, topic.partitions.len()),
            (None, None) => {
                let env = self.client.env();
                let mut accumulator = self.shared.accumulator.lock();
                let sticky = accumulator.sticky.entry(topic.name.clone()).or_default();
                sticky.next(&topic, bytes, || env.random_u64())
            }
        };
        let partition = TopicPartition {
            topic: topic.name,
            partition,
        };
        Ok(Placed { partition, bytes })
    }

    /// Puts a record into its partition's queue, once there is room in the memory.
    async fn append(
        &self,
        placed: Placed,
        record: &ProducerRecord,
        headers: &[BorrowedHeader<'_>],
    ) -> Result<Delivery, ProduceError> {
        let Placed { partition, bytes } = placed;
        let memory = self.reserve(bytes).await?;
        let env = self.client.env();
        let new = NewRecord {
            timestamp: record.timestamp.unwrap_or_else(|| env.now()),
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers,
            bytes,
            memory,
        };
        let shared = &self.shared;
        let mut accumulator = shared.accumulator.lock();
        let queue = accumulator
            .queues
            .entry(partition)
            .or_insert_with_key(|partition| {
                Queue::new(partition.clone(), shared.config, shared.ledger.is_some())
            });
        let appended = queue.append(new, env.monotonic());
        if appended.opened > 0 {
            // Before the sender can see the batch: it counts it off when it is done.
            shared.outstanding.send_modify(|count| *count += appended.opened);
            shared.wake.notify_one();
        }
        Ok(appended.delivery)
    }

    /// Waits until everything that was taken so far is acknowledged or has failed; the deliveries say which.
    pub async fn flush(&self) {
        let _flush = Flush::begin(&self.shared);
        let mut outstanding = self.shared.outstanding.subscribe();
        // The sender of this channel lives in `shared`.
        let _ = outstanding.wait_for(|count| *count == 0).await;
    }

    fn check_partition(&self, topic: &Topic, partition: Option<i32>) -> Result<(), ProduceError> {
        match partition {
            Some(partition) if topic.partition(partition).is_none() => {
                Err(ProduceError::Client(ClientError::UnknownPartition {
                    topic: topic.name.to_string(),
                    partition,
                    count: topic.partitions.len(),
                }))
            }
            _ => Ok(()),
        }
    }

    async fn reserve(&self, bytes: usize) -> Result<tokio::sync::OwnedSemaphorePermit, ProduceError> {
        // A record larger than the whole memory takes all of it.
        let permits = bytes.min(self.shared.config.buffer_bytes);
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        let memory = self.shared.memory.clone();
        if let Ok(permit) = memory.clone().try_acquire_many_owned(permits) {
            return Ok(permit);
        }
        // Memory comes back when batches go out: those that linger need not.
        let _flush = Flush::begin(&self.shared);
        memory
            .acquire_many_owned(permits)
            .await
            .map_err(|_| ProduceError::Closed)
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.shared.accumulator.lock().is_closed = true;
        self.shared.wake.notify_one();
    }
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}

/// Where a record goes, and how large it is in a batch, at most.
struct Placed {
    partition: TopicPartition,
    bytes: usize,
}

/// A header whose bytes are the record's.
type BorrowedHeader<'a> = (&'a [u8], Option<&'a [u8]>);

fn borrowed_headers(record: &ProducerRecord) -> Vec<BorrowedHeader<'_>> {
    let headers = record.headers.iter();
    headers
        .map(|(name, value)| (&name[..], value.as_deref()))
        .collect()
}

/// While it lives, batches do not linger.
struct Flush<'a>(&'a Shared);

impl<'a> Flush<'a> {
    fn begin(shared: &'a Shared) -> Self {
        shared.accumulator.lock().flushes += 1;
        shared.wake.notify_one();
        Self(shared)
    }
}

impl Drop for Flush<'_> {
    fn drop(&mut self) {
        self.0.accumulator.lock().flushes -= 1;
    }
}

#[cfg(test)]
mod tests;
