//! The group `readme`: what a newcomer types. The commands that the server prints, and those of the README's five minutes.
//!
//! Always: a shell runs them as they stand there, and what each prints is known; a command of the README without a known
//! answer fails.

use std::{
    ffi::OsString,
    fs,
    io::Read,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::{
    check::Checks,
    cli,
    group::{Ready, Scenario},
    kcat,
};
use crate::{
    broker::{self, Broker, Kind},
    process, workspace,
};

/// The part of the README that is tested.
const SECTION: &str = "## Five minutes";
/// What the reader's broker is, and is running already.
const SERVE: &str = "klamm serve";

pub(super) fn prepare(kind: Kind) -> Result<Ready> {
    if kind == Kind::Kafka {
        return Ok(Ready::Scenarios(Vec::new()));
    }
    if let Some(reason) = kcat::missing() {
        return Ok(Ready::Missing(reason));
    }
    // In order: the first leaves no topic behind.
    let scenarios = vec![
        Scenario::calm("printed-commands", printed_commands),
        Scenario::calm("five-minutes", five_minutes),
    ];
    let as_started = |scenario| Scenario {
        partitions: 1,
        ..scenario
    };
    Ok(Ready::Scenarios(scenarios.into_iter().map(as_started).collect()))
}

/// What the three commands print that `klamm serve` prints, in their order.
const PRINTED: [&str; 3] = [
    "TOPIC      PARTITIONS  REPLICAS  STATUS\ngreetings  1           1         created\n",
    "",
    "hello\n",
];

fn printed_commands(broker: &mut Broker, checks: &mut Checks) -> Result<()> {
    checks.check("cargo run", || {
        // As `cargo run --release -- serve`, of what is built already: the workspace has other programs.
        let mut run = workspace::cargo();
        run.args([
            "run",
            "--quiet",
            "--locked",
            "--profile",
            "interop",
            "--",
            "--version",
        ]);
        let printed = process::output(&mut run)?;
        ensure!(printed.starts_with("klamm "), "it printed {printed:?}");
        Ok(())
    });
    let commands = eventually(|| broker.printed_commands().filter(|all| all.len() == PRINTED.len()));
    let commands = commands.context("the server does not print three commands")?;
    for (place, (command, printed)) in commands.iter().zip(PRINTED).enumerate() {
        checks.check(["create", "produce", "consume"][place], || {
            // Nothing leads to the program but what is printed.
            let mut shell = Command::new("sh")
                .args(["-c", command])
                .env_remove("KLAMM_BOOTSTRAP")
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            let mut read = vec![0; printed.len()];
            let all = shell
                .stdout
                .as_mut()
                .expect("standard output is piped")
                .read_exact(&mut read);
            // The last one waits for more records, until nobody reads them.
            drop(shell.stdout.take());
            let done = shell.wait_with_output()?;
            let said = String::from_utf8_lossy(&done.stderr);
            ensure!(
                all.is_ok() && done.status.success(),
                "`{command}` ended with {}: {said}",
                done.status
            );
            let read = String::from_utf8_lossy(&read);
            ensure!(read == printed, "`{command}` printed {read:?}, not {printed:?}");
            Ok(())
        });
    }
    let mut delete = Command::new(broker::program()?);
    delete.args(["topic", "delete", "greetings", "-b", broker.address()]);
    process::quietly(&mut delete)
}

/// The commands of the README, and what each prints; `*` and `...` as in the group `cli`.
const ANSWERS: &[(&str, &str)] = &[
    (
        "klamm topic create greetings",
        "TOPIC      PARTITIONS  REPLICAS  STATUS\ngreetings  1           1         created\n",
    ),
    ("echo hello | klamm produce greetings", ""),
    ("klamm consume greetings --from beginning -n 1", "hello\n"),
    ("seq 1000 | kcat -b 127.0.0.1:9092 -P -t numbers", ""),
    (
        "kcat -b 127.0.0.1:9092 -C -t numbers -o beginning -e | tail -1",
        "1000\n",
    ),
    (
        "klamm topic list",
        "TOPIC      PARTITIONS  REPLICAS\ngreetings  1           1\nnumbers    1           1\n",
    ),
    (
        "klamm topic describe greetings",
        "topic       greetings\n...\npartitions  1\n...\nPARTITION  LEADER  EPOCH  REPLICAS  ISR  START  END\n0          1       0      1         1    0      1\n",
    ),
    (
        "klamm cluster describe",
        "cluster     *\ncontroller  1\nvoters      1\ntopics      2\npartitions  2\n\n...\n1       127.0.0.1:9092 *alive *\n...\n",
    ),
    // One of the printed commands and one of these, and a thousand.
    (
        "curl -s http://127.0.0.1:9644/metrics | grep klamm_produced",
        "...\nklamm_produced_records_total 1002\n...\n",
    ),
];

fn five_minutes(broker: &mut Broker, checks: &mut Checks) -> Result<()> {
    let text = fs::read_to_string(workspace::root().join("README.md"))?;
    // The line comes behind the one that says where the broker listens.
    let printed = eventually(|| broker.metrics_address());
    let metrics = printed.context("the broker prints no address of its metrics")?;
    let path = cli::search_path(&broker::program()?)?;
    let here = |text: &str| {
        text.replace("127.0.0.1:9092", broker.address())
            .replace("127.0.0.1:9644", &metrics)
    };
    let commands = commands(&text);
    for (command, _) in ANSWERS {
        ensure!(
            commands.contains(command),
            "the README has no `{command}` under '{SECTION}'"
        );
    }
    for command in commands {
        checks.check(command, || {
            let answer = ANSWERS.iter().find(|(known, _)| *known == command);
            let (_, answer) = answer.context("it is not known what this prints")?;
            let printed = typed(&here(command), &path, broker)?;
            let expected = here(answer);
            ensure!(
                cli::is_like(&expected, &printed),
                "it does not print as expected:\n{expected}but\n{printed}"
            );
            Ok(())
        });
    }
    Ok(())
}

/// What a shell prints for a command that a reader types.
fn typed(command: &str, path: &OsString, broker: &Broker) -> Result<String> {
    let mut shell = Command::new("sh");
    shell
        .args(["-e", "-c", command])
        .env("PATH", path)
        .env("KLAMM_BOOTSTRAP", broker.address());
    process::output(&mut shell)
}

/// What is there after a while.
fn eventually<T>(find: impl Fn() -> Option<T>) -> Option<T> {
    (0..3_000).find_map(|_| {
        let found = find();
        if found.is_none() {
            thread::sleep(Duration::from_millis(20));
        }
        found
    })
}

/// The lines of the section's shell blocks, without the one that starts the broker.
fn commands(text: &str) -> Vec<&str> {
    let section = text.split(SECTION).nth(1).unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    let blocks = section
        .split("```sh\n")
        .skip(1)
        .filter_map(|block| block.split("```").next());
    let lines = blocks.flat_map(str::lines).map(str::trim);
    lines.filter(|line| !line.is_empty() && *line != SERVE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_those_of_the_section() {
        let text = "# A\n```sh\nno\n```\n## Five minutes\ntext\n```sh\nklamm serve\n```\n```sh\none\n\ntwo\n```\n## B\n```sh\nno\n```\n";
        assert_eq!(commands(text), ["one", "two"]);
    }
}
