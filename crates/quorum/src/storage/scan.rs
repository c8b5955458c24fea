//! Reading a segment at the start.
//!
//! Always holds: only the tail of the last segment may be bad, and only what no later write proves to have been
//! durable: every frame says up to where its segment was synced when it was written. A bad frame below such a mark is
//! corruption and stops the start; above all marks it is the torn end of the last write and is cut.
//! A frame whose checksums agree is never torn, even if this version cannot read what it says.

use std::path::Path;

use bytes::Bytes;
use klamm_model::Uuid;

use crate::error::FileError;
use crate::storage::Folder;
use crate::storage::frame::{FrameHeader, SEGMENT_HEADER_BYTES, SegmentHeader, decode_payload, intact_frame};
use crate::types::Entry;

/// An entry, and where it stands.
pub(crate) struct Found {
    pub(crate) header: FrameHeader,
    pub(crate) entry: Entry,
    pub(crate) position: u64,
}

/// A segment's whole contents.
pub(crate) struct Scanned {
    pub(crate) header: SegmentHeader,
    pub(crate) entries: Vec<Found>,
    /// Where the next entry goes; what stands behind it is torn.
    pub(crate) end: u64,
}

/// Reads the segment `path`, whose contents are `bytes`. Only of the last one the tail may be torn.
pub(crate) fn scan(
    path: &Path,
    bytes: &Bytes,
    cluster_id: Uuid,
    is_last: bool,
) -> Result<Scanned, FileError> {
    let header = SegmentHeader::decode(path, bytes, cluster_id)?;
    let mut scanned = Scanned {
        header,
        entries: Vec::new(),
        end: SEGMENT_HEADER_BYTES as u64,
    };
    let mut least_term = header.previous_term.unwrap_or(0);
    while (scanned.end as usize) < bytes.len() {
        let position = scanned.end;
        let rest = bytes.slice(position as usize..);
        let (frame, body) = match intact_frame(&rest) {
            Ok(intact) => intact,
            Err(_) if is_last && !proves_durable(&rest, position) => return Ok(scanned),
            Err(error) => return Err(Folder::corrupt(path, position, error.to_string())),
        };
        let entry = decode_payload(&frame, body).map_err(|error| {
            Folder::corrupt(
                path,
                position,
                format!("an intact entry is not readable: {error}"),
            )
        })?;
        let expected = header.first + scanned.entries.len() as u64;
        if frame.index != expected || frame.term < least_term {
            let what = format!(
                "entry {} of term {} where entry {expected} of term {least_term} or later belongs",
                frame.index, frame.term
            );
            return Err(Folder::corrupt(path, position, what));
        }
        least_term = frame.term;
        scanned.end += frame.frame_bytes();
        scanned.entries.push(Found {
            header: frame,
            entry,
            position,
        });
    }
    Ok(scanned)
}

/// Whether a frame somewhere in `rest` was written after the segment was durable beyond `position`, where `rest`
/// begins.
fn proves_durable(rest: &Bytes, position: u64) -> bool {
    (1..rest.len())
        .any(|at| FrameHeader::decode(&rest[at..]).is_ok_and(|header| header.durable_end > position))
}
