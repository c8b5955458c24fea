//! Reading rounds back: one after another, as far as they are whole.
//!
//! Always holds: a round is given out only when its checksums and its number are what they must be; memory does not depend on
//! anything that is read.

use std::io;

use klamm_env::File;
use klamm_model::Uuid;

use super::format::{
    BLOCK_BYTES, ENTRY_HEADER_BYTES, Entry, ROUND_HEADER_BYTES, RoundHeader, Sum, whole_blocks,
};

/// What is read at once; a multiple of a block.
pub(crate) const CHUNK_BYTES: usize = 256 * 1024;

/// A round that is whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FoundRound {
    pub(crate) position: u64,
    pub(crate) header: RoundHeader,
}

impl FoundRound {
    /// Where the next one may begin.
    pub(crate) fn end(&self) -> u64 {
        self.position + whole_blocks(u64::from(self.header.length))
    }
}

/// The rounds of one file.
pub(crate) struct Rounds<'a> {
    file: &'a dyn File,
    file_bytes: u64,
    dir_id: Uuid,
    sequence: u64,
    /// Where the next round must stand.
    pub(crate) position: u64,
    /// Which one it must be; `None` before the first, if that is not known.
    pub(crate) lsn: Option<u64>,
    chunk: Vec<u8>,
}

impl<'a> Rounds<'a> {
    pub(crate) fn new(
        file: &'a dyn File,
        file_bytes: u64,
        dir_id: Uuid,
        sequence: u64,
        lsn: Option<u64>,
    ) -> Self {
        Self {
            file,
            file_bytes,
            dir_id,
            sequence,
            position: BLOCK_BYTES as u64,
            lsn,
            chunk: Vec::new(),
        }
    }

    /// The next round; `None` where none stands that is whole.
    pub(crate) fn next(&mut self) -> io::Result<Option<FoundRound>> {
        let Some(header) = read_header(self.file, self.file_bytes, self.position, self.dir_id)? else {
            return Ok(None);
        };
        let length = u64::from(header.length);
        let body = length.checked_sub(ROUND_HEADER_BYTES as u64);
        let fits = body.is_some_and(|body| u64::from(header.entries) * ENTRY_HEADER_BYTES as u64 <= body)
            && self.position + length <= self.file_bytes;
        let is_next = header.sequence == self.sequence && self.lsn.is_none_or(|lsn| lsn == header.lsn);
        if !fits || !is_next || !self.is_whole(&header)? {
            return Ok(None);
        }
        let found = FoundRound {
            position: self.position,
            header,
        };
        self.position = found.end();
        self.lsn = Some(header.lsn + 1);
        Ok(Some(found))
    }

    fn is_whole(&mut self, header: &RoundHeader) -> io::Result<bool> {
        let mut sum = Sum::new();
        let (mut at, end) = (
            self.position + ROUND_HEADER_BYTES as u64,
            self.position + u64::from(header.length),
        );
        while at < end {
            let count = usize::try_from(end - at).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            self.chunk.resize(count, 0);
            self.file.read_exact_at(&mut self.chunk, at)?;
            sum.add(&self.chunk);
            at += count as u64;
        }
        Ok(sum.value() == header.body_sum)
    }
}

fn read_header(
    file: &dyn File,
    file_bytes: u64,
    position: u64,
    dir_id: Uuid,
) -> io::Result<Option<RoundHeader>> {
    if position + ROUND_HEADER_BYTES as u64 > file_bytes {
        return Ok(None);
    }
    let mut bytes = [0; ROUND_HEADER_BYTES];
    file.read_exact_at(&mut bytes, position)?;
    Ok(RoundHeader::parse(&bytes, dir_id))
}

/// The first header of a round at or behind `from` that `is_it`, with its position.
pub(crate) fn find_header(
    file: &dyn File,
    file_bytes: u64,
    from: u64,
    dir_id: Uuid,
    is_it: impl Fn(&RoundHeader) -> bool,
) -> io::Result<Option<(u64, RoundHeader)>> {
    let (mut at, mut chunk) = (from, Vec::new());
    while at + BLOCK_BYTES as u64 <= file_bytes {
        let count = usize::try_from(file_bytes - at)
            .unwrap_or(usize::MAX)
            .min(CHUNK_BYTES);
        chunk.resize(count, 0);
        file.read_exact_at(&mut chunk, at)?;
        for (number, block) in chunk.chunks_exact(BLOCK_BYTES).enumerate() {
            let mut bytes = [0; ROUND_HEADER_BYTES];
            bytes.copy_from_slice(&block[..ROUND_HEADER_BYTES]);
            if let Some(header) = RoundHeader::parse(&bytes, dir_id).filter(|header| is_it(header)) {
                return Ok(Some((at + (number * BLOCK_BYTES) as u64, header)));
            }
        }
        at += count as u64;
    }
    Ok(None)
}

/// The entries of a round that was found whole, each with the position of the bytes behind it; `None` for one that cannot be.
pub(crate) fn entries<'a>(
    file: &'a dyn File,
    round: &FoundRound,
) -> impl Iterator<Item = io::Result<Option<(Entry, u64)>>> + use<'a> {
    let mut at = round.position + ROUND_HEADER_BYTES as u64;
    let end = round.position + u64::from(round.header.length);
    let mut left = round.header.entries;
    std::iter::from_fn(move || {
        left = left.checked_sub(1)?;
        let behind = at + ENTRY_HEADER_BYTES as u64;
        if behind > end {
            left = 0;
            return Some(Ok(None));
        }
        let mut bytes = [0; ENTRY_HEADER_BYTES];
        if let Err(error) = file.read_exact_at(&mut bytes, at) {
            left = 0;
            return Some(Err(error));
        }
        let entry = Entry::parse(&bytes);
        let next = entry.map(|entry| behind + u64::from(entry.payload_bytes()));
        match (entry, next) {
            (Some(entry), Some(next)) if next <= end => {
                at = next;
                Some(Ok(Some((entry, behind))))
            }
            _ => {
                left = 0;
                Some(Ok(None))
            }
        }
    })
}
