//! The group `kill`: the broker is killed again and again under producers that keep books (`interop/kill`).

use std::process::Command;

use anyhow::Result;

use super::{
    group::{Ready, Scenario},
    program,
};
use crate::{
    broker::{Kind, target_folder},
    process,
    workspace::cargo,
};

/// Kills, and the topics by their configs. Kafka takes twelve seconds to come back: two kills prove the checkers.
fn plan(kind: Kind) -> (u32, &'static [&'static str]) {
    match kind {
        Kind::Klamm => (
            50,
            &[
                "internal.segment.bytes=262144",
                "internal.segment.bytes=262144,klamm.durability=page-cache",
                "",
            ],
        ),
        Kind::Kafka => (2, &["internal.segment.bytes=1048576", "", ""]),
    }
}

pub(super) fn prepare(kind: Kind) -> Result<Ready> {
    let program = build()?;
    let run = Scenario::killing("kills", move |broker, checks| {
        let (kills, topics) = plan(kind);
        let mut command = Command::new(&program);
        command.arg("kills").arg("--kills").arg(kills.to_string());
        for topic in topics {
            command.arg("--topic").arg(topic);
        }
        if kind == Kind::Kafka {
            // It reads the watermark before the records, which may be further by then.
            command.args(["--except", "early"]);
        }
        program::run_asking(command, "kills", broker, checks)
    });
    Ok(Ready::Scenarios(vec![run]))
}

/// Builds the program; where it stands.
pub(crate) fn build() -> Result<std::path::PathBuf> {
    println!("building the clients that are killed under");
    let package = ["--package", "klamm-kill", "--profile", "interop"];
    process::quietly(cargo().args(["build", "--quiet", "--locked"]).args(package))?;
    Ok(target_folder()?.join("interop/klamm-kill"))
}
