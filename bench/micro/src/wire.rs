//! A network of one connection: requests come out of a file in memory by a system call, as from a socket, and answers
//! are only counted.
//!
//! Always holds: what the connection reads was copied by the kernel, so that copying costs no instructions here; of an
//! answer nothing is kept unless it is asked for.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use anyhow::{Context as _, Result};
use bytes::{BufMut, Bytes, BytesMut};
use klamm_env::network::BoxFuture;
use klamm_env::{File, Listener, Network, Stream};
use parking_lot::Mutex;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{pread, pwrite};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The network; a clone is the same one.
#[derive(Clone, Default)]
pub(crate) struct Wire {
    doors: Arc<Mutex<BTreeMap<u16, UnboundedSender<Far>>>>,
}

impl Wire {
    /// Connects to what listens at `port`.
    pub(crate) fn open(&self, port: u16) -> Result<Near> {
        let pipe = Arc::new(Pipe {
            requests: memfd_create("requests", MemfdFlags::CLOEXEC)?,
            state: Mutex::default(),
        });
        let doors = self.doors.lock();
        let door = doors.get(&port).context("nobody listens")?;
        door.send(Far { pipe: pipe.clone() })
            .ok()
            .context("nobody accepts")?;
        Ok(Near {
            pipe,
            stored: Vec::new(),
            next: 0,
        })
    }
}

impl Network for Wire {
    fn listen<'a>(&'a self, _host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        let mut doors = self.doors.lock();
        let port = if port == 0 { 1 + doors.len() as u16 } else { port };
        let (sender, connections) = unbounded_channel();
        doors.insert(port, sender);
        let door = Door {
            connections: tokio::sync::Mutex::new(connections),
            port,
        };
        Box::pin(async move { Ok(Box::new(door) as Box<dyn Listener>) })
    }

    fn host_name(&self) -> String {
        "wire".to_owned()
    }

    fn connect<'a>(&'a self, _host: &'a str, _port: u16) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) })
    }
}

struct Door {
    connections: tokio::sync::Mutex<UnboundedReceiver<Far>>,
    port: u16,
}

impl Listener for Door {
    fn accept(&self) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async {
            match self.connections.lock().await.recv().await {
                Some(far) => Ok(Box::new(far) as Box<dyn Stream>),
                None => std::future::pending().await,
            }
        })
    }

    fn local_addr(&self) -> SocketAddr {
        address(self.port)
    }
}

fn address(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

struct Pipe {
    /// Requests, one behind the other.
    requests: OwnedFd,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Bytes of the requests that were read, and that may be.
    read: u64,
    arrived: u64,
    reader: Option<Waker>,
    /// Bytes of the present answer that are to come.
    missing: usize,
    answered: usize,
    client: Option<Waker>,
    /// What is kept of answers, if it is to be.
    kept: Option<Vec<u8>>,
}

/// The client's end.
pub(crate) struct Near {
    pipe: Arc<Pipe>,
    /// The lengths of the requests that lie in the file.
    stored: Vec<u64>,
    next: usize,
}

impl Near {
    /// Puts requests where [`Near::exchange`] takes them from, in place of those before.
    pub(crate) fn store(&mut self, frames: impl IntoIterator<Item = Bytes>) -> Result<()> {
        let state = &mut *self.pipe.state.lock();
        (state.read, state.arrived) = (0, 0);
        self.stored.clear();
        self.next = 0;
        let mut at = 0;
        for frame in frames {
            let mut rest = &frame[..];
            while !rest.is_empty() {
                let written = pwrite(&self.pipe.requests, rest, at)?;
                at += written as u64;
                rest = &rest[written..];
            }
            self.stored.push(frame.len() as u64);
        }
        Ok(())
    }

    /// Sends the next request and waits for its answer.
    pub(crate) async fn exchange(&mut self) {
        let answered = {
            let mut state = self.pipe.state.lock();
            state.arrived += self.stored[self.next];
            self.next += 1;
            if let Some(reader) = state.reader.take() {
                reader.wake();
            }
            state.answered
        };
        std::future::poll_fn(|cx| {
            let mut state = self.pipe.state.lock();
            if state.answered > answered {
                return Poll::Ready(());
            }
            state.client = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Sends `frame` and returns the answer, without its length, and with zeros for what lies in files.
    pub(crate) async fn ask(&mut self, frame: Bytes) -> Result<Bytes> {
        self.store([frame])?;
        self.pipe.state.lock().kept = Some(Vec::new());
        self.exchange().await;
        let kept = self.pipe.state.lock().kept.take();
        Ok(Bytes::from(kept.unwrap_or_default()).slice(4..))
    }
}

/// The broker's end.
struct Far {
    pipe: Arc<Pipe>,
}

impl State {
    /// Bytes of answers went out.
    fn took(&mut self, bytes: usize) {
        self.missing -= bytes.min(self.missing);
        if self.missing == 0 {
            self.answered += 1;
            if let Some(client) = self.client.take() {
                client.wake();
            }
        }
    }
}

impl Stream for Far {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        let mut state = self.pipe.state.lock();
        let arrived = (state.arrived - state.read) as usize;
        if arrived == 0 {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let room = buffer.spare_capacity_mut();
        let wanted = arrived.min(room.len());
        let (filled, _) = pread(&self.pipe.requests, &mut room[..wanted], state.read)?;
        let n = filled.len();
        // SAFETY: the kernel has filled so many bytes of the spare capacity.
        unsafe { buffer.advance_mut(n) };
        state.read += n as u64;
        Poll::Ready(Ok(n))
    }

    fn poll_write(&mut self, _cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut state = self.pipe.state.lock();
        let bytes = pieces.iter().map(|piece| piece.len()).sum();
        if state.missing == 0
            && let Some(length) = pieces.first().and_then(|piece| piece.first_chunk::<4>())
        {
            state.missing = 4 + u32::from_be_bytes(*length) as usize;
        }
        if let Some(kept) = &mut state.kept {
            pieces.iter().for_each(|piece| kept.extend_from_slice(piece));
        }
        state.took(bytes);
        Poll::Ready(Ok(bytes))
    }

    fn poll_send_file(
        &mut self,
        _cx: &mut Context<'_>,
        _file: &dyn File,
        _offset: u64,
        len: usize,
    ) -> Poll<io::Result<usize>> {
        let mut state = self.pipe.state.lock();
        if let Some(kept) = &mut state.kept {
            kept.resize(kept.len() + len, 0);
        }
        state.took(len);
        Poll::Ready(Ok(len))
    }

    fn poll_shutdown(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn peer_addr(&self) -> SocketAddr {
        address(0)
    }

    fn local_addr(&self) -> SocketAddr {
        address(0)
    }
}
