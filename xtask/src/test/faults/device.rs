//! Disks that refuse: full, read-only, and calls that fail with EIO.
//!
//! Always: what a client was told is stored is there when the disk is well again, and what it was told is not stored, or was not
//! told of, is there at most once. A disk that cannot be trusted any more ends the node, which has no other; it says why, and starts again.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::{
    broker::{self, Broker, Disk},
    power, process,
    test::{check::Checks, group::Scenario},
};

const TOPIC: &str = "faults";
/// The room of a disk that fills up; the start keeps some of it for the metadata log.
const ROOM: &str = "24m";
/// Bytes of the records that are written until there is no more room, and how many there are at most.
const LARGE_BYTES: usize = 500_000;
const MOST_RECORDS: u32 = 100;
/// How long the node has to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Calls that write, by the name that is shown.
const WRITING: [(&str, &str); 2] = [
    ("write", "pwritev,pwritev2,pwrite64"),
    ("sync", "fdatasync,fsync"),
];
/// Calls that read into memory. One that sends a file to a client and fails ends the connection, which every client knows.
const READING: &str = "preadv2,preadv,pread64";

/// What a scenario does, with the program that is its client.
type Run = fn(&Path, &mut Broker, &mut Checks) -> Result<()>;

pub(super) fn scenarios(program: &Path) -> Vec<Scenario> {
    let rows: [(&str, Run, Disk, Option<String>); 3] = [
        ("full-disk", full, Disk::Memory(ROOM), memory_missing()),
        ("read-only-disk", read_only, Disk::Power, power::missing()),
        ("failing-calls", failing_calls, Disk::Machine, tracing_missing()),
    ];
    let scenario = |(name, run, disk, missing): (&'static str, Run, Disk, Option<String>)| {
        let program = program.to_owned();
        match missing {
            Some(reason) => Scenario::skipped(name, reason),
            None => Scenario::killing(name, move |broker, checks| run(&program, broker, checks)).on(disk),
        }
    };
    rows.map(scenario).into()
}

/// Why there is no disk in memory here.
fn memory_missing() -> Option<String> {
    power::own_mounts().err().map(|error| format!("{error:#}"))
}

/// Why calls cannot be made to fail here.
fn tracing_missing() -> Option<String> {
    if process::find("strace").is_none() {
        return Some("there is no strace on this machine".to_owned());
    }
    let trial = process::quietly(Command::new("strace").args(["-o", "/dev/null", "true"]));
    trial.err().map(|error| format!("{error:#}"))
}

/// A client that writes one record at a time, once.
struct Client {
    program: PathBuf,
    address: String,
    /// The records that were acknowledged, in order.
    stored: Vec<String>,
}

impl Client {
    fn new(program: &Path, broker: &Broker) -> Result<Self> {
        let client = Client {
            program: program.to_owned(),
            address: broker.address().to_owned(),
            stored: Vec::new(),
        };
        let mut create = Command::new(broker::program()?);
        create
            .args(["topic", "create", TOPIC, "-p", "1"])
            .env("KLAMM_BOOTSTRAP", &client.address)
            .env_remove("KLAMM_PROFILE");
        process::quietly(&mut create)?;
        Ok(client)
    }

    fn output(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.args(["--bootstrap", &self.address]);
        process::output(command.args(arguments))
    }

    /// `stored`, `refused NAME` or `unanswered WHY`.
    fn write(&mut self, name: &str, bytes: usize) -> Result<String> {
        let bytes = bytes.to_string();
        let said = self.output(&["write", "--topic", TOPIC, "--name", name, "--bytes", &bytes])?;
        let said = said.trim().to_owned();
        if said == "stored" {
            self.stored.push(name.to_owned());
        }
        Ok(said)
    }

    fn must_write(&mut self, name: &str) -> Result<()> {
        let said = self.write(name, 0)?;
        ensure!(said == "stored", "{name} is {said}");
        Ok(())
    }

    /// Every record that was stored is there once and in order; one that was not answered may be there.
    fn check(&self) -> Result<()> {
        let printed = self.output(&["read", "--topic", TOPIC])?;
        check_records(printed.lines(), &self.stored)
    }
}

fn check_records<'a>(found: impl Iterator<Item = &'a str>, stored: &[String]) -> Result<()> {
    let names: Vec<&str> = found.filter(|line| !line.starts_with("refused ")).collect();
    let known: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| stored.iter().any(|one| one == name))
        .collect();
    ensure!(known == stored, "stored were {stored:?}, and {names:?} are there");
    Ok(())
}

fn full(program: &Path, broker: &mut Broker, checks: &mut Checks) -> Result<()> {
    let mut client = Client::new(program, broker)?;
    let mut said = String::new();
    for at in 0..MOST_RECORDS {
        said = client.write(&format!("record-{at}"), LARGE_BYTES)?;
        if said != "stored" {
            break;
        }
    }
    checks.check(
        "a record that finds no room is refused, to be tried again",
        || {
            ensure!(
                said.starts_with("refused KAFKA_STORAGE_ERROR") && said.ends_with("(to be tried again)"),
                "it is {said}"
            );
            Ok(())
        },
    );
    checks.check("what is there can be read", || client.check());
    broker
        .memory()
        .context("the disk is in memory")?
        .remount("size=64m")?;
    checks.check("where there is room again the broker goes on", || {
        client.must_write("after")?;
        client.check()
    });
    broker.kill()?;
    broker.restart()?;
    checks.check("nothing is lost by a kill", || client.check());
    Ok(())
}

fn read_only(program: &Path, broker: &mut Broker, checks: &mut Checks) -> Result<()> {
    let mut client = Client::new(program, broker)?;
    for at in 0..3 {
        client.must_write(&format!("record-{at}"))?;
    }
    broker.stop_writes()?;
    checks.check("nothing is acknowledged any more", || {
        let said = client.write("during", 0)?;
        ensure!(said != "stored", "it is {said}");
        Ok(())
    });
    broker.kill()?;
    checks.check("the node does not start on it, and says why", || {
        let started = broker.restart();
        let why = started
            .err()
            .map(|error| format!("{error:#}"))
            .unwrap_or_default();
        ensure!(why.contains("Read-only file system"), "it says: {why}");
        broker.kill()
    });
    broker.allow_writes()?;
    broker.restart()?;
    checks.check("nothing is lost", || client.check());
    checks.check("the node goes on", || client.must_write("after"));
    Ok(())
}

/// One kind of call after the other fails, while a record is written or read.
fn failing_calls(program: &Path, broker: &mut Broker, checks: &mut Checks) -> Result<()> {
    let mut client = Client::new(program, broker)?;
    for (name, calls) in WRITING {
        client.must_write(&format!("before-{name}"))?;
        let strace = Strace::attach(broker, calls, "1+")?;
        let said = client.write(&format!("during-{name}"), 0)?;
        let failed = strace.end()?;
        checks.check(
            &format!("{name}: a record is not acknowledged that is not on the disk"),
            || {
                ensure!(failed, "no call failed");
                ensure!(said != "stored", "it is {said}");
                Ok(())
            },
        );
        checks.check(&format!("{name}: the node ends, and says why"), || {
            broker.wait_for_end(PATIENCE)?;
            let log = broker.tail();
            ensure!(log.contains("Input/output error"), "it says: {log}");
            Ok(())
        });
        broker.kill()?;
        broker.restart()?;
        checks.check(&format!("{name}: nothing is lost"), || client.check());
    }
    client.must_write("before-read")?;
    let strace = Strace::attach(broker, READING, "1")?;
    let read = client.check();
    let failed = strace.end()?;
    checks.check("read: what cannot be read is refused, and read later", || {
        ensure!(failed, "no call failed");
        read
    });
    checks.check("read: the node goes on", || {
        client.must_write("after-read")?;
        client.check()
    });
    Ok(())
}

/// A tracer that makes calls on segments fail.
struct Strace {
    process: Child,
    output: tempfile::NamedTempFile,
}

impl Strace {
    /// `when` says which calls of each kind fail, as strace has it.
    fn attach(broker: &Broker, calls: &str, when: &str) -> Result<Self> {
        let output = tempfile::NamedTempFile::new()?;
        let pid = broker.pid().context("the broker runs")?;
        let segment = broker
            .log_dir()
            .join(format!("{TOPIC}-0/00000000000000000000.log"));
        ensure!(segment.is_file(), "there is no {}", segment.display());
        let mut process = Command::new("strace")
            .args(["-f", "-p", &pid.to_string(), "-o"])
            .arg(output.path())
            .arg("-P")
            .arg(&segment)
            .args(["-e", &format!("trace={calls}")])
            .args(["-e", &format!("inject={calls}:error=EIO:when={when}")])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run strace")?;
        // It says so when it has every thread.
        let mut said = [0; 1];
        let stderr = process.stderr.as_mut().context("standard error is piped")?;
        std::io::Read::read_exact(stderr, &mut said).context("strace does not attach")?;
        Ok(Strace { process, output })
    }

    /// Lets the broker go; whether a call failed.
    fn end(mut self) -> Result<bool> {
        // A tracer that is asked to end lets its process go on as it was.
        process::quietly(Command::new("kill").args(["-TERM", &self.process.id().to_string()]))?;
        self.process.wait()?;
        let traced = fs::read_to_string(self.output.path())?;
        Ok(traced.contains("(INJECTED)"))
    }
}
