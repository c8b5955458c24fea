//! Records as their bytes lie: what compaction looks at, takes over, and makes a smaller batch of.
//!
//! Always holds: a record that is taken over keeps its bytes, apart from its timestamp where that is to count from
//! another base; a batch that is made anew keeps its place, its producer and its sequence numbers. The bytes come from a
//! batch whose checksum was compared, and still nothing in them can panic.
//!
//! Next: `batch.rs`, for whoever reads records.

use std::io::{self, Write};
use std::ops::Range;

use klamm_model::TimestampMs;

use crate::compression::{Compression, Compressor, Decompressor, Scratch};
use crate::error::{BatchError, RecordFault};
use crate::header::{BatchHeader, HEADER_BYTES, LOG_OVERHEAD, NO_TIMESTAMP};
use crate::varint;
use crate::walk::{Fields, SliceFields, Stop, split_record};

/// A record among the others of its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawRecord<'a> {
    /// The offset less the batch's base offset.
    pub offset_delta: i32,
    /// The timestamp less the batch's base timestamp.
    pub timestamp_delta: i64,
    /// The key, `None` if there is none.
    pub key: Option<&'a [u8]>,
    /// Whether there is a value, be it empty: without one the record is a tombstone.
    pub has_value: bool,
    attributes: u8,
    /// All of it, its length included.
    bytes: &'a [u8],
    /// From the offset delta on.
    behind_timestamp: &'a [u8],
}

impl RawRecord<'_> {
    /// Takes over the record as it is.
    pub fn copy_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.bytes);
    }

    /// Takes over the record with its timestamp counted from another base.
    pub fn copy_with_timestamp(&self, timestamp_delta: i64, out: &mut Vec<u8>) {
        let length = 1 + varint::size_of(timestamp_delta) + self.behind_timestamp.len();
        varint::put_i64(
            out,
            i64::try_from(length).expect("a record is smaller than memory"),
        );
        out.push(self.attributes);
        varint::put_i64(out, timestamp_delta);
        out.extend_from_slice(self.behind_timestamp);
    }
}

/// The records in the unpacked bytes behind a batch's header. After an error there are none.
#[derive(Clone, Debug)]
pub struct RawRecords<'a> {
    rest: &'a [u8],
    index: i32,
    count: i32,
}

impl<'a> RawRecords<'a> {
    /// The records of the batch of `header` in `records`, its body as [`unpack`] gives it.
    pub fn new(header: &BatchHeader, records: &'a [u8]) -> Result<Self, BatchError> {
        match header.record_count {
            count if count < 0 => Err(BatchError::RecordCount(count)),
            count => Ok(Self {
                rest: records,
                index: 0,
                count,
            }),
        }
    }

    fn read(&mut self) -> Result<RawRecord<'a>, RecordFault> {
        let before = self.rest;
        let record = split_record(&mut self.rest).map_err(fault)?;
        let bytes = &before[..before.len() - self.rest.len()];
        let mut fields = SliceFields::new(record);
        let attributes = fields.byte().map_err(fault)?;
        let timestamp_delta = fields.varlong().map_err(fault)?;
        let behind_timestamp = &record[fields.position()..];
        let offset_delta = fields.varint().map_err(fault)?;
        let key = nullable(&mut fields)?.map(|range| &record[range]);
        let has_value = nullable(&mut fields)?.is_some();
        Ok(RawRecord {
            offset_delta,
            timestamp_delta,
            key,
            has_value,
            attributes,
            bytes,
            behind_timestamp,
        })
    }
}

fn nullable(fields: &mut SliceFields<'_>) -> Result<Option<Range<usize>>, RecordFault> {
    let Ok(length) = usize::try_from(fields.varint().map_err(fault)?) else {
        return Ok(None);
    };
    let start = fields.position();
    fields.skip(length).map_err(fault)?;
    Ok(Some(start..fields.position()))
}

fn fault(stop: Stop) -> RecordFault {
    match stop {
        Stop::Record(fault) => fault,
        Stop::Stream(_) => RecordFault::Truncated,
    }
}

impl<'a> Iterator for RawRecords<'a> {
    type Item = Result<RawRecord<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.index;
        if index == self.count {
            let left = !self.rest.is_empty();
            self.rest = &[];
            return left.then_some(Err(BatchError::TrailingBytes(index)));
        }
        self.index += 1;
        let read = self.read().map_err(|fault| BatchError::Record { index, fault });
        if read.is_err() {
            (self.index, self.rest) = (self.count, &[]);
        }
        Some(read)
    }
}

/// The records of a batch, unpacked into `room` where they are packed, to at most `limit` bytes.
pub fn unpack<'a>(
    header: &BatchHeader,
    body: &'a [u8],
    limit: u64,
    scratch: &mut Scratch,
    room: &'a mut Vec<u8>,
) -> Result<&'a [u8], BatchError> {
    match header.compression()? {
        Compression::None => Ok(body),
        packed => {
            room.clear();
            Decompressor::new(packed, body, limit, scratch).read_to_end(room)?;
            Ok(room)
        }
    }
}

/// Puts the batch of `header` with these `records`, packed as it says, behind what `out` holds, and returns its header with
/// the length and the checksum of what it is now. Fails when the codec's context cannot be made.
pub fn rebuild(mut header: BatchHeader, records: &[u8], out: &mut Vec<u8>) -> io::Result<BatchHeader> {
    let start = out.len();
    out.resize(start + HEADER_BYTES, 0);
    let codec = header.compression().map_err(io::Error::other)?;
    if codec == Compression::None {
        out.extend_from_slice(records);
    } else {
        let mut packer = Compressor::new(codec.into(), std::mem::take(out))?;
        packer.write_all(records)?;
        *out = packer.finish()?;
    }
    let (head, body) = out[start..]
        .split_first_chunk_mut()
        .expect("room was made for the header");
    header.batch_length =
        i32::try_from(HEADER_BYTES + body.len() - LOG_OVERHEAD).map_err(io::Error::other)?;
    header.seal(body);
    header.write_to(head);
    Ok(header)
}

impl BatchHeader {
    /// What stands for the batch when none of its records is left: its offsets, its producer and its sequence numbers.
    pub fn without_records(&self) -> Self {
        let mut header = Self {
            batch_length: i32::try_from(HEADER_BYTES - LOG_OVERHEAD).expect("a header is small"),
            base_timestamp: NO_TIMESTAMP,
            record_count: 0,
            ..*self
        };
        header.set_compression(Compression::None);
        header.clear_delete_horizon();
        header.seal(&[]);
        header
    }

    /// The same batch, from whose `horizon` on its tombstones or its marker may go (KIP-534). Its records' timestamps have to
    /// be counted from there.
    pub fn with_delete_horizon(&self, horizon: TimestampMs) -> Self {
        let mut header = *self;
        header.base_timestamp = horizon;
        header.set_delete_horizon();
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Batch, BatchBuilder, RecordFault};
    use klamm_model::{Offset, ProducerEpoch, ProducerId};

    type Given<'a> = (i64, Option<&'a [u8]>, Option<&'a [u8]>);

    const RECORDS: [Given<'_>; 4] = [
        (1000, Some(b"a"), Some(b"one")),
        (900, Some(b""), None),
        (5000, None, Some(b"")),
        (1001, Some(b"a"), Some(b"two")),
    ];

    fn made(compression: Compression) -> Batch {
        let mut builder = BatchBuilder::new(compression).producer(ProducerId(7), ProducerEpoch(2), Some(40));
        for (timestamp, key, value) in RECORDS {
            builder.append(TimestampMs(timestamp), key, value, &[(b"h", None)]);
        }
        Batch::parse(&builder.build(Offset(100)).unwrap()).unwrap()
    }

    #[test]
    fn records_are_seen_as_they_were_written() {
        for compression in Compression::ALL {
            let batch = made(compression);
            let (mut scratch, mut room) = (Scratch::new(), Vec::new());
            let body = batch.body();
            let records = unpack(batch.header(), &body, 1 << 20, &mut scratch, &mut room).unwrap();
            let seen: Vec<_> = RawRecords::new(batch.header(), records)
                .unwrap()
                .map(Result::unwrap)
                .map(|record| (1000 + record.timestamp_delta, record.key, record.has_value))
                .collect();
            let expected: Vec<_> = RECORDS.map(|(at, key, value)| (at, key, value.is_some())).into();
            assert_eq!(seen, expected, "{compression}");
        }
    }

    #[test]
    fn a_part_of_a_batch_keeps_its_place_and_its_timestamps() {
        let horizon = TimestampMs(777_777);
        for compression in Compression::ALL {
            let batch = made(compression);
            let body = batch.body();
            let (mut scratch, mut room, mut kept) = (Scratch::new(), Vec::new(), Vec::new());
            let records = unpack(batch.header(), &body, 1 << 20, &mut scratch, &mut room).unwrap();
            for record in RawRecords::new(batch.header(), records)
                .unwrap()
                .skip(1)
                .step_by(2)
            {
                let record = record.unwrap();
                record.copy_with_timestamp(1000 + record.timestamp_delta - horizon.0, &mut kept);
            }
            let header = BatchHeader {
                record_count: 2,
                max_timestamp: TimestampMs(1001),
                ..batch.header().with_delete_horizon(horizon)
            };
            let mut out = b"before".to_vec();
            let written = rebuild(header, &kept, &mut out).unwrap();
            let read = Batch::parse(&out.split_off(6).into()).unwrap();
            assert_eq!((read.header(), &out[..]), (&written, &b"before"[..]));
            read.check_crc().unwrap();
            assert_eq!(written.delete_horizon(), Some(horizon));
            assert_eq!(
                (written.base_offset, written.last_offset(), written.producer()),
                (Offset(100), Offset(103), batch.header().producer())
            );
            let all: Vec<_> = batch.records(1 << 20).unwrap().map(Result::unwrap).collect();
            let left: Vec<_> = read.records(1 << 20).unwrap().map(Result::unwrap).collect();
            assert_eq!(left, [all[1].clone(), all[3].clone()], "{compression}");
        }
    }

    #[test]
    fn a_batch_without_records_reads_back() {
        let batch = made(Compression::Zstd);
        let header = batch
            .header()
            .with_delete_horizon(TimestampMs(5))
            .without_records();
        let read = Batch::parse(&header.to_bytes().to_vec().into()).unwrap();
        read.check_crc().unwrap();
        assert_eq!(read.records(0).unwrap().count(), 0);
        assert_eq!(read.header().producer(), batch.header().producer());
        assert_eq!(read.header().last_offset(), Offset(103));
        assert!(!header.has_delete_horizon() && header.base_timestamp == NO_TIMESTAMP);
    }

    #[test]
    fn damaged_records_are_errors() {
        let batch = made(Compression::None);
        let body = batch.body();
        for cut in 0..body.len() {
            let mut records = RawRecords::new(batch.header(), &body[..cut]).unwrap();
            let error = records.by_ref().find_map(Result::err);
            let expected = BatchError::Record {
                index: 0,
                fault: RecordFault::Truncated,
            };
            assert!(
                matches!(error, Some(BatchError::Record { .. })),
                "{cut}: {error:?}"
            );
            assert!(cut > 0 || error == Some(expected));
            assert_eq!(records.next(), None, "{cut}");
        }
        let fewer = BatchHeader {
            record_count: 3,
            ..*batch.header()
        };
        let last = RawRecords::new(&fewer, &body).unwrap().last();
        assert_eq!(last, Some(Err(BatchError::TrailingBytes(3))));
        let none = BatchHeader {
            record_count: -1,
            ..*batch.header()
        };
        assert!(RawRecords::new(&none, &body).is_err());
    }
}
