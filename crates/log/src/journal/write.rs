//! Writing a round: entries, and behind each the bytes of its batches, read back from the segment.
//!
//! Always holds: a round is written in pieces of a bounded buffer, its header last, so that it is whole or none; only whole
//! blocks are written, so that nothing has to be read for it. Nothing here syncs.

use std::io::IoSlice;
use std::sync::Arc;

use klamm_env::File;
use klamm_model::Uuid;

use super::format::{
    BLOCK_BYTES, ENTRY_HEADER_BYTES, Entry, ROUND_HEADER_BYTES, RoundHeader, Sum, whole_blocks,
};
use crate::error::LogError;

/// What is read and written at once; a multiple of a block.
const BUFFER_BYTES: usize = 256 * 1024;

/// An entry, and the file that has the bytes behind it.
pub(crate) struct Piece<'a> {
    pub(crate) entry: Entry,
    pub(crate) source: Option<&'a Arc<dyn File>>,
}

impl Piece<'_> {
    /// What it takes in a round.
    pub(crate) fn bytes(&self) -> u64 {
        ENTRY_HEADER_BYTES as u64 + u64::from(self.entry.payload_bytes())
    }
}

/// Where a round is to stand, and which one it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) dir_id: Uuid,
    pub(crate) position: u64,
    pub(crate) sequence: u64,
    pub(crate) lsn: u64,
}

/// Bytes of a round with these entries.
pub(crate) fn round_bytes(pieces: &[Piece<'_>]) -> u64 {
    ROUND_HEADER_BYTES as u64 + pieces.iter().map(Piece::bytes).sum::<u64>()
}

/// Writes a round; returns where the next one may begin.
pub(crate) fn write_round(
    file: &dyn File,
    place: Place,
    pieces: &[Piece<'_>],
    buffer: &mut Vec<u8>,
) -> Result<u64, LogError> {
    let mut writer = Writer {
        file,
        at: place.position,
        buffer,
        sum: Sum::new(),
        // The header is not covered.
        covered: ROUND_HEADER_BYTES,
    };
    writer.buffer.clear();
    writer.buffer.resize(ROUND_HEADER_BYTES, 0);
    for piece in pieces {
        writer.add(&piece.entry.encode())?;
        if let (Entry::Append(append), Some(source)) = (&piece.entry, piece.source) {
            writer.copy(&**source, u64::from(append.position), append.length as usize)?;
        }
    }
    let length = writer.at - place.position + writer.buffer.len() as u64;
    writer.cover();
    let header = RoundHeader {
        body_sum: writer.sum.value(),
        length: u32::try_from(length).expect("rounds are bounded"),
        entries: u32::try_from(pieces.len()).expect("rounds are bounded"),
        sequence: place.sequence,
        lsn: place.lsn,
    };
    writer.finish(place.position, &header.encode(place.dir_id))?;
    Ok(place.position + whole_blocks(length))
}

struct Writer<'a> {
    file: &'a dyn File,
    /// Where the buffer belongs.
    at: u64,
    buffer: &'a mut Vec<u8>,
    sum: Sum,
    /// How much of the buffer the sum covers, or passes over.
    covered: usize,
}

impl Writer<'_> {
    fn add(&mut self, mut bytes: &[u8]) -> Result<(), LogError> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BUFFER_BYTES - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            self.write_if_full()?;
        }
        Ok(())
    }

    fn copy(&mut self, source: &dyn File, mut position: u64, mut left: usize) -> Result<(), LogError> {
        while left > 0 {
            let start = self.buffer.len();
            let count = left.min(BUFFER_BYTES - start);
            self.buffer.resize(start + count, 0);
            source
                .read_exact_at(&mut self.buffer[start..], position)
                .map_err(LogError::io("a segment file".as_ref()))?;
            position += count as u64;
            left -= count;
            self.write_if_full()?;
        }
        Ok(())
    }

    fn cover(&mut self) {
        self.sum.add(&self.buffer[self.covered..]);
        self.covered = self.buffer.len();
    }

    fn write_if_full(&mut self) -> Result<(), LogError> {
        if self.buffer.len() < BUFFER_BYTES {
            return Ok(());
        }
        self.cover();
        self.put(&self.buffer[..], self.at)?;
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        self.covered = 0;
        Ok(())
    }

    /// Writes what is left, and the header where the round begins.
    fn finish(&mut self, begin: u64, header: &[u8; ROUND_HEADER_BYTES]) -> Result<(), LogError> {
        let blocks = self.buffer.len().next_multiple_of(BLOCK_BYTES);
        self.buffer.resize(blocks, 0);
        if self.at == begin {
            self.buffer[..ROUND_HEADER_BYTES].copy_from_slice(header);
            return self.put(&self.buffer[..], begin);
        }
        self.put(&self.buffer[..], self.at)?;
        self.put(header, begin)
    }

    fn put(&self, bytes: &[u8], position: u64) -> Result<(), LogError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.file
            .write_at(&[IoSlice::new(bytes)], position)
            .map_err(LogError::io("a journal file".as_ref()))
    }
}
