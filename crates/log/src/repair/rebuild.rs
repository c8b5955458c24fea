//! Makes anew what follows from the batches: indexes, and the leader epochs.
//!
//! Always holds: each file is replaced as a whole, and what comes out is what an append would have written.

use std::path::Path;

use klamm_env::{Files, OpenMode};
use klamm_model::{Offset, TimestampMs};
use klamm_records::{BatchHeader, HEADER_BYTES};

use crate::checkpoint;
use crate::epochs::LeaderEpochs;
use crate::error::LogError;
use crate::index::transaction::AbortedTransaction;
use crate::index::{IndexEntry, OffsetEntry, TimeEntry};
use crate::names::FileKind;
use crate::producers::{ProducerState, snapshot};
use crate::verify::walk::{Depth, Piece, Walk};
use crate::verify::{EPOCHS, Listing};

/// More than a snapshot of producers has.
const SNAPSHOT_LIMIT_BYTES: u64 = 1 << 30;

/// Index files in the making.
struct Made {
    base_offset: Offset,
    interval_bytes: u64,
    offsets: Vec<u8>,
    times: Vec<u8>,
    unindexed: u64,
    largest: Option<(TimestampMs, Offset)>,
    indexed: TimestampMs,
}

impl Made {
    fn new(base_offset: Offset, interval_bytes: u32) -> Self {
        Self {
            base_offset,
            interval_bytes: u64::from(interval_bytes),
            offsets: Vec::new(),
            times: Vec::new(),
            unindexed: 0,
            largest: None,
            indexed: TimestampMs(-1),
        }
    }

    fn relative(&self, offset: Offset) -> u32 {
        u32::try_from(offset.0 - self.base_offset.0).expect("the walk has seen that it is of this segment")
    }

    fn note(&mut self, position: u64, header: &BatchHeader) {
        let so_far = self.largest.map_or(TimestampMs(-1), |largest| largest.0);
        if header.max_timestamp > so_far {
            self.largest = Some((header.max_timestamp, header.last_offset()));
        }
        if self.unindexed > self.interval_bytes {
            let entry = OffsetEntry {
                relative_offset: self.relative(header.last_offset()),
                position: u32::try_from(position).expect("a segment has less than 2 GiB"),
            };
            put(&mut self.offsets, &entry);
            self.note_time();
            self.unindexed = 0;
        }
        self.unindexed += header.size_in_bytes() as u64;
    }

    fn note_time(&mut self) {
        if let Some((timestamp, offset)) = self.largest.filter(|largest| largest.0 > self.indexed) {
            let entry = TimeEntry {
                timestamp: timestamp.0,
                relative_offset: self.relative(offset),
            };
            put(&mut self.times, &entry);
            self.indexed = timestamp;
        }
    }
}

fn put<E: IndexEntry>(to: &mut Vec<u8>, entry: &E) {
    let at = to.len();
    to.resize(at + E::SIZE, 0);
    entry.encode(&mut to[at..]);
}

/// Makes the three indexes of a segment anew. Blocks.
pub fn segment(
    files: &dyn Files,
    folder: &Path,
    base_offset: Offset,
    interval_bytes: u32,
) -> Result<(), LogError> {
    let listing = Listing::of(files, folder)?;
    let mut producers = producers_at(files, folder, &listing, base_offset)?;
    let mut made = Made::new(base_offset, interval_bytes);
    let mut aborted: Vec<AbortedTransaction> = Vec::new();
    walk(files, folder, &listing, base_offset, |position, header, body| {
        made.note(position, header);
        aborted.extend(producers.take_in(header, body));
    })?;
    made.note_time();
    let write = |kind: FileKind, bytes: &[u8]| {
        let path = folder.join(kind.name(base_offset));
        files.replace(&path, bytes).map_err(LogError::io(&path))
    };
    write(FileKind::OffsetIndex, &made.offsets)?;
    write(FileKind::TimeIndex, &made.times)?;
    let bytes: Vec<u8> = aborted.iter().flat_map(AbortedTransaction::to_bytes).collect();
    let path = folder.join(FileKind::TransactionIndex.name(base_offset));
    if !bytes.is_empty() {
        write(FileKind::TransactionIndex, &bytes)?;
    } else if files.entry(&path).map_err(LogError::io(&path))?.is_some() {
        files.remove_file(&path).map_err(LogError::io(&path))?;
    }
    files.sync_dir(folder).map_err(LogError::io(folder))
}

/// Makes the leader epochs anew. Blocks.
pub(super) fn epochs(files: &dyn Files, folder: &Path) -> Result<(), LogError> {
    let listing = Listing::of(files, folder)?;
    let mut epochs = LeaderEpochs::default();
    for base_offset in listing.segments.keys() {
        walk(files, folder, &listing, *base_offset, |_, header, _| {
            if let Some(epoch) = header.leader_epoch() {
                epochs.assign(epoch, header.base_offset);
            }
        })?;
    }
    checkpoint::write_epochs(files, &folder.join(EPOCHS), epochs.entries())
}

/// The producers' state where a segment begins, from the newest snapshot that can be read.
fn producers_at(
    files: &dyn Files,
    folder: &Path,
    listing: &Listing,
    base_offset: Offset,
) -> Result<ProducerState, LogError> {
    let read = |offset: &Offset| {
        let path = folder.join(FileKind::Snapshot.name(*offset));
        let bytes = files.read(&path, SNAPSHOT_LIMIT_BYTES).ok()?;
        Some((*offset, snapshot::decode(&bytes).ok()?))
    };
    let newest = listing.snapshots.range(..=base_offset).rev().find_map(read);
    let (from, mut producers) = newest.unwrap_or_default();
    for segment in listing.segments.range(..base_offset).map(|(segment, _)| *segment) {
        if listing.end_of(segment) <= from {
            continue;
        }
        walk(files, folder, listing, segment, |_, header, body| {
            if header.base_offset >= from {
                let _ = producers.take_in(header, body);
            }
        })?;
    }
    Ok(producers)
}

/// Shows every whole batch of a segment: its position, its header, and what is behind that.
fn walk(
    files: &dyn Files,
    folder: &Path,
    listing: &Listing,
    base_offset: Offset,
    mut show: impl FnMut(u64, &BatchHeader, &[u8]),
) -> Result<(), LogError> {
    let path = folder.join(FileKind::Log.name(base_offset));
    let opened = files
        .open(&path, OpenMode::Read)
        .and_then(|file| Ok((file.len()?, file)));
    let (length, file) = opened.map_err(LogError::io(&path))?;
    let offsets = base_offset..listing.end_of(base_offset);
    let mut walk = Walk::new(file, length, offsets, Depth::Checksums);
    while let Some(piece) = walk.step() {
        if let Piece::Batch { position, batch } = piece {
            show(position, batch.header(), &batch.bytes()[HEADER_BYTES..]);
        }
    }
    Ok(())
}
