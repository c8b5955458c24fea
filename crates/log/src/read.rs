//! Reading: from an offset to a range of a segment file that the caller sends.
//!
//! Always holds: a range holds whole batches, all below the given bound; the first batch contains the offset asked for
//! or is the first after it. [`Log::read`] never waits for the device (it may run on a network thread);
//! [`read_blocking`] may.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use klamm_env::File;
use klamm_model::{Offset, TimestampMs};
use klamm_records::{BatchError, BatchHeader, HEADER_BYTES, verify_crc};
use thiserror::Error;

use crate::error::{LogError, NotReady, ReadError};
use crate::index::{OffsetEntry, Source, Stop};
use crate::log::Log;
use crate::names::FileKind;
use crate::prepare::{LogCell, prepare};
use crate::segment::{OwnedView, SegmentFiles, SegmentView, WalkError, bytes_of, stop_error};

/// Bytes between two places of a range that are probed for being in memory.
const PROBE_BYTES: u64 = 32 * 1024;
/// Batches up to the limit of a read that are walked over before the index is asked.
const WALKED_BATCHES: u32 = 8;
/// Where the bytes begin that a batch's checksum is made of: the attributes.
const CRC_COVERS_FROM: usize = 21;

/// Whole batches in a file.
#[derive(Clone, Debug)]
pub struct FileRange {
    /// The segment file; it stays readable while this is kept, also after its removal.
    pub file: Arc<dyn File>,
    /// Where the first batch begins.
    pub position: u64,
    /// Bytes of the batches.
    pub len: usize,
    /// Where they are.
    segment: Arc<SegmentFiles>,
}

/// What a read found.
#[derive(Clone, Debug)]
pub struct Read {
    /// The batches; `None` when there are none below the bound.
    pub range: Option<FileRange>,
    /// Where the next read goes on.
    pub next_offset: Offset,
}

/// What to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// From the batch that contains this offset.
    pub offset: Offset,
    /// At most so many bytes, apart from `min_one`.
    pub max_bytes: usize,
    /// Only batches wholly below this offset: the high watermark, the last stable offset, or the log end.
    pub upper_bound: Offset,
    /// Whether the first batch is returned even if it is larger than `max_bytes`.
    pub min_one: bool,
}

impl FileRange {
    /// Whether the bytes can be sent without waiting for the device, as far as probes of every 32 KiB tell, and without a check: being in
    /// memory says nothing of who brought them there.
    pub fn is_resident(&self) -> bool {
        if !self.is_trusted() {
            return false;
        }
        let end = self.position + self.len as u64;
        let mut byte = [0];
        let mut at = self.position;
        while at < end {
            if !matches!(self.file.read_at_resident(&mut byte, at), Ok(Some(1))) {
                return false;
            }
            // The last byte is probed as well.
            at = if at + 1 < end {
                (at + PROBE_BYTES).min(end - 1)
            } else {
                end
            };
        }
        true
    }

    /// Puts the bytes behind those of `copy` if all of them are in memory, and says whether they were.
    pub fn copy_resident(&self, copy: &mut Vec<u8>) -> bool {
        if !self.is_trusted() {
            return false;
        }
        let before = copy.len();
        copy.resize(before + self.len, 0);
        let read = self.file.read_at_resident(&mut copy[before..], self.position);
        let is_whole = matches!(read, Ok(Some(n)) if n == self.len);
        if !is_whole {
            copy.truncate(before);
        }
        is_whole
    }

    fn is_trusted(&self) -> bool {
        self.segment.trust().covers(self.position, self.len as u64)
    }

    /// Somebody who read the bytes found that they are not what was appended.
    pub fn distrust(&self) {
        self.segment.trust().lose();
    }

    /// Reads the bytes and checks every batch against its checksum. Blocks. Afterwards they are resident.
    pub fn verify(&self) -> Result<(), VerifyError> {
        let verified = self.verify_batches();
        match &verified {
            Ok(()) => self.segment.trust().verified(self.position, self.len as u64),
            Err(VerifyError::Corrupt { .. }) => self.distrust(),
            Err(_) => {}
        }
        verified
    }

    fn verify_batches(&self) -> Result<(), VerifyError> {
        let mut batch = Vec::new();
        let mut done = 0;
        while done < self.len {
            let position = self.position + done as u64;
            let corrupt = |source| VerifyError::Corrupt { position, source };
            let room = self.len - done;
            batch.resize(room.min(HEADER_BYTES), 0);
            self.file.read_exact_at(&mut batch, position)?;
            let need = BatchHeader::peek_size(&batch).map_err(corrupt)?;
            if need > room {
                return Err(corrupt(BatchError::Incomplete { need, have: room }));
            }
            // Within the range, hence within the segment: the size is no longer just an announcement.
            batch.resize(need, 0);
            self.file.read_exact_at(&mut batch, position)?;
            check_crc(&batch).map_err(corrupt)?;
            done += need;
        }
        Ok(())
    }
}

/// Why a range must not be sent.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// A batch is not what was appended.
    #[error("position {position}: {source}")]
    Corrupt {
        /// Where in the file.
        position: u64,
        /// What was found.
        source: BatchError,
    },
    /// The device did not give the bytes.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Compares the checksum of exactly one whole batch with its bytes.
pub(crate) fn check_crc(batch: &[u8]) -> Result<BatchHeader, BatchError> {
    let header = BatchHeader::parse(batch)?;
    if verify_crc(batch) {
        return Ok(header);
    }
    let computed = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &batch[CRC_COVERS_FROM..]);
    Err(BatchError::Crc {
        stored: header.crc,
        computed: u32::try_from(computed & 0xffff_ffff).expect("masked to 32 bits"),
    })
}

/// A range within one segment.
struct Planned {
    position: u32,
    end: u32,
    next_offset: Offset,
}

/// How a plan reads.
struct Reach<'a> {
    log: Source<'a>,
    index: Source<'a>,
    start: Option<u32>,
    bound: Option<u32>,
}

/// Plans a read within one segment; `None` if it has no batch at or after the offset. A plan with bytes goes on after
/// the offset that was asked for: the checksums do not cover base offsets, and who reads on must not stand still.
fn plan(
    view: &SegmentView<'_>,
    request: &ReadRequest,
    reach: &Reach<'_>,
) -> Result<Option<Planned>, WalkError> {
    let planned = find_range(view, request, reach)?;
    match &planned {
        Some(range) if range.end > range.position && range.next_offset <= request.offset => {
            let what = format!(
                "the batch behind position {} does not go on after offset {}",
                range.position, request.offset
            );
            Err(Stop::Io(io::Error::new(io::ErrorKind::InvalidData, what)).into())
        }
        _ => Ok(planned),
    }
}

fn find_range(
    view: &SegmentView<'_>,
    request: &ReadRequest,
    reach: &Reach<'_>,
) -> Result<Option<Planned>, WalkError> {
    let Reach { log, index, .. } = *reach;
    let start = match reach.start {
        Some(position) => position,
        None => view.locate(log, index, request.offset)?,
    };
    if start >= view.size {
        return Ok(None);
    }
    let bound = if request.upper_bound >= view.end_offset {
        view.size
    } else {
        match reach.bound {
            Some(position) => position,
            None => view.locate(log, index, request.upper_bound)?,
        }
    };
    let empty = Planned {
        position: start,
        end: start,
        next_offset: request.offset,
    };
    if start >= bound {
        return Ok(Some(empty));
    }
    let limit = u64::from(start) + request.max_bytes as u64;
    if u64::from(bound) <= limit {
        // A bound within a batch leaves that batch to the next read, from its start.
        let next_offset = match view.header(log, bound)? {
            Some(header) => header.base_offset.min(request.upper_bound),
            None => view.end_offset,
        };
        return Ok(Some(Planned {
            end: bound,
            next_offset,
            ..empty
        }));
    }
    let limit = u32::try_from(limit).expect("it lies before the bound");
    up_to_limit(view, request, reach, start..limit).map(Some)
}

/// The plan that ends with the last whole batch before the end of `room`, which lies before the bound.
fn up_to_limit(
    view: &SegmentView<'_>,
    request: &ReadRequest,
    reach: &Reach<'_>,
    room: Range<u32>,
) -> Result<Planned, WalkError> {
    let Reach { log, index, .. } = *reach;
    let Range { start, end: limit } = room;
    let planned = |end, next_offset| Planned {
        position: start,
        end,
        next_offset,
    };
    let below = |entry: &OffsetEntry| entry.position <= limit;
    let mut end = start;
    let mut walked = 0;
    if view.offsets.is_at_hand(below) {
        let (_, entry) = view.offsets.floor(index, below)?;
        end = entry.map_or(start, |entry| entry.position.max(start));
        walked = WALKED_BATCHES;
    }
    loop {
        let Some(header) = view.header(log, end)? else {
            return Ok(planned(end, view.end_offset));
        };
        let after = end.saturating_add(bytes_of(&header));
        if after > limit {
            return Ok(match (end == start, request.min_one) {
                (false, _) => planned(end, header.base_offset),
                (true, true) => planned(after, header.next_offset()),
                (true, false) => planned(start, request.offset),
            });
        }
        end = after;
        walked += 1;
        // A search of the index reads as often as a walk over a few batches; it is for many small ones.
        if walked == WALKED_BATCHES || (walked == 1 && (after - start) < (limit - start) / WALKED_BATCHES) {
            let (_, entry) = view.offsets.floor(index, below)?;
            end = entry.map_or(end, |entry| entry.position.max(end));
        }
    }
}

fn read_error(files: &SegmentFiles, base_offset: Offset, error: WalkError) -> ReadError {
    let path = files.path(FileKind::Log);
    match error {
        WalkError::Stop(Stop::NotResident) => ReadError::NotReady(NotReady::Segment(base_offset)),
        WalkError::Stop(stop) => ReadError::Storage(stop_error(&path, stop)),
        WalkError::Batch(position, source) => ReadError::Corrupt {
            path,
            position: u64::from(position),
            source,
        },
    }
}

impl Log {
    /// Finds the bytes to send. Does not wait for the device: where that is needed, the answer is
    /// [`ReadError::NotReady`], and [`read_blocking`] does the same on another thread.
    pub fn read(&mut self, request: &ReadRequest) -> Result<Read, ReadError> {
        let Some(mut at) = self.begin_read(request)? else {
            return Ok(nothing(request.offset));
        };
        // Most partitions of an answer that another one has filled: where they would begin need not be looked for.
        if request.max_bytes == 0 && !request.min_one {
            return Ok(nothing(request.offset));
        }
        loop {
            let Some(view) = self.view(at) else {
                return Ok(nothing(request.offset));
            };
            let base_offset = view.base_offset;
            if !self.segment(at).checked {
                return Err(ReadError::NotReady(NotReady::Segment(base_offset)));
            }
            let not_ready = || ReadError::NotReady(NotReady::Segment(base_offset));
            let log = view.files.get(FileKind::Log).ok_or_else(not_ready)?;
            let index = view.files.get(FileKind::OffsetIndex);
            let source = |file| Source {
                file,
                may_block: false,
            };
            let reach = Reach {
                log: source(Some(&*log)),
                index: source(index.as_deref()),
                start: self.mark(base_offset, request.offset),
                bound: self.mark(base_offset, request.upper_bound),
            };
            let planned = plan(&view, request, &reach).map_err(|e| read_error(view.files, base_offset, e))?;
            match planned {
                Some(planned) => {
                    let (size, files) = (view.size, Arc::clone(view.files));
                    return Ok(self.finish_read(size, &planned, log, files));
                }
                None => at += 1,
            }
        }
    }

    /// The segment to begin in; `None` if nothing can be below the bound.
    fn begin_read(&self, request: &ReadRequest) -> Result<Option<usize>, ReadError> {
        self.check_dir()?;
        if request.offset < self.log_start_offset() || request.offset > self.log_end_offset() {
            return Err(ReadError::OffsetOutOfRange {
                offset: request.offset,
                log_start_offset: self.log_start_offset(),
                log_end_offset: self.log_end_offset(),
            });
        }
        let bound = request.upper_bound.min(self.log_end_offset());
        Ok((request.offset < bound).then(|| self.segment_of(request.offset)))
    }

    fn finish_read(
        &mut self,
        size: u32,
        planned: &Planned,
        file: Arc<dyn File>,
        files: Arc<SegmentFiles>,
    ) -> Read {
        let segment = files.base_offset();
        // Whoever reads on from the end of a sealed segment begins at position 0 of the next.
        if planned.end < size || segment == self.active().base_offset {
            self.expect_at(segment, planned.next_offset, planned.end);
        }
        found(planned, file, files)
    }
}

fn found(planned: &Planned, file: Arc<dyn File>, segment: Arc<SegmentFiles>) -> Read {
    let len = (planned.end - planned.position) as usize;
    Read {
        range: (len > 0).then(|| FileRange {
            file,
            position: u64::from(planned.position),
            len,
            segment,
        }),
        next_offset: planned.next_offset,
    }
}

fn nothing(offset: Offset) -> Read {
    Read {
        range: None,
        next_offset: offset,
    }
}

/// [`Log::read`], waiting for the device where needed, without holding the log meanwhile. Blocks.
pub fn read_blocking(
    cell: &impl LogCell,
    request: &ReadRequest,
    now: TimestampMs,
) -> Result<Read, ReadError> {
    let mut request = *request;
    let (mut at, mut swaps) = (None, None);
    loop {
        let step: Step = cell.with(|log| {
            // Another segment may hold what was behind the last one.
            if swaps.replace(log.swaps) != Some(log.swaps) {
                at = None;
            }
            let first = match at {
                // The log may have changed meanwhile: the segment is looked for anew, by its base offset.
                Some(after) => log.segment_after(after),
                None => log.begin_read(&request)?,
            };
            let Some(view) = first.and_then(|index| log.view(index)) else {
                return Ok(Step::Nothing);
            };
            let base_offset = view.base_offset;
            if first.is_some_and(|index| !log.segment(index).checked) {
                return Ok(Step::Prepare(NotReady::Segment(base_offset)));
            }
            Ok::<_, ReadError>(Step::Plan(Box::new(view.to_owned())))
        })?;
        let owned = match step {
            Step::Nothing => return Ok(nothing(request.offset)),
            Step::Prepare(need) => {
                prepare(cell, need, now)?;
                continue;
            }
            Step::Plan(owned) => owned,
        };
        let view = owned.view();
        let open = |kind| view.files.open_through(kind);
        let (log, index) = match open(FileKind::Log).and_then(|log| Ok((log, open(FileKind::OffsetIndex)?))) {
            Err(LogError::Superseded) => continue,
            opened => opened?,
        };
        let source = |file| Source {
            file: Some(file),
            may_block: true,
        };
        let reach = Reach {
            log: source(&*log),
            index: source(&*index),
            start: None,
            bound: None,
        };
        let planned =
            plan(&view, &request, &reach).map_err(|e| read_error(view.files, view.base_offset, e))?;
        if let Some(planned) = planned {
            return Ok(cell.with(|held| match held.has(view.files) {
                true => held.finish_read(view.size, &planned, log, Arc::clone(view.files)),
                // Its places are not those of the segment that begins there now.
                false => found(&planned, log, Arc::clone(view.files)),
            }));
        }
        request.offset = request.offset.max(view.end_offset);
        at = Some(view.base_offset);
    }
}

enum Step {
    Nothing,
    Prepare(NotReady),
    Plan(Box<OwnedView>),
}

#[cfg(test)]
mod tests;
