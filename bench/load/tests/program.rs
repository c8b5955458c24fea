//! The program against a broker that is wrong in one way: whatever is wrong, it says so and ends with 1.
//!
//! The broker is [`fake`]: it keeps batches in memory and answers what the program asks, no more.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::unwrap_used)] // tests of a program

#[path = "fake/coordinator.rs"]
mod coordinator;
#[path = "fake/broker.rs"]
mod fake;

use std::io::Write;
use std::process::{Command, Stdio};

use fake::Fault;
use serde_json::Value;

/// Runs the program, lets it pass its gates, and gives its last line, or what it says is wrong.
fn run(fault: Fault, line: &str) -> Result<Value, String> {
    run_on(&fake::Broker::start(fault), line)
}

fn run_on(broker: &fake::Broker, line: &str) -> Result<Value, String> {
    let mut words = line.split(' ');
    let mut program = Command::new(env!("CARGO_BIN_EXE_klamm-load"))
        .arg(words.next().unwrap())
        .args(["--bootstrap", &broker.address().to_string()])
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Two gates at most; what follows them is the end of the input.
    program.stdin.take().unwrap().write_all(b"go\ngo\n").unwrap();
    let output = program.wait_with_output().unwrap();
    if !output.status.success() {
        assert_eq!(output.status.code(), Some(1));
        return Err(String::from_utf8(output.stderr).unwrap());
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [.., ready, done] = &lines[..] else {
        panic!("{text}");
    };
    assert_eq!(
        (&ready["event"], &done["event"]),
        (&"ready".into(), &"done".into())
    );
    assert_eq!(done["errors"], 0);
    Ok(done.clone())
}

const PRODUCE: &str = "produce --partitions 3 --connections 2 --in-flight 3 --record-bytes 100 --batch-records 10 --bytes 50000";
const TRANSACT: &str = "transact --partitions 3 --span 2 --producers 2 --rate 500 --seconds 0.04";
const LATENCY: &str = "latency --partitions 3 --rate 1000 --seconds 0.05 --connections 2";

#[test]
fn what_is_done_is_counted() {
    let filled = "fetch --topic filled --partitions 3";
    for (line, expected) in [
        (
            PRODUCE,
            &[("requests", 50), ("records", 500), ("payload_bytes", 50_000)][..],
        ),
        (
            &format!("{PRODUCE} --threads 2 --idempotent --codec lz4"),
            &[("requests", 50), ("records", 500)],
        ),
        (
            &format!("{PRODUCE} --acks 0"),
            &[("requests", 50), ("records", 500)],
        ),
        (
            &format!("{PRODUCE} --batches-per-request 3 --blind"),
            &[("requests", 17), ("records", 510)],
        ),
        // An answer has three records of each of three partitions.
        (
            &format!("{filled} --connections 2 --shared --bytes 1"),
            &[("requests", 2), ("records", 18)],
        ),
        (
            &format!("{filled} --connections 3 --bytes 1"),
            &[("requests", 3), ("records", 9)],
        ),
        // From the beginning again, until the bytes are in.
        (
            &format!("{filled} --bytes 5000"),
            &[("requests", 3), ("records", 27)],
        ),
        // Again from the same place.
        (
            &format!("{filled} --bytes 5000 --places 1 --stride 9"),
            &[("requests", 3), ("records", 27)],
        ),
        // Batches of ten of thirty keys of eight bytes.
        (
            "produce --partitions 3 --batch-records 10 --keys 30 --bytes 10800",
            &[("requests", 10), ("records", 100), ("payload_bytes", 10_800)],
        ),
        (LATENCY, &[("records", 50), ("payload_bytes", 5000)]),
        (&format!("{LATENCY} --acks 0"), &[("records", 50)]),
        (
            "follow --topics 2 --partitions 2 --rate 1000 --seconds 0.05",
            &[("records", 50)],
        ),
        // A record and a marker for each of two partitions.
        (TRANSACT, &[("requests", 60), ("records", 80), ("retries", 0)]),
        ("create --topic new --topics 3 --partitions 2", &[("requests", 2)]),
        ("delete --topics 150", &[("requests", 2)]),
        ("idle --connections 3", &[("requests", 3)]),
    ] {
        let done = run(Fault::None, line).unwrap_or_else(|error| panic!("{line}: {error}"));
        for (field, value) in expected {
            assert_eq!(done[*field], *value, "{line}: {field}");
        }
    }
}

#[test]
fn connections_begin_at_their_own_partition_and_go_round() {
    for (options, ends) in [
        ("--connections 1 --bytes 50000", [170, 170, 160]),
        ("--connections 2 --in-flight 1 --bytes 2000", [10, 10, 0]),
        (
            "--connections 1 --batches-per-request 3 --bytes 6000",
            [20, 20, 20],
        ),
    ] {
        let broker = fake::Broker::start(Fault::None);
        let line = format!("produce --partitions 3 --record-bytes 100 --batch-records 10 {options}");
        run_on(&broker, &line).unwrap();
        assert_eq!(broker.ends("load"), ends, "{options}");
    }
}

#[test]
fn a_run_ends_when_its_time_is_over() {
    for acks in ["-1", "1", "0"] {
        let broker = fake::Broker::start(Fault::None);
        let line = format!("produce --partitions 3 --connections 2 --threads 2 --acks {acks} --seconds 0.03");
        let done = run_on(&broker, &line).unwrap();
        assert!(done["seconds"].as_f64() >= Some(0.03), "acks {acks}");
        let records: i64 = broker.ends("load").iter().sum();
        assert!(records > 0, "acks {acks}");
        assert_eq!(done["records"], records, "acks {acks}");
    }
}

#[test]
fn the_times_of_all_records_are_noted() {
    let done = run(Fault::None, LATENCY).unwrap();
    for field in ["ack_us", "end_to_end_us", "slip_us"] {
        assert_eq!(done[field]["count"], 50, "{field}");
        assert!(done[field]["p50"].as_u64() <= done[field]["max"].as_u64());
    }
    let done = run(Fault::None, &format!("{LATENCY} --acks 0")).unwrap();
    assert!(done["ack_us"].is_null());
    let done = run(Fault::None, &format!("{LATENCY} --alone")).unwrap();
    assert_eq!(
        (&done["ack_us"]["count"], &done["requests"]),
        (&50.into(), &50.into())
    );
    assert!(done["end_to_end_us"].is_null() && !done["slip_us"].is_null());
}

#[test]
fn requests_of_a_closed_loop_are_timed_when_that_is_asked_for() {
    assert!(run(Fault::None, PRODUCE).unwrap()["ack_us"].is_null());
    let done = run(Fault::None, &format!("{PRODUCE} --threads 2 --timed")).unwrap();
    assert_eq!(done["ack_us"]["count"], 50);
    assert!(done["ack_us"]["max"].as_u64() > Some(0));
}

#[test]
fn a_transaction_is_timed_in_its_commit_and_as_a_whole() {
    let done = run(Fault::None, TRANSACT).unwrap();
    for field in ["commit_us", "transaction_us", "slip_us"] {
        assert_eq!(done[field]["count"], 20, "{field}");
    }
    assert!(done["commit_us"]["max"].as_u64() <= done["transaction_us"]["max"].as_u64());
}

#[test]
fn what_passes_is_sent_again_and_counted() {
    let done = run(Fault::ProduceError, TRANSACT).unwrap();
    for (field, value) in [("requests", 61), ("records", 80), ("retries", 1)] {
        assert_eq!(done[field], value, "{field}");
    }
}

#[test]
fn whatever_is_wrong_ends_the_run() {
    for (fault, line, message) in [
        (Fault::ProduceError, PRODUCE, "refused: NOT_ENOUGH_REPLICAS (19)"),
        (Fault::ProduceError, LATENCY, "refused: NOT_ENOUGH_REPLICAS (19)"),
        (Fault::AnswersSwapped, PRODUCE, "was next"),
        (
            Fault::Closes,
            "produce --partitions 3 --in-flight 1 --bytes 5000",
            "closed the connection",
        ),
        (
            Fault::LosesABatch,
            &format!("{PRODUCE} --patience 0"),
            "500 records were acknowledged, and the offsets say that 490 came",
        ),
        (Fault::DoublesABatch, PRODUCE, "the offsets say that 510 came"),
        (
            Fault::DoublesABatch,
            &format!("{PRODUCE} --acks 0"),
            "the offsets say that 510 came",
        ),
        (
            Fault::LosesAMarker,
            &format!("{TRANSACT} --patience 0"),
            "80 records were acknowledged, and the offsets say that 79 came",
        ),
        (
            Fault::LosesOffsets,
            TRANSACT,
            "load-group has committed [10, 10], the broker knows of [0, 0]",
        ),
        (
            Fault::FetchError,
            "fetch --topic filled --partitions 3 --bytes 5000",
            "OFFSET_OUT_OF_RANGE (1)",
        ),
        (Fault::FetchError, LATENCY, "OFFSET_OUT_OF_RANGE (1)"),
        (Fault::RepeatsABatch, LATENCY, "was next"),
        (
            Fault::OldVersions,
            PRODUCE,
            "does not serve Produce in version 13",
        ),
        (
            Fault::None,
            "fetch --partitions 3 --bytes 1",
            "the topic is empty",
        ),
        (
            Fault::None,
            "produce --partitions 4 --bytes 1",
            "has 3 partitions, not 4",
        ),
        (
            Fault::None,
            "create --partitions 3",
            "cannot create load: TOPIC_ALREADY_EXISTS (36)",
        ),
    ] {
        let error = run(fault, line).expect_err(line);
        assert!(error.contains(message), "{fault:?}, {line}: {error}");
    }
}
