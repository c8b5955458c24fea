//! The indexes of a segment: Kafka's sparse maps from offsets and timestamps into the `.log` file.
//!
//! Always holds: entries are sorted by their key, and an index names only batches that exist: it is cut before, and
//! written after, the bytes it points to. It can be lost: everything in it follows from the segment.
//!
//! ```text
//! .index      relative offset u32, position u32        the last offset of a batch, and where the batch begins
//! .timeindex  timestamp i64, relative offset u32       no record up to that offset has a larger timestamp
//! ```
//!
//! The newest entries are kept in memory and written out in lots: an index of a segment that is being written is made
//! anew after a crash anyway.

pub mod transaction;

use std::io::{self, IoSlice};

use klamm_env::File;

/// Entries that are kept in memory before they are written out.
const LOT: usize = 256;
/// Bytes that the last step of a search reads at once, and that are written at once.
const LEAF_BYTES: usize = 4096;

/// An entry of an index file.
pub trait IndexEntry: Copy + PartialEq + std::fmt::Debug {
    /// Bytes of an entry.
    const SIZE: usize;
    /// Reads an entry of `SIZE` bytes.
    fn decode(bytes: &[u8]) -> Self;
    /// Fills `bytes`, which are `SIZE`.
    fn encode(&self, bytes: &mut [u8]);
}

/// An entry of a `.index` file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetEntry {
    /// The last offset of a batch, less the segment's base offset.
    pub relative_offset: u32,
    /// Where the batch begins.
    pub position: u32,
}

impl IndexEntry for OffsetEntry {
    const SIZE: usize = 8;

    fn decode(bytes: &[u8]) -> Self {
        Self {
            relative_offset: u32_at(bytes, 0),
            position: u32_at(bytes, 4),
        }
    }

    fn encode(&self, bytes: &mut [u8]) {
        bytes[..4].copy_from_slice(&self.relative_offset.to_be_bytes());
        bytes[4..].copy_from_slice(&self.position.to_be_bytes());
    }
}

/// An entry of a `.timeindex` file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeEntry {
    /// The largest timestamp up to the offset.
    pub timestamp: i64,
    /// The last offset of the batch that has it, less the segment's base offset.
    pub relative_offset: u32,
}

impl IndexEntry for TimeEntry {
    const SIZE: usize = 12;

    fn decode(bytes: &[u8]) -> Self {
        Self {
            timestamp: i64::from_be_bytes(bytes[..8].try_into().expect("eight bytes")),
            relative_offset: u32_at(bytes, 8),
        }
    }

    fn encode(&self, bytes: &mut [u8]) {
        bytes[..8].copy_from_slice(&self.timestamp.to_be_bytes());
        bytes[8..].copy_from_slice(&self.relative_offset.to_be_bytes());
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// Why a lookup gave nothing.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The device is needed, and the caller may not wait for it.
    NotResident,
    /// The device failed, or the file is shorter than it should be.
    Io(io::Error),
}

/// A file to be read from, with or without waiting for the device.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) file: Option<&'a dyn File>,
    pub(crate) may_block: bool,
}

impl Source<'_> {
    pub(crate) fn read_exact(&self, buffer: &mut [u8], position: u64) -> Result<(), Stop> {
        match self.read_up_to(buffer, position)? {
            read if read == buffer.len() => Ok(()),
            _ => Err(Stop::Io(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// Fills `buffer` as far as the file goes.
    pub(crate) fn read_up_to(&self, buffer: &mut [u8], position: u64) -> Result<usize, Stop> {
        let file = self.file.ok_or(Stop::NotResident)?;
        let mut done = 0;
        while done < buffer.len() {
            let at = position + done as u64;
            let read = if self.may_block {
                file.read_at(&mut buffer[done..], at).map_err(Stop::Io)?
            } else {
                let read = file.read_at_resident(&mut buffer[done..], at).map_err(Stop::Io)?;
                read.ok_or(Stop::NotResident)?
            };
            match read {
                0 => break,
                read => done += read,
            }
        }
        Ok(done)
    }
}

/// An index: entries in a file, and the newest ones in memory.
#[derive(Debug, Default)]
pub(crate) struct Table<E> {
    written: u32,
    /// `None` in all segments but those that are written.
    #[expect(clippy::box_collection, reason = "a word in the many that have none")]
    pending: Option<Box<Vec<E>>>,
}

impl<E: IndexEntry> Table<E> {
    /// The index whose file has `written` entries.
    pub(crate) fn of_file(written: u32) -> Self {
        Self {
            written,
            pending: None,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.written as usize + self.pending().len()
    }

    pub(crate) fn push(&mut self, entry: E) {
        self.pending.get_or_insert_default().push(entry);
    }

    pub(crate) fn has_a_lot(&self) -> bool {
        self.pending().len() >= LOT
    }

    pub(crate) fn pending(&self) -> &[E] {
        self.pending.as_ref().map_or(&[], |pending| pending.as_slice())
    }

    pub(crate) fn view(&self) -> TableView<'_, E> {
        TableView {
            written: self.written,
            pending: self.pending(),
        }
    }

    /// Writes the newest entries to the file (page cache). The memory is kept unless `shrink`.
    pub(crate) fn write_out(&mut self, file: &dyn File, shrink: bool) -> io::Result<()> {
        // On the stack: an append that completes a lot writes it.
        let mut bytes = [0; LEAF_BYTES];
        let mut position = u64::from(self.written) * E::SIZE as u64;
        for lot in self.pending().chunks(LEAF_BYTES / E::SIZE) {
            let bytes = &mut bytes[..lot.len() * E::SIZE];
            let places = bytes.chunks_exact_mut(E::SIZE);
            places.zip(lot).for_each(|(place, entry)| entry.encode(place));
            file.write_at(&[IoSlice::new(bytes)], position)?;
            position += bytes.len() as u64;
        }
        self.written += u32::try_from(self.pending().len()).expect("bounded by segment.index.bytes");
        if shrink {
            self.pending = None;
        } else if let Some(pending) = &mut self.pending {
            pending.clear();
        }
        Ok(())
    }
}

/// What a search of an index needs beside its file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TableView<'a, E> {
    pub(crate) written: u32,
    pub(crate) pending: &'a [E],
}

impl<E: IndexEntry> TableView<'_, E> {
    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.written as usize + self.pending.len()
    }

    /// The entry at `at`, which is below [`TableView::len`].
    pub(crate) fn entry(&self, source: Source<'_>, at: usize) -> Result<E, Stop> {
        if let Some(entry) = at.checked_sub(self.written as usize).map(|i| self.pending[i]) {
            return Ok(entry);
        }
        let mut bytes = [0; 16];
        source.read_exact(&mut bytes[..E::SIZE], (at * E::SIZE) as u64)?;
        Ok(E::decode(&bytes[..E::SIZE]))
    }

    /// The last entry, if there is one.
    pub(crate) fn last(&self, source: Source<'_>) -> Result<Option<E>, Stop> {
        match self.len() {
            0 => Ok(None),
            len => self.entry(source, len - 1).map(Some),
        }
    }

    /// Whether [`TableView::floor`] finds the last entry that satisfies `below` in memory.
    pub(crate) fn is_at_hand(&self, below: impl Fn(&E) -> bool) -> bool {
        self.written == 0 || self.pending.first().is_some_and(below)
    }

    /// The number of entries that satisfy `below`, which the first ones do and the others do not, with the last of them.
    pub(crate) fn floor(
        &self,
        source: Source<'_>,
        below: impl Fn(&E) -> bool,
    ) -> Result<(usize, Option<E>), Stop> {
        if self.is_at_hand(&below) {
            let count = self.pending.partition_point(below);
            let last = count.checked_sub(1).map(|i| self.pending[i]);
            return Ok((self.written as usize + count, last));
        }
        // `low` entries are known to be below, those from `high` on known not to be.
        let (mut low, mut high, mut found) = (0, self.written as usize, None);
        let leaf = LEAF_BYTES / E::SIZE;
        while high - low > leaf {
            let middle = low + (high - low) / 2;
            let entry = self.entry(source, middle)?;
            if below(&entry) {
                (low, found) = (middle + 1, Some(entry));
            } else {
                high = middle;
            }
        }
        let mut bytes = [0; LEAF_BYTES];
        let bytes = &mut bytes[..(high - low) * E::SIZE];
        source.read_exact(bytes, (low * E::SIZE) as u64)?;
        for entry in bytes.chunks_exact(E::SIZE).map(E::decode) {
            if !below(&entry) {
                break;
            }
            (low, found) = (low + 1, Some(entry));
        }
        Ok((low, found))
    }
}
