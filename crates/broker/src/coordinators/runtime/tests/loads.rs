//! How a shard is loaded and given up, and what it hears of the cluster.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use klamm_env::sim::{CrashMode, World};
use klamm_metadata::MetadataRecord;
use klamm_model::{BrokerId, ErrorCode, LeaderEpoch, Offset, Uuid};
use klamm_protocol::metadata_records::{ConfigRecord, TopicRecord};
use klamm_records::{Batch, BatchBuilder, Compression};

use super::toy::{Ask, Fixture, ME, STARTS, Told, UNKNOWN, With};
use super::{end_of, producer};
use crate::replicas::Written;

#[tokio::test(start_paused = true)]
async fn a_shard_that_cannot_record_what_it_finds_is_read_all_the_same() {
    let world = World::new(1);
    let fixture = Fixture::open(&world, With::default());
    fixture.ask(Ask::Add(STARTS, 1)).await.unwrap();
    fixture.runtime.abort();
    world.disk("node").crash(CrashMode::DropUnsynced);
    let with = With {
        begins: false,
        ..With::default()
    };
    let again = Fixture::open(&world, with);
    again.configure(With {
        min_insync_replicas: 2,
        ..with
    });
    again.follow();
    let loaded = again.env.timeout(Duration::from_secs(1), again.loaded());
    assert_eq!(loaded.await, Ok(()));
    assert_eq!(again.value(STARTS).await, 1);
    again.configure(With::default());
    again.env.sleep(Duration::from_secs(1)).await;
    assert_eq!(again.value(STARTS).await, 2);
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_all_that_was_answered_is_there() {
    for codec in [Compression::None, Compression::Zstd] {
        let world = World::new(1);
        let with = With {
            codec,
            ..With::default()
        };
        let fixture = Fixture::open(&world, with);
        for _ in 0..100 {
            fixture.ask(Ask::Add("a", 1)).await.unwrap();
        }
        // Over several segments.
        for _ in 0..8 {
            fixture.ask(Ask::Long(vec![900; 8], true)).await.unwrap();
        }
        for (id, name) in [(7, "committed"), (8, "aborted"), (9, "open")] {
            fixture.ask(Ask::AddIn(producer(id), name, 3)).await.unwrap();
            fixture.ask(Ask::Add("a", 1)).await.unwrap();
        }
        for (id, committed) in [(7, true), (8, false)] {
            let end = end_of(producer(id), committed, 0);
            fixture.runtime.end_transaction(0, &end).await.unwrap();
        }
        // On its way when the power fails.
        let mut lost = pin!(fixture.ask(Ask::Add("a", 1)));
        assert_eq!(lost.as_mut().now_or_never(), None);
        fixture.runtime.abort();
        world.disk("node").crash(CrashMode::DropUnsynced);

        let again = Fixture::open(&world, with);
        assert_eq!(
            again.ask(Ask::Get("a")).await,
            Err(ErrorCode::CoordinatorLoadInProgress)
        );
        again.loaded().await;
        for (name, value) in [("a", 103), ("committed", 3), ("aborted", 0), ("open", 0)] {
            assert_eq!(again.value(name).await, value, "{name}");
        }
        let end = end_of(producer(9), true, 0);
        again.runtime.end_transaction(0, &end).await.unwrap();
        assert_eq!(again.value("open").await, 3);
        assert_eq!(again.ask(Ask::Add("a", 1)).await, Ok(Told::Value(104)));
        again.runtime.stop().await;
        assert_eq!(again.ask(Ask::Get("a")).await, Err(ErrorCode::NotCoordinator));
    }
}

#[tokio::test(start_paused = true)]
async fn who_leads_coordinates() {
    let fixture = Fixture::open(
        &World::new(1),
        With {
            begins: false,
            ..With::default()
        },
    );
    let not_there = fixture.ask(Ask::Get("a")).await;
    assert_eq!(not_there, Err(ErrorCode::NotCoordinator));
    fixture.follow();
    fixture.ask(Ask::Add("a", 1)).await.unwrap();
    let mut joined = pin!(fixture.ask(Ask::Join));
    assert_eq!(joined.as_mut().now_or_never(), None);

    fixture.elect(BrokerId(2));
    // The partition knows, the runtime does not yet.
    assert_eq!(
        fixture.ask(Ask::Add("a", 1)).await,
        Err(ErrorCode::NotCoordinator)
    );
    fixture.follow();
    assert_eq!(joined.await, Err(ErrorCode::NotCoordinator));
    assert_eq!(fixture.ask(Ask::Get("a")).await, Err(ErrorCode::NotCoordinator));

    fixture.elect(ME);
    fixture.follow();
    fixture.loaded().await;
    assert_eq!(fixture.ask(Ask::Add("a", 1)).await, Ok(Told::Value(2)));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_record_is_passed_over_and_a_broken_one_fails_the_load() {
    for (number, value, is_loaded) in [(UNKNOWN, &b""[..], true), (0, b"short", false)] {
        let fixture = Fixture::open(
            &World::new(1),
            With {
                begins: false,
                ..With::default()
            },
        );
        let mut builder = BatchBuilder::default();
        let (first, second) = ([0, 0, b'a'], [&number.to_be_bytes()[..], b"b"].concat());
        builder.append(fixture.now(), Some(&first), Some(&5_i64.to_be_bytes()), &[]);
        builder.append(fixture.now(), Some(&second), Some(value), &[]);
        let batch = Batch::parse(&builder.build(Offset(0)).unwrap()).unwrap();
        let written = Written {
            header: *batch.header(),
            body: batch.body(),
        };
        fixture
            .partition
            .append_in_order(LeaderEpoch(1), Offset(0), &mut [written], fixture.now())
            .await
            .unwrap();
        fixture.follow();
        fixture.env.sleep(Duration::from_secs(10)).await;
        let told = fixture.ask(Ask::Get("a")).await;
        match is_loaded {
            true => assert_eq!(told, Ok(Told::Value(5))),
            false => assert_eq!(told, Err(ErrorCode::NotCoordinator)),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_is_told_of_the_cluster_before_it_decides_on_it() {
    let fixture = Fixture::open(&World::new(1), With::default());
    let topic = |number: u8| -> MetadataRecord {
        TopicRecord {
            name: format!("topic-{number}").into(),
            topic_id: Uuid([100 + number; 16]),
            ..Default::default()
        }
        .into()
    };
    assert_eq!(fixture.ask(Ask::Changes).await, Ok(Told::Changes(0, 1)));
    fixture.change(&[topic(1), topic(2)]);
    assert_eq!(fixture.ask(Ask::Changes).await, Ok(Told::Changes(1, 3)));
    fixture.change(&[topic(3)]);
    fixture.change(&[topic(4)]);
    fixture.follow();
    fixture.env.sleep(Duration::from_millis(1)).await;
    fixture.change(&[topic(5)]);
    assert_eq!(fixture.ask(Ask::Changes).await, Ok(Told::Changes(3, 6)));
}

#[tokio::test(start_paused = true)]
async fn a_quiet_shard_is_told_of_topics_alone() {
    let fixture = Fixture::open(&World::new(1), With::default());
    fixture.ask(Ask::Add("a", 1)).await.unwrap();
    let decided = || fixture.runtime.config().changes.load(Ordering::Relaxed);
    let tell = async |record: MetadataRecord| {
        fixture.change(&[record]);
        fixture.follow();
        fixture.env.sleep(Duration::from_millis(1)).await;
    };
    let topic = TopicRecord {
        name: "another".into(),
        topic_id: Uuid([100; 16]),
        ..Default::default()
    };
    let config = ConfigRecord {
        resource_type: 4,
        resource_name: "1".into(),
        name: "log.retention.ms".into(),
        value: Some("1".into()),
        ..Default::default()
    };
    let before = decided();
    tell(topic.into()).await;
    assert_eq!(decided(), before + 1);
    tell(config.into()).await;
    assert_eq!(decided(), before + 1);
    // Before it decides it knows all.
    fixture.ask(Ask::Changes).await.unwrap();
    assert_eq!(decided(), before + 2);
}
