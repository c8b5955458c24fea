//! Puts a segment in the place of those it was made from, so that a crash at any moment leaves them or it.
//!
//! Always holds: the new segment counts from the moment when none of its files is named `.cleaned` any more and its `.log`
//! is named `.swap`; before, the old ones count. Each step is on the device before the next begins. The endings mean what
//! they mean to Kafka, so either product goes on from what the other has left.
//!
//! ```text
//! the old ones count         .log  .index         .log.cleaned  .index.cleaned       as they were written
//!                            .log  .index         .log.swap     .index.cleaned       any of them renamed, not all
//! the new one counts         .log  .index         .log.swap     .index.swap          all of them are
//!                            .log.deleted         .log.swap     .index.swap          the old ones go
//!                                                 .log          .index.swap          the new one gets its names
//! ```
//!
//! Next: `interrupted.rs`, which goes on from any of these lines when a log is opened.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use klamm_model::Offset;

use super::output::{KINDS, Output, path};
use crate::aborted::AbortedIndex;
use crate::error::LogError;
use crate::gate::home_of;
use crate::home::Home;
use crate::log::Log;
use crate::names::{CLEANED, DELETED, FileKind, SWAP};
use crate::prepare::LogCell;
use crate::segment::{Segment, SegmentFiles};

/// What became of a new segment.
#[derive(Debug)]
pub(super) enum Swapped {
    /// It has its place; these files of the old ones are left to be removed.
    Done(Vec<PathBuf>),
    /// The old ones are not what they were: they were removed, or cut.
    Overtaken,
}

/// Does it, for an output that is finished, if the log was not cut since it had this `generation`. A failure on the way takes the log dir out of service. Enters the gate.
pub(super) fn swap(
    cell: &impl LogCell,
    output: Output,
    sources: &[Arc<SegmentFiles>],
    generation: u32,
) -> Result<Swapped, LogError> {
    let home = home_of(cell);
    let inside = home.gate.enter()?;
    home.dir.check()?;
    let is_there = |log: &mut Log| log.generation == generation && log.place_of(sources).is_some();
    if !cell.with(is_there) {
        drop(inside);
        output.abandon()?;
        return Ok(Swapped::Overtaken);
    }
    let renamed = rename(&home, &output, sources).inspect_err(|error| home.dir.fail(error))?;
    let aborted_count = output.aborted_count;
    let Output { segment: mut new, .. } = output;
    new.aborted = (aborted_count > 0).then(|| Box::new(AbortedIndex::of_file(aborted_count)));
    let old = cell.with(|log| log.replace(sources, new));
    // Files are closed without the lock.
    drop(old);
    Ok(Swapped::Done(renamed))
}

/// All steps on the device.
fn rename(home: &Home, output: &Output, sources: &[Arc<SegmentFiles>]) -> Result<Vec<PathBuf>, LogError> {
    let folder = home.folder();
    let base_offset = output.segment.base_offset;
    let names = |ending: &'static str| KINDS.map(|kind| path(home, kind, base_offset, ending));
    let (cleaned, swapped, named) = (names(CLEANED), names(SWAP), names(""));
    // Most have none, and to Kafka an index without entries is as good as none.
    let count = if output.aborted_count > 0 { 4 } else { 3 };
    if count < KINDS.len() {
        home.dir.remove_file(&cleaned[count])?;
    }
    let rename = |from: &PathBuf, to: &PathBuf| {
        let renamed = home.dir.files().rename(from, to);
        renamed.map_err(LogError::io(from))
    };
    // One of another attempt, below, would make this one count for nothing.
    for entry in home
        .dir
        .files()
        .read_dir(&folder)
        .map_err(LogError::io(&folder))?
    {
        let path = folder.join(&entry.name);
        if entry.name.ends_with(CLEANED) && !cleaned.contains(&path) {
            home.dir.remove_file(&path)?;
        }
    }
    // Once a name with `.swap` is on the device, each other file has one of its two names.
    home.dir.sync_folder(&folder)?;
    for at in 0..count {
        rename(&cleaned[at], &swapped[at])?;
    }
    home.dir.sync_folder(&folder)?;
    let mut deleted = Vec::new();
    for files in sources {
        for kind in FileKind::ALL {
            // What the producers were before the first batch, they are before the same one.
            if kind == FileKind::Snapshot && files.base_offset() == base_offset {
                continue;
            }
            let (from, to) = (files.path(kind), path(home, kind, files.base_offset(), DELETED));
            match home.dir.files().rename(&from, &to) {
                Ok(()) => deleted.push(to),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(LogError::io(&from)(error)),
            }
        }
    }
    // An index of the old segment must not be taken for one of the new.
    home.dir.sync_folder(&folder)?;
    for at in 0..count {
        rename(&swapped[at], &named[at])?;
    }
    home.dir.sync_folder(&folder)?;
    Ok(deleted)
}

impl Log {
    /// Where the segments with these files stand, if all of them do, one behind the other.
    fn place_of(&self, sources: &[Arc<SegmentFiles>]) -> Option<usize> {
        let first = self.segment_at(sources.first()?.base_offset())?;
        let there = self.segments.get(first..first + sources.len())?;
        let are_those = there
            .iter()
            .zip(sources)
            .all(|(segment, files)| Arc::ptr_eq(&segment.files, files));
        // The last one is written to.
        (are_those && first + sources.len() < self.segments.len()).then_some(first)
    }

    /// Puts `new` in the place of the segments, which are returned.
    fn replace(&mut self, sources: &[Arc<SegmentFiles>], new: Segment) -> Vec<Segment> {
        let first = self.place_of(sources).expect("nobody else was inside the gate");
        let active: Offset = self.active().base_offset;
        let old: Vec<Segment> = self
            .segments
            .splice(first..first + sources.len(), [new])
            .collect();
        old.iter().for_each(|segment| segment.files.supersede());
        self.swaps = self.swaps.wrapping_add(1);
        if let Some(marks) = &mut self.marks {
            marks.keep_from(active);
        }
        old
    }
}
