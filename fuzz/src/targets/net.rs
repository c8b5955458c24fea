//! A connection that brings the input, in pieces of any size.
//!
//! Always holds: the connection ends, nothing is handled that is longer than allowed, and no memory stays charged. The
//! first byte of an input is the seed of where its bytes are cut.

use std::collections::BTreeMap;
use std::future::pending;
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use klamm_env::network::BoxFuture;
use klamm_env::sim::World;
use klamm_env::{File, Listener, Stream};
use klamm_net::{
    AdmissionLimits, Connection, ConnectionInfo, Frame, NetMetrics, Outcome, Output, Overlap, Pending,
    Refused, RequestMemory, Server, ServerConfig, Service,
};
use klamm_protocol::schema::sample::Seed;
use parking_lot::Mutex;

const MOST_REQUEST_BYTES: usize = 16 * 1024;
const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9092);

pub(super) fn sample(seed: &mut Seed) -> Vec<u8> {
    let mut input = vec![seed.next_u64() as u8];
    for _ in 0..seed.below(6) {
        let body: Vec<u8> = (0..seed.below(60)).map(|_| seed.next_u64() as u8).collect();
        input.extend((body.len() as u32).to_be_bytes());
        input.extend(body);
    }
    input
}

pub(super) fn run(input: &[u8]) {
    let Some((cut, bytes)) = input.split_first() else {
        return;
    };
    let stream = Scripted {
        bytes: Bytes::copy_from_slice(bytes),
        cut: Seed((*cut).into()),
        waited: false,
    };
    let runtime = super::paused_runtime();
    runtime.block_on(async move {
        let memory = RequestMemory::new(1024 * 1024);
        let config = ServerConfig {
            max_request_bytes: MOST_REQUEST_BYTES,
            max_idle: Duration::from_secs(600),
            admission: AdmissionLimits {
                max: 10,
                max_per_address: 10,
                overrides: BTreeMap::new(),
            },
        };
        let server = Server::new(World::new(1).env("node"), config, memory.clone(), Echo);
        server.serve(
            "PLAINTEXT".into(),
            Box::new(Once(Mutex::new(Some(Box::new(stream))))),
        );
        let ended = async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            while server.open_connections() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(60), ended).await;
        assert!(ended.is_ok(), "the connection ends when its bytes do");
        server.stop(Duration::from_secs(1)).await;
        assert_eq!(memory.used(), 0, "nothing stays charged");
    });
}

/// Brings its bytes in pieces, some of them later, and takes what it is sent in pieces.
struct Scripted {
    bytes: Bytes,
    cut: Seed,
    waited: bool,
}

impl Scripted {
    /// Whether to wait first; never twice in a row.
    fn waits(&mut self, cx: &Context<'_>) -> bool {
        self.waited = !self.waited && self.cut.below(3) == 0;
        if self.waited {
            cx.waker().wake_by_ref();
        }
        self.waited
    }

    fn some(&mut self, most: usize) -> usize {
        let bound = [2, 8, 1000, 100_000][self.cut.below(4)];
        (1 + self.cut.below(bound)).min(most)
    }
}

impl Stream for Scripted {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        if self.waits(cx) {
            return Poll::Pending;
        }
        let room = buffer.capacity() - buffer.len();
        assert!(room > 0, "a read has room");
        let length = self.some(room).min(self.bytes.len());
        buffer.extend_from_slice(&self.bytes[..length]);
        self.bytes.advance(length);
        Poll::Ready(Ok(length))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.waits(cx) {
            return Poll::Pending;
        }
        let length = pieces.iter().map(|piece| piece.len()).sum();
        Poll::Ready(Ok(self.some(length)))
    }

    fn poll_send_file(
        &mut self,
        _: &mut Context<'_>,
        _: &dyn File,
        _: u64,
        _: usize,
    ) -> Poll<io::Result<usize>> {
        unreachable!("no answer here has a file")
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn peer_addr(&self) -> SocketAddr {
        HERE
    }

    fn local_addr(&self) -> SocketAddr {
        HERE
    }
}

/// Gives one connection.
struct Once(Mutex<Option<Box<dyn Stream>>>);

impl Listener for Once {
    fn accept(&self) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        let stream = self.0.lock().take();
        Box::pin(async move {
            match stream {
                Some(stream) => Ok(stream),
                None => pending().await,
            }
        })
    }

    fn local_addr(&self) -> SocketAddr {
        HERE
    }
}

/// Sends every request back; the first byte says how.
struct Echo;

impl Service for Echo {
    type Connection = Echoing;

    fn connect(&self, _: ConnectionInfo) -> Echoing {
        Echoing
    }

    fn panicked(&self, does: &str, why: &str) {
        panic!("the task that {does} panicked: {why}");
    }

    fn metrics(&self) -> &dyn NetMetrics {
        self
    }
}

impl NetMetrics for Echo {
    fn opened(&self, _: &str) {}
    fn closed(&self, _: &str) {}
    fn refused(&self, _: &str, _: &Refused) {}
    fn received(&self, _: usize) {}
    fn sent(&self, _: usize) {}
    fn answered(&self, _: i16, _: Duration) {}
}

struct Echoing;

/// An answer that comes when it was asked for so often.
struct Later {
    after: u8,
    answer: Bytes,
}

impl Pending for Later {
    fn poll_answer(&mut self, cx: &mut Context<'_>, out: &mut Output) -> Poll<Result<(), String>> {
        if self.after > 0 {
            self.after -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        out.buffer().extend_from_slice(&self.answer);
        if self.answer.len() % 64 == 63 {
            return Poll::Ready(Err("as it happens".into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl Connection for Echoing {
    type Pending = Later;

    fn overlap(frame: &[u8]) -> Overlap {
        match frame.first().unwrap_or(&0) % 3 {
            0 => Overlap::Serial,
            1 => Overlap::SerialWait,
            _ => Overlap::Pipelined,
        }
    }

    async fn handle(&mut self, frame: Frame, out: &mut Output) -> Outcome<Later> {
        assert!(frame.bytes.len() <= MOST_REQUEST_BYTES);
        let how = frame.bytes.first().copied().unwrap_or(0);
        match (how % 3, how / 3 % 5) {
            (_, 0) => return Outcome::Silent,
            (2, 1) => {
                return Outcome::Parked(Later {
                    after: how / 15,
                    answer: frame.bytes,
                });
            }
            (_, 1) if how > 200 => return Outcome::Close("asked for it".into()),
            (_, 2) => tokio::time::sleep(Duration::from_millis(5)).await,
            _ => {}
        }
        out.buffer().extend_from_slice(&frame.bytes);
        Outcome::Answered
    }
}
