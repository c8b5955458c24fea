//! `cargo xtask bench [SCENARIO...]`: the scenarios, one after the other, and the table.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, anyhow, bail};
use clap::builder::RangedU64ValueParser;
use serde::Serialize;
use tempfile::TempDir;

use super::{
    gate::{Gate, Reading},
    programs::Programs,
    report::Report,
    run::{Bench, Lines},
    scenario::Scenario,
    scenarios::{self, SCENARIOS},
    syncs::Counting,
};
use crate::{
    broker::{Jars, target_folder},
    process, workspace,
};

/// What the names of our folders begin with; the process id follows.
const OURS: &str = "klamm-bench-";

/// What to compare, and how thoroughly.
#[derive(clap::Args)]
pub(super) struct Comparison {
    /// Scenarios, or families of them (s2 is s2-none, s2-lz4 and s2-zstd; groups, transactions, log); without, all but the long ones
    scenarios: Vec<String>,
    /// Say what the scenarios are, and run none
    #[arg(long)]
    list: bool,
    /// Pairs of runs of each scenario
    #[arg(long, default_value_t = 5, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pairs: usize,
    /// Seconds of load before the first pair, for the compilers of the virtual machine
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    warm: u64,
    /// How often a pair is repeated on a machine that is not quiet
    #[arg(long, value_name = "TIMES", default_value_t = 3)]
    repeats: usize,
    /// Measure the limit beside: a program that does CRC, pwrite and sendfile and nothing else
    #[arg(long)]
    limit: bool,
    /// The long scenarios too
    #[arg(long)]
    full: bool,
    /// How Klamm is built
    #[arg(long, default_value = "release", value_parser = ["release", "interop"])]
    profile: String,
    /// Where both brokers keep their data; without, beside what cargo builds
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
}

/// The first line beside the table.
#[derive(Serialize)]
struct HeadLine {
    commit: String,
    kernel: String,
    processors: usize,
    profile: String,
    pairs: usize,
    warm_seconds: u64,
    baseline: Reading,
}

pub(super) fn run(args: &Comparison) -> Result<bool> {
    let selected = scenarios::select(&args.scenarios, args.full).map_err(|message| anyhow!(message))?;
    if args.list {
        for scenario in SCENARIOS {
            println!("{:18} {}", scenario.name, scenario.what);
        }
        println!(
            "{:18} from a kill to the first acknowledged record; has options of its own",
            "restart"
        );
        println!("\nFamilies: {}.", scenarios::families().join(", "));
        println!(
            "\nA scenario takes about three minutes, of which --warm 30 saves half a minute and --pairs 3 another;\n\
             all but the long ones take about an hour with --warm 30."
        );
        return Ok(true);
    }
    if let Some(reason) = Jars::missing().or_else(Counting::missing) {
        bail!("{reason}");
    }
    allow_many_files()?;
    let programs = Programs::build(&args.profile, args.limit)?;
    let folder = target_folder()?.join("bench");
    std::fs::create_dir_all(&folder)?;
    let place = claim(args.data.as_deref().unwrap_or(&folder))?;
    let gate = Gate::new(place.path())?;
    println!("at the start: {}", gate.baseline());
    let mut lines = Lines::new(&folder)?;
    lines.write(&head(args, gate.baseline())?)?;
    let mut bench = Bench {
        programs,
        gate,
        place,
        lines,
        pairs: args.pairs,
        repeats: args.repeats,
        warm: Duration::from_secs(args.warm),
        with_limit: args.limit,
    };
    let note_on_baseline = bench.gate.note();
    let note_on_limit = args.limit.then(|| without_limit(&selected)).flatten();
    let outcomes: Vec<_> = selected.into_iter().map(|scenario| bench.run(scenario)).collect();
    let mut report = Report::of(&outcomes);
    report.notes.extend(note_on_baseline);
    report.notes.extend(note_on_limit);
    println!("\n{}\n", report.table);
    println!("every run: {}", bench.lines.path.display());
    for note in &report.notes {
        println!("note: {note}");
    }
    for failure in &report.failures {
        println!("FAILED {failure}");
    }
    Ok(report.failures.is_empty())
}

/// A note about the scenarios that the limit program cannot do, when it was asked for.
fn without_limit(selected: &[&Scenario]) -> Option<String> {
    let mut names = selected.iter().filter(|row| !row.has_limit).map(|row| row.name);
    let first = names.next()?;
    let all = names.fold(first.to_owned(), |all, name| format!("{all}, {name}"));
    Some(format!("the limit program cannot do {all}"))
}

/// A folder of our own in `data`. Those of earlier runs that were killed are removed: each may hold gigabytes.
fn claim(data: &Path) -> Result<TempDir> {
    fs::create_dir_all(data)?;
    for entry in fs::read_dir(data)? {
        let entry = entry?;
        if owner(&entry.file_name().to_string_lossy()).is_some_and(|pid| !is_running(pid)) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    let prefix = format!("{OURS}{}-", std::process::id());
    Ok(tempfile::Builder::new().prefix(&prefix).tempdir_in(data)?)
}

/// The process that made a folder with this name, if it is one of ours.
fn owner(name: &str) -> Option<u32> {
    let (pid, _) = name.strip_prefix(OURS)?.split_once('-')?;
    pid.parse().ok()
}

fn is_running(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

fn head(args: &Comparison, baseline: Reading) -> Result<HeadLine> {
    let mut commit = std::process::Command::new("git");
    commit
        .current_dir(workspace::root())
        .args(["describe", "--always", "--dirty"]);
    let kernel = process::output(std::process::Command::new("uname").arg("-r"))?;
    Ok(HeadLine {
        commit: process::output(&mut commit)?.trim().to_owned(),
        kernel: kernel.trim().to_owned(),
        processors: std::thread::available_parallelism()?.get(),
        profile: args.profile.clone(),
        pairs: args.pairs,
        warm_seconds: args.warm,
        baseline,
    })
}

/// Ten thousand connections have two ends, and what we start inherits what we may open.
fn allow_many_files() -> Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_without_a_limit_are_named() {
        let rows = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            scenarios::select(&names, false).unwrap()
        };
        assert_eq!(without_limit(&rows(&["s1", "s2f"])), None);
        let note = without_limit(&rows(&["s1", "s2n", "s11"])).unwrap();
        assert_eq!(note, "the limit program cannot do s2n, s11");
    }

    #[test]
    fn what_a_killed_run_left_is_removed_and_nothing_else() {
        let data = tempfile::tempdir().unwrap();
        let alive = format!("{OURS}{}-x", std::process::id());
        // Numbers of processes end far below.
        let dead = format!("{OURS}4000000000-x");
        for name in [&alive, &dead, "klamm-bench", "1795277459.jsonl", "mine"] {
            fs::create_dir(data.path().join(name)).unwrap();
        }
        let place = claim(data.path()).unwrap();
        assert!(!data.path().join(dead).exists());
        assert!(data.path().join(alive).exists() && data.path().join("mine").exists());
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 5);
        assert!(place.path().starts_with(data.path()));
    }
}
