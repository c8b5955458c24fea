//! What a leader checks of a batch before it appends it.
//!
//! Always holds: a batch that passes has a right checksum, as many well-formed records as it says, offsets that count up
//! one by one, and a header whose max timestamp is that of its records; its body is the very bytes that came in, unless
//! the topic asks for another codec. Uncompressed records are walked without an allocation, packed ones are unpacked run
//! by run. The order of the checks is that of Kafka, since the first that fails decides the answer.
//!
//! Stricter than Kafka on purpose, where Kafka keeps what a consumer then fails on: offset deltas that do not count up
//! are refused (Kafka keeps them, or packs the batch anew), as are packed records whose fields do not fill their length;
//! a client's mark of the leader's time does not hide the records' own timestamps; the records of one batch have a common
//! limit, [`Limits::batch_bytes`].

mod check;
mod repack;

use bytes::Bytes;
use klamm_model::{Offset, TimestampMs};

use crate::compression::{Codec, Compression, DecompressError, Scratch};
use crate::crc;
use crate::error::BatchError;
use crate::header::{BatchHeader, HEADER_BYTES, LOG_OVERHEAD, SMALLEST_LENGTH, TimestampType, UP_TO_MAGIC};
use crate::rejection::Rejection;
use crate::walk::Limits;

/// The first version of Produce that may carry zstd (KIP-110).
const FIRST_VERSION_WITH_ZSTD: i16 = 7;

/// Packing takes about so many times as long as unpacking.
const REPACKING: u64 = 16;

/// Who made the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A producer, with this version of Produce.
    Client {
        /// The version of the request.
        produce_version: i16,
    },
    /// A coordinator of the cluster itself, which may write control records.
    Coordinator,
}

/// What the partition takes.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Who made the batch.
    pub origin: Origin,
    /// Whether `cleanup.policy` has `compact`: every record needs a key.
    pub compacted: bool,
    /// `max.message.bytes`: of the whole batch, as it is stored.
    pub max_message_bytes: usize,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// The leader's time.
    pub now: TimestampMs,
    /// `compression.type`, unless it is `producer`, with the level of the codec.
    pub target: Option<Codec>,
    /// What packed records may unpack to.
    pub limits: Limits,
}

impl Rules {
    /// What Kafka's defaults ask for: 1 MiB, the producer's codec and time, at most an hour ahead.
    pub fn defaults(origin: Origin, now: TimestampMs) -> Self {
        Self {
            origin,
            compacted: false,
            max_message_bytes: 1024 * 1024 + LOG_OVERHEAD,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            now,
            target: None,
            limits: Limits::default(),
        }
    }

    /// Whether the batch in `bytes` would be packed anew, as far as its header tells.
    fn packs_anew(&self, bytes: &[u8]) -> bool {
        let codec = bytes.get(crate::header::ATTRIBUTES_AT + 1).map(|low| low & 0x07);
        self.target
            .is_some_and(|target| codec.is_some_and(|codec| codec != target.compression.id()))
    }
}

/// A batch that may be appended, once [`BatchHeader::patch`] has given it its place.
#[derive(Clone, Debug)]
pub struct Validated {
    /// The header as it is to be stored, its checksum right.
    pub header: BatchHeader,
    /// The bytes behind the header: a slice of those that came in, unless they were packed anew.
    pub body: Bytes,
    /// The largest timestamp, or the append time; [`NO_TIMESTAMP`] if no record has one.
    pub max_timestamp: TimestampMs,
    /// The first record with that timestamp, by its offset less the base offset; `None` if no record has one.
    pub offset_delta_of_max_timestamp: Option<i32>,
    /// How many records there are.
    pub record_count: i32,
}

impl Validated {
    /// Bytes of header and body.
    pub fn size_in_bytes(&self) -> usize {
        HEADER_BYTES + self.body.len()
    }

    /// The offset of the first record with the largest timestamp, after the header was patched.
    pub fn offset_of_max_timestamp(&self) -> Option<Offset> {
        let delta = self.offset_delta_of_max_timestamp?;
        Some(self.header.base_offset.plus(i64::from(delta)))
    }
}

/// Checks `bytes`, the records of one partition in a request, and makes them ready to be appended.
pub fn validate(bytes: &Bytes, rules: &Rules, scratch: &mut Scratch) -> Result<Validated, Rejection> {
    let batch = only_batch(bytes, rules.origin)?;
    let header = intact_header(&batch, rules)?;
    let compression = header
        .compression()
        .map_err(|unknown| Rejection::Unreadable(unknown.into()))?;
    if let Origin::Client { .. } = rules.origin {
        client_header(&header)?;
    }
    let body = batch.slice(HEADER_BYTES..);
    let newest = check::check_records(&header, &body, rules, scratch)?;

    let mut validated = Validated {
        header,
        body,
        max_timestamp: newest.timestamp,
        offset_delta_of_max_timestamp: newest.offset_delta,
        record_count: header.record_count,
    };
    if rules.timestamp_type == TimestampType::LogAppendTime {
        validated.max_timestamp = rules.now;
        validated.offset_delta_of_max_timestamp = Some(0);
    }
    validated.header.set_timestamp_type(rules.timestamp_type);
    validated.header.max_timestamp = validated.max_timestamp;
    match rules.target {
        Some(target) if target.compression != compression && !plain_control(&header, compression) => {
            repack::repack(&mut validated, compression, target, rules, scratch)?;
        }
        _ if validated.header != header => validated.header.seal(&validated.body),
        _ => {}
    }
    Ok(validated)
}

/// Whether `bytes` are one batch of the newest format, as far as their framing says: what a broker asks before it looks at
/// anything else in the request. [`validate`] asks it too.
pub fn validate_framing(bytes: &Bytes, origin: Origin) -> Result<(), Rejection> {
    only_batch(bytes, origin).map(drop)
}

/// As [`validate`], for a thread that others wait for: `None` when the batch unpacks to more than `most` bytes, or has to
/// be packed anew and has more than a sixteenth of that, which takes as long. It is then for [`validate`] elsewhere.
pub fn validate_briefly(
    bytes: &Bytes,
    rules: &Rules,
    most: u64,
    scratch: &mut Scratch,
) -> Option<Result<Validated, Rejection>> {
    let most = if rules.packs_anew(bytes) {
        most / REPACKING
    } else {
        most
    };
    if rules.limits.batch_bytes <= most {
        return Some(validate(bytes, rules, scratch));
    }
    let mut brief = *rules;
    brief.limits.batch_bytes = most;
    match validate(bytes, &brief, scratch) {
        Err(Rejection::UnpacksTooLarge { .. }) => None,
        validated => Some(validated),
    }
}

/// Control records stay uncompressed whatever the topic asks for.
fn plain_control(header: &BatchHeader, compression: Compression) -> bool {
    header.is_control() && compression == Compression::None
}

/// The one batch of `bytes`. A rest that is too short for another batch is dropped, as Kafka does.
fn only_batch(bytes: &Bytes, origin: Origin) -> Result<Bytes, Rejection> {
    let size = whole_batch(bytes)?.ok_or(Rejection::NoBatch)?;
    let magic = i8::from_be_bytes([bytes[UP_TO_MAGIC - 1]]);
    if magic != 2 {
        return Err(Rejection::OldMagic(magic));
    }
    if let Origin::Client { produce_version } = origin
        && produce_version < FIRST_VERSION_WITH_ZSTD
        && bytes
            .get(crate::header::ATTRIBUTES_AT + 1)
            .is_some_and(|low| low & 0x07 == Compression::Zstd.id())
    {
        return Err(Rejection::UnsupportedCompression {
            compression: Compression::Zstd,
            version: produce_version,
        });
    }
    match whole_batch(&bytes[size..])? {
        Some(_) => Err(Rejection::SeveralBatches),
        None => Ok(bytes.slice(..size)),
    }
}

/// The size of the batch of any format that `bytes` begin with, if it is there as a whole.
fn whole_batch(bytes: &[u8]) -> Result<Option<usize>, Rejection> {
    if bytes.len() < LOG_OVERHEAD {
        return Ok(None);
    }
    let length = i32::from_be_bytes(bytes[8..12].try_into().expect("four bytes"));
    if length < SMALLEST_LENGTH {
        return Err(Rejection::Corrupt(BatchError::Length(length)));
    }
    if bytes.len() < UP_TO_MAGIC {
        return Ok(None);
    }
    let magic = i8::from_be_bytes([bytes[UP_TO_MAGIC - 1]]);
    if !(0..=2).contains(&magic) {
        return Err(Rejection::Corrupt(BatchError::Magic(magic)));
    }
    let size = LOG_OVERHEAD + usize::try_from(length).expect("at least the smallest length");
    Ok((bytes.len() >= size).then_some(size))
}

/// The header of `batch`, whose bytes fit its checksum.
fn intact_header(batch: &[u8], rules: &Rules) -> Result<BatchHeader, Rejection> {
    let base_offset = i64::from_be_bytes(batch[..8].try_into().expect("a batch has more than eight bytes"));
    if matches!(rules.origin, Origin::Client { .. }) && base_offset != 0 {
        return Err(Rejection::BaseOffset(base_offset));
    }
    if batch.len() > rules.max_message_bytes {
        return Err(Rejection::TooLarge {
            size: batch.len(),
            limit: rules.max_message_bytes,
        });
    }
    let header = BatchHeader::parse(batch).map_err(Rejection::Corrupt)?;
    let computed = crc::crc_of(&batch[crate::header::ATTRIBUTES_AT..]);
    if header.crc != computed {
        return Err(Rejection::Corrupt(BatchError::Crc {
            stored: header.crc,
            computed,
        }));
    }
    Ok(header)
}

/// What only a client gets wrong.
fn client_header(header: &BatchHeader) -> Result<(), Rejection> {
    let (count, last_offset_delta) = (header.record_count, header.last_offset_delta);
    if count <= 0 || last_offset_delta != count - 1 {
        return Err(Rejection::OffsetRange {
            count,
            last_offset_delta,
        });
    }
    if header.is_control() {
        return Err(Rejection::Control);
    }
    if header.producer_id >= 0 && header.base_sequence < 0 {
        return Err(Rejection::Sequence {
            sequence: header.base_sequence,
            producer_id: header.producer_id,
        });
    }
    Ok(())
}

/// Tells apart what Kafka tells apart: streams that do not unpack, and records that are not well formed.
fn unreadable(error: BatchError) -> Rejection {
    match error {
        BatchError::Decompress(DecompressError::TooLarge { limit }) => Rejection::UnpacksTooLarge { limit },
        BatchError::Decompress(_) | BatchError::Compression(_) => Rejection::Unreadable(error),
        BatchError::Incomplete { .. }
        | BatchError::Length(_)
        | BatchError::Magic(_)
        | BatchError::Crc { .. }
        | BatchError::Record { .. }
        | BatchError::TrailingBytes(_)
        | BatchError::RecordCount(_) => Rejection::Malformed(error),
    }
}
