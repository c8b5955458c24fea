//! Apache Kafka from its published jars: fetched once by Maven into the cache, run with the `java` of the machine.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{process, workspace};

/// The jars of one Maven project under `interop/java`.
#[derive(Clone)]
pub(crate) struct Jars {
    folder: PathBuf,
    log4j: PathBuf,
}

impl Jars {
    /// The broker, at the version that Klamm speaks.
    pub(crate) fn server() -> Result<Self> {
        Self::fetch("server")
    }

    /// The command-line tools and the Java clients, at the newest version that is published.
    pub(crate) fn tools() -> Result<Self> {
        Self::fetch("tools")
    }

    /// What is missing on this machine to run anything of Kafka, if something is.
    pub(crate) fn missing() -> Option<&'static str> {
        if process::find("java").is_none() {
            return Some("there is no java on this machine");
        }
        process::find("mvn")
            .is_none()
            .then_some("there is no mvn (Maven) on this machine")
    }

    fn fetch(project: &str) -> Result<Self> {
        let sources = workspace::root().join("interop/java");
        let pom = sources.join(project).join("pom.xml");
        let text = fs::read_to_string(&pom).with_context(|| format!("cannot read {}", pom.display()))?;
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let folder = workspace::cache()?.join(format!("kafka-{project}-{:016x}", hasher.finish()));
        let complete = folder.join(".complete");
        if !complete.exists() {
            println!("fetching the jars of Apache Kafka ({project})");
            fs::create_dir_all(&folder)?;
            let mut maven = Command::new("mvn");
            maven
                .args(["-q", "-B", "-f"])
                .arg(&pom)
                .arg("dependency:copy-dependencies");
            process::quietly(maven.arg(format!("-DoutputDirectory={}", folder.display())))?;
            fs::write(&complete, "")?;
        }
        Ok(Jars {
            folder,
            log4j: sources.join("log4j2.properties"),
        })
    }

    /// A `java` command with these jars: the main class and its arguments follow.
    pub(crate) fn java(&self) -> Command {
        let mut java = Command::new("java");
        java.arg("-Djava.awt.headless=true").arg("-XX:+UseSerialGC");
        java.arg(format!("-Dlog4j2.configurationFile={}", self.log4j.display()));
        java.arg("-cp").arg(self.folder.join("*"));
        java
    }

    /// Formats the data folder that a configuration names.
    pub(crate) fn format(&self, properties: &Path) -> Result<()> {
        let mut java = self.java();
        java.args([
            "kafka.tools.StorageTool",
            "format",
            "-t",
            "KlammInteropClusterAAA",
            "-c",
        ])
        .arg(properties);
        process::quietly(&mut java)
    }

    /// The command that serves a configuration.
    pub(crate) fn broker(&self, properties: &Path, machine: Machine) -> Command {
        let mut java = Command::new("java");
        java.args(machine.flags());
        java.args(["-Dkafka.log.level=WARN", "-Dkafka.log.target=SYSTEM_OUT"]);
        java.arg(format!("-Dlog4j2.configurationFile={}", self.log4j.display()));
        java.arg("-cp")
            .arg(self.folder.join("*"))
            .arg("kafka.Kafka")
            .arg(properties);
        java
    }
}

/// What the virtual machine of a broker is tuned for.
#[derive(Clone, Copy)]
pub(crate) enum Machine {
    /// Many brokers, one after the other, beside a build.
    Small,
    /// What Kafka's own start script gives to `java`.
    Production,
}

impl Machine {
    fn flags(self) -> &'static [&'static str] {
        match self {
            Machine::Small => &["-Xms256m", "-Xmx1g"],
            Machine::Production => &[
                "-Xms1g",
                "-Xmx1g",
                "-server",
                "-XX:+UseG1GC",
                "-XX:MaxGCPauseMillis=20",
                "-XX:InitiatingHeapOccupancyPercent=35",
                "-XX:+ExplicitGCInvokesConcurrent",
                "-Djava.awt.headless=true",
            ],
        }
    }
}
