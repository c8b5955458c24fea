//! What takes part in transactions, where their ends are written, and how many at once.

use klamm_model::ErrorCode;
use klamm_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use klamm_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use klamm_protocol::messages::{AddPartitionsToTxnRequest, WriteTxnMarkersRequest};

use crate::transactions::{ID, Producer, add, end_2, hold, init, let_go, start, state};

#[tokio::test(start_paused = true)]
async fn nobody_adds_a_partition_that_only_coordinators_write_to() {
    let (_fixture, mut client) = start(&[]).await;
    let producer = init(&mut client, ID, 60_000).await;
    let expected = [
        ErrorCode::OperationNotAttempted.code(),
        ErrorCode::TopicAuthorizationFailed.code(),
        ErrorCode::UnknownTopicOrPartition.code(),
    ];
    let cases = [
        ("__consumer_offsets", 0..=3),
        ("__transaction_state", 0..=5),
        ("__share_group_state", 0..=5),
    ];
    for (internal, versions) in cases {
        let topics = ["t", internal, "u"].map(|name| AddPartitionsToTxnTopic {
            name: name.into(),
            partitions: vec![0],
            ..Default::default()
        });
        for version in versions {
            let request = match version {
                0..=3 => AddPartitionsToTxnRequest {
                    v3_and_below_transactional_id: ID.into(),
                    v3_and_below_producer_id: producer.id,
                    v3_and_below_producer_epoch: producer.epoch,
                    v3_and_below_topics: topics.clone().into(),
                    ..Default::default()
                },
                _ => AddPartitionsToTxnRequest {
                    transactions: vec![AddPartitionsToTxnTransaction {
                        transactional_id: ID.into(),
                        producer_id: producer.id,
                        producer_epoch: producer.epoch,
                        topics: topics.clone().into(),
                        ..Default::default()
                    }],
                    ..Default::default()
                },
            };
            let answer = client.ask(version, &request).await.unwrap();
            let batched = answer.results_by_transaction.iter();
            let results = batched.flat_map(|told| &told.topic_results);
            let results = results.chain(&answer.results_by_topic_v3_and_below);
            let codes = results.map(|topic| topic.results_by_partition[0].partition_error_code);
            assert_eq!(codes.collect::<Vec<_>>(), expected, "{internal} {version}");
        }
    }
    assert_eq!(state(&mut client, ID).await.0, "Empty");
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_cannot_end_is_seen_in_the_metrics() {
    let (fixture, mut client) = start(&[]).await;
    let mut producer = init(&mut client, ID, 60_000).await;
    let slow = async || {
        let page = fixture.node.observer().metrics().await;
        let name = "klamm_transactions_ending_slowly ";
        let line = page.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().to_owned()
    };
    assert_eq!(add(&mut client, &producer, &[0]).await, 0);
    hold(&fixture, "t");
    assert_eq!(end_2(&mut client, &mut producer, true).await, 0);
    for (seconds, expected) in [(50, "0"), (15, "1"), (600, "1")] {
        fixture.pass(1_000 * seconds).await;
        assert_eq!(slow().await, expected, "{seconds}");
    }
    let_go(&fixture);
    fixture.pass(6_000).await;
    assert_eq!(slow().await, "0");
}

#[tokio::test(start_paused = true)]
async fn the_markers_of_one_request_are_committed_together() {
    let (fixture, mut client) = start(&[]).await;
    let marker = |producer_id, epoch| WritableTxnMarker {
        producer_id,
        producer_epoch: epoch,
        topics: vec![WritableTxnMarkerTopic {
            name: "t".into(),
            partition_indexes: vec![0],
            ..Default::default()
        }],
        ..Default::default()
    };
    // The first makes the file.
    for (producers, most) in [(1, 10), (20, 2)] {
        let mut markers: Vec<_> = (0..producers).map(|id| marker(1_000 + id, 1)).collect();
        // Of one producer, in their order: the last is too late.
        markers.extend([marker(1_000, 2), marker(1_000, 1)]);
        let before = fixture.calls("SyncData", "t-0");
        let request = WriteTxnMarkersRequest {
            markers,
            ..Default::default()
        };
        let answer = client.ask(1, &request).await.unwrap();
        let told = answer.markers.iter().map(|told| {
            let code = told.topics[0].partitions[0].error_code;
            (told.producer_id, code)
        });
        let late = ErrorCode::InvalidProducerEpoch.code();
        let expected = (0..producers).map(|id| (1_000 + id, if id == 0 { late } else { 0 }));
        assert_eq!(told.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        let syncs = fixture.calls("SyncData", "t-0") - before;
        assert!(syncs <= most, "{syncs} for {producers}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_waits_for_its_markers_holds_up_no_other_of_the_request() {
    let (fixture, mut client) = start(&[]).await;
    let mut producer = init(&mut client, ID, 60_000).await;
    let other = init(&mut client, "other", 60_000).await;
    assert_eq!(add(&mut client, &producer, &[0]).await, 0);
    hold(&fixture, "t");
    assert_eq!(end_2(&mut client, &mut producer, true).await, 0);
    let part = |producer: &Producer| AddPartitionsToTxnTransaction {
        transactional_id: producer.transactional_id.clone().into(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        topics: vec![AddPartitionsToTxnTopic {
            name: "t".into(),
            partitions: vec![1],
            ..Default::default()
        }],
        ..Default::default()
    };
    let request = AddPartitionsToTxnRequest {
        transactions: vec![part(&producer), part(&other)],
        ..Default::default()
    };
    let mut asks = fixture.connect();
    let asked = asks.ask(5, &request);
    let looks = async {
        fixture.pass(1_000).await;
        state(&mut client, "other").await.0
    };
    let (answer, seen) = futures_util::future::join(asked, looks).await;
    assert_eq!(seen, "Ongoing");
    let results = answer.unwrap().results_by_transaction;
    let told = results.iter().map(|told| {
        let code = told.topic_results[0].results_by_partition[0].partition_error_code;
        (&*told.transactional_id, code)
    });
    let expected = [(ID, ErrorCode::ConcurrentTransactions.code()), ("other", 0)];
    assert_eq!(told.collect::<Vec<_>>(), expected);
}
