//! What stands before a message: lengths, API numbers, versions, client ids, tagged fields; and messages that are cut.

use anyhow::Result;
use klamm_protocol::ApiKey::{self, ApiVersions, Metadata};

use crate::scenario::{Scenario, header};

const ID: i32 = 0x0102_0304;

/// A request for the brokers alone (version 1: an empty array of topics).
fn metadata(client_id: Option<&str>) -> Vec<u8> {
    [header(Metadata.to_i16(), 1, ID, client_id), vec![0; 4]].concat()
}

/// The same in version 9, with `tags` behind the header and `end` behind the message.
fn flexible(tags: &[u8], end: &[u8]) -> Vec<u8> {
    let head = header(Metadata.to_i16(), 9, ID, Some("x"));
    // No topics, no auto-creation, no authorized operations.
    [&head, tags, &[1, 0, 0, 0], end].concat()
}

pub(super) fn run(s: &mut Scenario) -> Result<()> {
    client_ids(s)?;
    numbers(s)?;
    tags(s)?;
    cut(s)?;
    lengths(s)
}

fn client_ids(s: &mut Scenario) -> Result<()> {
    s.raw("client-id-null", &metadata(None), Metadata, 1)?;
    s.raw("client-id-empty", &metadata(Some("")), Metadata, 1)?;
    s.raw(
        "client-id-of-strange-characters",
        &metadata(Some("a b\n\u{e4}\u{0}/=,")),
        Metadata,
        1,
    )?;
    s.raw(
        "client-id-of-30000",
        &metadata(Some(&"c".repeat(30_000))),
        Metadata,
        1,
    )?;
    let mut not_utf8 = metadata(Some("ab"));
    not_utf8[10..12].copy_from_slice(&[0xff, 0xfe]);
    s.raw("client-id-not-utf8", &not_utf8, Metadata, 1)?;
    let mut negative = metadata(None);
    negative[8..10].copy_from_slice(&(-2i16).to_be_bytes());
    s.raw("client-id-length-minus-2", &negative, Metadata, 1)?;
    let mut beyond = metadata(Some("ab"));
    beyond[8..10].copy_from_slice(&1000i16.to_be_bytes());
    s.raw("client-id-beyond-the-frame", &beyond, Metadata, 1)?;
    Ok(())
}

fn numbers(s: &mut Scenario) -> Result<()> {
    let apis = [
        ("api-999", 999),
        ("api-minus-1", -1),
        ("api-max", i16::MAX),
        ("api-removed-leader-and-isr", 4),
        ("api-of-controllers-vote", 52),
        ("api-of-controllers-broker-registration", 62),
        ("api-of-controllers-allocate-producer-ids", 67),
        ("api-envelope", 58),
    ];
    for (step, number) in apis {
        let frame = [header(number, 0, ID, Some("x")), vec![0; 16]].concat();
        s.raw(step, &frame, Metadata, 1)?;
    }
    let versions = [
        ("metadata-version-14", Metadata, 14),
        ("metadata-version-minus-1", Metadata, -1),
        ("metadata-version-max", Metadata, i16::MAX),
        ("produce-version-2", ApiKey::Produce, 2),
        ("produce-version-0", ApiKey::Produce, 0),
        ("produce-version-14", ApiKey::Produce, 14),
        ("fetch-version-3", ApiKey::Fetch, 3),
        ("fetch-version-19", ApiKey::Fetch, 19),
        ("list-offsets-version-0", ApiKey::ListOffsets, 0),
        ("list-offsets-version-12", ApiKey::ListOffsets, 12),
        ("create-topics-version-1", ApiKey::CreateTopics, 1),
        ("create-topics-version-8", ApiKey::CreateTopics, 8),
        ("delete-topics-version-0", ApiKey::DeleteTopics, 0),
        ("init-producer-id-version-6", ApiKey::InitProducerId, 6),
        ("describe-configs-version-0", ApiKey::DescribeConfigs, 0),
        (
            "describe-topic-partitions-version-1",
            ApiKey::DescribeTopicPartitions,
            1,
        ),
    ];
    for (step, api, version) in versions {
        let frame = [header(api.to_i16(), version, ID, Some("x")), vec![0; 32]].concat();
        s.raw(step, &frame, Metadata, 1)?;
    }
    for (step, version) in [
        ("api-versions-6", 6),
        ("api-versions-max", i16::MAX),
        ("api-versions-minus-1", -1),
    ] {
        let frame = [header(ApiVersions.to_i16(), version, ID, Some("x")), vec![0; 8]].concat();
        s.raw(step, &frame, ApiVersions, 0)?;
        s.raw(
            &format!("goes-on-after-{step}"),
            &metadata(Some("x")),
            Metadata,
            1,
        )?;
    }
    Ok(())
}

fn tags(s: &mut Scenario) -> Result<()> {
    s.raw("no-tags", &flexible(&[0], &[0]), Metadata, 9)?;
    s.raw(
        "unknown-tag-in-header",
        &flexible(&[1, 99, 2, 7, 7], &[0]),
        Metadata,
        9,
    )?;
    s.raw(
        "unknown-tag-in-body",
        &flexible(&[0], &[1, 99, 2, 7, 7]),
        Metadata,
        9,
    )?;
    s.raw(
        "two-unknown-tags",
        &flexible(&[0], &[2, 98, 0, 99, 0]),
        Metadata,
        9,
    )?;
    s.raw(
        "tags-in-descending-order",
        &flexible(&[0], &[2, 99, 0, 98, 0]),
        Metadata,
        9,
    )?;
    s.raw("same-tag-twice", &flexible(&[0], &[2, 99, 0, 99, 0]), Metadata, 9)?;
    s.raw(
        "tag-beyond-the-frame",
        &flexible(&[0], &[1, 99, 50, 7]),
        Metadata,
        9,
    )?;
    s.raw("tag-count-beyond-the-frame", &flexible(&[0], &[100]), Metadata, 9)?;
    s.raw(
        "tag-count-of-six-bytes",
        &flexible(&[0], &[0x80, 0x80, 0x80, 0x80, 0x80, 1]),
        Metadata,
        9,
    )?;
    Ok(())
}

fn cut(s: &mut Scenario) -> Result<()> {
    let head = |version: i16| header(Metadata.to_i16(), version, ID, Some("x"));
    let cases: [(&str, i16, Vec<u8>); 9] = [
        ("body-missing", 1, vec![]),
        ("body-cut-in-count", 1, vec![0, 0]),
        ("array-beyond-the-frame", 1, vec![0, 0, 0, 9]),
        ("array-of-a-billion", 1, vec![0x3f, 0xff, 0xff, 0xff]),
        ("array-minus-2", 1, vec![0xff, 0xff, 0xff, 0xfe]),
        ("name-beyond-the-frame", 1, vec![0, 0, 0, 1, 0, 50, b'a']),
        ("name-null", 1, vec![0, 0, 0, 1, 0xff, 0xff]),
        ("name-not-utf8", 1, vec![0, 0, 0, 1, 0, 2, 0xff, 0xfe]),
        ("bytes-behind-the-message", 1, vec![0, 0, 0, 0, 1, 2, 3]),
    ];
    for (step, version, body) in cases {
        s.raw(step, &[head(version), body].concat(), Metadata, version)?;
    }
    s.raw("header-cut", &[0, 3, 0, 1, 0, 0], Metadata, 1)?;
    s.raw("header-without-client-id", &head(1)[..8], Metadata, 1)?;
    Ok(())
}

fn lengths(s: &mut Scenario) -> Result<()> {
    s.raw("frame-empty", &[], Metadata, 1)?;
    let announced = |length: i32| [&length.to_be_bytes()[..], &metadata(Some("x"))].concat();
    s.reconnect();
    s.raw_stream("length-minus-1", &announced(-1), Metadata)?;
    s.reconnect();
    s.raw_stream("length-min", &announced(i32::MIN), Metadata)?;
    s.reconnect();
    s.raw_stream("length-2-gb", &announced(i32::MAX), Metadata)?;
    s.reconnect();
    s.raw_stream(
        "length-above-socket-request-max-bytes",
        &announced(104_857_601),
        Metadata,
    )?;
    s.reconnect();
    s.raw_stream(
        "http-request",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        Metadata,
    )?;
    s.reconnect();
    s.raw_stream(
        "tls-client-hello",
        &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0, 0, 0],
        Metadata,
    )?;
    s.reconnect();
    Ok(())
}
