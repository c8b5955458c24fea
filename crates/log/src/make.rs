//! A partition comes to the device with its first record.
//!
//! Always holds: before a record is appended, the names of the partition's folder and of the files in it, and the topic's
//! id, are on the device, whatever the durability. So a folder that is missing never had a record, and neither had one
//! without the topic's id; a log is empty without a folder, or with one.
//!
//! ```text
//! the folder, empty        ->  its name is synced       a start after a crash here goes on
//! partition.metadata       ->  whole, or not there      here the folder is known to be of the topic
//! .log .index .timeindex   ->  all names are synced     here the first record may come
//! ```

use std::path::Path;
use std::sync::Arc;

use crate::dir::{LogDir, write_topic_id};
use crate::error::LogError;
use crate::names::FileKind;
use crate::prepare::LogCell;
use crate::segment::SegmentFiles;

/// How much of a log there is on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// No folder: the log is empty.
    Absent,
    /// This process began to make the folder, and has not come to the end.
    Begun,
    /// All that an append needs.
    Made,
}

/// Makes what an append needs, if it is not there. The caller is inside the gate. Blocks.
pub(crate) fn make(cell: &impl LogCell) -> Result<(), LogError> {
    let (presence, home, segment) = cell.with(|log| {
        log.check_dir()?;
        let segment = Arc::clone(&log.active().files);
        Ok::<_, LogError>((log.presence, Arc::clone(&log.home), segment))
    })?;
    if presence == Presence::Made {
        return Ok(());
    }
    let (files, folder) = (home.dir.files(), &home.folder());
    if presence == Presence::Absent && files.entry(folder).map_err(LogError::io(folder))?.is_some() {
        return Err(LogError::NotOurs {
            path: folder.to_path_buf(),
            what: "the folder appeared while the partition was empty: it opens with the next start".into(),
        });
    }
    cell.with(|log| log.presence = Presence::Begun);
    files.create_dir_all(folder).map_err(LogError::io(folder))?;
    home.dir.sync_names()?;
    write_topic_id(&**files, folder, home.topic_id)?;
    begin(&home.dir, folder, &segment).inspect_err(|_| segment.close_all())?;
    cell.with(|log| log.presence = Presence::Made);
    Ok(())
}

/// Makes the files of the first segment, durably. Blocks.
pub(crate) fn begin(dir: &LogDir, folder: &Path, segment: &SegmentFiles) -> Result<(), LogError> {
    for kind in [FileKind::Log, FileKind::OffsetIndex, FileKind::TimeIndex] {
        segment.create(kind)?;
    }
    dir.sync_folder(folder)
}

#[cfg(test)]
mod tests;
