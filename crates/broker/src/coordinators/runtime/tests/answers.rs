//! Who is answered when.

use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use klamm_env::sim::World;
use klamm_log::Durability;
use klamm_model::{BrokerId, ErrorCode, Offset};

use super::slow;
use super::toy::{Ask, Fixture, ME, Told, With};

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
