//! Durability that changes while the node runs: what is promised holds from then on, and nobody's view goes back.

use klamm_env::sim::{Fault, Operation};
use klamm_model::ErrorCode;

use crate::client::{batch, batch_count, bytes_of};
use crate::fixture::Fixture;

const KEY: &str = "klamm.durability";
/// The kinds of resources, with the name, that the key is set of.
const PLACES: [(i8, &str); 3] = [(2, "t"), (4, ""), (4, "1")];
const LOG: &str = "/t-0/00000000000000000000.log";

/// A node whose topic `t` has five records in the page cache only.
async fn cached(kind: i8, resource: &str) -> Fixture {
    let fixture = Fixture::start(&[]).await;
    let mut client = fixture.connect();
    client.create("t", 1, &[]).await;
    client.set(kind, resource, KEY, "page-cache").await;
    let before = fixture.calls("SyncData", LOG);
    for _ in 0..5 {
        client.produce(batch(fixture.now(), 10)).await;
    }
    assert_eq!(
        fixture.calls("SyncData", LOG),
        before,
        "nothing waits for the device"
    );
    fixture
}

#[tokio::test(start_paused = true)]
async fn records_are_on_the_device_once_fsync_is_asked_for() {
    // Without: they are lost. So the cut is one.
    let fixture = cached(2, "t").await.cut_power(&[]).await;
    assert_eq!(fixture.connect().fetch(0).await.high_watermark, 0);

    for (kind, resource) in PLACES {
        let fixture = cached(kind, resource).await;
        let mut client = fixture.connect();
        client.set(kind, resource, KEY, "fsync").await;
        let read = client.fetch(0).await;
        assert_eq!(
            (read.high_watermark, batch_count(bytes_of(&read))),
            (5, 5),
            "what was seen is seen"
        );
        client.produce(batch(fixture.now(), 10)).await;
        let fixture = fixture.cut_power(&[]).await;
        let read = fixture.connect().fetch(0).await;
        assert_eq!(
            (read.high_watermark, batch_count(bytes_of(&read))),
            (6, 6),
            "{kind} {resource}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_sync_that_fails_when_fsync_is_asked_for_lets_no_watermark_move() {
    let fixture = cached(2, "t").await;
    let mut client = fixture.connect();
    fixture.inject(Fault::always(Operation::SyncData).on(LOG));
    client.set(2, "t", KEY, "fsync").await;
    let storage = ErrorCode::KafkaStorageError.code();
    assert_eq!(client.try_produce(batch(fixture.now(), 10)).await, storage);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_the_device_once_the_page_cache_is_enough() {
    for (kind, resource) in PLACES {
        let fixture = Fixture::start(&[]).await;
        let mut client = fixture.connect();
        client.create("t", 1, &[]).await;
        client.produce(batch(fixture.now(), 10)).await;
        let synced = fixture.calls("SyncData", LOG);
        assert!(synced > 0);
        client.set(kind, resource, KEY, "page-cache").await;
        for _ in 0..3 {
            client.produce(batch(fixture.now(), 10)).await;
        }
        assert_eq!(fixture.calls("SyncData", LOG), synced, "{kind} {resource}");
        assert_eq!(client.fetch(0).await.high_watermark, 4, "{kind} {resource}");
        // And back: what was written in between counts as it is, and is synced with the next.
        client.set(kind, resource, KEY, "fsync").await;
        client.produce(batch(fixture.now(), 10)).await;
        assert!(fixture.calls("SyncData", LOG) > synced);
        let fixture = fixture.cut_power(&[]).await;
        assert_eq!(
            fixture.connect().fetch(0).await.high_watermark,
            5,
            "{kind} {resource}"
        );
    }
}
