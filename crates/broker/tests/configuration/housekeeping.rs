//! What is synced, written down and forgotten from time to time.

use std::io::IoSlice;
use std::path::Path;

use klamm_env::{Files, OpenMode};
use klamm_protocol::messages::DescribeProducersRequest;
use klamm_protocol::messages::describe_producers_request::TopicRequest;

use crate::client::{batch, batch_of_producer};
use crate::fixture::{Both, DATA, Fixture, Settings, Way};

const CACHED: (&str, &str) = ("klamm.durability", "page-cache");
const SEGMENT: &str = "/t-0/00000000000000000000.log";

#[tokio::test(start_paused = true)]
async fn so_many_unsynced_records_are_synced() {
    let key = Both::new("log.flush.interval.messages", "flush.messages", "3");
    for (way, expected) in Way::SET
        .map(|way| (way, [0, 0, 1, 1, 1, 2]))
        .into_iter()
        .chain([(Way::Unset, [0; 6])])
    {
        let fixture = key.start(way, &[CACHED], &[]).await;
        let mut client = fixture.connect();
        let before = fixture.calls("SyncData", SEGMENT);
        let mut syncs = Vec::new();
        for _ in 0..6 {
            client.produce(batch(fixture.now(), 10)).await;
            syncs.push(fixture.calls("SyncData", SEGMENT) - before);
        }
        assert_eq!(syncs, expected, "{way:?}");
    }
}

/// A bit of the second sealed segment flips; the damage is found when somebody reads it.
#[tokio::test(start_paused = true)]
async fn sealed_segments_are_read_again_in_time() {
    const OFTEN: (&str, &str) = ("klamm.scrub.interval.ms", "1000");
    // (settings, whether it was found after 5 and after 30 seconds)
    let cases: [(Settings<'_>, [bool; 2]); 4] = [
        (&[OFTEN], [true, true]),
        (&[("klamm.scrub.interval.ms", "20000")], [false, true]),
        (&[OFTEN, ("klamm.scrub.bytes.per.second", "50")], [false, true]),
        (&[OFTEN, ("klamm.scrub.bytes.per.second", "0")], [false, false]),
    ];
    for (set, expected) in cases {
        let fixture = Fixture::start(set).await;
        let mut client = fixture.connect();
        client.create("t", 1, &[("internal.segment.bytes", "1000")]).await;
        for _ in 0..3 {
            client.produce(batch(fixture.now(), 600)).await;
        }
        let sealed = format!("{DATA}/t-0/00000000000000000001.log");
        let file = fixture.disk().open(Path::new(&sealed), OpenMode::Write).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 100).unwrap();
        file.write_at(&[IoSlice::new(&[byte[0] ^ 4])], 100).unwrap();
        let mut found = Vec::new();
        for ms in [5_000, 25_000] {
            fixture.pass(ms).await;
            let metrics = fixture.node.observer().metrics().await;
            let ranges = "klamm_log_corrupt_ranges{topic=\"t\",partition=\"0\"} 1";
            found.push(metrics.lines().any(|line| line == ranges));
        }
        assert_eq!(found, expected, "{set:?}");
    }
}

/// How often the segment of `t` was synced when so much time has passed since a record came.
async fn syncs_after(fixture: &Fixture, times: &[u64]) -> Vec<usize> {
    let before = fixture.calls("SyncData", SEGMENT);
    fixture.connect().produce(batch(fixture.now(), 10)).await;
    let mut passed = 0;
    let mut syncs = Vec::new();
    for ms in times {
        fixture.pass(ms - passed).await;
        passed = *ms;
        syncs.push(fixture.calls("SyncData", SEGMENT) - before);
    }
    syncs
}

#[tokio::test(start_paused = true)]
async fn records_unsynced_for_some_time_are_synced() {
    let key = Both::new("log.flush.interval.ms", "flush.ms", "20000");
    let also = [CACHED, ("log.flush.scheduler.interval.ms", "2000")];
    for way in Way::SET {
        let fixture = key.start(way, &also, &[]).await;
        assert_eq!(syncs_after(&fixture, &[15_000, 30_000]).await, [0, 1], "{way:?}");
    }
    // The interval of looking is also the time, unless there is another.
    let cases: [(Settings<'_>, [usize; 2]); 2] = [(&also, [1, 1]), (&[CACHED], [0, 0])];
    for (set, syncs) in cases {
        let fixture = Fixture::start(set).await;
        fixture.connect().create("t", 1, &[]).await;
        assert_eq!(syncs_after(&fixture, &[5_000, 30_000]).await, syncs, "{set:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_delays_no_sync() {
    let set = [
        CACHED,
        ("log.flush.interval.ms", "20000"),
        ("log.flush.scheduler.interval.ms", "2000"),
    ];
    let fixture = Fixture::start(&set).await;
    let mut client = fixture.connect();
    client.create("t", 1, &[]).await;
    let synced = || fixture.calls("SyncData", "/t-0/00000000000000000000.log");
    let before = synced();
    client.produce(batch(fixture.now(), 10)).await;
    fixture.pass(5_000).await;
    fixture.jump_back(3_600_000);
    fixture.pass(30_000).await;
    assert_eq!(synced() - before, 1);
}

/// What is written down rarely unless it is set.
const RARELY: [(&str, &str); 3] = [
    ("log.flush.offset.checkpoint.interval.ms", "3600000"),
    ("log.flush.start.offset.checkpoint.interval.ms", "3600000"),
    ("replica.high.watermark.checkpoint.interval.ms", "3600000"),
];

/// All rarely, but `often` every ten seconds.
fn intervals(often: &str) -> Vec<(&str, &str)> {
    RARELY
        .map(|(key, rarely)| (key, if key == often { "10000" } else { rarely }))
        .into_iter()
        .chain([("log.retention.check.interval.ms", "5000")])
        .collect()
}

#[tokio::test(start_paused = true)]
async fn offsets_are_written_down_from_time_to_time() {
    for (key, file, line, retention) in [
        (
            "log.flush.offset.checkpoint.interval.ms",
            "recovery-point-offset-checkpoint",
            "t 0 1",
            "-1",
        ),
        (
            "log.flush.start.offset.checkpoint.interval.ms",
            "log-start-offset-checkpoint",
            "t 0 1",
            "1",
        ),
        (
            "replica.high.watermark.checkpoint.interval.ms",
            "replication-offset-checkpoint",
            "t 0 2",
            "-1",
        ),
    ] {
        for often in [key, ""] {
            let fixture = Fixture::start(&intervals(often)).await;
            let mut client = fixture.connect();
            client
                .create(
                    "t",
                    1,
                    &[("internal.segment.bytes", "1000"), ("retention.bytes", retention)],
                )
                .await;
            for _ in 0..2 {
                client.produce(batch(fixture.now(), 600)).await;
            }
            let is_written = || fixture.text(file).lines().any(|found| found == line);
            fixture.pass(8_000).await;
            assert!(!is_written(), "{file}: too early");
            fixture.pass(4_000).await;
            assert_eq!(is_written(), often == key, "{often}: {}", fixture.text(file));
        }
    }
}

/// The ids of the producers that the first partition of `t` knows.
async fn producers(fixture: &Fixture) -> Vec<i64> {
    let topic = TopicRequest {
        name: "t".into(),
        partition_indexes: vec![0],
        ..Default::default()
    };
    let request = DescribeProducersRequest {
        topics: vec![topic],
        ..Default::default()
    };
    let response = fixture.connect().ask(0, &request).await.unwrap();
    let known = &response.topics[0].partitions[0].active_producers;
    known.iter().map(|producer| producer.producer_id).collect()
}

#[tokio::test(start_paused = true)]
async fn silent_producers_are_forgotten() {
    let expiration = ("producer.id.expiration.ms", "60000");
    let interval = ("producer.id.expiration.check.interval.ms", "5000");
    let cases: [(Settings<'_>, Option<&str>, bool); 4] = [
        (&[expiration, interval], None, true),
        (&[interval], Some("60000"), true),
        (&[interval], None, false),
        (&[expiration], None, false),
    ];
    for (set, dynamic, is_forgotten) in cases {
        let fixture = Fixture::start(set).await;
        let mut client = fixture.connect();
        client.create("t", 1, &[]).await;
        client.produce(batch_of_producer(fixture.now(), 9, 0)).await;
        if let Some(value) = dynamic {
            client.set(4, "", expiration.0, value).await;
        }
        fixture.jump(50_000);
        fixture.pass(6_000).await;
        assert_eq!(producers(&fixture).await, [9], "{set:?}");
        fixture.jump(10_000);
        fixture.pass(6_000).await;
        assert_eq!(producers(&fixture).await.is_empty(), is_forgotten, "{set:?}");
    }
}
