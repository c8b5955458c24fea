//! A network of pipes in memory, so that the clock of the test is the only one.
//!
//! Always holds: a pipe holds [`PIPE_BYTES`]; more waits until the other side reads.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::{BufMut, BytesMut};
use klamm_env::network::BoxFuture;
use klamm_env::{File, Listener, Network, Stream};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub(crate) const PIPE_BYTES: usize = 64 * 1024;

type Doors = BTreeMap<u16, UnboundedSender<Pipe>>;

/// The network; a clone is the same one.
#[derive(Clone, Default)]
pub(crate) struct Pipes {
    doors: Arc<Mutex<Doors>>,
}

impl Pipes {
    /// A connection from `from` to what listens at `port`.
    pub(crate) fn connect_from(&self, from: IpAddr, port: u16) -> DuplexStream {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let doors = self.doors.lock().unwrap();
        let pipe = Pipe {
            stream: far,
            peer: (from, 50_000).into(),
            local: ([127, 0, 0, 1], port).into(),
        };
        doors[&port].send(pipe).unwrap();
        near
    }
}

impl Network for Pipes {
    fn listen<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        let mut doors = self.doors.lock().unwrap();
        let port = match port {
            0 => 20_000 + u16::try_from(doors.len()).unwrap(),
            port => port,
        };
        let (sender, receiver) = unbounded_channel();
        doors.insert(port, sender);
        let address = SocketAddr::new(host.parse().unwrap(), port);
        let receiver = tokio::sync::Mutex::new(receiver);
        Box::pin(async move { Ok(Box::new(Door { receiver, address }) as Box<dyn Listener>) })
    }

    fn host_name(&self) -> String {
        "pipes".to_owned()
    }

    fn connect<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) })
    }
}

struct Door {
    receiver: tokio::sync::Mutex<UnboundedReceiver<Pipe>>,
    address: SocketAddr,
}

impl Listener for Door {
    fn accept(&self) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            match self.receiver.lock().await.recv().await {
                Some(pipe) => Ok(Box::new(pipe) as Box<dyn Stream>),
                None => std::future::pending().await,
            }
        })
    }

    fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

struct Pipe {
    stream: DuplexStream,
    peer: SocketAddr,
    local: SocketAddr,
}

impl Stream for Pipe {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        let mut bytes = [0; 8192];
        let room = bytes.len().min(buffer.capacity() - buffer.len());
        let mut piece = ReadBuf::new(&mut bytes[..room]);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece))?;
        buffer.put_slice(piece.filled());
        Poll::Ready(Ok(piece.filled().len()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let first = pieces.iter().find(|piece| !piece.is_empty());
        Pin::new(&mut self.stream).poll_write(cx, first.map_or(&[], |piece| &piece[..]))
    }

    fn poll_send_file(
        &mut self,
        cx: &mut Context<'_>,
        file: &dyn File,
        offset: u64,
        len: usize,
    ) -> Poll<io::Result<usize>> {
        let mut bytes = vec![0; len.min(PIPE_BYTES)];
        let read = file.read_at(&mut bytes, offset)?;
        Pin::new(&mut self.stream).poll_write(cx, &bytes[..read])
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    fn local_addr(&self) -> SocketAddr {
        self.local
    }
}
