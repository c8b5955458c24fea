//! The connections of the HTTP server: few, and none that stays silent.
//!
//! Always holds: no more than [`MAX_CONNECTIONS`] are open; one that says nothing for [`IDLE`] ends, so that probes which
//! forget their connections cannot keep others out. `axum::serve` has neither limit.
#![expect(
    clippy::disallowed_types,
    reason = "an edge of the binary, which no simulation runs: axum has a listener of its own"
)]

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use klamm_env::task::Timer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Scrapers and probes keep one each: more are a mistake, and must not use up the files of the broker.
const MAX_CONNECTIONS: usize = 64;
/// Twice the usual interval between scrapes.
const IDLE: Duration = Duration::from_secs(120);

/// A listener whose connections are bounded.
pub(super) struct Bounded {
    listener: TcpListener,
    room: Arc<Semaphore>,
}

impl Bounded {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self {
            listener,
            room: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        }
    }
}

impl axum::serve::Listener for Bounded {
    type Io = Held;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Held, SocketAddr) {
        let room = self.room.clone().acquire_owned().await.expect("nobody closes it");
        let (stream, peer) = axum::serve::Listener::accept(&mut self.listener).await;
        let held = Held {
            stream,
            idle: Timer::after(IDLE),
            _room: room,
        };
        (held, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection, and its room.
pub(super) struct Held {
    stream: TcpStream,
    idle: Timer,
    _room: OwnedSemaphorePermit,
}

impl AsyncRead for Held {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let held = &mut *self;
        if let Poll::Ready(read) = Pin::new(&mut held.stream).poll_read(cx, buffer) {
            held.idle.reset(IDLE);
            return Poll::Ready(read);
        }
        // As if the client had ended it: what is being answered still goes out.
        held.idle.poll_elapsed(cx).map(Ok)
    }
}

impl AsyncWrite for Held {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
