//! When and how compacted topics lose what is not needed any more.

use std::collections::BTreeMap;

use bytes::Bytes;
use klamm_model::{Offset, TimestampMs};
use klamm_records::{BatchBuilder, Batches};

use crate::client::{Client, batch, bytes_of};
use crate::fixture::{Both, Fixture, Settings, Way};
use crate::groups::{commit, committed};

/// A segment for each batch of 600 bytes.
const SMALL: (&str, &str) = ("internal.segment.bytes", "1000");
const COMPACTED: Settings<'_> = &[("cleanup.policy", "compact"), SMALL];
const POLICY: (&str, &str) = ("log.cleanup.policy", "compact");

/// A batch of one record; none as its value is a tombstone.
fn record(timestamp: i64, key: &str, value: Option<usize>) -> Bytes {
    let mut builder = BatchBuilder::default();
    let value = value.map(|bytes| vec![b'v'; bytes]);
    builder.append(
        TimestampMs(timestamp),
        Some(key.as_bytes()),
        value.as_deref(),
        &[],
    );
    builder.build(Offset(0)).unwrap()
}

/// So many updates of one key.
async fn update(fixture: &Fixture, count: usize) {
    let mut client = fixture.connect();
    for _ in 0..count {
        client.produce(batch(fixture.now(), 600)).await;
    }
}

/// Up to where the first partition of `t` was compacted.
fn cleaned(fixture: &Fixture) -> Option<i64> {
    let text = fixture.text("cleaner-offset-checkpoint");
    let line = text.lines().find_map(|line| line.strip_prefix("t 0 "))?;
    line.parse().ok()
}

/// The offsets and keys of `t`.
async fn keys(client: &mut Client) -> Vec<(i64, String)> {
    let (mut at, mut found) = (0, Vec::new());
    loop {
        let data = client.fetch(at).await;
        assert_eq!(data.error_code, 0);
        let before = at;
        for batch in Batches::new(bytes_of(&data)) {
            let batch = batch.unwrap();
            for record in batch.records(1 << 20).unwrap().map(Result::unwrap) {
                let key = String::from_utf8(record.key.unwrap().to_vec()).unwrap();
                found.push((record.offset.0, key));
            }
            at = batch.header().next_offset().0;
        }
        if at == before {
            return found;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_latest_values_are_read_from_a_compacted_topic() {
    let fixture = Fixture::start(&[]).await;
    let mut client = fixture.connect();
    client.create("t", 1, COMPACTED).await;
    let mut latest = BTreeMap::new();
    for n in 0..40_i64 {
        let key = format!("key-{}", n * n % 7);
        client.produce(record(fixture.now(), &key, Some(600))).await;
        latest.insert(key, n);
    }
    let before: u64 = fixture
        .names("t-0")
        .iter()
        .map(|name| fixture.len(&format!("t-0/{name}")))
        .sum();
    fixture.pass(20_000).await;
    let end = cleaned(&fixture).unwrap();
    assert_eq!(end, 39, "all but the segment that is written to");
    let found = keys(&mut client).await;
    for (key, offset) in &latest {
        let last = found.iter().rfind(|record| record.1 == *key);
        assert_eq!(last.map(|record| record.0), Some(*offset), "{key}");
    }
    assert!(found.len() <= latest.len() + 1, "{found:?}");
    // The files that were replaced go when nobody reads them any more.
    fixture.pass(70_000).await;
    let after: u64 = fixture
        .names("t-0")
        .iter()
        .map(|name| fixture.len(&format!("t-0/{name}")))
        .sum();
    assert!(after < before / 3, "{before} {after}");
    let fixture = fixture.restart(|_| {}, &[]).await.unwrap();
    assert_eq!(keys(&mut fixture.connect()).await, found);
}

#[tokio::test(start_paused = true)]
async fn only_topics_whose_policy_says_so_are_compacted_and_it_may_change() {
    let fixture = Fixture::start(&[]).await;
    let mut client = fixture.connect();
    client.create("t", 1, &[SMALL]).await;
    update(&fixture, 10).await;
    for (policy, expected) in [
        ("delete", None),
        ("compact", Some(9)),
        ("", Some(9)),
        ("compact,delete", Some(19)),
    ] {
        client.set(2, "t", "cleanup.policy", policy).await;
        if policy == "compact,delete" {
            update(&fixture, 10).await;
        }
        fixture.pass(40_000).await;
        assert_eq!(cleaned(&fixture), expected, "'{policy}'");
    }
}

#[tokio::test(start_paused = true)]
async fn compaction_runs_unless_it_is_turned_off() {
    for (set, expected) in [
        (&[][..], Some(9)),
        (&[("log.cleaner.enable", "true")], Some(9)),
        (&[("log.cleaner.enable", "false")], None),
    ] {
        let fixture = Fixture::start(set).await;
        fixture.connect().create("t", 1, COMPACTED).await;
        update(&fixture, 10).await;
        fixture.pass(40_000).await;
        assert_eq!(cleaned(&fixture), expected, "{set:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn compaction_looks_for_work_so_often() {
    let often = ("log.cleaner.backoff.ms", "60000");
    for (set, after, expected) in [
        (&[][..], 5_000, None),
        (&[], 20_000, Some(9)),
        (&[often], 50_000, None),
        (&[often], 70_000, Some(9)),
    ] {
        let fixture = Fixture::start(set).await;
        fixture.connect().create("t", 1, COMPACTED).await;
        update(&fixture, 10).await;
        fixture.pass(after).await;
        assert_eq!(cleaned(&fixture), expected, "{set:?} {after}");
    }
    let fixture = Fixture::start(&[("log.cleaner.backoff.ms", "3600000")]).await;
    let mut client = fixture.connect();
    client.create("t", 1, COMPACTED).await;
    update(&fixture, 10).await;
    fixture.pass(60_000).await;
    assert_eq!(cleaned(&fixture), None);
    client.set(4, "", often.0, "1000").await;
    fixture.pass(2_000).await;
    assert_eq!(cleaned(&fixture), Some(9), "a change is in force at once");
}

#[tokio::test(start_paused = true)]
async fn a_log_is_compacted_when_enough_of_it_is_dirty() {
    let key = Both::new(
        "log.cleaner.min.cleanable.ratio",
        "min.cleanable.dirty.ratio",
        "0.9",
    );
    for (way, expected) in Way::SET
        .map(|way| (way, 10))
        .into_iter()
        .chain([(Way::Unset, 30)])
    {
        let fixture = key.start(way, &[], COMPACTED).await;
        let mut client = fixture.connect();
        let mut count = 0;
        for more in [11, 20] {
            for _ in 0..more {
                let key = format!("{count}");
                client.produce(record(fixture.now(), &key, Some(600))).await;
                count += 1;
            }
            fixture.pass(40_000).await;
        }
        assert_eq!(cleaned(&fixture), Some(expected), "{way:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn young_records_are_not_compacted() {
    let key = Both::new(
        "log.cleaner.min.compaction.lag.ms",
        "min.compaction.lag.ms",
        "600000",
    );
    for (way, expected) in Way::SET
        .map(|way| (way, None))
        .into_iter()
        .chain([(Way::Unset, Some(9))])
    {
        let fixture = key.start(way, &[], COMPACTED).await;
        update(&fixture, 10).await;
        fixture.pass(60_000).await;
        assert_eq!(cleaned(&fixture), expected, "{way:?}");
        fixture.jump(600_000);
        fixture.pass(20_000).await;
        assert_eq!(cleaned(&fixture), Some(9), "{way:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn old_records_are_compacted_in_time() {
    let key = Both::new(
        "log.cleaner.max.compaction.lag.ms",
        "max.compaction.lag.ms",
        "600000",
    );
    let never_dirty: Settings<'_> = &[COMPACTED[0], SMALL, ("min.cleanable.dirty.ratio", "1")];
    for (way, expected) in Way::SET
        .map(|way| (way, Some(9)))
        .into_iter()
        .chain([(Way::Unset, None)])
    {
        let fixture = key.start(way, &[], never_dirty).await;
        update(&fixture, 10).await;
        fixture.pass(60_000).await;
        assert_eq!(cleaned(&fixture), None, "{way:?}");
        fixture.jump(600_000);
        fixture.pass(20_000).await;
        assert_eq!(cleaned(&fixture), expected, "{way:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn tombstones_stay_so_long() {
    let key = Both::new("log.cleaner.delete.retention.ms", "delete.retention.ms", "600000");
    for (way, is_there) in Way::SET
        .map(|way| (way, false))
        .into_iter()
        .chain([(Way::Unset, true)])
    {
        let fixture = key.start(way, &[POLICY], &[SMALL]).await;
        let mut client = fixture.connect();
        client.produce(record(fixture.now(), "gone", Some(600))).await;
        client.produce(record(fixture.now(), "gone", None)).await;
        let mut found = Vec::new();
        for _ in 0..2 {
            update(&fixture, 10).await;
            fixture.pass(40_000).await;
            found = keys(&mut client).await;
        }
        // Cleaned twice within its time: it is there, and its value is not.
        assert_eq!(
            found.iter().filter(|record| record.1 == "gone").count(),
            1,
            "{way:?}"
        );
        assert_eq!(found[0], (1, "gone".to_owned()));
        fixture.jump(600_000);
        update(&fixture, 10).await;
        fixture.pass(40_000).await;
        found = keys(&mut client).await;
        assert_eq!(found[0].1 == "gone", is_there, "{way:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn compaction_keeps_to_a_rate() {
    let rate = ("log.cleaner.io.max.bytes.per.second", "500");
    for (set, after, expected) in [
        (&[][..], 20_000, Some(19)),
        (&[rate], 40_000, None),
        (&[rate], 120_000, Some(19)),
    ] {
        let fixture = Fixture::start(set).await;
        fixture.connect().create("t", 1, COMPACTED).await;
        update(&fixture, 20).await;
        fixture.pass(after).await;
        assert_eq!(cleaned(&fixture), expected, "{set:?} {after}");
    }
}

#[tokio::test(start_paused = true)]
async fn so_many_logs_are_compacted_at_once() {
    for (threads, most) in [(None, 1), (Some("2"), 2)] {
        let mut set = vec![("log.cleaner.io.max.bytes.per.second", "1000")];
        set.extend(threads.map(|threads| ("log.cleaner.threads", threads)));
        let fixture = Fixture::start(&set).await;
        let mut client = fixture.connect();
        for topic in ["a", "b", "c"] {
            client.create(topic, 1, COMPACTED).await;
            for _ in 0..20 {
                let request = Client::produce_request(topic, 0, batch(fixture.now(), 600));
                client.ask(9, &request).await.unwrap();
            }
        }
        let mut at_once = 0;
        for _ in 0..200 {
            fixture.pass(1_000).await;
            let being_written = |folder: &&str| fixture.count(folder, ".cleaned") > 0;
            at_once = at_once.max(["a-0", "b-0", "c-0"].into_iter().filter(being_written).count());
        }
        assert_eq!(at_once, most, "{threads:?}");
        let text = fixture.text("cleaner-offset-checkpoint");
        assert!(
            ["a 0 19", "b 0 19", "c 0 19"]
                .iter()
                .all(|line| text.contains(line)),
            "{text}"
        );
        for (threads, words) in [("0", "at least 1"), ("7", "double")] {
            let (code, message) = client.try_set(4, "", "log.cleaner.threads", threads).await;
            assert!(
                code != 0 && message.is_some_and(|message| message.contains(words)),
                "{threads}"
            );
        }
    }
}

/// How many rounds it takes to compact so many keys at once.
async fn rounds(set: Settings<'_>, count: usize) -> usize {
    let fixture = Fixture::start(set).await;
    let mut client = fixture.connect();
    let often = ("min.cleanable.dirty.ratio", "0.01");
    client
        .create(
            "t",
            1,
            &[COMPACTED[0], ("internal.segment.bytes", "100000"), often],
        )
        .await;
    for first in (0..count).step_by(1000) {
        let mut builder = BatchBuilder::default();
        for n in first..first + 1000 {
            let key = n.to_string();
            builder.append(
                TimestampMs(fixture.now()),
                Some(key.as_bytes()),
                Some(b"value"),
                &[],
            );
        }
        client.produce(builder.build(Offset(0)).unwrap()).await;
    }
    update(&fixture, 170).await;
    fixture.pass(60_000).await;
    assert!(cleaned(&fixture).is_some_and(|end| end >= count as i64));
    fixture.calls("Rename", "cleaner-offset-checkpoint")
}

#[tokio::test(start_paused = true)]
async fn so_many_keys_are_compacted_at_once() {
    let memory = ("log.cleaner.dedupe.buffer.size", "1100000");
    for (set, expected) in [
        (&[][..], 1),
        (&[memory], 2),
        (&[memory, ("log.cleaner.io.buffer.load.factor", "0.45")], 3),
    ] {
        assert_eq!(rounds(set, 50_000).await, expected, "{set:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn compaction_reads_as_much_at_once_as_its_buffer_takes() {
    let mut counts = Vec::new();
    for set in [&[][..], &[("log.cleaner.io.buffer.size", "4096")]] {
        let fixture = Fixture::start(set).await;
        let mut client = fixture.connect();
        client
            .create("t", 1, &[COMPACTED[0], ("internal.segment.bytes", "100000")])
            .await;
        update(&fixture, 200).await;
        let before = fixture.calls("Read", "t-0/00000000000000000000.log");
        fixture.pass(40_000).await;
        assert!(cleaned(&fixture).is_some());
        counts.push(fixture.calls("Read", "t-0/00000000000000000000.log") - before);
    }
    assert!(counts[1] > counts[0] + 50, "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_log_that_cannot_be_compacted_is_left_alone_and_the_others_go_on() {
    let fixture = Fixture::start(&[]).await;
    let mut client = fixture.connect();
    for topic in ["bad", "t"] {
        client.create(topic, 1, COMPACTED).await;
        for _ in 0..10 {
            let request = Client::produce_request(topic, 0, batch(fixture.now(), 600));
            client.ask(9, &request).await.unwrap();
        }
    }
    let path = std::path::PathBuf::from(format!("{}/bad-0/00000000000000000003.log", crate::fixture::DATA));
    let file = klamm_env::Files::open(&fixture.disk(), &path, klamm_env::OpenMode::Write).unwrap();
    file.write_at(&[std::io::IoSlice::new(b"!")], 200).unwrap();
    fixture.pass(60_000).await;
    assert_eq!(cleaned(&fixture), Some(9));
    let page = fixture.node.observer().metrics().await;
    for line in [
        "klamm_log_cleaner_uncleanable_partitions{log_dir=\"/data\"} 1",
        "klamm_log_cleaner_max_dirty_percent 0",
    ] {
        assert!(page.contains(line), "{line}:\n{page}");
    }
    let bytes = page
        .lines()
        .find(|line| line.starts_with("klamm_log_cleaner_uncleanable_bytes{"));
    assert!(bytes.is_some_and(|line| !line.ends_with(" 0")), "{bytes:?}");
    assert_eq!(fixture.count("bad-0", ".cleaned"), 0);
}

#[tokio::test(start_paused = true)]
async fn committed_offsets_are_compacted_and_found_again() {
    let fixture = crate::groups::start(&[]).await;
    let mut client = fixture.connect();
    client
        .set(2, "__consumer_offsets", "internal.segment.bytes", "2000")
        .await;
    assert_eq!(commit(&mut client, "once", 7, "").await, 0);
    for offset in 0..100 {
        assert_eq!(commit(&mut client, "often", offset, "").await, 0);
    }
    fixture.pass(90_000).await;
    let text = fixture.text("cleaner-offset-checkpoint");
    assert!(text.contains("__consumer_offsets 0 "), "{text}");
    let names = fixture.names("__consumer_offsets-0").into_iter();
    let bytes = names
        .map(|name| fixture.len(&format!("__consumer_offsets-0/{name}")))
        .sum::<u64>();
    assert!(bytes < 6_000, "{bytes} of some 12,000");
    let fixture = fixture
        .restart(|_| {}, &[("offsets.topic.num.partitions", "1")])
        .await
        .unwrap();
    let mut client = fixture.connect();
    crate::groups::find(&mut client).await;
    fixture.pass(1_000).await;
    for (group, offset) in [("once", 7), ("often", 99)] {
        assert_eq!(
            committed(&mut client, group).await,
            Ok(vec![(0, offset)]),
            "{group}"
        );
    }
}
