//! `cargo xtask test`: every test of the project, with what the tests need set up first.
//!
//! Tests come in groups. `unit` is what `cargo test` runs. Each of the others is a real client against a broker in a
//! process of its own, and `kafka` runs the same clients against Apache Kafka, so that a wrong belief about Kafka
//! fails there and is not built into the broker. `instructions` counts those of the hot path.
//!
//! Always: a group whose tools are not on this machine is skipped by name, with the reason, and counted; under
//! `--all` a skip is a failure. The last line of output is `N passed, N failed, N skipped`.
//!
//! Where to go next: [`group`] lists the clients, [`crate::broker`] starts and kills what they talk to, [`program`] runs a
//! client program and reads its results.

mod adopt;
mod check;
mod cli;
mod dump;
mod exactly;
pub(crate) mod faults;
mod go;
mod group;
mod java;
mod kcat;
pub(crate) mod kill;
mod million;
mod node;
mod patience;
mod program;
mod python;
mod readme;
mod tally;
mod tools;
mod unit;
mod wire;

use std::process::Command;

use anyhow::{Result, bail};

use self::group::{Group, Groups, Scope};
pub(crate) use self::tally::{Skips, Tally};
use crate::{broker::Kind, instructions, process, workspace::cargo};

/// Which tests to run.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// A skipped test or group is a failure
    #[arg(long)]
    all: bool,
    /// Run only this group (repeatable): unit, instructions, kafka, wire, readme, cli, kill, exactly-once, faults, adopt, kcat, python, java, tools, go, node
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// Let the client groups talk to Apache Kafka instead of Klamm
    #[arg(long)]
    against_kafka: bool,
    /// Run only tests whose name contains this
    filter: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<bool> {
    let mut tally = Tally::default();
    run_selected(args, &mut tally)?;
    Ok(tally.report(if args.all { Skips::Fail } else { Skips::Allow }))
}

/// What `--all` runs, counted into `tally`.
pub(crate) fn run_everything(tally: &mut Tally) -> Result<()> {
    run_selected(&Args::default(), tally)
}

fn run_selected(args: &Args, tally: &mut Tally) -> Result<()> {
    let known: Vec<&str> = ["unit", "kafka", instructions::GROUP]
        .into_iter()
        .chain(Group::ALL.map(Group::name))
        .collect();
    if let Some(unknown) = args.groups.iter().find(|group| !known.contains(&group.as_str())) {
        bail!("there is no group {unknown}; the groups are {}", known.join(", "));
    }
    let wanted = |name: &str| args.groups.is_empty() || args.groups.iter().any(|group| group == name);
    let filter = args.filter.as_deref();
    if wanted("unit") {
        unit::run(filter, tally)?;
    }
    let clients: Vec<Group> = Group::ALL
        .into_iter()
        .filter(|group| wanted(group.name()))
        .collect();
    let with_kafka = wanted("kafka") && !args.against_kafka;
    // The command line is a client of Kafka too.
    if (with_kafka || !clients.is_empty())
        && let Err(error) = build_broker()
    {
        tally.failed("build klamm".to_owned(), format!("{error:#}"));
        return Ok(());
    }
    let groups = Groups::new(filter);
    // Against Kafka first: a test that fails there is wrong, whatever our broker does.
    if with_kafka {
        for group in Group::ALL {
            groups.run(group, Kind::Kafka, Scope::Calm, tally);
        }
    }
    let kind = if args.against_kafka {
        Kind::Kafka
    } else {
        Kind::Klamm
    };
    for group in clients {
        groups.run(group, kind, Scope::All, tally);
    }
    if wanted(instructions::GROUP) {
        instructions::check(filter, tally);
    }
    Ok(())
}

/// Builds the broker and the command line once, optimised but without link-time optimisation.
pub(crate) fn build_broker() -> Result<()> {
    println!("building klamm");
    let mut build: Command = cargo();
    build.args([
        "build",
        "--quiet",
        "--locked",
        "--profile",
        "interop",
        "--package",
        "klamm",
        "--bin",
        "klamm",
    ]);
    process::quietly(&mut build)
}
