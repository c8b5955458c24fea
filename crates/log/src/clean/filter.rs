//! What becomes of one batch: which of its records stay, and what the batch looks like then.
//!
//! Always holds: a record goes only when a later one of its key is in the map, when it is a tombstone whose time is over,
//! when it was aborted, or when it has no key; the last batch of each producer stays, if need be without records, so that a
//! repetition is still told from news. A tombstone and a marker get a horizon (KIP-534) when they are first met, and go
//! when it has passed.
//!
//! A batch that is made anew may be larger than it was. Where that would not fit, the old one stays: what compaction could
//! remove may always stay.

use klamm_env::hash::Map;
use klamm_model::{Offset, ProducerId, TimestampMs};
use klamm_records::raw::{RawRecord, RawRecords, rebuild, unpack};
use klamm_records::{BatchError, BatchHeader, ControlType, Scratch, TimestampType};

use super::map::KeyMap;
use super::transactions::{Marker, Transactions};

/// What the records of one batch may unpack to.
pub(super) const UNPACKED_LIMIT_BYTES: u64 = 256 * 1024 * 1024;
/// Memory that is kept from batch to batch; what a larger batch needed is given back.
const KEPT_BYTES: usize = 4 * 1024 * 1024;

/// The last thing that an active producer wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LastOfProducer {
    /// Its last record; `None` if only a marker is known of it.
    pub(super) data: Option<Offset>,
    pub(super) epoch: i16,
}

/// What a round of cleaning knows when it looks at a batch.
#[derive(Debug)]
pub(super) struct Knowledge {
    pub(super) map: KeyMap,
    /// The map knows all records up to here.
    pub(super) latest: Offset,
    pub(super) now: TimestampMs,
    pub(super) tombstone_retention_ms: i64,
    pub(super) last_of_producers: Map<ProducerId, LastOfProducer>,
    pub(super) high_watermark: Offset,
}

/// Memory for one batch after another.
#[derive(Default)]
pub(super) struct Workspace {
    pub(super) scratch: Scratch,
    pub(super) unpacked: Vec<u8>,
    kept: Vec<u8>,
    packed: Vec<u8>,
}

impl std::fmt::Debug for Workspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Workspace({} bytes)",
            self.unpacked.capacity() + self.kept.capacity()
        )
    }
}

impl Workspace {
    /// Gives back what only a large batch needed.
    pub(super) fn trim(&mut self) {
        for room in [&mut self.unpacked, &mut self.kept, &mut self.packed] {
            if room.capacity() > KEPT_BYTES {
                *room = Vec::new();
            }
        }
    }
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is gone.
    Gone,
    /// It is as it was.
    Same,
    /// It stands behind the others, with this header.
    Anew(BatchHeader),
}

/// What was counted in a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) read: u64,
    pub(super) kept: u64,
    /// Without a key, where every record needs one.
    pub(super) invalid: u64,
}

/// What is left of the records of a batch.
struct Left {
    count: i32,
    max_timestamp: TimestampMs,
    has_tombstones: bool,
}

impl Knowledge {
    /// Decides on one batch, whose checksum was compared. What it is made anew comes behind what `out` holds, and takes no
    /// more than `room` bytes.
    pub(super) fn decide(
        &mut self,
        header: &BatchHeader,
        body: &[u8],
        transactions: &mut Transactions,
        workspace: &mut Workspace,
        (out, room): (&mut Vec<u8>, usize),
    ) -> Result<(Fate, Counts), BatchError> {
        let all = u64::try_from(header.record_count).unwrap_or(0);
        let read = Counts {
            read: all,
            ..Counts::default()
        };
        let whole = Counts { kept: all, ..read };
        if header.is_control() {
            let horizon = match self.control(header, body, transactions, workspace)? {
                Control::Gone => return Ok((self.without_records(header, out), read)),
                Control::Same => return Ok((Fate::Same, whole)),
                Control::Horizon(horizon) => horizon,
            };
            let fate = later(header, body, horizon, workspace, (out, room))?;
            return Ok((fate, whole));
        }
        let is_aborted = transactions.data(header);
        if is_aborted || header.record_count == 0 {
            return Ok((self.without_records(header, out), read));
        }
        if header.base_offset > self.latest {
            return Ok((Fate::Same, whole));
        }
        self.data(header, body, workspace, out, room)
    }

    /// Decides on a batch of data with records that the map knows.
    fn data(
        &mut self,
        header: &BatchHeader,
        body: &[u8],
        workspace: &mut Workspace,
        out: &mut Vec<u8>,
        room: usize,
    ) -> Result<(Fate, Counts), BatchError> {
        let mut counts = Counts {
            read: u64::try_from(header.record_count).unwrap_or(0),
            ..Counts::default()
        };
        let Workspace {
            scratch,
            unpacked,
            kept,
            packed,
        } = workspace;
        let records = unpack(header, body, UNPACKED_LIMIT_BYTES, scratch, unpacked)?;
        let left = self.select(header, records, kept, &mut counts)?;
        counts.kept = u64::try_from(left.count).unwrap_or(0);
        if left.count == 0 {
            return Ok((self.without_records(header, out), counts));
        }
        let needs_horizon = left.has_tombstones && !header.has_delete_horizon();
        if left.count == header.record_count && !needs_horizon {
            return Ok((Fate::Same, counts));
        }
        let mut anew = BatchHeader {
            record_count: left.count,
            max_timestamp: match header.timestamp_type() {
                TimestampType::CreateTime => left.max_timestamp,
                TimestampType::LogAppendTime => header.max_timestamp,
            },
            ..*header
        };
        if needs_horizon {
            anew = anew.with_delete_horizon(self.horizon());
            count_from(header, &anew, kept, unpacked)?;
            std::mem::swap(kept, unpacked);
        }
        let fate = finish(anew, kept, packed, out, room);
        if fate == Fate::Same {
            counts.kept = counts.read;
        }
        Ok((fate, counts))
    }

    /// The batch when none of its records stays.
    fn without_records(&self, header: &BatchHeader, out: &mut Vec<u8>) -> Fate {
        if !self.stays_empty(header) {
            return Fate::Gone;
        }
        if header.record_count == 0 {
            return Fate::Same;
        }
        let empty = header.without_records();
        out.extend_from_slice(&empty.to_bytes());
        Fate::Anew(empty)
    }

    /// From when on what is met now for the first time may go.
    fn horizon(&self) -> TimestampMs {
        self.now.plus_ms(self.tombstone_retention_ms)
    }

    /// Whether the batch stays even when it has no records.
    fn stays_empty(&self, header: &BatchHeader) -> bool {
        let is_last = self
            .last_of_producers
            .get(&ProducerId(header.producer_id))
            .is_some_and(|last| match last.data {
                Some(offset) => header.last_offset() == offset,
                None => header.is_control() && header.producer_epoch == last.epoch,
            });
        // What stands before the high watermark tells where the log ended.
        is_last || header.next_offset() == self.high_watermark
    }

    /// Takes the records that stay, as they are, into `kept`.
    fn select(
        &mut self,
        header: &BatchHeader,
        records: &[u8],
        kept: &mut Vec<u8>,
        counts: &mut Counts,
    ) -> Result<Left, BatchError> {
        kept.clear();
        let mut left = Left {
            count: 0,
            max_timestamp: TimestampMs(-1),
            has_tombstones: false,
        };
        let is_over = header.delete_horizon().is_some_and(|horizon| self.now >= horizon);
        for record in RawRecords::new(header, records)? {
            let record = record?;
            counts.invalid += u64::from(record.key.is_none());
            if !self.stays(header, &record, is_over) {
                continue;
            }
            record.copy_to(kept);
            left.count += 1;
            left.has_tombstones |= !record.has_value;
            let timestamp = header.base_timestamp.0.wrapping_add(record.timestamp_delta);
            left.max_timestamp = left.max_timestamp.max(TimestampMs(timestamp));
        }
        Ok(left)
    }

    fn stays(&mut self, header: &BatchHeader, record: &RawRecord<'_>, is_over: bool) -> bool {
        let offset = header.base_offset.plus(i64::from(record.offset_delta));
        if offset > self.latest {
            return true;
        }
        let Some(key) = record.key else { return false };
        let is_last = self.map.get(key).is_none_or(|last| offset >= last);
        is_last && (record.has_value || !is_over)
    }

    fn control(
        &self,
        header: &BatchHeader,
        body: &[u8],
        transactions: &mut Transactions,
        workspace: &mut Workspace,
    ) -> Result<Control, BatchError> {
        let said = control_type(header, body, workspace)?;
        let marker = transactions.control(header, said);
        Ok(match (marker, header.delete_horizon()) {
            _ if header.record_count == 0 => Control::Gone,
            (Marker::Needed, _) => Control::Same,
            (Marker::Idle, None) => Control::Horizon(self.horizon()),
            (Marker::Idle, Some(horizon)) if horizon <= self.now => Control::Gone,
            (Marker::Idle, Some(_)) => Control::Same,
        })
    }
}

enum Control {
    Gone,
    Same,
    /// It goes from then on.
    Horizon(TimestampMs),
}

/// What the first record of a control batch says; `None` if there is none.
pub(super) fn control_type(
    header: &BatchHeader,
    body: &[u8],
    workspace: &mut Workspace,
) -> Result<Option<ControlType>, BatchError> {
    let Workspace {
        scratch, unpacked, ..
    } = workspace;
    let records = unpack(header, body, UNPACKED_LIMIT_BYTES, scratch, unpacked)?;
    match RawRecords::new(header, records)?.next() {
        None => Ok(None),
        Some(record) => {
            // One that cannot be read is one that nobody knows: it stays.
            let known = record?.key.and_then(ControlType::parse);
            Ok(Some(known.unwrap_or(ControlType::Unknown(-1))))
        }
    }
}

/// The whole batch with a horizon.
fn later(
    header: &BatchHeader,
    body: &[u8],
    horizon: TimestampMs,
    workspace: &mut Workspace,
    (out, room): (&mut Vec<u8>, usize),
) -> Result<Fate, BatchError> {
    let anew = header.with_delete_horizon(horizon);
    let Workspace {
        scratch,
        unpacked,
        kept,
        packed,
    } = workspace;
    let records = unpack(header, body, UNPACKED_LIMIT_BYTES, scratch, unpacked)?;
    count_from(header, &anew, records, kept)?;
    Ok(finish(anew, kept, packed, out, room))
}

/// Takes `records`, of which there are as many as the new header says, into `into`, their timestamps counted from its base.
fn count_from(
    old: &BatchHeader,
    anew: &BatchHeader,
    records: &[u8],
    into: &mut Vec<u8>,
) -> Result<(), BatchError> {
    into.clear();
    let moved = old.base_timestamp.0.wrapping_sub(anew.base_timestamp.0);
    for record in RawRecords::new(anew, records)? {
        let record = record?;
        record.copy_with_timestamp(record.timestamp_delta.wrapping_add(moved), into);
    }
    Ok(())
}

/// Puts the batch behind what `out` holds if it fits and its codec can be had.
fn finish(anew: BatchHeader, records: &[u8], packed: &mut Vec<u8>, out: &mut Vec<u8>, room: usize) -> Fate {
    packed.clear();
    match rebuild(anew, records, packed) {
        Ok(header) if packed.len() <= room => {
            out.extend_from_slice(packed);
            Fate::Anew(header)
        }
        Ok(_) | Err(_) => Fate::Same,
    }
}

#[cfg(test)]
mod tests;
