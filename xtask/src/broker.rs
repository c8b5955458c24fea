//! A broker in a process of its own, for real clients: Klamm, or Apache Kafka from its published jars.
//!
//! Always: both start from the same `server.properties`, listen on loopback on a port that was free, and keep their
//! data in a temporary folder that goes with them. A broker that was killed comes back on the same port and data, as
//! a client expects of an address. Dropping a broker ends its process.

mod kafka;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

pub(crate) use self::kafka::{Jars, Machine};
use crate::{
    power::{Memory, Power},
    process, workspace,
};

/// Kafka takes two and a half seconds to start, and thirteen after it was killed.
const START_LIMIT: Duration = Duration::from_secs(180);

/// The log dir's name in the broker's folder.
const DATA: &str = "data";

/// Where the controller listens, above the broker's port.
const CONTROLLER_ABOVE: u16 = 1_000;

/// Which broker the clients talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Klamm,
    Kafka,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Klamm => "klamm",
            Kind::Kafka => "kafka",
        }
    }
}

/// How a broker is started.
pub(crate) struct Setup {
    pub(crate) kind: Kind,
    /// Of topics that are made without a number.
    pub(crate) partitions: u16,
    /// The `klamm` to run.
    pub(crate) program: PathBuf,
    /// Lines that follow in `server.properties`.
    pub(crate) properties: Vec<(String, String)>,
    /// What the virtual machine is tuned for.
    pub(crate) machine: Machine,
    /// Where the temporary folder is made.
    pub(crate) place: PathBuf,
    /// The system ends the process with the thread that started it, even when it is stopped at that time.
    pub(crate) ends_with_us: bool,
    /// What the data lies on.
    pub(crate) disk: Disk,
}

/// What a broker's data lies on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Disk {
    /// The machine's own disk: its end is that of the process, and the page cache stays.
    #[default]
    Machine,
    /// One of its own, whose power is cut when the broker is to die.
    Power,
    /// One in memory with so much room.
    Memory(&'static str),
}

/// The disk of a broker that runs; it is gone before the folder that it is mounted in.
enum Mounted {
    Machine,
    Power(Power),
    Memory(Memory),
}

impl Setup {
    /// What tests start.
    fn tests(kind: Kind, partitions: u16) -> Result<Self> {
        Ok(Setup {
            kind,
            partitions,
            program: program()?,
            properties: Vec::new(),
            machine: Machine::Small,
            place: std::env::temp_dir(),
            ends_with_us: false,
            disk: Disk::Machine,
        })
    }
}

pub(crate) struct Broker {
    setup: Setup,
    disk: Mounted,
    folder: TempDir,
    address: String,
    process: Option<Child>,
    java: Option<Jars>,
}

impl Broker {
    /// Starts a broker for tests on empty data and waits until it listens. `partitions` is what topics get that are made
    /// without a number; the controller listens 1,000 ports above the broker.
    pub(crate) fn start(kind: Kind, partitions: u16) -> Result<Self> {
        Self::start_with(kind, partitions, &[], Disk::Machine)
    }

    /// As [`Self::start`], with properties of its own.
    pub(crate) fn start_with(
        kind: Kind,
        partitions: u16,
        properties: &[(&str, &str)],
        disk: Disk,
    ) -> Result<Self> {
        let own = properties
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Self::start_as(Setup {
            properties: own.collect(),
            disk,
            ..Setup::tests(kind, partitions)?
        })
    }

    /// As [`Self::start`], in any way.
    pub(crate) fn start_as(setup: Setup) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("klamm-interop-")
            .tempdir_in(&setup.place)?;
        let port = free_port()?;
        let controller = port + CONTROLLER_ABOVE;
        let mut text = properties(folder.path(), port, controller, setup.partitions);
        for (key, value) in &setup.properties {
            text.push_str(&format!("{key}={value}\n"));
        }
        fs::write(folder.path().join("server.properties"), text)?;
        let java = match setup.kind {
            Kind::Klamm => None,
            Kind::Kafka => Some(Jars::server()?),
        };
        let data = folder.path().join(DATA);
        fs::create_dir(&data)?;
        let disk = match setup.disk {
            Disk::Machine => Mounted::Machine,
            Disk::Power => Mounted::Power(Power::on(folder.path(), &data)?),
            Disk::Memory(size) => Mounted::Memory(Memory::mount(&data, size)?),
        };
        let mut broker = Broker {
            setup,
            disk,
            folder,
            address: format!("127.0.0.1:{port}"),
            process: None,
            java,
        };
        if let Some(jars) = &broker.java {
            jars.format(&broker.properties())?;
        }
        broker.restart()?;
        Ok(broker)
    }

    /// Which broker it is.
    pub(crate) fn kind(&self) -> Kind {
        self.setup.kind
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The folder that holds the partitions.
    pub(crate) fn log_dir(&self) -> PathBuf {
        self.folder.path().join(DATA)
    }

    /// The file system in memory that holds the data, if it is one.
    pub(crate) fn memory(&self) -> Option<&Memory> {
        match &self.disk {
            Mounted::Memory(memory) => Some(memory),
            Mounted::Machine | Mounted::Power(_) => None,
        }
    }

    /// Has its disk refuse every write, as a file system does after an error of the device.
    pub(crate) fn stop_writes(&self) -> Result<()> {
        self.power()?.stop_writes()
    }

    /// Has the disk take writes again; nothing may use it.
    pub(crate) fn allow_writes(&self) -> Result<()> {
        self.power()?.allow_writes()
    }

    fn power(&self) -> Result<&Power> {
        match &self.disk {
            Mounted::Power(power) => Ok(power),
            Mounted::Machine | Mounted::Memory(_) => bail!("the broker has no disk of its own"),
        }
    }

    /// How often the power of its disk was cut.
    pub(crate) fn cuts(&self) -> u32 {
        match &self.disk {
            Mounted::Power(power) => power.cuts(),
            Mounted::Machine | Mounted::Memory(_) => 0,
        }
    }

    /// The process, while there is one.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Ends the process at once, as `kill -9` or a crash would.
    pub(crate) fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    /// Ends the process at once, by a power cut if its disk is one for that, and, after a while, begins its next life, without
    /// waiting until that one serves. An error when the process had ended by itself.
    pub(crate) fn kill_and_begin(&mut self, away: Duration) -> Result<()> {
        if let Some(status) = self.process.as_mut().map(Child::try_wait).transpose()?.flatten() {
            bail!(
                "{} ended by itself with {status}\n{}",
                self.setup.kind.name(),
                self.tail()
            );
        }
        match &mut self.disk {
            Mounted::Power(power) => power.cut(self.process.take())?,
            Mounted::Machine | Mounted::Memory(_) => self.kill()?,
        }
        thread::sleep(away);
        self.begin().map(drop)
    }

    /// Waits until the process has ended by itself.
    pub(crate) fn wait_for_end(&mut self, limit: Duration) -> Result<()> {
        let end = Instant::now() + limit;
        while let Some(process) = &mut self.process {
            if process.try_wait()?.is_some() {
                self.process = None;
            } else if Instant::now() > end {
                bail!("{} does not end\n{}", self.setup.kind.name(), self.tail());
            } else {
                thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }

    /// From its next start on it is Klamm that runs on the data.
    pub(crate) fn become_klamm(&mut self) {
        self.setup.kind = Kind::Klamm;
        self.java = None;
    }

    /// Starts the broker again on what it left behind, and waits until it serves.
    pub(crate) fn restart(&mut self) -> Result<()> {
        let ready = self.begin()?;
        match ready.recv_timeout(START_LIMIT) {
            Ok(line) => self.check_address(&line),
            Err(RecvTimeoutError::Timeout) => bail!(
                "{} is not ready after {START_LIMIT:?}\n{}",
                self.setup.kind.name(),
                self.tail()
            ),
            Err(RecvTimeoutError::Disconnected) => {
                bail!("{} ended at its start\n{}", self.setup.kind.name(), self.tail())
            }
        }
    }

    /// Starts the process, and returns where the line appears that says it is ready.
    fn begin(&mut self) -> Result<mpsc::Receiver<String>> {
        let (mut command, ready) = match &self.java {
            None => (self.klamm(), "listening on "),
            Some(jars) => (
                jars.broker(&self.properties(), self.setup.machine),
                "Kafka Server started",
            ),
        };
        let log = fs::File::options().create(true).append(true).open(self.log())?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.try_clone()?);
        if self.setup.ends_with_us {
            process::end_with_us(&mut command);
        }
        let mut process = command
            .spawn()
            .with_context(|| format!("cannot start {}", self.setup.kind.name()))?;
        let output = BufReader::new(process.stdout.take().expect("standard output is piped"));
        self.process = Some(process);
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || drain(output, log, ready, &sender));
        Ok(receiver)
    }

    /// Asks the broker to stop and waits for it; an error when it does not end well.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.terminate()
    }

    /// As [`Self::stop`], for a broker that starts again.
    pub(crate) fn terminate(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        process::quietly(Command::new("kill").args(["-TERM", &process.id().to_string()]))?;
        let limit = Instant::now() + START_LIMIT;
        while Instant::now() < limit {
            if let Some(status) = process.try_wait()? {
                // The virtual machine reports a handled SIGTERM as 143.
                if status.success() || (self.setup.kind == Kind::Kafka && status.code() == Some(143)) {
                    return Ok(());
                }
                bail!("{} ended with {status}\n{}", self.setup.kind.name(), self.tail());
            }
            thread::sleep(Duration::from_millis(20));
        }
        self.process = Some(process);
        bail!("{} does not stop\n{}", self.setup.kind.name(), self.tail());
    }

    /// Where the broker serves its metrics, as it printed.
    pub(crate) fn metrics_address(&self) -> Option<String> {
        let text = fs::read_to_string(self.log()).ok()?;
        let rest = text.rsplit_once("http://")?.1;
        Some(rest.split_once('/')?.0.to_owned())
    }

    /// The commands that Klamm printed at its last start, once the line after the last one is there.
    pub(crate) fn printed_commands(&self) -> Option<Vec<String>> {
        let text = fs::read_to_string(self.log()).ok()?;
        let (_, rest) = text.rsplit_once("\nIn another shell")?;
        // A line that is being written is not one yet.
        let whole = &rest[..=rest.rfind('\n')?];
        let commands = whole.lines().skip(1).map_while(|line| line.strip_prefix("  "));
        Some(commands.map(str::to_owned).collect())
    }

    /// The end of what the broker logged.
    pub(crate) fn tail(&self) -> String {
        let text = fs::read(self.log()).unwrap_or_default();
        process::last_lines(&String::from_utf8_lossy(&text), 30)
    }

    /// Keeps the data and the log for a look, and says where they are.
    pub(crate) fn keep(&mut self) -> &Path {
        self.folder.disable_cleanup(true);
        if let Mounted::Power(power) = &self.disk
            && let Err(error) = power.keep(self.folder.path())
        {
            println!("the disk cannot be kept: {error:#}");
        }
        self.folder.path()
    }

    fn klamm(&self) -> Command {
        let mut command = Command::new(&self.setup.program);
        command.arg("serve").arg("--config").arg(self.properties());
        command.args(["--set", "klamm.http.listener=127.0.0.1:0"]);
        command
    }

    /// Klamm prints where it listens: it must be where it was told to.
    fn check_address(&self, line: &str) -> Result<()> {
        if self.setup.kind == Kind::Klamm && !line.contains(&self.address) {
            bail!("klamm was told to listen on {} and says: {line}", self.address);
        }
        Ok(())
    }

    fn properties(&self) -> PathBuf {
        self.folder.path().join("server.properties")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Nothing is left to report to when this fails: the process is gone already.
        let _ = self.kill();
    }
}

/// Copies what a broker prints into its log until it ends, and passes on the line that says it is ready.
fn drain(output: impl BufRead, mut log: fs::File, ready: &str, sender: &mpsc::Sender<String>) {
    for line in output.lines().map_while(Result::ok) {
        // A log that cannot be written makes a failure harder to read, not a test wrong.
        let _ = writeln!(log, "{line}");
        if line.contains(ready) {
            // Nobody waits for the line any more after the start was given up.
            let _ = sender.send(line);
        }
    }
}

/// The configuration that starts either broker.
fn properties(folder: &Path, port: u16, controller: u16, partitions: u16) -> String {
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         controller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         log.dirs={}\n\
         num.partitions={partitions}\n\
         offsets.topic.replication.factor=1\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n",
        folder.join(DATA).display()
    )
}

/// A port that nothing listens on, below the range that the system gives to outgoing connections: a client that keeps
/// trying to reach a broker that is down must not be given the broker's own port.
pub(crate) fn free_port() -> Result<u16> {
    let start = 20_000 + (std::process::id() as u16 % 5_000) * 2;
    (start..31_000)
        .find(|port| !taken(*port) && !taken(*port + CONTROLLER_ABOVE))
        .context("no port between 20000 and 32000 is free")
}

/// Whether a port is in use, or was handed out by this process already.
fn taken(port: u16) -> bool {
    use std::sync::Mutex;
    static GIVEN: Mutex<Vec<u16>> = Mutex::new(Vec::new());
    let mut given = GIVEN.lock().expect("no thread panics while it holds the ports");
    if given.contains(&port) || TcpListener::bind(("127.0.0.1", port)).is_err() {
        return true;
    }
    given.push(port);
    false
}

/// The program that the tests run: the broker, and the command line.
pub(crate) fn program() -> Result<PathBuf> {
    Ok(target_folder()?.join("interop/klamm"))
}

/// Where cargo puts what it builds.
pub(crate) fn target_folder() -> Result<PathBuf> {
    #[derive(serde::Deserialize)]
    struct Metadata {
        target_directory: PathBuf,
    }
    let text = process::output(workspace::cargo().args([
        "metadata",
        "--format-version=1",
        "--no-deps",
        "--locked",
    ]))?;
    Ok(serde_json::from_str::<Metadata>(&text)?.target_directory)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, io::Cursor};

    use super::*;

    #[test]
    fn ports_are_free_and_given_once() {
        let ports: BTreeSet<u16> = (0..5).map(|_| free_port().unwrap()).collect();
        assert_eq!(ports.len(), 5);
        assert!(ports.iter().all(|port| (20_000..32_000).contains(port)));
    }

    #[test]
    fn the_line_that_says_ready_is_passed_on_and_all_is_logged() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let (sender, receiver) = mpsc::channel();
        let output = Cursor::new("one\nlistening on 127.0.0.1:1\ntwo\n");
        drain(output, log.reopen().unwrap(), "listening on ", &sender);
        assert_eq!(receiver.try_recv().unwrap(), "listening on 127.0.0.1:1");
        assert_eq!(
            fs::read_to_string(log.path()).unwrap(),
            "one\nlistening on 127.0.0.1:1\ntwo\n"
        );
    }
}
