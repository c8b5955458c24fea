//! `cargo xtask ci`: everything that a change must pass, each step by its name.
//!
//! All steps run, whatever the ones before them said: one run tells everything. Every step counts as one test, and the
//! last line counts them together with the tests.

use std::process::Command;

use anyhow::Result;

use crate::{
    process,
    test::{self, Tally},
    tidy,
    workspace::cargo,
};

/// The version of `cargo-deny` that is installed where there is none.
const CARGO_DENY: &str = "cargo-deny@0.20.2";

pub(crate) fn run() -> Result<bool> {
    let mut tally = Tally::default();
    step(&mut tally, "format", || {
        process::succeeds(cargo().args(["fmt", "--all", "--check"]))
    });
    step(&mut tally, "clippy", || {
        process::succeeds(cargo().args([
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ]))
    });
    step(&mut tally, "tidy", tidy::run);
    step(&mut tally, "deny", deny);
    test::run_everything(&mut tally)?;
    Ok(tally.report(test::Skips::Fail))
}

fn step(tally: &mut Tally, name: &str, work: impl FnOnce() -> Result<bool>) {
    println!("== {name}");
    match work() {
        Ok(true) => tally.passed(),
        Ok(false) => tally.failed(format!("ci {name}"), "see above"),
        Err(error) => tally.failed(format!("ci {name}"), format!("{error:#}")),
    }
}

/// Licences, sources and banned crates of everything that the workspace depends on.
fn deny() -> Result<bool> {
    let mut version = Command::new("cargo-deny");
    if process::find("cargo-deny").is_none() || process::output(version.arg("--version")).is_err() {
        println!("installing {CARGO_DENY}");
        // Without default features it leaves out what only the check of advisories needs, and builds in half the time.
        process::quietly(cargo().args(["install", CARGO_DENY, "--locked", "--no-default-features"]))?;
    }
    process::succeeds(cargo().args([
        "deny",
        "--log-level",
        "error",
        "check",
        "bans",
        "licenses",
        "sources",
    ]))
}
