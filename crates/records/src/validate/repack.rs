//! Packs the records of a batch with the codec that the topic asks for.
//!
//! Always holds: the records' own bytes stay as they are, so offsets, timestamps and the base timestamp stay right; they
//! pass through run by run, and packing ends as soon as the batch exceeds the topic's limit.

use std::io::Write;

use super::{Rules, Validated};
use crate::compression::{Codec, Compression, Compressor, DecompressError, Decompressor, Scratch};
use crate::error::BatchError;
use crate::header::{HEADER_BYTES, LOG_OVERHEAD};
use crate::rejection::Rejection;

/// Replaces the body of `validated`, packed with `source`, by one packed with `target`, and completes the header.
pub(super) fn repack(
    validated: &mut Validated,
    source: Compression,
    target: Codec,
    rules: &Rules,
    scratch: &mut Scratch,
) -> Result<(), Rejection> {
    let unpackable = |_| Rejection::Unpackable(target.compression);
    let limit = rules.max_message_bytes;
    let too_large = |body: usize| Rejection::TooLarge {
        size: HEADER_BYTES + body,
        limit,
    };
    let mut packer = Compressor::new(target, Vec::new()).map_err(unpackable)?;
    let mut runs = Decompressor::new(source, &validated.body, rules.limits.batch_bytes, scratch);
    while runs.advance().map_err(unreadable)? {
        packer.write_all(runs.run()).map_err(unpackable)?;
        if HEADER_BYTES + packer.len() > limit {
            return Err(too_large(packer.len()));
        }
    }
    drop(runs);
    let body = packer.finish().map_err(unpackable)?;
    let size = HEADER_BYTES + body.len();
    let length = i32::try_from(size - LOG_OVERHEAD).map_err(|_| too_large(body.len()))?;
    if size > limit {
        return Err(too_large(body.len()));
    }
    validated.body = body.into();
    validated.header.batch_length = length;
    validated.header.set_compression(target.compression);
    validated.header.seal(&validated.body);
    Ok(())
}

fn unreadable(error: DecompressError) -> Rejection {
    match error {
        DecompressError::TooLarge { limit } => Rejection::UnpacksTooLarge { limit },
        _ => Rejection::Unreadable(BatchError::Decompress(error)),
    }
}
