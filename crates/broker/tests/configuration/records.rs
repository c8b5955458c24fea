//! What is taken from a producer, how it is stored, and when it counts as stored.

use bytes::Bytes;
use klamm_model::{ErrorCode, Offset, TimestampMs};
use klamm_records::{BatchBuilder, BatchHeader, Compression};

use crate::client::{batch, bytes_of};
use crate::fixture::{Both, Way};

const DAY_MS: i64 = 24 * 3_600_000;

/// What a client is told about a batch made with the present time, for each way in which the key can be set.
async fn refusal(key: Both<'_>, expected: ErrorCode, batch: impl Fn(i64) -> Bytes) {
    let refused = expected.code();
    for (way, expected) in Way::SET
        .map(|way| (way, refused))
        .into_iter()
        .chain([(Way::Unset, 0)])
    {
        let fixture = key.start(way, &[], &[]).await;
        let code = fixture.connect().try_produce(batch(fixture.now())).await;
        assert_eq!(code, expected, "{key:?} {way:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn batches_above_a_size_are_refused() {
    let key = Both::new("message.max.bytes", "max.message.bytes", "500");
    refusal(key, ErrorCode::MessageTooLarge, |now| batch(now, 600)).await;
}

#[tokio::test(start_paused = true)]
async fn records_that_unpack_above_a_size_are_refused() {
    let name = "max.decompressed.message.bytes";
    refusal(Both::new(name, name, "5000"), ErrorCode::InvalidRecord, |now| {
        let mut builder = BatchBuilder::new(Compression::Gzip);
        builder.append(TimestampMs(now), None, Some(&[0; 6000]), &[]);
        builder.build(Offset(0)).unwrap()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn timestamps_too_far_from_now_are_refused() {
    let before = Both::new(
        "log.message.timestamp.before.max.ms",
        "message.timestamp.before.max.ms",
        "60000",
    );
    refusal(before, ErrorCode::InvalidTimestamp, |now| batch(now - 61_000, 10)).await;
    let after = Both::new(
        "log.message.timestamp.after.max.ms",
        "message.timestamp.after.max.ms",
        "60000",
    );
    refusal(after, ErrorCode::InvalidTimestamp, |now| batch(now + 61_000, 10)).await;
}

#[tokio::test(start_paused = true)]
async fn the_broker_gives_records_their_time() {
    let key = Both::new(
        "log.message.timestamp.type",
        "message.timestamp.type",
        "LogAppendTime",
    );
    for way in Way::SET.into_iter().chain([Way::Unset]) {
        let fixture = key.start(way, &[], &[]).await;
        let mut client = fixture.connect();
        let sent = fixture.now() - DAY_MS;
        let answer = client.produce_to("t", 0, batch(sent, 10)).await;
        let stored = BatchHeader::parse(&bytes_of(&client.fetch(0).await)).unwrap();
        let near = |ms: i64| (fixture.now() - 1000..=fixture.now()).contains(&ms);
        if way == Way::Unset {
            assert_eq!((answer.log_append_time_ms, stored.max_timestamp.0), (-1, sent));
        } else {
            assert!(
                near(answer.log_append_time_ms) && near(stored.max_timestamp.0),
                "{way:?} {answer:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_compacted_topic_needs_keys() {
    let key = Both::new("log.cleanup.policy", "cleanup.policy", "compact");
    refusal(key, ErrorCode::InvalidRecord, |now| {
        let mut builder = BatchBuilder::default();
        builder.append(TimestampMs(now), None, Some(b"value"), &[]);
        builder.build(Offset(0)).unwrap()
    })
    .await;
}

/// Text in which a codec that looks longer finds more.
fn text() -> Vec<u8> {
    let mut state = 1u32;
    let mut word = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        format!("word{} ", (state >> 24) % 61)
    };
    (0..6_000).flat_map(|_| word().into_bytes()).collect()
}

fn text_batch(now: i64) -> Bytes {
    let mut builder = BatchBuilder::default();
    builder.append(TimestampMs(now), None, Some(&text()), &[]);
    builder.build(Offset(0)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn batches_are_stored_in_the_codec_of_the_topic() {
    for (value, codec) in [
        ("gzip", Compression::Gzip),
        ("snappy", Compression::Snappy),
        ("lz4", Compression::Lz4),
        ("zstd", Compression::Zstd),
    ] {
        let key = Both::new("compression.type", "compression.type", value);
        for (way, expected) in Way::SET
            .map(|way| (way, codec))
            .into_iter()
            .chain([(Way::Unset, Compression::None)])
        {
            let fixture = key.start(way, &[], &[]).await;
            let mut client = fixture.connect();
            client.produce(text_batch(fixture.now())).await;
            let stored = BatchHeader::parse(&bytes_of(&client.fetch(0).await)).unwrap();
            assert_eq!(stored.compression(), Ok(expected), "{value} {way:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_level_of_a_codec_decides_how_small_a_batch_gets() {
    for (name, codec, value) in [
        ("compression.gzip.level", "gzip", "1"),
        ("compression.zstd.level", "zstd", "-5"),
    ] {
        let key = Both::new(name, name, value);
        let mut sizes = Vec::new();
        for way in Way::SET.into_iter().chain([Way::Unset]) {
            let fixture = key.start(way, &[("compression.type", codec)], &[]).await;
            fixture.connect().produce(text_batch(fixture.now())).await;
            sizes.push(fixture.len("t-0/00000000000000000000.log"));
        }
        let default = sizes.pop().unwrap();
        assert!(
            sizes.iter().all(|size| *size > default),
            "{name}: {sizes:?}, {default} by default"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_counts_as_stored_on_the_device_or_before() {
    let key = Both::new("klamm.durability", "klamm.durability", "page-cache");
    for (way, syncs) in Way::SET.map(|way| (way, 0)).into_iter().chain([(Way::Unset, 1)]) {
        let fixture = key.start(way, &[], &[]).await;
        let mut client = fixture.connect();
        let synced = || fixture.calls("SyncData", "/t-0/00000000000000000000.log");
        let before = synced();
        client.produce(batch(fixture.now(), 10)).await;
        assert_eq!(synced() - before, syncs, "{way:?}");
        assert_eq!(client.fetch(0).await.high_watermark, 1, "{way:?}");
    }
}
