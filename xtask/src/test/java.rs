//! The group `java`: programs over Kafka's own Java producer, consumer, admin client and Kafka Streams.

use std::process::Command;

use anyhow::Result;

use super::{
    dump,
    group::{Ready, Scenario},
    program::{self, MILLION},
};
use crate::{broker::Jars, workspace};

pub(super) fn prepare() -> Result<Ready> {
    if let Some(reason) = Jars::missing() {
        return Ok(Ready::Missing(reason.to_owned()));
    }
    let jars = Jars::tools()?;
    let (of_groups, of_transactions) = (jars.clone(), jars.clone());
    let command = move |program: &str| -> Command {
        let source = workspace::root().join("interop/java").join(program);
        let mut java = jars.java();
        // A single source file needs no build: java compiles it as it starts. What it starts itself needs to know the file.
        java.arg(&source).arg(&source);
        java
    };
    let (transactions, copy, words, again) =
        (command.clone(), command.clone(), command.clone(), command.clone());
    Ok(Ready::Scenarios(vec![
        Scenario::calm("features", move |broker, checks| {
            program::run(command("Clients.java"), "features", broker, checks)?;
            checks.check("records of groups", || dump::groups(&of_groups, broker));
            Ok(())
        }),
        Scenario::calm("transactions", move |broker, checks| {
            let program = transactions("Transactions.java");
            program::run(program, "transactions", broker, checks)?;
            checks.check("records of transactions", || {
                dump::transactions(&of_transactions, broker)
            });
            Ok(())
        }),
        Scenario::calm("copy", move |broker, checks| {
            program::run(copy("Killed.java"), "copy", broker, checks)
        }),
        Scenario::calm("words", move |broker, checks| {
            program::run(words("Killed.java"), "words", broker, checks)
        }),
        Scenario::killing("million", move |broker, checks| {
            program::run_killing(again("Clients.java"), "million", MILLION, broker, checks)
        }),
    ]))
}
