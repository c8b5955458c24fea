//! Counts heap allocations while the tasks of connections run: none per produce and per fetch in steady state.
//!
//! A connection's task runs within a span of its own; a subscriber that knows nothing else switches the counting on and
//! off with it, on whatever thread. What runs beside the connections is apart: the quorum's timers, and the commit of a log
//! dir, whose hand-over to a thread that may block takes one allocation a round, however many requests wait for it.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    missing_docs
)] // a test at the edge

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use klamm_broker::{FixedLoggers, Node};
use klamm_config::{BrokerConfig, Sources};
use klamm_env::{Env, real};
use klamm_model::{TimestampMs, Uuid};
use klamm_protocol::messages::create_topics_request::CreatableTopic;
use klamm_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use klamm_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use klamm_protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, FetchRequest, FetchResponse, ProduceRequest,
};
use klamm_protocol::{Message, Reader, Records, Request, ResponseHeader, Writer, encode_request};
use klamm_records::{BatchBuilder, Compression};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata};

/// Counts what is allocated while a connection's task runs on the thread.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

fn count() {
    if COUNTED.try_with(Cell::get).unwrap_or(false) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

/// Switches the counting; see the head of the file.
struct Connections;

impl tracing::Subscriber for Connections {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.name() == "connection"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {
        COUNTED.set(true);
    }

    fn exit(&self, _: &Id) {
        COUNTED.set(false);
    }
}

// SAFETY: every call is handed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as the caller promised.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn frame<R: Request>(version: i16, request: &R) -> Vec<u8> {
    let mut writer = Writer::contiguous();
    encode_request(&mut writer, 7, None, version, request).unwrap();
    writer.into_bytes().to_vec()
}

fn exchange(stream: &mut TcpStream, frame: &[u8]) -> Vec<u8> {
    stream.write_all(frame).unwrap();
    let mut head = [0; 4];
    stream.read_exact(&mut head).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(head) as usize];
    stream.read_exact(&mut answer).unwrap();
    answer
}

fn decode<R: Request<Response = M>, M: Message>(version: i16, answer: Vec<u8>) -> M {
    let mut reader = Reader::new(answer.into());
    ResponseHeader::decode(&mut reader, R::KEY, version).unwrap();
    M::decode(&mut reader, version).unwrap()
}

fn produce(topic: Uuid) -> ProduceRequest {
    let mut batch = BatchBuilder::new(Compression::None);
    for _ in 0..10 {
        batch.append(TimestampMs(1_700_000_000_000), Some(b"key"), Some(&[7; 100]), &[]);
    }
    let records = Records::Bytes(batch.build(klamm_model::Offset(0)).unwrap());
    let partition_data = vec![PartitionProduceData {
        index: 0,
        records,
        ..Default::default()
    }];
    let topic_data = vec![TopicProduceData {
        topic_id: topic,
        partition_data,
        ..Default::default()
    }];
    ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data,
        ..Default::default()
    }
}

fn fetch(topic: Uuid, session: (i32, i32), topics: bool) -> FetchRequest {
    let partition = FetchPartition {
        partition: 0,
        fetch_offset: 0,
        partition_max_bytes: 4096,
        ..Default::default()
    };
    let wanted = FetchTopic {
        topic_id: topic,
        partitions: vec![partition],
        ..Default::default()
    };
    FetchRequest {
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 1 << 20,
        session_id: session.0,
        session_epoch: session.1,
        topics: if topics { vec![wanted] } else { Vec::new() },
        ..Default::default()
    }
}

/// Makes a topic and returns its id.
fn create(stream: &mut TcpStream, name: &'static str) -> Uuid {
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest {
        topics: vec![topic],
        timeout_ms: 10_000,
        ..Default::default()
    };
    let response: CreateTopicsResponse =
        decode::<CreateTopicsRequest, _>(7, exchange(stream, &frame(7, &request)));
    assert_eq!(response.topics[0].error_code, 0);
    response.topics[0].topic_id
}

fn allocations_during(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    work();
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

/// A thread that waits for a lock for the first time takes memory for waiting, once: it does so here, not on the way of a
/// request that happens to meet the commit.
fn park() {
    let (lock, never) = (parking_lot::Mutex::new(()), parking_lot::Condvar::new());
    never.wait_for(&mut lock.lock(), Duration::from_micros(1));
}

struct Fixture {
    runtime: tokio::runtime::Runtime,
    node: Node,
    stream: TcpStream,
    topic: Uuid,
    _folder: tempfile::TempDir,
}

impl Fixture {
    fn start(set: &[(&str, &str)]) -> Self {
        // Every test of the process sets the same.
        let _ = tracing::subscriber::set_global_default(Connections);
        let folder = tempfile::tempdir().unwrap();
        let fixed = [
            ("log.dirs", folder.path().to_str().unwrap()),
            ("listeners", "PLAINTEXT://127.0.0.1:0"),
            ("klamm.http.listener", ""),
        ];
        let set = fixed.iter().chain(set);
        let set = set
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let (config, _) = BrokerConfig::load(&Sources {
            set,
            ..Default::default()
        })
        .unwrap();
        let runtime = real::runtime(1).unwrap();
        let node = runtime
            .block_on(Node::start(Env::real(), config, Arc::new(FixedLoggers)))
            .unwrap();
        runtime.block_on(async { tokio::spawn(async { park() }).await.unwrap() });
        let mut stream = TcpStream::connect(node.addresses()[0].1).unwrap();
        stream.set_nodelay(true).unwrap();
        let topic = create(&mut stream, "t");
        Self {
            runtime,
            node,
            stream,
            topic,
            _folder: folder,
        }
    }

    /// Allocations in `count` of the requests, behind as many to warm up.
    fn steady<'a>(&mut self, count: usize, mut requests: impl Iterator<Item = &'a [u8]>) -> usize {
        let stream = &mut self.stream;
        let mut exchange_all = || {
            (&mut requests)
                .take(count)
                .for_each(|request| drop(exchange(stream, request)))
        };
        exchange_all();
        allocations_during(exchange_all)
    }
}

/// `count` requests of each kind are counted, behind as many to warm up.
fn produce_and_fetch(count: usize, set: &[(&str, &str)]) {
    let mut node = Fixture::start(set);
    let made = allocations_during(|| {
        create(&mut node.stream, "u");
    });
    assert!(made > 0, "connections are not counted");

    let request = frame(13, &produce(node.topic));
    let produced = node.steady(count, std::iter::repeat(&*request));
    assert_eq!(produced, 0, "in {count} produce requests");

    let request = frame(17, &fetch(node.topic, (0, -1), true));
    let fetched = node.steady(count, std::iter::repeat(&*request));
    assert_eq!(fetched, 0, "in {count} fetch requests without a session");

    let request = frame(17, &fetch(node.topic, (0, 0), true));
    let first: FetchResponse = decode::<FetchRequest, _>(17, exchange(&mut node.stream, &request));
    assert_ne!(first.session_id, 0);
    let requests: Vec<_> = (1..=2 * count as i32 + 1)
        .map(|epoch| frame(17, &fetch(node.topic, (first.session_id, epoch), false)))
        .collect();
    let fetched = node.steady(count, requests.iter().map(|request| &**request));
    assert_eq!(fetched, 0, "in {count} fetch requests of a session");
    let last = exchange(&mut node.stream, &requests[2 * count]);
    let answer: FetchResponse = decode::<FetchRequest, _>(17, last);
    assert!(answer.responses[0].partitions[0].records.len() > 1000);
    node.runtime.block_on(node.node.stop());
}

/// One after the other: what is counted is the process's.
#[test]
fn produce_and_fetch_take_no_memory_in_steady_state() {
    // Long enough for the indexes to have reached their size and to have been opened, and to be written while it is counted.
    produce_and_fetch(1_200, &[("klamm.durability", "page-cache")]);
    // A round of the device each: fewer, without an index that still grows.
    let durable = [
        ("klamm.durability", "fsync"),
        ("log.index.interval.bytes", "1073741824"),
    ];
    produce_and_fetch(200, &durable);
}
