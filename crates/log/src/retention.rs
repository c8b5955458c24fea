//! Removing the oldest segments: by age, by size, and below the log start.
//!
//! Always holds: only segments wholly below the high watermark go, oldest first, also on the device, and the log keeps an active
//! one; files are renamed first and removed later, so that a read under way ends in peace; what a crash leaves renamed is removed
//! at the next open.

use std::path::PathBuf;
use std::sync::Arc;

use klamm_model::{Offset, TimestampMs};

use crate::error::LogError;
use crate::gate::home_of;
use crate::home::Home;
use crate::log::Log;
use crate::names::{DELETED, FileKind};
use crate::prepare::{LogCell, ready_segment, roll};
use crate::segment::{Segment, SegmentFiles};

/// Files of removed segments, renamed.
#[derive(Debug, Default)]
pub struct Retired {
    /// The files, to be given to [`reap`].
    pub files: Vec<PathBuf>,
    /// How many segments they were.
    pub segment_count: usize,
    /// When they may be removed.
    pub not_before: TimestampMs,
}

/// What to do with the oldest segment that was not looked at.
enum Verdict {
    Keep,
    Remove,
    /// Its largest timestamp must be found first.
    Check(Offset),
    /// It has no timestamps: when its file changed must be found first.
    AskModified(Arc<SegmentFiles>),
    /// It is the active one.
    Roll(Offset),
}

/// Removes what the settings and the log start leave no reader for. Blocks.
pub fn retention(cell: &impl LogCell, now: TimestampMs) -> Result<Retired, LogError> {
    let home = home_of(cell);
    let _inside = home.gate.enter()?;
    let mut count = 0;
    // Of a segment without timestamps: its first offset, and when its file changed.
    let mut modified = None;
    loop {
        match cell.with(|log| log.check_dir().map(|()| log.verdict(count, now, modified)))? {
            Verdict::Keep => break,
            Verdict::Remove => count += 1,
            Verdict::Check(base_offset) => ready_segment(cell, base_offset)?,
            Verdict::AskModified(files) => {
                let path = files.path(FileKind::Log);
                let at = files.dir().files().modified(&path).map_err(LogError::io(&path))?;
                modified = Some((files.base_offset(), at));
            }
            Verdict::Roll(base_offset) => roll(cell, base_offset, now)?,
        }
    }
    sync_first(cell, &home, count)?;
    let (segments, delay) = cell.with(|log| (log.drop_oldest(count), log.config.file_delete_delay));
    let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
    let mut retired = Retired {
        files: Vec::new(),
        segment_count: segments.len(),
        not_before: now.plus_ms(delay_ms),
    };
    for (at, segment) in segments.iter().enumerate() {
        // One is gone for good before the next one goes: else a power cut might keep the older of two, and a log with a gap.
        if at > 0 {
            home.dir.sync_folder(&home.folder())?;
        }
        let renamed = rename(&segment.files).inspect_err(|error| home.dir.fail(error))?;
        retired.files.extend(renamed);
    }
    Ok(retired)
}

/// Removes the files of removed segments. Blocks.
pub fn reap(dir: &crate::LogDir, retired: Retired) -> Result<(), LogError> {
    for path in retired.files {
        // They went with their folder if the partition was deleted meanwhile.
        dir.remove_file(&path)?;
    }
    Ok(())
}

/// What is only in the journal has to be in its segment before that goes: a power cut may undo the going, while the journal goes on.
fn sync_first(cell: &impl LogCell, home: &Home, count: usize) -> Result<(), LogError> {
    for file in cell.with(|log| log.unsynced_of_first(count)) {
        file.sync_data()
            .map_err(LogError::io("a segment file".as_ref()))
            .inspect_err(|error| home.dir.fail(error))?;
    }
    Ok(())
}

fn rename(files: &SegmentFiles) -> Result<Vec<PathBuf>, LogError> {
    let mut renamed = Vec::new();
    for kind in FileKind::ALL {
        let path = files.path(kind);
        let mut name = path.clone().into_os_string();
        name.push(DELETED);
        match files.dir().files().rename(&path, name.as_ref()) {
            Ok(()) => renamed.push(name.into()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(LogError::io(&path)(error)),
        }
    }
    Ok(renamed)
}

impl Log {
    fn verdict(&self, at: usize, now: TimestampMs, modified: Option<(Offset, TimestampMs)>) -> Verdict {
        let segment = self.segment(at);
        let is_active = at + 1 == self.segments.len();
        if self.end_of_segment(at) > self.high_watermark || (is_active && segment.size == 0) {
            return Verdict::Keep;
        }
        let remove = if self.end_of_segment(at) <= self.log_start_offset {
            true
        } else if !self.config.delete {
            false
        } else if self.is_over_size(at) {
            true
        } else {
            match self.config.retention_ms {
                Some(_) if !segment.checked => return Verdict::Check(segment.base_offset),
                Some(limit) => {
                    // Records without a timestamp are as old as their file, as in Kafka.
                    let newest = match (segment.largest, modified) {
                        (Some(largest), _) => largest.timestamp,
                        (None, Some((of, at))) if of == segment.base_offset => at,
                        (None, _) => return Verdict::AskModified(segment.files.clone()),
                    };
                    u128::try_from(now.ms_since(newest)).is_ok_and(|age| age > limit.as_millis())
                }
                None => false,
            }
        };
        match (remove, is_active) {
            (false, _) => Verdict::Keep,
            (true, false) => Verdict::Remove,
            (true, true) => Verdict::Roll(segment.base_offset),
        }
    }

    /// Whether what is left without the first segments, up to and with this one, still has `retention.bytes`.
    fn is_over_size(&self, at: usize) -> bool {
        let left: u64 = self.segments[at + 1..]
            .iter()
            .map(|segment| u64::from(segment.size))
            .sum();
        self.config.retention_bytes.is_some_and(|limit| left >= limit)
    }

    fn drop_oldest(&mut self, count: usize) -> Vec<Segment> {
        let dropped: Vec<Segment> = self.segments.drain(..count).collect();
        dropped.iter().for_each(|segment| segment.files.supersede());
        let start = self.segments[0].base_offset;
        if start > self.log_start_offset {
            self.log_start_offset = start;
            self.epochs.truncate_start(start);
        }
        dropped
    }
}

#[cfg(test)]
mod tests;
