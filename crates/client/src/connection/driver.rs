//! Moves the bytes of one connection: writes what is queued, reads frames, gives each to the request that waits for it.
//!
//! Always holds: answers are matched in order, and a frame with another correlation id than the expected one ends the
//! connection. Memory grows with bytes received, never with the length that a frame announces.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use klamm_env::Stream;
use tokio::sync::{mpsc, oneshot};

use super::{End, Outgoing};

/// The largest answer: more than any broker sends that keeps to what it is asked for.
const MAX_FRAME_BYTES: usize = 512 * 1024 * 1024;
/// The spare room of the buffer when a read begins: at least, and at most ahead of what was announced.
const READ_BYTES: usize = 16 * 1024;
const READ_AHEAD_BYTES: usize = 1024 * 1024;
/// Pieces that go out in one write.
const PIECES_PER_WRITE: usize = 32;
/// Requests that wait for their answers; the next ones wait to be written.
const REQUESTS_IN_FLIGHT: usize = 64;

pub(crate) struct Driver {
    stream: Box<dyn Stream>,
    requests: mpsc::Receiver<Outgoing>,
    no_more_requests: bool,
    outgoing: VecDeque<Bytes>,
    waiting: VecDeque<(i32, oneshot::Sender<Bytes>)>,
    incoming: BytesMut,
}

impl Driver {
    pub(crate) fn new(stream: Box<dyn Stream>, requests: mpsc::Receiver<Outgoing>) -> Self {
        Self {
            stream,
            requests,
            no_more_requests: false,
            outgoing: VecDeque::new(),
            waiting: VecDeque::new(),
            incoming: BytesMut::new(),
        }
    }

    /// Runs until the last sender is gone and everything is answered, or until something fails.
    pub(crate) async fn run(mut self, end: End) {
        let ended = poll_fn(|cx| self.poll(cx)).await;
        if let Err(error) = ended {
            end.lock().get_or_insert_with(|| error.to_string());
        }
        // Only now, with the reason in place, do those who wait learn of it.
        drop(self);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_requests(cx);
        if let Poll::Ready(Err(error)) = self.poll_write(cx) {
            return Poll::Ready(Err(error));
        }
        if let Poll::Ready(Err(error)) = self.poll_read(cx) {
            return Poll::Ready(Err(error));
        }
        // Answers have made room for requests.
        self.poll_requests(cx);
        if !self.outgoing.is_empty()
            && let Poll::Ready(Err(error)) = self.poll_write(cx)
        {
            return Poll::Ready(Err(error));
        }
        if self.no_more_requests && self.waiting.is_empty() {
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }

    fn poll_requests(&mut self, cx: &mut Context<'_>) {
        while !self.no_more_requests && self.waiting.len() < REQUESTS_IN_FLIGHT {
            match self.requests.poll_recv(cx) {
                Poll::Ready(Some(request)) => {
                    self.outgoing
                        .extend(request.pieces.into_iter().filter(|piece| !piece.is_empty()));
                    self.waiting.push_back((request.correlation_id, request.answer));
                }
                Poll::Ready(None) => self.no_more_requests = true,
                Poll::Pending => return,
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let mut slices = [IoSlice::new(&[]); PIECES_PER_WRITE];
            let mut count = 0;
            for (slice, piece) in slices.iter_mut().zip(&self.outgoing) {
                *slice = IoSlice::new(piece);
                count += 1;
            }
            let written = std::task::ready!(self.stream.poll_write(cx, &slices[..count]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(piece) = self.outgoing.front_mut() {
            if piece.len() > written {
                piece.advance(written);
                return;
            }
            written -= piece.len();
            self.outgoing.pop_front();
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let missing = self.take_frames()?;
            self.incoming.reserve(missing.clamp(READ_BYTES, READ_AHEAD_BYTES));
            let read = std::task::ready!(self.stream.poll_read(cx, &mut self.incoming))?;
            if read == 0 {
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the broker closed it",
                )));
            }
        }
    }

    /// Gives the whole frames to those who wait for them; returns how many bytes the next one lacks.
    fn take_frames(&mut self) -> io::Result<usize> {
        loop {
            let Some(length) = self.incoming.first_chunk::<4>() else {
                return Ok(4 - self.incoming.len());
            };
            let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            if !(4..=MAX_FRAME_BYTES).contains(&length) {
                return Err(invalid("the broker sent a frame of an impossible length"));
            }
            let whole = 4 + length;
            if self.incoming.len() < whole {
                return Ok(whole - self.incoming.len());
            }
            let mut frame = self.incoming.split_to(whole).freeze();
            frame.advance(4);
            self.deliver(frame)?;
        }
    }

    fn deliver(&mut self, frame: Bytes) -> io::Result<()> {
        let Some((expected, answer)) = self.waiting.pop_front() else {
            return Err(invalid("the broker sent an answer that nobody asked for"));
        };
        let correlation_id = frame.first_chunk::<4>().map(|bytes| i32::from_be_bytes(*bytes));
        if correlation_id != Some(expected) {
            return Err(invalid("the broker answered out of order"));
        }
        // Whoever asked may have given up meanwhile.
        let _ = answer.send(frame);
        Ok(())
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
