//! What a line says: value, perhaps key; headers and partition are the same for all.

use bytes::Bytes;
use klamm_client::ProducerRecord;

use crate::commands::consume::escape;

/// What stands between key and value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Delimiter(Bytes);

/// Reads a delimiter with its escapes.
pub(super) fn delimiter(text: &str) -> Result<Delimiter, String> {
    let bytes = escape::unescape(text)?;
    if bytes.is_empty() {
        return Err("the delimiter is empty".to_owned());
    }
    Ok(Delimiter(bytes.into()))
}

/// Makes records of lines.
pub(super) struct Lines {
    delimiter: Option<Delimiter>,
    headers: Vec<(Bytes, Option<Bytes>)>,
    partition: Option<i32>,
    tombstones: bool,
}

impl Lines {
    pub(super) fn new(
        delimiter: Option<Delimiter>,
        headers: Vec<(String, String)>,
        partition: Option<i32>,
        tombstones: bool,
    ) -> Self {
        let headers = headers
            .into_iter()
            .map(|(name, value)| (name.into(), Some(value.into())));
        Self {
            delimiter,
            headers: headers.collect(),
            partition,
            tombstones,
        }
    }

    /// The record of `line`.
    pub(super) fn record(&self, line: Bytes) -> ProducerRecord {
        let (key, value) = match &self.delimiter {
            Some(delimiter) => self.split(line, &delimiter.0),
            None => (None, line),
        };
        ProducerRecord {
            partition: self.partition,
            key,
            value: (!(self.tombstones && value.is_empty())).then_some(value),
            headers: self.headers.clone(),
            timestamp: None,
        }
    }

    fn split(&self, line: Bytes, delimiter: &[u8]) -> (Option<Bytes>, Bytes) {
        let place = line
            .windows(delimiter.len())
            .position(|window| window == delimiter);
        match place {
            Some(place) => (Some(line.slice(..place)), line.slice(place + delimiter.len()..)),
            None => (None, line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_keys_and_values() {
        type Expected = (Option<&'static str>, Option<&'static str>);
        let cases: [(Option<&str>, bool, &str, Expected); 10] = [
            (None, false, "a:b", (None, Some("a:b"))),
            (Some(":"), false, "a:b", (Some("a"), Some("b"))),
            (Some(":"), false, "a:b:c", (Some("a"), Some("b:c"))),
            (Some(":"), false, "ab", (None, Some("ab"))),
            (Some(":"), false, ":b", (Some(""), Some("b"))),
            (Some(":"), false, "a:", (Some("a"), Some(""))),
            (Some(":"), true, "a:", (Some("a"), None)),
            (None, true, "", (None, None)),
            (Some("\\t"), false, "a\tb", (Some("a"), Some("b"))),
            (Some("::"), false, "a:b::c", (Some("a:b"), Some("c"))),
        ];
        for (text, tombstones, line, (key, value)) in cases {
            let between = text.map(|text| delimiter(text).unwrap());
            let lines = Lines::new(between, Vec::new(), None, tombstones);
            let record = lines.record(Bytes::copy_from_slice(line.as_bytes()));
            let bytes = |text: Option<&'static str>| text.map(|text| Bytes::from_static(text.as_bytes()));
            assert_eq!(
                (record.key, record.value),
                (bytes(key), bytes(value)),
                "{line:?} by {text:?}"
            );
        }
    }

    #[test]
    fn a_delimiter_must_be_something() {
        assert!(delimiter("").is_err());
        assert!(delimiter("\\q").is_err());
    }

    #[test]
    fn headers_and_partition_go_with_every_record() {
        let headers = vec![("a".to_owned(), "1".to_owned()), ("a".to_owned(), String::new())];
        let lines = Lines::new(None, headers, Some(3), false);
        let record = lines.record(Bytes::from_static(b"x"));
        assert_eq!(record.partition, Some(3));
        assert_eq!(
            record.headers,
            [("a".into(), Some("1".into())), ("a".into(), Some("".into()))]
        );
    }
}
