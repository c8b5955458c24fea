//! One connection to a broker: frames out, frames in.
//!
//! Always holds: no read waits longer than it was told to, and what a broker announces is not taken as memory before it
//! was sent.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result};

/// How long a broker may take for an answer, on a slow machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How long it is listened to one of which it is known that it says nothing.
pub(crate) const SILENCE: Duration = Duration::from_secs(2);

/// What came back for a request.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A frame, without its length.
    Frame(Vec<u8>),
    /// The broker closed the connection.
    Closed,
    /// Nothing for as long as was waited.
    Silence,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
}

impl Connection {
    /// Connects to `HOST:PORT`.
    pub(crate) fn open(bootstrap: &str) -> Result<Self> {
        let stream = TcpStream::connect(bootstrap).with_context(|| format!("connecting to {bootstrap}"))?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream })
    }

    /// Sends `frame` behind its length. A connection that the broker closed meanwhile is noticed when the answer is read.
    pub(crate) fn send(&mut self, frame: &[u8]) {
        let length = u32::try_from(frame.len()).expect("a frame of the table is small");
        self.send_raw(&[&length.to_be_bytes(), frame].concat());
    }

    /// Sends bytes as they are, length and all.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        // An error here is a closed connection, which `receive` reports.
        let _ = self.stream.write_all(bytes);
    }

    /// Reads one frame, of which some must come within `patience`.
    pub(crate) fn receive(&mut self, patience: Duration) -> Result<Reply> {
        self.stream.set_read_timeout(Some(patience))?;
        let mut length = [0; 4];
        if let Some(reply) = self.fill(&mut length)? {
            return Ok(reply);
        }
        let length = u64::from(u32::from_be_bytes(length));
        let mut frame = Vec::new();
        match (&mut self.stream).take(length).read_to_end(&mut frame) {
            Ok(got) if got as u64 == length => Ok(Reply::Frame(frame)),
            Ok(_) => Ok(Reply::Closed),
            Err(error) => reply_of(error),
        }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<Option<Reply>> {
        match self.stream.read_exact(bytes) {
            Ok(()) => Ok(None),
            Err(error) => reply_of(error).map(Some),
        }
    }
}

fn reply_of(error: std::io::Error) -> Result<Reply> {
    match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Ok(Reply::Closed),
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Ok(Reply::Silence),
        _ => Err(error).context("reading an answer"),
    }
}
