//! The group `node`: kafkajs. Its consumer works only in a group, so what it produces is read back by kcat.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{
    group::{Ready, Scenario},
    kcat,
    million::Records,
    program,
};
use crate::{process, workspace};

/// kafkajs is a tenth as fast as the others.
const RECORDS: u64 = 100_000;

pub(super) fn prepare() -> Result<Ready> {
    for tool in ["node", "npm"] {
        if process::find(tool).is_none() {
            return Ok(Ready::Missing(format!("there is no {tool} on this machine")));
        }
    }
    if let Some(reason) = kcat::missing() {
        return Ok(Ready::Missing(reason));
    }
    let folder = workspace::root().join("interop/node");
    let modules = modules(&folder)?;
    let command = move || {
        let mut node = Command::new("node");
        node.arg(folder.join("clients.js"))
            .env("NODE_PATH", &modules)
            .env("KAFKAJS_NO_PARTITIONER_WARNING", "1");
        node
    };
    let again = command.clone();
    Ok(Ready::Scenarios(vec![
        Scenario::calm("features", move |broker, checks| {
            program::run(command(), "features", broker, checks)?;
            checks.check("read-back", || kcat::read_features(broker));
            Ok(())
        }),
        Scenario::killing("million", move |broker, checks| {
            program::run_killing(again(), "million", RECORDS, broker, checks)?;
            checks.check("consume", || {
                kcat::read_million(broker, "kafkajs", &Records::new(RECORDS))
            });
            Ok(())
        }),
    ]))
}

/// The folder of the installed modules, installed when `package.json` has changed.
fn modules(folder: &Path) -> Result<PathBuf> {
    let source = folder.join("package.json");
    let wanted = fs::read_to_string(&source).with_context(|| format!("cannot read {}", source.display()))?;
    let cache = workspace::cache()?.join("node");
    let (modules, installed) = (cache.join("node_modules"), cache.join("installed.json"));
    if fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(modules);
    }
    println!("installing the Node client");
    fs::create_dir_all(&cache)?;
    fs::write(cache.join("package.json"), &wanted)?;
    let mut npm = Command::new("npm");
    npm.args([
        "install",
        "--silent",
        "--no-audit",
        "--no-fund",
        "--no-package-lock",
        "--ignore-scripts",
    ]);
    process::quietly(npm.current_dir(&cache))?;
    fs::write(&installed, wanted)?;
    Ok(modules)
}
