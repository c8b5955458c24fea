//! Listening, connecting, and streams that can send a range of a file.
//!
//! Always holds: a stream is driven by one task, by polling; no method blocks, allocates per call or keeps a borrowed
//! buffer.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;

use crate::files::File;

/// A future in a box: for what is rare (listening, accepting, connecting).
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where connections come from and go to.
pub trait Network: Send + Sync {
    /// Listens at `host` (a name, an IPv4 or IPv6 address; empty for all interfaces) and `port` (0 for any free one).
    fn listen<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Listener>>>;

    /// What this machine calls itself.
    fn host_name(&self) -> String;

    /// Connects to `host` and `port`.
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Stream>>>;
}

/// A listening socket.
pub trait Listener: Send + Sync {
    /// The next connection. Dropping the future loses none.
    fn accept(&self) -> BoxFuture<'_, io::Result<Box<dyn Stream>>>;

    /// The address that is listened at, with the port that was found for 0.
    fn local_addr(&self) -> SocketAddr;
}

/// A connection.
pub trait Stream: Send {
    /// Reads once into the spare capacity of `buffer` (which must have some) and returns the number of bytes, 0 at the
    /// end of the stream.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>>;

    /// How many bytes can be read at least without waiting; 0 where that is not known.
    fn readable_bytes(&self) -> usize {
        0
    }

    /// Writes once from `pieces`, in order, and returns the number of bytes taken.
    fn poll_write(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>>;

    /// Sends up to `len` bytes of `file` from `offset` on and returns how many were taken; 0 when the file is shorter
    /// than that.
    fn poll_send_file(
        &mut self,
        cx: &mut Context<'_>,
        file: &dyn File,
        offset: u64,
        len: usize,
    ) -> Poll<io::Result<usize>>;

    /// While it holds back, what does not fill a packet waits for more, so that an answer that is given in several calls does
    /// not wake its receiver several times. To be ended with the last call; a connection that has no such thing sends at once.
    fn hold_back(&mut self, _holds: bool) {}

    /// Ends the writing side.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// The address of the other side.
    fn peer_addr(&self) -> SocketAddr;

    /// The address of this side.
    fn local_addr(&self) -> SocketAddr;
}
