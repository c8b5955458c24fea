//! Goes over the records of a batch without keeping them: what a leader checks, what a time index needs.
//!
//! Always holds: packed records are unpacked run by run, never whole; uncompressed ones are walked where they lie. Every
//! record is parsed to its last field, and its fields fill its length exactly. A record in its usual form is read by
//! [`usual_head`], in a fifth of the instructions; whatever is unusual about it, or wrong, [`record_head`] tells.

use std::ops::ControlFlow;

use crate::compression::{Compression, DecompressError, Decompressor, Scratch};
use crate::error::{BatchError, RecordFault};
use crate::header::BatchHeader;
use crate::varint::{unzigzag_32, unzigzag_64};

/// How much a batch may unpack to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all its records.
    pub batch_bytes: u64,
    /// Bytes of one record: `max.decompressed.message.bytes`.
    pub record_bytes: i32,
}

impl Default for Limits {
    /// 256 MiB for a batch, and Kafka's default for a record, which is none.
    fn default() -> Self {
        Self {
            batch_bytes: 256 * 1024 * 1024,
            record_bytes: i32::MAX - 8,
        }
    }
}

/// What stands before a record's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHead {
    /// The position in the batch, from 0.
    pub index: i32,
    /// The offset less the batch's base offset.
    pub offset_delta: i32,
    /// The timestamp less the batch's base timestamp.
    pub timestamp_delta: i64,
    /// Whether the key is there, be it empty.
    pub has_key: bool,
}

/// Why a walk within one record ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Record(RecordFault),
    Stream(DecompressError),
}

impl Stop {
    fn at(self, index: i32) -> BatchError {
        match self {
            Self::Record(fault) => BatchError::Record { index, fault },
            Self::Stream(error) => BatchError::Decompress(error),
        }
    }
}

impl From<RecordFault> for Stop {
    fn from(fault: RecordFault) -> Self {
        Self::Record(fault)
    }
}

impl From<DecompressError> for Stop {
    fn from(error: DecompressError) -> Self {
        Self::Stream(error)
    }
}

/// The fields of one record, in order.
pub(crate) trait Fields {
    /// The next byte.
    fn byte(&mut self) -> Result<u8, Stop>;
    /// Passes over `count` bytes.
    fn skip(&mut self, count: usize) -> Result<(), Stop>;
    /// Bytes of the record that were not read.
    fn left(&self) -> usize;

    /// A 32-bit integer.
    fn varint(&mut self) -> Result<i32, Stop> {
        let mut raw = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            raw |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(unzigzag_32(raw));
            }
        }
        Err(RecordFault::Varint.into())
    }

    /// A 64-bit integer.
    fn varlong(&mut self) -> Result<i64, Stop> {
        let mut raw = 0_u64;
        for shift in [0, 7, 14, 21, 28, 35, 42, 49, 56, 63] {
            let byte = self.byte()?;
            raw |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(unzigzag_64(raw));
            }
        }
        Err(RecordFault::Varint.into())
    }

    /// Passes over bytes behind their length; `false` if they are null.
    fn skip_nullable(&mut self) -> Result<bool, Stop> {
        match usize::try_from(self.varint()?) {
            Ok(length) => self.skip(length).map(|()| true),
            Err(_) => Ok(false),
        }
    }
}

/// The fields of a record whose bytes lie together.
pub(crate) struct SliceFields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> SliceFields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes read so far.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    fn overrun(&self) -> Stop {
        RecordFault::Overrun(i32::try_from(self.bytes.len()).unwrap_or(i32::MAX)).into()
    }
}

impl Fields for SliceFields<'_> {
    #[inline]
    fn byte(&mut self) -> Result<u8, Stop> {
        let byte = *self.bytes.get(self.at).ok_or_else(|| self.overrun())?;
        self.at += 1;
        Ok(byte)
    }

    #[inline]
    fn skip(&mut self, count: usize) -> Result<(), Stop> {
        if count > self.left() {
            return Err(self.overrun());
        }
        self.at += count;
        Ok(())
    }

    #[inline]
    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }
}

/// Unpacked bytes, as they come.
struct Stream<'a> {
    source: Decompressor<'a>,
    at: usize,
}

impl Stream<'_> {
    /// What is left of the current run, after making sure that there is some; empty at the end of the stream.
    fn run(&mut self) -> Result<&[u8], Stop> {
        while self.at == self.source.run().len() {
            self.at = 0;
            if !self.source.advance()? {
                break;
            }
        }
        Ok(&self.source.run()[self.at..])
    }
}

/// The fields of a record that comes out of a stream, perhaps over several runs.
struct StreamFields<'s, 'a> {
    stream: &'s mut Stream<'a>,
    length: usize,
    left: usize,
}

impl StreamFields<'_, '_> {
    fn take(&mut self, count: usize) -> Result<(), Stop> {
        let overrun = RecordFault::Overrun(i32::try_from(self.length).unwrap_or(i32::MAX));
        self.left = self.left.checked_sub(count).ok_or(overrun)?;
        Ok(())
    }
}

impl Fields for StreamFields<'_, '_> {
    fn byte(&mut self) -> Result<u8, Stop> {
        self.take(1)?;
        let byte = *self.stream.run()?.first().ok_or(RecordFault::Truncated)?;
        self.stream.at += 1;
        Ok(byte)
    }

    fn skip(&mut self, mut count: usize) -> Result<(), Stop> {
        self.take(count)?;
        while count > 0 {
            let now = self.stream.run()?.len().min(count);
            if now == 0 {
                return Err(RecordFault::Truncated.into());
            }
            self.stream.at += now;
            count -= now;
        }
        Ok(())
    }

    fn left(&self) -> usize {
        self.left
    }
}

/// Reads one record to its end.
#[inline]
fn record_head(fields: &mut impl Fields, index: i32) -> Result<RecordHead, Stop> {
    fields.byte()?;
    let timestamp_delta = fields.varlong()?;
    let offset_delta = fields.varint()?;
    let has_key = fields.skip_nullable()?;
    fields.skip_nullable()?;
    let headers = fields.varint()?;
    if headers < 0 {
        return Err(RecordFault::HeaderCount(headers).into());
    }
    for _ in 0..headers {
        let key = fields.varint()?;
        fields.skip(usize::try_from(key).map_err(|_| RecordFault::HeaderKey(key))?)?;
        fields.skip_nullable()?;
    }
    match fields.left() {
        0 => Ok(RecordHead {
            index,
            offset_delta,
            timestamp_delta,
            has_key,
        }),
        unused => Err(RecordFault::Unused(unused).into()),
    }
}

/// An integer of at most three bytes at `at`, still in its zigzag form; `None` for anything else.
#[inline(always)]
fn short_varint(bytes: &[u8], at: &mut usize) -> Option<u32> {
    let first = u32::from(*bytes.get(*at)?);
    if first < 0x80 {
        *at += 1;
        return Some(first);
    }
    let second = u32::from(*bytes.get(*at + 1)?);
    if second < 0x80 {
        *at += 2;
        return Some(first & 0x7f | second << 7);
    }
    let third = u32::from(*bytes.get(*at + 2)?);
    *at += 3;
    (third < 0x80).then_some(first & 0x7f | (second & 0x7f) << 7 | third << 14)
}

/// Where the bytes behind their length end; `at` itself if they are null.
#[inline(always)]
fn behind_nullable(bytes: &[u8], at: &mut usize) -> Option<bool> {
    let length = unzigzag_32(short_varint(bytes, at)?);
    // The end is compared with that of the record by the next read.
    *at += usize::try_from(length).unwrap_or(0);
    Some(length >= 0)
}

/// What [`record_head`] says of a record that is well formed, has short integers and no headers; `None` for any other.
#[inline(always)]
fn usual_head(record: &[u8], index: i32) -> Option<RecordHead> {
    let mut at = 1;
    let timestamp_delta = unzigzag_32(short_varint(record, &mut at)?);
    let offset_delta = unzigzag_32(short_varint(record, &mut at)?);
    let has_key = behind_nullable(record, &mut at)?;
    behind_nullable(record, &mut at)?;
    let headers = *record.get(at)?;
    (headers == 0 && at + 1 == record.len()).then_some(RecordHead {
        index,
        offset_delta,
        timestamp_delta: i64::from(timestamp_delta),
        has_key,
    })
}

/// The next record of `rest` and its head, if both are in their usual form.
#[inline(always)]
fn usual_record<'a>(rest: &mut &'a [u8], index: i32) -> Option<RecordHead> {
    let bytes: &'a [u8] = rest;
    let mut at = 0;
    let length = usize::try_from(unzigzag_32(short_varint(bytes, &mut at)?)).ok()?;
    let (record, behind) = bytes[at..].split_at_checked(length)?;
    let head = usual_head(record, index)?;
    *rest = behind;
    Some(head)
}

/// Splits the next record's fields off `rest`.
pub(crate) fn split_record<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Stop> {
    let mut fields = SliceFields::new(rest);
    let length = fields.varint().map_err(cut_short)?;
    let (record, behind) = rest[fields.position()..]
        .split_at_checked(usize::try_from(length).map_err(|_| RecordFault::Length(length))?)
        .ok_or(RecordFault::Truncated)?;
    *rest = behind;
    Ok(record)
}

/// A record's length that runs past the end means that the record is missing, not that it is too long.
fn cut_short(stop: Stop) -> Stop {
    match stop {
        Stop::Record(RecordFault::Overrun(_)) => RecordFault::Truncated.into(),
        other => other,
    }
}

/// Goes over the records behind `header`, in order, and hands each head to `each`, which may end the walk with a value.
///
/// A walk that reaches the end has checked that there are as many records as the header says, that each is well formed
/// and that nothing follows. Packed records unpack under `limits`. Offsets, timestamps and the checksum are the
/// caller's to compare.
pub fn walk<B>(
    header: &BatchHeader,
    body: &[u8],
    limits: Limits,
    scratch: &mut Scratch,
    mut each: impl FnMut(RecordHead) -> ControlFlow<B>,
) -> Result<Option<B>, BatchError> {
    let count = header.record_count;
    if count < 0 {
        return Err(BatchError::RecordCount(count));
    }
    match header.compression()? {
        Compression::None => walk_slice(count, body, &mut each),
        packed => {
            let stream = Stream {
                source: Decompressor::new(packed, body, limits.batch_bytes, scratch),
                at: 0,
            };
            walk_stream(count, stream, limits.record_bytes, &mut each)
        }
    }
}

fn walk_slice<B>(
    count: i32,
    mut rest: &[u8],
    each: &mut impl FnMut(RecordHead) -> ControlFlow<B>,
) -> Result<Option<B>, BatchError> {
    for index in 0..count {
        let head = match usual_record(&mut rest, index) {
            Some(head) => head,
            None => split_record(&mut rest)
                .and_then(|record| record_head(&mut SliceFields::new(record), index))
                .map_err(|stop| stop.at(index))?,
        };
        if let ControlFlow::Break(value) = each(head) {
            return Ok(Some(value));
        }
    }
    if rest.is_empty() {
        Ok(None)
    } else {
        Err(BatchError::TrailingBytes(count))
    }
}

fn walk_stream<B>(
    count: i32,
    mut stream: Stream<'_>,
    record_bytes: i32,
    each: &mut impl FnMut(RecordHead) -> ControlFlow<B>,
) -> Result<Option<B>, BatchError> {
    for index in 0..count {
        let head = stream_record(&mut stream, record_bytes, index).map_err(|stop| stop.at(index))?;
        if let ControlFlow::Break(value) = each(head) {
            return Ok(Some(value));
        }
    }
    let rest = stream.run().map_err(|stop| stop.at(count))?;
    if rest.is_empty() {
        Ok(None)
    } else {
        Err(BatchError::TrailingBytes(count))
    }
}

fn stream_record(stream: &mut Stream<'_>, limit: i32, index: i32) -> Result<RecordHead, Stop> {
    let mut prefix = StreamFields {
        stream,
        length: usize::MAX,
        left: usize::MAX,
    };
    let length = prefix.varint()?;
    if length > limit {
        return Err(RecordFault::TooLarge { length, limit }.into());
    }
    let length = usize::try_from(length).map_err(|_| RecordFault::Length(length))?;
    let whole = stream
        .run()?
        .get(..length)
        .map(|record| match usual_head(record, index) {
            Some(head) => Ok(head),
            None => record_head(&mut SliceFields::new(record), index),
        });
    if let Some(head) = whole {
        stream.at += length;
        return head;
    }
    let mut fields = StreamFields {
        stream,
        length,
        left: length,
    };
    record_head(&mut fields, index)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::varint::put_i64;

    /// A record without its length.
    fn record(timestamp_delta: i64, key: Option<usize>, value: Option<usize>, headers: &[usize]) -> Vec<u8> {
        let mut bytes = vec![0];
        put_i64(&mut bytes, timestamp_delta);
        put_i64(&mut bytes, 7);
        for part in [key, value] {
            put_i64(&mut bytes, part.map_or(-1, |length| length as i64));
            bytes.resize(bytes.len() + part.unwrap_or(0), 0xa5);
        }
        put_i64(&mut bytes, headers.len() as i64);
        for length in headers {
            put_i64(&mut bytes, 1);
            bytes.push(b'h');
            put_i64(&mut bytes, *length as i64);
            bytes.resize(bytes.len() + length, 0);
        }
        bytes
    }

    #[test]
    fn records_in_their_usual_form_are_read_quickly_and_others_are_not() {
        for (usual, record) in [
            (true, record(0, None, Some(100), &[])),
            (true, record(-1, Some(0), Some(0), &[])),
            (true, record(1 << 19, Some(200), None, &[])),
            (true, record(5, Some(20_000), Some(1_000_000), &[])),
            (false, record(1 << 20, None, Some(100), &[])),
            (false, record(0, None, Some(2_000_000), &[])),
            (false, record(0, None, Some(1), &[3])),
        ] {
            let quick = usual_head(&record, 7);
            assert_eq!(quick.is_some(), usual, "{} bytes", record.len());
            let exact = record_head(&mut SliceFields::new(&record), 7).unwrap();
            assert!(quick.is_none_or(|head| head == exact));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn what_is_read_quickly_is_what_is_there(
            timestamp_delta in -5_000_i64..5_000,
            key in proptest::option::of(0_usize..300),
            value in proptest::option::of(0_usize..300),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
            cut in proptest::option::of(any::<prop::sample::Index>()),
        ) {
            let mut record = record(timestamp_delta, key, value, &[]);
            for (at, byte) in changes {
                // Most changes in the first bytes, where the integers are.
                let at = at.index(record.len().min(12));
                record[at] = byte;
            }
            record.truncate(cut.map_or(record.len(), |cut| cut.index(record.len() + 1)));
            if let Some(head) = usual_head(&record, 7) {
                prop_assert_eq!(Ok(head), record_head(&mut SliceFields::new(&record), 7));
            }
        }
    }
}
