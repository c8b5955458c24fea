//! The machine's TCP sockets.
//!
//! Always holds: one `poll_read` is at most one `recv`, one `poll_write` one `send` or `writev`, one `poll_send_file` one
//! `sendfile`. (A read until the socket is empty costs 0.45 µs for the one that finds nothing; tokio takes a read that
//! did not fill the buffer as the sign that the socket is empty.) Nagle's algorithm is off on every stream.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use rustix::fs::sendfile;
use rustix::io::{Errno, ioctl_fionread};
use rustix::net::sockopt::set_tcp_cork;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWrite, Interest};
use tokio::net::{TcpListener, TcpStream, lookup_host};

use super::retried;
use crate::files::File;
use crate::network::{BoxFuture, Listener, Network, Stream};

/// Bytes of a file that are copied at a time where the kernel cannot send it.
const COPY_BYTES: usize = 64 * 1024;

/// How sockets are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// Connections that wait to be accepted, per listener; the kernel has a limit of its own too.
    pub listen_backlog: u32,
    /// The kernel's buffer for sending; `None` lets it choose and adapt.
    pub send_buffer_bytes: Option<usize>,
    /// The kernel's buffer for receiving; `None` lets it choose and adapt.
    pub receive_buffer_bytes: Option<usize>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            listen_backlog: 1024,
            send_buffer_bytes: None,
            receive_buffer_bytes: None,
        }
    }
}

/// The machine's network.
#[derive(Clone, Copy, Debug)]
pub struct Sockets {
    options: SocketOptions,
}

impl Sockets {
    /// A network whose sockets are made with `options`.
    pub fn new(options: SocketOptions) -> Self {
        Self { options }
    }

    async fn listen_anywhere(self, host: &str, port: u16) -> io::Result<TcpListener> {
        if host.is_empty() {
            // "::" takes IPv4 as well; without IPv6 in the kernel there is only the other.
            return self
                .listen_at((Ipv6Addr::UNSPECIFIED, port).into())
                .or_else(|_| self.listen_at((Ipv4Addr::UNSPECIFIED, port).into()));
        }
        let mut failure = None;
        for address in lookup_host((host, port)).await? {
            match self.listen_at(address) {
                Ok(listener) => return Ok(listener),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| no_address(host)))
    }

    fn listen_at(self, address: SocketAddr) -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        // A restart must not wait for the connections of the former life to be forgotten.
        socket.set_reuse_address(true)?;
        if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
            socket.set_only_v6(false)?;
        }
        self.size_buffers(&socket)?;
        socket.bind(&address.into())?;
        socket.listen(i32::try_from(self.options.listen_backlog).unwrap_or(i32::MAX))?;
        TcpListener::from_std(socket.into())
    }

    async fn connect_anywhere(self, host: &str, port: u16) -> io::Result<TcpStream> {
        let mut failure = None;
        for address in lookup_host((host, port)).await? {
            match self.connect_to(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| no_address(host)))
    }

    async fn connect_to(self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        self.size_buffers(&socket)?;
        tokio::net::TcpSocket::from_std_stream(socket.into())
            .connect(address)
            .await
    }

    /// Before listening or connecting, as the window that TCP agrees on depends on it; accepted sockets inherit it.
    fn size_buffers(self, socket: &Socket) -> io::Result<()> {
        if let Some(bytes) = self.options.send_buffer_bytes {
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(bytes) = self.options.receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        Ok(())
    }
}

fn no_address(host: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"))
}

impl Network for Sockets {
    fn host_name(&self) -> String {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    }

    fn listen<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listener = self.listen_anywhere(host, port).await?;
            let address = listener.local_addr()?;
            Ok(Box::new(TcpDoor { listener, address }) as Box<dyn Listener>)
        })
    }

    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let stream = self.connect_anywhere(host, port).await?;
            let peer = stream.peer_addr()?;
            Ok(Box::new(Tcp::new(stream, peer)?) as Box<dyn Stream>)
        })
    }
}

/// A listening socket.
struct TcpDoor {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener for TcpDoor {
    fn accept(&self) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let (stream, peer) = self.listener.accept().await?;
            Ok(Box::new(Tcp::new(stream, peer)?) as Box<dyn Stream>)
        })
    }

    fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

/// A connection.
struct Tcp {
    stream: TcpStream,
    peer: SocketAddr,
    local: SocketAddr,
    /// For files that the kernel cannot send; empty until there is one.
    copy: Vec<u8>,
    holds_back: bool,
}

impl Tcp {
    fn new(stream: TcpStream, peer: SocketAddr) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self {
            peer: plain(peer),
            local: plain(stream.local_addr()?),
            stream,
            copy: Vec::new(),
            holds_back: false,
        })
    }

    fn poll_sendfile(
        &self,
        cx: &mut Context<'_>,
        file: BorrowedFd<'_>,
        offset: u64,
        len: usize,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            let sent = self.stream.try_io(Interest::WRITABLE, || {
                retried(|| {
                    let mut position = offset;
                    sendfile(&self.stream, file, Some(&mut position), len)
                })
            });
            match sent {
                // The readiness was stale; the next poll leaves the waker with the socket.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_send_copy(
        &mut self,
        cx: &mut Context<'_>,
        file: &dyn File,
        offset: u64,
        len: usize,
    ) -> Poll<io::Result<usize>> {
        ready!(self.stream.poll_write_ready(cx))?;
        if self.copy.is_empty() {
            self.copy.resize(COPY_BYTES, 0);
        }
        let wanted = len.min(COPY_BYTES);
        let n = file.read_at(&mut self.copy[..wanted], offset)?;
        if n == 0 {
            return Poll::Ready(Ok(0));
        }
        Pin::new(&mut self.stream).poll_write(cx, &self.copy[..n])
    }
}

/// An IPv4 peer of a dual-stack socket by its own address.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

impl Stream for Tcp {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        debug_assert!(buffer.capacity() > buffer.len(), "a read needs room");
        // The future has no state: dropping it after one poll loses nothing.
        pin!(self.stream.read_buf(buffer)).poll(cx)
    }

    fn readable_bytes(&self) -> usize {
        // A socket that cannot say so says the rest with its next read.
        ioctl_fionread(&self.stream).map_or(0, |bytes| bytes as usize)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        // The usual answer is one piece, and `send` is shorter in the kernel than `writev`.
        match pieces {
            [one] => Pin::new(&mut self.stream).poll_write(cx, one),
            pieces => Pin::new(&mut self.stream).poll_write_vectored(cx, pieces),
        }
    }

    fn poll_send_file(
        &mut self,
        cx: &mut Context<'_>,
        file: &dyn File,
        offset: u64,
        len: usize,
    ) -> Poll<io::Result<usize>> {
        let Some(fd) = file.as_fd() else {
            return self.poll_send_copy(cx, file, offset, len);
        };
        match ready!(self.poll_sendfile(cx, fd, offset, len)) {
            // A file system whose files the kernel cannot send.
            Err(error) if is_unsendable(&error) => self.poll_send_copy(cx, file, offset, len),
            result => Poll::Ready(result),
        }
    }

    fn hold_back(&mut self, holds: bool) {
        // A socket that does not know the option sends in more packets: nothing is lost.
        if holds != self.holds_back && set_tcp_cork(&self.stream, holds).is_ok() {
            self.holds_back = holds;
        }
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

fn is_unsendable(error: &io::Error) -> bool {
    [Errno::INVAL, Errno::NOSYS]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests;
