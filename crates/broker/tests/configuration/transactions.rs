//! Transactions as a coordinator sees them: who has an id, what takes part, how it ends; over restarts too.

use std::time::Duration;

use klamm_env::sim::{Failure, Fault, Operation};
use klamm_model::ErrorCode;
use klamm_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use klamm_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeTransactionsRequest, EndTxnRequest,
    EndTxnResponse, FindCoordinatorRequest, InitProducerIdRequest, InitProducerIdResponse,
    ListTransactionsRequest, ListTransactionsResponse,
};

use crate::client::{Client, batch_count, bytes_of};
use crate::fixture::{Fixture, Settings};

pub(crate) const ID: &str = "app";

/// A producer with a transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Producer {
    pub(crate) transactional_id: String,
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

/// A node with these keys set, a topic `t`, and coordinators of transactions.
pub(crate) async fn start(set: Settings<'_>) -> (Fixture, Client) {
    // One partition: what is written for all ids lies in one folder.
    let mut all = vec![("transaction.state.log.num.partitions", "1")];
    all.extend(set);
    let fixture = Fixture::start(&all).await;
    let mut client = fixture.connect();
    client.create("t", 3, &[]).await;
    let request = FindCoordinatorRequest {
        key_type: 1,
        coordinator_keys: vec![ID.into()],
        ..Default::default()
    };
    let answer = client.ask(6, &request).await.unwrap();
    assert_eq!(answer.coordinators[0].error_code, 0);
    (fixture, client)
}

fn init_request(id: &str, timeout_ms: i32) -> InitProducerIdRequest {
    InitProducerIdRequest {
        transactional_id: Some(id.to_owned().into()),
        transaction_timeout_ms: timeout_ms,
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    }
}

async fn try_init(client: &mut Client, id: &str, timeout_ms: i32) -> InitProducerIdResponse {
    client.ask(5, &init_request(id, timeout_ms)).await.unwrap()
}

/// Takes an id over.
pub(crate) async fn init(client: &mut Client, id: &str, timeout_ms: i32) -> Producer {
    let answer = try_init(client, id, timeout_ms).await;
    assert_eq!(answer.error_code, 0);
    Producer {
        transactional_id: id.to_owned(),
        id: answer.producer_id,
        epoch: answer.producer_epoch,
    }
}

/// Adds partitions of `t`, as the leader of a partition does for a client of version 2; the first error.
pub(crate) async fn add(client: &mut Client, producer: &Producer, partitions: &[i32]) -> i16 {
    let topic = AddPartitionsToTxnTopic {
        name: "t".into(),
        partitions: partitions.to_vec(),
        ..Default::default()
    };
    let request = AddPartitionsToTxnRequest {
        transactions: vec![AddPartitionsToTxnTransaction {
            transactional_id: producer.transactional_id.clone().into(),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            topics: vec![topic],
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer = client.ask(5, &request).await.unwrap();
    answer.results_by_transaction[0].topic_results[0].results_by_partition[0].partition_error_code
}

async fn end(client: &mut Client, version: i16, producer: &Producer, commit: bool) -> EndTxnResponse {
    let request = EndTxnRequest {
        transactional_id: producer.transactional_id.clone().into(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        committed: commit,
        ..Default::default()
    };
    client.ask(version, &request).await.unwrap()
}

/// Ends a transaction as a client of version 2, and takes over who the producer is from then on.
pub(crate) async fn end_2(client: &mut Client, producer: &mut Producer, commit: bool) -> i16 {
    let answer = end(client, 5, producer, commit).await;
    if answer.error_code == 0 {
        (producer.id, producer.epoch) = (answer.producer_id, answer.producer_epoch);
    }
    answer.error_code
}

/// The state of the transaction, and its partitions; the name of the error if there is none.
pub(crate) async fn state(client: &mut Client, id: &str) -> (String, Vec<i32>) {
    let request = DescribeTransactionsRequest {
        transactional_ids: vec![id.to_owned().into()],
        ..Default::default()
    };
    let mut answer = client.ask(0, &request).await.unwrap();
    let state = answer.transaction_states.remove(0);
    let name = match ErrorCode::from_code(state.error_code) {
        Some(ErrorCode::None) => state.transaction_state.to_string(),
        code => code.unwrap().name().to_owned(),
    };
    let topics = state.topics.into_iter().flat_map(|topic| topic.partitions);
    (name, topics.collect())
}

/// The same once the coordinator is loaded, and the transaction in another state than `before`.
async fn next_state(fixture: &Fixture, client: &mut Client, id: &str, before: &str) -> String {
    for _ in 0..10_000 {
        let (name, _) = state(client, id).await;
        if name != before && !["COORDINATOR_LOAD_IN_PROGRESS", "NOT_COORDINATOR"].contains(&&*name) {
            return name;
        }
        fixture.pass(10).await;
    }
    panic!("still {before}");
}

async fn list(client: &mut Client, request: ListTransactionsRequest) -> ListTransactionsResponse {
    client.ask(2, &request).await.unwrap()
}

fn any() -> ListTransactionsRequest {
    ListTransactionsRequest {
        duration_filter: -1,
        ..Default::default()
    }
}

/// How many batches the first partition of `t` has.
async fn batches(client: &mut Client) -> usize {
    batch_count(bytes_of(&client.fetch(0).await))
}

/// Nothing can be written to the first partition of a topic any more.
pub(crate) fn hold(fixture: &Fixture, topic: &str) {
    let full = Fault::always(Operation::Write).with(Failure::NoSpace);
    fixture.inject(full.on(&format!("/{topic}-0/00000000000000000000.log")));
}

/// It can again.
pub(crate) fn let_go(fixture: &Fixture) {
    fixture.disk().clear_faults();
}

#[tokio::test(start_paused = true)]
async fn a_thousand_transactions_back_to_back_never_meet_a_concurrent_one() {
    for durability in ["fsync", "page-cache"] {
        let (_fixture, mut client) = start(&[("klamm.durability", durability)]).await;
        let mut producer = init(&mut client, ID, 60_000).await;
        let first = producer.clone();
        for transaction in 0..1_000 {
            assert_eq!(add(&mut client, &producer, &[0, 1]).await, 0, "{transaction}");
            let commit = transaction % 3 > 0;
            assert_eq!(
                end_2(&mut client, &mut producer, commit).await,
                0,
                "{transaction}"
            );
        }
        assert_eq!(producer.id, first.id);
        assert_eq!(producer.epoch, first.epoch + 1_000);
        // Whoever takes the id over waits for the last markers.
        let next = init(&mut client, ID, 60_000).await;
        assert_eq!((next.id, next.epoch), (producer.id, producer.epoch + 1));
        assert_eq!(batches(&mut client).await, 1_000);
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_end_changes_nothing_in_the_next_transaction() {
    let (_fixture, mut client) = start(&[]).await;
    let mut producer = init(&mut client, ID, 60_000).await;
    let before = producer.clone();
    assert_eq!(add(&mut client, &producer, &[0]).await, 0);
    assert_eq!(end_2(&mut client, &mut producer, true).await, 0);
    // A retry is told the same.
    let again = end(&mut client, 5, &before, true).await;
    assert_eq!((again.error_code, again.producer_epoch), (0, producer.epoch));
    let other = end(&mut client, 5, &before, false).await;
    assert_eq!(other.error_code, ErrorCode::InvalidTxnState.code());

    assert_eq!(add(&mut client, &producer, &[1]).await, 0);
    for commit in [true, false] {
        for version in [2, 5] {
            let late = end(&mut client, version, &before, commit).await;
            assert_eq!(late.error_code, ErrorCode::ProducerFenced.code());
        }
        let late = end(&mut client, 1, &before, commit).await;
        assert_eq!(late.error_code, ErrorCode::InvalidProducerEpoch.code());
    }
    assert_eq!(state(&mut client, ID).await, ("Ongoing".into(), vec![1]));
    assert_eq!(
        add(&mut client, &before, &[2]).await,
        ErrorCode::ProducerFenced.code()
    );
    assert_eq!(end_2(&mut client, &mut producer, true).await, 0);
}

#[tokio::test(start_paused = true)]
async fn who_takes_an_id_over_shuts_out_who_had_it() {
    let (fixture, mut client) = start(&[]).await;
    let old = init(&mut client, ID, 60_000).await;
    assert_eq!(add(&mut client, &old, &[0]).await, 0);
    let new = init(&mut client, ID, 60_000).await;
    assert_eq!(
        (new.id, new.epoch),
        (old.id, old.epoch + 2),
        "one was for the end"
    );
    assert_eq!(state(&mut client, ID).await.0, "Empty");
    assert_eq!(batches(&mut client).await, 1);
    assert_eq!(
        add(&mut client, &old, &[0]).await,
        ErrorCode::ProducerFenced.code()
    );
    let late = end(&mut client, 5, &old, true).await;
    assert_eq!(late.error_code, ErrorCode::ProducerFenced.code());
    // One that has no id coordinates nothing.
    let nobody = Producer {
        transactional_id: "nobody".into(),
        ..new.clone()
    };
    let code = ErrorCode::InvalidProducerIdMapping.code();
    assert_eq!(add(&mut client, &nobody, &[0]).await, code);
    assert_eq!(end(&mut client, 5, &nobody, true).await.error_code, code);
    drop(fixture);
}

#[tokio::test(start_paused = true)]
async fn partitions_that_do_not_exist_keep_the_others_out() {
    let (_fixture, mut client) = start(&[]).await;
    let producer = init(&mut client, ID, 60_000).await;
    let topic = |name: &str, partitions: &[i32]| AddPartitionsToTxnTopic {
        name: name.to_owned().into(),
        partitions: partitions.to_vec(),
        ..Default::default()
    };
    let request = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: ID.into(),
        v3_and_below_producer_id: producer.id,
        v3_and_below_producer_epoch: producer.epoch,
        v3_and_below_topics: vec![topic("t", &[0, 3]), topic("u", &[0])],
        ..Default::default()
    };
    let answer = client.ask(3, &request).await.unwrap();
    let results = answer.results_by_topic_v3_and_below.iter().flat_map(|topic| {
        let partitions = topic.results_by_partition.iter();
        partitions.map(|result| {
            (
                topic.name.to_string(),
                result.partition_index,
                result.partition_error_code,
            )
        })
    });
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    let expected = [
        ("t".to_owned(), 0, ErrorCode::OperationNotAttempted.code()),
        ("t".to_owned(), 3, unknown),
        ("u".to_owned(), 0, unknown),
    ];
    assert_eq!(results.collect::<Vec<_>>(), expected);
    assert_eq!(state(&mut client, ID).await.0, "Empty");
}

#[tokio::test(start_paused = true)]
async fn the_next_transaction_waits_for_markers_but_not_for_ever() {
    let (fixture, mut client) = start(&[]).await;
    let mut producer = init(&mut client, ID, 60_000).await;
    assert_eq!(add(&mut client, &producer, &[0, 1]).await, 0);
    hold(&fixture, "t");
    assert_eq!(end_2(&mut client, &mut producer, true).await, 0);
    fixture.pass(100).await;
    assert_eq!(state(&mut client, ID).await, ("PrepareCommit".into(), vec![0]));
    let began = tokio::time::Instant::now();
    let told = add(&mut client, &producer, &[0]).await;
    assert_eq!(told, ErrorCode::ConcurrentTransactions.code());
    assert!(began.elapsed() >= Duration::from_secs(10));
    // One that still waits goes on with the markers.
    let mut other = fixture.connect();
    let waits = add(&mut other, &producer, &[2]);
    let lets_go = async {
        fixture.pass(3_000).await;
        let_go(&fixture);
    };
    let (told, ()) = futures_util::future::join(waits, lets_go).await;
    assert_eq!(told, 0);
    assert_eq!(state(&mut client, ID).await, ("Ongoing".into(), vec![2]));
    assert_eq!(batches(&mut client).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_stop_tells_those_who_wait_for_markers_to_look_elsewhere() {
    let (fixture, mut client) = start(&[]).await;
    let mut producer = init(&mut client, ID, 60_000).await;
    assert_eq!(add(&mut client, &producer, &[0]).await, 0);
    hold(&fixture, "t");
    assert_eq!(end_2(&mut client, &mut producer, true).await, 0);
    let mut other = fixture.connect();
    let began = tokio::time::Instant::now();
    let added = add(&mut client, &producer, &[1]);
    let taken_over = try_init(&mut other, ID, 60_000);
    let stops = async {
        fixture.pass(500).await;
        fixture.node.stop().await;
    };
    let (added, taken_over, ()) = futures_util::future::join3(added, taken_over, stops).await;
    let elsewhere = ErrorCode::NotCoordinator.code();
    assert_eq!((added, taken_over.error_code), (elsewhere, elsewhere));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_is_decided_is_carried_out_after_a_crash() {
    for is_crash in [true, false] {
        let (fixture, mut client) = start(&[]).await;
        let mut producer = init(&mut client, ID, 60_000).await;
        assert_eq!(add(&mut client, &producer, &[0, 2]).await, 0);
        hold(&fixture, "t");
        assert_eq!(end_2(&mut client, &mut producer, false).await, 0);
        let open = init(&mut client, "open", 60_000).await;
        assert_eq!(add(&mut client, &open, &[1]).await, 0);
        drop(client);
        let set = [("transaction.state.log.num.partitions", "1")];
        let fixture = match is_crash {
            true => fixture.start_again(&set).await,
            false => fixture.restart(|_| {}, &set).await.unwrap(),
        };
        let mut client = fixture.connect();
        assert_eq!(next_state(&fixture, &mut client, ID, "").await, "PrepareAbort");
        assert_eq!(state(&mut client, "open").await, ("Ongoing".into(), vec![1]));
        let_go(&fixture);
        let state = next_state(&fixture, &mut client, ID, "PrepareAbort").await;
        assert_eq!(state, "CompleteAbort");
        assert_eq!(batches(&mut client).await, 1);
        assert_eq!(add(&mut client, &producer, &[0]).await, 0);
        let committed = end(&mut client, 5, &open, true).await;
        assert_eq!(
            (committed.error_code, committed.producer_epoch),
            (0, open.epoch + 1)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_cannot_record_loads_and_goes_on() {
    let lost = [
        ErrorCode::NotCoordinator.code(),
        ErrorCode::CoordinatorLoadInProgress.code(),
    ];
    // First that it ends, then that all markers are written, which are written again then.
    for (failing, markers) in [(0, 1), (1, 2)] {
        let (fixture, mut client) = start(&[]).await;
        let mut producer = init(&mut client, ID, 60_000).await;
        assert_eq!(add(&mut client, &producer, &[0]).await, 0);
        let full = Fault::nth(Operation::Write, failing).with(Failure::NoSpace);
        fixture.inject(full.on("__transaction_state-0/"));
        let mut told = end_2(&mut client, &mut producer, true).await;
        assert_eq!(told != 0, failing == 0, "{told}");
        while lost.contains(&told) {
            fixture.pass(100).await;
            told = end_2(&mut client, &mut producer, true).await;
        }
        assert_eq!(told, 0);
        let state = next_state(&fixture, &mut client, ID, "PrepareCommit").await;
        assert_eq!(state, "CompleteCommit");
        assert_eq!(batches(&mut client).await, markers);
        assert_eq!(add(&mut client, &producer, &[0]).await, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_marker_of_a_topic_that_is_deleted_is_not_waited_for() {
    let (fixture, mut client) = start(&[]).await;
    let mut producer = init(&mut client, ID, 60_000).await;
    client.create("gone", 1, &[]).await;
    hold(&fixture, "gone");
    let topic = AddPartitionsToTxnTopic {
        name: "gone".into(),
        partitions: vec![0],
        ..Default::default()
    };
    let request = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: ID.into(),
        v3_and_below_producer_id: producer.id,
        v3_and_below_producer_epoch: producer.epoch,
        v3_and_below_topics: vec![topic],
        ..Default::default()
    };
    client.ask(3, &request).await.unwrap();
    assert_eq!(add(&mut client, &producer, &[0]).await, 0);
    assert_eq!(end_2(&mut client, &mut producer, true).await, 0);
    fixture.pass(1_000).await;
    let (name, partitions) = state(&mut client, ID).await;
    assert_eq!((&*name, partitions), ("PrepareCommit", vec![0]));
    client.delete("gone").await;
    assert_eq!(
        next_state(&fixture, &mut client, ID, "PrepareCommit").await,
        "CompleteCommit"
    );
}

#[tokio::test(start_paused = true)]
async fn offsets_take_part() {
    let (fixture, mut client) = start(&[]).await;
    let request = FindCoordinatorRequest {
        coordinator_keys: vec!["g".into()],
        ..Default::default()
    };
    client.ask(6, &request).await.unwrap();
    let producer = init(&mut client, ID, 60_000).await;
    let mut request = AddOffsetsToTxnRequest {
        transactional_id: ID.into(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        group_id: "g".into(),
        ..Default::default()
    };
    assert_eq!(client.ask(4, &request).await.unwrap().error_code, 0);
    let (name, partitions) = state(&mut client, ID).await;
    assert_eq!((name.as_str(), partitions.len()), ("Ongoing", 1));
    request.producer_epoch += 1;
    for (version, expected) in [
        (1, ErrorCode::InvalidProducerEpoch),
        (2, ErrorCode::ProducerFenced),
    ] {
        let answer = client.ask(version, &request).await.unwrap();
        assert_eq!(answer.error_code, expected.code());
    }
    assert_eq!(end(&mut client, 4, &producer, true).await.error_code, 0);
    assert_eq!(
        next_state(&fixture, &mut client, ID, "PrepareCommit").await,
        "CompleteCommit"
    );
}

#[tokio::test(start_paused = true)]
async fn transactions_are_listed_by_what_is_asked_for() {
    let (fixture, mut client) = start(&[]).await;
    let open = init(&mut client, "app-1", 60_000).await;
    init(&mut client, "app-2", 60_000).await;
    init(&mut client, "other", 60_000).await;
    assert_eq!(add(&mut client, &open, &[0]).await, 0);
    fixture.pass(5_000).await;
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned().into()).collect();
    let pattern = |pattern: &str| ListTransactionsRequest {
        transactional_id_pattern: Some(pattern.to_owned().into()),
        ..any()
    };
    let states = |names: &[&str]| ListTransactionsRequest {
        state_filters: texts(names),
        ..any()
    };
    let duration = |ms| ListTransactionsRequest {
        duration_filter: ms,
        state_filters: texts(&["Ongoing"]),
        ..any()
    };
    let producers = ListTransactionsRequest {
        producer_id_filters: vec![open.id, 4_711],
        ..any()
    };
    let cases: [(_, &[&str], &[&str]); 11] = [
        (any(), &["app-1", "app-2", "other"], &[]),
        (pattern(""), &["app-1", "app-2", "other"], &[]),
        (pattern("app-.*"), &["app-1", "app-2"], &[]),
        (pattern("app"), &[], &[]),
        (states(&["Ongoing"]), &["app-1"], &[]),
        (states(&["Empty", "Dead"]), &["app-2", "other"], &[]),
        (states(&["empty", "x", "x"]), &[], &["empty", "x"]),
        (duration(4_000), &["app-1"], &[]),
        (duration(6_000), &[], &[]),
        (producers, &["app-1"], &[]),
        (states(&["Dead"]), &[], &[]),
    ];
    for (request, expected, unknown) in cases {
        let answer = list(&mut client, request.clone()).await;
        assert_eq!(answer.error_code, 0);
        let ids = answer
            .transaction_states
            .iter()
            .map(|state| &*state.transactional_id);
        assert_eq!(ids.collect::<Vec<_>>(), expected, "{request:?}");
        let names = answer.unknown_state_filters.iter().map(|name| &**name);
        assert_eq!(names.collect::<Vec<_>>(), unknown, "{request:?}");
    }
    let refused = list(&mut client, pattern("(")).await;
    assert_eq!(refused.error_code, ErrorCode::InvalidRegularExpression.code());
}

#[tokio::test(start_paused = true)]
async fn a_transaction_may_ask_for_so_much_time() {
    for (set, expected) in [
        (None, [0, 50, 50]),
        (Some(("transaction.max.timeout.ms", "2000000")), [0, 0, 50]),
        (Some(("transaction.max.timeout.ms", "1000")), [50, 50, 50]),
    ] {
        let (_fixture, mut client) = start(set.as_slice()).await;
        for (timeout_ms, expected) in [900_000, 2_000_000, 2_000_001].into_iter().zip(expected) {
            let answer = try_init(&mut client, ID, timeout_ms).await;
            assert_eq!(answer.error_code, expected, "{set:?} {timeout_ms}");
        }
        assert_eq!(try_init(&mut client, ID, 0).await.error_code, 50);
    }
}

#[tokio::test(start_paused = true)]
async fn transactions_that_take_too_long_are_made_void_so_often() {
    const KEY: &str = "transaction.abort.timed.out.transaction.cleanup.interval.ms";
    for (set, expected) in [
        (None, ["Ongoing", "Ongoing", "CompleteAbort"]),
        (Some((KEY, "500")), ["Ongoing", "CompleteAbort", "CompleteAbort"]),
    ] {
        let (fixture, mut client) = start(set.as_slice()).await;
        let producer = init(&mut client, ID, 2_000).await;
        assert_eq!(add(&mut client, &producer, &[0]).await, 0);
        for (pass_ms, expected) in [1_900, 2_000, 7_000].into_iter().zip(expected) {
            fixture.pass(pass_ms).await;
            assert_eq!(state(&mut client, ID).await.0, expected, "{set:?}");
        }
        let late = end(&mut client, 4, &producer, true).await;
        assert_eq!(late.error_code, ErrorCode::ProducerFenced.code());
    }
}

#[tokio::test(start_paused = true)]
async fn ids_that_nobody_uses_are_forgotten_after_so_long() {
    const AFTER: (&str, &str) = ("transactional.id.expiration.ms", "1000");
    const EVERY: (&str, &str) = (
        "transaction.remove.expired.transaction.cleanup.interval.ms",
        "2000",
    );
    let cases: [(Settings<'_>, _); 4] = [
        (&[], "Empty"),
        (&[AFTER], "Empty"),
        (&[EVERY], "Empty"),
        (&[AFTER, EVERY], "TRANSACTIONAL_ID_NOT_FOUND"),
    ];
    for (set, expected) in cases {
        let (fixture, mut client) = start(set).await;
        init(&mut client, ID, 60_000).await;
        let open = init(&mut client, "open", 60_000).await;
        assert_eq!(add(&mut client, &open, &[0]).await, 0);
        fixture.pass(5_000).await;
        assert_eq!(state(&mut client, ID).await.0, expected, "{set:?}");
        assert_eq!(state(&mut client, "open").await.0, "Ongoing");
    }
}

#[tokio::test(start_paused = true)]
async fn so_many_bytes_of_transactions_are_loaded_at_once() {
    let mut reads = Vec::new();
    for set in [None, Some(("transaction.state.log.load.buffer.size", "1000"))] {
        let (fixture, mut client) = start(set.as_slice()).await;
        for _ in 0..100 {
            init(&mut client, ID, 60_000).await;
        }
        drop(client);
        let mut again = vec![("transaction.state.log.num.partitions", "1")];
        again.extend(set);
        let fixture = fixture.restart(|_| {}, &again).await.unwrap();
        let path = "__transaction_state-0/00000000000000000000.log";
        let before = fixture.calls("Read", path);
        let mut client = fixture.connect();
        assert_eq!(next_state(&fixture, &mut client, ID, "").await, "Empty");
        reads.push(fixture.calls("Read", path) - before);
    }
    assert!(reads[1] > reads[0] + 5, "{reads:?}");
}
