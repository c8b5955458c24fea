//! How a record is printed, in the escapes of kcat.

use std::io::{self, Write};

use klamm_model::TopicPartition;
use klamm_records::Record;

use super::escape::unescape;

/// A parsed format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    Value,
    ValueLength,
    ValueLengthBinary,
    Key,
    KeyLength,
    Headers,
    Topic,
    Partition,
    Offset,
    Time,
}

/// Reads a format.
pub(super) fn parse(text: &str) -> Result<Template, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(place) = rest.find('%') {
        push_text(&mut parts, &rest[..place])?;
        let mut after = rest[place + 1..].chars();
        let part = match after.next() {
            Some('s') => Part::Value,
            Some('S') => Part::ValueLength,
            Some('R') => Part::ValueLengthBinary,
            Some('k') => Part::Key,
            Some('K') => Part::KeyLength,
            Some('h') => Part::Headers,
            Some('t') => Part::Topic,
            Some('p') => Part::Partition,
            Some('o') => Part::Offset,
            Some('T') => Part::Time,
            Some('%') => Part::Text(b"%".to_vec()),
            _ => return Err("after a % stands one of s S R k K h t p o T %".to_owned()),
        };
        parts.push(part);
        rest = after.as_str();
    }
    push_text(&mut parts, rest)?;
    Ok(Template { parts })
}

fn push_text(parts: &mut Vec<Part>, text: &str) -> Result<(), String> {
    if !text.is_empty() {
        parts.push(Part::Text(unescape(text)?));
    }
    Ok(())
}

impl Template {
    /// Prints `record`.
    pub(super) fn write(
        &self,
        partition: &TopicPartition,
        record: &Record,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        for part in &self.parts {
            match part {
                Part::Text(text) => out.write_all(text)?,
                Part::Value => out.write_all(value.unwrap_or_default())?,
                Part::ValueLength => write!(out, "{}", length(value))?,
                Part::ValueLengthBinary => out.write_all(&length(value).to_be_bytes())?,
                Part::Key => out.write_all(key.unwrap_or_default())?,
                Part::KeyLength => write!(out, "{}", length(key))?,
                Part::Headers => headers(record, out)?,
                Part::Topic => out.write_all(partition.topic.as_bytes())?,
                Part::Partition => write!(out, "{}", partition.partition)?,
                Part::Offset => write!(out, "{}", record.offset)?,
                Part::Time => write!(out, "{}", record.timestamp)?,
            }
        }
        Ok(())
    }
}

/// The length; -1 for none, as on the wire.
fn length(bytes: Option<&[u8]>) -> i32 {
    bytes.map_or(-1, |bytes| i32::try_from(bytes.len()).unwrap_or(i32::MAX))
}

fn headers(record: &Record, out: &mut impl Write) -> io::Result<()> {
    for (place, header) in record.headers.iter().enumerate() {
        if place > 0 {
            out.write_all(b",")?;
        }
        out.write_all(&header.key)?;
        out.write_all(b"=")?;
        out.write_all(header.value.as_deref().unwrap_or(b"NULL"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use klamm_model::{Offset, TimestampMs};
    use klamm_records::RecordHeader;

    fn record() -> Record {
        let header = |key: &'static str, value: Option<&'static str>| RecordHeader {
            key: key.into(),
            value: value.map(Bytes::from),
        };
        Record {
            offset: Offset(42),
            timestamp: TimestampMs(1_700_000_000_000),
            key: Some("key".into()),
            value: Some("value".into()),
            headers: vec![header("a", Some("1")), header("a", None)],
        }
    }

    fn written(format: &str, record: &Record) -> Vec<u8> {
        let mut out = Vec::new();
        let partition = TopicPartition::new("topic", 7);
        parse(format)
            .unwrap()
            .write(&partition, record, &mut out)
            .unwrap();
        out
    }

    #[test]
    fn each_escape_prints_its_part() {
        let cases: [(&str, &[u8]); 9] = [
            ("%s\\n", b"value\n"),
            ("%k=%s", b"key=value"),
            ("%t/%p/%o", b"topic/7/42"),
            ("%T", b"1700000000000"),
            ("%S,%K", b"5,3"),
            ("%R", b"\0\0\0\x05"),
            ("%h", b"a=1,a=NULL"),
            ("100%%\\t|", b"100%\t|"),
            ("", b""),
        ];
        for (format, expected) in cases {
            assert_eq!(written(format, &record()), expected, "{format}");
        }
    }

    #[test]
    fn nothing_is_printed_for_none_but_its_length_is() {
        let record = Record {
            key: None,
            value: None,
            headers: Vec::new(),
            ..record()
        };
        assert_eq!(written("[%k|%s|%h|%K|%S]", &record), b"[|||-1|-1]");
    }

    #[test]
    fn what_is_no_format_is_refused() {
        for format in ["%", "%x", "a%", "\\q", "%ä"] {
            assert!(parse(format).is_err(), "{format}");
        }
    }
}
