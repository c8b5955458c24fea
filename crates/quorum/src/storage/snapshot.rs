//! The snapshot files.
//!
//! Always holds: the newest whole snapshot is the one in force; an older one is removed only after the newer one is
//! durable.

use std::path::Path;

use bytes::{BufMut, Bytes, BytesMut};

use crate::codec::{DecodeError, Reader, crc32c, put_membership, put_optional_log_id};
use crate::error::FileError;
use crate::storage::frame::{FileKind, HEAD_BYTES, check_head, put_head};
use crate::storage::{Folder, number_in};
use crate::types::{Snapshot, SnapshotMeta, StoredMembership};

const SUFFIX: &str = ".snapshot";
/// Bytes of a snapshot.
pub(crate) const MAX_SNAPSHOT_BYTES: u64 = 1024 * 1024 * 1024;
/// Bytes of what stands before the state: positions and a membership.
const MAX_META_BYTES: usize = 4 * 1024 * 1024;

/// The newest snapshot on disk. Older ones, which a crash may have left, are removed.
pub(crate) fn read_newest(folder: &Folder) -> Result<Option<Snapshot>, FileError> {
    let mut names = folder.names_with(SUFFIX)?;
    names.retain(|name| number_in(name, SUFFIX).is_some());
    names.sort();
    let Some(newest) = names.pop() else {
        return Ok(None);
    };
    let path = folder.path.join(&newest);
    let bytes = folder
        .files
        .read(&path, MAX_SNAPSHOT_BYTES)
        .map_err(FileError::io(&path))?;
    let snapshot = decode(folder, &path, Bytes::from(bytes))?;
    for name in names {
        folder.remove(&name)?;
    }
    Ok(Some(snapshot))
}

/// Writes a snapshot, durably, and removes the older ones.
pub(crate) fn write(folder: &Folder, snapshot: &Snapshot) -> Result<(), FileError> {
    let Some(last) = snapshot.meta.last_log_id else {
        return Ok(());
    };
    let name = format!("{:020}{SUFFIX}", last.index);
    folder.write_atomically(&name, &encode(folder, snapshot))?;
    for other in folder.names_with(SUFFIX)? {
        if number_in(&other, SUFFIX).is_some_and(|index| index < last.index) {
            folder.remove(&other)?;
        }
    }
    folder.sync()
}

/// The part of a snapshot that is Raft's.
pub(crate) fn put_meta(to: &mut BytesMut, meta: &SnapshotMeta) {
    put_optional_log_id(to, meta.last_log_id.as_ref());
    put_optional_log_id(to, meta.last_membership.log_id().as_ref());
    put_membership(to, meta.last_membership.membership());
}

/// The reverse of [`put_meta`].
pub(crate) fn read_meta(reader: &mut Reader) -> Result<SnapshotMeta, DecodeError> {
    let last_log_id = reader.optional_log_id()?;
    let at = reader.optional_log_id()?;
    let membership = reader.membership()?;
    Ok(SnapshotMeta {
        last_log_id,
        last_membership: StoredMembership::new(at, membership),
    })
}

fn encode(folder: &Folder, snapshot: &Snapshot) -> Bytes {
    let mut meta = BytesMut::new();
    put_meta(&mut meta, &snapshot.meta);
    let mut to = BytesMut::with_capacity(HEAD_BYTES + 16 + meta.len() + snapshot.snapshot.len() + 4);
    put_head(&mut to, FileKind::Snapshot, folder.cluster_id);
    to.put_u32(u32::try_from(meta.len()).expect("memberships are bounded where they are made"));
    to.put_u64(snapshot.snapshot.len() as u64);
    to.put_slice(&meta);
    to.put_slice(&snapshot.snapshot);
    let crc = crc32c(&to);
    to.put_u32(crc);
    to.freeze()
}

fn decode(folder: &Folder, path: &Path, bytes: Bytes) -> Result<Snapshot, FileError> {
    check_head(path, &bytes, FileKind::Snapshot, folder.cluster_id)?;
    let corrupt = |error: DecodeError| Folder::corrupt(path, HEAD_BYTES as u64, error.to_string());
    let Some(end) = bytes.len().checked_sub(4).filter(|end| *end >= HEAD_BYTES) else {
        return Err(Folder::corrupt(path, 0, "too short for its header"));
    };
    if crc32c(&bytes[..end]).to_be_bytes() != bytes[end..] {
        return Err(Folder::corrupt(path, 0, "the checksum disagrees"));
    }
    let mut reader = Reader::new(bytes.slice(HEAD_BYTES..end));
    let meta_bytes = reader.u32().map_err(corrupt)? as usize;
    let state_bytes = reader.u64().map_err(corrupt)?;
    if meta_bytes > MAX_META_BYTES {
        return Err(corrupt(DecodeError("a header above the largest size")));
    }
    let mut meta_reader = Reader::new(reader.bytes(meta_bytes).map_err(corrupt)?);
    let meta = read_meta(&mut meta_reader).map_err(corrupt)?;
    meta_reader.end().map_err(corrupt)?;
    let snapshot = reader.rest();
    if snapshot.len() as u64 != state_bytes {
        return Err(corrupt(DecodeError("the state is not as long as announced")));
    }
    Ok(Snapshot { meta, snapshot })
}
