//! What a comparison runs, built once at the beginning.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{broker::target_folder, process, test, workspace::cargo};

/// Where the programs stand.
pub(super) struct Programs {
    pub(super) klamm: PathBuf,
    pub(super) load: PathBuf,
    /// A client that waits for a broker to come.
    pub(super) waiting: PathBuf,
    limit: Option<PathBuf>,
}

impl Programs {
    /// Builds them; the broker, and the limit beside it, with `profile`.
    pub(super) fn build(profile: &str, with_limit: bool) -> Result<Self> {
        let limit = if with_limit {
            Some(build("klamm-limit", profile)?)
        } else {
            None
        };
        Ok(Programs {
            klamm: build("klamm", profile)?,
            load: build("klamm-load", "interop")?,
            waiting: test::kill::build()?,
            limit,
        })
    }

    pub(super) fn limit(&self) -> Result<&Path> {
        self.limit
            .as_deref()
            .context("the limit program was not asked for")
    }
}

fn build(package: &str, profile: &str) -> Result<PathBuf> {
    println!("building {package} ({profile})");
    let mut command = cargo();
    command.args(["build", "--quiet", "--locked"]);
    command.args(["--profile", profile, "--package", package, "--bin", package]);
    process::quietly(&mut command)?;
    Ok(target_folder()?.join(profile).join(package))
}
