//! Reads partitions that it is told, each from a position that it is told.
//!
//! Always holds: records of a partition come in the order of their offsets, each once, and the position is the offset after
//! the last one given. A partition whose leader is away keeps no other one waiting: who leads is asked in the background. Of a compressed fetch one batch at a time is unpacked; memory is bounded by
//! [`ConsumerConfig::max_bytes`] per broker and one batch.
//!
//! Next: `consumer/leaders.rs` for where requests go, `consumer/fetch.rs` for the request, `consumer/aborted.rs` for transactions, `consumer/offsets.rs` for the
//! offsets of a time.

mod aborted;
mod fetch;
mod leaders;
mod offsets;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use klamm_env::Env;
use klamm_model::{BrokerId, ErrorCode, Offset, TopicPartition};
use klamm_protocol::messages::fetch_response::FetchResponse;
use klamm_records::{Batches, Record, Scratch};
use tokio::sync::mpsc;

use crate::client::Client;
use crate::error::{ClientError, Refusal};

use aborted::Aborted;
pub(crate) use leaders::is_final;
pub use offsets::{OffsetAt, OffsetSpec};

/// What a batch may unpack to.
const UNPACK_LIMIT_BYTES: u64 = 1 << 30;
/// The default of [`ConsumerConfig::patience`].
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a topic that does not exist any more is looked for.
const MISSING_PATIENCE: Duration = Duration::from_secs(2);

/// Which records of transactions are seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// All.
    ReadUncommitted,
    /// Those of committed transactions, and those outside of any.
    #[default]
    ReadCommitted,
}

/// What to do when a position is not, or no more, in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reset {
    /// Fail.
    #[default]
    Fail,
    /// Go to the first offset.
    Earliest,
    /// Go to the end.
    Latest,
}

/// How a consumer reads.
#[derive(Clone, Copy, Debug)]
pub struct ConsumerConfig {
    /// Which records of transactions are seen.
    pub isolation: Isolation,
    /// What to do when a position is not in the log.
    pub reset: Reset,
    /// How long a broker may wait for `min_bytes`.
    pub max_wait: Duration,
    /// Bytes that make an answer worth sending.
    pub min_bytes: i32,
    /// Bytes of one answer, unless its first batch is larger.
    pub max_bytes: i32,
    /// Bytes of one partition in an answer, unless its first batch is larger.
    pub partition_max_bytes: i32,
    /// How long the leader of a partition may be away before the read fails.
    pub patience: Duration,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            isolation: Isolation::default(),
            reset: Reset::default(),
            max_wait: Duration::from_millis(500),
            min_bytes: 1,
            max_bytes: 16 * 1024 * 1024,
            partition_max_bytes: 1024 * 1024,
            patience: PATIENCE,
        }
    }
}

/// A read failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConsumeError {
    /// The cluster could not be asked, or has no such topic or partition.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The leader refused.
    #[error("{partition}: {refusal}")]
    Refused {
        /// Which partition was read.
        partition: TopicPartition,
        /// The answer.
        refusal: Refusal,
    },
    /// The position is not in the log.
    #[error(
        "{partition}: offset {position} is not in the log, which begins at {start}; begin there, or at the end"
    )]
    OutOfRange {
        /// Which partition was read.
        partition: TopicPartition,
        /// The position.
        position: Offset,
        /// Where the log begins.
        start: Offset,
    },
    /// What came is not what the broker stored.
    #[error("{partition}: the batch at offset {position} is damaged: {reason}")]
    Damaged {
        /// Which partition was read.
        partition: TopicPartition,
        /// The position.
        position: Offset,
        /// What is wrong.
        reason: String,
    },
}

/// Records of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Which partition.
    pub partition: TopicPartition,
    /// The records, in the order of their offsets.
    pub records: Vec<Record>,
    /// The offset up to which the partition can be read at the moment.
    pub end: Offset,
}

/// A consumer.
pub struct Consumer {
    client: Client,
    env: Env,
    config: ConsumerConfig,
    partitions: BTreeMap<TopicPartition, Assigned>,
    /// Answers that are not given out yet, by partition in the order of their coming.
    buffered: VecDeque<Buffered>,
    in_flight: BTreeSet<BrokerId>,
    /// Whether it is being asked who leads.
    is_refreshing: bool,
    events: mpsc::Receiver<Event>,
    reports: mpsc::Sender<Event>,
    scratch: Scratch,
    /// Counts assignments and seeks: what was fetched before one is not given out after it.
    generation: u64,
}

/// A partition that is read.
#[derive(Debug, Clone)]
struct Assigned {
    position: Offset,
    /// Where the next fetch begins: the position, or behind what is buffered.
    fetch_from: Offset,
    generation: u64,
    is_in_flight: bool,
    paused_until: Duration,
    failures: u32,
    failing_since: Option<Duration>,
    /// Whether somebody was told that it has been failing for long.
    is_told: bool,
}

/// What a fetch brought for one partition.
struct Buffered {
    partition: TopicPartition,
    generation: u64,
    batches: Batches,
    bytes: usize,
    aborted: Aborted,
    end: Offset,
}

/// What a task reports.
enum Event {
    Answered(Answered),
    /// It was asked who leads.
    Refreshed(Result<(), ClientError>),
}

/// A fetch that has ended.
struct Answered {
    broker: BrokerId,
    asked: fetch::Asked,
    result: Result<FetchResponse, ClientError>,
}

impl Consumer {
    /// A consumer that reads nothing yet.
    pub fn new(client: Client, config: ConsumerConfig) -> Self {
        let (reports, events) = mpsc::channel(64);
        Self {
            env: client.env().clone(),
            client,
            config,
            partitions: BTreeMap::new(),
            buffered: VecDeque::new(),
            in_flight: BTreeSet::new(),
            is_refreshing: false,
            events,
            reports,
            scratch: Scratch::new(),
            generation: 0,
        }
    }

    /// Reads these partitions, each from its position, and no others.
    pub fn assign(&mut self, partitions: impl IntoIterator<Item = (TopicPartition, Offset)>) {
        self.partitions.clear();
        self.buffered.clear();
        for (partition, position) in partitions {
            self.seek(partition, position);
        }
    }

    /// Reads `partition` from `position` on.
    pub fn seek(&mut self, partition: TopicPartition, position: Offset) {
        self.generation += 1;
        self.buffered.retain(|buffered| buffered.partition != partition);
        let assigned = Assigned {
            position,
            fetch_from: position,
            generation: self.generation,
            is_in_flight: false,
            paused_until: Duration::ZERO,
            failures: 0,
            failing_since: None,
            is_told: false,
        };
        self.partitions.insert(partition, assigned);
    }

    /// Stops reading `partition`.
    pub fn unassign(&mut self, partition: &TopicPartition) {
        self.partitions.remove(partition);
        self.buffered.retain(|buffered| buffered.partition != *partition);
    }

    /// The offset after the last record that was given, or passed over.
    pub fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        Some(self.partitions.get(partition)?.position)
    }

    /// The partitions that are read.
    pub fn assignment(&self) -> impl Iterator<Item = &TopicPartition> {
        self.partitions.keys()
    }

    /// The next records of one partition; `None` when there are none within `limit`. A batch whose records are all passed
    /// over (markers, aborted transactions) comes as an empty list, because it moves the position.
    ///
    /// Dropping the future loses nothing.
    pub async fn poll(&mut self, limit: Duration) -> Result<Option<Fetched>, ConsumeError> {
        let deadline = self.env.monotonic().saturating_add(limit);
        loop {
            if let Some(fetched) = self.next_buffered()? {
                return Ok(Some(fetched));
            }
            self.fetch();
            let now = self.env.monotonic();
            if now >= deadline {
                return Ok(None);
            }
            let pauses = self.partitions.values().map(|assigned| assigned.paused_until);
            let due = pauses.filter(|until| *until > now).min().unwrap_or(deadline);
            let wait = due.min(deadline) - now;
            if let Ok(Some(event)) = self.env.timeout(wait, self.events.recv()).await {
                match event {
                    Event::Answered(answered) => self.handle(answered).await?,
                    Event::Refreshed(result) => self.refreshed(result)?,
                }
            }
        }
    }

    /// One batch of what is buffered.
    pub(crate) fn next_buffered(&mut self) -> Result<Option<Fetched>, ConsumeError> {
        while let Some(buffered) = self.buffered.front_mut() {
            let assigned = self
                .partitions
                .get_mut(&buffered.partition)
                .filter(|assigned| assigned.generation == buffered.generation);
            let (Some(assigned), Some(batch)) = (assigned, buffered.batches.next()) else {
                self.buffered.pop_front();
                continue;
            };
            let position = assigned.position;
            let damaged = |reason: String| ConsumeError::Damaged {
                partition: buffered.partition.clone(),
                position,
                reason,
            };
            let batch = batch.map_err(|error| damaged(error.to_string()))?;
            batch.check_crc().map_err(|error| damaged(error.to_string()))?;
            let next = batch.header().next_offset();
            let mut records = Vec::new();
            if buffered.aborted.is_visible(&batch) {
                let all = batch.records_with(UNPACK_LIMIT_BYTES, &mut self.scratch);
                for record in all.map_err(|error| damaged(error.to_string()))? {
                    let record = record.map_err(|error| damaged(error.to_string()))?;
                    // A batch is sent whole, though the position may lie within it.
                    if record.offset >= position {
                        records.push(record);
                    }
                }
            }
            assigned.position = position.max(next);
            return Ok(Some(Fetched {
                partition: buffered.partition.clone(),
                records,
                end: buffered.end,
            }));
        }
        Ok(None)
    }

    async fn handle(&mut self, event: Answered) -> Result<(), ConsumeError> {
        self.in_flight.remove(&event.broker);
        for ask in &event.asked {
            if let Some(assigned) = self.current(ask) {
                assigned.is_in_flight = false;
            }
        }
        let mut must_refresh = false;
        match event.result {
            Err(error) => {
                must_refresh = true;
                for ask in &event.asked {
                    if self.current(ask).is_some() {
                        let error = ConsumeError::Client(error.clone());
                        self.failed(&ask.partition, error, self.config.patience)?;
                    }
                }
            }
            Ok(response) => {
                for (ask, answer) in fetch::answers(&event.asked, response) {
                    must_refresh |= self.take(ask, answer).await?;
                }
            }
        }
        if must_refresh {
            self.refresh();
        }
        Ok(())
    }

    /// The partition that was asked for, if it is still read from there.
    fn current(&mut self, ask: &fetch::Ask) -> Option<&mut Assigned> {
        self.partitions
            .get_mut(&ask.partition)
            .filter(|assigned| assigned.generation == ask.generation)
    }

    /// Takes the answer for one partition; whether leaders must be looked up.
    async fn take(&mut self, ask: &fetch::Ask, answer: fetch::Answer) -> Result<bool, ConsumeError> {
        let isolation = self.config.isolation;
        let Some(assigned) = self.current(ask) else {
            return Ok(false);
        };
        match answer {
            fetch::Answer::Records { bytes, end, aborted } => {
                assigned.failures = 0;
                assigned.failing_since = None;
                assigned.is_told = false;
                if bytes.is_empty() {
                    return Ok(false);
                }
                assigned.fetch_from = assigned.fetch_from.max(fetch::end_of(&bytes));
                self.buffered.push_back(Buffered {
                    partition: ask.partition.clone(),
                    generation: ask.generation,
                    bytes: bytes.len(),
                    batches: Batches::new(bytes),
                    aborted: Aborted::new(isolation, aborted),
                    end,
                });
                Ok(false)
            }
            fetch::Answer::OutOfRange { start } => {
                self.out_of_range(ask, start).await?;
                Ok(false)
            }
            fetch::Answer::Refused(refusal) => {
                let patience = match refusal.code {
                    ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId => MISSING_PATIENCE,
                    code if code.is_retriable() => self.config.patience,
                    _ => Duration::ZERO,
                };
                let partition = ask.partition.clone();
                self.failed(
                    &ask.partition,
                    ConsumeError::Refused { partition, refusal },
                    patience,
                )?;
                Ok(true)
            }
        }
    }

    async fn out_of_range(&mut self, ask: &fetch::Ask, start: Offset) -> Result<(), ConsumeError> {
        let spec = match self.config.reset {
            Reset::Fail => {
                return Err(ConsumeError::OutOfRange {
                    partition: ask.partition.clone(),
                    position: ask.from,
                    start,
                });
            }
            Reset::Earliest => OffsetSpec::Earliest,
            Reset::Latest => OffsetSpec::Latest,
        };
        let asked = [(ask.partition.clone(), spec)];
        let found = self.client.list_offsets(&asked, self.config.isolation).await?;
        let offset = found
            .get(&ask.partition)
            .and_then(|at| at.offset)
            .unwrap_or(start);
        tracing::info!(partition = %ask.partition, from = %ask.from, to = %offset, "the position was not in the log");
        self.seek(ask.partition.clone(), offset);
        Ok(())
    }
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer")
            .field("config", &self.config)
            .field("partitions", &self.partitions)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
