use klamm_model::LeaderEpoch;
use klamm_records::BatchBuilder;

use super::*;
use crate::error::AppendError;

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
    match state.check(header, header.base_offset, None, [].iter()) {
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
        state.check(header, header.base_offset, None, earlier.iter().copied().rev())
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

/// The same in a transaction.
fn transactional(id: i64, epoch: i16, sequence: i32, offset: i64) -> BatchHeader {
    let mut header = header(id, epoch, sequence, 1, offset);
    header.attributes |= 0x10;
    header
}

fn marker_batch(id: i64, epoch: i16, committed: bool, offset: i64) -> (BatchHeader, bytes::Bytes) {
    let marker = EndTransactionMarker {
        committed,
        coordinator_epoch: 4,
    };
    let builder = BatchBuilder::end_transaction(ProducerId(id), ProducerEpoch(epoch), marker, TimestampMs(0));
    let bytes = builder.build(Offset(offset)).unwrap();
    let body = bytes.slice(klamm_records::HEADER_BYTES..);
    (BatchHeader::parse(&bytes).unwrap(), body)
}

/// Ends a transaction as the log does, with the entry for the index.
fn end(
    state: &mut ProducerState,
    id: i64,
    epoch: i16,
    committed: bool,
    offset: i64,
) -> Option<AbortedTransaction> {
    let (header, body) = marker_batch(id, epoch, committed, offset);
    state.take_in(&header, &body)
}

#[test]
fn an_open_transaction_holds_the_stable_offset() {
    let mut state = ProducerState::default();
    state.take_in(&transactional(1, 0, 0, 10), &[]);
    // What a group coordinator writes for a producer has no sequence numbers.
    let mut commit = transactional(2, 0, 0, 11);
    commit.base_sequence = -1;
    state.take_in(&commit, &[]);
    assert_eq!(state.first_unstable_offset(), Some(Offset(10)));

    let aborted = end(&mut state, 1, 0, false, 12).unwrap();
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
    assert_eq!(state.oldest_open(), Some((ProducerId(2), TimestampMs(11))));
    assert_eq!(end(&mut state, 2, 0, true, 13), None);
    assert_eq!(state.oldest_open(), None);
    state.settle(Offset(14));
    assert_eq!(state.first_unstable_offset(), None);
    assert_eq!(state.transactions, None);
}

#[test]
fn open_transactions_are_in_the_snapshot() {
    let mut state = ProducerState::default();
    state.take_in(&transactional(1, 0, 0, 100), &[]);
    state.take_in(&transactional(2, 0, 0, 101), &[]);
    end(&mut state, 2, 1, false, 102);
    state.settle(Offset(103));
    let bytes = snapshot::encode(&state);
    let tail = |entry: usize| &bytes[10 + 46 * entry + 34..10 + 46 * (entry + 1)];
    assert_eq!(tail(0), [255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 100]);
    assert_eq!(tail(1), [0, 0, 0, 4, 255, 255, 255, 255, 255, 255, 255, 255]);
    let read = snapshot::decode(&bytes).unwrap();
    assert_eq!(read, state);
    assert_eq!(read.first_unstable_offset(), Some(Offset(100)));
    let described: Vec<_> = read
        .active()
        .map(|producer| {
            (
                producer.producer_epoch.0,
                producer.coordinator_epoch,
                producer.current_txn_start_offset,
            )
        })
        .collect();
    assert_eq!(described, [(0, None, Some(Offset(100))), (1, Some(4), None)]);
}

#[test]
fn markers_are_late_by_the_rules_of_their_version() {
    const MAX: i16 = i16::MAX;
    // (epoch of the records, whether the transaction is open, version, epoch and coordinator epoch of the marker, verdict);
    // the coordinator of epoch 4 wrote the marker before.
    let cases = [
        (3, true, 1, 3, 4, "ok"),
        (3, true, 1, 4, 4, "ok"),
        (3, true, 1, 2, 4, "fenced by 3"),
        (3, false, 1, 3, 4, "ok"),
        (3, true, 0, 3, 4, "ok"),
        (3, true, 2, 3, 4, "fenced by 3"),
        (3, true, 2, 4, 4, "ok"),
        (3, true, 2, 2, 4, "fenced by 3"),
        (3, false, 2, 3, 4, "ok"),
        (3, false, 2, 2, 4, "fenced by 3"),
        (MAX, true, 2, MAX, 4, "ok"),
        (3, true, 1, 3, 3, "coordinator fenced by 4"),
        (3, true, 2, 4, 3, "coordinator fenced by 4"),
        (3, true, 2, 3, 3, "fenced by 3"),
        (3, true, 1, 3, 5, "ok"),
    ];
    for case @ (epoch, open, transaction_version, found, coordinator_epoch, expected) in cases {
        let mut state = ProducerState::default();
        end(&mut state, 1, epoch, true, 0);
        if open {
            state.take_in(&transactional(1, epoch, 0, 1), &[]);
        }
        let asked = EndTransaction {
            producer_id: ProducerId(1),
            producer_epoch: ProducerEpoch(found),
            marker: EndTransactionMarker {
                committed: true,
                coordinator_epoch,
            },
            transaction_version,
        };
        let verdict = match state.check_marker(&asked, Offset(2)) {
            Ok(()) => "ok".to_owned(),
            Err(AppendError::InvalidProducerEpoch { current, .. }) => format!("fenced by {current}"),
            Err(AppendError::CoordinatorFenced { current, .. }) => format!("coordinator fenced by {current}"),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(verdict, expected, "{case:?}");
    }
}

/// What happens to the verification of producer 1.
enum Event {
    /// A verification begins, in this epoch, with this sequence number; its guard is kept under the number.
    Verify(usize, i16, i32, &'static str),
    /// A batch of this epoch and sequence number comes with the guard of this number.
    Write(i16, i32, Option<usize>, &'static str),
    /// Outside of any transaction.
    WritePlain(i16, i32, &'static str),
    /// A marker of this epoch.
    End(i16),
}

/// Runs the events and compares what is said of each.
fn verify_by(bumps_epoch: bool, events: &[Event]) {
    let mut state = ProducerState::default();
    let mut guards: [Option<VerificationGuard>; 4] = [None; 4];
    for (at, event) in events.iter().enumerate() {
        let offset = at as i64;
        let mut write = |header: BatchHeader, guard: Option<VerificationGuard>| match state.check(
            &header,
            Offset(offset),
            guard,
            [].iter(),
        ) {
            Ok(()) => {
                state.take_in(&header, &[]);
                "ok"
            }
            Err(AppendError::InvalidTransactionState { .. }) => "not verified",
            Err(AppendError::OutOfOrderSequence { .. }) => "out of order",
            Err(AppendError::InvalidProducerEpoch { .. }) => "fenced",
            Err(error) => panic!("{error}"),
        };
        let (verdict, expected) = match *event {
            Event::Write(epoch, sequence, guard, expected) => {
                let guard = guard.and_then(|number| guards[number]);
                (write(transactional(1, epoch, sequence, offset), guard), expected)
            }
            Event::WritePlain(epoch, sequence, expected) => {
                (write(header(1, epoch, sequence, 1, offset), None), expected)
            }
            Event::Verify(number, epoch, sequence, expected) => {
                let asked = Verification {
                    producer_id: ProducerId(1),
                    producer_epoch: ProducerEpoch(epoch),
                    base_sequence: (sequence >= 0).then_some(sequence),
                    bumps_epoch,
                };
                let verdict = match state.verify(&asked, Offset(offset), TimestampMs(0)) {
                    Ok(Some(guard)) if guards.contains(&Some(guard)) => "joined",
                    Ok(Some(guard)) => {
                        guards[number] = Some(guard);
                        "begun"
                    }
                    Ok(None) => "open",
                    Err(AppendError::InvalidProducerEpoch { .. }) => "fenced",
                    Err(error) => panic!("{error}"),
                };
                (verdict, expected)
            }
            Event::End(epoch) => {
                end(&mut state, 1, epoch, false, offset);
                ("", "")
            }
        };
        assert_eq!(verdict, expected, "event {at}, {bumps_epoch}");
    }
}

#[test]
fn a_batch_that_was_not_verified_opens_no_transaction() {
    use Event::{End, Verify, Write, WritePlain};
    for bumps_epoch in [false, true] {
        // Nobody asked.
        verify_by(bumps_epoch, &[Write(0, 0, None, "not verified")]);
        // The first batch ends the verification, the transaction needs no other.
        verify_by(
            bumps_epoch,
            &[
                Verify(0, 0, 0, "begun"),
                Verify(0, 0, 0, "joined"),
                Write(0, 0, Some(0), "ok"),
                Write(0, 1, None, "ok"),
                Verify(1, 0, 2, "open"),
                WritePlain(0, 2, "not verified"),
            ],
        );
        // The marker came before the answer of the coordinator: the guard is of no use any more, nor in the next verification.
        verify_by(
            bumps_epoch,
            &[
                Verify(0, 0, 0, "begun"),
                End(1),
                Write(0, 0, Some(0), "fenced"),
                Write(1, 0, Some(0), "not verified"),
                Verify(1, 1, 0, "begun"),
                Write(1, 0, Some(0), "not verified"),
                Write(1, 0, Some(1), "ok"),
            ],
        );
        // A lower number was seen and must come first.
        verify_by(
            bumps_epoch,
            &[
                Verify(0, 0, 0, "begun"),
                Write(0, 0, Some(0), "ok"),
                End(0),
                Verify(1, 0, 3, "begun"),
                Verify(1, 0, 1, "joined"),
                Write(0, 3, Some(1), "out of order"),
                Write(0, 1, Some(1), "ok"),
            ],
        );
    }
    // In version 1 records and marker are of one epoch: it ends the verification.
    verify_by(
        false,
        &[
            Verify(0, 0, 0, "begun"),
            End(0),
            Write(0, 0, Some(0), "not verified"),
        ],
    );
    // In version 2 the marker of this epoch is of the transaction before, and the producer begins its numbers anew.
    verify_by(
        true,
        &[
            Verify(0, 1, 0, "begun"),
            End(1),
            Write(1, 1, Some(0), "out of order"),
            Write(1, 0, Some(0), "ok"),
            Verify(1, 0, 0, "fenced"),
        ],
    );
    verify_by(
        true,
        &[Verify(0, 0, 4, "begun"), Write(0, 4, Some(0), "out of order")],
    );
    verify_by(false, &[Verify(0, 0, 4, "begun"), Write(0, 4, Some(0), "ok")]);
}

#[test]
fn a_verification_of_which_nothing_came_is_forgotten() {
    let mut state = ProducerState::default();
    let asked = Verification {
        producer_id: ProducerId(1),
        producer_epoch: ProducerEpoch(0),
        base_sequence: Some(0),
        bumps_epoch: true,
    };
    let guard = state.verify(&asked, Offset(0), TimestampMs(100)).unwrap();
    state.expire(TimestampMs(1099), Duration::from_millis(1000));
    assert_eq!(state.verify(&asked, Offset(0), TimestampMs(1099)).unwrap(), guard);
    state.expire(TimestampMs(2098), Duration::from_millis(1000));
    assert!(state.is_verified(ProducerId(1), guard.unwrap()), "asked again");
    state.expire(TimestampMs(2099), Duration::from_millis(1000));
    assert_ne!(state.verify(&asked, Offset(0), TimestampMs(2099)).unwrap(), guard);
}

#[test]
fn producers_that_no_coordinator_is_there_for_do_not_fill_the_memory() {
    let mut state = ProducerState::default();
    let verify = |state: &mut ProducerState, id, sequence| {
        let asked = Verification {
            producer_id: ProducerId(id),
            producer_epoch: ProducerEpoch(0),
            base_sequence: Some(sequence),
            bumps_epoch: false,
        };
        state.verify(&asked, Offset(0), TimestampMs(0)).unwrap().unwrap()
    };
    let real = verify(&mut state, 1, 0);
    state.verification_left(ProducerId(1), real);
    // One that waits for an answer is no matter of the bound.
    let waits = verify(&mut state, 2, 0);
    let made_up: Vec<_> = (3..5_000)
        .map(|id| {
            let guard = verify(&mut state, id, 0);
            state.verification_left(ProducerId(id), guard);
            (ProducerId(id), guard)
        })
        .collect();
    let kept = made_up
        .iter()
        .filter(|(id, guard)| state.is_verified(*id, *guard));
    assert_eq!(kept.count(), 998);
    assert!(state.is_verified(ProducerId(2), waits));
    assert_eq!(verify(&mut state, 1, 5), real, "what is remembered stays");
    let (day, minutes) = (Duration::from_secs(86_400), Duration::from_secs(5 * 60));
    let end = minutes.as_millis() as i64;
    state.expire(TimestampMs(end - 1), day);
    assert!(state.is_verified(ProducerId(1), real));
    state.expire(TimestampMs(end), day);
    assert_eq!(state, ProducerState::default());
}

#[test]
fn a_verification_that_all_were_refused_leaves_nothing_behind() {
    let mut state = ProducerState::default();
    let asked = |sequence| Verification {
        producer_id: ProducerId(1),
        producer_epoch: ProducerEpoch(0),
        base_sequence: Some(sequence),
        bumps_epoch: false,
    };
    let (id, now) = (ProducerId(1), TimestampMs(0));
    let first = state.verify(&asked(0), Offset(0), now).unwrap().unwrap();
    let second = state.verify(&asked(1), Offset(0), now).unwrap().unwrap();
    assert_eq!(first, second);
    state.verification_over(id, first);
    assert!(state.is_verified(id, first), "another one asks");
    state.verification_over(id, second);
    assert!(!state.is_verified(id, first));
    assert_eq!(state, ProducerState::default());
    // One that is to be asked again stays, and a late refusal does not end it.
    let third = state.verify(&asked(0), Offset(0), now).unwrap().unwrap();
    state.verification_over(id, first);
    assert!(state.is_verified(id, third));
}

#[test]
fn behind_a_marker_in_the_same_call_no_transaction_is_open() {
    let state = ProducerState::default();
    let marker = |epoch| marker_batch(1, epoch, true, 0).0;
    let again = BatchBuilder::default().producer(ProducerId(1), ProducerEpoch(1), None);
    let mut again = again.transactional();
    again.append(TimestampMs(0), None, Some(b"v"), &[]);
    let again = BatchHeader::parse(&again.build(Offset(0)).unwrap()).unwrap();
    let refused = state
        .check(&again, Offset(1), None, [&marker(1)].into_iter())
        .unwrap_err();
    assert!(
        matches!(refused, AppendError::InvalidTransactionState { .. }),
        "{refused}"
    );
}

#[test]
fn how_a_producer_will_stand_is_how_it_stands_then() {
    let (id, epoch) = (ProducerId(1), ProducerEpoch(0));
    let mut state = ProducerState::default();
    let mut ahead = None;
    let check =
        |ahead, is_verified| ProducerStanding::check_write(ahead, (id, epoch), is_verified, Offset(0));
    assert_eq!(state.standing(id), ahead);
    assert!(matches!(
        check(ahead, false),
        Err(AppendError::InvalidTransactionState { .. })
    ));
    check(ahead, true).unwrap();
    ahead = Some(ProducerStanding::after_write(ahead, epoch));
    state.take_in(&transactional(1, 0, 0, 0), &[]);
    assert_eq!(state.standing(id), ahead);
    check(ahead, false).unwrap();
    let marker = EndTransactionMarker {
        committed: false,
        coordinator_epoch: 7,
    };
    let ended = EndTransaction {
        producer_id: id,
        producer_epoch: ProducerEpoch(1),
        marker,
        transaction_version: 2,
    };
    ProducerStanding::check_end(ahead, &ended, Offset(1)).unwrap();
    ahead = Some(ProducerStanding::after_end(&ended));
    let built = BatchBuilder::end_transaction(id, ProducerEpoch(1), marker, TimestampMs(0));
    let bytes = built.build(Offset(1)).unwrap();
    let mut header = BatchHeader::parse(&bytes).unwrap();
    header.patch(Offset(1), LeaderEpoch(0));
    state.take_in(&header, &bytes[klamm_records::HEADER_BYTES..]);
    assert_eq!(state.standing(id), ahead);
    assert!(matches!(
        check(ahead, true),
        Err(AppendError::InvalidProducerEpoch { .. })
    ));
}
