use crate::transaction::testing::{Driver, play};

/// Ways into each state, in epoch 1 and after one in epoch 0.
fn into(state: &str, version: i16) -> Vec<String> {
    let (add, end) = if version == 2 { ("add", "") } else { ("add1", "1") };
    // Version 1 does not raise the epoch with the end.
    let first = if version == 2 { 0 } else { 1 };
    let mut steps = vec!["init".to_owned()];
    if version == 1 || matches!(state, "Empty" | "Ongoing") {
        steps.push("init".to_owned());
    }
    if state != "Empty" {
        let epoch = if state == "Ongoing" { 1 } else { first };
        steps.push(format!("{add} 1000@{epoch} a-0"));
    }
    if state.ends_with("Commit") {
        steps.push(format!("commit{end} 1000@{first}"));
    }
    if state.ends_with("Abort") {
        steps.push(format!("abort{end} 1000@{first}"));
    }
    if state.starts_with("Complete") {
        steps.push("written".to_owned());
    }
    steps
}

/// What is said to `step` in a state that producer 1000 is in with epoch 1, and the state then.
fn said(state: &str, version: i16, step: &str) -> (String, String) {
    let mut driver = Driver::new(2);
    for step in into(state, version) {
        driver.run(&step);
    }
    assert_eq!(driver.run("state").split(' ').next(), Some(state));
    assert!(driver.run("state").contains("1000@1"));
    (driver.run(step), driver.run("state"))
}

#[test]
fn version_1_goes_by_state_and_epoch() {
    const ITS: &str = "InvalidTxnState";
    for (state, commit, abort) in [
        ("Empty", ITS, ITS),
        ("Ongoing", "ended", "ended"),
        ("PrepareCommit", "ended", ITS),
        ("PrepareAbort", ITS, "ended"),
        ("CompleteCommit", "ended", ITS),
        ("CompleteAbort", ITS, "ended"),
    ] {
        for (step, expected) in [("commit1", commit), ("abort1", abort)] {
            let (found, after) = said(state, 1, &format!("{step} 1000@1"));
            assert_eq!(found, expected, "{state} {step}");
            assert_eq!(after.starts_with(state), state != "Ongoing", "{state} {step}");
            for (other, expected) in [
                ("1000@0", "ProducerFenced"),
                ("1000@2", "ProducerFenced"),
                ("1001@1", "InvalidProducerIdMapping"),
            ] {
                let (found, after) = said(state, 1, &format!("{step} {other}"));
                assert_eq!(found, expected, "{state} {step} {other}");
                assert!(after.starts_with(state));
            }
        }
    }
    play(2, &[("commit1 1000@0", "InvalidProducerIdMapping")]);
}

#[test]
fn version_2_goes_by_the_epoch() {
    const PF: &str = "ProducerFenced";
    const ITS: &str = "InvalidTxnState";
    const SAME: &str = "ended 1000@1";
    const NEXT: &str = "ended 1000@2";
    const WAITS: &str = "";
    for (state, abort_below, abort_now, commit_below, commit_now) in [
        ("Empty", PF, NEXT, PF, ITS),
        ("Ongoing", PF, NEXT, PF, NEXT),
        ("PrepareAbort", SAME, WAITS, ITS, WAITS),
        ("PrepareCommit", ITS, WAITS, SAME, WAITS),
        ("CompleteAbort", SAME, NEXT, ITS, ITS),
        ("CompleteCommit", ITS, NEXT, SAME, ITS),
    ] {
        let cases = [
            ("abort 1000@0", abort_below),
            ("abort 1000@1", abort_now),
            ("commit 1000@0", commit_below),
            ("commit 1000@1", commit_now),
            ("abort 1000@2", PF),
            ("commit 1000@2", PF),
            ("abort 1001@1", "InvalidProducerIdMapping"),
        ];
        for (step, expected) in cases {
            let (found, after) = said(state, 2, step);
            assert_eq!(found, expected, "{state} {step}");
            if expected != NEXT {
                assert!(after.starts_with(state), "{state} {step}: {after}");
            }
        }
    }
    play(2, &[("abort 1000@0", "InvalidProducerIdMapping")]);
}

#[test]
fn a_transaction_without_partitions_is_over_at_once() {
    play(
        2,
        &[
            ("init", "1000@0"),
            ("abort 1000@0", "ended 1000@1"),
            ("markers", ""),
            ("state", "CompleteAbort 1000@1"),
            ("abort 1000@0", "ended 1000@1"),
            ("abort 1000@1", "ended 1000@2"),
            ("add 1000@2", "added"),
            ("commit 1000@2", "ended 1000@3"),
            ("state", "CompleteCommit 1000@3"),
        ],
    );
}

#[test]
fn who_waits_is_told_what_the_end_leaves_them() {
    play(
        2,
        &[
            ("init", "1000@0"),
            ("add 1000@0 a-0", "added"),
            ("commit 1000@0", "ended 1000@1"),
            ("commit 1000@1", ""),
            ("abort 1000@1", ""),
            ("written", "InvalidTxnState; ended 1000@2"),
            ("state", "CompleteAbort 1000@2"),
        ],
    );
}

#[test]
fn at_the_last_epoch_the_producer_gets_another_id() {
    let mut driver = Driver::new(2);
    driver.run("init");
    for _ in 1..i16::MAX - 1 {
        driver.run("init");
    }
    let steps = [
        ("init", "1000@32766"),
        ("add 1000@32766 a-0", "added"),
        ("commit 1000@32766", "ended 1001@0"),
        ("state", "PrepareCommit 1000@32767 a-0"),
        ("markers", "commit 1000@32767 v2 a-0"),
        // Retries, and the next transaction under the next id.
        ("commit 1000@32766", "ended 1001@0"),
        ("abort 1000@32766", "InvalidTxnState"),
        ("add 1001@0 b-0", ""),
        ("add 1000@32767 b-0", "InvalidProducerIdMapping"),
        ("load", ""),
        ("markers", "commit 1000@32767 v2 a-0"),
        ("add 1001@0 b-0", ""),
        ("written", "added"),
        ("state", "Ongoing 1001@0 b-0"),
        ("commit 1000@32766", "InvalidProducerIdMapping"),
        ("commit 1001@0", "ended 1001@1"),
        ("written", ""),
        ("commit 1000@32766", "InvalidProducerIdMapping"),
    ];
    for (step, expected) in steps {
        assert_eq!(driver.run(step), expected, "{step}");
    }
}
