//! Counts the bytes that a node keeps for a connection that rests, and for a member that waits for the others of its group.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    missing_docs
)] // a test at the edge

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use klamm_broker::{FixedLoggers, Node};
use klamm_config::{BrokerConfig, Sources};
use klamm_env::{Env, real};
use klamm_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use klamm_protocol::messages::{
    ApiVersionsRequest, DescribeGroupsRequest, FindCoordinatorRequest, JoinGroupRequest, ListGroupsRequest,
};
use klamm_protocol::{Message, RawTaggedField, Reader, Request, ResponseHeader, Writer, encode_request};

/// Sums what is allocated.
struct Summing;

static LIVE: AtomicIsize = AtomicIsize::new(0);

// SAFETY: every call is handed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Summing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LIVE.fetch_add(size as isize - layout.size() as isize, Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Summing = Summing;

fn send<R: Request>(stream: &mut TcpStream, version: i16, request: &R) {
    let mut writer = Writer::contiguous();
    encode_request(&mut writer, 7, Some(&"client".into()), version, request).unwrap();
    stream.write_all(&writer.into_bytes()).unwrap();
}

fn ask<R: Request>(stream: &mut TcpStream, version: i16, request: &R) -> R::Response {
    send(stream, version, request);
    let mut head = [0; 4];
    stream.read_exact(&mut head).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(head) as usize];
    stream.read_exact(&mut answer).unwrap();
    let mut reader = Reader::new(answer.into());
    ResponseHeader::decode(&mut reader, R::KEY, version).unwrap();
    R::Response::decode(&mut reader, version).unwrap()
}

/// Looks again and again until `is_so`.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

const MEMBERS: usize = 16;
const FRAME: usize = 1 << 20;

/// A member that is known by a name of its own waits at once. What it says that nobody knows is large.
fn join(member: usize) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: 60_000,
        rebalance_timeout_ms: 60_000,
        group_instance_id: Some(format!("instance-{member}").into()),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: Bytes::from_static(b"metadata"),
            ..Default::default()
        }],
        unknown_tagged_fields: vec![RawTaggedField {
            tag: 99,
            data: vec![7; FRAME].into(),
        }],
        ..Default::default()
    }
}

/// A node, and where it listens.
fn start(runtime: &tokio::runtime::Runtime, folder: &Path) -> (Node, SocketAddr) {
    let set = [
        ("log.dirs", folder.to_str().unwrap()),
        ("listeners", "PLAINTEXT://127.0.0.1:0"),
        ("klamm.http.listener", ""),
        ("klamm.durability", "page-cache"),
        ("offsets.topic.num.partitions", "1"),
        ("group.initial.rebalance.delay.ms", "600000"),
    ];
    let set = set.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let (config, _) = BrokerConfig::load(&Sources {
        set: set.into_iter().collect(),
        ..Default::default()
    })
    .unwrap();
    let node = runtime
        .block_on(Node::start(Env::real(), config, Arc::new(FixedLoggers)))
        .unwrap();
    let address = node.addresses()[0].1;
    (node, address)
}

/// What is allocated is counted for the whole process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

const CONNECTIONS: usize = 256;
const CONNECTION_AT_MOST: isize = 6 * 1024;

#[test]
fn a_connection_that_rests_takes_little() {
    let _alone = ONE_AT_A_TIME.lock();
    let folder = tempfile::tempdir().unwrap();
    let runtime = real::runtime(1).unwrap();
    let (node, address) = start(&runtime, folder.path());
    let connect = || {
        let mut stream = TcpStream::connect(address).unwrap();
        assert_eq!(ask(&mut stream, 2, &ApiVersionsRequest::default()).error_code, 0);
        stream
    };
    let _first = connect();
    let before = LIVE.load(Ordering::Relaxed);
    let connections: Vec<_> = (0..CONNECTIONS).map(|_| connect()).collect();
    let each = (LIVE.load(Ordering::Relaxed) - before) / CONNECTIONS as isize;
    assert!(each <= CONNECTION_AT_MOST, "{each} bytes a connection");
    drop(connections);
    runtime.block_on(node.stop());
}

#[test]
fn the_frame_of_a_join_that_waits_is_not_kept() {
    let _alone = ONE_AT_A_TIME.lock();
    let folder = tempfile::tempdir().unwrap();
    let runtime = real::runtime(1).unwrap();
    let (node, address) = start(&runtime, folder.path());
    let connect = || TcpStream::connect(address).unwrap();
    let mut stream = connect();
    let find = FindCoordinatorRequest {
        coordinator_keys: vec!["g".into()],
        ..Default::default()
    };
    wait_until("there is a coordinator", || {
        ask(&mut stream, 6, &find).coordinators[0].error_code == 0
            && ask(&mut stream, 5, &ListGroupsRequest::default()).error_code == 0
    });
    let before = LIVE.load(Ordering::Relaxed);
    let joined: Vec<_> = (0..MEMBERS)
        .map(|member| {
            let mut stream = connect();
            send(&mut stream, 9, &join(member));
            stream
        })
        .collect();
    let describe = DescribeGroupsRequest {
        groups: vec!["g".into()],
        ..Default::default()
    };
    wait_until("all have joined", || {
        ask(&mut stream, 6, &describe).groups[0].members.len() == MEMBERS
    });
    let kept = LIVE.load(Ordering::Relaxed) - before;
    let most = (MEMBERS * 64 * 1024) as isize;
    assert!(kept < most, "{MEMBERS} members take {kept} bytes");
    drop(joined);
    runtime.block_on(node.stop());
}
