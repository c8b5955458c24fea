//! When a segment is closed, what its indexes hold, and what becomes of its files.

use klamm_protocol::messages::DeleteTopicsRequest;

use crate::client::batch;
use crate::fixture::{Both, Fixture, Settings, Way};

const HOUR_MS: u64 = 3_600_000;

/// How many segments `t` has after batches of these sizes.
async fn segments_of(fixture: &Fixture, sizes: &[usize]) -> usize {
    let mut client = fixture.connect();
    for size in sizes {
        client.produce(batch(fixture.now(), *size)).await;
    }
    fixture.count("t-0", ".log")
}

#[tokio::test(start_paused = true)]
async fn a_full_segment_is_closed() {
    let key = Both::new("log.segment.bytes", "segment.bytes", "1048576");
    for (way, segments) in Way::SET.map(|way| (way, 3)).into_iter().chain([(Way::Unset, 1)]) {
        let fixture = key.start(way, &[], &[]).await;
        assert_eq!(segments_of(&fixture, &[600_000; 3]).await, segments, "{way:?}");
    }
    let fixture = Fixture::start(&[]).await;
    fixture
        .connect()
        .create("t", 1, &[("internal.segment.bytes", "1000")])
        .await;
    assert_eq!(segments_of(&fixture, &[600; 3]).await, 3);
}

/// How many segments `t` has after two batches with so much time between them.
async fn segments_after(fixture: &Fixture, ms: u64) -> usize {
    segments_of(fixture, &[10]).await;
    fixture.jump(ms);
    segments_of(fixture, &[10]).await
}

#[tokio::test(start_paused = true)]
async fn an_old_segment_is_closed() {
    let key = Both::new("log.roll.ms", "segment.ms", "60000");
    for way in Way::SET {
        // Hours count only where there are no milliseconds.
        let fixture = key.start(way, &[("log.roll.hours", "2")], &[]).await;
        assert_eq!(segments_after(&fixture, 50_000).await, 1, "{way:?}");
        fixture.jump(11_000);
        assert_eq!(segments_of(&fixture, &[10]).await, 2, "{way:?}");
    }
    for (set, segments) in [(&[][..], 1), (&[("log.roll.hours", "1")], 2)] {
        let fixture = Fixture::start(set).await;
        fixture.connect().create("t", 1, &[]).await;
        assert_eq!(
            segments_after(&fixture, HOUR_MS + 1000).await,
            segments,
            "{set:?}"
        );
    }
}

/// How many of the 20 partitions of `t` close their segment when half of its age has passed.
async fn early_rolls(fixture: &Fixture, ms: u64) -> usize {
    let mut client = fixture.connect();
    for index in 0..20 {
        assert_eq!(
            client
                .produce_to("t", index, batch(fixture.now(), 10))
                .await
                .error_code,
            0
        );
    }
    fixture.jump(ms / 2);
    for index in 0..20 {
        assert_eq!(
            client
                .produce_to("t", index, batch(fixture.now(), 10))
                .await
                .error_code,
            0
        );
    }
    (0..20)
        .filter(|index| fixture.count(&format!("t-{index}"), ".log") == 2)
        .count()
}

#[tokio::test(start_paused = true)]
async fn jitter_closes_some_segments_early() {
    let mut key = Both::new("log.roll.jitter.ms", "segment.jitter.ms", "100000");
    key.partitions = 20;
    for way in Way::SET.into_iter().chain([Way::Unset]) {
        let early = early_rolls(&key.start(way, &[("log.roll.ms", "100000")], &[]).await, 100_000).await;
        let some = if way == Way::Unset { 0..1 } else { 3..18 };
        assert!(some.contains(&early), "{way:?}: {early} of 20");
    }
    // A jitter longer than the age is no reason to close a segment at once.
    let long: Settings<'_> = &[("log.roll.ms", "100000"), ("log.roll.jitter.ms", "100000000")];
    let fixture = Fixture::start(long).await;
    fixture.connect().create("t", 20, &[]).await;
    let early = early_rolls(&fixture, 100_000).await;
    assert!((3..18).contains(&early), "{early} of 20");
    let hours: Settings<'_> = &[("log.roll.hours", "1"), ("log.roll.jitter.hours", "1")];
    let fixture = Fixture::start(hours).await;
    fixture.connect().create("t", 20, &[]).await;
    let early = early_rolls(&fixture, HOUR_MS).await;
    assert!((3..18).contains(&early), "{early} of 20");
}

#[tokio::test(start_paused = true)]
async fn an_index_has_an_entry_for_so_many_bytes() {
    let key = Both::new("log.index.interval.bytes", "index.interval.bytes", "100");
    for (way, entries) in Way::SET.map(|way| (way, 9)).into_iter().chain([(Way::Unset, 2)]) {
        let fixture = key.start(way, &[], &[]).await;
        segments_of(&fixture, &[1_000; 10]).await;
        fixture.node.stop().await;
        assert_eq!(
            fixture.len("t-0/00000000000000000000.index"),
            8 * entries,
            "{way:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_index_closes_the_segment() {
    let key = Both::new("log.index.size.max.bytes", "segment.index.bytes", "32");
    for way in Way::SET {
        let fixture = key.start(way, &[("log.index.interval.bytes", "0")], &[]).await;
        let segments = segments_of(&fixture, &[100; 10]).await;
        assert!(segments > 2, "{way:?}: {segments}");
    }
    let fixture = key
        .start(Way::Unset, &[("log.index.interval.bytes", "0")], &[])
        .await;
    assert_eq!(segments_of(&fixture, &[100; 10]).await, 1);
}

#[tokio::test(start_paused = true)]
async fn removed_files_stay_for_a_while() {
    let key = Both::new("log.segment.delete.delay.ms", "file.delete.delay.ms", "10000");
    for way in Way::SET.into_iter().chain([Way::Unset]) {
        let also = [
            ("log.retention.bytes", "0"),
            ("log.retention.check.interval.ms", "5000"),
        ];
        let fixture = key.start(way, &also, &[]).await;
        segments_of(&fixture, &[10]).await;
        fixture.pass(6_000).await;
        assert!(fixture.count("t-0", ".deleted") > 0, "{way:?}: retired");
        fixture.pass(10_000).await;
        assert_eq!(
            fixture.count("t-0", ".deleted") == 0,
            way != Way::Unset,
            "{way:?}: gone"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_folder_of_a_deleted_partition_stays_for_a_while() {
    let key = Both::new("log.segment.delete.delay.ms", "file.delete.delay.ms", "10000");
    for way in Way::SET.into_iter().chain([Way::Unset]) {
        let fixture = key.start(way, &[], &[]).await;
        let request = DeleteTopicsRequest {
            topic_names: vec!["t".into()],
            timeout_ms: 1000,
            ..Default::default()
        };
        assert_eq!(
            fixture.connect().ask(5, &request).await.unwrap().responses[0].error_code,
            0
        );
        let deleted = || {
            fixture
                .names("")
                .iter()
                .filter(|name| name.ends_with("-delete"))
                .count()
        };
        fixture.pass(5_000).await;
        assert_eq!(deleted(), 1, "{way:?}");
        fixture.pass(6_000).await;
        assert_eq!(deleted() == 0, way != Way::Unset, "{way:?}");
    }
}
