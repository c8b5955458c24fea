//! The group `python`: confluent-kafka and kafka-python, in an environment of their own with pinned versions.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result};

use super::{
    group::{Ready, Scenario},
    program::{self, MILLION},
};
use crate::{process, workspace};

pub(super) fn prepare() -> Result<Ready> {
    if let Some(reason) = missing() {
        return Ok(Ready::Missing(reason));
    }
    let (python, folder) = (interpreter()?, programs());
    let command = move |program: &str| {
        let mut command = Command::new(&python);
        // Unbuffered: the harness kills the broker when it reads how far the program is.
        command
            .args(["-u", "-B"])
            .arg(folder.join(program))
            .current_dir(&folder);
        command
    };
    let (features, groups, transactions) = (command.clone(), command.clone(), command.clone());
    let (confluent, pure) = (command.clone(), command);
    Ok(Ready::Scenarios(vec![
        Scenario::calm("features", move |broker, checks| {
            program::run(features("features.py"), "features", broker, checks)
        }),
        Scenario::killing("groups", move |broker, checks| {
            program::run_asking(groups("groups.py"), "groups", broker, checks)
        }),
        Scenario::killing("transactions", move |broker, checks| {
            let program = transactions("transactions.py");
            program::run_asking(program, "transactions", broker, checks)
        }),
        Scenario::killing("million-confluent", move |broker, checks| {
            program::run_killing(confluent("million.py"), "confluent", MILLION, broker, checks)
        }),
        Scenario::killing("million-kafka-python", move |broker, checks| {
            program::run_killing(pure("million.py"), "kafka-python", MILLION, broker, checks)
        }),
    ]))
}

/// Why nothing can be run here, if so.
pub(super) fn missing() -> Option<String> {
    let is_missing = process::find("python3").is_none();
    is_missing.then(|| "there is no python3 on this machine".to_owned())
}

/// Where the programs lie.
pub(super) fn programs() -> PathBuf {
    workspace::root().join("interop/python")
}

/// An interpreter that has the clients.
pub(super) fn interpreter() -> Result<PathBuf> {
    environment(&programs().join("requirements.txt"))
}

/// The interpreter of a virtual environment with these requirements, made when they have changed.
fn environment(requirements: &PathBuf) -> Result<PathBuf> {
    let wanted = fs::read_to_string(requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    let folder = workspace::cache()?.join("python");
    let (python, installed) = (folder.join("bin/python"), folder.join("installed.txt"));
    if fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    println!("installing the Python clients");
    process::quietly(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&folder),
    )?;
    let mut pip = Command::new(&python);
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--only-binary=:all:",
        "-r",
    ]);
    process::quietly(pip.arg(requirements))?;
    fs::write(&installed, wanted)?;
    Ok(python)
}
