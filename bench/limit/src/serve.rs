//! The loop: whoever is readable is read once, all that was asked for is done, and answered with one write.
//!
//! Always holds: a read that did not fill the buffer has emptied the socket; a connection whose answers its client does
//! not take is not read from.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream};

use anyhow::{Result, ensure};
use rustix::event::epoll;
use rustix::fs::sendfile;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use crate::Store;
use crate::wire::{self, Answer, Asked};

/// The largest frame.
const MAX_FRAME_BYTES: usize = 100 << 20;
/// Frames that are larger make the buffer grow.
const BUFFER_BYTES: usize = 256 * 1024;
/// What epoll knows the listener by.
const LISTENER: u64 = 0;

/// What there is to answer with.
struct Canned {
    produced: Answer,
    fetched: Answer,
    api_versions: Answer,
}

/// Serves until something is wrong.
pub(crate) fn serve(listener: &TcpListener, mut store: Store) -> Result<()> {
    let canned = Canned {
        produced: wire::produced()?,
        fetched: wire::fetched(store.fetch_bytes, store.fetch_records)?,
        api_versions: wire::api_versions()?,
    };
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(
        &epoll,
        listener,
        epoll::EventData::new_u64(LISTENER),
        epoll::EventFlags::IN,
    )?;
    let mut connections = BTreeMap::new();
    let mut events = Vec::with_capacity(256);
    for next in 1.. {
        events.clear();
        // A run that is stopped and continued around others interrupts it.
        rustix::io::retry_on_intr(|| epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None))?;
        for event in &events {
            let key = event.data.u64();
            if key == LISTENER {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
                epoll::add(&epoll, &stream, epoll::EventData::new_u64(next), flags)?;
                connections.insert(next, Connection::new(stream));
            } else if let Some(connection) = connections.get_mut(&key)
                && !connection.run(&mut store, &canned)?
            {
                connections.remove(&key);
            }
        }
    }
    Ok(())
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// The part of `buffer` that holds bytes not looked at.
    start: usize,
    end: usize,
    /// Answers, and how much of them is sent.
    out: Vec<u8>,
    sent: usize,
    /// Bytes of the file to be sent behind `out`.
    file_left: usize,
    file_at: u64,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            buffer: vec![0; BUFFER_BYTES],
            start: 0,
            end: 0,
            out: Vec::new(),
            sent: 0,
            file_left: 0,
            file_at: 0,
        }
    }

    /// Goes on until the socket has nothing or takes nothing; false when the client is gone.
    fn run(&mut self, store: &mut Store, canned: &Canned) -> Result<bool> {
        let mut is_empty = false;
        loop {
            self.handle(store, canned)?;
            if !self.out.is_empty() {
                match self.flush(store, &canned.fetched.tail) {
                    Ok(()) => continue,
                    Err(Errno::AGAIN) => return Ok(true),
                    Err(Errno::PIPE | Errno::CONNRESET) => return Ok(false),
                    Err(error) => return Err(error.into()),
                }
            }
            if is_empty {
                return Ok(true);
            }
            match self.stream.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Ok(false),
                Ok(bytes) => self.end += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(false),
                Err(error) => return Err(error.into()),
            }
            is_empty = self.end < self.buffer.len();
        }
    }

    /// Does what the whole frames in the buffer ask for, up to the first fetch, and makes room for the next.
    fn handle(&mut self, store: &mut Store, canned: &Canned) -> Result<()> {
        let mut needed = 4;
        while self.file_left == 0
            && let Some(head) = self.buffer[self.start..self.end].first_chunk::<4>()
        {
            needed = 4 + u32::from_be_bytes(*head) as usize;
            let Some(frame) = self.buffer[self.start..self.end].get(4..needed) else {
                break;
            };
            let (id, asked) = wire::read(frame)?;
            match asked {
                Asked::Produce { batch, acks } => {
                    store.append(batch)?;
                    if acks != 0 {
                        canned.produced.put(&mut self.out, id);
                    }
                }
                Asked::ApiVersions => canned.api_versions.put(&mut self.out, id),
                Asked::Fetch { partition } => {
                    canned.fetched.put_for(&mut self.out, id, partition);
                    self.file_left = store.fetch_bytes;
                }
            }
            self.start += needed;
            needed = 4;
        }
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start + needed > self.buffer.len() || self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        ensure!(needed <= MAX_FRAME_BYTES, "a frame of {needed} bytes");
        if needed > self.buffer.len() {
            self.buffer.resize(needed, 0);
        }
        Ok(())
    }

    /// Sends the answers, the part of the file that belongs to the last one, and what stands behind it.
    fn flush(&mut self, store: &Store, tail: &[u8]) -> Result<(), Errno> {
        while !self.out.is_empty() {
            let with_file = self.file_left > 0;
            while self.sent < self.out.len() {
                let more = if with_file {
                    SendFlags::MORE
                } else {
                    SendFlags::empty()
                };
                self.sent += send(&self.stream, &self.out[self.sent..], SendFlags::NOSIGNAL | more)?;
            }
            while self.file_left > 0 {
                let at = Some(&mut self.file_at);
                match sendfile(&self.stream, &store.fetched, at, self.file_left)? {
                    0 => return Err(Errno::IO), // somebody cut the file
                    sent => self.file_left -= sent,
                }
            }
            self.out.clear();
            self.sent = 0;
            if with_file {
                self.out.extend_from_slice(tail);
                self.file_at %= store.stored_bytes as u64;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
