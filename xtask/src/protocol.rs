//! `cargo xtask protocol <version>`: writes `crates/protocol/src/generated` out of the schemas of a Kafka release.
//!
//! The way of a schema: [`jars`] finds it in the published jars, [`parse`] reads its JSON, [`schema`] is what is then
//! known about it, [`emit`] writes Rust. Always holds: a schema with anything that is not understood stops the command,
//! and nothing is written before every schema was understood, so a new release is either generated whole or not at all.

mod emit;
mod jars;
mod names;
mod parse;
mod schema;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Runs the command; `args` are those behind its name.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let [version] = args else {
        bail!("usage: cargo xtask protocol <version of Kafka, for instance 4.4.0>");
    };
    ensure!(
        version
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-'),
        "'{version}' is not a version"
    );
    let mut schemas = Vec::new();
    for source in jars::schemas(version)? {
        let place = format!("{} in {}", source.path, source.jar);
        schemas.extend(parse::schema(&source).with_context(|| place)?);
    }
    schemas.sort_by(|a, b| a.name.cmp(&b.name));
    let files = emit::files(&schemas, version)?;
    let written = write(&files)?;
    eprintln!(
        "{} schemas of Kafka {version}, {} files",
        schemas.len(),
        written.len()
    );
    Ok(())
}

fn workspace_root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().expect("xtask lies in the workspace").to_path_buf()
}

fn write(files: &[emit::File]) -> Result<Vec<PathBuf>> {
    let root = workspace_root();
    let src = root.join("crates/protocol/src");
    let generated = src.join("generated");
    if generated.exists() {
        fs::remove_dir_all(&generated)?;
    }
    let mut paths = Vec::new();
    for file in files {
        let path = src.join(&file.path);
        fs::create_dir_all(path.parent().expect("the path was joined"))?;
        fs::write(&path, &file.text).with_context(|| path.display().to_string())?;
        paths.push(path);
    }
    let status = Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path"])
        .arg(&root)
        .args(&paths)
        .status()
        .context("rustfmt did not start")?;
    ensure!(status.success(), "rustfmt refused what was generated");
    Ok(paths)
}
