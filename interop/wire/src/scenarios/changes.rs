//! A line for changes of configs: `retention.ms = 5000; cleanup.policy += compact; segment.ms delete`.
//!
//! Always holds: `=` is operation 0, `delete` 1, `+=` 2, `-=` 3, and `op9` is 9, whatever that means to a broker. The
//! value is all that follows the blank behind the operation, `null` for null; none is null as well.

use serde_json::{Value as Json, json};

/// A name, an operation and a value.
pub(super) type Change<'a> = (&'a str, i8, Json);

/// The changes of a line; an empty line has none.
pub(super) fn changes(line: &str) -> Vec<Change<'_>> {
    line.split("; ")
        .filter(|change| !change.is_empty())
        .map(change)
        .collect()
}

fn change(text: &str) -> Change<'_> {
    let (name, rest) = text
        .split_once(' ')
        .expect("a change has a name and an operation");
    let (operation, value) = match rest.split_once(' ') {
        Some((operation, "null")) => (operation, Json::Null),
        Some((operation, value)) => (operation, json!(value)),
        None => (rest, Json::Null),
    };
    let operation = match operation {
        "=" => 0,
        "delete" => 1,
        "+=" => 2,
        "-=" => 3,
        number => number
            .strip_prefix("op")
            .and_then(|number| number.parse().ok())
            .expect("an operation"),
    };
    (name, operation, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let cases = [
            ("", vec![]),
            ("a.b = 1", vec![("a.b", 0, json!("1"))]),
            ("a =  1 ", vec![("a", 0, json!(" 1 "))]),
            ("a = ", vec![("a", 0, json!(""))]),
            (
                "a delete; b += c",
                vec![("a", 1, json!(null)), ("b", 2, json!("c"))],
            ),
            (
                "a -= null; b op-1 x",
                vec![("a", 3, json!(null)), ("b", -1, json!("x"))],
            ),
            (" = 1", vec![("", 0, json!("1"))]),
        ];
        for (line, expected) in cases {
            assert_eq!(changes(line), expected, "{line}");
        }
    }
}
