//! Reading sealed segments again, now and then: a bit that flipped on the device is found before anybody asks for it.
//!
//! Always holds: nothing is written; what was not in the page cache is not there afterwards either; the log is held for moments
//! only, and a segment that is removed meanwhile can be read to its end. Segments that are not synced yet are left alone: until
//! then a crash, not this, finds out about them.

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;

use klamm_env::{File, OpenMode};
use klamm_model::Offset;

use crate::error::LogError;
use crate::gate::home_of;
use crate::names::FileKind;
use crate::prepare::LogCell;
use crate::verify::walk::{Depth, Piece, Walk};
use crate::verify::{Finding, FindingKind};

/// A sealed segment that is being read again.
#[expect(missing_debug_implementations, reason = "its walk holds buffers")]
pub struct SegmentScrub {
    end_offset: Offset,
    path: PathBuf,
    walk: Walk,
}

/// The sealed segments of a log that are on the device: their base offsets, and their bytes.
pub fn sealed(cell: &impl LogCell) -> Vec<(Offset, u64)> {
    cell.with(|log| {
        let count = log.segments.len().saturating_sub(1);
        let durable = log.durable_end_offset();
        (0..count)
            .take_while(|index| log.end_of_segment(*index) <= durable)
            .map(|index| (log.segment(index).base_offset, u64::from(log.segment(index).size)))
            .collect()
    })
}

/// Begins to read the segment at `base_offset`; `None` if it is not there any more, or not sealed. Blocks.
pub fn begin(cell: &impl LogCell, base_offset: Offset) -> Result<Option<SegmentScrub>, LogError> {
    let home = home_of(cell);
    let found = cell.with(|log| {
        let index = log.segment_at(base_offset)?;
        let sealed = index + 1 < log.segments.len();
        let segment = log.segment(index);
        sealed.then(|| {
            let path = segment.files.path(FileKind::Log);
            (path, u64::from(segment.size), log.end_of_segment(index))
        })
    });
    let Some((path, size, end_offset)) = found else {
        return Ok(None);
    };
    let _inside = home.gate.enter()?;
    // A handle of its own: those of the cache are of use to others, and read ahead.
    let file = match home.dir.files().open(&path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LogError::io(&path)(error)),
    };
    let walk = Walk::new(
        Arc::new(Passing(file)),
        size,
        base_offset..end_offset,
        Depth::Checksums,
    );
    Ok(Some(SegmentScrub {
        end_offset,
        path,
        walk,
    }))
}

/// The segments there are.
pub fn paths(cell: &impl LogCell) -> BTreeSet<PathBuf> {
    cell.with(|log| {
        let segments = log.segments.iter();
        segments
            .map(|segment| segment.files.path(FileKind::Log))
            .collect()
    })
}

/// The damage that a read from `offset` ran into: at `positions` of the segment that holds it.
pub fn read_into(cell: &impl LogCell, offset: Offset, positions: Range<u64>, what: String) -> Finding {
    let (path, end_offset) = cell.with(|log| {
        let index = log.segment_of(offset);
        (
            log.segment(index).files.path(FileKind::Log),
            log.end_of_segment(index),
        )
    });
    Finding {
        kind: FindingKind::Batches,
        path,
        positions: Some(positions),
        offsets: Some((offset, Some(end_offset))),
        what,
    }
}

impl SegmentScrub {
    /// Reads on, about `bytes`; how many it were, and what is damaged in them. No bytes: the end was reached. Blocks.
    pub fn step(&mut self, bytes: u64) -> (u64, Vec<Finding>) {
        let from = self.walk.position();
        let mut found = Vec::new();
        while self.walk.position() - from < bytes {
            match self.walk.step() {
                None => break,
                Some(Piece::Batch { .. }) => {}
                Some(Piece::Damaged {
                    positions,
                    what,
                    first_offset,
                    next_offset,
                }) => found.push(self.damaged(positions, what, first_offset, next_offset)),
            }
        }
        (self.walk.position() - from, found)
    }

    fn damaged(
        &self,
        positions: Range<u64>,
        what: String,
        first_offset: Offset,
        next_offset: Option<Offset>,
    ) -> Finding {
        Finding {
            kind: FindingKind::Batches,
            path: self.path.clone(),
            positions: Some(positions),
            offsets: Some((first_offset, Some(next_offset.unwrap_or(self.end_offset)))),
            what,
        }
    }
}

/// Reads so that the page cache is as it was before.
#[derive(Debug)]
struct Passing(Arc<dyn File>);

impl File for Passing {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_passing(buffer, offset)
    }

    fn read_at_resident(&self, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        self.0.read_at_resident(buffer, offset)
    }

    fn write_at(&self, _: &[IoSlice<'_>], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests;
