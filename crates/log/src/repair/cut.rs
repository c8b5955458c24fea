//! Takes damaged ranges out of a segment.
//!
//! Always holds: the bytes are durable in files of their own before the segment is replaced, and it is replaced as a whole.
//! Offsets stay as they are: the segment has gaps then, as after compaction.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::Path;

use klamm_env::{File, Files, OpenMode};
use klamm_model::Offset;

use super::Cut;
use crate::error::LogError;
use crate::names::FileKind;
use crate::verify::damaged_name;

/// Bytes that are copied at once.
const COPY_BYTES: u64 = 1024 * 1024;

/// See the head of the file. Blocks.
pub(super) fn take_out(
    files: &dyn Files,
    folder: &Path,
    segment: Offset,
    cuts: &[Cut],
) -> Result<(), LogError> {
    let path = folder.join(FileKind::Log.name(segment));
    let failed = LogError::io;
    let source = files.open(&path, OpenMode::Read).map_err(failed(&path))?;
    let length = source.len().map_err(failed(&path))?;
    for cut in cuts {
        let aside = folder.join(damaged_name(segment, cut.positions.start, &cut.offsets));
        let kept = files.open(&aside, OpenMode::Create).map_err(failed(&aside))?;
        kept.set_len(0).map_err(failed(&aside))?;
        copy(&*source, cut.positions.clone(), &*kept, 0, Unreadable::Zeros).map_err(failed(&aside))?;
        kept.sync_data().map_err(failed(&aside))?;
    }
    files.sync_dir(folder).map_err(failed(folder))?;
    let temporary = folder.join(format!("{}.tmp", FileKind::Log.name(segment)));
    let target = files
        .open(&temporary, OpenMode::Create)
        .map_err(failed(&temporary))?;
    target.set_len(0).map_err(failed(&temporary))?;
    let (mut from, mut to) = (0, 0);
    let ends = cuts
        .iter()
        .map(|cut| cut.positions.clone())
        .chain(std::iter::once(length..length));
    for cut in ends {
        copy(&*source, from..cut.start, &*target, to, Unreadable::Fail).map_err(failed(&temporary))?;
        to += cut.start - from;
        from = cut.end;
    }
    target.sync_data().map_err(failed(&temporary))?;
    files.rename(&temporary, &path).map_err(failed(&path))?;
    files.sync_dir(folder).map_err(failed(folder))
}

/// What becomes of bytes that the device does not give.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unreadable {
    Fail,
    Zeros,
}

fn copy(
    from: &dyn File,
    range: Range<u64>,
    to: &dyn File,
    at: u64,
    unreadable: Unreadable,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    let mut done = range.start;
    while done < range.end {
        let step = COPY_BYTES.min(range.end - done);
        buffer.resize(usize::try_from(step).expect("a megabyte"), 0);
        if let Err(error) = from.read_exact_at(&mut buffer, done) {
            if unreadable == Unreadable::Fail {
                return Err(error);
            }
            buffer.fill(0);
        }
        to.write_at(&[IoSlice::new(&buffer)], at + (done - range.start))?;
        done += step;
    }
    Ok(())
}
