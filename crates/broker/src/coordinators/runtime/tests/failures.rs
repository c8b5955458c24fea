//! What cannot be written, and what that costs.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use klamm_env::sim::{Failure, Fault, Operation, World};
use klamm_model::{ErrorCode, Offset, Uuid};
use klamm_protocol::metadata_records::TopicRecord;
use klamm_records::{BatchBuilder, Origin, Scratch, validate};

use super::toy::{Ask, Fixture, INSTEAD, LARGE, ME, RECORDED, Told, With};
use super::{end_of, producer};

#[tokio::test(start_paused = true)]
async fn what_cannot_be_recorded_is_decided_again_ever_more_seldom() {
    const TIMERS: u32 = 100;
    let fixture = Fixture::open(&World::new(1), With::default());
    for number in 0..TIMERS {
        let name: &str = format!("timer-{number}").leak();
        fixture.ask(Ask::Remind(name, 1_000)).await.unwrap();
    }
    fixture.configure(With {
        min_insync_replicas: 2,
        ..With::default()
    });
    let topic = TopicRecord {
        name: RECORDED.into(),
        topic_id: Uuid([99; 16]),
        ..Default::default()
    };
    fixture.change(&[topic.into()]);
    let decided = fixture.runtime.config();
    let before = decided.changes.load(Ordering::Relaxed);
    for _ in 0..600 {
        fixture.env.sleep(Duration::from_millis(500)).await;
        let told = fixture.ask(Ask::Add("a", 1)).await;
        assert_eq!(told, Err(ErrorCode::CoordinatorNotAvailable));
        fixture.ask(Ask::Get("a")).await.unwrap();
    }
    let rung = decided.timers.load(Ordering::Relaxed);
    assert!((10 * TIMERS..20 * TIMERS).contains(&rung), "{rung}");
    let changes = decided.changes.load(Ordering::Relaxed) - before;
    assert!((10..30).contains(&changes), "{changes}");

    fixture.configure(With::default());
    fixture.env.sleep(Duration::from_secs(31)).await;
    assert_eq!(fixture.value("timer-7").await, 1);
    assert_eq!(fixture.value(RECORDED).await, 1);
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_what_cannot_be_written_are_told() {
    let fixture = Fixture::open(&World::new(1), With::default());
    let joined = join_all((0..3).map(|_| fixture.begin(Ask::Join).unwrap().answer()));
    fixture.configure(With {
        min_insync_replicas: 2,
        ..With::default()
    });
    let code = ErrorCode::CoordinatorNotAvailable;
    assert_eq!(fixture.ask(Ask::AddFor("told")).await, Err(code));
    let told = fixture.env.timeout(Duration::from_secs(1), joined).await;
    assert_eq!(told, Ok(vec![Ok(Told::Refused(code)); 3]));
    assert_eq!(fixture.value("told").await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_failed_append_gives_up_the_shard_and_the_log_is_what_counts() {
    let world = World::new(1);
    let fixture = Fixture::open(&world, With::default());
    fixture.ask(Ask::Add("a", 7)).await.unwrap();
    let mut joined = pin!(fixture.ask(Ask::Join));
    assert_eq!(joined.as_mut().now_or_never(), None);
    let full = Fault::nth(Operation::Write, 0).with(Failure::NoSpace);
    world.disk("node").inject(full.on("00.log"));
    let told = join_all((0..3).map(|_| fixture.ask(Ask::Add("a", 1)))).await;
    assert_eq!(told, vec![Err(ErrorCode::NotCoordinator); 3]);
    assert_eq!(joined.await, Err(ErrorCode::NotCoordinator));
    fixture.loaded().await;
    assert_eq!(fixture.value("a").await, 7, "what was refused has no effect");
    assert_eq!(*fixture.effects.lock(), [7]);
    assert_eq!(fixture.ask(Ask::Add("a", 1)).await, Ok(Told::Value(8)));
}

#[tokio::test(start_paused = true)]
async fn only_the_load_that_asked_for_something_is_told_what_became_of_it() {
    let world = World::new(1);
    let fixture = Fixture::open(&world, With::default());
    fixture.ask(Ask::Add("a", 1)).await.unwrap();
    fixture.env.sleep(Duration::from_millis(1)).await;
    let place = fixture.places.lock()[0];
    let told = fixture.runtime.report(place, Ask::Add("a", 1)).unwrap();
    assert_eq!(told.answer().await, Ok(Told::Value(2)));
    let full = Fault::nth(Operation::Write, 0).with(Failure::NoSpace);
    world.disk("node").inject(full.on("00.log"));
    fixture.ask(Ask::Add("a", 1)).await.unwrap_err();
    fixture.loaded().await;
    let late = fixture.runtime.report(place, Ask::Add("a", 1));
    assert_eq!(late.err(), Some(ErrorCode::NotCoordinator));
    assert_eq!(fixture.value("a").await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_failed_sync_is_told_and_the_shard_stays_away() {
    let world = World::new(1);
    let fixture = Fixture::open(&world, With::default());
    fixture.ask(Ask::Add("a", 7)).await.unwrap();
    world.disk("node").inject(Fault::always(Operation::SyncData));
    assert_eq!(
        fixture.ask(Ask::Add("a", 1)).await,
        Err(ErrorCode::NotCoordinator)
    );
    fixture.env.sleep(Duration::from_secs(600)).await;
    assert_eq!(fixture.ask(Ask::Get("a")).await, Err(ErrorCode::NotCoordinator));
}

#[tokio::test(start_paused = true)]
async fn what_the_topic_does_not_take_is_refused_before_anything_changes() {
    let with = With {
        max_message_bytes: 1_000,
        ..With::default()
    };
    let fixture = Fixture::open(&World::new(1), with);
    for (lengths, atomic, expected) in [
        (vec![600, 600], true, Err(ErrorCode::UnknownServerError)),
        (vec![10, 2_000], false, Err(ErrorCode::UnknownServerError)),
        (vec![600, 600], false, Ok(Told::Value(0))),
    ] {
        assert_eq!(fixture.ask(Ask::Long(lengths, atomic)).await, expected);
    }
    assert_eq!(fixture.batches(), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_timer_whose_records_the_topic_never_takes_is_decided_otherwise() {
    let small = With {
        max_message_bytes: 1_000,
        ..With::default()
    };
    let fixture = Fixture::open(&World::new(1), small);
    fixture.ask(Ask::Remind(LARGE, 1_000)).await.unwrap();
    fixture.env.sleep(Duration::from_secs(3_600)).await;
    assert_eq!(fixture.value(INSTEAD).await, 1);
    assert_eq!(fixture.runtime.config().timers.load(Ordering::Relaxed), 1);
    // What cannot be written at the moment is tried again.
    for (min_insync_replicas, expected) in [(2, [1, 0]), (1, [1, 1])] {
        fixture.configure(With {
            min_insync_replicas,
            ..With::default()
        });
        if min_insync_replicas == 2 {
            fixture.ask(Ask::Remind(LARGE, 1_000)).await.unwrap();
        }
        fixture.env.sleep(Duration::from_secs(60)).await;
        let large = fixture.value("x".repeat(2_000).leak()).await;
        assert_eq!([fixture.value(INSTEAD).await, large], expected);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_appended_behind_a_batch_that_the_topic_no_longer_takes() {
    let fixture = Fixture::open(&World::new(1), With::default());
    let asks = [
        Ask::AddIn(producer(1), "before", 1),
        Ask::Long(vec![900], true),
        Ask::AddIn(producer(2), "behind", 1),
        Ask::Add("behind", 1),
    ];
    let asked = asks.map(|ask| fixture.begin(ask).unwrap().answer());
    fixture.configure(With {
        max_message_bytes: 500,
        ..With::default()
    });
    let told = join_all(asked).await;
    assert_eq!(told[1..], vec![Err(ErrorCode::NotCoordinator); 3]);
    fixture.loaded().await;
    assert_eq!(fixture.batches(), [1]);
    assert_eq!(fixture.value("behind").await, 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_else_writes_is_refused_and_costs_the_shard_nothing() {
    let with = With {
        begins: false,
        ..With::default()
    };
    let fixture = Fixture::open(&World::new(1), with);
    let (partition, now) = (&fixture.partition, fixture.now());
    let mut builder = BatchBuilder::default();
    builder.append(now, Some(b"key"), Some(b"value"), &[]);
    let bytes = builder.build(Offset(0)).unwrap();
    let rules = partition
        .settings()
        .rules(Origin::Client { produce_version: 11 }, now);
    let batch = validate(&bytes, &rules, &mut Scratch::new()).unwrap();
    let writes = async || {
        let appended = partition.append(&batch, None, true, now).await;
        let end = end_of(producer(1), true, 0);
        let ended = partition.end_transaction(&end, now).await;
        let codes = [appended.map(drop), ended.map(drop)];
        codes.map(|result| result.map_err(|refusal| refusal.code()))
    };
    let kept = [Err(ErrorCode::InvalidTopicException); 2];
    fixture.follow();
    assert_eq!(writes().await, kept);
    assert_eq!(fixture.ask(Ask::Add("a", 1)).await, Ok(Told::Value(1)));
    assert_eq!(writes().await, kept);
    assert_eq!(fixture.ask(Ask::Add("a", 1)).await, Ok(Told::Value(2)));
    // In another leadership nobody coordinates here yet.
    fixture.elect(ME);
    assert_eq!(writes().await, [Ok(()); 2]);
}

#[tokio::test(start_paused = true)]
async fn a_result_that_was_taken_in_part_costs_the_shard() {
    let fixture = Fixture::open(&World::new(1), With::default());
    fixture.ask(Ask::Add("a", 1)).await.unwrap();
    let asked = std::panic::AssertUnwindSafe(async { fixture.ask(Ask::Panic).await });
    assert!(asked.catch_unwind().await.is_err());
    assert_eq!(fixture.ask(Ask::Get("a")).await, Err(ErrorCode::NotCoordinator));
    fixture.loaded().await;
    assert_eq!((fixture.value("a").await, fixture.value("half").await), (1, 0));
}
