//! `cargo xtask instructions`: how many instructions the steps of the hot path take, and whether that changed.
//!
//! `klamm-micro` (in `bench/micro`) runs a step, callgrind counts, and `bench/micro/instructions.toml` has what is
//! expected. A step that takes over 3 % more fails, unless the file changes with a reason; so does one that takes over 3 %
//! less, as a file that is not true would let it grow back unseen. Where there is no valgrind, and none can be installed,
//! the group is skipped by name and counted.
//!
//! Always holds: the counts belong to one build: the profile `interop`, in which the crates that are counted have one
//! codegen unit each.
//!
//! Next: [`kept`] for the file and the comparison, [`callgrind`] for the counting.

mod callgrind;
mod kept;

use std::path::PathBuf;

use anyhow::{Result, bail};

use self::kept::{Kept, Verdict};
use crate::{
    broker::target_folder,
    process,
    test::{Skips, Tally},
    workspace::{self, cargo},
};

/// What the group of tests is called.
pub(crate) const GROUP: &str = "instructions";

/// Count, and compare or take over.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write down the counts that changed, with this reason
    #[arg(long, value_name = "REASON")]
    accept: Option<String>,
    /// Only steps whose name contains this
    filter: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<bool> {
    let filter = args.filter.as_deref();
    match &args.accept {
        Some(reason) => accept(reason, filter).map(|()| true),
        None => {
            let mut tally = Tally::default();
            check(filter, &mut tally);
            Ok(tally.report(Skips::Fail))
        }
    }
}

/// Counts every step and compares it with the file; a step is a test.
pub(crate) fn check(filter: Option<&str>, tally: &mut Tally) {
    println!("== {GROUP}");
    if let Some(reason) = callgrind::missing() {
        return tally.skipped(GROUP.to_owned(), reason);
    }
    if let Err(error) = compare(filter, tally) {
        tally.failed(GROUP.to_owned(), format!("{error:#}"));
    }
}

fn compare(filter: Option<&str>, tally: &mut Tally) -> Result<()> {
    let kept = Kept::read(&file())?;
    let program = build()?;
    let steps = callgrind::steps(&program)?;
    for step in steps.iter().filter(|step| is_wanted(step, filter)) {
        let name = format!("{GROUP}/{step}");
        match callgrind::count(&program, step) {
            Err(error) => tally.failed(name, format!("{error:#}")),
            Ok(counted) => {
                let verdict = kept.judge(step, counted);
                println!("{step:<32} {counted:>9}  {verdict}");
                match verdict {
                    Verdict::Same(_) => tally.passed(),
                    Verdict::Grew(_) | Verdict::Shrank(_) | Verdict::New => {
                        tally.failed(
                            name,
                            format!("{counted} instructions, {verdict}; {}", advice(step)),
                        );
                    }
                }
            }
        }
    }
    for gone in kept.names().filter(|name| !steps.iter().any(|step| step == name)) {
        let text = format!("there is no such step any more; {}", advice(gone));
        tally.failed(format!("{GROUP}/{gone}"), text);
    }
    Ok(())
}

/// How the file is made to follow.
fn advice(step: &str) -> String {
    format!("if that is meant: cargo xtask {GROUP} --accept 'the reason' {step}")
}

/// Takes over what changed by more than the limit; what did not keeps its count and its reason.
fn accept(reason: &str, filter: Option<&str>) -> Result<()> {
    if reason.trim().is_empty() {
        bail!("a change of a count has a reason");
    }
    if let Some(missing) = callgrind::missing() {
        bail!("{missing}");
    }
    let mut kept = Kept::read(&file())?;
    let program = build()?;
    let steps = callgrind::steps(&program)?;
    for step in steps.iter().filter(|step| is_wanted(step, filter)) {
        let counted = callgrind::count(&program, step)?;
        let verdict = kept.judge(step, counted);
        println!("{step:<32} {counted:>9}  {verdict}");
        if !matches!(verdict, Verdict::Same(_)) {
            kept.set(step, counted, reason);
        }
    }
    kept.retain(|name| steps.iter().any(|step| step == name));
    kept.write(&file())
}

fn is_wanted(step: &str, filter: Option<&str>) -> bool {
    filter.is_none_or(|filter| step.contains(filter))
}

fn file() -> PathBuf {
    workspace::root().join("bench/micro/instructions.toml")
}

/// Builds the program that runs a step; where it stands. Named together with the broker, so that what the tests with real
/// clients have built is used again.
fn build() -> Result<PathBuf> {
    println!("building klamm-micro");
    let packages = ["--package", "klamm", "--package", "klamm-micro"];
    let mut build = cargo();
    build
        .args(["build", "--quiet", "--locked", "--profile", "interop"])
        .args(packages)
        .args(["--bin", "klamm-micro"]);
    process::quietly(&mut build)?;
    Ok(target_folder()?.join("interop/klamm-micro"))
}
