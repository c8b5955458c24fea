//! The records of a decision as they are stored: one behind the other, in memory that the next decision uses again.
//!
//! Next: `gathered.rs`, which copies them into batches.

use klamm_coordinator::{CoordinatorRecord, RecordExtent};
use klamm_protocol::{EncodeError, Writer};

/// The most memory that is kept for the next decision.
const KEPT: usize = 16 << 10;

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Encoded {
    writer: Writer,
    extents: Vec<RecordExtent>,
}

/// A record, looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored<'a> {
    pub(super) key: &'a [u8],
    /// `None` is a tombstone.
    pub(super) value: Option<&'a [u8]>,
}

impl Default for Encoded {
    fn default() -> Self {
        Self {
            writer: Writer::contiguous(),
            extents: Vec::new(),
        }
    }
}

impl Encoded {
    /// Takes these in the place of what was here.
    pub(super) fn fill<R: CoordinatorRecord>(&mut self, records: &[R]) -> Result<(), EncodeError> {
        self.extents.clear();
        self.writer.clear();
        self.writer.trim(KEPT);
        if self.extents.capacity() * size_of::<RecordExtent>() > KEPT {
            self.extents = Vec::new();
        }
        for record in records {
            self.extents.push(record.write(&mut self.writer)?);
        }
        Ok(())
    }

    /// The records in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Stored<'_>> + Clone {
        let mut rest = self.writer.buffer();
        self.extents.iter().map(move |extent| {
            let mut next = |bytes| {
                let (next, behind) = rest.split_at(bytes);
                rest = behind;
                next
            };
            Stored {
                key: next(extent.key_bytes),
                value: extent.value_bytes.map(next),
            }
        })
    }
}
