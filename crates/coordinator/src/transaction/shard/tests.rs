//! Every interleaving of three requests with what may happen between them, from every state.

use klamm_protocol::coordinator_records::TransactionLogValue;

use super::*;
use crate::transaction::testing::{Driver, ID, producer};

/// What the tests look at of a shard: all that is recorded.
fn recorded(shard: &TransactionShard) -> Vec<(Arc<str>, Transaction)> {
    let entries = shard.entries.iter();
    entries
        .map(|(id, entry)| (id.clone(), entry.known.transaction.clone()))
        .collect()
}

fn upcoming(driver: &Driver) -> TransactionalProducer {
    let entry = driver.shard.entry(ID).expect("initialized");
    entry.known.transaction.upcoming()
}

/// Whether the second of two records of an id may follow the first.
fn may_follow(before: &TransactionLogValue, after: &TransactionLogValue) -> bool {
    const EMPTY: i8 = 0;
    const ONGOING: i8 = 1;
    const PREPARE_COMMIT: i8 = 2;
    const PREPARE_ABORT: i8 = 3;
    const COMPLETE_COMMIT: i8 = 4;
    const COMPLETE_ABORT: i8 = 5;
    let rises = (after.producer_id, after.producer_epoch) >= (before.producer_id, before.producer_epoch);
    let follows = match before.transaction_status {
        PREPARE_COMMIT => after.transaction_status == COMPLETE_COMMIT,
        PREPARE_ABORT => after.transaction_status == COMPLETE_ABORT,
        ONGOING => matches!(after.transaction_status, ONGOING | PREPARE_COMMIT | PREPARE_ABORT),
        EMPTY | COMPLETE_COMMIT | COMPLETE_ABORT => {
            matches!(after.transaction_status, EMPTY | ONGOING | PREPARE_ABORT)
        }
        _ => false,
    };
    rises && follows
}

/// A history so far.
#[derive(Clone)]
struct Branch {
    driver: Driver,
    steps: Vec<String>,
}

impl Branch {
    fn step(&mut self, step: &str) {
        self.steps.push(step.to_owned());
        let before = (
            recorded(&self.driver.shard),
            self.driver.log.len(),
            upcoming(&self.driver),
        );
        self.driver.run(step);
        let steps = &self.steps;
        let driver = &self.driver;
        assert_eq!(
            recorded(&driver.shard),
            recorded(&driver.loaded()),
            "replay: {steps:?}"
        );
        assert!(upcoming(driver) >= before.2, "the producer went back: {steps:?}");
        for pair in driver.log[before.1.saturating_sub(1)..].windows(2) {
            let values = pair
                .iter()
                .map(|TransactionRecord::Transaction(_, value)| value.as_ref());
            let values: Vec<_> = values.map(|value| value.expect("nothing expires")).collect();
            assert!(may_follow(values[0], values[1]), "{pair:?}: {steps:?}");
        }
        let mut words = step.split(' ');
        let is_end = words
            .next()
            .is_some_and(|word| word.starts_with("commit") || word.starts_with("abort"));
        if is_end && words.next().is_some_and(|word| producer(word) < before.2) {
            assert_eq!(
                recorded(&driver.shard),
                before.0,
                "a late end changed something: {steps:?}"
            );
            assert_eq!(driver.log.len(), before.1, "{steps:?}");
        }
    }

    /// Everything that was begun ends.
    fn settle(mut self) {
        for step in ["written", "pass 100000", "written"] {
            self.step(step);
        }
        let entry = self.driver.shard.entry(ID).expect("initialized");
        assert!(
            entry.ending.is_none() && !entry.known.is_open(),
            "{:?}",
            self.steps
        );
    }

    fn explore(&self, requests: &[String], events: &[&str], left: usize) {
        if left == 0 {
            return self.clone().settle();
        }
        // What happens after the last request is no longer between requests, but for the loss of what is not recorded.
        let events = if left == 1 { &["", "load"] } else { events };
        for request in requests {
            for event in events {
                let mut next = self.clone();
                next.step(request);
                if !event.is_empty() {
                    next.step(event);
                }
                next.explore(requests, events, left - 1);
            }
        }
    }
}

/// From the state that `steps` lead to, with the producer's epochs `epoch` and the next.
fn explore(version: i16, steps: &[&str], epoch: i32) {
    let mut branch = Branch {
        driver: Driver::new(version),
        steps: Vec::new(),
    };
    branch.driver.run("init");
    for _ in 0..epoch {
        branch.driver.run("init");
    }
    // As compaction leaves it.
    branch.driver.log.drain(..branch.driver.log.len() - 1);
    branch.driver.given.clear();
    let text = |step: &str| {
        let now = format!("1000@{epoch}");
        let next = if epoch + 1 < i32::from(i16::MAX) {
            format!("1000@{}", epoch + 1)
        } else {
            "1001@0".to_owned()
        };
        step.replace("NOW", &now).replace("NEXT", &next)
    };
    for step in steps {
        branch.step(&text(step));
    }
    let requests = [
        "add NOW a-0",
        "add NEXT b-0",
        "verify NOW a-0",
        "commit NOW",
        "abort NOW",
        "commit NEXT",
        "abort NEXT",
        "init",
        "init as NOW",
        "commit1 NOW",
    ];
    let events = ["", "written", "load", "pass 75000"];
    branch.explore(&requests.map(text), &events, 3);
}

#[test]
fn three_requests_from_an_empty_transaction() {
    explore(2, &[], 0);
}

#[test]
fn three_requests_from_an_open_transaction() {
    explore(2, &["add NOW a-0 a-1"], 0);
}

#[test]
fn three_requests_while_markers_are_written() {
    explore(2, &["add NOW a-0 a-1", "commit NOW", "written a-0"], 0);
}

#[test]
fn three_requests_after_an_abort() {
    explore(2, &["add NOW a-0", "abort NOW", "written"], 0);
}

#[test]
fn three_requests_at_the_last_epoch() {
    explore(2, &["add NOW a-0"], i32::from(i16::MAX) - 1);
}

#[test]
fn three_requests_of_version_1() {
    explore(0, &["add1 NOW a-0"], 0);
}
