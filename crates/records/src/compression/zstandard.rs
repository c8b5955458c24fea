//! Unpacks zstd frames (RFC 8878), run by run.
//!
//! Always holds: a window above 128 MiB is refused, which is the largest that any level of the reference encoder makes
//! and what the Java client reads; the window is allocated by the library, and touched only as far as there is output.

use std::ops::Range;

use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, ResetDirective};

use super::Compression;
use super::decompressor::{DecompressError, RUN_BYTES, Scratch};

const LARGEST_WINDOW_LOG: u32 = 27;

const TRUNCATED: DecompressError = DecompressError::Truncated(Compression::Zstd);
const DAMAGED: DecompressError = DecompressError::Damaged(Compression::Zstd);

/// The library's state, kept from stream to stream.
pub(super) struct Context(DCtx<'static>);

impl Context {
    fn create() -> Option<Self> {
        let mut context = DCtx::try_create()?;
        context
            .set_parameter(DParameter::WindowLogMax(LARGEST_WINDOW_LOG))
            .ok()?;
        Some(Self(context))
    }

    /// Bytes that the library holds.
    pub(super) fn sizeof(&self) -> usize {
        self.0.sizeof()
    }
}

pub(super) struct ZstdReader<'a> {
    rest: &'a [u8],
    /// Whether the frame that was begun is not complete.
    within_frame: bool,
}

impl<'a> ZstdReader<'a> {
    pub(super) fn new(input: &'a [u8], scratch: &mut Scratch) -> Self {
        if scratch
            .zstd
            .as_mut()
            .is_some_and(|context| context.0.reset(ResetDirective::SessionOnly).is_err())
        {
            scratch.zstd = None;
        }
        Self {
            rest: input,
            within_frame: !input.is_empty(),
        }
    }

    pub(super) fn next_run(&mut self, scratch: &mut Scratch) -> Result<Range<usize>, DecompressError> {
        if scratch.zstd.is_none() {
            scratch.zstd = Context::create();
        }
        let context = &mut scratch.zstd.as_mut().ok_or(DAMAGED)?.0;
        scratch.run.resize(scratch.run.len().max(RUN_BYTES), 0);
        while self.within_frame || !self.rest.is_empty() {
            let mut input = InBuffer::around(self.rest);
            let mut output = OutBuffer::around(&mut scratch.run[..RUN_BYTES]);
            let hint = context
                .decompress_stream(&mut output, &mut input)
                .map_err(|_| DAMAGED)?;
            let (taken, made) = (input.pos(), output.pos());
            self.rest = &self.rest[taken..];
            self.within_frame = hint != 0;
            if made > 0 {
                return Ok(0..made);
            }
            if taken == 0 && self.within_frame {
                return Err(TRUNCATED);
            }
        }
        Ok(0..0)
    }
}
