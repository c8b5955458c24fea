//! The group `tools`: the command-line tools that Kafka ships, as an operator types them.
//!
//! Next: [`rows`] is the table of them, [`hanging`] a transaction that nobody will end.

mod hanging;
mod rows;

use std::process::Command;

use anyhow::{Context, Result, ensure};

use self::rows::ROWS;
use super::{
    check::Checks,
    dump,
    group::{Ready, Scenario},
    patience::Patience,
};
use crate::{
    broker::{Broker, Jars},
    process,
};

pub(super) fn prepare() -> Result<Ready> {
    if let Some(reason) = Jars::missing() {
        return Ok(Ready::Missing(reason.to_owned()));
    }
    let tools = Tools { jars: Jars::tools()? };
    let again = tools.clone();
    Ok(Ready::Scenarios(vec![
        Scenario::calm("tools", move |broker, checks| {
            tools.run(broker, checks);
            Ok(())
        }),
        Scenario::calm("hanging", move |broker, checks| {
            hanging::run(&again, broker, checks)
        }),
    ]))
}

#[derive(Clone)]
struct Tools {
    jars: Jars,
}

impl Tools {
    fn run(&self, broker: &Broker, checks: &mut Checks) {
        let mut patience = Patience::with(broker.kind());
        for row in ROWS {
            if row.name == "topics-delete" {
                checks.check("get-offsets", || self.get_offsets(broker));
                checks.check("dump-log", || {
                    dump::records(&self.jars, broker, "tools", 4, 50_000)
                });
            }
            checks.check(row.name, || {
                patience.wait_for(|| {
                    let printed = self.tool(broker, row.class, row.arguments)?;
                    for expected in row.prints {
                        ensure!(printed.contains(expected), "{expected:?} is not in\n{printed}");
                    }
                    Ok(())
                })
            });
        }
    }

    fn tool(&self, broker: &Broker, class: &str, arguments: &[&str]) -> Result<String> {
        process::output(&mut self.command(broker, class, arguments))
    }

    fn command(&self, broker: &Broker, class: &str, arguments: &[&str]) -> Command {
        let mut java = self.jars.java();
        java.arg(class);
        match class.ends_with("ProducerPerformance") {
            true => java
                .args(arguments)
                .arg(format!("bootstrap.servers={}", broker.address())),
            // Not last: the arguments may end with a sub-command and its flags, which this is not one of.
            false => java
                .args(["--bootstrap-server", broker.address()])
                .args(arguments),
        };
        java
    }

    /// The ends of the four partitions add up to what `producer-perf-test` sent.
    fn get_offsets(&self, broker: &Broker) -> Result<()> {
        let printed = self.tool(
            broker,
            "org.apache.kafka.tools.GetOffsetShell",
            &["--topic", "tools"],
        )?;
        let ends: Vec<u64> = printed
            .lines()
            .map(|line| line.rsplit(':').next().unwrap_or_default().parse())
            .collect::<Result<_, _>>()
            .with_context(|| printed.clone())?;
        ensure!(ends.len() == 4 && ends.iter().sum::<u64>() == 50_000, "{printed}");
        Ok(())
    }
}
