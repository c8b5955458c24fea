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
    let (program, python, klamm) = (build()?, python::interpreter()?, broker::program()?);
    let command = move |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command
            .arg("--python")
            .arg(&python)
            .arg("--programs")
            .arg(python::programs());
        command.arg("--klamm").arg(&klamm).args(arguments);
        command.env_remove("KLAMM_PROFILE").env_remove("RUST_LOG");
        command
    };
    let copy = |name, protocol: &'static str| {
        let command = command.clone();
        Scenario::calm(name, move |broker, checks| {
            let copy = command(&["copy", "--protocol", protocol]);
            program::run(copy, name, broker, checks)
        })
    };
    let bank = |name, protocol: &'static str, seconds: &'static str| {
        let command = command.clone();
        let arguments = ["bank", "--protocol", protocol];
        let bank = move |more: &[&str]| {
            let mut bank = command(&arguments);
            if env::var_os(SECONDS).is_none() {
                bank.env(SECONDS, seconds);
            }
            bank.args(more);
            bank
        };
        match kind {
            Kind::Klamm => Scenario::killing(name, move |broker, checks| {
                program::run_asking(bank(&[]), name, broker, checks)
            }),
            Kind::Kafka => Scenario::calm(name, move |broker, checks| {
                program::run(bank(&["--spare-the-broker"]), name, broker, checks)
            }),
        }
    };
    let [classic, consumer] = seconds(kind);
    let mut scenarios = vec![
        copy("copy-classic", "classic"),
        copy("copy-consumer", "consumer"),
        bank("bank", "classic", classic),
        bank("bank-consumer", "consumer", consumer),
    ];
    for scenario in &mut scenarios {
        scenario.properties = PROPERTIES;
    }
    Ok(Ready::Scenarios(scenarios))
}

/// Builds the program that starts and kills the workers; where it stands.
fn build() -> Result<PathBuf> {
    println!("building the program that kills workers");
    let package = ["--package", "klamm-exactly", "--profile", "interop"];
    process::quietly(cargo().args(["build", "--quiet", "--locked"]).args(package))?;
    Ok(target_folder()?.join("interop/klamm-exactly"))
}
