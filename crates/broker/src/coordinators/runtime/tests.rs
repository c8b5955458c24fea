use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use klamm_coordinator::TransactionalProducer;
use klamm_env::sim::{CrashMode, Failure, Fault, Operation, Options, World};
use klamm_log::{Durability, EndTransaction};
use klamm_metadata::MetadataRecord;
use klamm_model::{BrokerId, ErrorCode, LeaderEpoch, Offset, ProducerEpoch, ProducerId, Uuid};
use klamm_protocol::metadata_records::{ConfigRecord, TopicRecord};
use klamm_records::{Batch, BatchBuilder, Compression, EndTransactionMarker};

use self::toy::{Ask, Fixture, ME, RECORDED, STARTS, Told, UNKNOWN, With};
use super::Asked;
use crate::replicas::Written;

mod groups;
mod toy;

/// The end of a transaction, as a coordinator of version 1 has it written.
fn end_of(producer: TransactionalProducer, committed: bool, coordinator_epoch: i32) -> EndTransaction {
    EndTransaction {
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        marker: EndTransactionMarker {
            committed,
            coordinator_epoch,
        },
        transaction_version: 1,
    }
}

fn producer(id: i64) -> TransactionalProducer {
    TransactionalProducer {
        id: ProducerId(id),
        epoch: ProducerEpoch(0),
    }
}

/// A world in which a sync takes so many seconds.
fn slow(seconds: u64) -> World {
    World::with(
        1,
        Options {
            blocking_delay: Duration::from_secs(seconds),
            ..Options::default()
        },
    )
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_at_once_is_one_batch() {
    for durability in [Durability::Fsync, Durability::PageCache] {
        let fixture = Fixture::open(
            &World::new(1),
            With {
                durability,
                ..With::default()
            },
        );
        let asked = (0..100).map(|_| fixture.ask(Ask::Add("a", 1)));
        let told = join_all(asked).await;
        let expected: Vec<_> = (1..=100).map(|value| Ok(Told::Value(value))).collect();
        assert_eq!(told, expected, "each sees what was decided before");
        // The file must be opened for the first; the others come in the meantime.
        assert_eq!(fixture.batches(), [1, 99]);
        fixture.ask(Ask::Add("a", 1)).await.unwrap();
        assert_eq!(fixture.batches(), [1, 99, 1]);
        fixture.env.sleep(Duration::from_millis(1)).await;
        assert_eq!(fixture.effects.lock().len(), 101);
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_a_quiet_shard_appends_without_a_switch_of_tasks() {
    let cached = With {
        durability: Durability::PageCache,
        ..With::default()
    };
    let fixture = Fixture::open(&World::new(1), cached);
    fixture.ask(Ask::Add("a", 1)).await.unwrap();
    for value in 2..=20 {
        let told = fixture.ask(Ask::Add("a", 1)).now_or_never();
        assert_eq!(told, Some(Ok(Told::Value(value))));
    }
    assert_eq!(fixture.batches(), [1; 20]);
    // More than what is packed under a lock is left to the task.
    let large = fixture.ask(Ask::Long(vec![4_000; 20], false));
    assert_eq!(large.now_or_never(), None);

    let fixture = Fixture::open(&slow(1), With::default());
    fixture.ask(Ask::Add("a", 1)).await.unwrap();
    let first = fixture.begin(Ask::Add("a", 1)).unwrap();
    assert_eq!(fixture.batches(), [1, 1], "its sync begins at once");
    let others = join_all((0..10).map(|_| fixture.ask(Ask::Add("a", 1))));
    let (first, _) = futures_util::future::join(first.answer(), others).await;
    assert_eq!(first, Ok(Told::Value(2)));
    assert_eq!(
        fixture.batches(),
        [1, 1, 10],
        "those who come while others wait gather"
    );
}

#[tokio::test(start_paused = true)]
async fn only_the_task_carries_out_what_is_due_and_in_order() {
    let cached = With {
        durability: Durability::PageCache,
        ..With::default()
    };
    let fixture = Fixture::open(&World::new(1), cached);
    fixture.ask(Ask::Add("a", 1)).await.unwrap();
    fixture.env.sleep(Duration::from_millis(1)).await;
    for by in 2..5 {
        fixture.begin(Ask::Add("a", by)).unwrap();
    }
    assert_eq!(*fixture.effects.lock(), [1]);
    fixture.env.sleep(Duration::from_millis(1)).await;
    assert_eq!(*fixture.effects.lock(), [1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever_when_the_device_hangs() {
    let with = With {
        commit_timeout: Duration::from_secs(5),
        ..With::default()
    };
    let fixture = Fixture::open(&slow(20), with);
    // First a file cannot be opened for so long, then a sync does not end.
    for (round, hangs) in (1..).zip(["opening", "syncing"]) {
        let began = fixture.env.monotonic();
        let add = fixture.ask(Ask::Add("a", 1));
        let get = async {
            fixture.env.sleep(Duration::from_secs(2)).await;
            fixture.ask(Ask::Get("a")).await
        };
        let both = fixture
            .env
            .timeout(Duration::from_secs(10), futures_util::future::join(add, get));
        let (added, got) = both.await.expect(hangs);
        assert_eq!(added, Err(ErrorCode::RequestTimedOut), "{hangs}");
        assert_eq!(got, Err(ErrorCode::RequestTimedOut), "{hangs}");
        let took = fixture.env.monotonic() - began;
        assert!((7_000..7_010).contains(&took.as_millis()), "{hangs}: {took:?}");
        // What is to be done outside is done late, but done.
        fixture.env.sleep(Duration::from_mins(2)).await;
        assert_eq!(fixture.effects.lock().len(), round);
        assert_eq!(fixture.value("a").await, round as i64);
    }
}

#[tokio::test(start_paused = true)]
async fn a_watermark_of_another_epoch_lets_nobody_go() {
    let fixture = Fixture::open(&slow(1), With::default());
    fixture.ask(Ask::Add("a", 1)).await.unwrap();
    let mut add = pin!(fixture.ask(Ask::Add("a", 1)));
    assert_eq!(add.as_mut().now_or_never(), None);
    // Led by another broker and by this one again before the runtime hears of it.
    fixture.elect(BrokerId(2));
    fixture.elect(ME);
    assert_eq!(fixture.ask(Ask::Get("a")).await, Err(ErrorCode::NotCoordinator));
    assert_eq!(add.await, Err(ErrorCode::NotCoordinator));
}

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
async fn nobody_is_answered_before_what_was_seen_is_on_the_device() {
    let fixture = Fixture::open(&slow(1), With::default());
    fixture.ask(Ask::Add("b", 5)).await.unwrap();
    let mut add = pin!(fixture.ask(Ask::Add("a", 1)));
    assert_eq!(add.as_mut().now_or_never(), None);
    // The read sees the record, the other writer as well.
    let mut get = pin!(fixture.ask(Ask::Get("a")));
    assert_eq!(get.as_mut().now_or_never(), None);
    fixture.env.sleep(Duration::from_millis(900)).await;
    assert_eq!(fixture.batches(), [1, 1]);
    assert_eq!(fixture.partition.high_watermark(), Offset(1));
    assert_eq!(add.as_mut().now_or_never(), None);
    assert_eq!(get.as_mut().now_or_never(), None);
    assert_eq!(*fixture.effects.lock(), [5]);
    assert_eq!((add.await, get.await), (Ok(Told::Value(1)), Ok(Told::Value(1))));
    assert_eq!(fixture.partition.high_watermark(), Offset(2));
    assert_eq!(*fixture.effects.lock(), [5, 1]);
    // Nothing is on its way: answered on the spot.
    assert_eq!(
        fixture.ask(Ask::Get("a")).now_or_never(),
        Some(Ok(Told::Value(1)))
    );
}

#[tokio::test(start_paused = true)]
async fn those_who_joined_are_told_with_the_addition() {
    let fixture = Fixture::open(&World::new(1), With::default());
    let joined = join_all((0..3).map(|_| fixture.ask(Ask::Join)));
    // One who has given up is in nobody's way.
    drop(fixture.begin(Ask::Join));
    let add = async {
        fixture.env.sleep(Duration::from_secs(60)).await;
        fixture.ask(Ask::Add("a", 5)).await
    };
    let (joined, added) = futures_util::future::join(joined, add).await;
    assert_eq!(joined, vec![Ok(Told::Value(5)); 3]);
    assert_eq!(added, Ok(Told::Value(5)));
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
async fn timers_ring_by_the_time_that_has_passed() {
    let world = World::new(1);
    let fixture = Fixture::open(&world, With::default());
    let began = fixture.env.monotonic();
    for (name, ms) in [
        ("first", 5_000),
        ("moved", 5_000),
        ("forgotten", 5_000),
        ("last", 9_000),
    ] {
        fixture.ask(Ask::Remind(name, ms)).await.unwrap();
    }
    fixture.ask(Ask::Remind("moved", 8_000)).await.unwrap();
    fixture.ask(Ask::Forget("forgotten")).await.unwrap();
    // A clock that is set makes nobody late.
    world.clock("node").jump(3_600_000);
    let at = |ms| (began + Duration::from_millis(ms)).saturating_sub(fixture.env.monotonic());
    for (ms, expected) in [
        (4_900, [0, 0, 0]),
        (5_100, [1, 0, 0]),
        (8_100, [1, 1, 0]),
        (9_100, [1, 1, 1]),
        (60_000, [1, 1, 1]),
    ] {
        fixture.env.sleep(at(ms)).await;
        let mut values = Vec::new();
        for name in ["first", "moved", "last"] {
            values.push(fixture.value(name).await);
        }
        assert_eq!(values, expected, "{ms}");
    }
    assert_eq!(fixture.value("forgotten").await, 0);
    // Sooner than what the task sleeps for.
    fixture.ask(Ask::Remind("late", 100_000)).await.unwrap();
    fixture.ask(Ask::Remind("soon", 10)).await.unwrap();
    fixture.env.sleep(Duration::from_secs(1)).await;
    assert_eq!(fixture.value("soon").await, 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_timer_tells_without_a_record_is_told_at_once() {
    let fixture = Fixture::open(&World::new(1), With::default());
    fixture.ask(Ask::Remind("nothing", 5_000)).await.unwrap();
    let limit = Duration::from_millis(5_010);
    let joined = fixture.env.timeout(limit, fixture.ask(Ask::Join)).await;
    assert_eq!(joined, Ok(Ok(Told::Value(1))));
}

#[tokio::test(start_paused = true)]
async fn whose_answer_waits_has_its_time_from_the_answer_on() {
    // Committed after twenty seconds, or given up after five.
    for (timeout, told) in [(60, Ok(Told::Value(2))), (5, Err(ErrorCode::RequestTimedOut))] {
        let with = With {
            commit_timeout: Duration::from_secs(timeout),
            ..With::default()
        };
        let fixture = Fixture::open(&slow(20), with);
        let rung = || fixture.runtime.config().timers.load(Ordering::Relaxed);
        let pass = async |ms| fixture.env.sleep(Duration::from_millis(ms)).await;
        // The file is there, and nothing is on its way.
        let _ = fixture.ask(Ask::RemindWhenTold("first", 1_000_000, true)).await;
        pass(120_000).await;

        fixture.ask(Ask::Remind("session", 3_000)).await.unwrap();
        let told_late = fixture.ask(Ask::RemindWhenTold("session", 4_000, true)).await;
        assert_eq!(told_late, told);
        assert_eq!(
            rung(),
            0,
            "neither the earlier time nor that from the decision on"
        );
        pass(3_900).await;
        assert_eq!(rung(), 0);
        pass(110).await;
        assert_eq!(rung(), 1);
        pass(120_000).await;

        // What is decided on later counts, though this one is told first.
        let first = fixture.begin(Ask::RemindWhenTold("moved", 1_000, true)).unwrap();
        let second = fixture
            .begin(Ask::RemindWhenTold("moved", 200_000, true))
            .unwrap();
        let third = fixture.begin(Ask::RemindWhenTold("gone", 1_000, true)).unwrap();
        let fourth = fixture.begin(Ask::Forget("gone")).unwrap();
        join_all([first, second, third, fourth].map(Asked::answer)).await;
        pass(100_000).await;
        assert_eq!(rung(), 1);
        pass(101_000).await;
        assert_eq!(rung(), 2);
        pass(120_000).await;

        // Nothing is waited for.
        let told = fixture.ask(Ask::RemindWhenTold("at once", 1_000, false));
        assert_eq!(told.now_or_never(), Some(Ok(Told::Value(0))));
        pass(1_010).await;
        assert_eq!(rung(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_told_without_a_wait_begins_its_time_without_one() {
    let cached = With {
        durability: Durability::PageCache,
        ..With::default()
    };
    let fixture = Fixture::open(&World::new(1), cached);
    fixture.ask(Ask::Add("a", 1)).await.unwrap();
    for ms in [1_000, 2_000] {
        let told = fixture.ask(Ask::RemindWhenTold("session", ms, true));
        assert!(matches!(told.now_or_never(), Some(Ok(_))));
    }
    let rung = || fixture.runtime.config().timers.load(Ordering::Relaxed);
    fixture.env.sleep(Duration::from_millis(1_900)).await;
    assert_eq!(rung(), 0);
    fixture.env.sleep(Duration::from_millis(110)).await;
    assert_eq!(rung(), 1);
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
async fn when_the_node_stops_nobody_waits_for_others() {
    let fixture = Fixture::open(&slow(1), With::default());
    fixture.ask(Ask::Add("a", 1)).await.unwrap();
    let joined = fixture.begin(Ask::Join).unwrap().answer();
    let added = fixture.begin(Ask::Add("b", 1)).unwrap().answer();
    let late = fixture.begin(Ask::Join).unwrap().answer();
    fixture.runtime.dismiss();
    assert_eq!(late.now_or_never(), Some(Err(ErrorCode::NotCoordinator)));
    assert_eq!(fixture.begin(Ask::Join).err(), Some(ErrorCode::NotCoordinator));
    // What was decided is told: to who asked, and to those for whom it was decided.
    assert_eq!(added.await, Ok(Told::Value(1)));
    assert_eq!(joined.await, Ok(Told::Value(1)));
    assert_eq!(fixture.ask(Ask::Add("b", 1)).await, Ok(Told::Value(2)));
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

#[tokio::test(start_paused = true)]
async fn a_zombie_costs_nobody_else_anything() {
    use ErrorCode::{InvalidProducerEpoch, InvalidTxnState, TransactionCoordinatorFenced};
    let next = TransactionalProducer {
        epoch: ProducerEpoch(1),
        ..producer(1)
    };
    // What the log knows, and what it does not know yet, is refused alike.
    for durability in [Durability::Fsync, Durability::PageCache] {
        let world = World::new(1);
        let with = With {
            durability,
            ..With::default()
        };
        let fixture = Fixture::open(&world, with);
        let add = |producer, name| fixture.ask(Ask::AddIn(producer, name, 1));
        let end = async |producer, epoch| {
            let end = end_of(producer, true, epoch);
            fixture.runtime.end_transaction(0, &end).await
        };
        let told = join_all([
            add(producer(1), "zombie").boxed_local(),
            add(producer(2), "other").boxed_local(),
            add(next, "zombie").boxed_local(),
            add(producer(1), "zombie").boxed_local(),
        ]);
        let told = told.await;
        // In its own epoch the transaction is open, and no verification is left for another one.
        let one = || Ok(Told::Value(1));
        assert_eq!(
            told,
            [one(), one(), Err(InvalidTxnState), one()],
            "{durability:?}"
        );
        assert_eq!(end(next, 5).await, Ok(()));
        assert_eq!(add(producer(1), "zombie").await, Err(InvalidProducerEpoch));
        assert_eq!(end(producer(1), 5).await, Err(InvalidProducerEpoch));
        assert_eq!(end(next, 4).await, Err(TransactionCoordinatorFenced));
        assert_eq!(fixture.value("zombie").await, 2, "the shard was not lost");
        // Not verified: nobody has asked.
        let asked = fixture
            .runtime
            .ask_verified(0, Ask::AddIn(next, "zombie", 1), None);
        assert_eq!(asked.err(), Some(InvalidTxnState));
        assert_eq!(add(producer(2), "other").await, one());
        assert_eq!(end(producer(2), 5).await, Ok(()));
        assert_eq!(fixture.value("other").await, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_verification_of_before_the_marker_opens_nothing() {
    let fixture = Fixture::open(&World::new(1), With::default());
    let late = fixture.verify(producer(1)).unwrap();
    // Both go into the log together.
    let end = end_of(producer(1), true, 0);
    let first = fixture.ask(Ask::AddIn(producer(1), "a", 1));
    let ended = fixture.runtime.end_transaction(0, &end);
    let behind = async {
        let asked = fixture
            .runtime
            .ask_verified(0, Ask::AddIn(producer(1), "a", 5), late);
        asked.map(drop)
    };
    let (first, ended, behind) = futures_util::join!(first, ended, behind);
    assert_eq!((first, ended), (Ok(Told::Value(1)), Ok(())));
    assert_eq!(behind, Err(ErrorCode::InvalidTxnState));
    assert_eq!(fixture.value("a").await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_marker_that_is_written_again_leaves_the_next_transaction_alone() {
    for (epochs, expected) in [
        (&[1][..], Ok(())),
        (&[1, 1], Ok(())),
        // It is the end of the transaction that was verified.
        (&[1, 2], Err(ErrorCode::InvalidProducerEpoch)),
    ] {
        let fixture = Fixture::open(&World::new(1), With::default());
        let at = |epoch| TransactionalProducer {
            epoch: ProducerEpoch(epoch),
            ..producer(1)
        };
        let end = async |epoch| {
            let end = EndTransaction {
                transaction_version: 2,
                ..end_of(at(epoch), true, 0)
            };
            fixture.runtime.end_transaction(0, &end).await
        };
        fixture.ask(Ask::AddIn(at(0), "a", 1)).await.unwrap();
        end(1).await.unwrap();
        let guard = fixture.verify_by(at(1), 2).unwrap();
        // While somebody waits, what comes gathers.
        let other = fixture.ask(Ask::Add("other", 1));
        let again = join_all(epochs.iter().map(|epoch| end(*epoch)));
        let next = async {
            let asked = fixture.runtime.ask_verified(0, Ask::AddIn(at(1), "a", 1), guard);
            asked?.answer().await.map(drop)
        };
        let (other, again, next) = futures_util::join!(other, again, next);
        assert_eq!((other, next), (Ok(Told::Value(1)), expected), "{epochs:?}");
        assert!(again.iter().all(Result::is_ok), "{again:?}");
        if expected.is_ok() {
            end(2).await.unwrap();
        }
        let value = 1 + i64::from(expected.is_ok());
        assert_eq!(fixture.value("a").await, value, "the shard was not lost: {epochs:?}");
    }
}
