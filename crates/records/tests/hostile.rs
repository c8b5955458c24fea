//! Bytes that nobody meant well: no panic, no endless loop, no memory beyond the windows.
#![allow(clippy::unwrap_used)]

use std::ops::ControlFlow;

use bytes::Bytes;
use klamm_model::{Offset, TimestampMs};
use klamm_records::compression::{DecompressError, Decompressor};
use klamm_records::{
    Batch, BatchBuilder, BatchError, BatchHeader, Batches, Compression, Limits, Origin, RecordHead,
    Rejection, Rules, Scratch, TimestampType, validate, walk,
};
use proptest::collection::vec;
use proptest::prelude::*;

const LIMIT: u64 = 1 << 20;

/// Reads `bytes` in every way there is. Returns how many records could be read.
fn read(bytes: &Bytes, scratch: &mut Scratch) -> usize {
    let limits = Limits {
        batch_bytes: LIMIT,
        ..Limits::default()
    };
    let mut count = 0;
    for batch in Batches::new(bytes.clone()).flatten() {
        let mut walked = 0;
        let end = walk(
            batch.header(),
            &batch.body(),
            limits,
            scratch,
            &mut |_: RecordHead| {
                walked += 1;
                ControlFlow::<()>::Continue(())
            },
        );
        let read: Vec<_> = batch.records(LIMIT).into_iter().flatten().collect();
        assert!(
            read.iter().rev().skip(1).all(Result::is_ok),
            "nothing follows an error"
        );
        assert_eq!(
            end.is_ok(),
            batch.records(LIMIT).is_ok() && read.iter().all(Result::is_ok),
            "{end:?} {read:?}"
        );
        if end.is_ok() {
            assert_eq!(read.len(), walked);
        }
        count += walked;
    }
    for (origin, timestamp_type) in [
        (Origin::Client { produce_version: 13 }, TimestampType::CreateTime),
        (Origin::Coordinator, TimestampType::LogAppendTime),
    ] {
        for target in [None, Some(Compression::Lz4.into())] {
            let rules = Rules {
                timestamp_type,
                target,
                limits,
                ..Rules::defaults(origin, TimestampMs(0))
            };
            drop(validate(bytes, &rules, scratch));
        }
    }
    count
}

fn batch(compression: Compression, base: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new(compression);
    for value in 0..20_u8 {
        let value = vec![value; usize::from(value) * 9];
        builder.append(
            TimestampMs(1),
            Some(b"key"),
            Some(&value),
            &[(b"name", None), (b"", Some(b"value"))],
        );
    }
    builder.build(Offset(base)).unwrap().to_vec()
}

/// The checksum set right, so that what is behind it is reached.
fn sealed(mut bytes: Vec<u8>) -> Bytes {
    if let Ok(mut header) = BatchHeader::parse(&bytes) {
        header.batch_length = i32::try_from(bytes.len() - 12).unwrap();
        header.seal(&bytes[61..]);
        bytes[..61].copy_from_slice(&header.to_bytes());
    }
    bytes.into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn random_bytes(bytes in vec(any::<u8>(), 0..300)) {
        read(&bytes.into(), &mut Scratch::new());
    }

    #[test]
    fn random_bodies_behind_a_good_header(codec in 0..8_i16, count in -2..40_i32, body in vec(any::<u8>(), 0..200)) {
        let mut bytes = batch(Compression::None, 0)[..61].to_vec();
        bytes[21..23].copy_from_slice(&codec.to_be_bytes());
        bytes[23..27].copy_from_slice(&count.saturating_sub(1).to_be_bytes());
        bytes[57..61].copy_from_slice(&count.to_be_bytes());
        bytes.extend(body);
        read(&sealed(bytes), &mut Scratch::new());
    }

    #[test]
    fn flipped_and_cut_batches(
        codec in 0..5_u8,
        flips in vec((any::<prop::sample::Index>(), 1..=255_u8), 1..4),
        cut in any::<prop::sample::Index>(),
        cuts in any::<bool>(),
    ) {
        let mut bytes = batch(Compression::from_id(codec).unwrap(), 0);
        if cuts {
            bytes.truncate(61 + cut.index(bytes.len() - 61));
        }
        for (at, mask) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= mask;
        }
        let mut scratch = Scratch::new();
        read(&sealed(bytes), &mut scratch);
        let whole = Bytes::from(batch(Compression::from_id(codec).unwrap(), 0));
        prop_assert_eq!(read(&whole, &mut scratch), 20, "what was kept from a bad stream does no harm");
    }
}

#[test]
fn every_cut_and_every_flipped_bit() {
    let mut scratch = Scratch::new();
    for codec in Compression::ALL {
        let bytes = batch(codec, 0);
        for at in 0..bytes.len() {
            read(&Bytes::copy_from_slice(&bytes[..at]), &mut scratch);
            read(&sealed(bytes[..at].to_vec()), &mut scratch);
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                if at >= 21 {
                    let rules = Rules::defaults(Origin::Client { produce_version: 13 }, TimestampMs(0));
                    let verdict = validate(&flipped.clone().into(), &rules, &mut scratch);
                    assert!(
                        matches!(verdict, Err(Rejection::Corrupt(_))),
                        "{codec}, bit {bit} of byte {at}: {verdict:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_count_that_lies_ends_with_the_bytes() {
    let mut header = BatchHeader::parse(&batch(Compression::None, 0)).unwrap();
    for (count, body) in [
        (i32::MAX, &[0_u8; 0][..]),
        (i32::MAX, &[0; 64]),
        (1, &[16, 0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0x0f]),
    ] {
        header.record_count = count;
        header.batch_length = i32::try_from(body.len() + 49).unwrap();
        let bytes = Bytes::from([&header.to_bytes()[..], body].concat());
        let batch = Batch::parse(&bytes).unwrap();
        let read: Vec<_> = batch.records(LIMIT).unwrap().collect();
        assert!(
            matches!(read[..], [Err(BatchError::Record { index: 0, .. })]),
            "{read:?}"
        );
    }
}

#[test]
fn large_bare_snappy_blocks_unpack_over_a_window() {
    let mut state = 1_u64;
    let mut data = Vec::new();
    while data.len() < 11 * 1024 * 1024 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let run = (state >> 58) as usize;
        if state & 1 == 0 || data.len() < 100 {
            data.extend_from_slice(&state.to_le_bytes());
        } else {
            let from = data.len() - 64;
            data.extend_from_within(from..from + run);
        }
    }
    for length in [65_536, 65_537, 200_000, data.len()] {
        let packed = snap::raw::Encoder::new().compress_vec(&data[..length]).unwrap();
        let mut scratch = Scratch::new();
        let mut out = Vec::new();
        Decompressor::new(Compression::Snappy, &packed, u64::MAX, &mut scratch)
            .read_to_end(&mut out)
            .unwrap();
        assert!(out == data[..length], "{length} bytes");
        let cut = &packed[..packed.len() - 1];
        let error = Decompressor::new(Compression::Snappy, cut, u64::MAX, &mut scratch).read_to_end(&mut out);
        assert_eq!(error, Err(DecompressError::Damaged(Compression::Snappy)));
    }
}
