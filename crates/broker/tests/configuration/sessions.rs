//! What fetch sessions tell, and how they end: with their last partition, as in Kafka, or because they ask for too much.

use klamm_env::sim::{Fault, Operation};
use klamm_model::ErrorCode;
use klamm_model::limits::MAX_FETCH_SESSION_PARTITIONS;
use klamm_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use klamm_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use klamm_protocol::messages::{DeleteRecordsRequest, DeleteTopicsRequest, FetchRequest};
use tokio::io::AsyncWriteExt;

use super::client::{Client, batch, frame};
use super::fixture::Fixture;

/// A fetch of these partitions of `t`, most of which there are not.
fn request((session_id, session_epoch): (i32, i32), partitions: std::ops::Range<i32>) -> FetchRequest {
    let partition = |partition| FetchPartition {
        partition,
        ..Default::default()
    };
    let topic = FetchTopic {
        topic: "t".into(),
        partitions: partitions.map(partition).collect(),
        ..Default::default()
    };
    FetchRequest {
        session_id,
        session_epoch,
        max_wait_ms: 0,
        topics: if topic.partitions.is_empty() {
            Vec::new()
        } else {
            vec![topic]
        },
        ..Client::fetch_request(0)
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_with_its_last_partition() {
    let fixture = Fixture::start(&[("max.incremental.fetch.session.cache.slots", "1")]).await;
    let mut client = fixture.connect();
    client.create("t", 1, &[]).await;
    let forget = |request: FetchRequest, partition| FetchRequest {
        forgotten_topics_data: vec![ForgottenTopic {
            topic: "t".into(),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..request
    };
    let begun = client.ask(11, &request((0, 0), 0..2)).await.unwrap();
    let id = begun.session_id;
    // (request, error, session, topics answered), as a Kafka 4.4 answered them.
    let steps = [
        (forget(request((id, 1), 0..0), 1), ErrorCode::None, id, 0),
        (forget(request((id, 2), 0..1), 0), ErrorCode::None, 0, 1),
        (request((id, 3), 0..1), ErrorCode::FetchSessionIdNotFound, 0, 0),
    ];
    for (request, error, session, topics) in steps {
        let answer = client.ask(11, &request).await.unwrap();
        let found = (answer.error_code, answer.session_id, answer.responses.len());
        assert_eq!(found, (error.code(), session, topics), "{request:?}");
    }
    let next = client.ask(11, &request((0, 0), 0..1)).await.unwrap();
    assert!(next.session_id != 0, "its slot is free");
}

/// The error code and the session id of the answer, which may be longer than a client would decode.
async fn head(client: &mut Client, request: &FetchRequest) -> (i16, i32) {
    client.stream.write_all(&frame(12, request)).await.unwrap();
    let answer = client.receive().await.unwrap();
    // Behind the correlation id, the header's tagged fields and the throttle time.
    let code = i16::from_be_bytes(answer[9..11].try_into().unwrap());
    (code, i32::from_be_bytes(answer[11..15].try_into().unwrap()))
}

#[tokio::test(start_paused = true)]
async fn a_session_that_grows_beyond_bounds_ends_and_its_client_is_served_without() {
    let fixture = Fixture::start(&[]).await;
    let mut client = fixture.connect();
    client.create("t", 1, &[]).await;
    let half = MAX_FETCH_SESSION_PARTITIONS as i32 / 2;
    let (code, id) = head(&mut client, &request((0, 0), 0..half)).await;
    assert!(code == 0 && id != 0);
    let grown = head(&mut client, &request((id, 1), half..2 * half)).await;
    assert_eq!(grown, (0, id));
    let over = head(&mut client, &request((id, 2), 2 * half..2 * half + 1)).await;
    assert_eq!(over, (ErrorCode::FetchSessionIdNotFound.code(), 0));
    let whole = head(&mut client, &request((0, 0), 0..2 * half + 1)).await;
    assert_eq!(whole, (0, 0), "answered without a session");
}

/// Asks for what is new in a session; `moved` are partitions that are asked for from elsewhere. (Partition, error, high
/// watermark, start of the log, whether there are records) of those in the answer.
async fn news(
    client: &mut Client,
    session: (i32, i32),
    moved: &[(i32, i64)],
    max_wait_ms: i32,
) -> Vec<(i32, i16, i64, i64, bool)> {
    let partition = |(partition, fetch_offset): &(i32, i64)| FetchPartition {
        partition: *partition,
        fetch_offset: *fetch_offset,
        partition_max_bytes: i32::MAX,
        ..Default::default()
    };
    let mut request = request(session, 0..i32::from(!moved.is_empty()));
    request.max_wait_ms = max_wait_ms;
    if let Some(topic) = request.topics.first_mut() {
        topic.partitions = moved.iter().map(partition).collect();
    }
    let answer = client.ask(11, &request).await.unwrap();
    assert_eq!((answer.error_code, answer.session_id), (0, session.0));
    let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
    let mut news: Vec<_> = partitions
        .map(|told| {
            (
                told.partition_index,
                told.error_code,
                told.high_watermark,
                told.log_start_offset,
                !told.records.is_empty(),
            )
        })
        .collect();
    news.sort_unstable();
    news
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_partitions_were_quiet_hears_what_happens_to_them() {
    let fixture = Fixture::start(&[]).await;
    let (mut client, mut other) = (fixture.connect(), fixture.connect());
    client.create("t", 3, &[]).await;
    let begun = client.ask(11, &request((0, 0), 0..3)).await.unwrap();
    assert_eq!(begun.responses[0].partitions.len(), 3);
    let mut epochs = (1..).map(|epoch| (begun.session_id, epoch));
    let mut next = || epochs.next().unwrap();
    let nothing = [];
    assert_eq!(news(&mut client, next(), &[], 0).await, nothing);

    assert_eq!(other.produce_to("t", 1, batch(1, 10)).await.error_code, 0);
    let found = news(&mut client, next(), &[], 0).await;
    assert_eq!(found, [(1, 0, 1, 0, true)]);
    let again = news(&mut client, next(), &[], 0).await;
    assert_eq!(again, found, "until it is asked for from behind");
    assert_eq!(news(&mut client, next(), &[(1, 1)], 0).await, nothing);
    assert_eq!(news(&mut client, next(), &[], 0).await, nothing);
    assert_eq!(news(&mut client, next(), &[(1, 0)], 0).await, found);
    assert_eq!(news(&mut client, next(), &[(1, 1)], 0).await, nothing);

    let start = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: "t".into(),
            partitions: vec![DeleteRecordsPartition {
                partition_index: 1,
                offset: 1,
                ..Default::default()
            }],
            ..Default::default()
        }],
        timeout_ms: 1_000,
        ..Default::default()
    };
    assert_eq!(
        other.ask(2, &start).await.unwrap().topics[0].partitions[0].error_code,
        0
    );
    assert_eq!(news(&mut client, next(), &[], 0).await, [(1, 0, 1, 1, false)]);
    assert_eq!(news(&mut client, next(), &[], 0).await, nothing);

    let hour = 3_600_000;
    let began = tokio::time::Instant::now();
    let produce = async {
        fixture.pass(10).await;
        other.produce_to("t", 2, batch(1, 10)).await
    };
    let (found, _) = tokio::join!(news(&mut client, next(), &[], hour), produce);
    assert_eq!(found, [(2, 0, 1, 0, true)]);
    assert_eq!(news(&mut client, next(), &[(2, 1)], 0).await, nothing);

    let delete = async {
        fixture.pass(10).await;
        let request = DeleteTopicsRequest {
            topic_names: vec!["t".into()],
            timeout_ms: 1_000,
            ..Default::default()
        };
        other.ask(5, &request).await.unwrap()
    };
    let (found, _) = tokio::join!(news(&mut client, next(), &[], hour), delete);
    let gone = ErrorCode::UnknownTopicOrPartition.code();
    assert!(
        found.iter().all(|told| told.1 != 0) && !found.is_empty(),
        "{found:?}"
    );
    assert!(began.elapsed().as_secs() < 60, "both waits ended early");
    fixture.pass(1_000).await;
    let told: Vec<_> = news(&mut client, next(), &[], 0)
        .await
        .iter()
        .map(|told| (told.0, told.1))
        .collect();
    assert_eq!(told, [(0, gone), (1, gone), (2, gone)]);
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_partitions_were_quiet_hears_that_their_log_dir_failed() {
    let fixture = Fixture::start(&[("log.dirs", "/one,/two")]).await;
    let (mut client, mut other) = (fixture.connect(), fixture.connect());
    client.create("t", 6, &[]).await;
    let begun = client.ask(11, &request((0, 0), 0..6)).await.unwrap();
    assert_eq!(begun.responses[0].partitions.len(), 6);
    let session = |epoch| (begun.session_id, epoch);
    assert_eq!(news(&mut client, session(1), &[], 0).await, []);

    let of_two = fixture.names_in("/two");
    let of_two = of_two
        .iter()
        .filter_map(|name| name.strip_prefix("t-")?.parse().ok());
    let mut of_two: Vec<i32> = of_two.collect();
    of_two.sort_unstable();
    assert!(of_two.len() > 1, "{of_two:?}");
    fixture.inject(Fault::always(Operation::Write).on("/two/t-"));
    let began = tokio::time::Instant::now();
    let produce = async {
        fixture.pass(10).await;
        other.produce_to("t", of_two[0], batch(1, 10)).await
    };
    let (found, written) = tokio::join!(news(&mut client, session(2), &[], 3_600_000), produce);
    let failed = ErrorCode::KafkaStorageError.code();
    assert_eq!(written.error_code, failed);
    assert!(began.elapsed().as_secs() < 60, "the wait ended early");
    let mut told: Vec<_> = found.iter().map(|told| (told.0, told.1)).collect();
    let more = news(&mut client, session(3), &[], 0).await;
    told.extend(more.iter().map(|told| (told.0, told.1)));
    told.sort_unstable();
    told.dedup();
    let expected: Vec<_> = of_two.iter().map(|index| (*index, failed)).collect();
    assert_eq!(told, expected);
}
