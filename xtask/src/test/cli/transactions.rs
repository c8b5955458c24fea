//! Transactions that are open while commands look at them: another producer of the command line holds them open.
//!
//! Always: nothing of what these producers wrote is ever read by who reads what is committed.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::finish;
use crate::{broker::Broker, process, test::check::Checks};

/// How long something may take to show.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);
const ID: &str = "cli-open";
const TOPIC: &str = "cli-tx";

/// The program, and the broker that it talks to.
struct Cli<'a> {
    program: PathBuf,
    broker: &'a Broker,
}

/// A producer whose transaction is open.
struct Open {
    child: Child,
    stdin: ChildStdin,
}

/// Every check of this scenario.
pub(super) fn check(program: &Path, broker: &Broker, checks: &mut Checks) -> Result<()> {
    let cli = Cli {
        program: program.to_owned(),
        broker,
    };
    cli.done(&format!("topic create {TOPIC} -p 1"))?;
    checks.check("what is open is described, and left to its coordinator", || {
        looked_at(&cli)
    });
    checks.check("what is aborted ends its producer", || aborted(&cli));
    checks.check("an interrupted producer aborts", || interrupted(&cli));
    checks.check("a producer is ended in one partition", || in_a_partition(&cli));
    checks.check("nothing of it is read", || {
        let read = cli.done(&format!("consume {TOPIC} --from beginning --until end"))?;
        ensure!(read.is_empty(), "{read}");
        Ok(())
    });
    cli.done(&format!("topic delete {TOPIC}"))?;
    Ok(())
}

fn looked_at(cli: &Cli) -> Result<()> {
    let open = cli.open()?;
    let described = cli.done(&format!("transaction describe {ID}"))?;
    let row = format!("{TOPIC}  0          0");
    for words in ["ongoing", "1m", &row] {
        ensure!(described.contains(words), "there is no {words:?}: {described}");
    }
    let listed = cli.done("transaction list --open-for 1d")?;
    ensure!(!listed.contains(ID), "{listed}");
    let hanging = cli.done(&format!("transaction find-hanging -t {TOPIC}"))?;
    ensure!(hanging.lines().count() == 1, "{hanging}");
    let (_, refused) = cli.failed(&format!("transaction abort -t {TOPIC} -p 0 --start-offset 0 -y"))?;
    let words = format!("this is the transaction of '{ID}', which its coordinator will end");
    ensure!(refused.contains(&words), "{refused}");
    open.interrupt().map(drop)
}

fn aborted(cli: &Cli) -> Result<()> {
    let open = cli.open()?;
    // No broker can be asked about this name; what became of the other one is told all the same.
    let unsaid = "x".repeat(40_000);
    let (table, stderr) = cli.failed(&format!("transaction abort {ID} {unsaid} {ID} -y"))?;
    let rows: Vec<&str> = table.lines().skip(1).collect();
    ensure!(rows.len() == 2 && rows[0].ends_with("  ended"), "{table}");
    ensure!(rows[1].contains("failed: "), "{table}");
    ensure!(stderr.contains("1 of 2 transactions were not ended"), "{stderr}");
    let (code, stderr) = open.go_on()?;
    let words = format!("the producer of transactional id '{ID}' was ended");
    ensure!(code == Some(1) && stderr.contains(&words), "{code:?}: {stderr}");
    Ok(())
}

fn interrupted(cli: &Cli) -> Result<()> {
    let (code, stderr) = cli.open()?.interrupt()?;
    let words =
        "0 records in 0 transactions committed before this failed: interrupted: the transaction was aborted";
    ensure!(code == Some(1) && stderr.contains(words), "{code:?}: {stderr}");
    // The next of the same name is not kept waiting, and what it begins is another transaction.
    let begin = Instant::now();
    let (code, stderr) = cli.open()?.interrupt()?;
    ensure!(code == Some(1), "{code:?}: {stderr}");
    let took = begin.elapsed();
    ensure!(took < PATIENCE, "it took {took:?}");
    // Before its first line it has nothing to abort.
    let idle = cli.start("cli-idle")?;
    cli.shows("cli-idle", |_| true)?;
    let (code, stderr) = idle.interrupt()?;
    let words = "failed: interrupted: no transaction was open";
    ensure!(code == Some(1) && stderr.contains(words), "{code:?}: {stderr}");
    Ok(())
}

fn in_a_partition(cli: &Cli) -> Result<()> {
    let open = cli.open()?;
    let described = cli.done(&format!("transaction describe {ID} -o json"))?;
    let described: serde_json::Value = serde_json::from_str(&described)?;
    let number = |name: &str| described[0][name].as_i64().context("it is not described");
    let (producer, epoch) = (number("producer_id")?, number("producer_epoch")?);
    let ended = cli.done(&format!(
        "transaction abort -t {TOPIC} -p 0 --producer-id {producer} --producer-epoch {epoch} -y"
    ))?;
    ensure!(ended.ends_with("aborted\n"), "{ended}");
    let described = cli.done(&format!("transaction describe {ID} -o json"))?;
    ensure!(described.contains("\"start_offset\": null"), "{described}");
    open.interrupt().map(drop)
}

impl Cli<'_> {
    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments.split(' '))
            .env("KLAMM_BOOTSTRAP", self.broker.address())
            .env_remove("KLAMM_PROFILE")
            .env_remove("RUST_LOG");
        command
    }

    /// What a command prints that is done.
    fn done(&self, arguments: &str) -> Result<String> {
        let (code, stdout, stderr) = finish(&mut self.command(arguments), b"")?;
        ensure!(code == Some(0), "klamm {arguments}: exit code {code:?}: {stderr}");
        Ok(stdout)
    }

    /// What a command prints, and what it says, that fails.
    fn failed(&self, arguments: &str) -> Result<(String, String)> {
        let (code, stdout, stderr) = finish(&mut self.command(arguments), b"")?;
        ensure!(code == Some(1), "klamm {arguments}: exit code {code:?}: {stdout}");
        Ok((stdout, stderr))
    }

    /// A producer with a record in its transaction.
    fn open(&self) -> Result<Open> {
        let mut open = self.start(ID)?;
        open.stdin.write_all(b"1\n")?;
        // The record is there as soon as its partition is said to have it.
        self.shows(ID, |text| {
            text.contains("\"start_offset\": ") && !text.contains("\"start_offset\": null")
        })?;
        Ok(open)
    }

    /// A producer that waits for its first line.
    fn start(&self, id: &str) -> Result<Open> {
        let mut command = self.command(&format!("produce {TOPIC} --transactional-id {id}"));
        process::end_with_us(&mut command);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run klamm")?;
        let stdin = child.stdin.take().expect("standard input is piped");
        Ok(Open { child, stdin })
    }

    /// Waits until a transactional id is there and described so.
    fn shows(&self, id: &str, is_so: impl Fn(&str) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self
            .done(&format!("transaction describe {id} -o json"))
            .is_ok_and(|text| is_so(&text))
        {
            ensure!(Instant::now() < deadline, "the transaction does not show");
            thread::sleep(PAUSE);
        }
        Ok(())
    }
}

impl Open {
    /// Sends another record, and ends the input.
    fn go_on(mut self) -> Result<(Option<i32>, String)> {
        self.stdin.write_all(b"2\n")?;
        self.end()
    }

    fn interrupt(self) -> Result<(Option<i32>, String)> {
        process::quietly(Command::new("kill").args(["-INT", &self.child.id().to_string()]))?;
        let Open { mut child, stdin } = self;
        let ended = end(&mut child);
        drop(stdin);
        ended
    }

    fn end(self) -> Result<(Option<i32>, String)> {
        let Open { mut child, stdin } = self;
        drop(stdin);
        end(&mut child)
    }
}

fn end(child: &mut Child) -> Result<(Option<i32>, String)> {
    let mut text = String::new();
    let mut stderr = child.stderr.take().context("standard error is piped")?;
    stderr.read_to_string(&mut text)?;
    Ok((child.wait()?.code(), text))
}
