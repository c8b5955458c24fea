//! Goes on from a swap of segments that a crash has interrupted, ours or Kafka's, before a log is opened.
//!
//! Always holds: afterwards no file of the folder is named `.cleaned` or `.swap`, and each offset is in one segment: in an
//! old one, or in the one that replaces it. A crash on the way leaves what this goes on from.
//!
//! A `.swap` at or above a `.cleaned` is of an attempt that did not get as far as to count: both go. Any other counts, and
//! what it replaces goes. An index alone named `.swap` lacks its name only: its `.log` has got its own.
//!
//! `swap.rs` draws the states.

use std::path::{Path, PathBuf};

use klamm_env::OpenMode;
use klamm_env::files::DirEntry;
use klamm_model::Offset;
use klamm_records::BatchHeader;
use klamm_records::HEADER_BYTES;

use crate::dir::LogDir;
use crate::error::LogError;
use crate::names::{self, CLEANED, FileKind, SWAP};

/// A file of a segment that is not finished.
struct Unfinished {
    path: PathBuf,
    kind: FileKind,
    base_offset: Offset,
}

/// Does it. Blocks.
pub(crate) fn finish_swaps(dir: &LogDir, folder: &Path) -> Result<(), LogError> {
    let entries = dir.files().read_dir(folder).map_err(LogError::io(folder))?;
    let cleaned = ending_in(&entries, folder, CLEANED);
    let swapped = ending_in(&entries, folder, SWAP);
    if cleaned.is_empty() && swapped.is_empty() {
        return Ok(());
    }
    let first_cleaned = cleaned.iter().map(|file| file.base_offset).min();
    let (undone, valid): (Vec<_>, Vec<_>) = swapped
        .into_iter()
        .partition(|file| first_cleaned.is_some_and(|first| file.base_offset >= first));
    for file in &undone {
        dir.remove_file(&file.path)?;
    }
    if !undone.is_empty() {
        // Without those with the other ending they would count.
        dir.sync_folder(folder)?;
    }
    for file in &cleaned {
        dir.remove_file(&file.path)?;
    }
    if valid.is_empty() {
        return Ok(());
    }
    tracing::info!(
        folder = %folder.display(),
        "a compaction that was interrupted while it replaced segments is completed"
    );
    for swap in valid.iter().filter(|file| file.kind == FileKind::Log) {
        remove_replaced(dir, folder, &entries, swap)?;
    }
    dir.sync_folder(folder)?;
    for kind in [
        FileKind::OffsetIndex,
        FileKind::TimeIndex,
        FileKind::TransactionIndex,
        FileKind::Log,
    ] {
        // As long as the `.log` has its ending, this begins anew.
        if kind == FileKind::Log {
            dir.sync_folder(folder)?;
        }
        for swap in valid.iter().filter(|file| file.kind == kind) {
            let to = folder.join(swap.kind.name(swap.base_offset));
            let renamed = dir.files().rename(&swap.path, &to);
            renamed.map_err(LogError::io(&swap.path))?;
        }
    }
    dir.sync_folder(folder)
}

fn ending_in(entries: &[DirEntry], folder: &Path, ending: &str) -> Vec<Unfinished> {
    let unfinished = entries.iter().filter_map(|entry| {
        let (kind, base_offset) = names::parse_file(entry.name.strip_suffix(ending)?)?;
        Some(Unfinished {
            path: folder.join(&entry.name),
            kind,
            base_offset,
        })
    });
    unfinished.collect()
}

/// Removes the files of the segments that a `.log.swap` replaces: those that begin within its offsets.
fn remove_replaced(
    dir: &LogDir,
    folder: &Path,
    entries: &[DirEntry],
    swap: &Unfinished,
) -> Result<(), LogError> {
    let end = end_of(dir, swap)?;
    for entry in entries {
        let Some((kind, base_offset)) = names::parse_file(&entry.name) else {
            continue;
        };
        let is_first = base_offset == swap.base_offset;
        let is_within = base_offset > swap.base_offset && base_offset < end;
        if is_within || (is_first && kind != FileKind::Snapshot) {
            dir.remove_file(&folder.join(&entry.name))?;
        }
    }
    Ok(())
}

/// The offset behind the last batch of a file.
fn end_of(dir: &LogDir, swap: &Unfinished) -> Result<Offset, LogError> {
    let failed = || LogError::io(&swap.path);
    let file = dir.files().open(&swap.path, OpenMode::Read).map_err(failed())?;
    let length = file.len().map_err(failed())?;
    let (mut position, mut end) = (0, swap.base_offset);
    while position < length {
        let damaged = |error| LogError::corrupt(&swap.path, format!("position {position}: {error}"));
        let room = usize::try_from(length - position).unwrap_or(usize::MAX);
        let mut bytes = [0; HEADER_BYTES];
        let bytes = &mut bytes[..room.min(HEADER_BYTES)];
        file.read_exact_at(bytes, position).map_err(failed())?;
        let header = BatchHeader::parse(bytes).map_err(damaged)?;
        end = end.max(header.next_offset());
        position += header.size_in_bytes() as u64;
    }
    Ok(end)
}
