use klamm_records::{Batch, BatchBuilder, Compression, HEADER_BYTES};

use super::*;

const NOW: TimestampMs = TimestampMs(1_000_000);
const RETENTION_MS: i64 = 500;

type Given<'a> = (Option<&'a str>, Option<&'a str>);

/// What is known when the map holds these keys at these offsets, and all up to `latest`.
fn knowledge(keys: &[(&str, i64)], latest: i64) -> Knowledge {
    let mut map = KeyMap::new(10_000, 0.9, (1, 2));
    for (key, offset) in keys {
        assert!(map.put(key.as_bytes(), Offset(*offset)));
    }
    Knowledge {
        map,
        latest: Offset(latest),
        now: NOW,
        tombstone_retention_ms: RETENTION_MS,
        last_of_producers: Map::default(),
        high_watermark: Offset(9_999),
    }
}

fn batch(builder: BatchBuilder, records: &[Given<'_>]) -> Batch {
    let mut builder = builder;
    for (at, (key, value)) in records.iter().enumerate() {
        builder.append(
            TimestampMs(100 + at as i64),
            key.map(str::as_bytes),
            value.map(str::as_bytes),
            &[],
        );
    }
    Batch::parse(&builder.build(Offset(10)).unwrap()).unwrap()
}

/// What becomes of a batch: its header, and its offsets and timestamps, if anything stays.
fn decided(knowledge: &mut Knowledge, batch: &Batch, room: usize) -> Option<(BatchHeader, Vec<(i64, i64)>)> {
    let mut out = b"before".to_vec();
    let (fate, counts) = knowledge
        .decide(
            batch.header(),
            &batch.body(),
            &mut Transactions::default(),
            &mut Workspace::default(),
            (&mut out, room),
        )
        .unwrap();
    let after = match fate {
        Fate::Gone => {
            assert_eq!((&out[..], counts.kept), (&b"before"[..], 0));
            return None;
        }
        Fate::Same => {
            assert_eq!(out, b"before");
            batch.clone()
        }
        Fate::Anew(header) => {
            let after = Batch::parse(&out.split_off(6).into()).unwrap();
            after.check_crc().unwrap();
            assert_eq!(after.header(), &header);
            after
        }
    };
    assert_eq!(counts.kept, after.header().record_count as u64);
    let records = after.records(1 << 20).unwrap().map(Result::unwrap);
    let seen = records
        .map(|record| (record.offset.0, record.timestamp.0))
        .collect();
    Some((*after.header(), seen))
}

#[test]
fn records_go_for_a_reason() {
    let records: &[Given<'_>] = &[
        (Some("replaced"), Some("v")),
        (Some("last"), Some("v")),
        (Some("later than the map"), Some("v")),
        (None, Some("keyless")),
        (Some("unknown"), Some("v")),
        (Some("replaced"), None),
        (Some("beyond"), Some("v")),
    ];
    let mut knowledge = knowledge(
        &[
            ("replaced", 20),
            ("last", 11),
            ("later than the map", 5),
            ("beyond", 99),
        ],
        15,
    );
    for compression in Compression::ALL {
        let batch = batch(BatchBuilder::new(compression), records);
        let (header, seen) = decided(&mut knowledge, &batch, usize::MAX).unwrap();
        assert_eq!(
            seen,
            [(11, 101), (12, 102), (14, 104), (16, 106)],
            "{compression}"
        );
        assert_eq!(header.max_timestamp, TimestampMs(106));
        assert_eq!(header.compression(), Ok(compression));
        assert_eq!(
            (header.base_offset, header.last_offset()),
            (Offset(10), Offset(16))
        );
        assert!(!header.has_delete_horizon());
    }
}

#[test]
fn a_batch_of_which_nothing_goes_is_as_it_was() {
    let batch = batch(
        BatchBuilder::default(),
        &[(Some("a"), Some("v")), (Some("b"), Some("v"))],
    );
    for (keys, latest) in [(&[("a", 10), ("b", 11)][..], 15), (&[("a", 20), ("b", 20)], 9)] {
        let (header, seen) = decided(&mut knowledge(keys, latest), &batch, usize::MAX).unwrap();
        assert_eq!((&header, seen.len()), (batch.header(), 2));
    }
    assert_eq!(
        decided(&mut knowledge(&[("a", 20), ("b", 20)], 30), &batch, usize::MAX),
        None
    );
}

#[test]
fn tombstones_get_a_time_and_go_then() {
    let mut known = knowledge(&[("a", 10), ("b", 11)], 15);
    let first = batch(
        BatchBuilder::default(),
        &[(Some("a"), None), (Some("b"), Some("v"))],
    );
    let (header, seen) = decided(&mut known, &first, usize::MAX).unwrap();
    let horizon = NOW.plus_ms(RETENTION_MS);
    assert_eq!(header.delete_horizon(), Some(horizon));
    assert_eq!(seen, [(10, 100), (11, 101)]);
    let mut second = header.to_bytes().to_vec();
    second.extend_from_slice(&reread(&mut known, &first));
    let second = Batch::parse(&second.into()).unwrap();
    for (now, left) in [(horizon.plus_ms(-1), 2), (horizon, 1)] {
        known.now = now;
        let (header, seen) = decided(&mut known, &second, usize::MAX).unwrap();
        assert_eq!(seen.len(), left);
        assert_eq!(header.delete_horizon(), Some(horizon), "it is not given again");
    }
}

/// The body of a batch that is made anew.
fn reread(known: &mut Knowledge, batch: &Batch) -> Vec<u8> {
    let mut out = Vec::new();
    let decided = known.decide(
        batch.header(),
        &batch.body(),
        &mut Transactions::default(),
        &mut Workspace::default(),
        (&mut out, usize::MAX),
    );
    assert!(matches!(decided, Ok((Fate::Anew(_), _))));
    out.split_off(HEADER_BYTES)
}

#[test]
fn a_batch_that_would_not_fit_stays_as_it_is() {
    let tombstone = batch(BatchBuilder::default(), &[(Some("a"), None), (Some("b"), None)]);
    let size = tombstone.bytes().len();
    let mut known = knowledge(&[("a", 10), ("b", 11)], 15);
    let (header, _) = decided(&mut known, &tombstone, usize::MAX).unwrap();
    assert!(header.size_in_bytes() > size, "its timestamps take more bytes");
    let (header, seen) = decided(&mut known, &tombstone, size).unwrap();
    assert_eq!((&header, seen.len()), (tombstone.header(), 2));
}

#[test]
fn the_last_batch_of_a_producer_and_of_the_log_stays() {
    let builder = || BatchBuilder::default().producer(ProducerId(5), klamm_model::ProducerEpoch(1), Some(3));
    let records: &[Given<'_>] = &[(Some("a"), Some("v")), (Some("a"), Some("w"))];
    let last = |data, epoch| LastOfProducer { data, epoch };
    let cases = [
        (None, 9_999, false),
        (Some(last(Some(Offset(11)), 1)), 9_999, true),
        (Some(last(Some(Offset(13)), 1)), 9_999, false),
        (Some(last(None, 1)), 9_999, false),
        (None, 12, true),
        (None, 11, false),
    ];
    for (last, high_watermark, stays) in cases {
        let mut known = knowledge(&[("a", 20)], 30);
        known.high_watermark = Offset(high_watermark);
        known
            .last_of_producers
            .extend(last.map(|last| (ProducerId(5), last)));
        let batch = batch(builder(), records);
        let left = decided(&mut known, &batch, batch.bytes().len());
        assert_eq!(left.is_some(), stays, "{last:?} {high_watermark}");
        if let Some((header, seen)) = left {
            assert_eq!((header.record_count, seen.len()), (0, 0));
            assert_eq!(header.producer(), batch.header().producer());
            let empty = Batch::parse(&header.to_bytes().to_vec().into()).unwrap();
            assert_eq!(decided(&mut known, &empty, 61).unwrap().0, header, "again");
            known.last_of_producers.clear();
            known.high_watermark = Offset(9_999);
            assert_eq!(decided(&mut known, &empty, 61), None);
        }
    }
}
