//! Bytes that no client should send: the connection is closed with one line in the log, or the request is refused with its
//! error; every other connection is served meanwhile, and the memory of requests comes back.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    missing_docs
)] // a test at the edge

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use klamm_broker::{FixedLoggers, Node};
use klamm_config::{BrokerConfig, Sources};
use klamm_env::{Env, real};
use klamm_model::{ErrorCode, Offset, TimestampMs};
use klamm_protocol::messages::create_topics_request::CreatableTopic;
use klamm_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use klamm_protocol::messages::{ApiVersionsRequest, CreateTopicsRequest, MetadataRequest, ProduceRequest};
use klamm_protocol::{ApiKey, Message, Reader, Records, Request, ResponseHeader, Writer, encode_request};
use klamm_records::{BatchBuilder, Compression};

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Closed,
    Answered,
    /// Nothing yet: the request is not whole.
    Waiting,
}

fn frame<R: Request>(version: i16, request: &R) -> Vec<u8> {
    let mut writer = Writer::contiguous();
    encode_request(&mut writer, 7, None, version, request).unwrap();
    writer.into_bytes().to_vec()
}

/// A frame of a header and `body`.
fn raw(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut request = Vec::new();
    request.extend(key.to_be_bytes());
    request.extend(version.to_be_bytes());
    request.extend(7i32.to_be_bytes());
    request.extend((-1i16).to_be_bytes());
    request.extend(body);
    let mut frame = (request.len() as i32).to_be_bytes().to_vec();
    frame.extend(request);
    frame
}

fn random(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn cases() -> Vec<(&'static str, Vec<u8>, Expected)> {
    use Expected::{Answered, Closed, Waiting};
    let metadata = ApiKey::Metadata.to_i16();
    let produce = ApiKey::Produce.to_i16();
    vec![
        ("a length of 2 GB", vec![0x7f, 0xff, 0xff, 0xff], Closed),
        ("a negative length", vec![0xff, 0xff, 0xff, 0xff], Closed),
        ("an empty request", vec![0, 0, 0, 0], Closed),
        ("a header that is cut", vec![0, 0, 0, 3, 0, 3, 0], Closed),
        ("half a frame and silence", vec![0, 0, 1, 0, 0, 3], Waiting),
        ("an unknown API", raw(999, 0, &[]), Closed),
        ("a negative API", raw(-1, 0, &[]), Closed),
        (
            "an API of the schemas that is not served",
            raw(ApiKey::Vote.to_i16(), 0, &[]),
            Closed,
        ),
        ("a version too high", raw(metadata, 99, &[]), Closed),
        ("a negative version", raw(metadata, -1, &[]), Closed),
        (
            "Produce 2, which is advertised",
            raw(produce, 2, &[0; 16]),
            Closed,
        ),
        ("ApiVersions in a version to come", raw(18, 99, &[]), Answered),
        (
            "an array of a million in ten bytes",
            raw(metadata, 1, &[0, 15, 66, 64, 0, 1]),
            Closed,
        ),
        (
            "an array longer than any",
            raw(metadata, 1, &[0x7f, 0xff, 0xff, 0xff]),
            Closed,
        ),
        (
            "a string longer than the frame",
            raw(metadata, 1, &[0, 0, 0, 1, 0x7f, 0xff]),
            Closed,
        ),
        (
            "a name that is not UTF-8",
            raw(metadata, 1, &[0, 0, 0, 1, 0, 2, 0xc3, 0x28]),
            Closed,
        ),
        (
            "bytes behind the request",
            raw(metadata, 1, &[0, 0, 0, 0, 1, 2, 3]),
            Answered,
        ),
    ]
}

fn served(stream: &mut TcpStream) {
    stream.write_all(&frame(1, &MetadataRequest::default())).unwrap();
    let mut head = [0; 4];
    stream.read_exact(&mut head).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(head) as usize];
    stream.read_exact(&mut answer).unwrap();
}

/// What becomes of a connection that sends `bytes`, and the address it has at this end.
fn outcome(address: SocketAddr, bytes: &[u8], patience: Duration) -> (Expected, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let own = stream.local_addr().unwrap().to_string();
    stream.set_read_timeout(Some(patience)).unwrap();
    // The broker may close before it has read everything.
    let _ = stream.write_all(bytes);
    let outcome = match stream.read(&mut [0; 64]) {
        Ok(0) => Expected::Closed,
        Ok(_) => Expected::Answered,
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
            ) =>
        {
            Expected::Waiting
        }
        Err(_) => Expected::Closed,
    };
    (outcome, own)
}

/// The lines of the log that tell of closed connections.
#[derive(Clone, Default)]
struct Closings(Arc<Mutex<Vec<String>>>);

impl Closings {
    /// How many reasons are given for this connection.
    fn of(&self, peer: &str) -> usize {
        let lines = self.0.lock().unwrap();
        let field = format!("peer={peer} ");
        lines.iter().filter(|line| line.contains(&field)).count()
    }

    /// The server writes the line before or after it closes the socket: waits for the first.
    fn first_of(&self, peer: &str) -> usize {
        let waited = Instant::now();
        while self.of(peer) == 0 && waited.elapsed() < Duration::from_secs(20) {
            std::thread::yield_now();
        }
        self.of(peer)
    }
}

struct Line(String);

impl tracing::field::Visit for Line {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!("{field}={value:?} "));
    }
}

impl tracing::Subscriber for Closings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
    !bytes
        .iter()
        .fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// A batch of one record of zeros, changed, with the checksum of what it then is.
fn batch(codec: Compression, bytes: usize, change: impl FnOnce(&mut [u8])) -> Bytes {
    let mut builder = BatchBuilder::new(codec);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = TimestampMs(now.as_millis() as i64);
    builder.append(now, None, Some(&vec![0; bytes]), &[]);
    let mut batch = builder.build(Offset(0)).unwrap().to_vec();
    change(&mut batch);
    let crc = crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch.into()
}

fn refused_batches() -> Vec<(&'static str, &'static str, Bytes, ErrorCode)> {
    let none = Compression::None;
    let mut wrong_crc = batch(none, 9, |_| {}).to_vec();
    wrong_crc[17] ^= 1;
    // Up to now there is one record: its count, and the offset of the last one.
    let counted = |count: i32| {
        batch(none, 9, |batch| {
            batch[57..61].copy_from_slice(&count.to_be_bytes());
            batch[23..27].copy_from_slice(&(count - 1).to_be_bytes());
        })
    };
    vec![
        (
            "a wrong checksum",
            "t",
            wrong_crc.into(),
            ErrorCode::CorruptMessage,
        ),
        (
            "a count of two for one record",
            "t",
            counted(2),
            ErrorCode::InvalidRecord,
        ),
        (
            "a count of two billion",
            "t",
            counted(i32::MAX),
            ErrorCode::InvalidRecord,
        ),
        (
            "a few bytes that unpack to 9 MB",
            "t",
            batch(Compression::Gzip, 9_000_000, |_| {}),
            ErrorCode::InvalidRecord,
        ),
        (
            "a batch above the largest size",
            "t",
            batch(none, 1_100_000, |_| {}),
            ErrorCode::MessageTooLarge,
        ),
        (
            "no batch at all",
            "t",
            Bytes::from_static(&[1; 40]),
            ErrorCode::InvalidRecord,
        ),
        (
            "a topic that could not exist",
            "no/topic",
            batch(none, 9, |_| {}),
            ErrorCode::UnknownTopicOrPartition,
        ),
    ]
}

fn ask<R: Request>(stream: &mut TcpStream, version: i16, request: &R) -> R::Response {
    stream.write_all(&frame(version, request)).unwrap();
    let mut head = [0; 4];
    stream.read_exact(&mut head).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(head) as usize];
    stream.read_exact(&mut answer).unwrap();
    let mut reader = Reader::new(answer.into());
    ResponseHeader::decode(&mut reader, R::KEY, version).unwrap();
    R::Response::decode(&mut reader, version).unwrap()
}

fn create(stream: &mut TcpStream, name: &str) -> i16 {
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
    ask(stream, 7, &request).topics[0].error_code
}

fn produce(stream: &mut TcpStream, topic: &str, batch: Bytes) -> i16 {
    let partition = PartitionProduceData {
        records: Records::Bytes(batch),
        ..Default::default()
    };
    let topic = TopicProduceData {
        name: topic.into(),
        partition_data: vec![partition],
        ..Default::default()
    };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![topic],
        ..Default::default()
    };
    ask(stream, 11, &request).responses[0].partition_responses[0].error_code
}

/// Waits until the requests that were sent hold no memory.
fn memory_comes_back(runtime: &tokio::runtime::Runtime, node: &Node) {
    let waited = Instant::now();
    loop {
        let page = runtime.block_on(node.observer().metrics());
        let used = page
            .lines()
            .find_map(|line| line.strip_prefix("klamm_request_memory_used_bytes "));
        if used == Some("0") {
            return;
        }
        assert!(
            waited.elapsed() < Duration::from_secs(20),
            "{used:?} bytes are held"
        );
        std::thread::yield_now();
    }
}

#[test]
fn bad_bytes_close_their_own_connection_and_no_other() {
    let log = Closings::default();
    tracing::subscriber::set_global_default(log.clone()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let set = [
        ("log.dirs", folder.path().to_str().unwrap()),
        ("listeners", "PLAINTEXT://127.0.0.1:0"),
        ("klamm.http.listener", ""),
        ("max.decompressed.message.bytes", "5000000"),
    ];
    let set = set
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .to_vec();
    let (config, _) = BrokerConfig::load(&Sources {
        set,
        ..Default::default()
    })
    .unwrap();
    let runtime = real::runtime(2).unwrap();
    let node = runtime
        .block_on(Node::start(Env::real(), config, Arc::new(FixedLoggers)))
        .unwrap();
    let address = node.addresses()[0].1;
    let mut good = TcpStream::connect(address).unwrap();
    good.write_all(&frame(0, &ApiVersionsRequest::default())).unwrap();
    assert!(good.read(&mut [0; 4096]).unwrap() > 100);

    let mut closed = Vec::new();
    for (name, bytes, expected) in cases() {
        let patience = Duration::from_secs(if expected == Expected::Waiting { 1 } else { 20 });
        let (found, peer) = outcome(address, &bytes, patience);
        assert_eq!(found, expected, "{name}");
        if expected == Expected::Closed {
            assert_eq!(log.first_of(&peer), 1, "{name}: reasons in the log");
        }
        closed.extend((expected == Expected::Closed).then_some((name, peer)));
        served(&mut good);
    }
    for seed in 0..200 {
        let mut stream = TcpStream::connect(address).unwrap();
        let _ = stream.write_all(&random(seed, 64 + seed as usize));
        let _ = stream.shutdown(Shutdown::Write);
        let mut rest = Vec::new();
        // Whatever it is taken for, it ends.
        let _ = stream.read_to_end(&mut rest);
    }
    served(&mut good);
    let mut bad = TcpStream::connect(address).unwrap();
    assert_eq!(create(&mut bad, "t"), 0);
    let invalid = ErrorCode::InvalidTopicException.code();
    assert_eq!(create(&mut bad, "no/topic"), invalid);
    for (name, topic, batch, expected) in refused_batches() {
        assert_eq!(produce(&mut bad, topic, batch), expected.code(), "{name}");
        served(&mut good);
    }
    assert_eq!(
        produce(&mut bad, "t", batch(Compression::None, 9, |_| {})),
        0,
        "it goes on"
    );
    memory_comes_back(&runtime, &node);
    for (name, peer) in closed {
        assert_eq!(log.of(&peer), 1, "{name}: reasons in the log at the end");
    }
    runtime.block_on(node.stop());
}
