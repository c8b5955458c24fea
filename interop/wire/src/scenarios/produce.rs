//! Produce: versions, acks, topics that are not there, several partitions in a request, limits of the topic.

use anyhow::Result;
use bytes::Bytes;
use klamm_protocol::ApiKey::{DescribeConfigs, Fetch, ListOffsets, Metadata, Produce};
use klamm_records::Compression;
use serde_json::{Value as Json, json};

use crate::batches::{SOME_TIME, batch, changed, spec, with_byte};
use crate::encode::hex;
use crate::normal::now_ms;
use crate::scenario::{Scenario, Topic, produce, produce_acks};
use crate::value::Value;

/// An id that no topic has.
const NOBODY: &str = "BwcHBwcHBwcHBwcHBwcHBw";
const HOUR_MS: i64 = 3_600_000;

/// Reads a partition from its start.
pub(super) fn fetch(topic: &Topic) -> Json {
    json!({"MaxWaitMs": 0, "MinBytes": 0, "MaxBytes": 10_000_000, "SessionEpoch": -1, "Topics": [
        {"Topic": topic.name, "TopicId": topic.id, "Partitions": [
            {"Partition": 0, "CurrentLeaderEpoch": -1, "FetchOffset": 0, "PartitionMaxBytes": 10_000_000}]}]})
}

fn request(data: Json) -> Json {
    json!({"Acks": -1, "TimeoutMs": 5000, "TopicData": data})
}

pub(super) fn run(s: &mut Scenario) -> Result<()> {
    let topic = s.log("produce-a", &[])?;
    let one = batch(&["one"]);
    s.each(Produce, "one-batch", 3..=13, &produce(&topic, 0, &one))?;
    for (step, acks) in [
        ("acks-1", 1),
        ("acks-2", 2),
        ("acks-minus-2", -2),
        ("acks-max", i16::MAX),
    ] {
        s.each(Produce, step, [3, 9, 13], &produce_acks(&topic, 0, &one, acks))?;
    }
    unknown(s, &topic)?;
    several(s)?;
    for (step, timeout, acks) in [
        ("timeout-0-acks-1", 0, 1),
        ("timeout-minus-1-acks-1", -1, 1),
        // The time is for the other replicas, and there are none.
        ("timeout-0-acks-all", 0, -1),
        ("timeout-minus-1-acks-all", -1, -1),
    ] {
        let mut request = produce_acks(&topic, 0, &one, acks);
        request["TimeoutMs"] = timeout.into();
        s.ask(Produce, step, 9, &request)?;
    }
    ask_all(s, "all-of-it", &topic, 18)?;
    acks_0(s)?;
    min_isr(s)
}

fn unknown(s: &mut Scenario, topic: &Topic) -> Result<()> {
    let one = batch(&["one"]);
    let nobody = Topic {
        name: "produce-nobody".to_owned(),
        id: NOBODY.to_owned(),
    };
    s.each(
        Produce,
        "unknown-topic",
        [3, 9, 12, 13],
        &produce(&nobody, 0, &one),
    )?;
    s.each(
        Produce,
        "unknown-partition",
        [3, 9, 12, 13],
        &produce(topic, 7, &one),
    )?;
    s.each(Produce, "negative-partition", [3, 13], &produce(topic, -1, &one))?;
    let unnamed = Topic {
        name: String::new(),
        id: "AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
    };
    s.each(
        Produce,
        "no-name-and-zero-id",
        [3, 12, 13],
        &produce(&unnamed, 0, &one),
    )?;
    let misnamed = Topic {
        name: "produce a".to_owned(),
        id: topic.id.clone(),
    };
    s.ask(Produce, "bad-name", 9, &produce(&misnamed, 0, &one))?;
    let one_acks = produce_acks(&nobody, 0, &one, 1);
    s.ask(Produce, "unknown-topic-acks-1", 9, &one_acks)?;
    s.ask(
        Produce,
        "unknown-topic-bad-acks",
        9,
        &produce_acks(&nobody, 0, &one, 5),
    )?;
    let bad_acks = [
        ("unknown-id-bad-acks", 13, produce_acks(&nobody, 0, &one, 5)),
        ("unknown-partition-bad-acks", 9, produce_acks(topic, 7, &one, 5)),
        ("no-batch-bad-acks", 9, produce_acks(topic, 0, &Bytes::new(), 5)),
        (
            "wrong-crc-bad-acks",
            9,
            produce_acks(topic, 0, &with_byte(&one, 17, 0), 5),
        ),
    ];
    for (step, version, request) in bad_acks {
        s.ask(Produce, step, version, &request)?;
    }
    let transactional = changed(&one, |header| header.attributes |= 1 << 4);
    s.ask(
        Produce,
        "unknown-topic-transactional-batch",
        9,
        &produce(&nobody, 0, &transactional),
    )?;
    Ok(())
}

/// The data for two topics.
type Data<'a> = dyn Fn(&Topic, &Topic) -> Json + 'a;

/// Each case has topics of its own, so that what one of them appends does not move the offsets of the next.
fn several(s: &mut Scenario) -> Result<()> {
    let data = |partition: i32, bytes: &Bytes| json!({"Index": partition, "Records": hex(bytes)});
    let of = |topic: &Topic, data: &[Json]| json!({"Name": topic.name, "TopicId": topic.id, "PartitionData": data});
    let (a, b) = (batch(&["a"]), batch(&["b"]));
    let transactional = changed(&b, |header| header.attributes |= 1 << 4);
    let cases: [(&str, &Data<'_>); 9] = [
        ("no-topics", &|_, _| json!([])),
        ("no-partitions", &|x, _| json!([of(x, &[])])),
        ("two-partitions", &|x, _| {
            json!([of(x, &[data(0, &a), data(1, &b)])])
        }),
        ("two-topics", &|x, y| {
            json!([of(x, &[data(0, &a)]), of(y, &[data(0, &b)])])
        }),
        ("one-good-one-unknown", &|x, _| {
            json!([of(x, &[data(0, &a), data(9, &b)])])
        }),
        ("one-plain-one-transactional", &|x, _| {
            json!([of(x, &[data(0, &a), data(1, &transactional)])])
        }),
        ("same-partition-twice", &|x, _| {
            json!([of(x, &[data(0, &a), data(0, &b)])])
        }),
        ("same-topic-twice", &|x, _| {
            json!([of(x, &[data(0, &a)]), of(x, &[data(1, &b)])])
        }),
        ("empty-records", &|x, _| json!([of(x, &[data(0, &Bytes::new())])])),
    ];
    for (step, topics) in cases {
        for version in [3, 9, 13] {
            let name = format!("produce-{step}-v{version}");
            let x = s.topic(&name, 2, &[("retention.ms", "-1")])?;
            let y = s.topic(&format!("{name}-other"), 2, &[("retention.ms", "-1")])?;
            s.ask(Produce, step, version, &request(topics(&x, &y)))?;
        }
    }
    let topic = s.log("produce-odd", &[])?;
    // Kafka never answers this one.
    let null = request(json!([of(&topic, &[json!({"Index": 0, "Records": null})])]));
    s.ask(Produce, "null-records", 9, &null)?;
    let mut transactional = produce(&topic, 0, &a);
    transactional["TransactionalId"] = "produce-transaction".into();
    s.ask(Produce, "transactional-id-with-a-plain-batch", 9, &transactional)?;
    Ok(())
}

/// What has no answer shows in the next one, as soon as it is committed.
fn acks_0(s: &mut Scenario) -> Result<()> {
    let topic = s.log("produce-acks-0", &[])?;
    let partition = json!({"PartitionIndex": 0, "Timestamp": -1});
    let end = json!({"ReplicaId": -1, "Topics": [{"Name": topic.name, "Partitions": [partition]}]});
    let at = |offset: i64| {
        move |answer: &Value| {
            answer
                .int("Topics.0.Partitions.0.Offset")
                .is_ok_and(|end| end == offset)
        }
    };
    for (version, offset) in [(3, 1), (9, 2), (13, 3)] {
        s.send(Produce, version, &produce_acks(&topic, 0, &batch(&["x"]), 0))?;
        let step = format!("end-after-acks-0-v{version}");
        s.ask_until(ListOffsets, &step, 5, &end, at(offset))?;
    }
    s.send(Produce, 9, &produce_acks(&topic, 7, &batch(&["x"]), 0))?;
    s.ask(
        Metadata,
        "acks-0-to-an-unknown-partition-closes",
        9,
        &json!({"Topics": []}),
    )?;
    s.send(Produce, 9, &produce_acks(&topic, 0, &batch(&["y"]), 0))?;
    s.ask_until(ListOffsets, "end-after-the-new-connection", 5, &end, at(4))?;
    let wrong_crc = with_byte(&batch(&["z"]), 17, 0);
    s.send(Produce, 9, &produce_acks(&topic, 0, &wrong_crc, 0))?;
    s.ask(
        Metadata,
        "acks-0-of-a-wrong-crc-closes",
        9,
        &json!({"Topics": []}),
    )?;
    Ok(())
}

/// Reads a partition as soon as `end` is committed, which with acks 1 is a little after the answer.
fn ask_all(s: &mut Scenario, step: &str, topic: &Topic, end: i64) -> Result<()> {
    s.ask_until(Fetch, step, 12, &fetch(topic), |answer| {
        let mark = answer.int("Responses.0.Partitions.0.HighWatermark");
        mark.is_ok_and(|mark| mark == end)
    })?;
    Ok(())
}

fn min_isr(s: &mut Scenario) -> Result<()> {
    let topic = s.log("produce-min-isr", &[("min.insync.replicas", "2")])?;
    let one = batch(&["one"]);
    for (step, acks) in [("min-isr-2-acks-all", -1), ("min-isr-2-acks-1", 1)] {
        s.each(Produce, step, [3, 9, 13], &produce_acks(&topic, 0, &one, acks))?;
    }
    ask_all(s, "min-isr-2-all-of-it", &topic, 6)?;
    Ok(())
}

/// What the configs of a topic make of a batch.
pub(super) fn configured(s: &mut Scenario) -> Result<()> {
    compacted(s)?;
    timestamps(s)?;
    append_time(s)?;
    sizes(s)?;
    recompressed(s)
}

fn compacted(s: &mut Scenario) -> Result<()> {
    let topic = s.log("produce-compact", &[("cleanup.policy", "compact")])?;
    s.each(
        Produce,
        "compact-with-keys",
        [3, 9],
        &produce(&topic, 0, &batch(&["a", "b"])),
    )?;
    let keyless = spec(&["a", "b", "c"]).keyless();
    s.each(
        Produce,
        "compact-without-keys",
        [3, 7, 8, 9, 13],
        &produce(&topic, 0, &keyless.build()),
    )?;
    let packed = keyless.clone().packed(Compression::Gzip).build();
    s.ask(
        Produce,
        "compact-without-keys-packed",
        9,
        &produce(&topic, 0, &packed),
    )?;
    let both = s.log("produce-compact-delete", &[("cleanup.policy", "compact,delete")])?;
    s.ask(
        Produce,
        "compact-and-delete-without-keys",
        9,
        &produce(&both, 0, &keyless.build()),
    )?;
    Ok(())
}

fn timestamps(s: &mut Scenario) -> Result<()> {
    let topic = s.log("produce-times", &[])?;
    let now = now_ms();
    let cases = [
        ("time-none", spec(&["a"]).at(-1)),
        ("time-0", spec(&["a"]).at(0)),
        ("time-minus-2", spec(&["a"]).at(-2)),
        ("time-in-half-an-hour", spec(&["a"]).at(now + HOUR_MS / 2)),
        ("time-in-two-hours", spec(&["a", "b"]).at(now + 2 * HOUR_MS)),
        ("time-in-the-year-2096", spec(&["a"]).at(4_000_000_000_000)),
        (
            "time-in-the-year-2096-packed",
            spec(&["a", "b"]).at(4_000_000_000_000).packed(Compression::Lz4),
        ),
        ("time-max", spec(&["a"]).at(i64::MAX)),
    ];
    for (step, spec) in cases {
        s.each(Produce, step, [7, 9], &produce(&topic, 0, &spec.build()))?;
    }
    s.ask(Fetch, "times-as-stored", 12, &fetch(&topic))?;
    let strict = s.log(
        "produce-times-strict",
        &[
            ("message.timestamp.before.max.ms", "3600000"),
            ("message.timestamp.after.max.ms", "60000"),
        ],
    )?;
    let cases = [
        ("strict-now", now),
        ("strict-too-old", now - 2 * HOUR_MS),
        ("strict-too-new", now + HOUR_MS / 2),
        ("strict-none", -1),
    ];
    for (step, time) in cases {
        s.each(
            Produce,
            step,
            [3, 9],
            &produce(&strict, 0, &spec(&["a", "b"]).at(time).build()),
        )?;
    }
    Ok(())
}

fn append_time(s: &mut Scenario) -> Result<()> {
    let topic = s.log(
        "produce-append-time",
        &[("message.timestamp.type", "LogAppendTime")],
    )?;
    s.each(
        Produce,
        "append-time",
        [3, 9, 13],
        &produce(&topic, 0, &batch(&["a", "b"])),
    )?;
    let packed = spec(&["a", "b"]).packed(Compression::Zstd).build();
    s.ask(Produce, "append-time-packed", 9, &produce(&topic, 0, &packed))?;
    let future = spec(&["a"]).at(4_000_000_000_000).build();
    s.ask(
        Produce,
        "append-time-takes-any-time",
        9,
        &produce(&topic, 0, &future),
    )?;
    s.ask(Fetch, "append-times-as-stored", 12, &fetch(&topic))?;
    let marked = changed(&batch(&["a"]), |header| header.attributes |= 8);
    s.ask(
        Produce,
        "append-time-said-by-the-client",
        9,
        &produce(&topic, 0, &marked),
    )?;
    Ok(())
}

fn sizes(s: &mut Scenario) -> Result<()> {
    let topic = s.log("produce-sizes", &[("max.message.bytes", "500")])?;
    let of = |length: usize| {
        let value = "v".repeat(length);
        spec(&[value.as_str()]).build()
    };
    // Header, lengths and key of one such record take 72 bytes.
    for (step, batch) in [
        ("size-at-limit", of(428)),
        ("size-above-limit", of(429)),
        ("size-far-above", of(5000)),
    ] {
        s.each(Produce, step, [3, 9], &produce(&topic, 0, &batch))?;
    }
    let value = "v".repeat(5000);
    let packed = spec(&[value.as_str()]).packed(Compression::Gzip).build();
    s.ask(Produce, "size-small-when-packed", 9, &produce(&topic, 0, &packed))?;
    let limited = s.log(
        "produce-unpacked-size",
        &[("max.decompressed.message.bytes", "1000")],
    )?;
    s.ask(
        Produce,
        "unpacked-size-above-limit",
        9,
        &produce(&limited, 0, &packed),
    )?;
    let small = spec(&["v"]).packed(Compression::Gzip).build();
    s.ask(
        Produce,
        "unpacked-size-below-limit",
        9,
        &produce(&limited, 0, &small),
    )?;
    let unlimited = s.log(
        "produce-segments",
        &[("max.message.bytes", "2000000"), ("segment.bytes", "1048576")],
    )?;
    s.ask(
        Produce,
        "size-above-a-segment",
        9,
        &produce(&unlimited, 0, &of(1_100_000)),
    )?;
    let default = s.log("produce-sizes-default", &[])?;
    s.ask(
        Produce,
        "size-above-the-default",
        9,
        &produce(&default, 0, &of(1_100_000)),
    )?;
    Ok(())
}

fn recompressed(s: &mut Scenario) -> Result<()> {
    for target in ["uncompressed", "gzip", "snappy", "lz4", "zstd", "producer"] {
        let topic = s.log(&format!("produce-to-{target}"), &[("compression.type", target)])?;
        for codec in Compression::ALL {
            let batch = spec(&["a", "b", "c"]).packed(codec).build();
            s.ask(
                Produce,
                &format!("{codec}-to-{target}"),
                9,
                &produce(&topic, 0, &batch),
            )?;
        }
        s.ask(Fetch, &format!("all-to-{target}"), 12, &fetch(&topic))?;
    }
    let topic = s.log("produce-zstd-versions", &[])?;
    let zstd = spec(&["a"]).packed(Compression::Zstd).build();
    s.each(Produce, "zstd", [3, 6, 7], &produce(&topic, 0, &zstd))?;
    for version in [9, 10] {
        s.ask(Fetch, "zstd-fetched", version, &fetch(&topic))?;
    }
    let described = json!({"Resources": [{"ResourceType": 2, "ResourceName": "produce-to-gzip",
        "ConfigurationKeys": ["compression.type", "retention.ms"]}], "IncludeSynonyms": true});
    s.ask(DescribeConfigs, "config-of-the-topic", 4, &described)?;
    let future = spec(&["a"]).at(SOME_TIME).packed(Compression::Snappy).build();
    let append = s.log(
        "produce-to-lz4-append-time",
        &[
            ("compression.type", "lz4"),
            ("message.timestamp.type", "LogAppendTime"),
        ],
    )?;
    s.ask(
        Produce,
        "snappy-to-lz4-append-time",
        9,
        &produce(&append, 0, &future),
    )?;
    s.ask(Fetch, "snappy-to-lz4-append-time-fetched", 12, &fetch(&append))?;
    Ok(())
}
