//! The group `go`: franz-go, built from `interop/go`.

use std::process::Command;

use anyhow::Result;

use super::{
    group::{Ready, Scenario},
    program::{self, MILLION},
};
use crate::{process, workspace};

pub(super) fn prepare() -> Result<Ready> {
    if process::find("go").is_none() {
        return Ok(Ready::Missing("there is no go on this machine".to_owned()));
    }
    let program = workspace::cache()?.join("go/interop");
    println!("building the Go client");
    let mut build = Command::new("go");
    build
        .args(["build", "-mod=readonly", "-o"])
        .arg(&program)
        .arg(".");
    process::quietly(build.current_dir(workspace::root().join("interop/go")))?;
    let (features, million) = (program.clone(), program);
    Ok(Ready::Scenarios(vec![
        Scenario::calm("features", move |broker, checks| {
            program::run(Command::new(&features), "features", broker, checks)
        }),
        Scenario::killing("million", move |broker, checks| {
            program::run_killing(Command::new(&million), "million", MILLION, broker, checks)
        }),
    ]))
}
