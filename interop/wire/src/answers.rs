//! The files of answers: `answers/<scenario>.txt`.
//!
//! A step begins with `== name v1 v2 v5`, the versions that had the same answer one after the other, and its answer
//! follows line by line. Lines before the first step are a head. Always holds: what is written reads back equal.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::scenario::Taken;

/// The file as text.
pub(crate) fn to_text(head: &str, steps: &[Taken]) -> String {
    let mut out = head.to_owned();
    let mut rest = steps;
    while let Some((first, _)) = rest.split_first() {
        let alike = |step: &&Taken| {
            step.name == first.name
                && step.text == first.text
                && step.version.is_some() == first.version.is_some()
        };
        let count = rest.iter().take_while(alike).count();
        out += &format!("\n== {}", first.name);
        for version in rest[..count].iter().filter_map(|step| step.version) {
            out += &format!(" v{version}");
        }
        out += &format!("\n{}\n", first.text);
        rest = &rest[count..];
    }
    out
}

/// The steps of a file.
pub(crate) fn from_text(text: &str) -> Result<Vec<Taken>> {
    let mut steps = Vec::new();
    for part in text.split("\n== ").skip(1) {
        let (title, answer) = part.split_once('\n').context("a step without an answer")?;
        let mut words = title.split(' ');
        let name = words.next().context("a step without a name")?;
        let versions: Result<Vec<i16>, _> = words.map(|word| word.trim_start_matches('v').parse()).collect();
        let versions = versions.with_context(|| format!("versions of step {title}"))?;
        let step = |version| Taken {
            name: name.to_owned(),
            version,
            text: answer.trim_end_matches('\n').to_owned(),
        };
        if versions.is_empty() {
            steps.push(step(None));
        }
        steps.extend(versions.into_iter().map(|version| step(Some(version))));
    }
    Ok(steps)
}

/// Reads the answers of a scenario; none if there is no such file.
pub(crate) fn read(folder: &Path, scenario: &str) -> Result<Vec<Taken>> {
    let path = folder.join(format!("{scenario}.txt"));
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    from_text(&text).with_context(|| path.display().to_string())
}

/// Writes the answers of a scenario; without steps, removes the file.
pub(crate) fn write(folder: &Path, scenario: &str, head: &str, steps: &[Taken]) -> Result<()> {
    let path = folder.join(format!("{scenario}.txt"));
    if steps.is_empty() {
        let _ = fs::remove_file(path);
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    fs::write(&path, to_text(head, steps)).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let step = |name: &str, version, text: &str| Taken {
            name: name.to_owned(),
            version,
            text: text.to_owned(),
        };
        let steps = [
            step("a", Some(1), "x: 1\ny: 2"),
            step("a", Some(2), "x: 1\ny: 2"),
            step("a", Some(3), "z"),
            step("b", None, "connection closed"),
            step("c", None, "connection closed"),
        ];
        let text = to_text("# head\n", &steps);
        assert_eq!(text.matches("\n== ").count(), 4);
        assert_eq!(from_text(&text).unwrap(), steps);
    }
}
