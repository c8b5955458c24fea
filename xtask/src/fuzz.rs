//! `cargo xtask fuzz`: builds the fuzz targets with counters of what was reached, and runs them.
//!
//! Always holds: nothing has to be installed. The counters are LLVM's SanitizerCoverage, which the stable compiler has;
//! they go into the packages of this machine only and not into build scripts and macros, which could not be linked then.
//!
//! Next: `fuzz/src/main.rs` for the options, `fuzz/src/targets.rs` for what is fuzzed.

use std::process::Command;

use anyhow::{Context, Result};

use crate::{
    process,
    workspace::{cargo, root},
};

/// A counter of eight bits at every edge, for a runtime of our own.
const COUNTERS: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=3",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
];

/// What to fuzz: the arguments of the fuzzer, shown by `--help`.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Targets and options, as `cargo xtask fuzz --help` shows them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<bool> {
    let mut compiler = Command::new("rustc");
    let version = process::output(compiler.current_dir(root()).arg("-vV"))?;
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc does not say what it compiles for")?;
    let mut fuzzer = cargo();
    fuzzer
        .args(["run", "--quiet", "--locked", "--package", "klamm-fuzz"])
        .args(["--profile", "fuzz", "--target", host, "--"])
        .args(&args.arguments)
        .env("CARGO_ENCODED_RUSTFLAGS", COUNTERS.join("\x1f"));
    process::succeeds(&mut fuzzer)
}
