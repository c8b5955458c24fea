//! One record at a time, each tried once: what a broker says whose disk refuses.
//!
//! Always holds: nothing is sent a second time, so that what was answered, and what was not, is known of each record.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use klamm_env::Env;
use klamm_model::{ErrorCode, Offset};
use klamm_protocol::Records;
use klamm_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use klamm_protocol::messages::fetch_response::PartitionData;
use klamm_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use klamm_records::{BatchBuilder, Batches, Compression};
use klamm_sim::wire::{Address, Wire, WireError};

/// The last versions that name topics.
const PRODUCE: i16 = 12;
const FETCH: i16 = 12;
const TIMEOUT_MS: i32 = 5_000;
/// Bytes of an answer.
const ANSWER_BYTES: i32 = 8 * 1024 * 1024;
/// How long a broker that is coming up may refuse a connection.
const PATIENCE: Duration = Duration::from_secs(10);
const BACKOFF: Duration = Duration::from_millis(20);

/// Which record to write.
#[derive(Debug, clap::Args)]
pub(crate) struct Write {
    /// The topic, into whose partition 0 it goes.
    #[arg(long)]
    topic: String,
    /// What it is recognised by.
    #[arg(long)]
    name: String,
    /// Bytes of its value, beside the name.
    #[arg(long, default_value_t = 0)]
    bytes: usize,
}

/// What to read.
#[derive(Debug, clap::Args)]
pub(crate) struct Read {
    /// The topic, of whose partition 0 everything is read.
    #[arg(long)]
    topic: String,
}

impl Write {
    /// Prints `stored`, `refused NAME`, or `unanswered WHY`.
    pub(crate) async fn run(&self, env: &Env, address: &Address) -> Result<ExitCode> {
        let mut wire = connect(env, address).await?;
        println!("{}", self.attempt(env, &mut wire).await?);
        Ok(ExitCode::SUCCESS)
    }

    async fn attempt(&self, env: &Env, wire: &mut Wire) -> Result<String> {
        let mut builder = BatchBuilder::new(Compression::None);
        let value = "x".repeat(self.bytes);
        builder.append(env.now(), Some(self.name.as_bytes()), Some(value.as_bytes()), &[]);
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: TIMEOUT_MS,
            topic_data: vec![TopicProduceData {
                name: self.topic.as_str().into(),
                partition_data: vec![PartitionProduceData {
                    index: 0,
                    records: Records::Bytes(builder.build(Offset(0))?),
                    ..PartitionProduceData::default()
                }],
                ..TopicProduceData::default()
            }],
            ..ProduceRequest::default()
        };
        let answer = match wire.ask(PRODUCE, &request).await {
            Ok(answer) => answer,
            Err(error) => return Ok(format!("unanswered {error}")),
        };
        let mut partitions = answer
            .responses
            .iter()
            .flat_map(|topic| &topic.partition_responses);
        let one = partitions.next().context("an answer without a partition")?;
        Ok(match one.error_code {
            0 => "stored".to_owned(),
            code => format!("refused {}", name_of(code)),
        })
    }
}

impl Read {
    /// Prints the name of each record up to the high watermark, and `refused NAME` where a read fails; then the attempt is repeated, once.
    pub(crate) async fn run(&self, env: &Env, address: &Address) -> Result<ExitCode> {
        let mut wire = connect(env, address).await?;
        let (mut next, mut refused) = (0, 0);
        loop {
            let data = self.fetch(&mut wire, next).await?;
            if data.error_code != 0 {
                println!("refused {}", name_of(data.error_code));
                refused += 1;
                ensure!(refused < 2, "it is refused again");
                continue;
            }
            let before = next;
            if let Records::Bytes(bytes) = &data.records {
                for batch in Batches::new(bytes.clone()) {
                    let batch = batch?;
                    batch.check_crc()?;
                    for record in batch.records(ANSWER_BYTES.unsigned_abs().into())? {
                        let record = record?;
                        ensure!(
                            record.offset.0 == next,
                            "offset {} instead of {next}",
                            record.offset
                        );
                        next += 1;
                        println!("{}", String::from_utf8_lossy(&record.key.unwrap_or_default()));
                    }
                }
            }
            if next >= data.high_watermark {
                return Ok(ExitCode::SUCCESS);
            }
            ensure!(
                next > before,
                "nothing from {next} on, of {}",
                data.high_watermark
            );
        }
    }

    async fn fetch(&self, wire: &mut Wire, offset: i64) -> Result<PartitionData> {
        let request = FetchRequest {
            max_wait_ms: 0,
            min_bytes: 0,
            max_bytes: ANSWER_BYTES,
            session_epoch: -1,
            topics: vec![FetchTopic {
                topic: self.topic.as_str().into(),
                partitions: vec![FetchPartition {
                    partition: 0,
                    current_leader_epoch: -1,
                    fetch_offset: offset,
                    last_fetched_epoch: -1,
                    log_start_offset: -1,
                    partition_max_bytes: ANSWER_BYTES,
                    ..FetchPartition::default()
                }],
                ..FetchTopic::default()
            }],
            ..FetchRequest::default()
        };
        let answer = wire.ask(FETCH, &request).await?;
        let mut partitions = answer.responses.into_iter().flat_map(|topic| topic.partitions);
        partitions.next().context("an answer without a partition")
    }
}

async fn connect(env: &Env, address: &Address) -> Result<Wire> {
    let connecting = async {
        loop {
            match Wire::open(env, address, "probe").await {
                Ok(wire) => return wire,
                Err(_) => env.sleep(BACKOFF).await,
            }
        }
    };
    let connected = env.timeout(PATIENCE, connecting).await;
    Ok(connected.map_err(|_| WireError::TimedOut(PATIENCE))?)
}

fn name_of(code: i16) -> String {
    match ErrorCode::from_code(code) {
        Some(code) if code.is_retriable() => format!("{code} (to be tried again)"),
        Some(code) => code.to_string(),
        None => code.to_string(),
    }
}
