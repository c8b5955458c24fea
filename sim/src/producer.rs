//! An idempotent producer: up to five requests in flight, and after a lost connection the same ones again.
//!
//! Always holds: what was sent is sent again until it is acknowledged, in the same order and with the same sequences, and
//! nothing overtakes it; what the books call acknowledged was acknowledged by the broker. Apart from that it trusts
//! nothing: an answer that a client need not expect is a fault.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use klamm_env::Env;
use klamm_model::{ErrorCode, Offset, ProducerEpoch, ProducerId};
use klamm_protocol::Records;
use klamm_protocol::messages::{
    init_producer_id_request::InitProducerIdRequest,
    produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData},
    produce_response::ProduceResponse,
};
use klamm_records::{BatchBuilder, Compression};

use crate::history::{Ack, Books};
use crate::payload::RecordId;
use crate::places::Places;
use crate::wire::{Address, Wire, WireError};

/// Requests without an answer; as many as a broker remembers batches of a producer.
const IN_FLIGHT: usize = 5;
/// Partitions that one request carries batches for, at most.
const PARTITIONS_A_REQUEST: u64 = 3;
/// How long a producer waits before it tries again.
const BACKOFF: Duration = Duration::from_millis(20);
/// The versions that are spoken.
const PRODUCE: i16 = 13;
const INIT_PRODUCER_ID: i16 = 5;

/// What a producer does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its name.
    pub name: u32,
    /// Where the broker listens.
    pub address: Address,
    /// The partitions that it writes to.
    pub places: Places,
    /// Records in a batch, at most.
    pub batch_records: u32,
    /// The longest pause before a request.
    pub pause: Duration,
}

/// A batch on its way.
struct Sent {
    first: RecordId,
    count: u32,
    bytes: Bytes,
}

/// Produces until the books are closed, and then until all that was sent is acknowledged.
pub async fn run(env: Env, plan: Plan, books: Books) {
    let mut producer = Producer {
        client_id: format!("producer-{}", plan.name),
        env,
        plan,
        books,
        id: 0,
        next: BTreeMap::new(),
        unanswered: VecDeque::new(),
    };
    let mut is_known = false;
    while let Err(end) = producer.life(&mut is_known).await {
        match end {
            End::Again => {}
            End::Wire(error) if !error.is_fault() => {}
            End::Wire(error) => producer.fault(format_args!("{error}")),
            End::Fault(what) => return producer.fault(format_args!("{what}")),
        }
        producer.env.sleep(BACKOFF).await;
    }
}

/// An identifier for an idempotent producer, from a connection of its own.
pub(crate) async fn new_id(wire: &mut Wire, books: &Books) -> Result<Option<i64>, WireError> {
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
        ..InitProducerIdRequest::default()
    };
    let answer = wire.ask(INIT_PRODUCER_ID, &request).await?;
    match ErrorCode::from_code(answer.error_code) {
        Some(ErrorCode::None) => {
            books.write(|history| history.producer_ids.push(answer.producer_id));
            if answer.producer_epoch != 0 {
                books.fault(format!("a new producer has epoch {}", answer.producer_epoch));
            }
            Ok(Some(answer.producer_id))
        }
        Some(code) if code.is_retriable() => {
            books.write(|history| history.refused("InitProducerId", code));
            Ok(None)
        }
        _ => {
            books.fault(format!(
                "InitProducerId is answered with error {}",
                answer.error_code
            ));
            Ok(None)
        }
    }
}

/// Why a connection was left.
enum End {
    /// The broker asked to try again.
    Again,
    /// The connection failed.
    Wire(WireError),
    /// An answer that must not be.
    Fault(String),
}

impl From<WireError> for End {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

struct Producer {
    env: Env,
    plan: Plan,
    books: Books,
    client_id: String,
    id: i64,
    /// Of each partition, the number of the next record.
    next: BTreeMap<u32, u32>,
    /// The requests that are not acknowledged, oldest first.
    unanswered: VecDeque<Vec<Sent>>,
}

impl Producer {
    /// One connection; `Ok` when all is done.
    async fn life(&mut self, is_known: &mut bool) -> Result<(), End> {
        let mut wire = Wire::open(&self.env, &self.plan.address, &self.client_id).await?;
        if !*is_known {
            self.id = new_id(&mut wire, &self.books).await?.ok_or(End::Again)?;
            let (name, id) = (self.plan.name, self.id);
            self.books.write(|history| history.producers.insert(name, id));
            *is_known = true;
        }
        let mut in_flight = 0;
        loop {
            while in_flight < IN_FLIGHT {
                if in_flight == self.unanswered.len() {
                    if self.books.is_over() {
                        break;
                    }
                    self.pause().await;
                    let request = self.prepare();
                    self.unanswered.push_back(request);
                }
                wire.send(PRODUCE, &self.request(&self.unanswered[in_flight]))
                    .await?;
                in_flight += 1;
            }
            if in_flight == 0 {
                return Ok(());
            }
            let answer = wire.receive::<ProduceRequest>(PRODUCE).await?;
            let acks = self.judge(&self.unanswered[0], &answer)?;
            self.books.write(|history| {
                let answered = history.moment();
                history
                    .acks
                    .extend(acks.into_iter().map(|ack| Ack { answered, ..ack }));
            });
            self.unanswered.pop_front();
            in_flight -= 1;
        }
    }

    async fn pause(&self) {
        let most = self.plan.pause.as_micros() as u64;
        if let Some(micros) = self.env.random_u64().checked_rem(most) {
            self.env.sleep(Duration::from_micros(micros)).await;
        }
    }

    fn fault(&self, what: std::fmt::Arguments<'_>) {
        self.books.fault(format!("{}: {what}", self.client_id));
    }

    /// Makes up a new request.
    fn prepare(&mut self) -> Vec<Sent> {
        let (count, all) = (
            1 + self.env.random_u64() % PARTITIONS_A_REQUEST,
            u64::from(self.plan.places.count()),
        );
        let partitions: BTreeSet<u32> = (0..count).map(|_| (self.env.random_u64() % all) as u32).collect();
        let batches: Vec<Sent> = partitions
            .into_iter()
            .map(|partition| self.batch(partition))
            .collect();
        self.books.write(|history| {
            for batch in &batches {
                let id = batch.first;
                let sent = history.sent.entry((id.producer, id.partition)).or_default();
                *sent = id.number + batch.count;
            }
        });
        batches
    }

    fn batch(&mut self, partition: u32) -> Sent {
        let count = 1 + (self.env.random_u64() % u64::from(self.plan.batch_records)) as u32;
        let next = self.next.entry(partition).or_default();
        let first = RecordId {
            producer: self.plan.name,
            partition,
            number: *next,
        };
        *next += count;
        let codec = match self.plan.name % 5 {
            1 => Compression::Gzip,
            2 => Compression::Snappy,
            3 => Compression::Lz4,
            4 => Compression::Zstd,
            _ => Compression::None,
        };
        let sequence = i32::try_from(first.number).expect("fewer records than that are sent");
        let mut builder =
            BatchBuilder::new(codec).producer(ProducerId(self.id), ProducerEpoch(0), Some(sequence));
        for number in first.number..first.number + count {
            let id = RecordId { number, ..first };
            builder.append(self.env.now(), Some(id.key().as_bytes()), Some(&id.value()), &[]);
        }
        let bytes = builder
            .build(Offset(0))
            .expect("memory takes what a codec writes");
        Sent { first, count, bytes }
    }

    fn request(&self, batches: &[Sent]) -> ProduceRequest {
        let batches = batches.iter().map(|batch| (batch.first.partition, batch));
        let topics = self.plan.places.by_topic(batches).into_iter();
        let topic_data = topics.map(|(topic_id, batches)| {
            let batches = batches.into_iter();
            let partition_data = batches.map(|(index, batch)| PartitionProduceData {
                index,
                records: Records::Bytes(batch.bytes.clone()),
                ..PartitionProduceData::default()
            });
            TopicProduceData {
                topic_id,
                partition_data: partition_data.collect(),
                ..TopicProduceData::default()
            }
        });
        ProduceRequest {
            acks: -1,
            timeout_ms: 4_000,
            topic_data: topic_data.collect(),
            ..ProduceRequest::default()
        }
    }

    /// What an answer means for a request: all of it acknowledged, or all of it to be sent again.
    fn judge(&self, batches: &[Sent], answer: &ProduceResponse) -> Result<Vec<Ack>, End> {
        let mut answers: BTreeMap<u32, _> = BTreeMap::new();
        for topic in &answer.responses {
            for one in &topic.partition_responses {
                let Some(partition) = self.plan.places.number(topic.topic_id, one.index) else {
                    return Err(End::Fault("an answer for another partition".to_owned()));
                };
                answers.insert(partition, one);
            }
        }
        let mut acks = Vec::with_capacity(batches.len());
        for batch in batches {
            let (first, count) = (batch.first, batch.count);
            let Some(one) = answers.remove(&first.partition) else {
                return Err(End::Fault(format!("no answer for {first:?}")));
            };
            match ErrorCode::from_code(one.error_code) {
                Some(ErrorCode::None) => acks.push(Ack {
                    first,
                    count,
                    base_offset: one.base_offset,
                    answered: 0,
                }),
                Some(code) if code.is_retriable() => {
                    self.books.write(|history| history.refused("Produce", code));
                    return Err(End::Again);
                }
                _ => {
                    let code = one.error_code;
                    return Err(End::Fault(format!(
                        "error {code} for {count} records from {first:?}"
                    )));
                }
            }
        }
        if !answers.is_empty() {
            return Err(End::Fault("an answer for what was not asked".to_owned()));
        }
        Ok(acks)
    }
}
