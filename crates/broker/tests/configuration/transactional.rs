//! Transactions as their clients see them: what the producer is told, what readers of committed records see, before and after a
//! crash; and what an operator can do about one that hangs.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::FutureExt;
use klamm_env::sim::CrashMode;
use klamm_model::{ErrorCode, Offset, ProducerEpoch, ProducerId, TimestampMs};
use klamm_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use klamm_protocol::messages::describe_producers_request::TopicRequest;
use klamm_protocol::messages::fetch_response::{AbortedTransaction, PartitionData};
use klamm_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use klamm_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use klamm_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use klamm_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use klamm_protocol::messages::{
    AddPartitionsToTxnRequest, DescribeProducersRequest, EndTxnRequest, FindCoordinatorRequest,
    InitProducerIdRequest, ListOffsetsRequest, OffsetFetchRequest, TxnOffsetCommitRequest,
    WriteTxnMarkersRequest,
};
use klamm_records::{BatchBuilder, Batches};

use crate::client::{Client, bytes_of};
use crate::fixture::{Fixture, Settings};
use crate::groups;

/// A producer with a transactional id, in one of its incarnations.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Producer {
    name: &'static str,
    id: i64,
    epoch: i16,
    /// Whether it speaks version 2: then each transaction has another epoch, and partitions take part by being written to.
    is_new: bool,
}

/// A node with a topic `t` of three partitions, and coordinators of groups and transactions.
async fn start(set: Settings<'_>) -> (Fixture, Client) {
    let mut all = vec![("transaction.state.log.num.partitions", "1")];
    all.extend(set);
    let fixture = groups::start(&all).await;
    let mut client = fixture.connect();
    let request = FindCoordinatorRequest {
        key_type: 1,
        coordinator_keys: vec!["any".into()],
        ..Default::default()
    };
    let answer = client.ask(6, &request).await.unwrap();
    assert_eq!(answer.coordinators[0].error_code, 0);
    (fixture, client)
}

impl Producer {
    /// Begins an incarnation, once the coordinator has loaded what there was.
    async fn begin(fixture: &Fixture, client: &mut Client, name: &'static str, is_new: bool) -> Self {
        let request = InitProducerIdRequest {
            transactional_id: Some(name.into()),
            transaction_timeout_ms: 60_000,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        loop {
            let answer = client.ask(4, &request).await.unwrap();
            if answer.error_code == 0 {
                let (id, epoch) = (answer.producer_id, answer.producer_epoch);
                return Self {
                    name,
                    id,
                    epoch,
                    is_new,
                };
            }
            fixture.pass(20).await;
        }
    }

    fn batch(&self, sequence: i32, value: &str) -> Bytes {
        let builder = BatchBuilder::default();
        let builder = builder.producer(ProducerId(self.id), ProducerEpoch(self.epoch), Some(sequence));
        let mut builder = builder.transactional();
        builder.append(TimestampMs(1_700_000_000_000), None, Some(value.as_bytes()), &[]);
        builder.build(Offset(0)).unwrap()
    }

    /// Writes a record to a partition of `t`, in this version; the error code.
    async fn write_in(
        &self,
        version: i16,
        client: &mut Client,
        (index, sequence): (i32, i32),
        value: &str,
    ) -> i16 {
        let mut request = Client::produce_request("t", index, self.batch(sequence, value));
        request.transactional_id = Some(self.name.into());
        let mut answer = client.ask(version, &request).await.unwrap();
        answer
            .responses
            .remove(0)
            .partition_responses
            .remove(0)
            .error_code
    }

    async fn write(&self, client: &mut Client, place: (i32, i32), value: &str) -> i16 {
        let version = if self.is_new { 12 } else { 11 };
        self.write_in(version, client, place, value).await
    }

    /// Says that partitions of a topic take part, as clients before version 2 do.
    async fn add(&self, client: &mut Client, topic: &'static str, partitions: &[i32]) -> i16 {
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.name.into(),
            v3_and_below_producer_id: self.id,
            v3_and_below_producer_epoch: self.epoch,
            v3_and_below_topics: vec![AddPartitionsToTxnTopic {
                name: topic.into(),
                partitions: partitions.to_vec(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let answer = client.ask(3, &request).await.unwrap();
        answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
    }

    /// Commits the first offset of `t` for the group `g`; the error code.
    async fn commit_offset(&self, client: &mut Client, offset: i64) -> i16 {
        let request = TxnOffsetCommitRequest {
            transactional_id: self.name.into(),
            group_id: "g".into(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            generation_id_or_member_epoch: -1,
            topics: vec![TxnOffsetCommitRequestTopic {
                name: "t".into(),
                partitions: vec![TxnOffsetCommitRequestPartition {
                    committed_offset: offset,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let version = if self.is_new { 5 } else { 4 };
        let answer = client.ask(version, &request).await.unwrap();
        answer.topics[0].partitions[0].error_code
    }

    /// Ends the transaction; the error code.
    async fn end(&mut self, client: &mut Client, committed: bool) -> i16 {
        let request = EndTxnRequest {
            transactional_id: self.name.into(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            committed,
            ..Default::default()
        };
        let version = if self.is_new { 5 } else { 4 };
        let answer = client.ask(version, &request).await.unwrap();
        if self.is_new && answer.error_code == 0 {
            (self.id, self.epoch) = (answer.producer_id, answer.producer_epoch);
        }
        answer.error_code
    }
}

/// Fetches a partition of `t` as a reader of committed records, who waits for so long.
async fn fetch(client: &mut Client, index: i32, offset: i64, max_wait_ms: i32) -> PartitionData {
    let mut request = Client::fetch_request(offset);
    request.isolation_level = 1;
    request.max_wait_ms = max_wait_ms;
    request.topics[0].partitions[0].partition = index;
    let mut answer = client.ask(12, &request).await.unwrap();
    let data = answer.responses.remove(0).partitions.remove(0);
    assert_eq!(data.error_code, 0);
    assert!(data.last_stable_offset <= data.high_watermark);
    data
}

/// What such a reader makes of a partition: the values, without those of aborted transactions; and where it stands then.
async fn read(client: &mut Client, index: i32) -> (Vec<String>, i64) {
    let (mut values, mut offset) = (Vec::new(), 0);
    loop {
        let data = fetch(client, index, offset, 0).await;
        let bytes = bytes_of(&data);
        if bytes.is_empty() {
            return (values, offset);
        }
        let mut aborted = data.aborted_transactions.unwrap();
        aborted.sort_by_key(|aborted| aborted.first_offset);
        let mut left_out = BTreeSet::new();
        for batch in Batches::new(bytes) {
            let batch = batch.unwrap();
            let header = *batch.header();
            let producer = header.producer_id;
            let is_begun = |aborted: &AbortedTransaction| aborted.first_offset <= header.last_offset().0;
            let begun = aborted.iter().filter(|aborted| is_begun(aborted));
            left_out.extend(begun.map(|aborted| aborted.producer_id));
            aborted.retain(|aborted| !is_begun(aborted));
            offset = header.next_offset().0;
            assert!(offset <= data.last_stable_offset);
            if header.is_control() {
                left_out.remove(&producer);
                continue;
            }
            for record in batch.records(1 << 20).unwrap() {
                let record = record.unwrap();
                if record.offset.0 >= 0 && !(header.is_transactional() && left_out.contains(&producer)) {
                    values.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
                }
            }
        }
    }
}

/// The latest offset that a reader may see.
async fn latest(client: &mut Client, isolation_level: i8) -> i64 {
    let request = ListOffsetsRequest {
        replica_id: -1,
        isolation_level,
        topics: vec![ListOffsetsTopic {
            name: "t".into(),
            partitions: vec![ListOffsetsPartition {
                timestamp: -1,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer = client.ask(7, &request).await.unwrap();
    answer.topics[0].partitions[0].offset
}

/// The offset that `g` has committed, if nothing can still change it; the error code else.
async fn stable_offset(client: &mut Client) -> Result<i64, i16> {
    let request = OffsetFetchRequest {
        require_stable: true,
        groups: vec![OffsetFetchRequestGroup {
            group_id: "g".into(),
            topics: Some(vec![OffsetFetchRequestTopics {
                name: "t".into(),
                partition_indexes: vec![0],
                ..Default::default()
            }]),
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer = client.ask(8, &request).await.unwrap();
    let group = &answer.groups[0];
    assert_eq!(group.error_code, 0);
    let told = &group.topics[0].partitions[0];
    match told.error_code {
        0 => Ok(told.committed_offset),
        code => Err(code),
    }
}

/// Ends the transaction of a producer in the first partition of `t`, as an operator does.
async fn mark(client: &mut Client, version: i16, marker: WritableTxnMarker) -> i16 {
    let request = WriteTxnMarkersRequest {
        markers: vec![marker],
        ..Default::default()
    };
    let answer = client.ask(version, &request).await.unwrap();
    answer.markers[0].topics[0].partitions[0].error_code
}

fn marker(topic: &'static str, id: i64, epoch: i16, coordinator_epoch: i32) -> WritableTxnMarker {
    WritableTxnMarker {
        producer_id: id,
        producer_epoch: epoch,
        transaction_result: false,
        topics: vec![WritableTxnMarkerTopic {
            name: topic.into(),
            partition_indexes: vec![0],
            ..Default::default()
        }],
        coordinator_epoch,
        transaction_version: 1,
        ..Default::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_transaction_is_seen_as_a_whole_once_it_is_committed() {
    for is_new in [false, true] {
        let (fixture, mut client) = start(&[]).await;
        let mut producer = Producer::begin(&fixture, &mut client, "one", is_new).await;
        if !is_new {
            assert_eq!(producer.add(&mut client, "t", &[0, 1]).await, 0);
        }
        assert_eq!(producer.write(&mut client, (0, 0), "a").await, 0);
        assert_eq!(producer.write(&mut client, (0, 1), "b").await, 0);
        assert_eq!(producer.write(&mut client, (1, 0), "c").await, 0);
        assert_eq!(read(&mut client, 0).await, (vec![], 0));
        assert_eq!(
            (latest(&mut client, 0).await, latest(&mut client, 1).await),
            (2, 0)
        );
        // Who waits for committed records is not told of others.
        let mut reader = fixture.connect();
        let mut waiting = Box::pin(fetch(&mut reader, 0, 0, 60_000));
        assert!(waiting.as_mut().now_or_never().is_none());
        fixture.pass(10).await;
        assert!(waiting.as_mut().now_or_never().is_none());
        assert_eq!(producer.end(&mut client, true).await, 0);
        let woken = waiting.await;
        assert_eq!(
            (woken.last_stable_offset, woken.aborted_transactions),
            (3, Some(vec![]))
        );
        assert_eq!(read(&mut client, 0).await, (vec!["a".into(), "b".into()], 3));
        assert_eq!(read(&mut client, 1).await, (vec!["c".into()], 2));
        assert_eq!(latest(&mut client, 1).await, 3);
    }
}

#[tokio::test(start_paused = true)]
async fn one_transaction_after_the_other_sees_no_concurrent_one() {
    let (fixture, mut client) = start(&[]).await;
    let mut producer = Producer::begin(&fixture, &mut client, "one", true).await;
    let mut expected = Vec::new();
    for number in 0..50 {
        let value = number.to_string();
        assert_eq!(producer.write(&mut client, (0, 0), &value).await, 0, "{number}");
        assert_eq!(producer.commit_offset(&mut client, number).await, 0, "{number}");
        let commits = number % 3 != 0;
        assert_eq!(producer.end(&mut client, commits).await, 0, "{number}");
        if commits {
            expected.push(value);
        }
    }
    fixture.pass(100).await;
    assert_eq!(read(&mut client, 0).await, (expected, 100));
    assert_eq!(stable_offset(&mut client).await, Ok(49));
}

#[tokio::test(start_paused = true)]
async fn what_was_aborted_stays_so_over_segments_and_crashes() {
    for (set, crash) in [
        (None, None),
        (None, Some(CrashMode::DropUnsynced)),
        (None, Some(CrashMode::KeepPageCache)),
        (
            Some(("klamm.durability", "page-cache")),
            Some(CrashMode::KeepPageCache),
        ),
    ] {
        let (fixture, mut client) = start(set.as_slice()).await;
        client.set(2, "t", "segment.bytes", "1048576").await;
        let mut one = Producer::begin(&fixture, &mut client, "one", true).await;
        let mut open = Producer::begin(&fixture, &mut client, "open", true).await;
        let mut expected = Vec::new();
        // Some segments full.
        let filler = "x".repeat(200_000);
        for number in 0..24 {
            let value = format!("{number} {filler}");
            assert_eq!(one.write(&mut client, (0, 0), &value).await, 0);
            let commits = number % 2 == 0;
            assert_eq!(one.end(&mut client, commits).await, 0);
            if commits {
                expected.push(value);
            }
            if number == 19 {
                assert_eq!(open.write(&mut client, (0, 0), "pending").await, 0);
                assert_eq!(open.commit_offset(&mut client, 7).await, 0);
            }
        }
        fixture.pass(100).await;
        assert!(fixture.count("t-0", ".log") >= 3);
        expected.truncate(10);
        let before = read(&mut client, 0).await;
        assert_eq!(before, (expected.clone(), 40));

        let fixture = match crash {
            None => fixture.restart(|_| {}, set.as_slice()).await.unwrap(),
            Some(mode) => {
                fixture.disk().crash(mode);
                fixture.start_again(set.as_slice()).await
            }
        };
        let mut client = fixture.connect();
        assert_eq!(read(&mut client, 0).await, before, "{crash:?}");
        while stable_offset(&mut client).await == Err(ErrorCode::CoordinatorLoadInProgress.code()) {
            fixture.pass(10).await;
        }
        // The coordinator knows the transaction too.
        let unstable = Err(ErrorCode::UnstableOffsetCommit.code());
        assert_eq!(stable_offset(&mut client).await, unstable);
        while open.end(&mut client, true).await != 0 {
            fixture.pass(20).await;
        }
        fixture.pass(100).await;
        expected.push("pending".into());
        let rest = [20, 22].map(|number| format!("{number} {filler}"));
        expected.extend(rest);
        assert_eq!(read(&mut client, 0).await, (expected, 50), "{crash:?}");
        assert_eq!(stable_offset(&mut client).await, Ok(7));
    }
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_may_not_write_is_told_why_and_changes_nothing() {
    use ErrorCode::{
        InvalidProducerEpoch, InvalidProducerIdMapping, InvalidTxnState, OutOfOrderSequenceNumber,
        TransactionAbortable, TransactionalIdAuthorizationFailed,
    };
    let (fixture, mut client) = start(&[]).await;
    let zombie = Producer::begin(&fixture, &mut client, "one", false).await;
    let current = Producer::begin(&fixture, &mut client, "one", false).await;
    let stranger = Producer {
        name: "nobody",
        ..current.clone()
    };
    let other = Producer {
        id: current.id + 1_000_000,
        ..current.clone()
    };
    for (who, version, sequence, expected) in [
        (&current, 9, 0, InvalidTxnState),
        (&current, 11, 0, TransactionAbortable),
        (&zombie, 11, 0, InvalidProducerEpoch),
        (&zombie, 12, 0, InvalidProducerEpoch),
        (&stranger, 11, 0, InvalidProducerIdMapping),
        (&stranger, 12, 0, InvalidProducerIdMapping),
        (&other, 11, 0, InvalidProducerIdMapping),
        // A client of version 2 begins each transaction with the first number.
        (&current, 12, 1, OutOfOrderSequenceNumber),
    ] {
        let code = who.write_in(version, &mut client, (0, sequence), "v").await;
        assert_eq!(code, expected.code(), "{who:?} {version}");
    }
    let mut without_id = Client::produce_request("t", 0, current.batch(0, "v"));
    without_id.transactional_id = None;
    let answer = client.ask(11, &without_id).await.unwrap();
    let code = answer.responses[0].partition_responses[0].error_code;
    assert_eq!(code, TransactionalIdAuthorizationFailed.code());
    assert_eq!(
        zombie.commit_offset(&mut client, 1).await,
        InvalidProducerEpoch.code()
    );
    assert_eq!(
        current.commit_offset(&mut client, 1).await,
        TransactionAbortable.code()
    );
    assert_eq!(latest(&mut client, 0).await, 0);
    // None of them has taken anything from who may.
    assert_eq!(current.write_in(12, &mut client, (0, 0), "v").await, 0);
    assert_eq!(latest(&mut client, 0).await, 1);
}

#[tokio::test(start_paused = true)]
async fn two_producers_in_one_request_refuse_it() {
    let (fixture, mut client) = start(&[]).await;
    let one = Producer::begin(&fixture, &mut client, "one", true).await;
    let two = Producer::begin(&fixture, &mut client, "two", true).await;
    let mut request = Client::produce_request("t", 0, one.batch(0, "v"));
    request.transactional_id = Some("one".into());
    let more = Client::produce_request("t", 1, two.batch(0, "v"));
    let more = more.topic_data[0].partition_data[0].clone();
    request.topic_data[0].partition_data.push(more);
    let answer = client.ask(12, &request).await.unwrap();
    for partition in &answer.responses[0].partition_responses {
        assert_eq!(partition.error_code, ErrorCode::InvalidProducerIdMapping.code());
    }
    assert_eq!(latest(&mut client, 0).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_hangs_is_found_and_can_be_ended() {
    let set = [("transaction.max.timeout.ms", "60000")];
    let (fixture, mut client) = start(&set).await;
    let producer = Producer::begin(&fixture, &mut client, "one", true).await;
    assert_eq!(producer.write(&mut client, (0, 0), "v").await, 0);
    // Nobody's timer runs.
    fixture.jump(7 * 60_000);
    let describe = DescribeProducersRequest {
        topics: vec![TopicRequest {
            name: "t".into(),
            partition_indexes: vec![0],
            ..Default::default()
        }],
        ..Default::default()
    };
    let told = client.ask(0, &describe).await.unwrap();
    let told = &told.topics[0].partitions[0].active_producers[0];
    assert_eq!(
        (told.producer_id, told.current_txn_start_offset),
        (producer.id, 0)
    );
    assert_eq!((told.last_sequence, told.coordinator_epoch), (0, -1));

    let page = fixture.node.observer().metrics().await;
    assert!(
        page.contains("klamm_partitions_with_hung_transaction 1"),
        "{page}"
    );
    let id = producer.id;
    let line =
        format!("klamm_hung_transaction_silence_seconds{{topic=\"t\",partition=\"0\",producer_id=\"{id}\"}}");
    assert!(page.contains(&line), "{page}");

    let epoch = producer.epoch;
    assert_eq!(mark(&mut client, 1, marker("t", producer.id, epoch, 0)).await, 0);
    assert_eq!(read(&mut client, 0).await, (vec![], 2));
    let told = client.ask(0, &describe).await.unwrap();
    let told = &told.topics[0].partitions[0].active_producers[0];
    assert_eq!((told.current_txn_start_offset, told.coordinator_epoch), (-1, 0));
    let page = fixture.node.observer().metrics().await;
    assert!(
        page.contains("klamm_partitions_with_hung_transaction 0"),
        "{page}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_late_marker_is_refused_and_changes_nothing() {
    use ErrorCode::{
        InvalidProducerEpoch, InvalidTopicException, None as Fine, TransactionCoordinatorFenced,
        UnknownServerError, UnknownTopicOrPartition,
    };
    let (fixture, mut client) = start(&[]).await;
    let producer = Producer::begin(&fixture, &mut client, "one", true).await;
    assert_eq!(producer.write(&mut client, (0, 0), "v").await, 0);
    assert_eq!(producer.commit_offset(&mut client, 3).await, 0);
    let (id, epoch) = (producer.id, producer.epoch);
    let of_version_2 = |marker| WritableTxnMarker {
        transaction_version: 2,
        ..marker
    };
    for topic in ["t", "__consumer_offsets"] {
        // Under version 2 a marker is of a later epoch than the records.
        for (version, marker, expected) in [
            (2, of_version_2(marker(topic, id, epoch, 5)), InvalidProducerEpoch),
            (2, of_version_2(marker(topic, id, epoch + 1, 5)), Fine),
            (
                2,
                of_version_2(marker(topic, id, epoch + 1, 4)),
                TransactionCoordinatorFenced,
            ),
            // The same again.
            (2, of_version_2(marker(topic, id, epoch + 1, 5)), Fine),
            (1, marker(topic, id, epoch, 6), InvalidProducerEpoch),
        ] {
            let told = mark(&mut client, version, marker.clone()).await;
            assert_eq!(told, expected.code(), "{topic} {marker:?}");
        }
    }
    for (marker, expected) in [
        (marker("missing", id, epoch, 5), UnknownTopicOrPartition),
        (marker("__transaction_state", id, epoch, 5), InvalidTopicException),
        (marker("t", -1, 0, 5), UnknownServerError),
        (marker("t", id, -1, 5), UnknownServerError),
    ] {
        assert_eq!(mark(&mut client, 1, marker).await, expected.code());
    }
    assert_eq!(
        stable_offset(&mut client).await,
        Ok(-1),
        "what was pending is void"
    );
    assert_eq!(read(&mut client, 0).await, (vec![], 3));
}
