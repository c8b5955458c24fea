use crate::transaction::testing::play;

#[test]
fn an_id_is_taken_over_with_a_higher_epoch() {
    for version in [0, 2] {
        play(
            version,
            &[
                ("init", "1000@0"),
                ("state", "Empty 1000@0"),
                ("init", "1000@1"),
                // A producer goes on after an error, and asks again.
                ("init as 1000@1", "1000@2"),
                ("init as 1000@1", "1000@2"),
                ("init as 1000@0", "ProducerFenced"),
                ("init as 1001@2", "ProducerFenced"),
                // Another instance took over: the retry of the former is late.
                ("init", "1000@3"),
                ("init as 1000@2", "ProducerFenced"),
                // What tells a retry is not recorded.
                ("init as 1000@3", "1000@4"),
                ("load", ""),
                ("init as 1000@3", "ProducerFenced"),
                ("state", "Empty 1000@4"),
            ],
        );
    }
}

#[test]
fn senseless_requests_are_refused() {
    play(
        2,
        &[
            ("init 0", "InvalidTransactionTimeout"),
            ("init -1", "InvalidTransactionTimeout"),
            ("init 900001", "InvalidTransactionTimeout"),
            ("state", "none"),
            ("init 900000", "1000@0"),
            // A producer that the coordinator has forgotten begins anew.
        ],
    );
    play(2, &[("init as 7@3", "1000@0"), ("init as 7@3", "ProducerFenced")]);
}

#[test]
fn an_open_transaction_is_made_void_first() {
    play(
        2,
        &[
            ("init", "1000@0"),
            ("add 1000@0 a-0 b-1", "added"),
            ("init", ""),
            ("state", "PrepareAbort 1000@1 a-0 b-1"),
            ("markers", "abort 1000@1 v2 a-0 b-1"),
            ("written a-0", ""),
            ("written", "1000@2"),
            ("state", "Empty 1000@2"),
        ],
    );
    // The same producer, after an error: it has the epoch of the abort already.
    play(
        2,
        &[
            ("init", "1000@0"),
            ("add 1000@0 a-0", "added"),
            ("init as 1000@0", ""),
            ("written", "1000@1"),
            ("add 1000@1 a-0", "added"),
        ],
    );
    play(
        0,
        &[
            ("init", "1000@0"),
            ("add1 1000@0 a-0", "added"),
            ("init", ""),
            ("markers", "abort 1000@1 v0 a-0"),
            ("written", "1000@2"),
        ],
    );
    // Nobody to tell of the abort.
    play(
        2,
        &[("init", "1000@0"), ("add 1000@0", "added"), ("init", "1000@2")],
    );
}

#[test]
fn who_was_shut_out_in_a_transaction_does_not_go_on_as_the_new_one() {
    for version in [0, 2] {
        play(
            version,
            &[
                ("init", "1000@0"),
                ("add 1000@0 a-0", "added"),
                ("init", ""),
                ("written", "1000@2"),
                ("init as 1000@0", "ProducerFenced"),
                ("init as 1000@1", "ProducerFenced"),
                ("init as 1000@2", "1000@3"),
                ("init as 1000@2", "1000@3"),
            ],
        );
    }
}

#[test]
fn who_had_the_id_before_ends_no_transaction() {
    play(
        2,
        &[
            ("init", "1000@0"),
            ("init", "1000@1"),
            ("add 1000@1 a-0", "added"),
            ("init as 1000@0", "ProducerFenced"),
            ("state", "Ongoing 1000@1 a-0"),
        ],
    );
}

#[test]
fn who_was_shut_out_never_becomes_its_successor() {
    let abort = [("init", ""), ("written", "1000@2")];
    let parked = [
        ("init as 1000@0", ""),
        ("init", ""),
        ("written", "1000@1; 1000@2"),
    ];
    let empty = [("init", "1000@2")];
    let cases: [(&str, &[(&str, &str)]); 3] = [("a-0", &abort), ("", &empty), ("a-0", &parked)];
    for (version, add, count) in [(2, "add", 3), (2, "add1", 3), (0, "add1", 2)] {
        // Before version 2 the epoch of an abort is not its producer's.
        for (partitions, successor) in &cases[..count] {
            let add = format!("{add} 1000@0 {partitions}");
            let mut steps = vec![("init", "1000@0"), (&*add, "added")];
            steps.extend(*successor);
            steps.extend([
                ("init as 1000@0", "ProducerFenced"),
                ("init as 1000@1", "ProducerFenced"),
                ("state", "Empty 1000@2"),
                ("add 1000@2 b-0", "added"),
                ("abort 1000@0", "ProducerFenced"),
                ("init as 1000@0", "ProducerFenced"),
            ]);
            play(version, &steps);
        }
    }
}

#[test]
fn who_is_shut_out_already_waits_for_no_marker() {
    play(
        2,
        &[
            ("init", "1000@0"),
            ("init", "1000@1"),
            ("add 1000@1 a-0", "added"),
            ("commit 1000@1", "ended 1000@2"),
            ("init as 1000@0", "ProducerFenced"),
            ("init as 1000@3", "ProducerFenced"),
            ("init as 1000@1", ""),
            ("init as 1000@2", ""),
            ("written", "1000@2; 1000@3"),
        ],
    );
}

#[test]
fn when_the_epochs_are_used_up_there_is_another_id() {
    let mut steps: Vec<(String, String)> = vec![("init".into(), "1000@0".into())];
    for epoch in 1..i32::from(i16::MAX) {
        steps.push(("init".into(), format!("1000@{epoch}")));
    }
    let rest = [
        ("init as 1000@32766", "1001@0"),
        // A retry of it, and a stranger.
        ("init as 1000@32766", "1001@0"),
        ("init as 1000@32765", "ProducerFenced"),
        ("init", "1001@1"),
    ];
    steps.extend(rest.map(|(step, said)| (step.to_owned(), said.to_owned())));
    let steps: Vec<_> = steps.iter().map(|(step, said)| (&**step, &**said)).collect();
    play(2, &steps);
}
