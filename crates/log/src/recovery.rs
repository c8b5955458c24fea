//! After a crash: what of the log can be trusted.
//!
//! Always holds: below the recovery point, and below what the journal has brought back, nothing is cut: damage there is an error.
//! Above it the log ends at the last
//! whole batch, and what is behind, torn bytes or whole segments, is removed and said once. What was kept is synced before
//! it counts as durable, for a killed process may have left it in the page cache only.

use std::sync::Arc;

use klamm_model::{Offset, TimestampMs};
use klamm_records::{BatchError, BatchHeader, HEADER_BYTES};

use crate::error::LogError;
use crate::log::Log;
use crate::names::FileKind;
use crate::open::replay_producers;
use crate::prepare::write_anew;
use crate::read::check_crc;
use crate::segment::Segment;

/// Bytes that a scan reads at once; a larger batch is read whole.
const CHUNK_BYTES: usize = 256 * 1024;

/// Where a scan of a segment ended.
struct Scanned {
    next_offset: Offset,
    /// Why it ended before the end of the file.
    fault: Option<String>,
}

/// Reads everything from the segment of the recovery point on, and rebuilds all that follows from it. Blocks.
/// Nothing below `floor` may be missing: the recovery point, or up to where the [journal](crate::journal) has brought the log.
pub(crate) fn recover(
    log: &mut Log,
    recovery_point: Offset,
    floor: Offset,
    now: TimestampMs,
) -> Result<(), LogError> {
    let first = log.segment_of(recovery_point);
    // What was compacted was on the device, also when nothing else says so any more.
    let known = log.home.dir.cleaned_up_to(&log.home.partition);
    let gaps_below = recovery_point.max(known.unwrap_or(recovery_point));
    let base_offset = log.segment(first).base_offset;
    log.epochs.truncate_end(recovery_point.max(base_offset));
    log.log_end_offset = base_offset;
    replay_producers(log, base_offset)?;
    let mut at = first;
    while at < log.segments.len() {
        let base_offset = log.segment(at).base_offset;
        let gap = base_offset.0 - log.log_end_offset.0;
        // Compaction leaves gaps below the recovery point; a gap that no segment spans was rolled over on purpose.
        if gap > 0 && base_offset > gaps_below && gap <= i64::from(i32::MAX) + 1 {
            let what = format!(
                "the segment at {base_offset} does not continue offset {}",
                log.log_end_offset
            );
            cut(log, at, floor, &what)?;
            break;
        }
        if gap < 0 {
            let what = format!("the segment before it ends at {}", log.log_end_offset);
            return Err(LogError::corrupt(
                &log.segment(at).files.path(FileKind::Log),
                what,
            ));
        }
        log.log_end_offset = base_offset;
        let file_bytes = u64::from(log.segment(at).size);
        let scanned = scan(log, at, now)?;
        log.log_end_offset = scanned.next_offset;
        let kept = u64::from(log.segment(at).size);
        // All that is left was compared just now.
        log.segment(at).files.trust().found(0);
        if let Some(fault) = scanned.fault {
            let what = format!("{} bytes at position {kept}: {fault}", file_bytes - kept);
            cut(log, at + 1, floor, &what)?;
            let path = log.segment(at).files.path(FileKind::Log);
            let file = log.segment(at).files.open(FileKind::Log)?;
            file.set_len(kept).map_err(LogError::io(&path))?;
        }
        finish(log.segments.get_mut(at).expect("only later segments were cut"))?;
        at += 1;
    }
    if log.log_end_offset < floor {
        return Err(lost(log, floor, "the log ends there"));
    }
    let folder = log.home.folder();
    let files = log.home.dir.files();
    files.sync_dir(&folder).map_err(LogError::io(&folder))
}

fn lost(log: &Log, floor: Offset, what: &str) -> LogError {
    let end = log.log_end_offset;
    let text = format!("offsets {end} to {floor} were on the device and are not there any more: {what}");
    LogError::corrupt(&log.home.folder(), text)
}

/// The log ends at `log_end_offset`: removes the segments from `first` on.
fn cut(log: &mut Log, first: usize, floor: Offset, what: &str) -> Result<(), LogError> {
    if log.log_end_offset < floor {
        return Err(lost(log, floor, what));
    }
    let removed: Vec<Segment> = log.segments.drain(first..).collect();
    tracing::warn!(
        partition = %log.home.partition,
        log_end_offset = log.log_end_offset.0,
        removed_segments = removed.len(),
        "the log was cut at its last whole batch: {what}"
    );
    removed.iter().try_for_each(|segment| segment.files.remove_all())
}

/// Makes the indexes of a scanned segment complete, and everything about it durable.
fn finish(segment: &mut Segment) -> Result<(), LogError> {
    write_anew(segment)?;
    segment.write_aborted()?;
    for kind in [FileKind::Log, FileKind::OffsetIndex, FileKind::TimeIndex] {
        let path = segment.files.path(kind);
        segment
            .files
            .open(kind)?
            .sync_data()
            .map_err(LogError::io(&path))?;
    }
    Ok(())
}

/// Reads a segment from its start as far as it holds whole batches; its indexes and sums are made anew.
fn scan(log: &mut Log, at: usize, now: TimestampMs) -> Result<Scanned, LogError> {
    let files = Arc::clone(&log.segment(at).files);
    let path = files.path(FileKind::Log);
    let file = files.open(FileKind::Log)?;
    let length = file.len().map_err(LogError::io(&path))?;
    files.forget_aborted()?;
    log.segments[at] = Segment::empty(Arc::clone(&files), now);
    let mut reader = Chunks::new(length);
    let (mut next_offset, interval) = (files.base_offset(), log.config.index_interval_bytes);
    loop {
        let position = u64::from(log.segments[at].size);
        let batch = match reader.batch(&*file, position).map_err(LogError::io(&path))? {
            None => {
                return Ok(Scanned {
                    next_offset,
                    fault: None,
                });
            }
            Some(batch) => batch,
        };
        let segment = &mut log.segments[at];
        let checked = batch.and_then(|bytes| check_crc(bytes).map(|header| (header, bytes)));
        let fault = match checked {
            Ok((header, bytes)) => match in_order(&header, next_offset, segment) {
                Ok(()) => {
                    segment.note(&header, interval);
                    if let Some(aborted) = log.producers.take_in(&header, &bytes[HEADER_BYTES..]) {
                        segment.note_aborted(aborted);
                    }
                    if let Some(epoch) = header.leader_epoch() {
                        log.epochs.assign(epoch, header.base_offset);
                    }
                    next_offset = header.next_offset();
                    continue;
                }
                Err(fault) => fault,
            },
            Err(error) => error.to_string(),
        };
        return Ok(Scanned {
            next_offset,
            fault: Some(fault),
        });
    }
}

fn in_order(header: &BatchHeader, next_offset: Offset, segment: &Segment) -> Result<(), String> {
    let grows = header.base_offset >= next_offset && header.last_offset_delta >= 0;
    if grows && segment.relative(header.last_offset()).is_some() {
        return Ok(());
    }
    Err(format!(
        "offsets {} to {} do not continue {next_offset}",
        header.base_offset,
        header.last_offset()
    ))
}

/// Reads batches one after another, in large pieces.
#[derive(Debug)]
pub(crate) struct Chunks {
    buffer: Vec<u8>,
    /// Bytes that are read at once.
    piece: usize,
    /// Where the buffer begins in the file.
    start: u64,
    length: u64,
}

impl Chunks {
    pub(crate) fn new(length: u64) -> Self {
        Self::of_size(length, CHUNK_BYTES)
    }

    /// Reads so many bytes at once.
    pub(crate) fn of_size(length: u64, piece: usize) -> Self {
        Self {
            buffer: Vec::new(),
            piece,
            start: 0,
            length,
        }
    }

    /// The bytes of the batch at `position`; `None` at the end of the file.
    pub(crate) fn batch(
        &mut self,
        file: &dyn klamm_env::File,
        position: u64,
    ) -> std::io::Result<Option<Result<&[u8], BatchError>>> {
        if position >= self.length {
            return Ok(None);
        }
        let room = usize::try_from(self.length - position).unwrap_or(usize::MAX);
        self.ensure(file, position, HEADER_BYTES.min(room))?;
        let at = usize::try_from(position - self.start).expect("within the buffer");
        let need = match BatchHeader::peek_size(&self.buffer[at..]) {
            Ok(need) if need <= room => need,
            Ok(need) => return Ok(Some(Err(BatchError::Incomplete { need, have: room }))),
            Err(error) => return Ok(Some(Err(error))),
        };
        self.ensure(file, position, need)?;
        let at = usize::try_from(position - self.start).expect("within the buffer");
        Ok(Some(Ok(&self.buffer[at..at + need])))
    }

    /// Has `need` bytes from `position` on in the buffer; they are within the file.
    fn ensure(&mut self, file: &dyn klamm_env::File, position: u64, need: usize) -> std::io::Result<()> {
        let end = self.start + self.buffer.len() as u64;
        if position >= self.start && position + need as u64 <= end {
            return Ok(());
        }
        let room = usize::try_from(self.length - position).unwrap_or(usize::MAX);
        self.buffer.resize(need.max(self.piece).min(room), 0);
        self.start = position;
        file.read_exact_at(&mut self.buffer, position)
    }
}

#[cfg(test)]
mod tests;
