//! Goes over the records of a batch without keeping them: what a leader checks, what a time index needs.
//!
//! Always holds: packed records are unpacked run by run, never whole; uncompressed ones are walked where they lie. Every
//! record is parsed to its last field, and its fields fill its length exactly, unless the visitor has done so itself
//! ([`Visit::pass`]).

use std::ops::{ControlFlow, Range};

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
pub(crate) fn record_head(fields: &mut impl Fields, index: i32) -> Result<RecordHead, Stop> {
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

/// Who is shown the records of a batch.
pub trait Visit {
    /// What a walk may end with before the last record.
    type End;

    /// One record.
    fn record(&mut self, head: RecordHead) -> ControlFlow<Self::End>;

    /// Passes over the records that `bytes` begin with, as many as it likes: those it has read itself, to their last field.
    /// The first one's position in the batch is `range.start`, and `range.end` is behind the last; none is longer than
    /// `most` bytes, its length not counted. A record that is passed over is not shown to [`Visit::record`].
    fn pass(&mut self, bytes: &[u8], range: Range<i32>, most: usize) -> Passed {
        let _ = (bytes, range, most);
        Passed::default()
    }
}

/// What a visitor passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// So many records.
    pub records: i32,
    /// All their bytes, their lengths among them.
    pub bytes: usize,
}

impl<E, F: FnMut(RecordHead) -> ControlFlow<E>> Visit for F {
    type End = E;

    fn record(&mut self, head: RecordHead) -> ControlFlow<E> {
        self(head)
    }
}

/// Goes over the records behind `header`, in order, and shows each to `visitor`, which may end the walk with a value.
///
/// A walk that reaches the end has checked that there are as many records as the header says, that each is well formed
/// and that nothing follows. Packed records unpack under `limits`. Offsets, timestamps and the checksum are the
/// caller's to compare.
pub fn walk<V: Visit>(
    header: &BatchHeader,
    body: &[u8],
    limits: Limits,
    scratch: &mut Scratch,
    visitor: &mut V,
) -> Result<Option<V::End>, BatchError> {
    let count = header.record_count;
    if count < 0 {
        return Err(BatchError::RecordCount(count));
    }
    match header.compression()? {
        Compression::None => walk_slice(count, body, visitor),
        packed => {
            let stream = Stream {
                source: Decompressor::new(packed, body, limits.batch_bytes, scratch),
                at: 0,
            };
            walk_stream(count, stream, limits.record_bytes, visitor)
        }
    }
}

fn walk_slice<V: Visit>(count: i32, mut rest: &[u8], visitor: &mut V) -> Result<Option<V::End>, BatchError> {
    let mut index = 0;
    loop {
        let passed = visitor.pass(rest, index..count, usize::MAX);
        rest = &rest[passed.bytes..];
        index += passed.records;
        if index == count {
            break;
        }
        let head = split_record(&mut rest)
            .and_then(|record| record_head(&mut SliceFields::new(record), index))
            .map_err(|stop| stop.at(index))?;
        if let ControlFlow::Break(value) = visitor.record(head) {
            return Ok(Some(value));
        }
        index += 1;
    }
    match rest {
        [] => Ok(None),
        _ => Err(BatchError::TrailingBytes(count)),
    }
}

fn walk_stream<V: Visit>(
    count: i32,
    mut stream: Stream<'_>,
    record_bytes: i32,
    visitor: &mut V,
) -> Result<Option<V::End>, BatchError> {
    let most = usize::try_from(record_bytes).unwrap_or(0);
    let mut index = 0;
    let rest = loop {
        let run = stream.run().map_err(|stop| stop.at(index))?;
        let passed = visitor.pass(run, index..count, most);
        stream.at += passed.bytes;
        index += passed.records;
        if index == count {
            break stream.run().map_err(|stop| stop.at(count))?;
        }
        let head = stream_record(&mut stream, record_bytes, index).map_err(|stop| stop.at(index))?;
        if let ControlFlow::Break(value) = visitor.record(head) {
            return Ok(Some(value));
        }
        index += 1;
    };
    match rest {
        [] => Ok(None),
        _ => Err(BatchError::TrailingBytes(count)),
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
        .map(|record| record_head(&mut SliceFields::new(record), index));
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
