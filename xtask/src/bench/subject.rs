//! One side of a comparison: a broker, or the limit program, as a process that is measured.
//!
//! Always holds: both sides of a scenario run from its beginning to its end, so that the virtual machine keeps what it has
//! compiled, and only one of them is awake at a time: the other is stopped (SIGSTOP) and takes no processor. What a
//! stopped broker would make up for when it wakes is turned off, or over before a run begins: its session with its own
//! controller does not expire, and topics of earlier runs have left the disk before it is stopped.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal};
use serde::Serialize;
use tempfile::TempDir;

use super::{
    driver::Driver,
    programs::Programs,
    scenario::{Process as Turns, Scenario},
    syncs::Durability,
};
use crate::{
    broker::{Broker, Disk, Kind, Machine, Setup, free_port},
    process,
};

/// What a woken broker may do before it is measured.
const SETTLE: Duration = Duration::from_secs(1);
/// How long deleted partitions may stay on the disk.
const DELETE_LIMIT: Duration = Duration::from_secs(60);
/// The limit program writes its files and listens.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Whom a column of the table is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Side {
    Klamm,
    KlammOneWorker,
    KlammTwoWorkers,
    /// With a topic that holds much.
    KlammFull,
    /// With a topic that holds little.
    KlammEmpty,
    Kafka,
    Limit,
}

impl Side {
    pub(super) fn name(self) -> &'static str {
        match self {
            Side::Klamm => "klamm",
            Side::KlammOneWorker => "klamm, 1 worker",
            Side::KlammTwoWorkers => "klamm, 2 workers",
            Side::KlammFull => "klamm, 100 GB",
            Side::KlammEmpty => "klamm, 1 GB",
            Side::Kafka => "kafka",
            Side::Limit => "limit",
        }
    }

    /// Whether it is Klamm, in whatever way.
    pub(super) fn is_ours(self) -> bool {
        self.kind() == Some(Kind::Klamm)
    }

    /// The lines of `server.properties` that are not those of every test; both sides have those of the scenario. One of a
    /// process that takes `turns` is stopped and goes on.
    fn properties(
        self,
        durability: Durability,
        settings: &[(&'static str, &'static str)],
        takes_turns: bool,
    ) -> Vec<(String, String)> {
        // Deleted topics leave the disk at once, so that the next run does not pay for writing them back.
        let mut lines = vec![("log.segment.delete.delay.ms", "100")];
        lines.extend_from_slice(settings);
        match self {
            Side::Klamm
            | Side::KlammOneWorker
            | Side::KlammTwoWorkers
            | Side::KlammFull
            | Side::KlammEmpty => {
                lines.push(match durability {
                    Durability::PageCache => ("klamm.durability", "page-cache"),
                    Durability::Fsync => ("klamm.durability", "fsync"),
                });
            }
            Side::Kafka => {
                // One that is killed waits for the end of its last session when it starts.
                if takes_turns {
                    lines.push(("broker.session.timeout.ms", "86400000"));
                }
                if durability == Durability::Fsync {
                    lines.push(("log.flush.interval.messages", "1"));
                }
            }
            Side::Limit => {}
        }
        match self {
            Side::KlammOneWorker => lines.push(("klamm.workers", "1")),
            Side::KlammTwoWorkers => lines.push(("klamm.workers", "2")),
            Side::Klamm | Side::KlammFull | Side::KlammEmpty | Side::Kafka | Side::Limit => {}
        }
        lines
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    fn kind(self) -> Option<Kind> {
        match self {
            Side::Klamm
            | Side::KlammOneWorker
            | Side::KlammTwoWorkers
            | Side::KlammFull
            | Side::KlammEmpty => Some(Kind::Klamm),
            Side::Kafka => Some(Kind::Kafka),
            Side::Limit => None,
        }
    }
}

/// A running side.
pub(super) struct Subject<'a> {
    pub(super) side: Side,
    programs: &'a Programs,
    process: Process,
    topics_made: u32,
}

enum Process {
    Broker(Box<Broker>),
    Limit(Limit),
}

impl<'a> Subject<'a> {
    /// Starts a side on empty data in a folder of its own under `place`.
    pub(super) fn start(
        side: Side,
        scenario: &Scenario,
        programs: &'a Programs,
        place: &Path,
    ) -> Result<Self> {
        let process = match side.kind() {
            Some(kind) => Process::Broker(Box::new(Broker::start_as(Setup {
                kind,
                partitions: 1,
                program: programs.klamm.clone(),
                properties: side.properties(
                    scenario.durability_of(side),
                    scenario.settings,
                    scenario.work.process() == Turns::Warm,
                ),
                machine: Machine::Production,
                place: place.to_owned(),
                ends_with_us: true,
                disk: Disk::Machine,
            })?)),
            None => Process::Limit(Limit::start(programs.limit()?, place)?),
        };
        Ok(Subject {
            side,
            programs,
            process,
            topics_made: 0,
        })
    }

    pub(super) fn address(&self) -> &str {
        match &self.process {
            Process::Broker(broker) => broker.address(),
            Process::Limit(limit) => &limit.address,
        }
    }

    pub(super) fn pid(&self) -> Result<u32> {
        match &self.process {
            Process::Broker(broker) => broker.pid().context("the broker does not run"),
            Process::Limit(limit) => Ok(limit.child.id()),
        }
    }

    pub(super) fn is_broker(&self) -> bool {
        matches!(self.process, Process::Broker(_))
    }

    /// The broker itself, for what ends and starts it.
    pub(super) fn broker(&mut self) -> Result<&mut Broker> {
        match &mut self.process {
            Process::Broker(broker) => Ok(broker),
            Process::Limit(_) => bail!("the limit program is no broker"),
        }
    }

    /// Takes the processor from it.
    pub(super) fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on, and do what it has missed.
    pub(super) fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)?;
        thread::sleep(SETTLE);
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid()?).ok().and_then(Pid::from_raw);
        Ok(rustix::process::kill_process(
            pid.context("a process has a number above 0")?,
            signal,
        )?)
    }

    /// A name that no topic of this side had before.
    pub(super) fn new_topic(&mut self) -> String {
        self.topics_made += 1;
        format!("bench-{}", self.topics_made)
    }

    /// Starts the load program against this side.
    pub(super) fn drive(&self, topic: &str, arguments: &[String]) -> Result<Driver> {
        let (command, rest) = arguments.split_first().context("a command of the load program")?;
        let mut all = vec![command.clone()];
        all.extend(["--bootstrap", self.address(), "--topic", topic].map(str::to_owned));
        if !self.is_broker() {
            all.push("--blind".to_owned());
        }
        all.extend_from_slice(rest);
        Driver::start(&self.programs.load, &all)
    }

    /// Makes topics, and waits until they can be used.
    pub(super) fn create(&self, topic: &str, topics: u16, partitions: u16) -> Result<()> {
        self.create_with(topic, topics, partitions, &[])
    }

    /// As [`Self::create`], with settings of their own, each as `KEY=VALUE`.
    pub(super) fn create_with(
        &self,
        topic: &str,
        topics: u16,
        partitions: u16,
        configs: &[String],
    ) -> Result<()> {
        if self.is_broker() {
            let mut arguments = ["create", "--topics", &topics.to_string()]
                .map(str::to_owned)
                .to_vec();
            arguments.extend(["--partitions".to_owned(), partitions.to_string()]);
            for config in configs {
                arguments.extend(["--config".to_owned(), config.clone()]);
            }
            self.drive(topic, &arguments)?.complete()?;
        }
        Ok(())
    }

    /// Where the partitions of a broker are.
    pub(super) fn log_dir(&self) -> Result<PathBuf> {
        match &self.process {
            Process::Broker(broker) => Ok(broker.log_dir()),
            Process::Limit(_) => bail!("the limit program has no partitions"),
        }
    }

    /// Removes topics, and waits until they have left the disk. The limit program knows no topics: it starts anew.
    pub(super) fn delete(&mut self, topic: &str, topics: u16) -> Result<()> {
        match &mut self.process {
            Process::Limit(limit) => limit.restart(),
            Process::Broker(broker) => {
                let folder = broker.log_dir();
                let arguments = ["delete", "--topics", &topics.to_string()].map(str::to_owned);
                self.drive(topic, &arguments)?.complete()?;
                gone(&folder, topic)
            }
        }
    }

    /// Waits until the disk has written what there is to write of the limit program; a removed topic does so for a broker.
    pub(super) fn settle_disk(&self) -> Result<()> {
        match &self.process {
            Process::Limit(limit) => {
                process::quietly(Command::new("sync").arg("-f").arg(limit.folder.path()))
            }
            Process::Broker(_) => Ok(()),
        }
    }

    /// The end of what it logged, for the message about a failure.
    pub(super) fn tail(&self) -> String {
        match &self.process {
            Process::Broker(broker) => broker.tail(),
            Process::Limit(_) => String::new(),
        }
    }
}

/// Waits until no folder in `folder` is one of this topic, before and after Kafka has renamed it, and until the disk has
/// written what else there is to write.
fn gone(folder: &Path, topic: &str) -> Result<()> {
    let limit = Instant::now() + DELETE_LIMIT;
    let prefix = format!("{topic}-");
    while fs::read_dir(folder)?
        .filter_map(Result::ok)
        .any(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
    {
        ensure!(
            Instant::now() < limit,
            "topic {topic} is still on the disk after {DELETE_LIMIT:?}"
        );
        thread::sleep(Duration::from_millis(20));
    }
    process::quietly(Command::new("sync").arg("-f").arg(folder))
}

/// The program that does nothing but CRC, `pwrite` and `sendfile`.
struct Limit {
    child: Child,
    program: PathBuf,
    folder: TempDir,
    address: String,
}

impl Limit {
    fn start(program: &Path, place: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("klamm-limit-")
            .tempdir_in(place)?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let child = Self::spawn(program, folder.path(), &address)?;
        Ok(Limit {
            child,
            program: program.to_owned(),
            folder,
            address,
        })
    }

    fn spawn(program: &Path, folder: &Path, address: &str) -> Result<Child> {
        let mut command = Command::new(program);
        command.args(["--listen", address, "--data"]).arg(folder);
        command.stdin(Stdio::null());
        process::end_with_us(&mut command);
        let mut child = command.spawn().context("cannot run the limit program")?;
        let limit = Instant::now() + START_LIMIT;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = child.try_wait()? {
                bail!("the limit program ended with {status}");
            }
            ensure!(Instant::now() < limit, "the limit program does not listen");
            thread::sleep(Duration::from_millis(10));
        }
        Ok(child)
    }

    /// Starts again on empty data.
    fn restart(&mut self) -> Result<()> {
        self.end();
        for entry in fs::read_dir(self.folder.path())? {
            fs::remove_file(entry?.path())?;
        }
        self.child = Self::spawn(&self.program, self.folder.path(), &self.address)?;
        Ok(())
    }

    fn end(&mut self) {
        // It has ended already when this fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(side: Side, durability: Durability, key: &str) -> Option<String> {
        let lines = side.properties(durability, &[("group.initial.rebalance.delay.ms", "7")], false);
        lines
            .into_iter()
            .find(|(found, _)| found == key)
            .map(|(_, value)| value)
    }

    #[test]
    fn both_sides_promise_the_same() {
        use Durability::{Fsync, PageCache};
        for (side, durability, key, expected) in [
            (Side::Klamm, PageCache, "klamm.durability", Some("page-cache")),
            (
                Side::KlammTwoWorkers,
                PageCache,
                "klamm.durability",
                Some("page-cache"),
            ),
            (Side::Klamm, Fsync, "klamm.durability", Some("fsync")),
            (Side::Kafka, PageCache, "log.flush.interval.messages", None),
            (Side::Kafka, Fsync, "log.flush.interval.messages", Some("1")),
            (Side::Kafka, Fsync, "klamm.durability", None),
            (Side::KlammOneWorker, PageCache, "klamm.workers", Some("1")),
            (Side::Klamm, PageCache, "klamm.workers", None),
            (Side::Klamm, Fsync, "group.initial.rebalance.delay.ms", Some("7")),
            (
                Side::Kafka,
                PageCache,
                "group.initial.rebalance.delay.ms",
                Some("7"),
            ),
        ] {
            let found = value(side, durability, key);
            assert_eq!(found.as_deref(), expected, "{side:?} {durability:?} {key}");
        }
    }

    #[test]
    fn only_who_is_stopped_has_a_session_without_end() {
        for takes_turns in [true, false] {
            let lines = Side::Kafka.properties(Durability::PageCache, &[], takes_turns);
            let found = lines.iter().any(|(key, _)| key == "broker.session.timeout.ms");
            assert_eq!(found, takes_turns);
        }
    }

    #[test]
    fn a_topic_is_gone_when_its_folders_are() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("bench-11-0")).unwrap();
        let leaving = folder.path().join("bench-1-0.abc-delete");
        fs::create_dir(&leaving).unwrap();
        let waiting = thread::spawn({
            let folder = folder.path().to_owned();
            move || gone(&folder, "bench-1")
        });
        fs::remove_dir(&leaving).unwrap();
        waiting.join().unwrap().unwrap();
        assert!(folder.path().join("bench-11-0").exists());
    }
}
