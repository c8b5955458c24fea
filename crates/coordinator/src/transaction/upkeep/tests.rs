use std::sync::Arc;

use klamm_model::{ProducerId, TopicPartition};
use klamm_protocol::coordinator_records::TransactionLogValue;

use crate::transaction::pattern::IdPattern;
use crate::transaction::request::{
    AddPartitions, InitProducerId, ListTransactions, TransactionAnswer, TransactionRequest, VERSION_2,
};
use crate::transaction::shard::TransactionTimer;
use crate::transaction::state::{Status, Transaction};
use crate::transaction::testing::{Driver, play};

#[test]
fn a_transaction_that_takes_too_long_is_made_void() {
    for (version, add, expected) in [(2, "add", "v2"), (2, "add1", "v2"), (0, "add1", "v0")] {
        play(
            version,
            &[
                ("init 60000", "1000@0"),
                (&format!("{add} 1000@0 a-0"), "added"),
                ("pass 60000", ""),
                ("state", "Ongoing 1000@0 a-0"),
                ("pass 10000", ""),
                ("state", "PrepareAbort 1000@1 a-0"),
                ("markers", &format!("abort 1000@1 {expected} a-0")),
                ("commit1 1000@0", "ProducerFenced"),
                ("written", ""),
                ("state", "CompleteAbort 1000@1"),
                ("add 1000@0 a-0", "ProducerFenced"),
                ("verify 1000@0 a-0", "ProducerFenced"),
            ],
        );
    }
    // In version 2 the producer gets over it as after an error of its own.
    play(
        2,
        &[
            ("init 60000", "1000@0"),
            ("add 1000@0 a-0", "added"),
            ("pass 80000", ""),
            ("commit 1000@0", "InvalidTxnState"),
            ("abort 1000@0", "ended 1000@1"),
            ("written", ""),
            ("init as 1000@0", "1000@1"),
        ],
    );
}

#[test]
fn a_transaction_whose_end_is_too_large_keeps_no_other_from_its_end() {
    let mut driver = Driver::new(2);
    let ids = ["a", "exhausted", "large", "z"];
    for (id, (partitions, epochs)) in ids.iter().zip([(1, 1), (1, 32_767), (500, 1), (1, 1)]) {
        for _ in 0..epochs {
            driver.answers.clear();
            driver.request(|fresh| {
                TransactionRequest::InitProducerId(InitProducerId {
                    transactional_id: (*id).into(),
                    timeout_ms: 60_000,
                    two_phase_commit: false,
                    keep_prepared: false,
                    expected: None,
                    fresh,
                })
            });
        }
        let Some((_, TransactionAnswer::Initialized(Ok(producer)))) = driver.answers.pop() else {
            panic!("{:?}", driver.answers);
        };
        let partitions = (0..partitions).map(|number| TopicPartition::new("a", number));
        driver.ask(TransactionRequest::AddPartitions(AddPartitions {
            transactional_id: (*id).into(),
            producer,
            partitions: partitions.collect(),
            version: VERSION_2,
        }));
        driver.pass(1_000);
    }
    let states = |driver: &Driver| {
        let states = ids.map(|id| driver.shard.entry(id).unwrap().known.transaction.status);
        states.map(|state| state == Status::PrepareAbort)
    };
    driver.max_bytes = 1_000;
    driver.pass(80_000);
    assert_eq!(states(&driver), [true, true, false, true]);
    let alone = TransactionTimer::Timeout("large".into());
    assert_eq!(driver.unwritten, [TransactionTimer::Timeouts, alone.clone()]);
    // It is tried again, though not all the time, and costs no other anything.
    driver.pass(3_600_000);
    assert_eq!(
        driver.unwritten.iter().filter(|about| **about == alone).count(),
        6
    );
    driver.max_bytes = usize::MAX;
    driver.pass(610_000);
    assert_eq!(states(&driver), [true; 4]);
}

#[test]
fn after_a_load_transactions_take_too_long_as_before() {
    play(
        2,
        &[
            ("init 60000", "1000@0"),
            ("add 1000@0 a-0", "added"),
            ("pass 59000", ""),
            ("load", ""),
            ("pass 11000", ""),
            ("state", "PrepareAbort 1000@1 a-0"),
        ],
    );
}

#[test]
fn odd_records_leave_no_transaction_open_for_ever() {
    use crate::transaction::record::TransactionRecord;
    let with = |change: fn(&mut TransactionLogValue)| {
        let mut driver = Driver::new(2);
        driver.run("init 60000");
        driver.run("add 1000@0 a-0");
        let TransactionRecord::Transaction(key, value) = driver.log[1].clone();
        let mut value = value.unwrap();
        change(&mut value);
        driver.log.push(TransactionRecord::Transaction(key, Some(value)));
        driver.run("load");
        assert_eq!(driver.run("state"), "Ongoing 1000@0 a-0");
        driver
    };
    let mut unknown = with(|value| value.transaction_status = 6);
    unknown.pass(80_000);
    assert_eq!(unknown.run("state"), "PrepareAbort 1000@1 a-0");
    let mut timeless = with(|value| value.transaction_start_timestamp_ms = -1);
    timeless.pass(10_000);
    assert_eq!(timeless.run("state"), "PrepareAbort 1000@1 a-0");
}

#[test]
fn who_has_the_last_epoch_is_shut_out_with_another_id() {
    let mut driver = Driver::new(2);
    for _ in 0..i16::MAX {
        driver.run("init");
    }
    assert_eq!(driver.run("add 1000@32766 a-0"), "added");
    driver.run("pass 80000");
    assert_eq!(driver.run("state"), "PrepareAbort 1000@32767 a-0");
    driver.run("written");
    assert_eq!(driver.run("state"), "CompleteAbort 1001@0");
    assert_eq!(driver.run("init"), "1001@1");
}

#[test]
fn an_id_that_nobody_uses_is_forgotten() {
    const WEEK: &str = "pass 604800000";
    play(
        2,
        &[
            ("init", "1000@0"),
            ("pass 604000000", ""),
            ("state", "Empty 1000@0"),
            ("pass 4400000", ""),
            ("state", "none"),
            ("add 1000@0 a-0", "InvalidProducerIdMapping"),
            ("init as 1000@0", "1001@0"),
            ("add 1001@0 a-0", "added"),
            ("commit 1001@0", "ended 1001@1"),
            (WEEK, ""),
            (WEEK, ""),
            ("state", "PrepareCommit 1001@1 a-0"),
            ("written", ""),
            (WEEK, ""),
            ("state", "none"),
            ("load", ""),
            ("state", "none"),
        ],
    );
}

#[test]
fn ids_that_nobody_uses_are_found_behind_very_many_that_are_used() {
    const USED: i64 = 12_000;
    const UNUSED: i64 = 1_200;
    let mut driver = Driver::new(2);
    let known = |number: i64, now| Transaction::created(ProducerId(number), 60_000, now);
    for number in 0..UNUSED {
        let record = known(number, driver.now).to_record(&format!("z-{number}"));
        driver.log.push(record);
    }
    driver.now = driver.now.plus_ms(600_000_000);
    for number in 0..USED {
        let record = known(UNUSED + number, driver.now).to_record(&format!("a-{number}"));
        driver.log.push(record);
    }
    driver.run("load");
    driver.log.clear();
    driver.pass(3_600_000);
    assert_eq!(driver.rung, 3, "5,000 ids at once");
    driver.pass(3_600_000);
    assert_eq!(driver.rung, 3 + 5, "and no more than 500 go");
    assert_eq!(driver.log.len(), 1_200);
    assert!(driver.timers.keys().eq([&TransactionTimer::Expiration]));
}

#[test]
fn a_shard_without_transactions_has_no_timers() {
    let mut driver = Driver::new(2);
    driver.run("load");
    assert!(driver.timers.is_empty());
    driver.run("init");
    assert_eq!(
        driver.timers.keys().collect::<Vec<_>>(),
        [&TransactionTimer::Expiration]
    );
    driver.run("add 1000@0 a-0");
    driver.run("commit 1000@0");
    driver.run("written");
    driver.run("pass 10000");
    assert_eq!(
        driver.timers.keys().collect::<Vec<_>>(),
        [&TransactionTimer::Expiration]
    );
    driver.run("pass 700000000");
    assert!(driver.timers.is_empty());
}

#[test]
fn transactions_are_listed_by_what_is_asked() {
    let mut driver = Driver::new(2);
    driver.run("init");
    driver.run("add 1000@0 a-0");
    driver.run("pass 5000");
    let cases: Vec<(ListTransactions, usize)> = vec![
        (
            ListTransactions {
                longer_than_ms: -1,
                ..Default::default()
            },
            1,
        ),
        (
            ListTransactions {
                longer_than_ms: 4999,
                ..Default::default()
            },
            1,
        ),
        (
            ListTransactions {
                longer_than_ms: 5000,
                ..Default::default()
            },
            0,
        ),
        (
            ListTransactions {
                longer_than_ms: -1,
                producer_ids: vec![7, 1000],
                ..Default::default()
            },
            1,
        ),
        (
            ListTransactions {
                longer_than_ms: -1,
                producer_ids: vec![7],
                ..Default::default()
            },
            0,
        ),
        (
            ListTransactions {
                longer_than_ms: -1,
                states: Some([Status::Ongoing].into()),
                ..Default::default()
            },
            1,
        ),
        (
            ListTransactions {
                longer_than_ms: -1,
                states: Some([].into()),
                ..Default::default()
            },
            0,
        ),
        (
            ListTransactions {
                longer_than_ms: -1,
                wanted: Some(Arc::new(IdPattern::compile("t").unwrap())),
                ..Default::default()
            },
            1,
        ),
        (
            ListTransactions {
                longer_than_ms: -1,
                wanted: Some(Arc::new(IdPattern::compile("u").unwrap())),
                ..Default::default()
            },
            0,
        ),
    ];
    for (at, (request, count)) in cases.into_iter().enumerate() {
        driver.ask(TransactionRequest::List(request));
        let Some((_, TransactionAnswer::Listed(Ok(listed)))) = driver.answers.pop() else {
            panic!("case {at}");
        };
        assert_eq!(listed.len(), count, "case {at}");
    }
}

#[test]
fn a_transaction_is_described() {
    use klamm_model::ErrorCode;
    let mut driver = Driver::new(2);
    let described = |driver: &mut Driver, id: &str| {
        driver.ask(TransactionRequest::Describe(id.into()));
        match driver.answers.pop() {
            Some((_, TransactionAnswer::Described(described))) => described,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(described(&mut driver, ""), Err(ErrorCode::InvalidRequest));
    assert_eq!(
        described(&mut driver, "t"),
        Err(ErrorCode::TransactionalIdNotFound)
    );
    driver.run("init 5000");
    let empty = described(&mut driver, "t").unwrap();
    assert_eq!(
        (empty.status.name(), empty.started, empty.timeout_ms),
        ("Empty", None, 5000)
    );
    driver.run("add 1000@0 a-0 b-0");
    driver.run("commit 1000@0");
    driver.run("written a-0");
    let ending = described(&mut driver, "t").unwrap();
    assert_eq!(ending.status.name(), "PrepareCommit");
    assert_eq!(ending.started, Some(driver.now));
    assert_eq!(ending.partitions, [crate::transaction::testing::partition("b-0")]);
}
