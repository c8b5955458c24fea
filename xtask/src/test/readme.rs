//! The group `readme`: the commands of the README's five minutes, as a reader would type them.

use std::{env, fs, process::Command, thread, time::Duration};

use anyhow::{Context, Result, ensure};

use super::{
    check::Checks,
    group::{Ready, Scenario},
    kcat,
};
use crate::{
    broker::{Broker, Kind, target_folder},
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
    let tour = Scenario::calm("five-minutes", five_minutes);
    Ok(Ready::Scenarios(vec![Scenario {
        partitions: 1,
        ..tour
    }]))
}

fn five_minutes(broker: &mut Broker, checks: &mut Checks) -> Result<()> {
    let text = fs::read_to_string(workspace::root().join("README.md"))?;
    // The line comes behind the one that says where the broker listens.
    let printed = (0..500).find_map(|_| {
        let address = broker.metrics_address();
        if address.is_none() {
            thread::sleep(Duration::from_millis(20));
        }
        address
    });
    let metrics = printed.context("the broker prints no address of its metrics")?;
    let folder = target_folder()?.join("interop");
    let path = env::join_paths([folder].into_iter().chain(env::split_paths(&env::var("PATH")?)))?;
    let commands = commands(&text);
    ensure!(
        commands.len() > 5,
        "the README has hardly a command under '{SECTION}'"
    );
    for command in commands {
        let here = command
            .replace("127.0.0.1:9092", broker.address())
            .replace("127.0.0.1:9644", &metrics);
        checks.check(command, || {
            let mut shell = Command::new("sh");
            shell
                .args(["-e", "-c", &here])
                .env("PATH", &path)
                .env("KLAMM_BOOTSTRAP", broker.address());
            let printed = process::output(&mut shell)?;
            ensure!(
                !printed.trim().is_empty() || !shows_something(command),
                "it prints nothing"
            );
            Ok(())
        });
    }
    Ok(())
}

/// Whether a reader is to see something; what only writes may be quiet.
fn shows_something(command: &str) -> bool {
    !command.contains("produce") && !command.contains(" -P ")
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
