//! The group `unit`: `cargo test` over the workspace, its counts read from what the test programs print.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use anyhow::{Context, Result};

use super::tally::Tally;
use crate::workspace::cargo;

pub(super) fn run(filter: Option<&str>, tally: &mut Tally) -> Result<()> {
    println!("== unit");
    let mut command = cargo();
    command.args(["test", "--quiet", "--workspace", "--locked", "--no-fail-fast"]);
    command.args(["--", "--format=pretty"]).args(filter);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run cargo test")?;
    let lines = BufReader::new(child.stdout.take().expect("standard output is piped")).lines();
    let before = tally.failures();
    for line in lines {
        let line = line?;
        match Line::parse(&line) {
            Line::Failed(name) => tally.failed(format!("unit {name}"), "see its output above or below"),
            Line::Ignored(name) => tally.skipped(format!("unit {name}"), "it is marked #[ignore]"),
            Line::Passed => tally.passed(),
            Line::Summary => {}
            Line::Other => println!("{line}"),
        }
    }
    // A crate that does not compile, or a test program that died, has no line of its own.
    let status = child.wait()?;
    if !status.success() && tally.failures() == before {
        tally.failed("unit".to_owned(), format!("cargo test ended with {status}"));
    }
    Ok(())
}

/// What one line of a test program says.
#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    Passed,
    Failed(&'a str),
    Ignored(&'a str),
    /// Counts, or a blank line: nothing to show.
    Summary,
    Other,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Self {
        let running = line.starts_with("running ") && (line.ends_with(" tests") || line.ends_with(" test"));
        if line.is_empty() || running || line.starts_with("test result: ") {
            return Line::Summary;
        }
        let Some((name, result)) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.rsplit_once(" ... "))
        else {
            return Line::Other;
        };
        match result {
            "ok" => Line::Passed,
            "FAILED" => Line::Failed(name),
            _ if result.starts_with("ignored") => Line::Ignored(name),
            _ => Line::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_test_program() {
        for (line, expected) in [
            ("test a::b ... ok", Line::Passed),
            ("test a::b - should panic ... ok", Line::Passed),
            ("test crates/x/src/lib.rs - y (line 3) ... ok", Line::Passed),
            ("test a::b ... FAILED", Line::Failed("a::b")),
            ("test a::b ... ignored", Line::Ignored("a::b")),
            ("test a::b ... ignored, needs a disk", Line::Ignored("a::b")),
            (
                "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
                Line::Summary,
            ),
            ("running 2 tests", Line::Summary),
            ("thread 'a::b' panicked at src/lib.rs:1:1:", Line::Other),
        ] {
            assert_eq!(Line::parse(line), expected, "{line}");
        }
    }
}
