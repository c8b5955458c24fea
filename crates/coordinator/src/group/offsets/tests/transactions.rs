//! Offsets that are committed in a transaction.

use klamm_model::{ErrorCode, ProducerEpoch};
use klamm_protocol::messages::TxnOffsetCommitRequest;

use super::{TOPIC, UNSTABLE, commit_in, delete, deleted, fetch_named, producer};
use crate::contract::TransactionalProducer;
use crate::group::Answer;
use crate::group::driver::{Driver, commit, fetch_all, fetched, join};
use crate::group::request::Request;

#[test]
fn an_offset_in_a_transaction_counts_when_it_is_committed() {
    let mut driver = Driver::new();
    driver.at_once(commit(-1, "", &[(0, 1)]));
    driver.at_once(commit_in(1, -1, &[(0, 5), (1, 6)]));
    driver.at_once(commit_in(2, -1, &[(1, 7)]));
    for _ in 0..2 {
        assert_eq!(driver.offsets(), [(0, 1)], "nothing counts yet");
        let answer = driver.at_once(fetch_named(TOPIC, &[0, 1, 2], true));
        let told: Vec<_> = fetched(&answer)
            .into_iter()
            .map(|(_, _, offset, code)| (offset, code))
            .collect();
        assert_eq!(told, [(-1, UNSTABLE), (-1, UNSTABLE), (-1, 0)]);
        assert_eq!(
            fetched(&driver.at_once(fetch_all(true))),
            [("t".to_owned(), 0, -1, UNSTABLE)]
        );
        driver.reload();
    }
    driver.end(producer(2), false);
    driver.end(producer(1), true);
    for _ in 0..2 {
        let answer = driver.at_once(fetch_named(TOPIC, &[0, 1], true));
        let told: Vec<_> = fetched(&answer)
            .into_iter()
            .map(|(_, _, offset, code)| (offset, code))
            .collect();
        assert_eq!(told, [(5, 0), (6, 0)]);
        driver.reload();
    }
}

#[test]
fn a_late_marker_does_not_end_what_was_committed_after_it() {
    let in_epoch = |epoch: i16| TransactionalProducer {
        epoch: ProducerEpoch(epoch),
        ..producer(1)
    };
    let mut driver = Driver::new();
    let Request::TxnOffsetCommit { version, request } = commit_in(1, -1, &[(0, 5)]) else {
        panic!()
    };
    let request = TxnOffsetCommitRequest {
        producer_epoch: 3,
        ..(*request).clone()
    };
    driver.at_once(Request::TxnOffsetCommit {
        version,
        request: request.into(),
    });
    for late in [true, false] {
        driver.end(in_epoch(2), late);
        assert_eq!(driver.offsets(), []);
        assert_eq!(
            fetched(&driver.at_once(fetch_named(TOPIC, &[0], true)))[0].3,
            UNSTABLE
        );
        driver.reload();
    }
    // A transaction may be ended in the epoch after its own.
    driver.end(in_epoch(4), true);
    assert_eq!(driver.offsets(), [(0, 5)]);
    assert_eq!(fetched(&driver.at_once(fetch_named(TOPIC, &[0], true)))[0].3, 0);
}

#[test]
fn of_two_commits_the_one_that_was_written_last_counts() {
    let mut driver = Driver::new();
    driver.at_once(commit_in(1, -1, &[(0, 5), (1, 5)]));
    driver.at_once(commit(-1, "", &[(0, 9)]));
    driver.end(producer(1), true);
    assert_eq!(driver.offsets(), [(0, 9), (1, 5)]);
    driver.reload();
    assert_eq!(driver.offsets(), [(0, 9), (1, 5)]);
}

#[test]
fn a_deleted_offset_does_not_come_back_with_its_transaction() {
    let mut driver = Driver::new();
    driver.at_once(commit(-1, "", &[(0, 1)]));
    driver.at_once(commit_in(1, -1, &[(0, 5), (1, 5), (2, 5)]));
    let written = driver.written();
    assert_eq!(deleted(&driver.at_once(delete(&[0, 1, 7]))), (0, vec![0, 0, 0]));
    assert_eq!(
        driver.written() - written,
        2,
        "of what is not there, nothing is written"
    );
    driver.end(producer(1), true);
    assert_eq!(driver.offsets(), [(2, 5)]);
    driver.reload();
    assert_eq!(driver.offsets(), [(2, 5)]);
    let Answer::DeleteGroups(results) = driver.at_once(Request::DeleteGroups(vec!["g".into()])) else {
        panic!()
    };
    assert_eq!(results[0].error_code, 0);
    assert_eq!(
        deleted(&driver.at_once(delete(&[0]))),
        (ErrorCode::GroupIdNotFound.code(), vec![])
    );
}

#[test]
fn a_transaction_needs_no_member_but_checks_one_that_is_named() {
    let mut driver = Driver::new();
    let stale = driver.at_once(commit_in(1, 3, &[(0, 5)]));
    let Answer::TxnOffsetCommit(stale) = stale else {
        panic!()
    };
    assert_eq!(
        stale.topics[0].partitions[0].error_code,
        ErrorCode::IllegalGeneration.code()
    );
    driver.ask(join("").version(3));
    driver.pass(3_000);
    for (generation, expected) in [(-1, 0), (1, ErrorCode::UnknownMemberId.code())] {
        let Answer::TxnOffsetCommit(answer) = driver.at_once(commit_in(1, generation, &[(0, 5)])) else {
            panic!()
        };
        assert_eq!(
            answer.topics[0].partitions[0].error_code, expected,
            "{generation}"
        );
    }
}
