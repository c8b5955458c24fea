//! An entry of a client's books: one line of JSON (`interop/python/books.py`).

use serde::Deserialize;

/// What a client says, and when.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Said {
    /// In nanoseconds of the machine's monotonic clock, which all of them read.
    pub(crate) at: u64,
    #[serde(flatten)]
    pub(crate) entry: Entry,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "say", rename_all = "lowercase")]
pub(crate) enum Entry {
    /// A worker is about to do something that is no matter of a transaction.
    Step { step: String },
    /// A worker begins a transaction: topic, partition and record of what it will write, and partition, first offset and the
    /// offset after the last of what it took.
    Began {
        transaction: String,
        writes: Vec<(String, i32, String)>,
        inputs: Vec<(i32, i64, i64)>,
    },
    /// All of it was acknowledged, at these offsets.
    Wrote { transaction: String, offsets: Vec<i64> },
    /// It is about to ask for the commit.
    Asked { transaction: String },
    /// The commit was answered.
    Committed { transaction: String },
    /// The abort was answered.
    Aborted { transaction: String },
    /// A reader saw a record.
    Saw {
        topic: String,
        partition: i32,
        offset: i64,
        transaction: String,
        record: String,
    },
    /// A reader is past everything below.
    Passed {
        topic: String,
        partition: i32,
        next: i64,
    },
    /// What the group has committed, by partition of the source.
    Offsets {
        asked: u64,
        answered: u64,
        offsets: Vec<(i32, i64)>,
    },
    /// Topic, partition, last stable offset and end.
    Ends { ends: Vec<(String, i32, i64, i64)> },
    /// The ends of the partitions of the source.
    Inputs { inputs: Vec<(i32, i64)> },
    /// An input was acknowledged.
    Fed {
        partition: i32,
        offset: i64,
        value: String,
    },
    /// Something that may be while the broker is away.
    Trouble { why: String },
    /// It cannot go on.
    Died { why: String },
    /// It has come to its end.
    Done,
}

impl Said {
    pub(crate) fn parse(line: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_the_books() {
        for (line, expected) in [
            (
                r#"{"say":"step","at":1,"step":"reading"}"#,
                Entry::Step {
                    step: "reading".to_owned(),
                },
            ),
            (
                r#"{"say":"began","at":1,"transaction":"w-0.1.1","writes":[["out",2,"0:1 17 -3"]],"inputs":[[0,1,2]]}"#,
                Entry::Began {
                    transaction: "w-0.1.1".to_owned(),
                    writes: vec![("out".to_owned(), 2, "0:1 17 -3".to_owned())],
                    inputs: vec![(0, 1, 2)],
                },
            ),
            (
                r#"{"say":"offsets","at":1,"asked":5,"answered":6,"offsets":[[0,12],[1,0]]}"#,
                Entry::Offsets {
                    asked: 5,
                    answered: 6,
                    offsets: vec![(0, 12), (1, 0)],
                },
            ),
            (
                r#"{"say":"ends","at":1,"ends":[["out",0,7,8]]}"#,
                Entry::Ends {
                    ends: vec![("out".to_owned(), 0, 7, 8)],
                },
            ),
            (r#"{"say":"done","at":1}"#, Entry::Done),
        ] {
            let expected = Said {
                at: 1,
                entry: expected,
            };
            assert_eq!(Said::parse(line).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn a_line_that_was_cut_is_no_entry() {
        assert!(Said::parse(r#"{"say":"step","at":1,"st"#).is_err());
        assert!(Said::parse(r#"{"say":"sang","at":1}"#).is_err());
    }
}
