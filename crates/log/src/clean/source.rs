//! The segments that a round goes over, and reading them batch by batch.
//!
//! Always holds: a batch is whole and its checksum was compared; a file that is open is read to its end, whatever becomes of
//! its name.

use std::path::PathBuf;
use std::sync::Arc;

use klamm_env::File;
use klamm_model::{Offset, TimestampMs};
use klamm_records::{BatchError, BatchHeader, HEADER_BYTES};

use crate::error::LogError;
use crate::log::Log;
use crate::names::FileKind;
use crate::read::check_crc;
use crate::recovery::Chunks;
use crate::segment::SegmentFiles;

/// A segment as it was when the round began.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) files: Arc<SegmentFiles>,
    pub(super) base_offset: Offset,
    /// Where the next one begins.
    pub(super) end: Offset,
    pub(super) size: u32,
    /// Bytes of its indexes.
    index_bytes: (u64, u64),
    pub(super) created: TimestampMs,
}

/// The segments below `end`, where one of them ends.
pub(super) fn sources(log: &Log, end: Offset) -> Vec<Source> {
    let count = (0..log.segments.len() - 1).take_while(|at| log.end_of_segment(*at) <= end);
    count
        .map(|at| {
            let segment = log.segment(at);
            Source {
                files: Arc::clone(&segment.files),
                base_offset: segment.base_offset,
                end: log.end_of_segment(at),
                size: segment.size,
                index_bytes: segment.index_bytes(),
                created: segment.created,
            }
        })
        .collect()
}

/// How many of the sources, from the first on, become one segment.
pub(super) fn group_length(sources: &[Source], (segment_bytes, index_bytes): (u32, u32)) -> usize {
    let Some(first) = sources.first() else { return 0 };
    let (mut bytes, mut index, mut times) = (0, 0, 0);
    let fitting = sources.iter().enumerate().take_while(|(at, source)| {
        bytes += u64::from(source.size);
        index += source.index_bytes.0;
        times += source.index_bytes.1;
        let reach = source.end.0 - 1 - first.base_offset.0;
        let fits = bytes <= u64::from(segment_bytes)
            && index.max(times) <= u64::from(index_bytes)
            && (source.size == 0 || reach <= i64::from(i32::MAX));
        *at == 0 || fits
    });
    fitting.count()
}

/// A source that is being read.
#[derive(Debug)]
pub(super) struct Reading {
    /// Its place among the sources.
    pub(super) at: usize,
    path: PathBuf,
    file: Arc<dyn File>,
    chunks: Chunks,
    size: u64,
    /// Where the next batch begins.
    pub(super) position: u64,
}

/// A batch of a source.
pub(super) struct Found<'a> {
    pub(super) header: BatchHeader,
    pub(super) bytes: &'a [u8],
    /// Bytes behind it in the source.
    pub(super) left: u64,
    path: &'a PathBuf,
    position: u64,
}

impl Found<'_> {
    pub(super) fn body(&self) -> &[u8] {
        &self.bytes[HEADER_BYTES..]
    }

    /// What it holds cannot be read.
    pub(super) fn damaged(&self, error: &BatchError) -> LogError {
        damaged(self.path, self.position, error)
    }
}

fn damaged(path: &std::path::Path, position: u64, error: &BatchError) -> LogError {
    LogError::corrupt(path, format!("position {position}: {error}"))
}

impl Reading {
    /// Opens the source, of which `piece` bytes are read at once. Enters the gate if it is not open.
    pub(super) fn begin(source: &Source, at: usize, piece: usize) -> Result<Self, LogError> {
        let size = u64::from(source.size);
        Ok(Self {
            at,
            path: source.files.path(FileKind::Log),
            file: source.files.open_through(FileKind::Log)?,
            chunks: Chunks::of_size(size, piece),
            size,
            position: 0,
        })
    }

    /// The next batch; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Found<'_>>, LogError> {
        let Self { path, position, .. } = self;
        let at = *position;
        let found = self.chunks.batch(&*self.file, at);
        let Some(batch) = found.map_err(LogError::io(path))? else {
            return Ok(None);
        };
        let checked = batch.and_then(|bytes| check_crc(bytes).map(|header| (header, bytes)));
        let (header, bytes) = checked.map_err(|error| damaged(path, at, &error))?;
        *position = at + bytes.len() as u64;
        Ok(Some(Found {
            header,
            bytes,
            left: self.size - *position,
            path,
            position: at,
        }))
    }

    pub(super) fn is_over(&self) -> bool {
        self.position >= self.size
    }
}
