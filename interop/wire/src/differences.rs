//! The deliberate differences: `differences.txt`, lines of `scenario/step pattern: reason` or, where nothing but one field
//! of the answer may differ, `scenario/step pattern [Field]: reason`.
//!
//! In a pattern `*` stands for any run of characters. Always holds: an entry has a reason, and one that no step needs is
//! an error, so that the file never tells of differences that are gone.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    pattern: String,
    /// What may differ; `None` for the whole answer.
    field: Option<String>,
    /// Why the answer is another one.
    pub(crate) reason: String,
}

/// The entries, and which of them were needed.
#[derive(Debug, Default)]
pub(crate) struct Differences {
    entries: Vec<(Difference, bool)>,
}

impl Differences {
    /// Reads the file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> Result<Self> {
        let mut entries = Vec::new();
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (pattern, reason) = line
                .split_once(": ")
                .with_context(|| format!("no reason in: {line}"))?;
            ensure!(!reason.trim().is_empty(), "no reason in: {line}");
            let limited = pattern.strip_suffix(']').and_then(|head| head.split_once(" ["));
            let (pattern, field) = match limited {
                Some((pattern, field)) => (pattern, Some(field.to_owned())),
                None => (pattern, None),
            };
            let difference = Difference {
                pattern: pattern.to_owned(),
                field,
                reason: reason.trim().to_owned(),
            };
            entries.push((difference, false));
        }
        Ok(Self { entries })
    }

    /// The reason why `step` may be answered with `found` and not as `expected`; the entry counts as needed. Nothing is
    /// found of a step that was not reached.
    pub(crate) fn reason(&mut self, step: &str, expected: &str, found: Option<&str>) -> Option<&str> {
        let (difference, needed) = self
            .entries
            .iter_mut()
            .find(|(d, _)| matches(&d.pattern, step) && d.allows(expected, found))?;
        *needed = true;
        Some(&difference.reason)
    }

    /// The patterns that no differing step matched.
    pub(crate) fn unneeded(&self) -> impl Iterator<Item = &str> {
        let idle = self.entries.iter().filter(|(_, needed)| !needed);
        idle.map(|(difference, _)| difference.pattern.as_str())
    }
}

impl Difference {
    fn allows(&self, expected: &str, found: Option<&str>) -> bool {
        let Some(field) = &self.field else { return true };
        found.is_some_and(|found| without(field, expected) == without(field, found))
    }
}

/// The fields of a rendered answer in their order, `field` left out. Elements of one line and of several are alike here,
/// since an element without the field may fit a line that it did not fit with it.
fn without<'a>(field: &str, text: &'a str) -> Vec<&'a str> {
    let mut fields = Vec::new();
    for line in text.lines().map(str::trim_start) {
        let (dash, line) = match line.strip_prefix("- ") {
            Some(rest) => (Some("-"), rest),
            None => (None, line),
        };
        fields.extend(dash);
        match line.strip_prefix('{').and_then(|line| line.strip_suffix('}')) {
            Some(inner) => fields.extend(fields_of(inner)),
            None => fields.push(line),
        }
    }
    fields.retain(|one| {
        one.strip_prefix(field)
            .is_none_or(|value| !value.starts_with(": "))
    });
    fields
}

/// Splits at the commas that stand neither in a text nor in a list.
fn fields_of(line: &str) -> Vec<&str> {
    let (mut fields, mut start) = (Vec::new(), 0);
    let (mut quoted, mut escaped, mut depth) = (false, false, 0_i32);
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            b',' if depth == 0 => {
                fields.push(line[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    fields.push(line[start..].trim());
    fields
}

fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => text.strip_prefix(head).is_some_and(|rest| {
            (0..=rest.len()).any(|at| rest.is_char_boundary(at) && matches(tail, &rest[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        let cases = [
            ("a/b v1", "a/b v1", true),
            ("a/b v1", "a/b v10", false),
            ("a/b v*", "a/b v10", true),
            ("a/*", "a/b v10", true),
            ("*/b v*0", "a/b v10", true),
            ("*/b v*1", "a/b v10", false),
            ("a/*", "b/a/", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn an_entry_without_reason_is_refused_and_an_idle_one_is_told() {
        assert!(Differences::parse("a/b").is_err());
        assert!(Differences::parse("a/b: ").is_err());
        let mut differences = Differences::parse("# head\n\na/*: we do better\nb/*: so too\n").unwrap();
        assert_eq!(differences.reason("a/x v3", "a", Some("b")), Some("we do better"));
        assert_eq!(differences.reason("a/x v3", "a", None), Some("we do better"));
        assert_eq!(differences.reason("c/x", "a", Some("b")), None);
        assert_eq!(differences.unneeded().collect::<Vec<_>>(), ["b/*"]);
    }

    #[test]
    fn an_entry_for_one_field_hides_no_other() {
        let expected =
            "Topics:\n  - {Index: 1, Nodes: [1, 2], Error: A, Text: \"no, {\\\"x\\\"}\", Offset: 0}";
        let cases = [
            (
                "Topics:\n  - Index: 1\n    Nodes: [1, 2]\n    Error: A\n    Text: \"long\"\n    Offset: 0",
                true,
            ),
            (
                "Topics:\n  - {Index: 1, Nodes: [1, 2], Error: A, Offset: 0}",
                true,
            ),
            (
                "Topics:\n  - {Index: 1, Nodes: [1, 2], Error: B, Offset: 0}",
                false,
            ),
            (
                "Topics:\n  - {Index: 1, Nodes: [1, 2], Error: A, Offset: -1}",
                false,
            ),
            (
                "Topics:\n  - {Index: 1, Nodes: [2, 1], Error: A, Offset: 0}",
                false,
            ),
            (
                "Topics:\n  - {Index: 1, Nodes: [1, 2], Error: A, Texts: 1, Offset: 0}",
                false,
            ),
        ];
        for (found, expected_to_pass) in cases {
            let mut differences = Differences::parse("a/* [Text]: other words").unwrap();
            let reason = differences.reason("a/b v1", expected, Some(found));
            assert_eq!(reason.is_some(), expected_to_pass, "{found}");
        }
        let mut differences = Differences::parse("a/* [Text]: other words\na/b v1: another answer").unwrap();
        assert_eq!(
            differences.reason("a/b v1", expected, None),
            Some("another answer")
        );
    }
}
