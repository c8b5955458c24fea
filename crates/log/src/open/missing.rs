//! Files that are missing where a crash does not leave them so: what can be made again is, and what cannot is told.
//!
//! Always holds: nothing is read that an orderly end, or a crash, leaves as it should be; records that were on the device and have no
//! file any more keep the partition from being opened, so that nobody reads over them.

use std::collections::BTreeSet;
use std::path::Path;

use klamm_model::Offset;

use super::{Listing, tail_end};
use crate::checkpoint;
use crate::dir::LogDir;
use crate::epochs::LeaderEpochs;
use crate::error::LogError;
use crate::index::Source;
use crate::log::{Log, RecoveryState};
use crate::names::{self, DELETED, FileKind};
use crate::prepare::walk_error;
use crate::segment::bytes_of;

/// Removes the indexes of segments that are named as removed: a crash in the middle of a removal leaves some of a segment's files with
/// their names. Durably, before the name goes that tells. Blocks.
pub(super) fn remove_rests(dir: &LogDir, folder: &Path) -> Result<(), LogError> {
    let entries = dir.files().read_dir(folder).map_err(LogError::io(folder))?;
    let named: BTreeSet<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    let removed = entries.iter().filter_map(|entry| {
        let (kind, base) = names::parse_file(entry.name.strip_suffix(DELETED)?)?;
        let is_gone = kind == FileKind::Log && !named.contains(&*FileKind::Log.name(base));
        is_gone.then_some(base)
    });
    let indexes = [
        FileKind::OffsetIndex,
        FileKind::TimeIndex,
        FileKind::TransactionIndex,
    ];
    let mut are_any = false;
    for base in removed {
        for kind in indexes {
            let name = kind.name(base);
            if named.contains(&*name) {
                dir.remove_file(&folder.join(name))?;
                are_any = true;
            }
        }
    }
    if are_any {
        dir.sync_folder(folder)?;
    }
    Ok(())
}

impl Log {
    /// Reads the checkpoint of the leader epochs. One that cannot be read is as good as none: [`Log::restore_epochs`] makes it again.
    pub(super) fn load_epochs(&mut self) -> Result<(), LogError> {
        let path = self.epochs_path();
        let epochs = match checkpoint::read_epochs(&**self.home.dir.files(), &path) {
            Err(error @ LogError::Corrupt { .. }) => {
                tracing::warn!(partition = %self.home.partition, %error, "the leader epochs are taken from the batches");
                Vec::new()
            }
            epochs => epochs?,
        };
        self.epochs = LeaderEpochs::from_entries(epochs);
        Ok(())
    }

    /// Takes the leader epochs from the batches, each of which says its own. For a log whose recovery did not see all of them, and whose
    /// checkpoint is gone: it is on the device before the recovery point rises. Blocks.
    pub(super) fn restore_epochs(&mut self) -> Result<(), LogError> {
        let mut found = LeaderEpochs::default();
        for segment in &self.segments {
            let view = segment.view(Offset(i64::MAX));
            let log = view.files.open(FileKind::Log)?;
            let source = Source {
                file: Some(&*log),
                may_block: true,
            };
            let mut position = 0;
            loop {
                match view.header(source, position) {
                    Ok(None) => break,
                    Ok(Some(header)) => {
                        if let Some(epoch) = header.leader_epoch() {
                            found.assign(epoch, header.base_offset);
                        }
                        position += bytes_of(&header);
                    }
                    Err(error) => return Err(walk_error(view.files, error)),
                }
            }
        }
        if !found.entries().is_empty() {
            tracing::warn!(
                partition = %self.home.partition,
                "there was no checkpoint of the leader epochs: they are taken from the batches"
            );
        }
        self.epochs = found;
        Ok(())
    }

    /// Misses the segments that are gone and whose indexes are there. A removal that was cut short leaves indexes too, but only in
    /// front of the log, and after an end in order not even there: such ones are removed. Blocks.
    pub(super) fn miss_segments(&self, listing: &Listing, recovery: &RecoveryState) -> Result<(), LogError> {
        let indexes = listing.offset_indexes.iter().chain(&listing.time_indexes);
        // An empty segment has empty indexes.
        let is_gone = |base| listing.segments.get(base).is_none_or(|bytes| *bytes == 0);
        let without: BTreeSet<Offset> = indexes
            .filter(|(base, bytes)| **bytes > 0 && is_gone(base))
            .map(|(base, _)| *base)
            .collect();
        for base in without {
            let next = self
                .segments
                .partition_point(|segment| segment.base_offset < base);
            // What is gone at the end, recovery misses by its offsets.
            let behind = &self.segments[next..];
            let Some(after) = behind
                .iter()
                .map(|segment| segment.base_offset)
                .find(|at| *at > base)
            else {
                continue;
            };
            let positions = recovery.positions;
            let is_missing = match next.checked_sub(1) {
                // A removal takes a file's name, and empties none.
                None => {
                    let is_emptied = listing.segments.contains_key(&base) && base < positions.recovery_point;
                    (recovery.clean || is_emptied) && after > positions.log_start_offset
                }
                Some(before) => {
                    base < positions.recovery_point
                        && tail_end(&self.segments[before])?.is_none_or(|end| end <= base)
                }
            };
            let path = self.home.folder().join(FileKind::Log.name(base));
            if is_missing {
                let what = format!(
                    "the segment is gone, and with it offsets {base} to {after}, which were on the device: its index is there"
                );
                return Err(LogError::corrupt(&path, what));
            }
            if listing.segments.contains_key(&base) {
                continue;
            }
            tracing::warn!(
                path = %path.display(),
                "indexes without their segment are removed: the removal of old records was cut short, or it is gone"
            );
            for kind in [FileKind::OffsetIndex, FileKind::TimeIndex] {
                self.home
                    .dir
                    .remove_file(&self.home.folder().join(kind.name(base)))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
