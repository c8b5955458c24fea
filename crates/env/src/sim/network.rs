//! Turmoil's network behind [`crate::network`].
//!
//! Always holds: a file is sent by copying it, so that the same bytes travel in the same pieces whatever the file is. Reads
//! and writes are cut short now and then, as seeded: nothing may count on getting all at once. What a stream
//! takes and gives is noted in the trace.
//!
//! What turmoil does not do: a segment that a partition dropped is not sent again, so the stream stalls until one of its
//! sides gives up; the machine that loses power still closes its streams.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

use super::clock::{SeededRng, SimTime};
use super::trace::{Trace, fingerprint};
use crate::files::File;
use crate::network::{BoxFuture, Listener, Network, Stream};

/// The most that one call takes or gives; more than the largest segment of a real network card.
const MAX_PIECE_BYTES: usize = 64 * 1024;
/// One in so many calls takes or gives less than it could.
const SHORT_ONE_IN: u64 = 8;

/// The network as one host sees it.
#[derive(Clone)]
pub struct SimNetwork {
    host: Arc<str>,
    time: SimTime,
    trace: Trace,
    rng: SeededRng,
}

impl SimNetwork {
    pub(super) fn new(host: &str, time: SimTime, trace: Trace, rng: SeededRng) -> Self {
        Self {
            host: host.into(),
            time,
            trace,
            rng,
        }
    }

    fn note(&self, what: std::fmt::Arguments<'_>) {
        self.trace.note(self.time.elapsed(), &self.host, what);
    }

    /// How much of `len` bytes a call handles.
    fn piece(&self, len: usize) -> usize {
        let most = len.min(MAX_PIECE_BYTES);
        if most > 1 && self.rng.one_in(SHORT_ONE_IN) {
            1 + self.rng.below(most as u64 - 1) as usize
        } else {
            most
        }
    }

    fn stream(&self, stream: TcpStream) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(SimStream {
            peer: stream.peer_addr()?,
            local: stream.local_addr()?,
            stream,
            network: self.clone(),
            buffer: vec![0; MAX_PIECE_BYTES].into(),
            is_shut: false,
        }))
    }
}

/// The one family that turmoil's hosts have here is IPv4.
fn bound_address(host: &str, port: u16) -> SocketAddr {
    let ip = match host {
        "localhost" | "127.0.0.1" | "::1" => Ipv4Addr::LOCALHOST,
        // A name or address of this host: turmoil binds all of them or none.
        _ => Ipv4Addr::UNSPECIFIED,
    };
    (ip, port).into()
}

fn check_simulation() -> io::Result<()> {
    if turmoil::in_simulation() {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "the simulated network works within a simulation only",
    ))
}

impl Network for SimNetwork {
    fn host_name(&self) -> String {
        self.host.to_string()
    }

    fn listen<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            check_simulation()?;
            let listener = TcpListener::bind(bound_address(host, port)).await?;
            let address = listener.local_addr()?;
            self.note(format_args!("listen {address}"));
            Ok(Box::new(SimListener {
                listener,
                address,
                network: self.clone(),
            }) as Box<dyn Listener>)
        })
    }

    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            check_simulation()?;
            let host = if host == "localhost" { "127.0.0.1" } else { host };
            match TcpStream::connect((host, port)).await {
                Ok(stream) => {
                    self.note(format_args!("connect {host}:{port} as {}", stream.local_addr()?));
                    self.stream(stream)
                }
                Err(error) => {
                    self.note(format_args!("connect {host}:{port} failed: {:?}", error.kind()));
                    Err(error)
                }
            }
        })
    }
}

/// A listening socket.
struct SimListener {
    listener: TcpListener,
    address: SocketAddr,
    network: SimNetwork,
}

impl Listener for SimListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let (stream, peer) = self.listener.accept().await?;
            self.network
                .note(format_args!("accept {peer} at {}", self.address));
            self.network.stream(stream)
        })
    }

    fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

/// A connection.
struct SimStream {
    stream: TcpStream,
    peer: SocketAddr,
    local: SocketAddr,
    network: SimNetwork,
    /// What is read, or gathered to be written, passes through here.
    buffer: Box<[u8]>,
    is_shut: bool,
}

impl SimStream {
    fn poll_send(&mut self, cx: &mut Context<'_>, len: usize) -> Poll<io::Result<usize>> {
        let taken = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.buffer[..len]));
        match &taken {
            Ok(n) => {
                let hash = fingerprint(&[IoSlice::new(&self.buffer[..*n])]);
                self.network
                    .note(format_args!("{} -> {} {n} {hash:016x}", self.local, self.peer));
            }
            Err(error) => {
                self.network
                    .note(format_args!("{} -> {} {:?}", self.local, self.peer, error.kind()))
            }
        }
        Poll::Ready(taken)
    }
}

impl Stream for SimStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        let room = buffer.capacity() - buffer.len();
        let piece = self.network.piece(room);
        let mut into = ReadBuf::new(&mut self.buffer[..piece]);
        let result = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut into));
        let read = into.filled();
        buffer.extend_from_slice(read);
        let n = read.len();
        match &result {
            Ok(()) => self
                .network
                .note(format_args!("{} <- {} {n}", self.local, self.peer)),
            Err(error) => {
                self.network
                    .note(format_args!("{} <- {} {:?}", self.local, self.peer, error.kind()))
            }
        }
        Poll::Ready(result.map(|()| n))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let len = pieces.iter().map(|piece| piece.len()).sum();
        let wanted = self.network.piece(len);
        let mut gathered = 0;
        for piece in pieces {
            let n = piece.len().min(wanted - gathered);
            self.buffer[gathered..gathered + n].copy_from_slice(&piece[..n]);
            gathered += n;
        }
        self.poll_send(cx, gathered)
    }

    fn poll_send_file(
        &mut self,
        cx: &mut Context<'_>,
        file: &dyn File,
        offset: u64,
        len: usize,
    ) -> Poll<io::Result<usize>> {
        let wanted = self.network.piece(len);
        let n = file.read_at(&mut self.buffer[..wanted], offset)?;
        if n == 0 {
            return Poll::Ready(Ok(0));
        }
        self.poll_send(cx, n)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A second time is no error on a real socket.
        if !self.is_shut {
            self.network
                .note(format_args!("{} -> {} shutdown", self.local, self.peer));
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.is_shut = true;
        }
        Poll::Ready(Ok(()))
    }

    fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    fn local_addr(&self) -> SocketAddr {
        self.local
    }
}
