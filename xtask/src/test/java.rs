//! The group `java`: a program over Kafka's own Java producer and consumer.

use std::process::Command;

use anyhow::Result;

use super::{
    group::{Ready, Scenario},
    program::{self, MILLION},
};
use crate::{broker::Jars, workspace};

pub(super) fn prepare() -> Result<Ready> {
    if let Some(reason) = Jars::missing() {
        return Ok(Ready::Missing(reason.to_owned()));
    }
    let jars = Jars::tools()?;
    let command = move |program: &str| -> Command {
        let mut java = jars.java();
        // A single source file needs no build: java compiles it as it starts.
        java.arg(workspace::root().join("interop/java").join(program));
        java
    };
    let (transactions, again) = (command.clone(), command.clone());
    Ok(Ready::Scenarios(vec![
        Scenario::calm("features", move |broker, checks| {
            program::run(command("Clients.java"), "features", broker, checks)
        }),
        Scenario::calm("transactions", move |broker, checks| {
            let program = transactions("Transactions.java");
            program::run(program, "transactions", broker, checks)
        }),
        Scenario::killing("million", move |broker, checks| {
            program::run_killing(again("Clients.java"), "million", MILLION, broker, checks)
        }),
    ]))
}
