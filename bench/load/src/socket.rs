//! A connection that never blocks: pieces to send without copying large ones, and bytes that came in.
//!
//! Large pieces go out by `writev` from where they are. `sendfile` from a file in memory was tried in its place: it costs
//! this program the same, 0.17 to 0.2 CPU seconds a GB beside other work, and whoever receives twice as much.
//!
//! Always holds: bytes leave in the order in which they were queued; what a reader leaves of a read is put before the
//! next one.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, bail};
use bytes::Bytes;

/// How many pieces one call writes.
const PIECES: usize = 32;

/// A connection to a broker.
pub(crate) struct Socket {
    stream: TcpStream,
    out: Outgoing,
    /// What came in and was not used yet: the begin of an answer.
    carry: Vec<u8>,
}

impl Socket {
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            out: Outgoing::default(),
            carry: Vec::new(),
        })
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Where to queue what is to be sent by the next [`flush`](Self::flush).
    pub(crate) fn out(&mut self) -> &mut Outgoing {
        &mut self.out
    }

    /// Sends what is queued, as far as the socket takes it.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.out.flush(&mut self.stream).context("cannot send")
    }

    /// Reads until the socket is empty. `used` is given all that has come and says how much of it is done with.
    pub(crate) fn read(
        &mut self,
        buffer: &mut [u8],
        mut used: impl FnMut(&[u8]) -> Result<usize>,
    ) -> Result<()> {
        loop {
            let carried = self.carry.len();
            if carried == buffer.len() {
                bail!("an answer has a part of more than {} bytes", buffer.len());
            }
            buffer[..carried].copy_from_slice(&self.carry);
            let count = match self.stream.read(&mut buffer[carried..]) {
                Ok(0) => bail!("the broker closed the connection"),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).context("cannot receive"),
            };
            let filled = carried + count;
            let done = used(&buffer[..filled])?;
            self.carry.clear();
            self.carry.extend_from_slice(&buffer[done..filled]);
            if filled < buffer.len() {
                return Ok(());
            }
        }
    }
}

/// What is to be sent on one connection.
#[derive(Default)]
pub(crate) struct Outgoing {
    /// The bytes of all [`Piece::Copied`], one behind the other.
    copied: Vec<u8>,
    /// How many bytes of `copied` are sent.
    copied_sent: usize,
    pieces: VecDeque<Piece>,
}

enum Piece {
    /// So many of the next copied bytes.
    Copied(usize),
    Shared(Bytes),
}

impl Outgoing {
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Queues a copy of `bytes`, and lends it for changes.
    pub(crate) fn copy(&mut self, bytes: &[u8]) -> &mut [u8] {
        let from = self.copied.len();
        self.copied.extend_from_slice(bytes);
        match self.pieces.back_mut() {
            Some(Piece::Copied(count)) => *count += bytes.len(),
            _ => self.pieces.push_back(Piece::Copied(bytes.len())),
        }
        &mut self.copied[from..]
    }

    /// Queues bytes that are not copied.
    pub(crate) fn share(&mut self, bytes: Bytes) {
        self.pieces.push_back(Piece::Shared(bytes));
    }

    /// All that waits, in the order of sending.
    #[cfg(test)]
    pub(crate) fn queued(&self) -> Vec<u8> {
        let mut copied = &self.copied[self.copied_sent..];
        let mut queued = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Copied(length) => queued.extend(copied.split_off(..*length).unwrap_or_default()),
                Piece::Shared(bytes) => queued.extend_from_slice(bytes),
            }
        }
        queued
    }

    fn flush(&mut self, to: &mut impl Write) -> io::Result<()> {
        while !self.pieces.is_empty() {
            let mut slices = [IoSlice::new(&[]); PIECES];
            let mut copied = &self.copied[self.copied_sent..];
            let mut count = 0;
            for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                *slice = IoSlice::new(match piece {
                    Piece::Copied(length) => {
                        let (bytes, rest) = copied.split_at(*length);
                        copied = rest;
                        bytes
                    }
                    Piece::Shared(bytes) => bytes,
                });
                count += 1;
            }
            let sent = if count == 1 {
                to.write(&slices[0])
            } else {
                to.write_vectored(&slices[..count])
            };
            match sent {
                Ok(sent) => self.advance(sent),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.copied.clear();
        self.copied_sent = 0;
        Ok(())
    }

    fn advance(&mut self, mut sent: usize) {
        while let Some(piece) = self.pieces.front_mut() {
            let part = match piece {
                Piece::Copied(length) => {
                    let part = sent.min(*length);
                    self.copied_sent += part;
                    *length -= part;
                    if *length > 0 {
                        return;
                    }
                    part
                }
                Piece::Shared(bytes) => {
                    let part = sent.min(bytes.len());
                    if part < bytes.len() {
                        bytes::Buf::advance(bytes, part);
                        return;
                    }
                    part
                }
            };
            sent -= part;
            self.pieces.pop_front();
            if sent == 0 {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes of each write, and is full in between.
    struct Narrow {
        steps: VecDeque<usize>,
        got: Vec<u8>,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.write_vectored(&[IoSlice::new(bytes)])
        }

        fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let step = self.steps.pop_front().unwrap_or(usize::MAX);
            if step == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            let taken = &all[..step.min(all.len())];
            self.got.extend_from_slice(taken);
            Ok(taken.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn bytes_leave_in_order_however_the_socket_takes_them() {
        for steps in [
            vec![],
            vec![1; 40],
            vec![3, 0, 4, 0, 0, 1],
            vec![4, 0, 5, 0],
            vec![0, 8, 0, 2],
        ] {
            let mut to = Narrow {
                steps: steps.clone().into(),
                got: Vec::new(),
            };
            let mut out = Outgoing::default();
            out.copy(b"ab");
            out.copy(b"cd")[0] = b'C';
            out.share(Bytes::from_static(b"efgh"));
            out.flush(&mut to).unwrap();
            out.copy(b"ijk");
            out.share(Bytes::from_static(b"lm"));
            out.share(Bytes::from_static(b"n"));
            for _ in 0..steps.len() + 1 {
                out.flush(&mut to).unwrap();
            }
            assert!(out.is_empty(), "{steps:?}");
            assert_eq!(to.got, b"abCdefghijklmn", "{steps:?}");
        }
    }
}
