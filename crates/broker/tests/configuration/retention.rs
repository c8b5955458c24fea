//! When old records go.

use crate::client::batch;
use crate::fixture::{Both, Fixture, Settings, Way};

const MINUTE_MS: u64 = 60_000;
/// Often enough to see the moment.
const CHECKS: (&str, &str) = ("log.retention.check.interval.ms", "5000");

/// Whether the only record of `t` is gone when its age is so much, less or more some seconds.
async fn is_gone_after(fixture: &Fixture, ms: u64) -> (bool, bool) {
    fixture.connect().produce(batch(fixture.now(), 10)).await;
    fixture.jump(ms - 10_000);
    fixture.pass(6_000).await;
    let before = fixture.connect().start_offset().await;
    fixture.jump(10_000);
    fixture.pass(6_000).await;
    let after = fixture.connect().start_offset().await;
    assert_eq!(fixture.count("t-0", "0000.log") == 0, after == 1);
    (before == 1, after == 1)
}

#[tokio::test(start_paused = true)]
async fn records_go_by_age() {
    let key = Both::new("log.retention.ms", "retention.ms", "60000");
    for way in Way::SET {
        // Minutes and hours count only where there are no milliseconds.
        let also = [
            CHECKS,
            ("log.retention.minutes", "10"),
            ("log.retention.hours", "10"),
        ];
        let fixture = key.start(way, &also, &[]).await;
        assert_eq!(is_gone_after(&fixture, MINUTE_MS).await, (false, true), "{way:?}");
    }
    let cases: [(Settings<'_>, u64, bool); 3] = [
        (
            &[
                CHECKS,
                ("log.retention.minutes", "2"),
                ("log.retention.hours", "10"),
            ],
            2 * MINUTE_MS,
            true,
        ),
        (&[CHECKS, ("log.retention.hours", "1")], 60 * MINUTE_MS, true),
        (&[CHECKS], 60 * MINUTE_MS, false),
    ];
    for (set, ms, goes) in cases {
        let fixture = Fixture::start(set).await;
        fixture.connect().create("t", 1, &[]).await;
        assert_eq!(is_gone_after(&fixture, ms).await, (false, goes), "{set:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn records_go_by_size() {
    let key = Both::new("log.retention.bytes", "retention.bytes", "1000");
    for (way, start) in Way::SET.map(|way| (way, 3)).into_iter().chain([(Way::Unset, 0)]) {
        let fixture = key
            .start(way, &[CHECKS], &[("internal.segment.bytes", "1000")])
            .await;
        let mut client = fixture.connect();
        for _ in 0..5 {
            client.produce(batch(fixture.now(), 600)).await;
        }
        fixture.pass(6_000).await;
        assert_eq!(client.start_offset().await, start, "{way:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn retention_is_applied_from_time_to_time() {
    for (interval, goes) in [(Some("20000"), true), (None, false)] {
        let mut set = vec![("log.retention.ms", "1000")];
        set.extend(interval.map(|interval| ("log.retention.check.interval.ms", interval)));
        let fixture = Fixture::start(&set).await;
        fixture.connect().create("t", 1, &[]).await;
        let mut client = fixture.connect();
        client.produce(batch(fixture.now(), 10)).await;
        fixture.pass(15_000).await;
        assert_eq!(client.start_offset().await, 0, "{interval:?}");
        fixture.pass(10_000).await;
        assert_eq!(client.start_offset().await == 1, goes, "{interval:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn records_go_only_where_the_policy_says_delete() {
    let key = Both::new("log.cleanup.policy", "cleanup.policy", "compact");
    for (way, goes) in Way::SET
        .map(|way| (way, false))
        .into_iter()
        .chain([(Way::Unset, true)])
    {
        let fixture = key
            .start(way, &[CHECKS, ("log.retention.ms", "60000")], &[])
            .await;
        assert_eq!(is_gone_after(&fixture, MINUTE_MS).await, (false, goes), "{way:?}");
    }
}

/// Nothing goes early, and nothing stays for ever: the age counts by what the clock shows.
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_an_hour_delays_retention_by_that_hour() {
    const HOUR_MS: u64 = 60 * MINUTE_MS;
    let fixture = Fixture::start(&[CHECKS, ("log.retention.ms", "60000")]).await;
    let mut client = fixture.connect();
    client.create("t", 1, &[]).await;
    client.produce(batch(fixture.now(), 10)).await;
    fixture.jump_back(HOUR_MS);
    fixture.pass(2 * MINUTE_MS).await;
    assert_eq!(client.start_offset().await, 0);
    client.produce(batch(fixture.now(), 10)).await;
    assert_eq!(
        fixture.count("t-0", ".log"),
        1,
        "an age below zero closes no segment"
    );
    fixture.jump(HOUR_MS);
    fixture.pass(6_000).await;
    assert_eq!(client.start_offset().await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_changes_while_running_counts_from_then_on() {
    let fixture = Fixture::start(&[CHECKS, ("log.retention.ms", "60000")]).await;
    let mut client = fixture.connect();
    client.create("t", 1, &[]).await;
    for (policy, goes) in [
        ("compact", false),
        ("compact,delete", true),
        ("compact", false),
        ("delete", true),
    ] {
        client.set(2, "t", "cleanup.policy", policy).await;
        let before = client.start_offset().await;
        client.produce(batch(fixture.now(), 10)).await;
        fixture.jump(2 * MINUTE_MS);
        fixture.pass(6_000).await;
        assert_eq!(client.start_offset().await > before, goes, "{policy}");
    }
}
