use klamm_model::LeaderEpoch;
use klamm_records::BatchBuilder;

use super::*;

/// A header of `count` records at `offset`.
fn header(id: i64, epoch: i16, sequence: i32, count: i32, offset: i64) -> BatchHeader {
    let mut builder = BatchBuilder::default().producer(ProducerId(id), ProducerEpoch(epoch), Some(sequence));
    for _ in 0..count {
        builder.append(TimestampMs(offset), None, None, &[]);
    }
    let mut header = BatchHeader::parse(&builder.build(Offset(0)).unwrap()).unwrap();
    header.patch(Offset(offset), LeaderEpoch(0));
    header
}

/// The verdict on a batch as a word, the batch taken in if it is accepted.
fn offer(state: &mut ProducerState, header: &BatchHeader) -> String {
    match state.check(header, header.base_offset, [].iter()) {
        Ok(()) => {
            assert_eq!(state.take_in(header, &[]), None);
            "ok".into()
        }
        Err(AppendError::Duplicate { base_offset, .. }) => format!("duplicate of {base_offset}"),
        Err(AppendError::OutOfOrderSequence { last, .. }) => format!("out of order after {last}"),
        Err(AppendError::InvalidProducerEpoch { current, .. }) => format!("fenced by {current}"),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn sequences_are_checked_as_kafka_does() {
    const MAX: i32 = i32::MAX;
    // (producer epoch, first sequence, records, verdict), one after another
    let cases: &[&[(i16, i32, i32, &str)]] = &[
        &[(0, 0, 1, "ok"), (0, 1, 2, "ok"), (0, 3, 1, "ok")],
        &[
            (0, 77, 1, "ok"),
            (0, 78, 1, "ok"),
            (0, 80, 1, "out of order after 78"),
        ],
        &[
            (0, 0, 2, "ok"),
            (0, 0, 2, "duplicate of 0"),
            (0, 2, 1, "ok"),
            (0, 0, 2, "duplicate of 0"),
        ],
        &[
            (0, 0, 2, "ok"),
            (0, 0, 1, "out of order after 1"),
            (0, 1, 1, "out of order after 1"),
        ],
        &[
            (0, 0, 1, "ok"),
            (1, 1, 1, "out of order after 0"),
            (1, 0, 1, "ok"),
            (0, 1, 1, "fenced by 1"),
        ],
        &[
            (0, 0, 1, "ok"),
            (1, 0, 1, "ok"),
            (0, 0, 1, "fenced by 1"),
            (1, 0, 1, "duplicate of 100"),
        ],
        &[(0, MAX, 1, "ok"), (0, 0, 1, "ok"), (0, MAX, 1, "duplicate of 0")],
        &[
            (0, MAX - 1, 3, "ok"),
            (0, 1, 1, "ok"),
            (0, MAX - 1, 3, "duplicate of 0"),
        ],
        &[(0, MAX, 1, "ok"), (0, MAX, 2, "out of order after 2147483647")],
        &[
            (0, 0, 1, "ok"),
            (0, 1, 1, "ok"),
            (0, 2, 1, "ok"),
            (0, 3, 1, "ok"),
            (0, 4, 1, "ok"),
            (0, 5, 1, "ok"),
            (0, 1, 1, "duplicate of 100"),
            (0, 0, 1, "out of order after 5"),
        ],
    ];
    for case in cases {
        let mut state = ProducerState::default();
        let mut offset = 0;
        for (epoch, sequence, count, verdict) in *case {
            let found = offer(&mut state, &header(5, *epoch, *sequence, *count, offset));
            assert_eq!(&found, verdict, "epoch {epoch} sequence {sequence} in {case:?}");
            if found == "ok" {
                offset += 100;
            }
        }
    }
}

#[test]
fn batches_of_one_call_are_checked_against_each_other() {
    let state = ProducerState::default();
    let (first, second) = (header(5, 0, 0, 1, 0), header(5, 0, 1, 1, 1));
    let verdict = |header: &BatchHeader, earlier: &[&BatchHeader]| {
        state.check(header, header.base_offset, earlier.iter().copied().rev())
    };
    assert!(verdict(&second, &[&first]).is_ok());
    assert!(matches!(
        verdict(&first, &[&first, &second]),
        Err(AppendError::Duplicate { .. })
    ));
    let gap = header(5, 0, 5, 1, 2);
    assert!(matches!(
        verdict(&gap, &[&first, &second]),
        Err(AppendError::OutOfOrderSequence { last: 1, .. })
    ));
    assert!(
        verdict(&header(6, 0, 5, 1, 2), &[&first, &second]).is_ok(),
        "another producer"
    );
}

#[test]
fn a_snapshot_is_kafka_s_and_reads_back() {
    let mut state = ProducerState::default();
    state.take_in(&header(1, 2, 10, 3, 100), &[]);
    let bytes = snapshot::encode(&state);
    let expected: &[u8] = &[
        0, 1, // version
        0xe3, 0x77, 0x3a, 0x09, // CRC-32C
        0, 0, 0, 1, // entries
        0, 0, 0, 0, 0, 0, 0, 1, 0, 2, // producer id and epoch
        0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 102, // last sequence and offset
        0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 100, // offset delta and timestamp
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, // no coordinator, no transaction
    ];
    assert_eq!(bytes, expected);
    let mut read = snapshot::decode(&bytes).unwrap();
    assert_eq!(snapshot::encode(&read), bytes);
    assert_eq!(offer(&mut read, &header(1, 2, 10, 3, 103)), "duplicate of 100");
    assert_eq!(offer(&mut read, &header(1, 2, 13, 1, 103)), "ok");

    for length in 0..bytes.len() {
        assert!(snapshot::decode(&bytes[..length]).is_err(), "{length}");
    }
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        assert!(snapshot::decode(&damaged).is_err(), "{at}");
    }
}

#[test]
fn after_a_clean_restart_none_of_five_requests_in_flight_is_taken_for_a_gap() {
    for batches in 1..=7 {
        let mut state = ProducerState::default();
        state.take_in(&header(1, 0, 0, 1, 50), &[]);
        for at in 0..batches {
            state.take_in(&header(2, 4, 2 * at, 2, 100 + 2 * i64::from(at)), &[]);
        }
        let bytes = snapshot::encode(&state);
        let mut read = snapshot::decode(&bytes).unwrap();
        assert_eq!(snapshot::encode(&read), bytes);
        // As Kafka reads it: the last entry of a producer counts.
        let last_offset = i64::from_be_bytes(bytes[bytes.len() - 32..bytes.len() - 24].try_into().unwrap());
        assert_eq!(last_offset, 99 + 2 * i64::from(batches));
        for at in (batches - 5).max(0)..batches {
            let offset = 100 + 2 * i64::from(at);
            let verdict = offer(&mut read, &header(2, 4, 2 * at, 2, 1000));
            assert_eq!(verdict, format!("duplicate of {offset}"));
        }
        assert_eq!(offer(&mut read, &header(2, 4, 2 * batches, 1, 1000)), "ok");
        assert_eq!(offer(&mut read, &header(1, 0, 0, 1, 1000)), "duplicate of 50");
    }
}

#[test]
fn silent_producers_are_forgotten_unless_in_a_transaction() {
    let mut state = ProducerState::default();
    state.take_in(&header(1, 0, 0, 1, 100), &[]);
    let mut transactional = header(2, 0, 0, 1, 101);
    transactional.attributes |= 0x10;
    state.take_in(&transactional, &[]);
    state.expire(TimestampMs(1100), Duration::from_millis(1001));
    assert_eq!(state.active().count(), 2);
    state.expire(TimestampMs(5000), Duration::from_millis(1000));
    assert_eq!(
        state
            .active()
            .map(|producer| producer.producer_id.0)
            .collect::<Vec<_>>(),
        [2]
    );
}

#[test]
fn an_open_transaction_holds_the_stable_offset() {
    let mut state = ProducerState::default();
    let transactional = |id, offset| {
        let mut header = header(id, 0, 0, 1, offset);
        header.attributes |= 0x10;
        header
    };
    state.take_in(&transactional(1, 10), &[]);
    state.take_in(&transactional(2, 11), &[]);
    assert_eq!(state.first_unstable_offset(), Some(Offset(10)));

    let end = |id, committed, offset| {
        let marker = EndTransactionMarker {
            committed,
            coordinator_epoch: 4,
        };
        let builder = BatchBuilder::end_transaction(ProducerId(id), ProducerEpoch(0), marker, TimestampMs(0));
        let bytes = builder.build(Offset(offset)).unwrap();
        (
            BatchHeader::parse(&bytes).unwrap(),
            bytes.slice(klamm_records::HEADER_BYTES..),
        )
    };
    let (header, body) = end(1, false, 12);
    let aborted = state.take_in(&header, &body).unwrap();
    assert_eq!(
        (aborted.first_offset, aborted.last_offset),
        (Offset(10), Offset(12))
    );
    assert_eq!(aborted.last_stable_offset, Offset(11));
    assert_eq!(
        state.first_unstable_offset(),
        Some(Offset(10)),
        "the marker may still be lost"
    );
    state.settle(Offset(13));
    assert_eq!(state.first_unstable_offset(), Some(Offset(11)));
    let (header, body) = end(2, true, 13);
    assert_eq!(state.take_in(&header, &body), None);
    state.settle(Offset(14));
    assert_eq!(state.first_unstable_offset(), None);
}
