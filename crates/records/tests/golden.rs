//! Batches of the Java client, described in `golden/README.md`, read and validated.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use bytes::Bytes;
use klamm_model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};
use klamm_records::{
    Batch, BatchBuilder, Compression, ControlType, EndTransactionMarker, Origin, Record, RecordHeader, Rules,
    Scratch, TimestampType, validate,
};

fn batch(name: &str) -> Batch {
    let path = format!("{}/tests/golden/{name}.batch", env!("CARGO_MANIFEST_DIR"));
    let bytes = Bytes::from(std::fs::read(path).unwrap());
    let batch = Batch::parse(&bytes).unwrap();
    assert_eq!(
        batch.bytes().len(),
        bytes.len(),
        "{name}: one batch and nothing else"
    );
    batch.check_crc().unwrap();
    batch
}

fn expected(large: i64) -> Vec<Record> {
    let bytes = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    let header = |key: &'static str, value| RecordHeader {
        key: Bytes::from_static(key.as_bytes()),
        value,
    };
    let large: Vec<u8> = (0..large).map(|i| ((i * i) as i32 >> 5) as u8).collect();
    let headers = vec![
        header("trace", bytes("1")),
        header("trace", bytes("2")),
        header("none", None),
        header("", bytes("")),
    ];
    [
        (1_700_000_000_000, bytes("k"), bytes("v"), headers),
        (1_700_000_000_500, None, bytes("no key"), vec![]),
        (1_700_000_000_250, bytes("tombstone"), None, vec![]),
        (1_699_999_999_999, bytes(""), bytes(""), vec![]),
        (1_700_000_000_500, bytes("large"), Some(large.into()), vec![]),
    ]
    .into_iter()
    .zip(0..)
    .map(|((timestamp, key, value, headers), offset)| Record {
        offset: Offset(offset),
        timestamp: TimestampMs(timestamp),
        key,
        value,
        headers,
    })
    .collect()
}

#[test]
fn every_codec_of_the_java_client_is_read_and_validated() {
    let mut scratch = Scratch::new();
    for (name, compression, large) in [
        ("none", Compression::None, 200),
        ("gzip", Compression::Gzip, 70_000),
        ("snappy", Compression::Snappy, 70_000),
        ("lz4", Compression::Lz4, 70_000),
        ("zstd", Compression::Zstd, 70_000),
        ("gzip-9", Compression::Gzip, 70_000),
        ("lz4-17", Compression::Lz4, 70_000),
        ("zstd-22", Compression::Zstd, 70_000),
    ] {
        let batch = batch(name);
        let header = batch.header();
        assert_eq!(header.compression(), Ok(compression), "{name}");
        assert!(header.is_transactional() && !header.is_control());
        let producer = header.producer().unwrap();
        assert_eq!(
            (producer.id, producer.epoch),
            (ProducerId(4242), ProducerEpoch(3))
        );
        assert_eq!(
            (producer.base_sequence, producer.last_sequence),
            (Some(i32::MAX - 2), Some(1))
        );
        let records: Vec<_> = batch.records(1 << 20).unwrap().map(Result::unwrap).collect();
        assert_eq!(records, expected(large), "{name}");

        let rules = Rules::defaults(
            Origin::Client { produce_version: 13 },
            TimestampMs(1_700_000_000_000),
        );
        let validated = validate(batch.bytes(), &rules, &mut scratch).unwrap();
        assert_eq!(validated.header, *header, "{name}: nothing to change");
        assert_eq!(validated.max_timestamp, TimestampMs(1_700_000_000_500));
        assert_eq!(validated.offset_delta_of_max_timestamp, Some(1));
    }
}

#[test]
fn the_leaders_time_is_that_of_every_record() {
    let batch = batch("log-append-time");
    assert_eq!(batch.header().timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(batch.header().leader_epoch(), Some(LeaderEpoch(7)));
    assert_eq!(batch.header().producer(), None);
    let records: Vec<_> = batch.records(1 << 20).unwrap().map(Result::unwrap).collect();
    for (record, (mut expected, offset)) in records.into_iter().zip(expected(200).into_iter().zip(1000..)) {
        expected.timestamp = TimestampMs(1_700_000_009_999);
        expected.offset = Offset(offset);
        assert_eq!(record, expected);
    }
}

#[test]
fn markers_are_the_java_clients_byte_for_byte() {
    for (name, offset, committed) in [("commit", 55, true), ("abort", 56, false)] {
        let batch = batch(name);
        assert!(batch.header().is_control() && batch.header().is_transactional());
        let record = batch.records(0).unwrap().next().unwrap().unwrap();
        let (key, value) = (record.key.unwrap(), record.value.unwrap());
        let kind = if committed {
            ControlType::Commit
        } else {
            ControlType::Abort
        };
        let marker = EndTransactionMarker {
            committed,
            coordinator_epoch: 9,
        };
        assert_eq!(ControlType::parse(&key), Some(kind));
        assert_eq!(EndTransactionMarker::parse(&key, &value), Some(marker));

        let builder = BatchBuilder::end_transaction(
            ProducerId(4242),
            ProducerEpoch(3),
            marker,
            TimestampMs(1_700_000_000_000),
        );
        let built = Batch::parse(&builder.build(Offset(0)).unwrap()).unwrap();
        let mut header = *built.header();
        header.patch(Offset(offset), LeaderEpoch(7));
        assert_eq!((header, built.body()), (*batch.header(), batch.body()), "{name}");
    }
}
