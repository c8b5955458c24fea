//! What is being sent: the bytes of answers, and between them pieces that are never copied (record bytes, file ranges).
//!
//! Always holds: pieces lie at rising positions of the buffer; what was sent is never sent again; an output that is
//! empty keeps its capacity, up to a bound, and holds no charge; the ends of answers are known until they are asked for.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use klamm_env::{File, Stream};

use crate::memory::Charge;

/// Capacity that an empty output keeps for the next answer.
const KEEP_BYTES: usize = 16 * 1024;
/// Answers up to this length are held back until they are whole. In longer ones, which fill many packets, one more does not
/// count.
const HELD_BACK_BYTES: usize = 128 * 1024;
/// Slices given to the kernel in one write.
const MAX_SLICES: usize = 32;

/// Bytes that go out without being copied into the buffer.
#[derive(Clone, Debug)]
pub enum Piece {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A range of a file.
    File {
        /// The file.
        file: Arc<dyn File>,
        /// Where the range begins.
        offset: u64,
        /// Its length in bytes.
        len: usize,
    },
}

impl Piece {
    /// Its length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::File { len, .. } => *len,
        }
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An answer of which the last byte was given to the socket, or will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// What kind it is, as [`Output::end_answer`] was told.
    pub(crate) kind: i16,
    /// Since when it waits for a socket that takes no more; `None` if it never did.
    pub(crate) waits_since: Option<Duration>,
}

/// Answers on their way out. See the head of the file.
#[derive(Debug, Default)]
pub struct Output {
    buffer: BytesMut,
    /// Bytes taken from the front of the buffer so far: piece positions count from before them.
    taken: usize,
    pieces: VecDeque<(usize, Piece)>,
    piece_bytes: usize,
    /// Behind which position of the buffer each answer ends.
    answers: VecDeque<(usize, Answer)>,
    /// Bytes of the pieces that are in memory, as they were put in.
    piece_memory: usize,
    /// How many pieces are ranges of files.
    files: usize,
    /// What large answers are charged with until all is sent.
    charge: Option<Charge>,
}

impl Output {
    /// Whether nothing is left to send.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.pieces.is_empty()
    }

    /// Bytes left to send, pieces included.
    pub fn len(&self) -> usize {
        self.buffer.len() + self.piece_bytes
    }

    /// The buffer, to append to.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Puts `piece` behind the first `at` bytes that the buffer holds now. Positions must not fall.
    pub fn insert(&mut self, at: usize, piece: Piece) {
        let at = self.taken + at;
        debug_assert!(self.pieces.back().is_none_or(|(last, _)| *last <= at));
        self.piece_bytes += piece.len();
        match &piece {
            Piece::Bytes(bytes) => self.piece_memory += bytes.len(),
            Piece::File { .. } => self.files += 1,
        }
        self.pieces.push_back((at, piece));
    }

    /// Charges what is here with `charge`, until it is sent. The connection adds what is missing.
    pub fn hold(&mut self, charge: Charge) {
        match &mut self.charge {
            Some(held) => held.absorb(charge),
            none => *none = Some(charge),
        }
    }

    /// Takes what it is charged with, to be held again when there is more of it.
    pub(crate) fn take_charge(&mut self) -> Option<Charge> {
        self.charge.take()
    }

    /// Whether large answers wait to be sent.
    pub(crate) fn is_charged(&self) -> bool {
        self.charge.is_some()
    }

    /// What it is charged with.
    pub(crate) fn charged(&self) -> usize {
        self.charge.as_ref().map_or(0, Charge::bytes)
    }

    /// What it should be charged with beyond what it is. A little is every connection's own.
    pub(crate) fn uncharged(&mut self) -> usize {
        let used = self.buffer.len() + self.piece_memory + self.pieces.len() * size_of::<(usize, Piece)>();
        if used <= KEEP_BYTES {
            self.charge = None;
            return 0;
        }
        let charged = self.charged();
        if let Some(charge) = &mut self.charge {
            // More was expected.
            drop(charge.split_bytes(charged.saturating_sub(used)));
        }
        used.saturating_sub(charged)
    }

    /// What was put in since the last call, or since the beginning, is a whole answer of this kind.
    pub fn end_answer(&mut self, kind: i16) {
        let answer = Answer {
            kind,
            waits_since: None,
        };
        self.answers.push_back((self.taken + self.buffer.len(), answer));
    }

    /// How many answers are not wholly sent, or not asked for by [`Output::next_sent`].
    pub(crate) fn answer_count(&self) -> usize {
        self.answers.len()
    }

    /// The next answer that was wholly sent; each is told once.
    pub(crate) fn next_sent(&mut self) -> Option<Answer> {
        let (end, _) = self.answers.front()?;
        let piece_is_left = self.pieces.front().is_some_and(|(at, _)| at <= end);
        let is_sent = self.is_empty() || (self.taken >= *end && !piece_is_left);
        is_sent
            .then(|| self.answers.pop_front())
            .flatten()
            .map(|(_, answer)| answer)
    }

    /// The socket takes no more: the answers that did not wait yet do from `now` on.
    pub(crate) fn wait_since(&mut self, now: impl FnOnce() -> Duration) {
        let is_new = |(_, answer): &&mut (usize, Answer)| answer.waits_since.is_none();
        let mut new = self.answers.iter_mut().rev().take_while(is_new).peekable();
        if new.peek().is_some() {
            let now = now();
            new.for_each(|(_, answer)| answer.waits_since = Some(now));
        }
    }

    /// Since when the oldest answer waits for a socket that takes no more; `None` if none does.
    pub(crate) fn waits_since(&self) -> Option<Duration> {
        self.answers.front()?.1.waits_since
    }

    /// Moves all of `other` behind what is here; `other` is empty afterwards and keeps its capacity.
    pub fn append(&mut self, other: &mut Output) {
        if self.is_empty() {
            self.clear();
            std::mem::swap(self, other);
            return;
        }
        let base = self.taken + self.buffer.len();
        self.buffer.extend_from_slice(&other.buffer);
        self.pieces.extend(
            other
                .pieces
                .drain(..)
                .map(|(at, piece)| (base + at - other.taken, piece)),
        );
        self.piece_bytes += other.piece_bytes;
        self.piece_memory += other.piece_memory;
        self.files += other.files;
        if let Some(charge) = other.charge.take() {
            self.hold(charge);
        }
        let answers = other.answers.drain(..);
        self.answers
            .extend(answers.map(|(end, answer)| (base + end - other.taken, answer)));
        other.clear();
    }

    /// Forgets what is here.
    pub fn clear(&mut self) {
        self.answers.clear();
        self.rewind();
    }

    /// Begins anew when everything is sent.
    fn rewind(&mut self) {
        self.taken = 0;
        self.piece_bytes = 0;
        self.piece_memory = 0;
        self.files = 0;
        self.charge = None;
        self.pieces.clear();
        self.buffer.clear();
        if self.buffer.capacity() > KEEP_BYTES {
            self.buffer = BytesMut::new();
        }
    }

    /// Gives back the memory of an output that will not be used for a while.
    pub fn shrink(&mut self) {
        if self.is_empty() {
            *self = Output::default();
        }
    }

    /// Sends until nothing is left, and returns how many bytes that were.
    pub fn poll_send(&mut self, cx: &mut Context<'_>, stream: &mut dyn Stream) -> Poll<io::Result<usize>> {
        let mut sent = 0;
        // Takes several calls: what is before a range, the range, and what is behind it. The last part of a long answer is not
        // held back: the client would wait for what the socket has no room for.
        let has_begun = self.taken > 0;
        if self.files > 0 && !has_begun && !self.buffer.is_empty() && self.len() <= HELD_BACK_BYTES {
            stream.hold_back(true);
        }
        while !self.is_empty() {
            let n = match self.poll_send_once(cx, stream) {
                Poll::Ready(Ok(n)) => n,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if sent > 0 => return Poll::Ready(Ok(sent)),
                Poll::Pending => return Poll::Pending,
            };
            sent += n;
        }
        stream.hold_back(false);
        self.rewind();
        Poll::Ready(Ok(sent))
    }

    fn poll_send_once(&mut self, cx: &mut Context<'_>, stream: &mut dyn Stream) -> Poll<io::Result<usize>> {
        if let Some((at, Piece::File { file, offset, len })) = self.pieces.front_mut()
            && *at == self.taken
        {
            if *len == 0 {
                self.pieces.pop_front();
                self.files -= 1;
                return Poll::Ready(Ok(0));
            }
            let n = ready!(stream.poll_send_file(cx, &**file, *offset, *len))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            *offset += n as u64;
            *len -= n;
            self.piece_bytes -= n;
            if *len == 0 {
                self.pieces.pop_front();
                self.files -= 1;
            }
            return Poll::Ready(Ok(n));
        }
        let n = {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let count = self.gather(&mut slices);
            ready!(stream.poll_write(cx, &slices[..count]))?
        };
        if n == 0 && self.front_has_bytes() {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.advance(n);
        Poll::Ready(Ok(n))
    }

    fn front_has_bytes(&self) -> bool {
        !self.buffer.is_empty() || self.pieces.iter().any(|(_, piece)| !piece.is_empty())
    }

    /// Fills `slices` with what comes next, up to the first file range.
    fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>; MAX_SLICES]) -> usize {
        let mut count = 0;
        let mut from = 0;
        for (at, piece) in &self.pieces {
            let upto = at - self.taken;
            if upto > from && count < MAX_SLICES {
                slices[count] = IoSlice::new(&self.buffer[from..upto]);
                count += 1;
                from = upto;
            }
            match piece {
                Piece::Bytes(bytes) if count < MAX_SLICES => {
                    slices[count] = IoSlice::new(bytes);
                    count += 1;
                }
                _ => return count,
            }
        }
        if from < self.buffer.len() && count < MAX_SLICES {
            slices[count] = IoSlice::new(&self.buffer[from..]);
            count += 1;
        }
        count
    }

    /// Drops the next `n` bytes, which were sent, and the empty pieces before what follows.
    fn advance(&mut self, mut n: usize) {
        loop {
            match self.pieces.front_mut() {
                Some((at, Piece::Bytes(bytes))) if *at == self.taken => {
                    let part = n.min(bytes.len());
                    bytes.advance(part);
                    self.piece_bytes -= part;
                    n -= part;
                    if !bytes.is_empty() {
                        return;
                    }
                    self.pieces.pop_front();
                }
                front => {
                    let upto = front.map_or(self.buffer.len(), |(at, _)| *at - self.taken);
                    let part = n.min(upto);
                    if part == 0 {
                        return;
                    }
                    self.buffer.advance(part);
                    self.taken += part;
                    n -= part;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use klamm_env::real::files::SystemFiles;
    use klamm_env::{Files, OpenMode};

    use super::*;

    /// A socket that takes so many bytes a call and then is full once.
    struct Recorder {
        takes: usize,
        is_full: bool,
        calls: Vec<String>,
    }

    impl Recorder {
        fn take(&mut self, what: &str, len: usize) -> Poll<io::Result<usize>> {
            self.is_full = !self.is_full;
            if !self.is_full && len > self.takes {
                return Poll::Pending;
            }
            let n = len.min(self.takes);
            self.calls.push(format!("{what} {n}"));
            Poll::Ready(Ok(n))
        }
    }

    impl Stream for Recorder {
        fn poll_read(&mut self, _: &mut Context<'_>, _: &mut BytesMut) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn poll_write(&mut self, _: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
            let len = pieces.iter().map(|piece| piece.len()).sum();
            self.take("write", len)
        }

        fn poll_send_file(
            &mut self,
            _: &mut Context<'_>,
            _: &dyn File,
            _: u64,
            len: usize,
        ) -> Poll<io::Result<usize>> {
            self.take("file", len)
        }

        fn hold_back(&mut self, holds: bool) {
            self.calls.push(if holds { "hold" } else { "go" }.to_owned());
        }

        fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn peer_addr(&self) -> SocketAddr {
            (Ipv4Addr::LOCALHOST, 1).into()
        }

        fn local_addr(&self) -> SocketAddr {
            (Ipv4Addr::LOCALHOST, 2).into()
        }
    }

    fn calls(takes: usize, file_bytes: Option<usize>) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let mut out = Output::default();
        out.buffer().extend_from_slice(b"before");
        if let Some(len) = file_bytes {
            let file = SystemFiles.open(&path, OpenMode::CreateNew).unwrap();
            out.insert(6, Piece::File { file, offset: 0, len });
        }
        out.buffer().extend_from_slice(b"behind");
        out.end_answer(1);
        let mut stream = Recorder {
            takes,
            is_full: false,
            calls: Vec::new(),
        };
        let waker = futures_util::task::noop_waker();
        while !out.is_empty() {
            if let Poll::Ready(sent) = out.poll_send(&mut Context::from_waker(&waker), &mut stream) {
                sent.unwrap();
            }
        }
        assert!(out.next_sent().is_some());
        stream.calls
    }

    #[test]
    fn an_answer_in_several_calls_is_held_back_until_the_last() {
        assert_eq!(
            calls(100, Some(10)),
            ["hold", "write 6", "file 10", "write 6", "go"]
        );
    }

    #[test]
    fn an_answer_is_let_go_when_the_socket_was_full_between() {
        let calls = calls(4, Some(10));
        assert_eq!(calls.first().map(String::as_str), Some("hold"));
        assert_eq!(calls.last().map(String::as_str), Some("go"), "{calls:?}");
        assert!(!calls[..calls.len() - 1].contains(&"go".to_owned()), "{calls:?}");
    }

    #[test]
    fn the_end_of_a_long_answer_is_not_held_back() {
        let calls = calls(HELD_BACK_BYTES / 2, Some(HELD_BACK_BYTES + 10));
        assert_eq!(calls.len(), 6, "three for the range: {calls:?}");
        assert!(!calls.contains(&"hold".to_owned()), "{calls:?}");
    }

    #[test]
    fn an_answer_in_memory_is_not_held_back() {
        assert_eq!(calls(100, None), ["write 12", "go"]);
    }
}
