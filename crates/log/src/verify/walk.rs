//! Walking over a segment file, also past what is damaged in it.
//!
//! Always holds: every byte of the file is either in a whole batch, whose checksum fits and which goes on where the one before
//! ended, or in a damaged range; a range ends where the next such batch begins, or with the file. Nothing that stands in
//! the file sizes an allocation beyond the bytes that are there.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use klamm_env::File;
use klamm_model::Offset;
use klamm_records::{Batch, BatchHeader, HEADER_BYTES, Scratch};

use crate::recovery::Chunks;

/// What a batch may unpack to.
const UNPACK_LIMIT_BYTES: u64 = 1 << 30;
/// Bytes that are looked through at once for the next batch.
const WINDOW_BYTES: usize = 256 * 1024;
/// Where the magic of a batch stands in it.
const MAGIC_AT: usize = 16;
/// The only magic there is.
const MAGIC: u8 = 2;
/// Bytes that a device gives, or does not give, together.
const SECTOR_BYTES: u64 = 4096;

/// The next piece of a segment.
#[derive(Debug)]
pub(crate) enum Piece {
    /// A whole batch.
    Batch {
        /// Where it begins.
        position: u64,
        /// What it is.
        batch: Batch,
    },
    /// Bytes that are no batch of this place.
    Damaged {
        /// Where they are.
        positions: Range<u64>,
        /// What is wrong at their beginning.
        what: String,
        /// The first offset that is missing.
        first_offset: Offset,
        /// The offset that the segment goes on with; `None` if nothing follows.
        next_offset: Option<Offset>,
    },
}

/// How closely a batch is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Its checksum and its offsets.
    Checksums,
    /// Its records are unpacked and decoded too.
    Records,
}

/// See the head of the file.
pub(crate) struct Walk {
    file: Arc<dyn File>,
    chunks: Chunks,
    position: u64,
    length: u64,
    base_offset: Offset,
    /// Where the next segment begins.
    end_offset: Offset,
    next_offset: Offset,
    depth: Depth,
    scratch: Scratch,
}

impl Walk {
    /// From the beginning of the segment at `base_offset`, of which `length` bytes count, and behind which one begins at
    /// `end_offset`.
    pub(crate) fn new(file: Arc<dyn File>, length: u64, offsets: Range<Offset>, depth: Depth) -> Self {
        Self {
            file,
            chunks: Chunks::new(length),
            position: 0,
            length,
            base_offset: offsets.start,
            end_offset: offsets.end,
            next_offset: offsets.start,
            depth,
            scratch: Scratch::new(),
        }
    }

    /// Where the next piece begins.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The next piece; `None` at the end. Blocks.
    pub(crate) fn step(&mut self) -> Option<Piece> {
        let position = self.position;
        if position >= self.length {
            return None;
        }
        let what = match self.judge(position) {
            Ok(batch) => {
                self.position += batch.bytes().len() as u64;
                self.next_offset = batch.header().next_offset();
                return Some(Piece::Batch { position, batch });
            }
            Err(what) => what,
        };
        let next = self.find_next(position);
        let (end, next_offset) = match next {
            Some((at, offset)) => (at, Some(offset)),
            None => (self.length, None),
        };
        self.position = end;
        let first_offset = self.next_offset;
        // What follows goes on from what was found there: the gap is a part of the damage.
        self.next_offset = next_offset.unwrap_or(first_offset);
        Some(Piece::Damaged {
            positions: position..end,
            what,
            first_offset,
            next_offset,
        })
    }

    /// The batch at `position`, or what is wrong with it.
    fn judge(&mut self, position: u64) -> Result<Batch, String> {
        let bytes = match self.chunks.batch(&*self.file, position) {
            Ok(Some(Ok(bytes))) => Bytes::copy_from_slice(bytes),
            Ok(Some(Err(error))) => return Err(error.to_string()),
            Ok(None) => return Err("the file ends there".into()),
            Err(error) => return Err(format!("the device does not give the bytes: {error}")),
        };
        let batch = Batch::parse(&bytes).map_err(|error| error.to_string())?;
        batch.check_crc().map_err(|error| error.to_string())?;
        self.in_order(batch.header(), position)?;
        if self.depth == Depth::Records {
            check_records(&batch, &mut self.scratch)?;
        }
        Ok(batch)
    }

    fn in_order(&self, header: &BatchHeader, position: u64) -> Result<(), String> {
        if !self.is_plausible(header) {
            return Err(format!(
                "offsets {} to {} do not continue {}",
                header.base_offset,
                header.last_offset(),
                self.next_offset
            ));
        }
        // The checksum does not cover the base offset: of one that leaves a gap, the batch behind it tells.
        if header.base_offset > self.next_offset
            && let Some(after) = self.header_at(position + header.size_in_bytes() as u64)
            && (self.next_offset..header.next_offset()).contains(&after.base_offset)
            && after.last_offset_delta >= 0
        {
            return Err(format!(
                "the base offset is {}, though {} comes before it and {} behind it",
                header.base_offset, self.next_offset, after.base_offset
            ));
        }
        Ok(())
    }

    /// Whether a batch with these offsets may come next.
    fn is_plausible(&self, header: &BatchHeader) -> bool {
        let reach = header.base_offset.0.checked_sub(self.base_offset.0);
        let reach = reach.and_then(|at| at.checked_add(i64::from(header.last_offset_delta)));
        header.base_offset >= self.next_offset
            && header.last_offset_delta >= 0
            && reach.is_some_and(|reach| reach <= i64::from(i32::MAX))
            && header.last_offset() < self.end_offset
    }

    /// The header of a batch that fits the file, wherever it is from.
    fn header_at(&self, position: u64) -> Option<BatchHeader> {
        let room = self.length.checked_sub(position)?;
        if room < HEADER_BYTES as u64 {
            return None;
        }
        let mut bytes = [0; HEADER_BYTES];
        self.file.read_exact_at(&mut bytes, position).ok()?;
        let header = BatchHeader::parse(&bytes).ok()?;
        (header.size_in_bytes() as u64 <= room).then_some(header)
    }

    /// Where the next batch behind the damage at `position` begins, and its base offset.
    fn find_next(&mut self, position: u64) -> Option<(u64, Offset)> {
        // Mostly the length is whole, and what follows too.
        if let Some(damaged) = self.header_at(position) {
            let end = position + damaged.size_in_bytes() as u64;
            if let Some(offset) = self.whole_at(end) {
                return Some((end, offset));
            }
        }
        let mut at = position + 1;
        let mut window = Vec::new();
        while at + HEADER_BYTES as u64 <= self.length {
            if !self.read_window(&mut window, at) {
                // A sector that cannot be read is a part of the damage.
                at = (at / SECTOR_BYTES + 1) * SECTOR_BYTES;
                continue;
            }
            let tried = window.len() - (HEADER_BYTES - 1);
            for place in 0..tried {
                if window[place + MAGIC_AT] == MAGIC
                    && let Ok(header) = BatchHeader::parse(&window[place..])
                    && self.is_plausible(&header)
                    && let Some(offset) = self.whole_at(at + place as u64)
                {
                    return Some((at + place as u64, offset));
                }
            }
            at += tried as u64;
        }
        None
    }

    /// Fills `window` with what stands at `at`, as much as the device gives at once; a header at least.
    fn read_window(&self, window: &mut Vec<u8>, at: u64) -> bool {
        let room = usize::try_from(self.length - at).unwrap_or(usize::MAX);
        let mut wanted = WINDOW_BYTES;
        while wanted >= HEADER_BYTES {
            window.resize(wanted.min(room), 0);
            if self.file.read_exact_at(window, at).is_ok() {
                return true;
            }
            wanted /= 4;
        }
        false
    }

    /// The base offset of the batch at `position`, if it is whole and may come next.
    fn whole_at(&mut self, position: u64) -> Option<Offset> {
        if position >= self.length {
            return None;
        }
        let header = self.header_at(position)?;
        if !self.is_plausible(&header) {
            return None;
        }
        match self.chunks.batch(&*self.file, position) {
            Ok(Some(Ok(bytes))) if klamm_records::verify_crc(bytes) => Some(header.base_offset),
            _ => None,
        }
    }
}

/// The records of a batch can be decoded, and have offsets of the batch that grow.
fn check_records(batch: &Batch, scratch: &mut Scratch) -> Result<(), String> {
    let header = batch.header();
    let mut last = None;
    let records = batch
        .records_with(UNPACK_LIMIT_BYTES, scratch)
        .map_err(|error| error.to_string())?;
    for record in records {
        let record = record.map_err(|error| error.to_string())?;
        if record.offset > header.last_offset() || last.is_some_and(|last| record.offset <= last) {
            return Err(format!("the record of offset {} is out of place", record.offset));
        }
        last = Some(record.offset);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
