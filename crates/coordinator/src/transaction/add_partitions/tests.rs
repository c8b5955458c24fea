use crate::transaction::testing::play;

#[test]
fn partitions_take_part_of_who_has_the_id() {
    for (version, add) in [(0, "add1"), (2, "add1"), (2, "add")] {
        let of = |rest: &str| format!("{add} {rest}");
        play(
            version,
            &[
                (&of("1000@0 a-0"), "InvalidProducerIdMapping"),
                ("verify 1000@0 a-0", "InvalidProducerIdMapping"),
                ("init", "1000@0"),
                (&of("1001@0 a-0"), "InvalidProducerIdMapping"),
                (&of("1000@1 a-0"), "ProducerFenced"),
                ("verify 1000@0 a-0", "a-0 TransactionAbortable"),
                (&of("1000@0 b-1 a-0"), "added"),
                (&of("1000@0 a-0"), "added"),
                (&of("1000@0 a-2 a-0 a-2"), "added"),
                ("state", "Ongoing 1000@0 a-0 a-2 b-1"),
                ("verify 1000@0 a-2 c-0", "a-2 ok, c-0 TransactionAbortable"),
                ("verify 1000@1 a-2", "ProducerFenced"),
                ("verify 1001@0 a-2", "InvalidProducerIdMapping"),
                ("load", ""),
                ("state", "Ongoing 1000@0 a-0 a-2 b-1"),
            ],
        );
    }
}

#[test]
fn the_next_transaction_waits_for_the_markers_of_the_last() {
    play(
        2,
        &[
            ("init", "1000@0"),
            ("add 1000@0 a-0", "added"),
            ("commit 1000@0", "ended 1000@1"),
            ("add 1000@0 a-1", "ProducerFenced"),
            ("add 1000@1 a-1", ""),
            ("add 1000@1 b-0", ""),
            ("verify 1000@1 a-1", "ConcurrentTransactions"),
            ("written", "added; added"),
            ("state", "Ongoing 1000@1 a-1 b-0"),
        ],
    );
    play(
        0,
        &[
            ("init", "1000@0"),
            ("add1 1000@0 a-0", "added"),
            ("commit1 1000@0", "ended"),
            ("add1 1000@0 a-1", ""),
            ("written", "added"),
            ("state", "Ongoing 1000@0 a-1"),
        ],
    );
}

#[test]
fn nobody_waits_for_ever_nor_do_many() {
    let mut steps = vec![
        ("init", "1000@0"),
        ("add 1000@0 a-0", "added"),
        ("commit 1000@0", "ended 1000@1"),
        ("add 1000@1 a-1", ""),
        ("pass 9999", ""),
        ("add 1000@1 a-1", ""),
        ("pass 1", "ConcurrentTransactions; ConcurrentTransactions"),
    ];
    steps.extend([("init", ""); 64]);
    let given: Vec<_> = (2..66).map(|epoch| format!("1000@{epoch}")).collect();
    let given = given.join("; ");
    steps.extend([("init", "ConcurrentTransactions"), ("written", &given)]);
    play(2, &steps);
    // Who waits is forgotten with the shard; the runtime has answered.
    play(
        2,
        &[
            ("init", "1000@0"),
            ("add 1000@0 a-0", "added"),
            ("commit 1000@0", "ended 1000@1"),
            ("add 1000@1 a-1", ""),
            ("load", ""),
            ("written", ""),
            ("state", "CompleteCommit 1000@1"),
        ],
    );
}

#[test]
fn all_requests_of_a_producer_of_many_brokers_wait() {
    use crate::transaction::testing::Driver;
    let mut driver = Driver::new(2);
    for step in ["init", "add 1000@0 a-0", "commit 1000@0"] {
        driver.run(step);
    }
    for partition in (0..4).cycle().take(1000) {
        assert_eq!(driver.run(&format!("add 1000@1 b-{partition}")), "");
    }
    assert_eq!(driver.run("add 1000@1 b-0"), "ConcurrentTransactions");
    let recorded = driver.log.len();
    assert_eq!(driver.run("written"), ["added"; 1000].join("; "));
    assert_eq!(driver.run("state"), "Ongoing 1000@1 b-0 b-1 b-2 b-3");
    assert_eq!(
        driver.log.len(),
        recorded + 2,
        "the end of one transaction, and the next"
    );
}

#[test]
fn who_waits_is_not_overtaken() {
    play(
        2,
        &[
            ("init", "1000@0"),
            ("add 1000@0 a-0", "added"),
            ("commit 1000@0", "ended 1000@1"),
            ("add 1000@1 a-1", ""),
            ("abort 1000@1", ""),
            ("add 1000@1 a-2", ""),
            ("add 1000@1 a-3", ""),
            ("init", ""),
            ("written", "added; ended 1000@2; ProducerFenced; ProducerFenced"),
            ("state", "PrepareAbort 1000@2 a-1"),
            ("written", "1000@3"),
        ],
    );
}

#[test]
fn a_thousand_transactions_follow_each_other_without_a_pause() {
    use crate::transaction::testing::Driver;
    let mut driver = Driver::new(2);
    assert_eq!(driver.run("init"), "1000@0");
    assert_eq!(driver.run("add 1000@0 a-0 b-0"), "added");
    for epoch in 0..1000 {
        let (now, next) = (format!("1000@{epoch}"), format!("1000@{}", epoch + 1));
        assert_eq!(driver.run(&format!("commit {now}")), format!("ended {next}"));
        assert_eq!(driver.run(&format!("add {next} a-0 b-0")), "");
        assert_eq!(driver.run("written a-0"), "");
        assert_eq!(driver.run("written b-0"), "added");
    }
}
