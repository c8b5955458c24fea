//! A record as JSON or YAML. Bytes that are no text are base64, under another name.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use klamm_model::TopicPartition;
use klamm_records::Record;
use serde::Serialize;

use crate::commands::time;

/// A record.
#[derive(Serialize)]
pub(super) struct Shown<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp: i64,
    time: String,
    #[serde(skip_serializing_if = "is_bytes")]
    key: Shape<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(skip_serializing_if = "is_bytes")]
    value: Shape<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    headers: Vec<Header<'a>>,
}

#[derive(Serialize)]
struct Header<'a> {
    name: std::borrow::Cow<'a, str>,
    #[serde(skip_serializing_if = "is_bytes")]
    value: Shape<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

/// Bytes that may be text.
#[derive(Serialize)]
#[serde(untagged)]
enum Shape<'a> {
    Text(&'a str),
    /// There are none.
    None,
    /// They are no text.
    #[serde(skip)]
    Bytes,
}

fn is_bytes(text: &Shape<'_>) -> bool {
    matches!(text, Shape::Bytes)
}

impl<'a> Shown<'a> {
    /// The record to be shown.
    pub(super) fn new(partition: &'a TopicPartition, record: &'a Record) -> Self {
        let (key, key_base64) = text(record.key.as_deref());
        let (value, value_base64) = text(record.value.as_deref());
        let headers = record.headers.iter().map(|header| {
            let (value, value_base64) = text(header.value.as_deref());
            Header {
                name: String::from_utf8_lossy(&header.key),
                value,
                value_base64,
            }
        });
        Self {
            topic: &partition.topic,
            partition: partition.partition,
            offset: record.offset.0,
            timestamp: record.timestamp.0,
            time: time::format(record.timestamp),
            key,
            key_base64,
            value,
            value_base64,
            headers: headers.collect(),
        }
    }
}

fn text(bytes: Option<&[u8]>) -> (Shape<'_>, Option<String>) {
    let Some(bytes) = bytes else {
        return (Shape::None, None);
    };
    match std::str::from_utf8(bytes) {
        Ok(text) => (Shape::Text(text), None),
        Err(_) => (Shape::Bytes, Some(STANDARD.encode(bytes))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use klamm_model::{Offset, TimestampMs};
    use klamm_records::RecordHeader;

    #[test]
    fn text_stays_text_and_bytes_become_base64() {
        let cases: [(Option<&'static [u8]>, &str); 4] = [
            (Some(b"text \"quoted\""), r#""value":"text \"quoted\"""#),
            (Some(b""), r#""value":"""#),
            (None, r#""value":null"#),
            (Some(b"\xff\0"), r#""value_base64":"/wA=""#),
        ];
        for (value, expected) in cases {
            let record = Record {
                offset: Offset(1),
                timestamp: TimestampMs(0),
                key: None,
                value: value.map(Bytes::from_static),
                headers: vec![RecordHeader {
                    key: "h".into(),
                    value: None,
                }],
            };
            let partition = TopicPartition::new("t", 0);
            let json = serde_json::to_string(&Shown::new(&partition, &record)).unwrap();
            let whole = format!(
                r#"{{"topic":"t","partition":0,"offset":1,"timestamp":0,"time":"1970-01-01T00:00:00.000Z","key":null,{expected},"headers":[{{"name":"h","value":null}}]}}"#
            );
            assert_eq!(json, whole);
        }
    }
}
