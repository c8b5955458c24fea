//! Snappy in both shapes that Kafka clients send: the xerial frame of snappy-java, and one bare block (librdkafka, Go).
//!
//! ```text
//! frame: 0x82 "SNAPPY" 0x00 | version i32 | compatible version i32 | (block length i32, block)*
//! block: unpacked length (LEB128) | elements
//! ```
//!
//! Always holds: a block of up to 64 KiB is unpacked at once, a larger one in runs over a window of [`WINDOW_BYTES`],
//! which is the largest block, and so the largest distance, that known encoders make; a copy from further back is refused.

use std::io;
use std::ops::Range;

use super::Compression;
use super::decompressor::{DecompressError, RUN_BYTES, Scratch};

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// Magic, version and compatible version, both 1.
const FRAME_HEADER: [u8; 16] = [
    0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1,
];
/// What snappy-java packs into one block.
const FRAME_BLOCK_BYTES: usize = 32 * 1024;
const AT_ONCE_BYTES: usize = 64 * 1024;
const WINDOW_BYTES: usize = 4 * 1024 * 1024;

const TRUNCATED: DecompressError = DecompressError::Truncated(Compression::Snappy);
const DAMAGED: DecompressError = DecompressError::Damaged(Compression::Snappy);

/// Packs into the xerial frame.
pub(super) struct XerialEncoder {
    out: Vec<u8>,
    block: Vec<u8>,
    encoder: snap::raw::Encoder,
}

impl XerialEncoder {
    pub(super) fn new(mut out: Vec<u8>) -> Self {
        out.extend_from_slice(&FRAME_HEADER);
        Self {
            out,
            block: Vec::new(),
            encoder: snap::raw::Encoder::new(),
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(FRAME_BLOCK_BYTES - self.block.len());
        self.block.extend_from_slice(&bytes[..taken]);
        if self.block.len() == FRAME_BLOCK_BYTES {
            self.end_block()?;
        }
        Ok(taken)
    }

    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    pub(super) fn finish(mut self) -> io::Result<Vec<u8>> {
        if !self.block.is_empty() {
            self.end_block()?;
        }
        Ok(self.out)
    }

    fn end_block(&mut self) -> io::Result<()> {
        let at = self.out.len();
        self.out
            .resize(at + 4 + snap::raw::max_compress_len(self.block.len()), 0);
        let packed = self.encoder.compress(&self.block, &mut self.out[at + 4..])?;
        let length = u32::try_from(packed).expect("a packed block is below 64 KiB");
        self.out[at..at + 4].copy_from_slice(&length.to_be_bytes());
        self.out.truncate(at + 4 + packed);
        self.block.clear();
        Ok(())
    }
}

pub(super) struct SnappyReader<'a> {
    state: State<'a>,
}

enum State<'a> {
    Start(&'a [u8]),
    /// Between the blocks of a frame.
    Frame(&'a [u8]),
    /// Within a block; the second is what follows it in the frame.
    Block(Block<'a>, &'a [u8]),
}

impl<'a> SnappyReader<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self {
            state: State::Start(input),
        }
    }

    pub(super) fn next_run(&mut self, scratch: &mut Scratch) -> Result<Range<usize>, DecompressError> {
        loop {
            match &mut self.state {
                State::Start([]) => return Err(TRUNCATED),
                State::Start(input) => match input.strip_prefix(&MAGIC) {
                    Some(rest) if input.len() >= FRAME_HEADER.len() => self.state = State::Frame(&rest[8..]),
                    _ => {
                        let block = *input;
                        if let Some(run) = self.begin(block, &[], scratch)? {
                            return Ok(run);
                        }
                    }
                },
                State::Frame([]) => return Ok(0..0),
                State::Frame(rest) => {
                    if let Some(next) = rest.strip_prefix(&MAGIC) {
                        self.state = State::Frame(next.get(8..).ok_or(TRUNCATED)?);
                        continue;
                    }
                    let (length, rest) = rest.split_first_chunk().ok_or(TRUNCATED)?;
                    let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| DAMAGED)?;
                    let (block, rest) = rest.split_at_checked(length).ok_or(TRUNCATED)?;
                    if let Some(run) = self.begin(block, rest, scratch)? {
                        return Ok(run);
                    }
                }
                State::Block(block, rest) => {
                    let run = block.next_run(&mut scratch.run)?;
                    if !run.is_empty() {
                        return Ok(run);
                    }
                    self.state = State::Frame(rest);
                }
            }
        }
    }

    /// Unpacks a small block at once; a large one becomes the state.
    fn begin(
        &mut self,
        packed: &'a [u8],
        rest: &'a [u8],
        scratch: &mut Scratch,
    ) -> Result<Option<Range<usize>>, DecompressError> {
        let announced = snap::raw::decompress_len(packed).map_err(|_| DAMAGED)?;
        if announced > AT_ONCE_BYTES {
            scratch.run.clear();
            self.state = State::Block(Block::new(packed, announced)?, rest);
            return Ok(None);
        }
        scratch.run.resize(scratch.run.len().max(announced), 0);
        let decoder = scratch.snap.get_or_insert_with(snap::raw::Decoder::new);
        let made = decoder
            .decompress(packed, &mut scratch.run[..announced])
            .map_err(|_| DAMAGED)?;
        self.state = State::Frame(rest);
        Ok((made > 0).then_some(0..made))
    }
}

/// A block that is unpacked in runs; the run buffer is its window.
struct Block<'a> {
    elements: &'a [u8],
    /// The rest of a literal that was begun.
    literal: &'a [u8],
    /// Bytes that are still to come, as the block announced.
    left: usize,
}

impl<'a> Block<'a> {
    fn new(packed: &'a [u8], announced: usize) -> Result<Self, DecompressError> {
        let length_bytes = packed.iter().position(|byte| byte & 0x80 == 0).ok_or(DAMAGED)? + 1;
        Ok(Self {
            elements: &packed[length_bytes..],
            literal: &[],
            left: announced,
        })
    }

    /// Appends about [`RUN_BYTES`] to `window`; the run is empty when the block is complete.
    fn next_run(&mut self, window: &mut Vec<u8>) -> Result<Range<usize>, DecompressError> {
        if window.len() >= 2 * WINDOW_BYTES {
            window.drain(..window.len() - WINDOW_BYTES);
        }
        let start = window.len();
        while window.len() - start < RUN_BYTES && self.left > 0 {
            if self.literal.is_empty() {
                self.element(window)?;
            } else {
                let count = self.literal.len().min(RUN_BYTES);
                let (now, later) = self.literal.split_at(count);
                self.literal = later;
                self.made(count)?;
                window.extend_from_slice(now);
            }
        }
        if self.left == 0 && !(self.literal.is_empty() && self.elements.is_empty()) {
            return Err(DAMAGED);
        }
        Ok(start..window.len())
    }

    fn element(&mut self, window: &mut Vec<u8>) -> Result<(), DecompressError> {
        let tag = self.number(1)?;
        let (length, distance) = match tag & 0b11 {
            0 => {
                let length = match tag >> 2 {
                    short @ 0..60 => short,
                    long => self.number(long - 59)?,
                };
                let (literal, elements) = self.elements.split_at_checked(length + 1).ok_or(DAMAGED)?;
                (self.literal, self.elements) = (literal, elements);
                return Ok(());
            }
            1 => (4 + ((tag >> 2) & 0b111), (tag >> 5) << 8 | self.number(1)?),
            2 => (1 + (tag >> 2), self.number(2)?),
            _ => (1 + (tag >> 2), self.number(4)?),
        };
        if distance == 0 || distance > window.len() {
            return Err(DAMAGED);
        }
        self.made(length)?;
        let from = window.len() - distance;
        if distance >= length {
            window.extend_from_within(from..from + length);
        } else {
            for at in from..from + length {
                window.push(window[at]);
            }
        }
        Ok(())
    }

    /// Counts `count` bytes of output.
    fn made(&mut self, count: usize) -> Result<(), DecompressError> {
        self.left = self.left.checked_sub(count).ok_or(DAMAGED)?;
        Ok(())
    }

    /// The next `count` bytes (1 to 4) as a little-endian number.
    fn number(&mut self, count: usize) -> Result<usize, DecompressError> {
        let (bytes, rest) = self.elements.split_at_checked(count).ok_or(DAMAGED)?;
        self.elements = rest;
        Ok(bytes
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }
}
