//! Counts heap allocations on the broker's thread: none per produce and per fetch in steady state.
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

/// Counts what is allocated on threads that asked to be counted.
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

const WARM_UP: usize = 300;
const COUNTED_REQUESTS: usize = 1_000;
/// What everything else on the thread (timers of the quorum, indexes) may take meanwhile: far less than one a request.
const SLACK: usize = COUNTED_REQUESTS / 10;

#[test]
fn produce_and_fetch_take_no_memory_in_steady_state() {
    let folder = tempfile::tempdir().unwrap();
    let set = [
        ("log.dirs", folder.path().to_str().unwrap()),
        ("listeners", "PLAINTEXT://127.0.0.1:0"),
        ("klamm.durability", "page-cache"),
        ("klamm.http.listener", ""),
    ];
    let set = set
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .to_vec();
    let (config, _) = BrokerConfig::load(&Sources {
        set,
        ..Default::default()
    })
    .unwrap();
    let runtime = real::runtime(1).unwrap();
    let node = runtime
        .block_on(Node::start(Env::real(), config, Arc::new(FixedLoggers)))
        .unwrap();
    let mut stream = TcpStream::connect(node.addresses()[0].1).unwrap();
    stream.set_nodelay(true).unwrap();
    let topic = create(&mut stream, "t");
    // The one worker thread runs everything but blocking work.
    runtime.block_on(async { tokio::spawn(async { COUNTED.set(true) }).await.unwrap() });

    let made = allocations_during(|| {
        create(&mut stream, "u");
    });
    assert!(made > 0, "the broker's thread is not counted");

    let request = frame(13, &produce(topic));
    (0..WARM_UP).for_each(|_| drop(exchange(&mut stream, &request)));
    let produced = allocations_during(|| {
        (0..COUNTED_REQUESTS).for_each(|_| drop(exchange(&mut stream, &request)));
    });
    assert!(
        produced <= SLACK,
        "{produced} allocations in {COUNTED_REQUESTS} produce requests"
    );

    let first: FetchResponse =
        decode::<FetchRequest, _>(17, exchange(&mut stream, &frame(17, &fetch(topic, (0, 0), true))));
    assert_ne!(first.session_id, 0);
    let requests: Vec<_> = (1..=(WARM_UP + COUNTED_REQUESTS) as i32)
        .map(|epoch| frame(17, &fetch(topic, (first.session_id, epoch), false)))
        .collect();
    let (warm_up, counted) = requests.split_at(WARM_UP);
    for request in warm_up {
        let answer: FetchResponse = decode::<FetchRequest, _>(17, exchange(&mut stream, request));
        assert!(answer.responses[0].partitions[0].records.len() > 1000);
    }
    let fetched = allocations_during(|| {
        counted
            .iter()
            .for_each(|request| drop(exchange(&mut stream, request)))
    });
    assert!(
        fetched <= SLACK,
        "{fetched} allocations in {COUNTED_REQUESTS} fetch requests"
    );
    runtime.block_on(node.stop());
}
