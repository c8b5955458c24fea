//! The rules of a connection, over real sockets: order of answers, what overlaps, what is refused, how it stops.
//!
//! The test service answers a frame with `=` and the frame. The first byte says how: `s` at once; `p` parked until the
//! test releases it; `i` could be parked too and is answered at once; `e` is parked and cannot be answered; `w` waits until
//! the server stops (and may be given up); `W` does so even then; `b` is answered with 64 MiB; `u` reserves less memory than
//! its answer takes; `n` is silent; `c` ends the connection.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    missing_docs
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes};
use klamm_env::Env;
use klamm_env::network::BoxFuture;
use klamm_net::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};

/// Pieces of 1 MiB that a `b` is answered with.
const BIG_PIECES: u32 = 64;
/// What a `u` is answered with.
const UNDERESTIMATED_BYTES: usize = 64 * 1024;

#[derive(Default)]
struct Seen {
    started: AtomicUsize,
    given_up: AtomicUsize,
    closed: AtomicUsize,
    answered: std::sync::Mutex<Vec<(i16, Duration)>>,
    panicked: std::sync::Mutex<Vec<String>>,
    changed: Notify,
}

impl Seen {
    async fn until(&self, what: impl Fn(&Seen) -> bool) {
        loop {
            let changed = self.changed.notified();
            if what(self) {
                return;
            }
            changed.await;
        }
    }
}

#[derive(Clone)]
struct Echo {
    seen: Arc<Seen>,
    release: Arc<Semaphore>,
    memory: RequestMemory,
    stopping: Stopping,
}

struct Parked {
    frame: Bytes,
    released: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
}

fn answer(frame: &[u8], out: &mut Output) {
    out.buffer().put_u32(frame.len() as u32 + 1);
    out.buffer().put_u8(b'=');
    let at = out.buffer().len();
    out.insert(at, Piece::Bytes(Bytes::copy_from_slice(frame)));
    out.end_answer(frame.first().map_or(0, |kind| i16::from(*kind)));
}

impl Pending for Parked {
    fn poll_answer(&mut self, cx: &mut Context<'_>, out: &mut Output) -> Poll<Result<(), String>> {
        std::task::ready!(self.released.as_mut().poll(cx));
        if self.frame.starts_with(b"e") {
            return Poll::Ready(Err("no answer".into()));
        }
        answer(&self.frame, out);
        Poll::Ready(Ok(()))
    }
}

struct GivenUp(Arc<Seen>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.given_up.fetch_add(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }
}

impl Connection for Echo {
    type Pending = Parked;

    fn overlap(frame: &[u8]) -> Overlap {
        match frame.first() {
            Some(b'p' | b'i' | b'e') => Overlap::Pipelined,
            Some(b'w' | b'W') => Overlap::SerialWait,
            _ => Overlap::Serial,
        }
    }

    async fn handle(&mut self, frame: Frame, out: &mut Output) -> Outcome<Parked> {
        self.seen.started.fetch_add(1, Ordering::SeqCst);
        self.seen.changed.notify_waiters();
        match frame.bytes.first() {
            Some(b'p' | b'e') => {
                let release = self.release.clone();
                let released = Box::pin(async move { release.acquire_owned().await.unwrap().forget() });
                Outcome::Parked(Parked {
                    frame: frame.bytes,
                    released,
                })
            }
            Some(b'w') => {
                let _guard = GivenUp(self.seen.clone());
                std::future::poll_fn(|_| match self.stopping.has_begun() {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                })
                .await;
                answer(&frame.bytes, out);
                Outcome::Answered
            }
            Some(b'W') => {
                let _guard = GivenUp(self.seen.clone());
                std::future::pending().await
            }
            Some(b'b') => {
                let piece = Bytes::from(vec![0; 1 << 20]);
                out.buffer().put_u32(BIG_PIECES << 20);
                let at = out.buffer().len();
                (0..BIG_PIECES).for_each(|_| out.insert(at, Piece::Bytes(piece.clone())));
                out.end_answer(b'b'.into());
                Outcome::Answered
            }
            Some(b'u') => {
                let mut charge = self.memory.charge();
                charge.grow(UNDERESTIMATED_BYTES / 2).await;
                out.hold(charge);
                answer(&[b'u'; UNDERESTIMATED_BYTES], out);
                Outcome::Answered
            }
            Some(b'n') => Outcome::Silent,
            Some(b'c') => Outcome::Close("asked to".into()),
            _ => {
                answer(&frame.bytes, out);
                Outcome::Answered
            }
        }
    }
}

impl Service for Echo {
    type Connection = Echo;

    fn connect(&self, info: ConnectionInfo) -> Echo {
        Echo {
            stopping: info.stopping,
            ..self.clone()
        }
    }

    fn panicked(&self, does: &str, why: &str) {
        self.seen.panicked.lock().unwrap().push(format!("{does}: {why}"));
        self.seen.changed.notify_waiters();
    }

    fn metrics(&self) -> &dyn NetMetrics {
        self
    }
}

impl NetMetrics for Echo {
    fn opened(&self, _: &str) {}
    fn closed(&self, _: &str) {
        self.seen.closed.fetch_add(1, Ordering::SeqCst);
        self.seen.changed.notify_waiters();
    }
    fn refused(&self, _: &str, _: &Refused) {}
    fn received(&self, _: usize) {}
    fn sent(&self, _: usize) {}
    fn answered(&self, kind: i16, took: Duration) {
        self.seen.answered.lock().unwrap().push((kind, took));
        self.seen.changed.notify_waiters();
    }
}

struct Fixture {
    server: Server<Echo>,
    seen: Arc<Seen>,
    release: Arc<Semaphore>,
    memory: RequestMemory,
    address: std::net::SocketAddr,
}

async fn fixture(max_connections: usize) -> Fixture {
    let env = Env::real();
    let seen = Arc::new(Seen::default());
    let release = Arc::new(Semaphore::new(0));
    let memory = RequestMemory::new(1 << 22);
    let echo = Echo {
        seen: seen.clone(),
        release: release.clone(),
        memory: memory.clone(),
        stopping: Stopping::default(),
    };
    let admission = AdmissionLimits {
        max: max_connections,
        max_per_address: 100,
        overrides: Default::default(),
    };
    let config = ServerConfig {
        max_request_bytes: 1 << 20,
        max_idle: Duration::from_secs(600),
        admission,
    };
    let server = Server::new(env.clone(), config, memory.clone(), echo);
    let listener = env.network().listen("127.0.0.1", 0).await.unwrap();
    let address = listener.local_addr();
    server.serve("TEST".into(), listener);
    Fixture {
        server,
        seen,
        release,
        memory,
        address,
    }
}

fn frames(texts: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for text in texts {
        bytes.put_u32(text.len() as u32);
        bytes.put_slice(text.as_bytes());
    }
    bytes
}

async fn receive(client: &mut TcpStream) -> Option<String> {
    let len = client.read_u32().await.ok()?;
    let mut text = vec![0; len as usize];
    client.read_exact(&mut text).await.unwrap();
    Some(String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn answers_come_in_the_order_of_the_requests() {
    let f = fixture(10).await;
    let mut client = TcpStream::connect(f.address).await.unwrap();
    client
        .write_all(&frames(&["s1", "n", "s2", "", "s3"]))
        .await
        .unwrap();
    for expected in ["=s1", "=s2", "=", "=s3"] {
        assert_eq!(receive(&mut client).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn pipelined_requests_overlap_and_others_wait_behind_them() {
    let f = fixture(10).await;
    let mut client = TcpStream::connect(f.address).await.unwrap();
    client
        .write_all(&frames(&["p1", "p2", "p3", "s4", "p5"]))
        .await
        .unwrap();
    f.seen
        .until(|seen| seen.started.load(Ordering::SeqCst) == 3)
        .await;
    f.release.add_permits(2);
    assert_eq!(receive(&mut client).await.unwrap(), "=p1");
    assert_eq!(receive(&mut client).await.unwrap(), "=p2");
    assert_eq!(
        f.seen.started.load(Ordering::SeqCst),
        3,
        "s4 must not start while p3 is parked"
    );
    f.release.add_permits(2);
    for expected in ["=p3", "=s4", "=p5"] {
        assert_eq!(receive(&mut client).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn an_answer_that_is_there_at_once_does_not_overtake_a_parked_one() {
    let f = fixture(10).await;
    let mut client = TcpStream::connect(f.address).await.unwrap();
    client
        .write_all(&frames(&["i0", "p1", "i2", "p3", "i4", "s5"]))
        .await
        .unwrap();
    f.seen
        .until(|seen| seen.started.load(Ordering::SeqCst) == 5)
        .await;
    assert_eq!(receive(&mut client).await.unwrap(), "=i0");
    f.release.add_permits(2);
    for expected in ["=p1", "=i2", "=p3", "=i4", "=s5"] {
        assert_eq!(receive(&mut client).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn each_answer_is_told_with_its_kind_and_the_time_that_it_waited_for_the_socket() {
    let f = fixture(10).await;
    let mut client = TcpStream::connect(f.address).await.unwrap();
    client.write_all(&frames(&["s1", "p2", "i3"])).await.unwrap();
    f.release.add_permits(1);
    let told = |count: usize| move |seen: &Seen| seen.answered.lock().unwrap().len() == count;
    f.seen.until(told(3)).await;
    // Far more than the system takes for a client that does not read.
    client.write_all(&frames(&["b", "s"])).await.unwrap();
    for _ in 0..3 {
        receive(&mut client).await.unwrap();
    }
    let len = client.read_u32().await.unwrap() as usize;
    client.read_exact(&mut vec![0; len]).await.unwrap();
    assert_eq!(receive(&mut client).await.unwrap(), "=s");
    f.seen.until(told(5)).await;
    let answered = f.seen.answered.lock().unwrap();
    let kinds: Vec<_> = answered.iter().map(|(kind, _)| *kind as u8 as char).collect();
    assert_eq!(kinds.iter().collect::<String>(), "spibs");
    assert!(
        answered[..3].iter().all(|(_, took)| took.is_zero()),
        "{answered:?}"
    );
    assert!(!answered[3].1.is_zero(), "{answered:?}");
}

#[tokio::test]
async fn what_was_read_is_handled_though_the_client_has_closed() {
    let f = fixture(10).await;
    let mut client = TcpStream::connect(f.address).await.unwrap();
    client.write_all(&frames(&["n", "n", "s"])).await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(receive(&mut client).await.unwrap(), "=s");
    f.seen.until(|seen| seen.closed.load(Ordering::SeqCst) == 1).await;
    assert_eq!(f.seen.started.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_wait_is_given_up_when_the_client_goes_away() {
    let f = fixture(10).await;
    let mut client = TcpStream::connect(f.address).await.unwrap();
    client.write_all(&frames(&["w"])).await.unwrap();
    f.seen
        .until(|seen| seen.started.load(Ordering::SeqCst) == 1)
        .await;
    drop(client);
    f.seen
        .until(|seen| seen.given_up.load(Ordering::SeqCst) == 1)
        .await;
    f.seen.until(|seen| seen.closed.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test]
async fn an_answer_that_cannot_be_written_ends_the_connection_instead_of_shifting_the_others() {
    let f = fixture(10).await;
    let mut client = TcpStream::connect(f.address).await.unwrap();
    client
        .write_all(&frames(&["p1", "e2", "p3", "i4"]))
        .await
        .unwrap();
    f.seen
        .until(|seen| seen.started.load(Ordering::SeqCst) == 4)
        .await;
    f.release.add_permits(3);
    assert_eq!(receive(&mut client).await.unwrap(), "=p1");
    assert_eq!(receive(&mut client).await, None);
}

#[tokio::test]
async fn a_wait_is_answered_when_the_server_stops() {
    let f = fixture(10).await;
    let mut client = TcpStream::connect(f.address).await.unwrap();
    client.write_all(&frames(&["w"])).await.unwrap();
    f.seen
        .until(|seen| seen.started.load(Ordering::SeqCst) == 1)
        .await;
    f.server.stop(Duration::from_secs(600)).await;
    assert_eq!(receive(&mut client).await.unwrap(), "=w");
    assert_eq!(receive(&mut client).await, None);
}

#[tokio::test]
async fn a_connection_that_stays_busy_is_gone_when_the_stop_returns() {
    let f = fixture(10).await;
    let mut client = TcpStream::connect(f.address).await.unwrap();
    client.write_all(&frames(&["W"])).await.unwrap();
    f.seen
        .until(|seen| seen.started.load(Ordering::SeqCst) == 1)
        .await;
    f.server.stop(Duration::from_millis(10)).await;
    assert_eq!(f.seen.given_up.load(Ordering::SeqCst), 1, "its task has ended");
    assert_eq!(f.seen.closed.load(Ordering::SeqCst), 1);
    assert_eq!(receive(&mut client).await, None);
}

#[tokio::test]
async fn bad_lengths_close_only_their_own_connection() {
    let f = fixture(10).await;
    let mut half = TcpStream::connect(f.address).await.unwrap();
    half.write_all(&[0, 0, 1, 0, b's']).await.unwrap();
    for head in [
        [0x7f, 0xff, 0xff, 0xff],
        [0xff, 0xff, 0xff, 0xff],
        [0, 0x10, 0, 1],
    ] {
        let mut bad = TcpStream::connect(f.address).await.unwrap();
        bad.write_all(&head).await.unwrap();
        assert_eq!(bad.read(&mut [0; 8]).await.unwrap_or(0), 0);
    }
    let mut good = TcpStream::connect(f.address).await.unwrap();
    good.write_all(&frames(&["s", "c", "s"])).await.unwrap();
    assert_eq!(receive(&mut good).await.unwrap(), "=s");
    assert_eq!(receive(&mut good).await, None);
}

#[tokio::test]
async fn a_large_frame_arrives_whole_and_its_memory_is_given_back() {
    let f = fixture(10).await;
    let mut client = TcpStream::connect(f.address).await.unwrap();
    let text = format!("s{}", "x".repeat(1_000_000));
    client.write_all(&frames(&[&text])).await.unwrap();
    assert_eq!(receive(&mut client).await.unwrap(), format!("={text}"));
    drop(client);
    f.seen.until(|seen| seen.closed.load(Ordering::SeqCst) == 1).await;
    f.server.stop(Duration::from_secs(5)).await;
    assert_eq!(f.memory.used(), 0);
}

#[tokio::test]
async fn an_answer_larger_than_was_reserved_goes_out_though_the_memory_is_used_up() {
    let f = fixture(10).await;
    let mut others = f.memory.charge();
    assert!(others.try_grow(f.memory.limit()));
    // Each in turn may overdraw: none may wait for what it has itself.
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = TcpStream::connect(f.address).await.unwrap();
        client.write_all(&frames(&["u"])).await.unwrap();
        clients.push(client);
    }
    for client in &mut clients {
        let answer = tokio::time::timeout(Duration::from_secs(10), receive(client)).await;
        let answer = answer.expect("it waits for itself").unwrap();
        assert_eq!(answer.len(), 1 + UNDERESTIMATED_BYTES);
    }
    drop((others, clients));
    f.seen.until(|seen| seen.closed.load(Ordering::SeqCst) == 3).await;
    assert_eq!(f.memory.used(), 0);
}

#[tokio::test]
async fn connections_beyond_the_limit_are_refused() {
    let f = fixture(1).await;
    let mut first = TcpStream::connect(f.address).await.unwrap();
    first.write_all(&frames(&["s"])).await.unwrap();
    assert_eq!(receive(&mut first).await.unwrap(), "=s");
    let mut second = TcpStream::connect(f.address).await.unwrap();
    // It may be closed already.
    let _ = second.write_all(&frames(&["s"])).await;
    assert_eq!(receive(&mut second).await, None);
    drop(first);
    f.seen.until(|seen| seen.closed.load(Ordering::SeqCst) == 1).await;
    let mut third = TcpStream::connect(f.address).await.unwrap();
    third.write_all(&frames(&["s"])).await.unwrap();
    assert_eq!(receive(&mut third).await.unwrap(), "=s");
}

/// A listener that fails in a way nobody thought of.
struct Broken;

impl klamm_env::Listener for Broken {
    fn accept(&self) -> BoxFuture<'_, std::io::Result<Box<dyn klamm_env::Stream>>> {
        Box::pin(async { panic!("out of order") })
    }

    fn local_addr(&self) -> std::net::SocketAddr {
        ([127, 0, 0, 1], 1).into()
    }
}

#[tokio::test]
async fn a_panic_of_what_accepts_connections_is_told() {
    let f = fixture(10).await;
    f.server.serve("BROKEN".into(), Box::new(Broken));
    f.seen
        .until(|seen| !seen.panicked.lock().unwrap().is_empty())
        .await;
    assert_eq!(
        *f.seen.panicked.lock().unwrap(),
        ["accepts connections: out of order"]
    );
    f.server.stop(Duration::from_secs(30)).await;
}

#[tokio::test]
async fn stopping_lets_what_is_under_way_end() {
    let f = fixture(10).await;
    let mut client = TcpStream::connect(f.address).await.unwrap();
    client.write_all(&frames(&["p"])).await.unwrap();
    f.seen
        .until(|seen| seen.started.load(Ordering::SeqCst) == 1)
        .await;
    let server = f.server.clone();
    let stopped = tokio::spawn(async move { server.stop(Duration::from_secs(30)).await });
    f.release.add_permits(1);
    assert_eq!(receive(&mut client).await.unwrap(), "=p");
    assert_eq!(receive(&mut client).await, None);
    stopped.await.unwrap();
}
