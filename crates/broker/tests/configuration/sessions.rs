//! How fetch sessions end: with their last partition, as in Kafka, or because they ask for too much.

use klamm_model::ErrorCode;
use klamm_model::limits::MAX_FETCH_SESSION_PARTITIONS;
use klamm_protocol::messages::FetchRequest;
use klamm_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use tokio::io::AsyncWriteExt;

use super::client::{Client, frame};
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
