//! Produce with batches that are not as they should be, each to a partition of its own; what was stored of those that
//! were accepted.

use anyhow::Result;
use bytes::Bytes;
use klamm_model::Offset;
use klamm_protocol::ApiKey::{Fetch, Produce};
use klamm_records::Compression;

use super::produce::fetch;
use crate::batches::{batch, changed, spec, with_body, with_byte};
use crate::scenario::{Scenario, produce};

/// The body of a batch with one record of value `a` and without key, built by hand to be spoilt.
const BODY: [u8; 8] = [14, 0, 0, 0, 1, 2, b'a', 0];

pub(super) fn run(s: &mut Scenario) -> Result<()> {
    let mut cases = [fields(), attributes(), lengths(), bodies(), packed()].concat();
    cases.push(("value-empty", batch(&[""])));
    let partitions = i32::try_from(cases.len())?;
    let topic = s.topic("batches-a", partitions + 1, &[("retention.ms", "-1")])?;
    for ((step, bytes), partition) in cases.into_iter().zip(0..) {
        let answer = s
            .ask(Produce, step, 9, &produce(&topic, partition, &bytes))?
            .answer()?;
        if answer.int("Responses.0.PartitionResponses.0.ErrorCode")? == 0 {
            let mut stored = fetch(&topic);
            stored["Topics"][0]["Partitions"][0]["Partition"] = partition.into();
            s.ask(Fetch, &format!("stored-{step}"), 12, &stored)?;
        }
    }
    for (step, bytes) in [
        ("crc", with_byte(&batch(&["a"]), 20, 0xee)),
        ("magic-1", with_byte(&batch(&["a"]), 16, 1)),
    ] {
        s.each(
            Produce,
            &format!("{step}-by-version"),
            [3, 8, 13],
            &produce(&topic, partitions, &bytes),
        )?;
    }
    Ok(())
}

type Case = (&'static str, Bytes);

fn fields() -> Vec<Case> {
    let good = batch(&["a", "b"]);
    vec![
        ("crc-wrong", with_byte(&good, 17, good[17] ^ 1)),
        ("magic-0", with_byte(&good, 16, 0)),
        ("magic-1", with_byte(&good, 16, 1)),
        ("magic-3", with_byte(&good, 16, 3)),
        ("magic-minus-1", with_byte(&good, 16, 0xff)),
        ("base-offset-5", changed(&good, |h| h.base_offset = Offset(5))),
        (
            "base-offset-minus-1",
            changed(&good, |h| h.base_offset = Offset(-1)),
        ),
        ("leader-epoch-9", changed(&good, |h| h.partition_leader_epoch = 9)),
        ("last-offset-delta-0", changed(&good, |h| h.last_offset_delta = 0)),
        ("last-offset-delta-9", changed(&good, |h| h.last_offset_delta = 9)),
        (
            "last-offset-delta-minus-1",
            changed(&good, |h| h.last_offset_delta = -1),
        ),
        ("count-1", changed(&good, |h| h.record_count = 1)),
        ("count-3", changed(&good, |h| h.record_count = 3)),
        ("count-0", changed(&good, |h| h.record_count = 0)),
        ("count-minus-1", changed(&good, |h| h.record_count = -1)),
        ("count-max", changed(&good, |h| h.record_count = i32::MAX)),
        (
            "count-and-delta-max",
            changed(&good, |h| {
                h.record_count = i32::MAX;
                h.last_offset_delta = i32::MAX - 1;
            }),
        ),
    ]
}

fn attributes() -> Vec<Case> {
    let good = batch(&["a", "b"]);
    vec![
        ("codec-5", changed(&good, |h| h.attributes = 5)),
        ("codec-7", changed(&good, |h| h.attributes = 7)),
        (
            "codec-gzip-over-plain-records",
            changed(&good, |h| h.attributes = 1),
        ),
        (
            "codec-zstd-over-plain-records",
            changed(&good, |h| h.attributes = 4),
        ),
        ("append-time-by-the-client", changed(&good, |h| h.attributes = 8)),
        ("control-batch", changed(&good, |h| h.attributes = 0x20)),
        (
            "transactional-without-producer",
            changed(&good, |h| h.attributes = 0x10),
        ),
        (
            "delete-horizon-by-the-client",
            changed(&good, |h| h.attributes = 0x40),
        ),
        ("unused-attribute-bits", changed(&good, |h| h.attributes = 0x0f80)),
        ("max-timestamp-wrong", changed(&good, |h| h.max_timestamp.0 += 5)),
        ("max-timestamp-below", changed(&good, |h| h.max_timestamp.0 -= 1)),
        (
            "producer-epoch-without-id",
            changed(&good, |h| h.producer_epoch = 1),
        ),
        (
            "sequence-without-producer",
            changed(&good, |h| h.base_sequence = 3),
        ),
        ("producer-without-sequence", changed(&good, |h| h.producer_id = 7)),
        (
            "producer-without-epoch",
            changed(&good, |h| {
                h.producer_id = 7;
                h.base_sequence = 0;
            }),
        ),
    ]
}

fn lengths() -> Vec<Case> {
    let good = batch(&["a"]);
    let with_length = |length: i32| {
        let mut bytes = good.to_vec();
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        Bytes::from(bytes)
    };
    let length = i32::try_from(good.len()).unwrap_or_default() - 12;
    vec![
        ("length-0", with_length(0)),
        ("length-minus-1", with_length(-1)),
        ("length-min", with_length(i32::MIN)),
        ("length-max", with_length(i32::MAX)),
        ("length-one-too-small", with_length(length - 1)),
        ("length-one-too-large", with_length(length + 1)),
        ("length-48", with_length(48)),
        ("length-13", with_length(13)),
        ("cut-behind-the-header", good.slice(..61)),
        ("cut-in-the-header", good.slice(..40)),
        ("cut-in-the-length", good.slice(..10)),
        ("cut-by-one", good.slice(..good.len() - 1)),
        ("one-byte", good.slice(..1)),
        ("two-batches", [&good[..], &good[..]].concat().into()),
        ("batch-and-a-byte", [&good[..], &[0]].concat().into()),
        ("batch-and-a-cut-batch", [&good[..], &good[..30]].concat().into()),
        ("zeros", vec![0; 100].into()),
    ]
}

fn bodies() -> Vec<Case> {
    let one = with_body(&batch(&["a"]), &BODY);
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut body = BODY.to_vec();
        change(&mut body);
        with_body(&one, &body)
    };
    vec![
        ("body-good", one.clone()),
        ("body-empty", with(&|b| b.clear())),
        ("body-one-byte-more", with(&|b| b.push(0))),
        ("body-one-byte-less", with(&|b| b.truncate(7))),
        ("record-attributes-set", with(&|b| b[1] = 0xff)),
        ("record-length-0", with(&|b| b[0] = 0)),
        ("record-length-negative", with(&|b| b[0] = 1)),
        ("record-length-too-small", with(&|b| b[0] = 12)),
        ("record-length-too-large", with(&|b| b[0] = 40)),
        ("record-offset-delta-1", with(&|b| b[3] = 2)),
        ("record-offset-delta-minus-1", with(&|b| b[3] = 1)),
        ("record-key-length-minus-2", with(&|b| b[4] = 3)),
        ("record-key-beyond-the-record", with(&|b| b[4] = 100)),
        ("record-value-null", with_body(&one, &[12, 0, 0, 0, 1, 1, 0])),
        ("record-value-beyond-the-record", with(&|b| b[5] = 100)),
        ("record-header-count-minus-1", with(&|b| b[7] = 1)),
        ("record-header-count-too-large", with(&|b| b[7] = 20)),
        (
            "record-header-with-null-name",
            with_body(&one, &[18, 0, 0, 0, 1, 2, b'a', 2, 1, 1]),
        ),
        (
            "record-header-without-value",
            with_body(&one, &[20, 0, 0, 0, 1, 2, b'a', 2, 2, b'h', 1]),
        ),
        (
            "record-header-with-empty-name",
            with_body(&one, &[18, 0, 0, 0, 1, 2, b'a', 2, 0, 0]),
        ),
        (
            "record-varint-of-six-bytes",
            with_body(&one, &[0x80, 0x80, 0x80, 0x80, 0x80, 1, 0, 0]),
        ),
    ]
}

fn packed() -> Vec<Case> {
    let mut cases = Vec::new();
    let names = [
        (
            Compression::Gzip,
            ["gzip-cut", "gzip-spoilt", "gzip-count-1", "gzip-offset-deltas"],
        ),
        (
            Compression::Snappy,
            [
                "snappy-cut",
                "snappy-spoilt",
                "snappy-count-1",
                "snappy-offset-deltas",
            ],
        ),
        (
            Compression::Lz4,
            ["lz4-cut", "lz4-spoilt", "lz4-count-1", "lz4-offset-deltas"],
        ),
        (
            Compression::Zstd,
            ["zstd-cut", "zstd-spoilt", "zstd-count-1", "zstd-offset-deltas"],
        ),
    ];
    for (codec, [cut, spoilt, count, deltas]) in names {
        let good = spec(&["aaaaaaaaaaaa", "bbbbbbbbbbbbbb"]).packed(codec).build();
        let body = &good[61..];
        cases.push((cut, with_body(&good, &body[..body.len() / 2])));
        let mut bad = body.to_vec();
        bad[..4].copy_from_slice(&[0xde, 0xad, 0xbe, 0xef]);
        cases.push((spoilt, with_body(&good, &bad)));
        cases.push((count, changed(&good, |h| h.record_count = 1)));
        cases.push((
            deltas,
            changed(&good, |h| {
                h.record_count = 3;
                h.last_offset_delta = 2;
            }),
        ));
    }
    cases
}
