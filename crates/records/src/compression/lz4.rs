//! Unpacks the LZ4 frame format, block by block, with the limits of Kafka's own reader.
//!
//! Always holds: the frame is of version 1 with independent blocks and no dictionary; header and block checksums are
//! compared, that of the whole content is skipped, as Kafka does; bytes after the end mark are ignored. A block is at most
//! 4 MiB, and its buffer is no larger than its packed bytes can make.

use std::hash::Hasher;
use std::ops::Range;

use twox_hash::XxHash32;

use super::Compression;
use super::decompressor::{DecompressError, Scratch};

const MAGIC: u32 = 0x184d_2204;
const VERSION: u8 = 0b01;
const STORED: u32 = 1 << 31;
/// One packed byte makes at most 255; a few more for the last literals.
const LARGEST_RATIO: usize = 255;

const TRUNCATED: DecompressError = DecompressError::Truncated(Compression::Lz4);
const DAMAGED: DecompressError = DecompressError::Damaged(Compression::Lz4);

pub(super) struct Lz4Reader<'a> {
    rest: &'a [u8],
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    Header,
    Blocks { largest: usize, checksums: bool },
    Ended,
}

impl<'a> Lz4Reader<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self {
            rest: input,
            state: State::Header,
        }
    }

    pub(super) fn next_run(&mut self, scratch: &mut Scratch) -> Result<Range<usize>, DecompressError> {
        loop {
            match self.state {
                State::Header => self.state = self.header()?,
                State::Ended => return Ok(0..0),
                State::Blocks { largest, checksums } => {
                    let size = u32::from_le_bytes(self.take_array()?);
                    if size == 0 {
                        self.state = State::Ended;
                        continue;
                    }
                    let made = self.block(size, largest, checksums, &mut scratch.run)?;
                    if made > 0 {
                        return Ok(0..made);
                    }
                }
            }
        }
    }

    fn header(&mut self) -> Result<State, DecompressError> {
        if u32::from_le_bytes(self.take_array()?) != MAGIC {
            return Err(DAMAGED);
        }
        let descriptor = self.rest;
        let [flags, block_size] = self.take_array()?;
        let independent = flags & 0x20 != 0;
        let reserved = flags & 0x03 != 0 || block_size & 0x8f != 0;
        if flags >> 6 != VERSION || !independent || reserved {
            return Err(DAMAGED);
        }
        let largest = match block_size >> 4 {
            size @ 4..=7 => 1 << (8 + 2 * size),
            _ => return Err(DAMAGED),
        };
        let content_size = flags & 0x08 != 0;
        if content_size {
            self.take(8)?;
        }
        let descriptor = &descriptor[..if content_size { 10 } else { 2 }];
        let [checksum] = self.take_array()?;
        if checksum != xxh32(descriptor).to_le_bytes()[1] {
            return Err(DAMAGED);
        }
        Ok(State::Blocks {
            largest,
            checksums: flags & 0x10 != 0,
        })
    }

    /// Unpacks a block into the start of `run` and says how long it is.
    fn block(
        &mut self,
        size: u32,
        largest: usize,
        checksums: bool,
        run: &mut Vec<u8>,
    ) -> Result<usize, DecompressError> {
        let packed = usize::try_from(size & !STORED).expect("31 bits");
        if packed > largest {
            return Err(DAMAGED);
        }
        let packed = self.take(packed)?;
        if checksums && u32::from_le_bytes(self.take_array()?) != xxh32(packed) {
            return Err(DAMAGED);
        }
        if size & STORED != 0 {
            run.resize(run.len().max(packed.len()), 0);
            run[..packed.len()].copy_from_slice(packed);
            return Ok(packed.len());
        }
        let room = largest.min(packed.len() * LARGEST_RATIO + 64);
        run.resize(run.len().max(room), 0);
        lz4_flex::block::decompress_into(packed, &mut run[..room]).map_err(|_| DAMAGED)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], DecompressError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(taken)
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], DecompressError> {
        Ok(self.take(N)?.try_into().expect("N bytes were taken"))
    }
}

fn xxh32(bytes: &[u8]) -> u32 {
    let mut hasher = XxHash32::with_seed(0);
    hasher.write(bytes);
    u32::try_from(hasher.finish()).expect("a 32-bit hash")
}
