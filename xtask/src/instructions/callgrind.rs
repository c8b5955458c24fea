//! Counting: a step under callgrind, which counts within one function and writes a result each time that ends.
//!
//! Always holds: of several windows the cheapest counts. A timer of the node or an entry of an index may fall into one
//! and not into another, more often on a machine that is busy; everything else is the same in all of them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::process;

/// The function that is counted (`bench/micro/src/main.rs`).
const COUNTED: &str = "klamm_micro::counted_runs";
/// How often it runs the step, each time it is called.
const RUNS: u64 = 5;

/// Why there is no valgrind; on a Debian machine of which we are root it is installed.
pub(super) fn missing() -> Option<String> {
    process::or_installed("valgrind", "valgrind")
}

/// The names of all steps.
pub(super) fn steps(program: &Path) -> Result<Vec<String>> {
    let names = process::output(&mut Command::new(program))?;
    Ok(names.lines().map(str::to_owned).collect())
}

/// The instructions that one run of `step` takes.
pub(super) fn count(program: &Path, step: &str) -> Result<u64> {
    let folder = tempfile::Builder::new().prefix("klamm-instructions-").tempdir()?;
    let results = folder.path().join("callgrind");
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--quiet", "--tool=callgrind"])
        .arg(format!("--callgrind-out-file={}", results.display()))
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--dump-after={COUNTED}"))
        .arg(program)
        .args([step, &RUNS.to_string()]);
    process::quietly(&mut valgrind)?;
    let mut totals = Vec::new();
    for entry in fs::read_dir(folder.path())? {
        let path = entry?.path();
        // The one without a number is what came after the last window.
        if path != results {
            totals.push(total(&path)?);
        }
    }
    Ok(
        least(totals).with_context(|| format!("callgrind counted nothing: is {COUNTED} still its name?"))?
            / RUNS,
    )
}

/// What one result says.
fn total(path: &PathBuf) -> Result<u64> {
    let text = fs::read_to_string(path)?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let total = total.with_context(|| format!("{} has no total", path.display()))?;
    Ok(total.trim().parse()?)
}

/// The least that is not 0.
fn least(totals: Vec<u64>) -> Option<u64> {
    totals.into_iter().filter(|total| *total > 0).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_with_a_timer_in_it_does_not_count() {
        assert_eq!(least(vec![101, 5_000, 0, 100, 101]), Some(100));
        assert_eq!(least(vec![0, 0]), None);
    }

    #[test]
    fn the_total_of_a_result_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("callgrind.1");
        fs::write(&path, "events: Ir\nfn=(0)\n1 2\n\ntotals: 4711\n").unwrap();
        assert_eq!(total(&path).unwrap(), 4711);
        fs::write(&path, "events: Ir\n").unwrap();
        assert!(total(&path).is_err());
    }
}
