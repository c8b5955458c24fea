//! The file of expected counts, and the comparison with it.
//!
//! Always holds: every count has a reason why it is what it is.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
    fs,
    path::Path,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// In percent; less than this is the compiler's own coming and going.
const LIMIT: f64 = 3.0;

const HEAD: &str = "\
# Instructions that one run of a step of the hot path takes (bench/micro), as callgrind counts them, without the kernel's.
# Checked by `.ci/run` within 3 %; written by `cargo xtask instructions --accept 'the reason' [STEP]`.

";

/// What is expected of one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    instructions: u64,
    reason: String,
}

/// The file.
#[derive(Debug, Default)]
pub(super) struct Kept {
    steps: BTreeMap<String, Expected>,
}

/// How a count stands to what is expected, with the change in percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    Same(f64),
    Grew(f64),
    Shrank(f64),
    /// Nothing is expected.
    New,
}

impl Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Same(percent) => write!(f, "{percent:+.1} %"),
            Verdict::Grew(percent) => write!(f, "{percent:+.1} %: it grew by more than {LIMIT} %"),
            Verdict::Shrank(percent) => write!(
                f,
                "{percent:+.1} %: it shrank by more than {LIMIT} %, and the file should say so"
            ),
            Verdict::New => f.write_str("which no line of bench/micro/instructions.toml expects"),
        }
    }
}

impl Kept {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            text => text.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let steps = toml::from_str(&text).with_context(|| path.display().to_string())?;
        Ok(Self { steps })
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let text = format!("{HEAD}{}", toml::to_string(&self.steps)?);
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.steps.keys().map(String::as_str)
    }

    pub(super) fn judge(&self, step: &str, counted: u64) -> Verdict {
        let Some(expected) = self.steps.get(step) else {
            return Verdict::New;
        };
        let before = expected.instructions as f64;
        let percent = (counted as f64 - before) / before * 100.0;
        match percent {
            percent if percent > LIMIT => Verdict::Grew(percent),
            percent if percent < -LIMIT => Verdict::Shrank(percent),
            percent => Verdict::Same(percent),
        }
    }

    pub(super) fn set(&mut self, step: &str, instructions: u64, reason: &str) {
        let expected = Expected {
            instructions,
            reason: reason.to_owned(),
        };
        self.steps.insert(step.to_owned(), expected);
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.steps.retain(|name, _| keep(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_three_percent_either_way_is_told() {
        let mut kept = Kept::default();
        kept.set("append", 10_000, "measured");
        for (counted, expected) in [
            (10_000, "+0.0 %"),
            (10_300, "+3.0 %"),
            (10_310, "+3.1 %: it grew by more than 3 %"),
            (9_700, "-3.0 %"),
            (
                9_500,
                "-5.0 %: it shrank by more than 3 %, and the file should say so",
            ),
        ] {
            assert_eq!(kept.judge("append", counted).to_string(), expected);
        }
        assert_eq!(kept.judge("fetch", 1), Verdict::New);
        assert!(matches!(kept.judge("append", 10_310), Verdict::Grew(_)));
        assert!(matches!(kept.judge("append", 9_500), Verdict::Shrank(_)));
    }

    #[test]
    fn the_file_is_read_as_it_was_written_and_needs_reasons() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("instructions.toml");
        let mut kept = Kept::read(&path).unwrap();
        kept.set("append", 10_000, "it's \"measured\"");
        kept.set("fetch", 5, "as well");
        kept.write(&path).unwrap();
        let mut read = Kept::read(&path).unwrap();
        assert_eq!(read.steps, kept.steps);
        read.retain(|name| name == "fetch");
        assert_eq!(read.names().collect::<Vec<_>>(), ["fetch"]);
        fs::write(&path, "[append]\ninstructions = 10\n").unwrap();
        let error = format!("{:#}", Kept::read(&path).unwrap_err());
        assert!(error.contains("reason"), "{error}");
    }
}
