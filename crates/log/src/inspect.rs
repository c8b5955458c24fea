//! Looking into the files of a partition, of ours or of Apache Kafka, without opening a log: for `klamm log dump`.
//!
//! Always holds: nothing is written or repaired; what cannot be read is said with its position, and nothing after it is
//! guessed.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use klamm_env::{File, Files, OpenMode};
use klamm_model::{LeaderEpoch, Offset};
use klamm_records::{Batch, BatchError};
use thiserror::Error;

use crate::checkpoint;
use crate::error::LogError;
use crate::index::transaction::{AbortedTransaction, ENTRY_BYTES};
use crate::index::{IndexEntry, OffsetEntry, TimeEntry};
use crate::names::{self, FileKind};
use crate::producers::{ActiveProducer, snapshot};
use crate::recovery::Chunks;

/// More than `segment.index.bytes` may be.
const INDEX_LIMIT_BYTES: u64 = 1 << 31;

/// Why a file cannot be read on.
#[derive(Debug, Error)]
pub enum InspectError {
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// At this place of a segment stands no batch.
    #[error("position {position}: {source}")]
    Batch {
        /// Where.
        position: u64,
        /// What was found.
        source: BatchError,
    },
    /// The file's name says no kind or offset.
    #[error("'{0}' is not the name of a segment, index or snapshot")]
    Name(String),
    /// The file is not what its name says.
    #[error("{0}")]
    Format(String),
    /// One of the text files cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// A batch of a segment file.
#[derive(Clone, Debug)]
pub struct BatchAt {
    /// Where it begins.
    pub position: u64,
    /// The batch.
    pub batch: Batch,
    /// What its checksum says.
    pub checksum: Result<(), BatchError>,
}

/// The batches of a segment file, in order; after an error there are none.
#[derive(Debug)]
pub struct Segment {
    file: Arc<dyn File>,
    chunks: Chunks,
    position: u64,
    failed: bool,
}

impl Segment {
    /// Opens a `.log` file for reading. Blocks, as the iteration does.
    pub fn open(files: &dyn Files, path: &Path) -> Result<Self, InspectError> {
        let file = files.open(path, OpenMode::Read)?;
        let chunks = Chunks::new(file.len()?);
        Ok(Self {
            file,
            chunks,
            position: 0,
            failed: false,
        })
    }
}

impl Iterator for Segment {
    type Item = Result<BatchAt, InspectError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let position = self.position;
        let fault = |source| InspectError::Batch { position, source };
        let item = match self.chunks.batch(&*self.file, position) {
            Ok(None) => return None,
            Ok(Some(bytes)) => bytes
                .and_then(|bytes| Batch::parse(&Bytes::copy_from_slice(bytes)))
                .map_err(fault),
            Err(error) => Err(error.into()),
        };
        self.failed = item.is_err();
        Some(item.map(|batch| {
            self.position += batch.bytes().len() as u64;
            BatchAt {
                position,
                checksum: batch.check_crc(),
                batch,
            }
        }))
    }
}

/// An entry of an offset index, with the whole offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetAt {
    /// The last offset of a batch.
    pub offset: Offset,
    /// Where the batch begins.
    pub position: u32,
}

/// An entry of a time index, with the whole offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeAt {
    /// The largest timestamp up to the offset.
    pub timestamp: i64,
    /// The last offset of the batch that has it.
    pub offset: Offset,
}

/// The entries of a `.index` file. Blocks.
pub fn offset_index(files: &dyn Files, path: &Path) -> Result<Vec<OffsetAt>, InspectError> {
    let base_offset = offset_in_name(path, FileKind::OffsetIndex)?;
    let entries = entries::<OffsetEntry>(files, path)?;
    let whole = entries.into_iter().map(|entry| OffsetAt {
        offset: base_offset.plus(i64::from(entry.relative_offset)),
        position: entry.position,
    });
    Ok(whole.collect())
}

/// The entries of a `.timeindex` file. Blocks.
pub fn time_index(files: &dyn Files, path: &Path) -> Result<Vec<TimeAt>, InspectError> {
    let base_offset = offset_in_name(path, FileKind::TimeIndex)?;
    let entries = entries::<TimeEntry>(files, path)?;
    let whole = entries.into_iter().map(|entry| TimeAt {
        timestamp: entry.timestamp,
        offset: base_offset.plus(i64::from(entry.relative_offset)),
    });
    Ok(whole.collect())
}

/// The entries of a `.txnindex` file. Blocks.
pub fn transaction_index(files: &dyn Files, path: &Path) -> Result<Vec<AbortedTransaction>, InspectError> {
    let bytes = files.read(path, INDEX_LIMIT_BYTES)?;
    let entries = bytes.chunks(ENTRY_BYTES).enumerate().map(|(i, entry)| {
        AbortedTransaction::parse(entry).ok_or_else(|| {
            InspectError::Format(format!("position {}: no aborted transaction", i * ENTRY_BYTES))
        })
    });
    entries.collect()
}

/// The producers in a `.snapshot` file. Blocks.
pub fn producer_snapshot(files: &dyn Files, path: &Path) -> Result<Vec<ActiveProducer>, InspectError> {
    let bytes = files.read(path, INDEX_LIMIT_BYTES)?;
    let state = snapshot::decode(&bytes).map_err(|error| InspectError::Format(error.to_string()))?;
    Ok(state.active().collect())
}

/// The epochs in a `leader-epoch-checkpoint` file. Blocks.
pub fn leader_epochs(files: &dyn Files, path: &Path) -> Result<Vec<(LeaderEpoch, Offset)>, InspectError> {
    Ok(checkpoint::read_epochs(files, path)?)
}

fn offset_in_name(path: &Path, kind: FileKind) -> Result<Offset, InspectError> {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    match names::parse_file(&name) {
        Some((found, offset)) if found == kind => Ok(offset),
        _ => Err(InspectError::Name(name)),
    }
}

pub(crate) fn entries<E: IndexEntry>(files: &dyn Files, path: &Path) -> Result<Vec<E>, InspectError> {
    let bytes = files.read(path, INDEX_LIMIT_BYTES)?;
    let whole = bytes.chunks_exact(E::SIZE);
    if !whole.remainder().is_empty() {
        let text = format!(
            "{} bytes are not a multiple of the {} of an entry",
            bytes.len(),
            E::SIZE
        );
        return Err(InspectError::Format(text));
    }
    Ok(whole.map(E::decode).collect())
}

#[cfg(test)]
mod tests;
