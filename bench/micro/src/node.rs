//! Whole requests: from a frame to its answer, through connection, dispatch, handler, partition and log of a node that
//! is alone in its process and shares one thread with its client.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use bytes::Bytes;
use klamm_broker::{FixedLoggers, Node};
use klamm_config::{BrokerConfig, Sources};
use klamm_env::task::Blocking;
use klamm_env::{Env, Parts, real};
use klamm_model::Uuid;
use klamm_protocol::messages::create_topics_request::CreatableTopic;
use klamm_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use klamm_protocol::messages::{CreateTopicsRequest, FetchRequest, ProduceRequest};
use klamm_protocol::{Message, Reader, Records, Request, ResponseHeader};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::Work;
use crate::inputs::{batch, frame, produce};
use crate::wire::{Near, Wire};

const PRODUCE: i16 = 13;
const FETCH: i16 = 18;
const CREATE_TOPICS: i16 = 7;

/// A node, and a connection to it.
struct Running {
    runtime: Runtime,
    near: Near,
    topic_id: Uuid,
    _node: Node,
    _folder: TempDir,
}

impl Running {
    /// A node with a topic of `partitions`.
    fn new(partitions: i32) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let wire = Wire::default();
        let env = Env::new(Parts {
            clock: Box::new(real::clock::SystemClock::default()),
            rng: Box::new(real::clock::SystemRng),
            files: Arc::new(real::files::SystemFiles),
            network: Box::new(wire.clone()),
            blocking: Blocking::Threads,
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let node = runtime.block_on(Node::start(env, config(&folder)?, Arc::new(FixedLoggers)))?;
        let near = wire.open(node.addresses()[0].1.port())?;
        let mut running = Self {
            runtime,
            near,
            topic_id: Uuid::ZERO,
            _node: node,
            _folder: folder,
        };
        let topic = CreatableTopic {
            name: "orders".into(),
            num_partitions: partitions,
            replication_factor: 1,
            ..Default::default()
        };
        let request = CreateTopicsRequest {
            topics: vec![topic],
            timeout_ms: 30_000,
            ..Default::default()
        };
        let response = running.ask(CREATE_TOPICS, &request)?;
        let created = response.topics.first().context("no answer for the topic")?;
        ensure!(created.error_code == 0, "the topic: error {}", created.error_code);
        running.topic_id = created.topic_id;
        Ok(running)
    }

    fn ask<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response> {
        let frame = frame(version, request)?;
        let answer = self.runtime.block_on(self.near.ask(frame))?;
        let mut reader = Reader::new(answer);
        ResponseHeader::decode(&mut reader, R::KEY, version)?;
        Ok(R::Response::decode(&mut reader, version)?)
    }

    /// Appends a batch to the first partition.
    fn produce(&mut self, batch: Bytes) -> Result<()> {
        let request = produce(self.topic_id, batch);
        let response = self.ask::<ProduceRequest>(PRODUCE, &request)?;
        let code = response.responses[0].partition_responses[0].error_code;
        ensure!(code == 0, "produce: error {code}");
        Ok(())
    }

    fn exchange(&mut self, times: usize) {
        let near = &mut self.near;
        self.runtime.block_on(async {
            for _ in 0..times {
                near.exchange().await;
            }
        });
    }
}

fn config(folder: &TempDir) -> Result<BrokerConfig> {
    let data = folder.path().to_str().context("a folder with a plain name")?;
    let set = [
        ("log.dirs", data),
        ("listeners", "PLAINTEXT://127.0.0.1:0"),
        ("klamm.durability", "page-cache"),
        ("klamm.http.listener", ""),
        // A long measurement must not fill the disk.
        ("log.segment.bytes", "67108864"),
        ("log.retention.bytes", "134217728"),
        // The records' time is the same at each run, and long past.
        ("log.retention.ms", "-1"),
        ("log.retention.check.interval.ms", "1000"),
        ("log.segment.delete.delay.ms", "0"),
    ];
    let sources = Sources {
        set: set.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ..Default::default()
    };
    let loaded = BrokerConfig::load(&sources).map_err(|errors| anyhow!("{errors:?}"))?;
    Ok(loaded.0)
}

pub(crate) fn produce_thousand_records() -> Result<Box<dyn Work>> {
    produce_again(batch(1000)?)
}

pub(crate) fn produce_one_record() -> Result<Box<dyn Work>> {
    produce_again(batch(1)?)
}

fn produce_again(batch: Bytes) -> Result<Box<dyn Work>> {
    let mut running = Running::new(1)?;
    running.produce(batch.clone())?;
    let frame = frame(PRODUCE, &produce(running.topic_id, batch.clone()))?;
    Ok(Box::new(Produce {
        running,
        frame,
        batch,
    }))
}

struct Produce {
    running: Running,
    frame: Bytes,
    /// What the frame holds.
    batch: Bytes,
}

impl Work for Produce {
    fn prepare(&mut self, times: usize) -> Result<()> {
        self.running
            .near
            .store(std::iter::repeat_n(self.frame.clone(), times))
    }

    fn check(&mut self) -> Result<()> {
        self.running.produce(self.batch.clone())
    }

    fn run(&mut self, times: usize) {
        self.running.exchange(times);
    }
}

/// Batches in the partition that is fetched from, of 150 records each.
const BATCHES: i64 = 256;
const RECORDS: i64 = 150;
/// Batches in one answer of 64 KiB.
const PER_ANSWER: i64 = 3;

pub(crate) fn fetch() -> Result<Box<dyn Work>> {
    fetch_of(1)
}

pub(crate) fn fetch_one_of_hundred() -> Result<Box<dyn Work>> {
    fetch_of(100)
}

fn fetch_of(partitions: i32) -> Result<Box<dyn Work>> {
    let mut running = Running::new(partitions)?;
    for _ in 0..BATCHES {
        running.produce(batch(RECORDS as usize)?)?;
    }
    let mut fetch = Fetch {
        running,
        session_id: 0,
        epoch: 0,
        batch: 0,
    };
    let request = fetch.request(0..partitions);
    let response = fetch.running.ask(FETCH, &request)?;
    ensure!(response.session_id != 0, "the fetch has no session");
    fetch.session_id = response.session_id;
    fetch.epoch = 1;
    Ok(Box::new(fetch))
}

/// A consumer with a session, which reads on in one partition, and begins again at the end.
struct Fetch {
    running: Running,
    session_id: i32,
    epoch: i32,
    /// The next to be fetched.
    batch: i64,
}

impl Fetch {
    /// Goes on behind what was fetched.
    fn next(&mut self) {
        self.epoch += 1;
        self.batch = (self.batch + PER_ANSWER) % (BATCHES - PER_ANSWER);
    }

    fn request(&self, partitions: impl Iterator<Item = i32>) -> FetchRequest {
        let partition = |partition| FetchPartition {
            partition,
            fetch_offset: if partition == 0 { self.batch * RECORDS } else { 0 },
            partition_max_bytes: 64 * 1024,
            ..Default::default()
        };
        let topic = FetchTopic {
            topic_id: self.running.topic_id,
            partitions: partitions.map(partition).collect(),
            ..Default::default()
        };
        FetchRequest {
            max_wait_ms: 500,
            min_bytes: 1,
            max_bytes: 1 << 20,
            session_id: self.session_id,
            session_epoch: self.epoch,
            topics: vec![topic],
            ..Default::default()
        }
    }
}

impl Work for Fetch {
    fn prepare(&mut self, times: usize) -> Result<()> {
        let mut frames = Vec::with_capacity(times);
        for _ in 0..times {
            frames.push(frame(FETCH, &self.request(0..1))?);
            self.next();
        }
        self.running.near.store(frames)
    }

    fn check(&mut self) -> Result<()> {
        let response = self.running.ask(FETCH, &self.request(0..1))?;
        ensure!(
            response.error_code == 0,
            "the fetch: error {}",
            response.error_code
        );
        self.next();
        let partition = response
            .responses
            .first()
            .and_then(|topic| topic.partitions.first());
        let partition = partition.context("the fetch has no records")?;
        ensure!(
            partition.error_code == 0,
            "the partition: error {}",
            partition.error_code
        );
        match &partition.records {
            Records::Bytes(bytes) if !bytes.is_empty() => Ok(()),
            other => bail!("the fetch has no records: {other:?}"),
        }
    }

    fn run(&mut self, times: usize) {
        self.running.exchange(times);
    }
}
