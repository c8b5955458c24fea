//! `cargo xtask golden`: makes the golden data folder of this version (`sim/golden`), once, before a release.
//!
//! Always holds: a folder that is there is left alone: it is what a release wrote, whatever the code writes today.

use anyhow::{Result, bail};

use crate::{
    process,
    workspace::{cargo, root},
};

pub(crate) fn run() -> Result<bool> {
    // This program has the version of the workspace.
    let folder = root().join("sim/golden").join(env!("CARGO_PKG_VERSION"));
    if folder.exists() {
        bail!(
            "{} is there: a release keeps what it wrote. Raise the version, or remove the folder of a version that was \
             never released",
            folder.display()
        );
    }
    let mut example = cargo();
    example.args([
        "run",
        "--quiet",
        "--locked",
        "--package",
        "klamm-sim",
        "--example",
        "golden",
        "--",
    ]);
    process::succeeds(example.arg(folder))
}
