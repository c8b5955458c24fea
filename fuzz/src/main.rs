//! `cargo xtask fuzz`: runs the targets, each in a process of its own, or repeats one input.
//!
//! Always holds: a target whose process dies, or does not come to its end, is a failure too; the input that was running
//! is reported. The exit code is 0 only if nothing was found.

// A program of the developer's machine: it prints, and it talks to the real files and processes.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)]

use std::collections::VecDeque;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Parser;
use klamm_fuzz::corpus::{self, Running};
use klamm_fuzz::fuzzer::{Finding, Fuzzer};
use klamm_fuzz::targets::{self, Target};
use klamm_fuzz::watch;

/// Beyond its time, for the last input and for making a finding smaller.
const GRACE: Duration = Duration::from_secs(45);

/// Runs hostile bytes through everything that reads bytes of a peer or of a disk.
#[derive(Parser)]
#[command(name = "cargo xtask fuzz", bin_name = "cargo xtask fuzz")]
struct Cli {
    /// The targets; all if none is named
    targets: Vec<String>,
    /// How long to fuzz each target; as many run at once as there are processors
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// Repeat the run of this seed, without the inputs kept from earlier runs
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Run one target on the input in this file, in hexadecimal, and nothing else
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Show the targets and end
    #[arg(long)]
    list: bool,
    /// Where inputs are kept
    #[arg(long, value_name = "FOLDER", default_value = "target/fuzz", hide = true)]
    folder: PathBuf,
    /// Fuzz in this process
    #[arg(long, hide = true)]
    worker: bool,
    /// Begin without the inputs kept from earlier runs
    #[arg(long, hide = true)]
    fresh: bool,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<bool> {
    let mut chosen: Vec<&'static Target> = Vec::new();
    for name in &cli.targets {
        let target = targets::ALL.iter().find(|target| target.name == *name);
        chosen.push(target.with_context(|| format!("there is no target {name}; --list shows them"))?);
    }
    if cli.list {
        for target in targets::ALL {
            println!("{:22} {}", target.name, target.about);
        }
        return Ok(true);
    }
    match (&cli.input, &chosen[..]) {
        (Some(file), [target]) => repeat(target, file),
        (Some(_), _) => bail!("--input goes with the name of one target"),
        (None, [target]) if cli.worker => work(cli, target),
        (None, []) => supervise(cli, targets::ALL.iter().collect()),
        (None, _) => supervise(cli, chosen),
    }
}

fn repeat(target: &Target, file: &Path) -> Result<bool> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let input = corpus::from_hex(&text).context("the file is not hexadecimal")?;
    match watch::run(target, &input) {
        Ok(()) => println!("ok     {} takes these {} bytes", target.name, input.len()),
        Err(failure) => {
            println!("FAILED {}: {failure}", target.name);
            return Ok(false);
        }
    }
    Ok(true)
}

fn running_file(cli: &Cli, target: &Target) -> PathBuf {
    cli.folder.join(format!("running-{}", target.name))
}

/// Fuzzes one target in this process.
fn work(cli: &Cli, target: &'static Target) -> Result<bool> {
    let seed = cli.seed.context("a worker is given its seed")?;
    let begin = Instant::now();
    let kept_in = cli.folder.join("corpus").join(target.name);
    let kept = if cli.fresh {
        Vec::new()
    } else {
        corpus::load(&kept_in)
    };
    let mut running = Running::create(&running_file(cli, target))?;
    let mut fuzzer = Fuzzer::new(target, seed, |input| running.note(input));
    let mut outcome = fuzzer.begin(kept);
    while outcome.is_ok() && begin.elapsed() < Duration::from_secs(cli.seconds) {
        outcome = fuzzer.step();
    }
    let done = fuzzer.done();
    let per_second = done.runs as f64 / begin.elapsed().as_secs_f64();
    let numbers = format!(
        "{} runs, {per_second:.0} a second, {} inputs kept, {} places reached, seed {seed}",
        done.runs, done.inputs, done.places
    );
    if !cli.fresh {
        corpus::store(&kept_in, fuzzer.inputs())?;
    }
    match outcome {
        Ok(()) => println!("ok     {}: {numbers}", target.name),
        Err(finding) => {
            println!("FAILED {}: {}\n       {numbers}", target.name, finding.failure);
            tell(cli, target, &finding)?;
            return Ok(false);
        }
    }
    Ok(true)
}

fn tell(cli: &Cli, target: &Target, finding: &Finding) -> Result<()> {
    let file = corpus::write_finding(&cli.folder.join("findings"), target.name, &finding.input)?;
    println!(
        "       input of {} bytes (found with {}): {}",
        finding.input.len(),
        finding.found_bytes,
        corpus::to_hex(&finding.input[..finding.input.len().min(400)])
    );
    println!(
        "       again: cargo xtask fuzz {} --input {}",
        target.name,
        file.display()
    );
    Ok(())
}

struct Worker {
    target: &'static Target,
    child: Child,
    begin: Instant,
}

/// Runs each target in a process of its own, as many at once as there are processors.
fn supervise(cli: &Cli, chosen: Vec<&'static Target>) -> Result<bool> {
    std::fs::create_dir_all(&cli.folder)?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let rounds = chosen.len().div_ceil(processors) as u64;
    println!(
        "{} targets, {} s each, {processors} at once: {} s",
        chosen.len(),
        cli.seconds,
        rounds * cli.seconds
    );
    let mut waiting: VecDeque<_> = chosen.into();
    let mut running: Vec<Worker> = Vec::new();
    let (mut passed, mut failed) = (0, 0);
    while !waiting.is_empty() || !running.is_empty() {
        while running.len() < processors
            && let Some(target) = waiting.pop_front()
        {
            running.push(start(cli, target)?);
        }
        std::thread::sleep(Duration::from_millis(50));
        for mut worker in std::mem::take(&mut running) {
            match poll(cli, &mut worker)? {
                None => running.push(worker),
                Some(true) => passed += 1,
                Some(false) => failed += 1,
            }
        }
    }
    println!("{passed} targets clean, {failed} with a finding");
    Ok(failed == 0)
}

fn start(cli: &Cli, target: &'static Target) -> Result<Worker> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let seed = cli.seed.unwrap_or(now.subsec_nanos().into());
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args([target.name, "--worker", "--seconds", &cli.seconds.to_string()])
        .args(["--seed", &seed.to_string(), "--folder"])
        .arg(&cli.folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // What an earlier run kept leads elsewhere than the seed alone.
    if cli.seed.is_some() {
        command.arg("--fresh");
    }
    Ok(Worker {
        target,
        child: command.spawn()?,
        begin: Instant::now(),
    })
}

/// Whether the worker found nothing; `None` while it runs.
fn poll(cli: &Cli, worker: &mut Worker) -> Result<Option<bool>> {
    let late = worker.begin.elapsed() > Duration::from_secs(cli.seconds) + GRACE;
    if late {
        worker.child.kill()?;
    }
    let status = match worker.child.try_wait()? {
        None if late => worker.child.wait()?,
        None => return Ok(None),
        Some(status) => status,
    };
    let (mut said, mut cried) = (String::new(), String::new());
    worker
        .child
        .stdout
        .take()
        .context("it is piped")?
        .read_to_string(&mut said)?;
    worker
        .child
        .stderr
        .take()
        .context("it is piped")?
        .read_to_string(&mut cried)?;
    print!("{said}");
    if status.code().is_none() || said.is_empty() {
        let why = if late {
            "does not end".to_owned()
        } else {
            format!("died ({status})")
        };
        println!("FAILED {}: {why}\n{}", worker.target.name, cried.trim_end());
        let input = Running::last(&running_file(cli, worker.target)).unwrap_or_default();
        let file = corpus::write_finding(&cli.folder.join("findings"), worker.target.name, &input)?;
        println!(
            "       again: cargo xtask fuzz {} --input {}",
            worker.target.name,
            file.display()
        );
        return Ok(Some(false));
    }
    Ok(Some(status.success()))
}
