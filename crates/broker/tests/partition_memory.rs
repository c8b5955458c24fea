//! Counts the bytes that a node keeps for a partition, everything included: the metadata's image, the log, its producers.
//! The goal is 1 KB; what is known to be kept stands below, and anything above it is found here.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    missing_docs
)] // a test at the edge

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::{Duration, Instant};

use klamm_broker::{FixedLoggers, Node};
use klamm_config::{BrokerConfig, Sources};
use klamm_env::{Env, real};
use klamm_model::{Offset, ProducerEpoch, ProducerId, TimestampMs, Uuid};
use klamm_protocol::messages::create_topics_request::CreatableTopic;
use klamm_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use klamm_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse, ProduceRequest, ProduceResponse};
use klamm_protocol::{Message, Reader, Records, Request, ResponseHeader, Writer, encode_request};
use klamm_records::{BatchBuilder, Compression};

/// Sums what is allocated, in the size classes of the allocator that the binary has.
struct Summing;

static LIVE: AtomicIsize = AtomicIsize::new(0);

/// 8, up to 128 in steps of 16, then four classes to each doubling.
fn class(size: usize) -> isize {
    let step = match size {
        ..=8 => 8,
        9..=128 => 16,
        _ => size.next_power_of_two() / 8,
    };
    size.max(1).next_multiple_of(step) as isize
}

// SAFETY: every call is handed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Summing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(class(layout.size()), Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(class(layout.size()), Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LIVE.fetch_add(class(size) - class(layout.size()), Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Summing = Summing;

fn ask<R: Request>(stream: &mut TcpStream, version: i16, request: &R) -> R::Response {
    let mut writer = Writer::contiguous();
    encode_request(&mut writer, 7, None, version, request).unwrap();
    stream.write_all(&writer.into_bytes()).unwrap();
    let mut head = [0; 4];
    stream.read_exact(&mut head).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(head) as usize];
    stream.read_exact(&mut answer).unwrap();
    let mut reader = Reader::new(answer.into());
    ResponseHeader::decode(&mut reader, R::KEY, version).unwrap();
    R::Response::decode(&mut reader, version).unwrap()
}

/// Makes a topic and returns its id.
fn create(stream: &mut TcpStream, name: &str, partitions: i32) -> Uuid {
    let topic = CreatableTopic {
        name: name.to_owned().into(),
        num_partitions: partitions,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest {
        topics: vec![topic],
        timeout_ms: 10_000,
        ..Default::default()
    };
    let response: CreateTopicsResponse = ask(stream, 7, &request);
    assert_eq!(response.topics[0].error_code, 0);
    response.topics[0].topic_id
}

/// One record of an idempotent producer to each partition.
fn write_each(stream: &mut TcpStream, topic: Uuid, partitions: i32) {
    for index in 0..partitions {
        let mut batch =
            BatchBuilder::new(Compression::None).producer(ProducerId(7), ProducerEpoch(0), Some(0));
        batch.append(TimestampMs(1_700_000_000_000), Some(b"key"), Some(&[7; 100]), &[]);
        let partition_data = vec![PartitionProduceData {
            index,
            records: Records::Bytes(batch.build(Offset(0)).unwrap()),
            ..Default::default()
        }];
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![TopicProduceData {
                topic_id: topic,
                partition_data,
                ..Default::default()
            }],
            ..Default::default()
        };
        let response: ProduceResponse = ask(stream, 13, &request);
        assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    }
}

/// What is live once it is no more than `goal`, or has stopped to fall for as long as `patience`: what is done behind the
/// answers lets go of its memory some time later.
fn at_rest(goal: isize, patience: Duration) -> isize {
    let (mut least, mut since) = (isize::MAX, Instant::now());
    while least > goal && since.elapsed() < patience {
        std::thread::sleep(Duration::from_millis(50));
        let live = LIVE.load(Ordering::Relaxed);
        if live < least - 1024 {
            (least, since) = (live, Instant::now());
        }
    }
    least
}

/// Of the beginning nothing is known that it should come to. Found too large, it would let more pass, and fail nothing.
const REST: Duration = Duration::from_millis(600);
/// Only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(20);
const PARTITIONS: i32 = 600;

/// What is known to stay, in bytes: the partition with its log and role 450, a segment with its files 250, what a log's parts
/// share 80, the image 200, the place in the commit's queue 60, and what the metadata log keeps of the decision.
const NEVER_WRITTEN: isize = 1_850;
/// Above that: an open file 90, a producer 100, where reads go on 130, the checkpoints' three lists 150.
const WRITTEN: isize = 2_150;

#[test]
fn a_partition_takes_no_more_memory_than_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let set = [
        ("log.dirs", folder.path().to_str().unwrap()),
        ("listeners", "PLAINTEXT://127.0.0.1:0"),
        ("klamm.http.listener", ""),
        ("klamm.durability", "page-cache"),
    ];
    let set = set.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let (config, _) = BrokerConfig::load(&Sources {
        set: set.into_iter().collect(),
        ..Default::default()
    })
    .unwrap();
    let runtime = real::runtime(1).unwrap();
    let node = runtime
        .block_on(Node::start(Env::real(), config, Arc::new(FixedLoggers)))
        .unwrap();
    let mut stream = TcpStream::connect(node.addresses()[0].1).unwrap();
    // What is taken once is not what a partition takes.
    let small = create(&mut stream, "small", 20);
    write_each(&mut stream, small, 20);

    let before = at_rest(0, REST);
    let topic = create(&mut stream, "t", PARTITIONS);
    let made = at_rest(before + NEVER_WRITTEN * PARTITIONS as isize, PATIENCE);
    write_each(&mut stream, topic, PARTITIONS);
    let written = at_rest(before + WRITTEN * PARTITIONS as isize, PATIENCE);
    let each = |from, to: isize| (to - from) / PARTITIONS as isize;
    let (never_written, once_written) = (each(before, made), each(before, written));
    let found = format!("never written: {never_written} bytes, written: {once_written} bytes");
    assert!(never_written <= NEVER_WRITTEN, "{found}");
    assert!(once_written <= WRITTEN, "{found}");
    runtime.block_on(node.stop());
}
