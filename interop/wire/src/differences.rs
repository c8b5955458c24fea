//! The deliberate differences: `differences.txt`, lines of `scenario/step pattern: reason`.
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
            let difference = Difference {
                pattern: pattern.to_owned(),
                reason: reason.trim().to_owned(),
            };
            entries.push((difference, false));
        }
        Ok(Self { entries })
    }

    /// The reason why `step` may differ; the entry counts as needed.
    pub(crate) fn reason(&mut self, step: &str) -> Option<&str> {
        let (difference, needed) = self.entries.iter_mut().find(|(d, _)| matches(&d.pattern, step))?;
        *needed = true;
        Some(&difference.reason)
    }

    /// The patterns that no differing step matched.
    pub(crate) fn unneeded(&self) -> impl Iterator<Item = &str> {
        let idle = self.entries.iter().filter(|(_, needed)| !needed);
        idle.map(|(difference, _)| difference.pattern.as_str())
    }
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
        assert_eq!(differences.reason("a/x v3"), Some("we do better"));
        assert_eq!(differences.reason("c/x"), None);
        assert_eq!(differences.unneeded().collect::<Vec<_>>(), ["b/*"]);
    }
}
