//! Timers, and when their time begins.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use klamm_env::sim::World;
use klamm_log::Durability;
use klamm_model::ErrorCode;

use super::slow;
use super::toy::{Ask, Fixture, Told, With};
use crate::coordinators::runtime::Asked;

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
