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

/// Writes a snapshot, durably, and removes the older ones. One that could not be read again is refused: the log it stands
/// for must stay.
pub(crate) fn write(folder: &Folder, snapshot: &Snapshot) -> Result<(), FileError> {
    write_up_to(folder, snapshot, MAX_SNAPSHOT_BYTES)
}

fn write_up_to(folder: &Folder, snapshot: &Snapshot, limit: u64) -> Result<(), FileError> {
    let Some(last) = snapshot.meta.last_log_id else {
        return Ok(());
    };
    let name = format!("{:020}{SUFFIX}", last.index);
    let meta = meta_bytes(&snapshot.meta);
    let found = (HEAD_BYTES + 16 + meta.len() + snapshot.snapshot.len()) as u64;
    if found > limit || meta.len() > MAX_META_BYTES {
        let path = folder.path.join(&name);
        return Err(FileError::TooLarge { path, found, limit });
    }
    folder.write_atomically(&name, &encode(folder, &meta, &snapshot.snapshot))?;
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

fn meta_bytes(meta: &SnapshotMeta) -> BytesMut {
    let mut bytes = BytesMut::new();
    put_meta(&mut bytes, meta);
    bytes
}

fn encode(folder: &Folder, meta: &[u8], state: &[u8]) -> Bytes {
    let mut to = BytesMut::with_capacity(HEAD_BYTES + 16 + meta.len() + state.len());
    put_head(&mut to, FileKind::Snapshot, folder.cluster_id);
    to.put_u32(u32::try_from(meta.len()).expect("memberships are bounded where they are made"));
    to.put_u64(state.len() as u64);
    to.put_slice(meta);
    to.put_slice(state);
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use klamm_env::Files;
    use klamm_env::sim::disk::Disk;
    use klamm_model::Uuid;

    use super::*;
    use crate::types::log_id;

    #[test]
    fn a_snapshot_that_could_not_be_read_again_is_not_written() {
        let disk = Disk::default();
        disk.create_dir_all(Path::new("/data")).unwrap();
        let folder = Folder {
            files: Arc::new(disk),
            path: PathBuf::from("/data"),
            cluster_id: Uuid::ONE,
            node_id: 1,
        };
        let of = |index, bytes| Snapshot {
            meta: SnapshotMeta {
                last_log_id: Some(log_id(1, index)),
                ..Default::default()
            },
            snapshot: Bytes::from(vec![7; bytes]),
        };
        write(&folder, &of(1, 10)).unwrap();
        let bytes = folder
            .files
            .entry(&folder.path.join("00000000000000000001.snapshot"));
        let limit = bytes.unwrap().unwrap().len;
        write_up_to(&folder, &of(2, 10), limit).unwrap();
        let error = write_up_to(&folder, &of(3, 11), limit).unwrap_err().to_string();
        let size = limit + 1;
        assert_eq!(
            error,
            format!(
                "/data/00000000000000000003.snapshot: {size} bytes are more than the {limit} that can be read again"
            )
        );
        let left = read_newest(&folder).unwrap().unwrap();
        assert_eq!(left.meta.last_log_id, Some(log_id(1, 2)), "the one before stays");
    }
}
