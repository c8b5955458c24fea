use klamm_model::{ProducerEpoch, ProducerId};

use super::*;
use crate::contract::CoordinatorRecord;
use crate::transaction::testing::{START, partition};

#[test]
fn a_record_is_kafka_s_and_reads_back() {
    let ongoing = Transaction::created(ProducerId(5), 60_000, START).with_partitions(
        &[partition("b-0"), partition("a-2"), partition("a-1")],
        VERSION_2,
        START,
    );
    let bytes = ongoing.to_record("tx").encode().unwrap();
    assert_eq!(bytes.key.as_ref(), [0, 0, 0, 2, b't', b'x']);
    let start = START.0.to_be_bytes();
    let mut expected = vec![0, 1]; // version
    expected.extend([0, 0, 0, 0, 0, 0, 0, 5, 0, 0]); // producer id and epoch
    expected.extend([0, 0, 0xea, 0x60, 1]); // timeout, status
    expected.extend([3, 2, b'a', 3, 0, 0, 0, 1, 0, 0, 0, 2, 0]); // a: 1, 2
    expected.extend([2, b'b', 2, 0, 0, 0, 0, 0]); // b: 0
    expected.extend(start.iter().chain(&start)); // last update, start
    expected.extend([2, 0, 8, 0, 0, 0, 0, 0, 0, 0, 5, 2, 2, 0, 2]); // previous id, version of the client
    assert_eq!(bytes.value.as_deref(), Some(&*expected));

    let stages = [
        ongoing.clone(),
        ongoing.prepared(true, VERSION_2, Some(ProducerId(6)), START),
        ongoing
            .prepared(true, VERSION_2, Some(ProducerId(6)), START)
            .completed(START),
        ongoing.prepared(false, VERSION_1, None, START),
        ongoing.fenced(VERSION_1, None, START).completed(START),
        Transaction::created(ProducerId(5), 1, START),
    ];
    for stage in stages {
        let bytes = stage.to_record("tx").encode().unwrap();
        let record = TransactionRecord::decode(&bytes.key, bytes.value.as_ref()).unwrap();
        let TransactionRecord::Transaction(key, value) = record;
        assert_eq!(&*key.transactional_id, "tx");
        assert_eq!(Transaction::of_record(&value.unwrap()), Some(stage));
    }
}

#[test]
fn a_state_that_is_never_recorded_is_none() {
    for (number, expected) in [
        (0, true),
        (5, true),
        (6, false),
        (7, false),
        (-1, false),
        (100, false),
    ] {
        let value = TransactionLogValue {
            transaction_status: number,
            ..Default::default()
        };
        assert_eq!(Transaction::of_record(&value).is_some(), expected, "{number}");
    }
    assert_eq!(Status::of_name("Ongoing"), Some(Status::Ongoing));
    assert!(Status::of_name("ongoing").is_none() && !Status::is_unseen("ongoing"));
    assert!(Status::of_name("Dead").is_none() && Status::is_unseen("Dead"));
}

#[test]
fn the_epoch_never_goes_around() {
    let mut transaction = Transaction::created(ProducerId(5), 1, START);
    transaction.producer.epoch = ProducerEpoch(i16::MAX);
    assert_eq!(
        transaction
            .prepared(false, VERSION_2, None, START)
            .producer
            .epoch
            .0,
        i16::MAX
    );
}
