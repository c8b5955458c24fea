//! `cargo xtask bench [SCENARIO...]`: the scenarios, one after the other, and the table.

use std::{path::PathBuf, time::Duration};

use anyhow::{Result, anyhow, bail};
use clap::builder::RangedU64ValueParser;
use serde::Serialize;

use super::{
    gate::{Gate, Reading},
    programs::Programs,
    report::Report,
    run::{Bench, Lines},
    scenarios::{self, SCENARIOS},
    syncs::Counting,
};
use crate::{
    broker::{Jars, target_folder},
    process, workspace,
};

/// What to compare, and how thoroughly.
#[derive(clap::Args)]
pub(super) struct Comparison {
    /// Scenarios, or families of them (s2 is s2-none, s2-lz4 and s2-zstd); without, all but the long ones
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
            println!("{:14} {}", scenario.name, scenario.what);
        }
        return Ok(true);
    }
    if let Some(reason) = Jars::missing().or_else(Counting::missing) {
        bail!("{reason}");
    }
    allow_many_files()?;
    let programs = Programs::build(&args.profile, args.limit)?;
    let folder = target_folder()?.join("bench");
    let place = args.data.clone().unwrap_or_else(|| folder.clone());
    for folder in [&folder, &place] {
        std::fs::create_dir_all(folder)?;
    }
    let gate = Gate::new(&place)?;
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
    let outcomes: Vec<_> = selected.into_iter().map(|scenario| bench.run(scenario)).collect();
    let report = Report::of(&outcomes);
    println!("\n{}\n", report.table);
    println!("every run: {}", bench.lines.path.display());
    for failure in &report.failures {
        println!("FAILED {failure}");
    }
    Ok(report.failures.is_empty())
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
