//! Unpacks a stream run by run, under a limit.
//!
//! Always holds: memory is that of the codec's window and one run, whatever the stream announces; the windows are 32 KiB
//! (gzip), at most 4 MiB (lz4), 9 MiB (snappy) and 128 MiB (zstd at its highest levels; 8 MiB below level 20), and are
//! touched only as far as there is output. After the first error the stream gives no more.

use thiserror::Error;

use super::gzip::GzipReader;
use super::lz4::Lz4Reader;
use super::snappy::SnappyReader;
use super::zstandard::ZstdReader;
use super::{Compression, zstandard};

/// Bytes of a run from the codecs that have no blocks of their own.
pub(super) const RUN_BYTES: usize = 32 * 1024;
/// What a [`Scratch`] keeps of one buffer when a stream ends.
const KEPT_BYTES: usize = 4 * 1024 * 1024;

/// Why a stream does not unpack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecompressError {
    /// The stream ends before it is complete.
    #[error("the {0} stream ends too early")]
    Truncated(Compression),
    /// The stream is not one of this codec.
    #[error("the {0} stream is damaged")]
    Damaged(Compression),
    /// The stream unpacks to more than the reader allows.
    #[error("the records unpack to more than {limit} bytes")]
    TooLarge {
        /// What was allowed.
        limit: u64,
    },
}

/// The memory that unpacking needs, kept from batch to batch. One for each thread is enough; it starts empty.
#[derive(Default)]
pub struct Scratch {
    pub(super) run: Vec<u8>,
    pub(super) inflate: Option<flate2::Decompress>,
    pub(super) snap: Option<snap::raw::Decoder>,
    pub(super) zstd: Option<zstandard::Context>,
}

impl Scratch {
    /// Memory for unpacking, allocated when it is used.
    pub fn new() -> Self {
        Self::default()
    }

    fn trim(&mut self) {
        if self.run.capacity() > KEPT_BYTES {
            self.run = Vec::new();
        }
        if self
            .zstd
            .as_ref()
            .is_some_and(|context| context.sizeof() > KEPT_BYTES)
        {
            self.zstd = None;
        }
    }
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch")
            .field("run", &self.run.capacity())
            .finish_non_exhaustive()
    }
}

/// Unpacks one stream, run by run.
pub struct Decompressor<'a> {
    reader: Reader<'a>,
    scratch: &'a mut Scratch,
    run: std::ops::Range<usize>,
    produced: u64,
    limit: u64,
}

enum Reader<'a> {
    /// Not packed: the only run is the input.
    None(&'a [u8]),
    Gzip(GzipReader<'a>),
    Snappy(SnappyReader<'a>),
    Lz4(Lz4Reader<'a>),
    Zstd(ZstdReader<'a>),
    Ended,
}

impl<'a> Decompressor<'a> {
    /// Unpacks `input` to at most `limit` bytes.
    pub fn new(compression: Compression, input: &'a [u8], limit: u64, scratch: &'a mut Scratch) -> Self {
        let reader = match compression {
            Compression::None => Reader::None(input),
            Compression::Gzip => Reader::Gzip(GzipReader::new(input)),
            Compression::Snappy => Reader::Snappy(SnappyReader::new(input)),
            Compression::Lz4 => Reader::Lz4(Lz4Reader::new(input)),
            Compression::Zstd => Reader::Zstd(ZstdReader::new(input, scratch)),
        };
        Self {
            reader,
            scratch,
            run: 0..0,
            produced: 0,
            limit,
        }
    }

    /// The bytes that the last [`advance`](Self::advance) unpacked.
    pub fn run(&self) -> &[u8] {
        match self.reader {
            Reader::None(input) => &input[self.run.clone()],
            _ => &self.scratch.run[self.run.clone()],
        }
    }

    /// Unpacks the next run; `false` at the end of the stream. The run is never empty.
    pub fn advance(&mut self) -> Result<bool, DecompressError> {
        let outcome = self.next_run();
        match &outcome {
            Ok(run) => self.run = run.clone(),
            Err(_) => self.run = 0..0,
        }
        if self.run.is_empty() {
            self.reader = Reader::Ended;
        }
        outcome.map(|run| !run.is_empty())
    }

    fn next_run(&mut self) -> Result<std::ops::Range<usize>, DecompressError> {
        let run = match &mut self.reader {
            Reader::None(input) if self.run.is_empty() => 0..input.len(),
            Reader::None(_) | Reader::Ended => 0..0,
            Reader::Gzip(reader) => reader.next_run(self.scratch)?,
            Reader::Snappy(reader) => reader.next_run(self.scratch)?,
            Reader::Lz4(reader) => reader.next_run(self.scratch)?,
            Reader::Zstd(reader) => reader.next_run(self.scratch)?,
        };
        self.produced += run.len() as u64;
        if self.produced > self.limit {
            return Err(DecompressError::TooLarge { limit: self.limit });
        }
        Ok(run)
    }

    /// Unpacks all that is left to the end of `out`.
    pub fn read_to_end(&mut self, out: &mut Vec<u8>) -> Result<(), DecompressError> {
        while self.advance()? {
            out.extend_from_slice(self.run());
        }
        Ok(())
    }
}

impl Drop for Decompressor<'_> {
    fn drop(&mut self) {
        self.scratch.trim();
    }
}
