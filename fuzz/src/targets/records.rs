//! Record batches and what unpacks them.
//!
//! Always holds: the first byte of an input says whether lengths and checksum of its first batch are set right before it
//! is read, so that what stands behind the checks is reached; or, for the decompressors, which codec reads the rest.

use std::io::Write;
use std::ops::ControlFlow;

use bytes::Bytes;
use klamm_model::{Offset, ProducerEpoch, ProducerId, TimestampMs};
use klamm_protocol::schema::sample::Seed;
use klamm_records::compression::{Compressor, Decompressor};
use klamm_records::{
    Batch, BatchBuilder, BatchHeader, Batches, Compression, ControlType, EndTransactionMarker, HEADER_BYTES,
    Limits, Origin, RecordHead, Rules, Scratch, TimestampType, Validated, validate, verify_crc, walk,
};

use super::MIB;

/// What one batch may unpack to here.
const UNPACKED_BYTES: u64 = MIB as u64;
const LIMITS: Limits = Limits {
    batch_bytes: UNPACKED_BYTES,
    record_bytes: i32::MAX - 8,
};
const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
/// The header's length field does not count the fields before and itself.
const BEFORE_LENGTH_BYTES: usize = 12;

/// The unpacked records and their slices, the window of snappy, and what a vector grows by.
pub(super) fn allowance(len: usize) -> usize {
    // A record of seven bytes is one of a hundred in memory.
    48 * MIB + 16 * len
}

/// A batch of a few records, sometimes of a transaction.
pub(super) fn batch(seed: &mut Seed, base_offset: i64) -> Bytes {
    if seed.below(8) == 0 {
        let marker = EndTransactionMarker {
            committed: seed.below(2) == 0,
            coordinator_epoch: 3,
        };
        let builder = BatchBuilder::end_transaction(ProducerId(5), ProducerEpoch(1), marker, NOW);
        return builder.build(Offset(base_offset)).expect("no codec, no failure");
    }
    let mut builder = BatchBuilder::new(Compression::ALL[seed.below(5)]);
    if seed.below(2) == 0 {
        builder = builder.producer(ProducerId(5), ProducerEpoch(1), Some(seed.below(9) as i32));
        if seed.below(2) == 0 {
            builder = builder.transactional();
        }
    }
    for index in 0..=seed.below(6) {
        let value = vec![seed.next_u64() as u8; seed.below(40)];
        let headers: &[(&[u8], Option<&[u8]>)] = &[(b"name", None), (b"", Some(b"value"))];
        builder.append(
            NOW.plus_ms(index as i64),
            (seed.below(3) > 0).then_some(b"key"),
            (seed.below(4) > 0).then_some(&value),
            &headers[..seed.below(3)],
        );
    }
    builder
        .build(Offset(base_offset))
        .expect("the codecs can be made")
}

pub(super) fn sample_batches(seed: &mut Seed) -> Vec<u8> {
    let mut input = vec![seed.below(2) as u8];
    for base_offset in 0..=seed.below(3) {
        input.extend(batch(seed, base_offset as i64));
    }
    input
}

/// Sets the checksum of the first batch right; with `whole`, its length too, to all there is.
pub(super) fn seal(bytes: &mut [u8], whole: bool) {
    if whole && let Some(length) = bytes.len().checked_sub(BEFORE_LENGTH_BYTES) {
        bytes[8..BEFORE_LENGTH_BYTES].copy_from_slice(&(length as i32).to_be_bytes());
    }
    if let Ok(mut header) = BatchHeader::parse(bytes)
        && let Some(body) = bytes.get(HEADER_BYTES..header.size_in_bytes())
    {
        header.seal(body);
        bytes[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
    }
}

pub(super) fn run_batches(input: &[u8]) {
    let Some((how, bytes)) = input.split_first() else {
        return;
    };
    let mut bytes = bytes.to_vec();
    if how & 1 == 1 {
        seal(&mut bytes, how & 2 == 2);
    }
    let bytes = Bytes::from(bytes);
    let mut scratch = Scratch::new();
    let _ = (BatchHeader::peek_size(&bytes), verify_crc(&bytes));
    if let Ok(header) = BatchHeader::parse(&bytes) {
        let _ = (
            header.last_offset(),
            header.next_offset(),
            header.producer(),
            header.delete_horizon(),
        );
        assert_eq!(
            header.to_bytes()[..],
            bytes[..HEADER_BYTES],
            "a header comes back as it was"
        );
    }
    for batch in Batches::new(bytes.clone()).flatten() {
        read(&batch, &mut scratch);
    }
    for rules in rules() {
        if let Ok(validated) = validate(&bytes, &rules, &mut scratch) {
            keeps_its_word(&validated, &mut scratch);
        }
    }
}

/// Walking and iterating agree.
fn read(batch: &Batch, scratch: &mut Scratch) {
    let mut walked = 0;
    let end = walk(
        batch.header(),
        &batch.body(),
        LIMITS,
        scratch,
        &mut |_: RecordHead| {
            walked += 1;
            ControlFlow::<()>::Continue(())
        },
    );
    let (mut count, mut failed) = (0, false);
    match batch.records_with(UNPACKED_BYTES, scratch) {
        Err(_) => failed = true,
        Ok(records) => {
            for record in records {
                assert!(!failed, "nothing follows an error");
                let Ok(record) = record else {
                    failed = true;
                    continue;
                };
                count += 1;
                let (key, value) = (record.key.unwrap_or_default(), record.value.unwrap_or_default());
                let _ = (
                    ControlType::parse(&key),
                    EndTransactionMarker::parse(&key, &value),
                );
            }
        }
    }
    assert_eq!(end.is_err(), failed, "a walk and an iteration agree: {end:?}");
    assert!(failed || count == walked, "{count} records, {walked} walked");
}

fn rules() -> [Rules; 4] {
    let client = Rules {
        limits: LIMITS,
        ..Rules::defaults(Origin::Client { produce_version: 13 }, NOW)
    };
    [
        client,
        Rules {
            compacted: true,
            timestamp_type: TimestampType::LogAppendTime,
            target: Some(Compression::Lz4.into()),
            ..client
        },
        Rules {
            origin: Origin::Client { produce_version: 3 },
            timestamp_before_max_ms: 1000,
            target: Some(Compression::None.into()),
            ..client
        },
        Rules {
            origin: Origin::Coordinator,
            ..client
        },
    ]
}

/// What validation lets through is what it says it is.
fn keeps_its_word(validated: &Validated, scratch: &mut Scratch) {
    let stored = Bytes::from([&validated.header.to_bytes()[..], &validated.body].concat());
    let batch = Batch::parse(&stored).expect("a validated batch is a batch");
    assert_eq!(batch.bytes().len(), stored.len(), "and nothing but a batch");
    batch.check_crc().expect("its checksum is right");
    let records = batch
        .records_with(UNPACKED_BYTES, scratch)
        .expect("it can be unpacked");
    let mut newest = TimestampMs(-1);
    let mut count = 0;
    for (index, record) in (0..).zip(records) {
        let record = record.expect("its records are well formed");
        assert_eq!(
            record.offset,
            Offset(validated.header.base_offset.0.wrapping_add(index))
        );
        newest = newest.max(record.timestamp);
        count += 1;
    }
    assert_eq!(count, validated.record_count);
    assert_eq!(newest, validated.max_timestamp.max(TimestampMs(-1)));
}

pub(super) fn sample_packed(seed: &mut Seed) -> Vec<u8> {
    let codec = seed.below(5);
    let mut packer =
        Compressor::new(Compression::ALL[codec].into(), vec![codec as u8]).expect("the codecs can be made");
    for _ in 0..seed.below(8) {
        // Runs that pack well, and some that do not.
        let byte = seed.next_u64() as u8;
        let length = [10, 300, 40_000][seed.below(3)];
        let piece: Vec<u8> = match seed.below(2) {
            0 => vec![byte; length],
            _ => (0..length.min(300)).map(|_| seed.next_u64() as u8).collect(),
        };
        packer.write_all(&piece).expect("it goes to memory");
    }
    packer.finish().expect("it goes to memory")
}

pub(super) fn run_packed(input: &[u8]) {
    let Some((codec, bytes)) = input.split_first() else {
        return;
    };
    let codec = Compression::ALL[usize::from(*codec) % 5];
    let mut scratch = Scratch::new();
    let mut unpacked = Vec::new();
    let mut outcomes = Vec::new();
    // The second time with the memory of the first.
    for _ in 0..2 {
        unpacked.clear();
        let end = Decompressor::new(codec, bytes, UNPACKED_BYTES, &mut scratch).read_to_end(&mut unpacked);
        assert!(
            unpacked.len() as u64 <= UNPACKED_BYTES,
            "{codec} keeps to its limit"
        );
        outcomes.push((end, unpacked.len()));
    }
    assert_eq!(outcomes[0], outcomes[1], "{codec} does the same twice");
}
