//! What the builder makes, every reader gives back.
#![allow(clippy::unwrap_used)]

use std::ops::ControlFlow;

use bytes::Bytes;
use klamm_model::{Offset, ProducerEpoch, ProducerId, TimestampMs};
use klamm_records::{
    Batch, BatchBuilder, Batches, Codec, Compression, Limits, Record, RecordHead, RecordHeader, Scratch,
    verify_crc, walk,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

type Fields = (
    i64,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Vec<(Vec<u8>, Option<Vec<u8>>)>,
);

fn fields() -> impl Strategy<Value = Fields> {
    let bytes = || prop_oneof![3 => vec(any::<u8>(), 0..40), 1 => vec(0_u8..4, 0..70_000)];
    let header = (vec(any::<u8>(), 0..8), option::of(vec(any::<u8>(), 0..8)));
    let timestamp = prop_oneof![9 => 0..2_000_000_000_000_i64, 1 => any::<i64>()];
    (
        timestamp,
        option::of(vec(any::<u8>(), 0..20)),
        option::of(bytes()),
        vec(header, 0..4),
    )
}

fn build(builder: &mut BatchBuilder, records: &[Fields]) {
    for (timestamp, key, value, headers) in records {
        let headers: Vec<_> = headers
            .iter()
            .map(|(key, value)| (&key[..], value.as_deref()))
            .collect();
        builder.append(
            TimestampMs(*timestamp),
            key.as_deref(),
            value.as_deref(),
            &headers,
        );
    }
}

fn expected(base: i64, records: &[Fields]) -> Vec<Record> {
    let to_bytes = |bytes: &Option<Vec<u8>>| bytes.clone().map(Bytes::from);
    (base..)
        .zip(records)
        .map(|(offset, (timestamp, key, value, headers))| Record {
            offset: Offset(offset),
            timestamp: TimestampMs(*timestamp),
            key: to_bytes(key),
            value: to_bytes(value),
            headers: headers
                .iter()
                .map(|(key, value)| RecordHeader {
                    key: key.clone().into(),
                    value: to_bytes(value),
                })
                .collect(),
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn records_read_back(records in vec(fields(), 1..12), base in 0..i64::MAX / 2, level in -3..12) {
        let mut scratch = Scratch::new();
        for compression in Compression::ALL {
            let mut builder = BatchBuilder::new(Codec::with_level(compression, level))
                .producer(ProducerId(7), ProducerEpoch(1), Some(3));
            build(&mut builder, &records);
            let bytes = builder.build(Offset(base)).unwrap();
            prop_assert!(verify_crc(&bytes));
            let batch = Batch::parse(&bytes).unwrap();
            let read: Vec<_> = batch.records_with(1 << 30, &mut scratch).unwrap().map(Result::unwrap).collect();
            prop_assert_eq!(&read, &expected(base, &records));

            let mut walked = Vec::new();
            let ended = walk(batch.header(), &batch.body(), Limits::default(), &mut scratch, &mut |head: RecordHead| {
                walked.push((head.offset_delta, batch.header().timestamp_of(head.timestamp_delta), head.has_key));
                ControlFlow::<()>::Continue(())
            });
            prop_assert_eq!(ended, Ok(None));
            let heads: Vec<_> = (0..).zip(&read).map(|(at, record)| (at, record.timestamp, record.key.is_some())).collect();
            prop_assert_eq!(walked, heads);
        }
    }
}

#[test]
fn a_fetched_run_ends_at_the_cut_batch() {
    let mut run = Vec::new();
    for base in 0..3 {
        let mut builder = BatchBuilder::default();
        builder.append(TimestampMs(base), None, Some(b"value"), &[]);
        run.extend_from_slice(&builder.build(Offset(base)).unwrap());
    }
    let whole = Bytes::from(run);
    for cut in 0..=whole.len() {
        let mut batches = Batches::new(whole.slice(..cut));
        let offsets: Vec<_> = batches
            .by_ref()
            .map(|batch| batch.unwrap().header().base_offset.0)
            .collect();
        let size = whole.len() / 3;
        assert_eq!(offsets, (0..(cut / size) as i64).collect::<Vec<_>>());
        assert_eq!(batches.rest().len(), cut % size);
    }
}
