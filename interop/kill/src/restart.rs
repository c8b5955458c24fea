//! The two halves of the benchmark of restarts: fill a topic, and wait for the first acknowledgement after a start.
//!
//! Always holds: both speak to any broker, with acks=all; the one who waits tries again at once whatever goes wrong.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use bytes::Bytes;
use klamm_env::Env;
use klamm_model::{ErrorCode, Offset};
use klamm_protocol::Records;
use klamm_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use klamm_records::{BatchBuilder, Compression};
use klamm_sim::topics::{self, NewTopic};
use klamm_sim::wire::{Address, Wire, WireError};

/// The last version that names topics.
const PRODUCE: i16 = 12;
/// Requests without an answer while the topic is filled.
const IN_FLIGHT: usize = 5;
/// Records in a batch.
const BATCH_RECORDS: u64 = 64;
/// How long the one who waits lets pass before it tries again.
const BACKOFF: Duration = Duration::from_millis(2);
const TIMEOUT_MS: i32 = 30_000;

/// Which topic to fill, and with how much.
#[derive(Debug, clap::Args)]
pub(crate) struct Fill {
    /// The topic.
    #[arg(long, default_value = "filled")]
    topic: String,
    /// Its partitions.
    #[arg(long, default_value_t = 12)]
    partitions: i32,
    /// Records in all, the same number in each partition.
    #[arg(long, default_value_t = 500_000)]
    records: u64,
    /// Bytes of a record's value.
    #[arg(long, default_value_t = 1024)]
    bytes: usize,
}

/// Where to write the one record.
#[derive(Debug, clap::Args)]
pub(crate) struct First {
    /// The topic.
    #[arg(long, default_value = "filled")]
    topic: String,
}

impl Fill {
    pub(crate) async fn run(&self, env: &Env, address: &Address) -> Result<ExitCode> {
        let topic = NewTopic {
            name: self.topic.clone(),
            partitions: self.partitions,
            configs: Vec::new(),
        };
        topics::create(env, address, &topic).await;
        let mut wire = Wire::open(env, address, "fill").await?;
        // Kafka shows a topic before its partitions serve.
        let first = batch(env, 1, self.bytes);
        loop {
            wire.send(PRODUCE, &request(&self.topic, 0..self.partitions, &first))
                .await?;
            match first_error(&mut wire).await?.and_then(ErrorCode::from_code) {
                Some(code) if code.is_retriable() => env.sleep(BACKOFF).await,
                Some(code) => bail!("the broker answers {code}"),
                None => break,
            }
        }
        let each = self.records.div_ceil(self.partitions.unsigned_abs().into());
        let batch = batch(env, BATCH_RECORDS, self.bytes);
        let mut in_flight = 0;
        for _ in 0..each.div_ceil(BATCH_RECORDS) {
            if in_flight == IN_FLIGHT {
                acknowledged(&mut wire).await?;
                in_flight -= 1;
            }
            let request = request(&self.topic, 0..self.partitions, &batch);
            wire.send(PRODUCE, &request).await?;
            in_flight += 1;
        }
        for _ in 0..in_flight {
            acknowledged(&mut wire).await?;
        }
        println!("ok fill");
        Ok(ExitCode::SUCCESS)
    }
}

async fn acknowledged(wire: &mut Wire) -> Result<()> {
    match first_error(wire).await? {
        None => Ok(()),
        Some(code) => bail!("the broker answers error {code}"),
    }
}

/// The error of an answer, if it has one.
async fn first_error(wire: &mut Wire) -> Result<Option<i16>, WireError> {
    let answer = wire.receive::<ProduceRequest>(PRODUCE).await?;
    let partitions = answer
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses);
    let mut codes = partitions.map(|one| one.error_code);
    Ok(codes.find(|code| *code != 0))
}

impl First {
    pub(crate) async fn run(&self, env: &Env, address: &Address) -> Result<ExitCode> {
        let batch = batch(env, 1, 100);
        println!("ready");
        while self.attempt(env, address, &batch).await != Ok(None) {
            env.sleep(BACKOFF).await;
        }
        println!("acknowledged");
        Ok(ExitCode::SUCCESS)
    }

    /// One connection and one record; why it failed matters to nobody.
    async fn attempt(&self, env: &Env, address: &Address, batch: &Bytes) -> Result<Option<i16>, ()> {
        let attempt = async {
            let mut wire = Wire::open(env, address, "first").await?;
            wire.send(PRODUCE, &request(&self.topic, 0..1, batch)).await?;
            first_error(&mut wire).await
        };
        attempt.await.map_err(|_: WireError| ())
    }
}

fn request(topic: &str, partitions: std::ops::Range<i32>, batch: &Bytes) -> ProduceRequest {
    let partition_data = partitions.map(|index| PartitionProduceData {
        index,
        records: Records::Bytes(batch.clone()),
        ..PartitionProduceData::default()
    });
    ProduceRequest {
        acks: -1,
        timeout_ms: TIMEOUT_MS,
        topic_data: vec![TopicProduceData {
            name: topic.into(),
            partition_data: partition_data.collect(),
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    }
}

fn batch(env: &Env, records: u64, bytes: usize) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    let value: Vec<u8> = (b'!'..=b'~').cycle().take(bytes).collect();
    for _ in 0..records {
        builder.append(env.now(), None, Some(&value), &[]);
    }
    builder
        .build(Offset(0))
        .expect("memory takes what is not compressed")
}
