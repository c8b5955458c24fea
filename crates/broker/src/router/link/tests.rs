//! A link and a controller that does what the test says, over pipes, on a clock that only waits move.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, BytesMut};
use klamm_env::network::BoxFuture;
use klamm_env::sim::World;
use klamm_env::task::Blocking;
use klamm_env::{File, Listener, Network, Parts, Stream};
use klamm_protocol::messages::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};
use klamm_protocol::{RequestHeader, RequestPrefix, encode_response};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;
use crate::pool::DecodePool;

const MAX_ANSWER_BYTES: usize = 1 << 20;

/// A network on which connecting gives a pipe, whose other end the test gets.
struct Pipes {
    doors: Mutex<Option<UnboundedSender<DuplexStream>>>,
}

impl Network for Pipes {
    fn listen<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }

    fn host_name(&self) -> String {
        "pipes".to_owned()
    }

    fn connect<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        let (near, far) = tokio::io::duplex(512);
        let sent = self.doors.lock().unwrap().as_ref().map(|doors| doors.send(far));
        Box::pin(async move {
            match sent {
                Some(Ok(())) => Ok(Box::new(Pipe(near)) as Box<dyn Stream>),
                _ => Err(io::ErrorKind::ConnectionRefused.into()),
            }
        })
    }
}

struct Pipe(DuplexStream);

impl Stream for Pipe {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        let mut bytes = [0; 512];
        let room = bytes.len().min(buffer.capacity() - buffer.len());
        let mut piece = ReadBuf::new(&mut bytes[..room]);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut piece))?;
        buffer.put_slice(piece.filled());
        Poll::Ready(Ok(piece.filled().len()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, &pieces[0])
    }

    fn poll_send_file(
        &mut self,
        _: &mut Context<'_>,
        _: &dyn File,
        _: u64,
        _: usize,
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn peer_addr(&self) -> SocketAddr {
        ([127, 0, 0, 1], 1).into()
    }

    fn local_addr(&self) -> SocketAddr {
        ([127, 0, 0, 1], 2).into()
    }
}

/// A link to a controller at whose door the test stands.
struct Fixture {
    env: Env,
    link: Arc<Link>,
    memory: RequestMemory,
    door: UnboundedReceiver<DuplexStream>,
}

fn fixture(reachable: bool) -> Fixture {
    let world = World::new(1);
    let (sender, door) = unbounded_channel();
    let env = Env::new(Parts {
        clock: Box::new(world.clock("node")),
        rng: Box::new(klamm_env::sim::SeededRng::new(1, "node")),
        files: Arc::new(world.disk("node")),
        network: Box::new(Pipes {
            doors: Mutex::new(reachable.then_some(sender)),
        }),
        blocking: Blocking::Inline(Duration::ZERO),
    });
    let memory = RequestMemory::new(64 * 1024);
    let limits = Limits {
        pool: Arc::new(DecodePool::new(memory.clone())),
        memory: memory.clone(),
        max_answer_bytes: MAX_ANSWER_BYTES,
    };
    let endpoint = Endpoint {
        host: "controller".to_owned(),
        port: 1,
    };
    let link = Arc::new(Link::start(
        &env,
        &Arc::default(),
        "test".to_owned(),
        endpoint,
        limits,
    ));
    Fixture {
        env,
        link,
        memory,
        door,
    }
}

type Asking = klamm_env::Task<Result<AllocateProducerIdsResponse, LinkError>>;

impl Fixture {
    /// Asks in a task of its own; the controller can tell requests apart by `broker`.
    fn ask(&self, broker: i32) -> Asking {
        let link = self.link.clone();
        self.env.spawn(async move {
            let request = AllocateProducerIdsRequest {
                broker_id: broker,
                ..Default::default()
            };
            link.ask(0, &request).await
        })
    }

    async fn accept(&mut self) -> Controller {
        Controller(self.door.recv().await.unwrap())
    }
}

/// The other end of a connection.
struct Controller(DuplexStream);

impl Controller {
    /// The next request: its correlation id and what it asks.
    async fn receive(&mut self) -> (i32, AllocateProducerIdsRequest) {
        let mut frame = vec![0; self.0.read_u32().await.unwrap() as usize];
        self.0.read_exact(&mut frame).await.unwrap();
        let mut reader = Reader::new(frame.into());
        let prefix = RequestPrefix::decode(&mut reader).unwrap();
        let header = RequestHeader::decode_rest(prefix, &mut reader).unwrap();
        let request = AllocateProducerIdsRequest::decode(&mut reader, header.api_version).unwrap();
        (header.correlation_id, request)
    }

    async fn answer(&mut self, correlation_id: i32, start: i64) {
        let response = AllocateProducerIdsResponse {
            producer_id_start: start,
            ..Default::default()
        };
        let mut writer = Writer::contiguous();
        let api = AllocateProducerIdsRequest::KEY;
        encode_response(&mut writer, api, correlation_id, 0, &response).unwrap();
        self.0.write_all(&writer.into_bytes()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn requests_overlap_and_each_gets_its_answer() {
    let mut fixture = fixture(true);
    let asking: Vec<_> = (0..200).map(|broker| fixture.ask(broker)).collect();
    let mut controller = fixture.accept().await;
    for _ in 0..asking.len() / 2 {
        // Two are under way before one is answered.
        let (first, one) = controller.receive().await;
        let (second, other) = controller.receive().await;
        controller.answer(first, i64::from(one.broker_id) * 10).await;
        controller.answer(second, i64::from(other.broker_id) * 10).await;
    }
    for (broker, asking) in asking.into_iter().enumerate() {
        let answer = asking.await.unwrap().unwrap();
        assert_eq!(answer.producer_id_start, broker as i64 * 10);
    }
    assert_eq!(fixture.memory.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_is_lost_with_the_connection_and_the_next_request_connects_again() {
    let mut fixture = fixture(true);
    for round in 0..3 {
        let asking = fixture.ask(1);
        let mut controller = fixture.accept().await;
        controller.receive().await;
        drop(controller);
        let error = asking.await.unwrap().unwrap_err();
        assert_eq!(ErrorCode::from(error), ErrorCode::NotController, "{round}");
    }
    let asking = fixture.ask(1);
    let mut controller = fixture.accept().await;
    let (id, _) = controller.receive().await;
    controller.answer(id, 5).await;
    assert_eq!(asking.await.unwrap().unwrap().producer_id_start, 5);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ended_at_rest_costs_nothing() {
    let mut fixture = fixture(true);
    for start in 0..3 {
        let asking = fixture.ask(1);
        let mut controller = fixture.accept().await;
        let (id, _) = controller.receive().await;
        controller.answer(id, start).await;
        assert_eq!(asking.await.unwrap().unwrap().producer_id_start, start);
        drop(controller);
        fixture.env.sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_none_end_the_connection() {
    let too_large = u32::try_from(MAX_ANSWER_BYTES + 1).unwrap().to_be_bytes();
    for (name, bytes, expected) in [
        ("negative", &[0xff; 4][..], ErrorCode::NotController),
        ("too large", &too_large[..], ErrorCode::NotController),
        ("no id", &[0, 0, 0, 2, 0, 0][..], ErrorCode::NotController),
        (
            "another's id",
            &[0, 0, 0, 5, 0, 0, 0x12, 0x34, 0][..],
            ErrorCode::NotController,
        ),
        // The first request of a link has the id 0.
        (
            "no body",
            &[0, 0, 0, 5, 0, 0, 0, 0, 0][..],
            ErrorCode::UnknownServerError,
        ),
    ] {
        let mut fixture = fixture(true);
        let asking = fixture.ask(1);
        let mut controller = fixture.accept().await;
        controller.receive().await;
        controller.0.write_all(bytes).await.unwrap();
        let error = asking.await.unwrap().unwrap_err();
        assert_eq!(ErrorCode::from(error), expected, "{name}");
        assert_eq!(fixture.memory.used(), 0, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_announced_answer_takes_no_more_than_a_step() {
    let mut fixture = fixture(true);
    let asking = fixture.ask(1);
    let mut controller = fixture.accept().await;
    controller.receive().await;
    // Announced and not sent: nothing but the first step is charged.
    let announced = u32::try_from(MAX_ANSWER_BYTES).unwrap().to_be_bytes();
    controller.0.write_all(&announced).await.unwrap();
    fixture.env.sleep(Duration::from_secs(1)).await;
    assert!(
        fixture.memory.used() <= 256 * 1024 + 4,
        "{}",
        fixture.memory.used()
    );
    drop(controller);
    asking.await.unwrap().unwrap_err();
    assert_eq!(fixture.memory.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_is_not_there_is_waited_for() {
    let fixture = fixture(false);
    let begun = fixture.env.monotonic();
    let error = fixture.ask(1).await.unwrap().unwrap_err();
    assert_eq!(ErrorCode::from(error), ErrorCode::RequestTimedOut);
    assert!(fixture.env.monotonic() - begun >= REQUEST_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_silent_controller_is_left() {
    let mut fixture = fixture(true);
    let asking = fixture.ask(1);
    let mut silent = fixture.accept().await;
    silent.receive().await;
    let error = asking.await.unwrap().unwrap_err();
    assert_eq!(ErrorCode::from(error), ErrorCode::RequestTimedOut);
    let asking = fixture.ask(2);
    let mut controller = fixture.accept().await;
    let (id, _) = controller.receive().await;
    controller.answer(id, 5).await;
    assert_eq!(asking.await.unwrap().unwrap().producer_id_start, 5);
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_waiting_disturbs_nobody() {
    let mut fixture = fixture(true);
    let (leaving, staying) = (fixture.ask(1), fixture.ask(2));
    let mut controller = fixture.accept().await;
    let (first, one) = controller.receive().await;
    let (second, other) = controller.receive().await;
    assert_eq!((one.broker_id, other.broker_id), (1, 2));
    leaving.abort();
    assert!(leaving.await.is_none());
    controller.answer(first, 1).await;
    controller.answer(second, 2).await;
    assert_eq!(staying.await.unwrap().unwrap().producer_id_start, 2);
}

#[tokio::test(start_paused = true)]
async fn the_connection_ends_with_the_link() {
    let mut fixture = fixture(true);
    let asking = fixture.ask(1);
    let mut controller = fixture.accept().await;
    let (id, _) = controller.receive().await;
    controller.answer(id, 5).await;
    asking.await.unwrap().unwrap();
    drop(fixture);
    assert_eq!(controller.0.read(&mut [0]).await.unwrap(), 0);
}
