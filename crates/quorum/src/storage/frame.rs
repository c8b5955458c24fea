//! The head of a file and one entry in a segment, as bytes.
//!
//! Always holds: a header is believed only when its own checksum agrees, and only then its length; a payload only when
//! its checksum agrees too.

use std::path::Path;

use bytes::{BufMut, Bytes, BytesMut};
use klamm_model::Uuid;

use crate::codec::{
    DecodeError, FRAME_OVERHEAD_BYTES, MAX_DECISION_BYTES, MAX_INDEX, Reader, crc32c, kind_of, payload,
    payload_bytes,
};
use crate::error::FileError;
use crate::storage::Folder;
use crate::types::{Entry, log_id, term_of};

/// The version of all the files of the folder.
pub(crate) const FORMAT_VERSION: u16 = 1;
/// Bytes of a file head.
pub(crate) const HEAD_BYTES: usize = 24;
/// Bytes of a segment's header: the head, what comes before its first entry, and a checksum.
pub(crate) const SEGMENT_HEADER_BYTES: usize = HEAD_BYTES + 24;
/// Bytes before an entry's payload.
pub(crate) const FRAME_HEADER_BYTES: usize = FRAME_OVERHEAD_BYTES;
/// Bytes of a payload: a decision, or a membership of the largest size.
pub(crate) const MAX_PAYLOAD_BYTES: usize = MAX_DECISION_BYTES;

const FRAME_MAGIC: u32 = 0x4b4c_6d45;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    Segment,
    Vote,
    Snapshot,
}

impl FileKind {
    fn magic(self) -> &'static [u8; 6] {
        match self {
            FileKind::Segment => b"KLMraf",
            FileKind::Vote => b"KLMvot",
            FileKind::Snapshot => b"KLMsnp",
        }
    }
}

/// Writes the head that all files begin with: what it is, its version, its cluster.
pub(crate) fn put_head(to: &mut BytesMut, kind: FileKind, cluster_id: Uuid) {
    to.put_slice(kind.magic());
    to.put_u16(FORMAT_VERSION);
    to.put_slice(&cluster_id.0);
}

/// Checks the head of `path`, which begins with `bytes`. A later version is named before anything else is judged.
pub(crate) fn check_head(
    path: &Path,
    bytes: &[u8],
    kind: FileKind,
    cluster_id: Uuid,
) -> Result<(), FileError> {
    let Some(head) = bytes.get(..HEAD_BYTES) else {
        return Err(Folder::corrupt(path, 0, "too short for its head"));
    };
    if &head[..6] != kind.magic() {
        return Err(Folder::corrupt(path, 0, "not a file of this kind"));
    }
    let version = u16::from_be_bytes([head[6], head[7]]);
    if version > FORMAT_VERSION {
        return Err(FileError::NewerVersion {
            path: path.to_path_buf(),
            found: version,
            supported: FORMAT_VERSION,
        });
    }
    if version == 0 {
        return Err(Folder::corrupt(path, 6, "format version 0"));
    }
    let found = Uuid(head[8..24].try_into().expect("16 bytes"));
    if found != cluster_id {
        return Err(FileError::Foreign {
            path: path.to_path_buf(),
            found: format!("cluster {found}"),
            expected: format!("cluster {cluster_id}"),
        });
    }
    Ok(())
}

/// What stands before the entries of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// The index of the first entry.
    pub(crate) first: u64,
    /// The term of the entry before it; `None` when there never was one.
    pub(crate) previous_term: Option<u64>,
}

impl SegmentHeader {
    pub(crate) fn encode(&self, cluster_id: Uuid) -> Bytes {
        let mut to = BytesMut::with_capacity(SEGMENT_HEADER_BYTES);
        put_head(&mut to, FileKind::Segment, cluster_id);
        to.put_u64(self.first);
        to.put_u64(self.previous_term.unwrap_or(u64::MAX));
        to.put_u32(0);
        let crc = crc32c(&to);
        to.put_u32(crc);
        to.freeze()
    }

    pub(crate) fn decode(path: &Path, bytes: &[u8], cluster_id: Uuid) -> Result<Self, FileError> {
        check_head(path, bytes, FileKind::Segment, cluster_id)?;
        let Some(header) = bytes.get(..SEGMENT_HEADER_BYTES) else {
            return Err(Folder::corrupt(path, 0, "too short for its header"));
        };
        let (body, crc) = header.split_at(SEGMENT_HEADER_BYTES - 4);
        if crc32c(body).to_be_bytes() != crc {
            return Err(Folder::corrupt(path, 0, "the header's checksum disagrees"));
        }
        let number = |at: usize| u64::from_be_bytes(body[at..at + 8].try_into().expect("8 bytes"));
        let previous_term = Some(number(32)).filter(|term| *term != u64::MAX);
        let first = number(24);
        if first > MAX_INDEX {
            return Err(Folder::corrupt(path, 0, "the first offset is out of range"));
        }
        Ok(Self { first, previous_term })
    }
}

/// The header of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) payload_bytes: u32,
    pub(crate) payload_crc: u32,
    pub(crate) index: u64,
    pub(crate) term: u64,
    /// One more than the last index that was known to be committed; 0 for none.
    pub(crate) committed_end: u64,
    /// Up to where the segment was on the device before this entry was written: a bad frame below it is no torn write.
    pub(crate) durable_end: u64,
    pub(crate) kind: u8,
}

impl FrameHeader {
    /// Bytes of the whole frame.
    pub(crate) fn frame_bytes(&self) -> u64 {
        FRAME_HEADER_BYTES as u64 + u64::from(self.payload_bytes)
    }

    fn encode(&self) -> [u8; FRAME_HEADER_BYTES] {
        let mut body = BytesMut::with_capacity(FRAME_HEADER_BYTES);
        body.put_u32(FRAME_MAGIC);
        body.put_u32(0);
        body.put_u32(self.payload_bytes);
        body.put_u32(self.payload_crc);
        body.put_u64(self.index);
        body.put_u64(self.term);
        body.put_u64(self.committed_end);
        body.put_u64(self.durable_end);
        body.put_u8(self.kind);
        body.put_bytes(0, 3);
        let crc = crc32c(&body[8..]);
        body[4..8].copy_from_slice(&crc.to_be_bytes());
        body[..].try_into().expect("the fields add up to the header")
    }

    /// The header at the front of `bytes`.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let Some(header) = bytes.get(..FRAME_HEADER_BYTES) else {
            return Err(DecodeError("too short for an entry's header"));
        };
        if header[..4] != FRAME_MAGIC.to_be_bytes() {
            return Err(DecodeError("no entry begins here"));
        }
        if header[4..8] != crc32c(&header[8..]).to_be_bytes() {
            return Err(DecodeError("the checksum of an entry's header disagrees"));
        }
        let mut reader = Reader::new(Bytes::copy_from_slice(&header[8..]));
        let decoded = Self {
            payload_bytes: reader.u32()?,
            payload_crc: reader.u32()?,
            index: reader.u64()?,
            term: reader.u64()?,
            committed_end: reader.u64()?,
            durable_end: reader.u64()?,
            kind: reader.u8()?,
        };
        if decoded.payload_bytes as usize > MAX_PAYLOAD_BYTES {
            return Err(DecodeError("an entry above the largest size"));
        }
        Ok(decoded)
    }
}

/// Appends the frame of `entry` to `to`.
pub(crate) fn put_frame(to: &mut BytesMut, entry: &Entry, committed_end: u64, durable_end: u64) {
    let bytes = payload_bytes(&entry.payload);
    let header = FrameHeader {
        payload_bytes: u32::try_from(bytes.len()).expect("payloads are bounded where they are made"),
        payload_crc: crc32c(&bytes),
        index: entry.log_id.index,
        term: term_of(&entry.log_id),
        committed_end,
        durable_end,
        kind: kind_of(&entry.payload),
    };
    to.reserve(FRAME_HEADER_BYTES + bytes.len());
    to.put_slice(&header.encode());
    to.put_slice(&bytes);
}

/// The entry at the front of `bytes`, which may go on behind it.
pub(crate) fn decode_frame(bytes: &Bytes) -> Result<(FrameHeader, Entry), DecodeError> {
    let (header, body) = intact_frame(bytes)?;
    let entry = decode_payload(&header, body)?;
    Ok((header, entry))
}

/// The header and the payload at the front of `bytes`: whole, and as they were written, whatever they mean.
pub(crate) fn intact_frame(bytes: &Bytes) -> Result<(FrameHeader, Bytes), DecodeError> {
    let header = FrameHeader::decode(bytes)?;
    let end = FRAME_HEADER_BYTES + header.payload_bytes as usize;
    if bytes.len() < end {
        return Err(DecodeError("too short for an entry's payload"));
    }
    let body = bytes.slice(FRAME_HEADER_BYTES..end);
    if crc32c(&body) != header.payload_crc {
        return Err(DecodeError("the checksum of an entry's payload disagrees"));
    }
    Ok((header, body))
}

/// What an intact frame says. It fails for what another version of Klamm wrote.
pub(crate) fn decode_payload(header: &FrameHeader, body: Bytes) -> Result<Entry, DecodeError> {
    if header.index > MAX_INDEX {
        return Err(DecodeError("an offset out of range"));
    }
    Ok(Entry {
        log_id: log_id(header.term, header.index),
        payload: payload(header.kind, body)?,
    })
}

#[cfg(test)]
mod tests {
    use openraft::EntryPayload;
    use proptest::prelude::*;

    use super::*;
    use crate::types::Decision;

    fn entry(term: u64, index: u64, bytes: Vec<u8>) -> Entry {
        Entry {
            log_id: log_id(term, index),
            payload: EntryPayload::Normal(Decision(Bytes::from(bytes))),
        }
    }

    proptest! {
        #[test]
        fn frames_come_back(term in 0u64..9, index in 0u64..9, bytes in proptest::collection::vec(any::<u8>(), 0..99)) {
            let before = entry(term, index, bytes);
            let mut to = BytesMut::new();
            put_frame(&mut to, &before, 3, 77);
            to.put_u8(9);
            let (header, after) = decode_frame(&to.freeze()).unwrap();
            prop_assert_eq!((header.committed_end, header.durable_end), (3, 77));
            prop_assert_eq!(after, before);
        }

        #[test]
        fn one_changed_byte_is_noticed(at in 0usize..60, by in 1u8..=255) {
            let mut to = BytesMut::new();
            put_frame(&mut to, &entry(1, 2, b"decision".to_vec()), 0, 48);
            to[at] ^= by;
            prop_assert!(decode_frame(&to.freeze()).is_err());
        }

        #[test]
        fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let bytes = Bytes::from(bytes);
            let _ = decode_frame(&bytes);
            let _ = SegmentHeader::decode(Path::new("x"), &bytes, Uuid::ZERO);
        }
    }

    #[test]
    fn a_newer_version_names_both() {
        let header = SegmentHeader {
            first: 0,
            previous_term: None,
        };
        let mut bytes = header.encode(Uuid::ONE).to_vec();
        assert_eq!(
            SegmentHeader::decode(Path::new("x"), &bytes, Uuid::ONE).unwrap(),
            header
        );
        bytes[7] = 2;
        let error = SegmentHeader::decode(Path::new("x"), &bytes, Uuid::ONE).unwrap_err();
        assert_eq!(
            error.to_string(),
            "x: format version 2, but this version of Klamm reads up to 1"
        );
    }

    #[test]
    fn another_cluster_is_refused() {
        let bytes = SegmentHeader {
            first: 5,
            previous_term: Some(2),
        }
        .encode(Uuid::ONE);
        let error = SegmentHeader::decode(Path::new("x"), &bytes, Uuid::ZERO).unwrap_err();
        assert!(matches!(error, FileError::Foreign { .. }), "{error}");
    }
}
