//! The file `vote`: this node's promise, which must never be taken back.
//!
//! Always holds: the file is replaced as a whole; the vote in it only grows; it names the node whose promise it is, so
//! that a folder copied to another node is refused.

use bytes::{BufMut, Bytes, BytesMut};

use crate::codec::{Reader, crc32c, put_vote};
use crate::error::FileError;
use crate::storage::Folder;
use crate::storage::frame::{FileKind, HEAD_BYTES, check_head, put_head};
use crate::types::{LogId, Vote, term_of};

const NAME: &str = "vote";
const VOTE_BYTES: usize = HEAD_BYTES + 8 + 17 + 4;

/// The vote on disk, `None` before the first one.
pub(crate) fn read(folder: &Folder) -> Result<Option<Vote>, FileError> {
    let path = folder.path.join(NAME);
    if folder.files.entry(&path).map_err(FileError::io(&path))?.is_none() {
        return Ok(None);
    }
    let limit = 4096;
    let bytes = Bytes::from(folder.files.read(&path, limit).map_err(FileError::io(&path))?);
    check_head(&path, &bytes, FileKind::Vote, folder.cluster_id)?;
    if bytes.len() != VOTE_BYTES || crc32c(&bytes[..VOTE_BYTES - 4]).to_be_bytes() != bytes[VOTE_BYTES - 4..]
    {
        return Err(Folder::corrupt(&path, 0, "the checksum disagrees"));
    }
    let mut reader = Reader::new(bytes.slice(HEAD_BYTES..VOTE_BYTES - 4));
    let invalid =
        |error: crate::codec::DecodeError| Folder::corrupt(&path, HEAD_BYTES as u64, error.to_string());
    let node = reader.node().map_err(invalid)?;
    if node != folder.node_id {
        return Err(FileError::Foreign {
            path: path.clone(),
            found: format!("node {node}"),
            expected: format!("node {}", folder.node_id),
        });
    }
    reader.vote().map(Some).map_err(invalid)
}

/// Refuses a vote that is older than `last`, the last entry: the entry came from a leader that this node had voted for or
/// heard of, so a promise was lost.
pub(crate) fn check(folder: &Folder, vote: Option<&Vote>, last: Option<LogId>) -> Result<(), FileError> {
    let voted = vote.map_or(0, |vote| vote.leader_id.term);
    let term = last.as_ref().map_or(0, term_of);
    if term <= voted {
        return Ok(());
    }
    let what = format!("the last vote is of term {voted}, but the log has an entry of term {term}");
    Err(Folder::corrupt(&folder.path.join(NAME), 0, what))
}

/// Replaces the vote on disk; it is durable when this returns.
pub(crate) fn write(folder: &Folder, vote: &Vote) -> Result<(), FileError> {
    folder.write_atomically(NAME, &encode(folder, vote))
}

fn encode(folder: &Folder, vote: &Vote) -> Bytes {
    let mut to = BytesMut::with_capacity(VOTE_BYTES);
    put_head(&mut to, FileKind::Vote, folder.cluster_id);
    to.put_u64(folder.node_id);
    put_vote(&mut to, vote);
    let crc = crc32c(&to);
    to.put_u32(crc);
    to.freeze()
}
