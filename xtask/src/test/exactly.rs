//! The group `exactly-once`: workers that read, process and write in transactions while they and the broker are killed
//! (`interop/exactly`).
//!
//! Always: Kafka's workers are killed as Klamm's are; its broker is not, because it takes twelve seconds to come back.

use std::{env, path::PathBuf, process::Command};

use anyhow::Result;

use super::{
    group::{Ready, Scenario},
    program, python,
};
use crate::{
    broker::{self, Kind, target_folder},
    process,
    workspace::cargo,
};

/// Sessions and transactions of workers that are gone run out soon.
const PROPERTIES: &[(&str, &str)] = &[
    ("group.initial.rebalance.delay.ms", "0"),
    ("group.consumer.heartbeat.interval.ms", "500"),
    ("group.consumer.min.heartbeat.interval.ms", "500"),
    ("group.consumer.session.timeout.ms", "6000"),
    ("group.consumer.min.session.timeout.ms", "6000"),
    (
        "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        "1000",
    ),
];

/// Says how long the bank is killed under.
const SECONDS: &str = "KLAMM_BANK_SECONDS";

/// How long that is when nobody says it, for the bank whose group is of the classic protocol and for the other one.
fn seconds(kind: Kind) -> [&'static str; 2] {
    match kind {
        Kind::Klamm => ["60", "30"],
        Kind::Kafka => ["15", "15"],
    }
}

pub(super) fn prepare(kind: Kind) -> Result<Ready> {
    if let Some(reason) = python::missing() {
        return Ok(Ready::Missing(reason));
    }
    let programs = Programs::ready()?;
    let [classic, consumer] = seconds(kind);
    Ok(Ready::Scenarios(vec![
        programs.copy("copy-classic", "classic"),
        programs.copy("copy-consumer", "consumer"),
        programs.bank(kind, "bank", "classic", classic),
        programs.bank(kind, "bank-consumer", "consumer", consumer),
    ]))
}

/// The bank alone, killed under for so many seconds.
pub(super) fn bank(name: &'static str, protocol: &'static str, seconds: &'static str) -> Result<Scenario> {
    Ok(Programs::ready()?.bank(Kind::Klamm, name, protocol, seconds))
}

/// What the scenarios run.
#[derive(Clone)]
struct Programs {
    program: PathBuf,
    python: PathBuf,
    klamm: PathBuf,
}

impl Programs {
    fn ready() -> Result<Self> {
        Ok(Programs {
            program: build()?,
            python: python::interpreter()?,
            klamm: broker::program()?,
        })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--python")
            .arg(&self.python)
            .arg("--programs")
            .arg(python::programs());
        command.arg("--klamm").arg(&self.klamm).args(arguments);
        command.env_remove("KLAMM_PROFILE").env_remove("RUST_LOG");
        command
    }

    fn copy(&self, name: &'static str, protocol: &'static str) -> Scenario {
        let programs = self.clone();
        let copy = Scenario::calm(name, move |broker, checks| {
            let copy = programs.command(&["copy", "--protocol", protocol]);
            program::run(copy, name, broker, checks)
        });
        Scenario {
            properties: PROPERTIES,
            ..copy
        }
    }

    fn bank(
        &self,
        kind: Kind,
        name: &'static str,
        protocol: &'static str,
        seconds: &'static str,
    ) -> Scenario {
        let programs = self.clone();
        let bank = move |more: &[&str]| {
            let mut bank = programs.command(&["bank", "--protocol", protocol]);
            if env::var_os(SECONDS).is_none() {
                bank.env(SECONDS, seconds);
            }
            bank.args(more);
            bank
        };
        let bank = match kind {
            Kind::Klamm => Scenario::killing(name, move |broker, checks| {
                program::run_asking(bank(&[]), name, broker, checks)
            }),
            Kind::Kafka => Scenario::calm(name, move |broker, checks| {
                program::run(bank(&["--spare-the-broker"]), name, broker, checks)
            }),
        };
        Scenario {
            properties: PROPERTIES,
            ..bank
        }
    }
}

/// Builds the program that starts and kills the workers; where it stands.
fn build() -> Result<PathBuf> {
    println!("building the program that kills workers");
    let package = ["--package", "klamm-exactly", "--profile", "interop"];
    process::quietly(cargo().args(["build", "--quiet", "--locked"]).args(package))?;
    Ok(target_folder()?.join("interop/klamm-exactly"))
}
