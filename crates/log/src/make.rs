//! A new partition comes to the device.
//!
//! Always holds: before a log can be written to, the names of its folder and of the files in it, and the topic's id, are on the
//! device, whatever the durability. So a folder that does not say of which topic it is, and is not damaged, never had a
//! record.
//!
//! ```text
//! the folder, empty        ->  its name is synced       a start after a crash here goes on
//! partition.metadata       ->  whole, or not there      here the folder is known to be of the topic
//! .log .index .timeindex   ->  all names are synced     here the first record may come
//! ```

use std::path::Path;

use klamm_env::files::DirEntry;
use klamm_model::Offset;

use crate::dir::{LogDir, is_topic_id_file, write_topic_id};
use crate::error::LogError;
use crate::home::Home;
use crate::names::{self, FileKind};
use crate::segment::SegmentFiles;

/// Makes the folder of a new partition, which says of which topic it is. Blocks.
pub(crate) fn folder(home: &Home) -> Result<(), LogError> {
    let folder = home.folder();
    home.dir
        .files()
        .create_dir_all(&folder)
        .map_err(LogError::io(&folder))?;
    name(home)
}

/// Makes the folder say of which topic it is; durably once it is synced. Blocks.
pub(crate) fn name(home: &Home) -> Result<(), LogError> {
    // In this order a folder with an id is one whose name is on the device.
    home.dir.sync_names()?;
    write_topic_id(&**home.dir.files(), &home.folder(), home.topic_id)
}

/// Makes the files of the first segment, durably. Blocks.
pub(crate) fn begin(dir: &LogDir, folder: &Path, segment: &SegmentFiles) -> Result<(), LogError> {
    for kind in [FileKind::Log, FileKind::OffsetIndex, FileKind::TimeIndex] {
        segment.create(kind)?;
    }
    dir.sync_folder(folder)
}

/// Whether the folder holds nothing but what is made before the first record.
pub(crate) fn is_only_begun(dir: &LogDir, folder: &Path) -> Result<bool, LogError> {
    let entries = dir.files().read_dir(folder).map_err(LogError::io(folder))?;
    let is_begun = |entry: &DirEntry| match names::parse_file(&entry.name) {
        Some((FileKind::Log | FileKind::OffsetIndex | FileKind::TimeIndex, Offset(0))) => entry.len == 0,
        Some(_) => false,
        None => is_topic_id_file(&entry.name),
    };
    Ok(entries.iter().all(is_begun))
}

#[cfg(test)]
mod tests;
