//! Partitions that move between the log dirs of a node while they are written to.

use std::path::Path;

use klamm_env::Files;
use klamm_env::sim::{Fault, Operation};
use klamm_model::ErrorCode;
use klamm_protocol::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use klamm_protocol::messages::{AlterReplicaLogDirsRequest, DescribeLogDirsRequest};

use crate::client::{Client, batch, batch_count, bytes_of};
use crate::fixture::{Fixture, Settings};

const THREE: Settings<'_> = &[("log.dirs", "/one,/two,/three")];
/// So slow that a move of some kilobytes takes seconds.
const LIMIT: (&str, &str) = ("replica.alter.log.dirs.io.max.bytes.per.second", "1000");

async fn alter(client: &mut Client, topic: &str, index: i32, path: &str) -> ErrorCode {
    let request = AlterReplicaLogDirsRequest {
        dirs: vec![AlterReplicaLogDir {
            path: path.into(),
            topics: vec![AlterReplicaLogDirTopic {
                name: topic.into(),
                partitions: vec![index],
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let response = client.ask(2, &request).await.unwrap();
    let code = response.results[0].partitions[0].error_code;
    ErrorCode::from_code(code).unwrap()
}

fn everything() -> DescribeLogDirsRequest {
    DescribeLogDirsRequest {
        topics: None,
        ..Default::default()
    }
}

/// Where `t-0` is, and where its copy is and what that lacks.
async fn places(client: &mut Client) -> (Vec<String>, Vec<(String, i64)>) {
    let response = client.ask(5, &everything()).await.unwrap();
    let (mut current, mut copies) = (Vec::new(), Vec::new());
    for dir in &response.results {
        for topic in dir.topics.iter().filter(|topic| &*topic.name == "t") {
            for partition in topic.partitions.iter().filter(|one| one.partition_index == 0) {
                match partition.is_future_key {
                    true => copies.push((dir.log_dir.to_string(), partition.offset_lag)),
                    false => current.push(dir.log_dir.to_string()),
                }
            }
        }
    }
    (current, copies)
}

/// A node with `t-0` in the first of three log dirs, with five records of 1,000 bytes, where moving is slow.
async fn start() -> (Fixture, Client) {
    let fixture = Fixture::start(THREE).await;
    let mut client = fixture.connect();
    client.create("t", 1, &[]).await;
    client.set(4, "", LIMIT.0, LIMIT.1).await;
    for _ in 0..5 {
        client.produce(batch(fixture.now(), 1_000)).await;
    }
    assert_eq!(places(&mut client).await, (vec!["/one".to_owned()], vec![]));
    (fixture, client)
}

fn folders(fixture: &Fixture, path: &str) -> Vec<String> {
    let mut names = fixture.names_in(path);
    names.retain(|name| name.starts_with("t-") || name.starts_with("future"));
    names
}

#[tokio::test(start_paused = true)]
async fn a_partition_moves_while_it_is_written_to() {
    let (fixture, mut client) = start().await;
    assert_eq!(alter(&mut client, "t", 0, "/two").await, ErrorCode::None);
    fixture.pass(1_000).await;
    client.produce(batch(fixture.now(), 1_000)).await;
    let one = || vec!["/one".to_owned()];
    assert_eq!(places(&mut client).await, (one(), vec![("/two".to_owned(), 1)]));
    assert_eq!(
        alter(&mut client, "t", 0, "/two").await,
        ErrorCode::None,
        "it is under way"
    );
    // Some more, at each step of the way.
    for _ in 0..20 {
        fixture.pass(1_000).await;
        client.produce(batch(fixture.now(), 10)).await;
    }
    assert_eq!(places(&mut client).await, (vec!["/two".to_owned()], vec![]));
    assert_eq!(batch_count(bytes_of(&client.fetch(0).await)), 26);
    fixture.pass(61_000).await;
    assert!(folders(&fixture, "/one").is_empty(), "what was left is removed");
    assert_eq!(folders(&fixture, "/two"), ["t-0"]);

    // The cluster knows it: the other log dirs are not missed.
    let only: Settings<'_> = &[("log.dirs", "/two"), ("metadata.log.dir", "/one")];
    let fixture = fixture.restart(|_| {}, only).await.unwrap();
    let mut client = fixture.connect();
    client.produce(batch(fixture.now(), 10)).await;
    assert_eq!(batch_count(bytes_of(&client.fetch(0).await)), 27);
}

#[tokio::test(start_paused = true)]
async fn a_move_goes_on_after_a_crash() {
    let (fixture, mut client) = start().await;
    assert_eq!(alter(&mut client, "t", 0, "/two").await, ErrorCode::None);
    fixture.pass(1_000).await;
    client.produce(batch(fixture.now(), 1_000)).await;
    let copy = vec![("/two".to_owned(), 1)];
    assert_eq!(places(&mut client).await, (vec!["/one".to_owned()], copy));
    let fixture = fixture.start_again(THREE).await;
    let mut client = fixture.connect();
    fixture.pass(20_000).await;
    assert_eq!(places(&mut client).await, (vec!["/two".to_owned()], vec![]));
    assert_eq!(batch_count(bytes_of(&client.fetch(0).await)), 6);
    client.produce(batch(fixture.now(), 10)).await;
}

#[tokio::test(start_paused = true)]
async fn a_move_is_taken_back_or_changed() {
    let (fixture, mut client) = start().await;
    assert_eq!(alter(&mut client, "t", 0, "/two").await, ErrorCode::None);
    fixture.pass(100).await;
    assert_eq!(alter(&mut client, "t", 0, "/three").await, ErrorCode::None);
    fixture.pass(100).await;
    let (_, copies) = places(&mut client).await;
    assert_eq!(copies[0].0, "/three");
    assert!(folders(&fixture, "/two").is_empty());
    assert_eq!(alter(&mut client, "t", 0, "/one").await, ErrorCode::None);
    assert_eq!(places(&mut client).await, (vec!["/one".to_owned()], vec![]));
    assert!(folders(&fixture, "/three").is_empty());
    fixture.pass(20_000).await;
    assert_eq!(places(&mut client).await, (vec!["/one".to_owned()], vec![]));
    client.produce(batch(fixture.now(), 10)).await;
    assert_eq!(batch_count(bytes_of(&client.fetch(0).await)), 6);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_deleted_on_its_way_leaves_nothing() {
    let (fixture, mut client) = start().await;
    assert_eq!(alter(&mut client, "t", 0, "/two").await, ErrorCode::None);
    fixture.pass(100).await;
    client.delete("t").await;
    client.create("t", 1, &[]).await;
    client.produce(batch(fixture.now(), 10)).await;
    fixture.pass(61_000).await;
    let all = ["/one", "/two", "/three"]
        .map(|path| folders(&fixture, path))
        .concat();
    assert_eq!(all, ["t-0"]);
    assert_eq!(batch_count(bytes_of(&client.fetch(0).await)), 1);
}

#[tokio::test(start_paused = true)]
async fn a_partition_cannot_be_moved_everywhere() {
    let (fixture, mut client) = start().await;
    client.set(4, "1", "cordoned.log.dirs", "/three").await;
    let long = "a".repeat(249);
    client.create(&long, 1, &[]).await;
    // (topic, number, log dir, code)
    let cases = [
        ("t", 0, "/nowhere", ErrorCode::LogDirNotFound),
        ("t", 0, "two", ErrorCode::LogDirNotFound),
        ("t", 0, "/three", ErrorCode::InvalidReplicaAssignment),
        ("t", 0, "/one", ErrorCode::None),
        ("t", 7, "/two", ErrorCode::ReplicaNotAvailable),
        ("unknown", 0, "/two", ErrorCode::ReplicaNotAvailable),
        (&*long, 0, "/two", ErrorCode::InvalidTopicException),
    ];
    for (topic, number, path, code) in cases {
        assert_eq!(
            alter(&mut client, topic, number, path).await,
            code,
            "{topic} {number} {path}"
        );
    }
    // What is not there yet is made where it is wanted.
    client.create("unknown", 1, &[]).await;
    assert!(fixture.names_in("/two").iter().any(|name| name == "unknown-0"));
    client.create("u", 1, &[]).await;
    fixture.inject(Fault::always(Operation::SyncData).on("/two/unknown-0"));
    client.produce_to("unknown", 0, batch(fixture.now(), 10)).await;
    fixture.pass(100).await;
    assert_eq!(
        alter(&mut client, "t", 0, "/two").await,
        ErrorCode::KafkaStorageError,
        "it is offline"
    );
    assert_eq!(
        alter(&mut client, "unknown", 0, "/one").await,
        ErrorCode::KafkaStorageError
    );
    assert!(fixture.disk().entry(Path::new("/one/t-0")).unwrap().is_some());
}
