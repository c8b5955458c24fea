//! Finds the schemas inside the published jars of a Kafka release.
//!
//! The jars come from Maven Central, through Maven, into the user's cache folder, where later runs find them.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The jars that carry schemas.
const JARS: [&str; 7] = [
    "kafka-clients",
    "kafka-group-coordinator",
    "kafka-metadata",
    "kafka-raft",
    "kafka-share-coordinator",
    "kafka-storage",
    "kafka-transaction-coordinator",
];

/// One schema as it was published.
pub(super) struct Source {
    /// The jar, without version.
    pub(super) jar: &'static str,
    /// The path in the jar.
    pub(super) path: String,
    /// JSON with comments.
    pub(super) text: String,
}

/// All schemas of a release.
pub(super) fn schemas(version: &str) -> Result<Vec<Source>> {
    let folder = cache_folder()?.join("klamm/kafka-schemas").join(version);
    let mut sources = Vec::new();
    for jar in JARS {
        let path = folder.join(format!("{jar}-{version}.jar"));
        if !path.exists() {
            fetch(jar, version, &folder)?;
        }
        read(jar, &path, &mut sources).with_context(|| path.display().to_string())?;
    }
    Ok(sources)
}

fn cache_folder() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()) {
        return Ok(folder.into());
    }
    let home = std::env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(Path::new(&home).join(".cache"))
}

fn fetch(jar: &str, version: &str, folder: &Path) -> Result<()> {
    eprintln!("fetching {jar} {version}");
    fs::create_dir_all(folder)?;
    let output = Command::new("mvn")
        .args(["--batch-mode", "--quiet", "dependency:copy"])
        .arg(format!("-Dartifact=org.apache.kafka:{jar}:{version}"))
        .arg(format!("-DoutputDirectory={}", folder.display()))
        .current_dir(folder)
        .output()
        .context("mvn did not start: Maven is needed to fetch Kafka's jars")?;
    // Maven reports on standard output.
    let report = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "mvn could not fetch {jar} {version}:\n{report}"
    );
    Ok(())
}

fn read(jar: &'static str, path: &Path, sources: &mut Vec<Source>) -> Result<()> {
    let mut archive = zip::ZipArchive::new(File::open(path)?)?;
    let mut found = 0;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        let name = entry.name()?.into_owned();
        if !name.ends_with(".json") || !(name.contains("message/") || name.contains("metadata/")) {
            continue;
        }
        let mut text = String::new();
        entry.read_to_string(&mut text)?;
        sources.push(Source {
            jar,
            path: name,
            text,
        });
        found += 1;
    }
    ensure!(found > 0, "there is no schema in it");
    Ok(())
}
