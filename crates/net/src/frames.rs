//! Cuts the stream of a connection into frames: four bytes of length, then the request.
//!
//! Always holds: a length is compared with the limit before anything else happens; beyond [`READ_BYTES`], which every
//! connection has of its own once it needs as much, the buffer grows by what arrives, in steps that are charged before
//! they are taken; a frame above that has its buffer to itself, so that the memory ends with the frame and its charge.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};

use crate::memory::Charge;

/// Room that every connection has for a read without asking: small requests fit, and are served however short memory is.
pub const READ_BYTES: usize = 4 * 1024;
/// Room of a connection whose reads have not filled as much: most wait for a small request, or for nothing.
const FIRST_READ_BYTES: usize = 1024;
/// A frame beyond [`READ_BYTES`] may take so many times what has arrived of it for the next read.
const GROWTH: usize = 3;

/// Why a stream cannot be cut any further; the connection ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is negative or above `socket.request.max.bytes`.
    #[error("announced a request of {announced} bytes; allowed are 0 to {max} (socket.request.max.bytes)")]
    Length {
        /// What the client announced.
        announced: i32,
        /// The limit.
        max: usize,
    },
}

/// The unread part of a connection's stream.
#[derive(Debug)]
pub struct Frames {
    buffer: BytesMut,
    /// Room for a read that nothing is charged for.
    own: usize,
    charge: Charge,
    max: usize,
    /// When bytes were last read, on the monotonic clock.
    pub read_at: Duration,
    /// Since when a part of a frame is here.
    half_since: Option<Duration>,
}

impl Frames {
    /// A stream of which nothing is read yet; frames may have up to `max` bytes.
    pub fn new(charge: Charge, max: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            own: FIRST_READ_BYTES,
            charge,
            max,
            read_at: Duration::ZERO,
            half_since: None,
        }
    }

    /// Takes the next whole frame out of the buffer.
    pub fn next_frame(&mut self) -> Result<Option<(Bytes, Charge)>, FrameError> {
        let Some(len) = self.announced()? else {
            return Ok(None);
        };
        if self.buffer.len() < 4 + len {
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(4 + len);
        let charge = self.charge.split(4 + len);
        if frame.len() > READ_BYTES {
            // What was read beyond it must not hold on to its memory.
            self.buffer = BytesMut::from(&self.buffer[..]);
        }
        self.half_since = None;
        frame.advance(4);
        Ok(Some((frame.freeze(), charge)))
    }

    /// A look at the next whole frame without taking it.
    pub fn peek(&self) -> Option<&[u8]> {
        let len = self.announced().ok()??;
        self.buffer.get(4..4 + len)
    }

    /// Whether bytes of an unfinished frame are here.
    pub fn is_within_frame(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Since when a part of a frame is here, not counting the time that was excused.
    pub fn half_since(&mut self) -> Option<Duration> {
        if self.buffer.is_empty() {
            return None;
        }
        Some(*self.half_since.get_or_insert(self.read_at))
    }

    /// The client could not send for `time`: it does not count.
    pub fn excuse(&mut self, time: Duration) {
        if let Some(since) = &mut self.half_since {
            *since += time;
        }
    }

    /// Bytes that must be added to the charge before the next read. `arrived` tells how many more are here already,
    /// unread; it is asked within a large frame only.
    pub fn uncharged(&self, arrived: impl FnOnce() -> usize) -> usize {
        let received = self.buffer.len();
        if received < FIRST_READ_BYTES {
            return 0;
        }
        let missing = match self.announced() {
            Ok(Some(len)) => (4 + len).saturating_sub(received),
            _ => 0,
        };
        if received + missing <= READ_BYTES {
            return 0;
        }
        let next = missing.min(arrived().max(GROWTH * received));
        (received + next).saturating_sub(self.charge.bytes())
    }

    /// What the buffer is charged with.
    pub fn charge(&mut self) -> &mut Charge {
        &mut self.charge
    }

    /// The buffer, with room for the next read.
    pub fn make_room(&mut self) -> &mut BytesMut {
        let received = self.buffer.len();
        if received >= self.own {
            self.own = READ_BYTES;
        }
        let whole = self.charge.bytes().max(self.own).max(received + 1);
        if self.buffer.capacity() < whole {
            if whole <= READ_BYTES {
                self.buffer.reserve(whole - received);
            } else {
                // Exactly what is charged: growing in place would take up to twice as much.
                let mut buffer = BytesMut::with_capacity(whole);
                buffer.extend_from_slice(&self.buffer);
                self.buffer = buffer;
            }
        }
        &mut self.buffer
    }

    fn announced(&self) -> Result<Option<usize>, FrameError> {
        let Some(head) = self.buffer.first_chunk::<4>() else {
            return Ok(None);
        };
        let announced = i32::from_be_bytes(*head);
        match usize::try_from(announced) {
            Ok(len) if len <= self.max => Ok(Some(len)),
            _ => Err(FrameError::Length {
                announced,
                max: self.max,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::RequestMemory;

    fn frames(bytes: &[u8], max: usize) -> (Frames, RequestMemory) {
        let memory = RequestMemory::new(1 << 20);
        let mut frames = Frames::new(memory.charge(), max);
        assert!(frames.charge().try_grow(bytes.len()));
        frames.make_room().extend_from_slice(bytes);
        (frames, memory)
    }

    #[test]
    fn a_stream_is_cut_into_frames() {
        let (mut frames, memory) = frames(b"\0\0\0\x03abc\0\0\0\0\0\0\0\x02x", 100);
        assert_eq!(frames.peek(), Some(&b"abc"[..]));
        let (first, charge) = frames.next_frame().unwrap().unwrap();
        assert_eq!((&first[..], charge.bytes()), (&b"abc"[..], 7));
        assert_eq!(&frames.next_frame().unwrap().unwrap().0[..], b"");
        assert!(frames.next_frame().unwrap().is_none());
        assert!(frames.is_within_frame());
        drop(charge);
        assert_eq!(memory.used(), 5);
    }

    #[test]
    fn lengths_are_checked_before_anything_is_taken() {
        for (head, announced) in [
            ([0x80, 0, 0, 0], i32::MIN),
            ([0, 0, 0, 101], 101),
            ([0x7f, 255, 255, 255], i32::MAX),
        ] {
            let (mut frames, memory) = frames(&head, 100);
            assert_eq!(
                frames.next_frame().unwrap_err(),
                FrameError::Length { announced, max: 100 }
            );
            assert_eq!(memory.used(), 4);
        }
    }

    #[test]
    fn a_length_alone_takes_no_memory_and_room_follows_what_arrives() {
        let head = [0x05, 0xf5, 0xe1, 0x00];
        for (received, arrived, charged) in [
            (4, 0, 0),
            (FIRST_READ_BYTES - 1, 1 << 20, 0),
            (FIRST_READ_BYTES, 0, 4 * FIRST_READ_BYTES),
            (FIRST_READ_BYTES, 100, 4 * FIRST_READ_BYTES),
            (FIRST_READ_BYTES, 50_000, FIRST_READ_BYTES + 50_000),
            (400_000, 0, 1_600_000),
            (90_000_000, 0, 100_000_004),
            (90_000_000, 20_000_000, 100_000_004),
        ] {
            let memory = RequestMemory::new(1 << 30);
            let mut frames = Frames::new(memory.charge(), 100_000_000);
            frames.buffer.resize(received, 0);
            frames.buffer[..4].copy_from_slice(&head);
            let uncharged = frames.uncharged(|| arrived);
            assert_eq!(uncharged, charged, "{received}, {arrived}");
            assert!(frames.charge().try_grow(uncharged));
            assert_eq!(frames.uncharged(|| arrived), 0);
            let capacity = frames.make_room().capacity();
            assert!(
                capacity <= charged.max(2 * READ_BYTES),
                "{received}: {capacity} for {charged}"
            );
        }
    }

    #[test]
    fn room_without_a_charge_grows_once_a_read_fills_it() {
        for (received, announced, room) in [
            (0, 0, FIRST_READ_BYTES),
            (FIRST_READ_BYTES - 1, 2000, FIRST_READ_BYTES),
            (FIRST_READ_BYTES, 2000, READ_BYTES),
            (FIRST_READ_BYTES, READ_BYTES as u32 - 4, READ_BYTES),
        ] {
            let memory = RequestMemory::new(0);
            let mut frames = Frames::new(memory.charge(), 100_000_000);
            frames.make_room().resize(received, 0);
            if let Some(head) = frames.buffer.first_chunk_mut() {
                *head = announced.to_be_bytes();
            }
            assert_eq!(frames.uncharged(|| 1 << 20), 0, "{received} of {announced}");
            assert_eq!(frames.make_room().capacity(), room, "{received} of {announced}");
        }
    }

    #[test]
    fn a_connection_keeps_no_memory_of_a_large_frame_that_is_done() {
        let mut bytes = vec![0, 0, 0x40, 0];
        bytes.resize(4 + 0x4000, 7);
        bytes.extend([0, 0, 0, 9, 1, 2]);
        let (mut frames, memory) = frames(&bytes, 1 << 20);
        let (frame, charge) = frames.next_frame().unwrap().unwrap();
        assert_eq!((frame.len(), charge.bytes()), (0x4000, 4 + 0x4000));
        assert!(frame.is_unique(), "nothing else holds its buffer");
        assert_eq!(frames.buffer[..], [0, 0, 0, 9, 1, 2]);
        drop(charge);
        assert_eq!(memory.used(), 6);
    }

    #[test]
    fn a_half_frame_is_as_old_as_its_first_byte_less_what_is_excused() {
        let at = Duration::from_secs;
        let (mut frames, _memory) = frames(b"", 100);
        frames.read_at = at(1);
        assert_eq!(frames.half_since(), None);
        frames.make_room().extend_from_slice(b"\0\0\0\x02a");
        assert_eq!(frames.half_since(), Some(at(1)));
        frames.read_at = at(2);
        frames.excuse(at(3));
        assert_eq!(frames.half_since(), Some(at(4)));
        frames.make_room().extend_from_slice(b"b\0");
        frames.read_at = at(9);
        assert!(frames.next_frame().unwrap().is_some());
        assert_eq!(frames.half_since(), Some(at(9)), "of the next frame");
    }
}
