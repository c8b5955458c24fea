//! The bytes of a journal file: the header of the file, of a round and of an entry, as `docs/formats/journal.md` draws them.
//!
//! Always holds: numbers are big-endian; what was read is believed only after its checksum, which is begun with the log dir's
//! id: so neither a file of another log dir nor anything that a client puts into its records passes for a round.

use crc_fast::{CrcAlgorithm, Digest};
use klamm_model::{LeaderEpoch, Offset, TopicId, Uuid};

/// Where a round may begin, and the size of a file's header: a block that is durable is not written to again.
pub(crate) const BLOCK_BYTES: usize = 4096;
/// The version of the format.
pub(crate) const VERSION: u32 = 1;
/// The used bytes of a file's header.
pub(crate) const FILE_HEADER_BYTES: usize = 64;
/// The bytes of a round's header.
pub(crate) const ROUND_HEADER_BYTES: usize = 40;
/// The bytes of an entry's header.
pub(crate) const ENTRY_HEADER_BYTES: usize = 60;

const FILE_MAGIC: u64 = u64::from_be_bytes(*b"klammjnl");
const ROUND_MAGIC: u32 = u32::from_be_bytes(*b"rnd1");
const APPEND: u8 = 1;
const FORGET: u8 = 2;

/// A partition, whatever its topic is called.
pub(crate) type Whose = (TopicId, i32);

/// Up to the next block.
pub(crate) fn whole_blocks(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK_BYTES as u64)
}

/// A checksum that grows with what it covers.
pub(crate) struct Sum(Digest);

impl Sum {
    pub(crate) fn new() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }

    fn of_dir(dir_id: Uuid) -> Self {
        let mut sum = Self::new();
        sum.add(&dir_id.0);
        sum
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn value(&self) -> u32 {
        u32::try_from(self.0.finalize() & 0xffff_ffff).expect("masked to 32 bits")
    }
}

/// What stands in the first block of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    /// Rises with every use of any file; 0: never used.
    pub(crate) sequence: u64,
    /// Of the files with a lower sequence no round counts any more.
    pub(crate) live_from: u64,
    /// The number of its first round.
    pub(crate) first_lsn: u64,
    /// The bytes of the file.
    pub(crate) file_bytes: u64,
}

/// What the first block of a file turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FoundHeader {
    Valid(FileHeader),
    Invalid,
    /// It is whole, and of another log dir.
    Foreign,
    /// A later version of this product wrote it.
    Newer(u32),
}

impl FileHeader {
    /// The whole first block.
    pub(crate) fn encode(&self, dir_id: Uuid) -> [u8; BLOCK_BYTES] {
        let mut block = [0; BLOCK_BYTES];
        put(&mut block, 0, &FILE_MAGIC.to_be_bytes());
        put(&mut block, 12, &VERSION.to_be_bytes());
        put(&mut block, 16, &self.sequence.to_be_bytes());
        put(&mut block, 24, &self.live_from.to_be_bytes());
        put(&mut block, 32, &self.first_lsn.to_be_bytes());
        put(&mut block, 40, &dir_id.0);
        put(&mut block, 56, &self.file_bytes.to_be_bytes());
        let sum = Self::sum(&block[..FILE_HEADER_BYTES], dir_id);
        put(&mut block, 8, &sum.to_be_bytes());
        block
    }

    fn sum(bytes: &[u8], dir_id: Uuid) -> u32 {
        let mut sum = Sum::of_dir(dir_id);
        sum.add(&bytes[12..]);
        sum.value()
    }

    /// Reads the header of a file of this log dir.
    pub(crate) fn parse(bytes: &[u8; FILE_HEADER_BYTES], dir_id: Uuid) -> FoundHeader {
        let version = u32_at(bytes, 12);
        if u64_at(bytes, 0) != FILE_MAGIC {
            return FoundHeader::Invalid;
        }
        let mut said = [0; 16];
        said.copy_from_slice(&bytes[40..56]);
        if u32_at(bytes, 8) != Self::sum(bytes, Uuid(said)) {
            return FoundHeader::Invalid;
        }
        if Uuid(said) != dir_id {
            return FoundHeader::Foreign;
        }
        if version > VERSION {
            return FoundHeader::Newer(version);
        }
        FoundHeader::Valid(Self {
            sequence: u64_at(bytes, 16),
            live_from: u64_at(bytes, 24),
            first_lsn: u64_at(bytes, 32),
            file_bytes: u64_at(bytes, 56),
        })
    }
}

/// What stands before the entries of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RoundHeader {
    /// Of the entries.
    pub(crate) body_sum: u32,
    /// Bytes of the round, this header included, without what fills the last block.
    pub(crate) length: u32,
    pub(crate) entries: u32,
    /// Of the file.
    pub(crate) sequence: u64,
    /// Rises by one a round, over all files.
    pub(crate) lsn: u64,
}

impl RoundHeader {
    pub(crate) fn encode(&self, dir_id: Uuid) -> [u8; ROUND_HEADER_BYTES] {
        let mut bytes = [0; ROUND_HEADER_BYTES];
        put(&mut bytes, 0, &ROUND_MAGIC.to_be_bytes());
        put(&mut bytes, 8, &self.body_sum.to_be_bytes());
        put(&mut bytes, 12, &self.length.to_be_bytes());
        put(&mut bytes, 16, &self.entries.to_be_bytes());
        put(&mut bytes, 24, &self.sequence.to_be_bytes());
        put(&mut bytes, 32, &self.lsn.to_be_bytes());
        let sum = Self::sum(&bytes, dir_id);
        put(&mut bytes, 4, &sum.to_be_bytes());
        bytes
    }

    fn sum(bytes: &[u8; ROUND_HEADER_BYTES], dir_id: Uuid) -> u32 {
        let mut sum = Sum::of_dir(dir_id);
        sum.add(&bytes[8..]);
        sum.value()
    }

    /// The header, if one of this log dir stands there.
    pub(crate) fn parse(bytes: &[u8; ROUND_HEADER_BYTES], dir_id: Uuid) -> Option<Self> {
        if u32_at(bytes, 0) != ROUND_MAGIC || u32_at(bytes, 4) != Self::sum(bytes, dir_id) {
            return None;
        }
        Some(Self {
            body_sum: u32_at(bytes, 8),
            length: u32_at(bytes, 12),
            entries: u32_at(bytes, 16),
            sequence: u64_at(bytes, 24),
            lsn: u64_at(bytes, 32),
        })
    }
}

/// What a round says of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// These bytes stand in a segment; they follow.
    Append(Append),
    /// Everything about the partition in rounds before this one is in its segments, and synced, or of no concern any more.
    Forget(Whose),
}

/// Whole batches of one segment, as they stand in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Append {
    pub(crate) whose: Whose,
    pub(crate) leader_epoch: LeaderEpoch,
    /// The first offset, and the one after the last.
    pub(crate) base_offset: Offset,
    pub(crate) end_offset: Offset,
    /// The base offset of the segment.
    pub(crate) segment: Offset,
    /// Where in its file.
    pub(crate) position: u32,
    pub(crate) length: u32,
}

impl Entry {
    pub(crate) fn encode(&self) -> [u8; ENTRY_HEADER_BYTES] {
        let mut bytes = [0; ENTRY_HEADER_BYTES];
        let whose = match self {
            Self::Append(append) => {
                bytes[0] = APPEND;
                put(&mut bytes, 24, &append.leader_epoch.0.to_be_bytes());
                put(&mut bytes, 28, &append.base_offset.0.to_be_bytes());
                put(&mut bytes, 36, &append.end_offset.0.to_be_bytes());
                put(&mut bytes, 44, &append.segment.0.to_be_bytes());
                put(&mut bytes, 52, &append.position.to_be_bytes());
                put(&mut bytes, 56, &append.length.to_be_bytes());
                append.whose
            }
            Self::Forget(whose) => {
                bytes[0] = FORGET;
                *whose
            }
        };
        put(&mut bytes, 4, &whose.0.0);
        put(&mut bytes, 20, &whose.1.to_be_bytes());
        bytes
    }

    /// Reads an entry; `None` if it is none that this version writes.
    pub(crate) fn parse(bytes: &[u8; ENTRY_HEADER_BYTES]) -> Option<Self> {
        let mut topic_id = [0; 16];
        topic_id.copy_from_slice(&bytes[4..20]);
        let whose = (Uuid(topic_id), u32_at(bytes, 20).cast_signed());
        match bytes[0] {
            APPEND => {
                let append = Append {
                    whose,
                    leader_epoch: LeaderEpoch(u32_at(bytes, 24).cast_signed()),
                    base_offset: Offset(u64_at(bytes, 28).cast_signed()),
                    end_offset: Offset(u64_at(bytes, 36).cast_signed()),
                    segment: Offset(u64_at(bytes, 44).cast_signed()),
                    position: u32_at(bytes, 52),
                    length: u32_at(bytes, 56),
                };
                append.is_sound().then_some(Self::Append(append))
            }
            FORGET => Some(Self::Forget(whose)),
            _ => None,
        }
    }

    /// Bytes that follow the header.
    pub(crate) fn payload_bytes(&self) -> u32 {
        match self {
            Self::Append(append) => append.length,
            Self::Forget(_) => 0,
        }
    }
}

impl Append {
    /// Whether a log can have it.
    fn is_sound(&self) -> bool {
        let end = u64::from(self.position) + u64::from(self.length);
        self.segment.0 >= 0
            && self.segment <= self.base_offset
            && self.base_offset < self.end_offset
            && self.length > 0
            && i32::try_from(end).is_ok()
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    u32::from_be_bytes(value)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_be_bytes(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIR: Uuid = Uuid([9; 16]);

    #[test]
    fn a_header_is_read_as_it_was_written_and_only_whole_and_only_of_its_log_dir() {
        let header = FileHeader {
            sequence: 7,
            live_from: 5,
            first_lsn: 1234,
            file_bytes: 65536,
        };
        let block = header.encode(DIR);
        let read = |block: &[u8; BLOCK_BYTES], dir| {
            let mut bytes = [0; FILE_HEADER_BYTES];
            bytes.copy_from_slice(&block[..FILE_HEADER_BYTES]);
            FileHeader::parse(&bytes, dir)
        };
        assert_eq!(read(&block, DIR), FoundHeader::Valid(header));
        assert_eq!(read(&block, Uuid([8; 16])), FoundHeader::Foreign);
        for at in 0..FILE_HEADER_BYTES {
            let mut flipped = block;
            flipped[at] ^= 1;
            assert_eq!(read(&flipped, DIR), FoundHeader::Invalid, "byte {at}");
        }
    }

    #[test]
    fn a_round_s_header_is_read_as_it_was_written_and_only_whole_and_only_of_its_log_dir() {
        let header = RoundHeader {
            body_sum: 99,
            length: 4242,
            entries: 3,
            sequence: 7,
            lsn: 1235,
        };
        let bytes = header.encode(DIR);
        assert_eq!(RoundHeader::parse(&bytes, DIR), Some(header));
        assert_eq!(RoundHeader::parse(&bytes, Uuid([8; 16])), None);
        for at in 0..ROUND_HEADER_BYTES {
            let mut flipped = bytes;
            flipped[at] ^= 0x80;
            assert_eq!(RoundHeader::parse(&flipped, DIR), None, "byte {at}");
        }
    }

    #[test]
    fn entries_are_read_as_they_were_written_and_unsound_ones_are_none() {
        let append = Append {
            whose: (Uuid([3; 16]), 12),
            leader_epoch: LeaderEpoch(4),
            base_offset: Offset(100),
            end_offset: Offset(110),
            segment: Offset(90),
            position: 5000,
            length: 700,
        };
        for entry in [Entry::Append(append), Entry::Forget((Uuid([3; 16]), 12))] {
            assert_eq!(Entry::parse(&entry.encode()), Some(entry));
        }
        let unsound = [
            Append {
                end_offset: Offset(100),
                ..append
            },
            Append {
                segment: Offset(101),
                ..append
            },
            Append {
                segment: Offset(-1),
                ..append
            },
            Append {
                position: u32::MAX,
                ..append
            },
            Append { length: 0, ..append },
        ];
        for append in unsound {
            assert_eq!(Entry::parse(&Entry::Append(append).encode()), None, "{append:?}");
        }
        let mut unknown = Entry::Append(append).encode();
        unknown[0] = 3;
        assert_eq!(Entry::parse(&unknown), None);
    }
}
