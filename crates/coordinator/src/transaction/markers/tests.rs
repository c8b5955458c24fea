use crate::transaction::testing::{Driver, play};

#[test]
fn a_transaction_is_complete_when_every_partition_has_its_marker() {
    play(
        2,
        &[
            ("init", "1000@0"),
            ("add 1000@0 a-0 a-1 b-0", "added"),
            ("abort 1000@0", "ended 1000@1"),
            ("markers", "abort 1000@1 v2 a-0 a-1 b-0"),
            ("written a-1", ""),
            ("state", "PrepareAbort 1000@1 a-0 b-0"),
            ("failed a-0", ""),
            ("markers", "abort 1000@1 v2 b-0; abort 1000@1 v2 again a-0"),
            ("gone b-0", ""),
            ("failed", ""),
            ("markers", "abort 1000@1 v2 again a-0"),
            ("written", ""),
            ("state", "CompleteAbort 1000@1"),
        ],
    );
}

#[test]
fn the_end_needs_no_batch_with_what_follows_it() {
    let mut driver = Driver::new(2);
    for step in [
        "init",
        "add 1000@0 a-0",
        "commit 1000@0",
        "add 1000@1 b-0",
        "abort 1000@1",
    ] {
        driver.run(step);
    }
    let before = driver.log.len();
    assert_eq!(driver.run("written"), "added; ended 1000@2");
    assert_eq!(driver.log.len(), before + 3);
    assert!(
        !driver.atomic,
        "or one that is too large keeps the transaction from ending"
    );
}

#[test]
fn the_marker_of_a_deleted_partition_is_not_waited_for() {
    play(
        2,
        &[
            ("init", "1000@0"),
            ("add 1000@0 a-0 b-0", "added"),
            ("commit 1000@0", "ended 1000@1"),
            ("delete a", ""),
            ("failed", ""),
            ("markers", "commit 1000@1 v2 again b-0"),
            ("written", ""),
            ("state", "CompleteCommit 1000@1"),
        ],
    );
}

#[test]
fn after_a_load_all_markers_are_written_again() {
    play(
        2,
        &[
            ("init", "1000@0"),
            ("add1 1000@0 a-0 b-0", "added"),
            ("commit1 1000@0", "ended"),
            ("written a-0", ""),
            ("load", ""),
            ("markers", "commit 1000@0 v0 a-0 b-0"),
            ("state", "PrepareCommit 1000@0 a-0 b-0"),
            ("written", ""),
            ("state", "CompleteCommit 1000@0"),
            ("load", ""),
            ("markers", ""),
        ],
    );
}

#[test]
#[allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the time that it takes is what is asked"
)]
fn the_markers_of_very_many_partitions_are_told_of_in_no_time() {
    use std::time::{Duration, Instant};

    use klamm_model::TopicPartition;

    use crate::transaction::request::{
        AddPartitions, MarkerOutcome, MarkersReport, TransactionRequest, VERSION_2,
    };
    use crate::transaction::testing::{ID, producer};
    const PARTITIONS: i32 = 100_000;
    let mut driver = Driver::new(2);
    driver.run("init");
    let partitions: Vec<_> = (0..PARTITIONS)
        .map(|number| TopicPartition::new("a", number))
        .collect();
    driver.ask(TransactionRequest::AddPartitions(AddPartitions {
        transactional_id: ID.into(),
        producer: producer("1000@0"),
        partitions: partitions.clone(),
        version: VERSION_2,
    }));
    driver.run("commit 1000@0");
    let outcomes = partitions[1..].iter();
    let report = TransactionRequest::Markers(MarkersReport {
        transactional_id: ID.into(),
        producer: producer("1000@1"),
        outcomes: outcomes
            .map(|partition| (partition.clone(), MarkerOutcome::Written))
            .collect(),
    });
    let begin = Instant::now();
    driver.ask(report);
    // Some 100 ms unoptimised; 10^10 moves take many seconds.
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    assert_eq!(driver.run("state"), "PrepareCommit 1000@1 a-0");
}

#[test]
fn a_report_of_another_transaction_says_nothing() {
    use crate::transaction::request::{MarkerOutcome, MarkersReport, TransactionRequest};
    use crate::transaction::testing::{ID, partition, producer};
    let mut driver = Driver::new(2);
    for step in [
        "init",
        "add 1000@0 a-0",
        "commit 1000@0",
        "written",
        "add 1000@1 a-0",
        "commit 1000@1",
    ] {
        driver.run(step);
    }
    for late in ["1000@0", "1000@1", "1000@3", "1001@2"] {
        driver.ask(TransactionRequest::Markers(MarkersReport {
            transactional_id: ID.into(),
            producer: producer(late),
            outcomes: vec![(partition("a-0"), MarkerOutcome::Written)],
        }));
        assert_eq!(driver.run("state"), "PrepareCommit 1000@2 a-0", "{late}");
    }
}

#[test]
fn markers_tell_how_often_in_a_row_they_failed() {
    let mut driver = Driver::new(2);
    for step in ["init", "add 1000@0 a-0 b-0", "commit 1000@0"] {
        driver.run(step);
    }
    let failures = |driver: &mut Driver, step: &str| {
        driver.run(step);
        driver
            .markers
            .iter()
            .map(|markers| markers.failures)
            .collect::<Vec<_>>()
    };
    assert_eq!(failures(&mut driver, "state"), [0]);
    assert_eq!(failures(&mut driver, "failed"), [1]);
    assert_eq!(failures(&mut driver, "failed"), [2]);
    assert_eq!(failures(&mut driver, "written a-0"), [2], "b-0 is on its way");
    assert_eq!(failures(&mut driver, "failed"), [1], "one was written in between");
    assert_eq!(failures(&mut driver, "load"), [0]);
}
