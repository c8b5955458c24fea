//! The group `wire`: the recorded table of Kafka's answers, replayed against the broker (`interop/wire`).

use std::process::Command;

use anyhow::Result;

use super::{
    group::{Ready, Scenario},
    program,
};
use crate::{
    broker::{Kind, target_folder},
    process,
    workspace::{self, cargo},
};

pub(super) fn prepare(kind: Kind) -> Result<Ready> {
    println!("building the wire table");
    let package = ["--package", "klamm-wire-table", "--profile", "interop"];
    process::quietly(cargo().args(["build", "--quiet", "--locked"]).args(package))?;
    let program = target_folder()?.join("interop/klamm-wire-table");
    let replay = Scenario::calm("table", move |broker, checks| {
        let mut command = Command::new(&program);
        command.args(["check", "--bootstrap", broker.address()]);
        if kind == Kind::Klamm {
            let differences = workspace::root().join("interop/wire/differences.txt");
            command.arg("--differences").arg(differences);
        }
        program::run(command, "table", broker, checks)
    });
    // The answers were recorded at Kafka's default.
    Ok(Ready::Scenarios(vec![Scenario {
        partitions: 1,
        ..replay
    }]))
}
