//! Cuts the stream of a connection into frames: four bytes of length, then the request.
//!
//! Always holds: a length is compared with the limit before anything else happens; beyond [`READ_BYTES`] the buffer grows
//! by what arrives, in steps that are charged before they are taken.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::memory::Charge;

/// Room that every connection has for a read without asking: small requests fit.
pub(crate) const READ_BYTES: usize = 4 * 1024;
/// Room for the first part of a large frame. After it, a frame may take as much again as has arrived of it.
const FIRST_STEP_BYTES: usize = 256 * 1024;

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
    charge: Charge,
    max: usize,
    /// When bytes were last read, on the monotonic clock.
    pub read_at: Duration,
}

impl Frames {
    /// A stream of which nothing is read yet; frames may have up to `max` bytes.
    pub fn new(charge: Charge, max: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            charge,
            max,
            read_at: Duration::ZERO,
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
        Ok(Some((frame.split_off(4).freeze(), charge)))
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

    /// Bytes that must be added to the charge before the next read.
    pub fn uncharged(&self) -> usize {
        let received = self.buffer.len();
        let missing = match self.announced() {
            Ok(Some(len)) => (4 + len).saturating_sub(received),
            _ => 0,
        };
        let step = if missing > READ_BYTES {
            missing.min(received.max(FIRST_STEP_BYTES))
        } else {
            0
        };
        (received + step).saturating_sub(self.charge.bytes())
    }

    /// What the buffer is charged with.
    pub fn charge(&mut self) -> &mut Charge {
        &mut self.charge
    }

    /// The buffer, with room for the next read.
    pub fn make_room(&mut self) -> &mut BytesMut {
        let charged = self.charge.bytes().saturating_sub(self.buffer.len());
        let room = charged.max(READ_BYTES);
        if self.buffer.capacity() - self.buffer.len() < room {
            self.buffer.reserve(room);
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
    fn room_follows_what_arrives_not_what_is_announced() {
        let (mut frames, _memory) = frames(&[0x05, 0xf5, 0xe0, 0xff], 100_000_000);
        assert_eq!(frames.uncharged(), FIRST_STEP_BYTES);
        let received = 400_000;
        assert!(frames.charge().try_grow(received));
        frames.make_room().resize(4 + received, 0);
        assert_eq!(frames.uncharged(), 4 + received);
    }
}
