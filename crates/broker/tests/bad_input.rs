//! Bytes that no client should send: the connection is closed, and every other one is served meanwhile.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    missing_docs
)] // a test at the edge

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use klamm_broker::{FixedLoggers, Node};
use klamm_config::{BrokerConfig, Sources};
use klamm_env::{Env, real};
use klamm_protocol::messages::{ApiVersionsRequest, MetadataRequest};
use klamm_protocol::{ApiKey, Request, Writer, encode_request};

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

fn outcome(address: SocketAddr, bytes: &[u8], patience: Duration) -> Expected {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(patience)).unwrap();
    // The broker may close before it has read everything.
    let _ = stream.write_all(bytes);
    match stream.read(&mut [0; 64]) {
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
    }
}

#[test]
fn bad_bytes_close_their_own_connection_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let set = [
        ("log.dirs", folder.path().to_str().unwrap()),
        ("listeners", "PLAINTEXT://127.0.0.1:0"),
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
    let runtime = real::runtime(2).unwrap();
    let node = runtime
        .block_on(Node::start(Env::real(), config, Arc::new(FixedLoggers)))
        .unwrap();
    let address = node.addresses()[0].1;
    let mut good = TcpStream::connect(address).unwrap();
    good.write_all(&frame(0, &ApiVersionsRequest::default())).unwrap();
    assert!(good.read(&mut [0; 4096]).unwrap() > 100);

    for (name, bytes, expected) in cases() {
        let patience = Duration::from_secs(if expected == Expected::Waiting { 1 } else { 20 });
        assert_eq!(outcome(address, &bytes, patience), expected, "{name}");
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
    runtime.block_on(node.stop());
}
