//! One whole node in the simulator, which is crashed, stopped, cut off and started again.
//!
//! Always holds: all that happens follows from the seed. What the clients do is a scenario's: [`crate::scenario`] proves that
//! nothing acknowledged is lost, [`crate::work`] that groups and transactions keep their word.

mod fate;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use klamm_broker::{FixedLoggers, Node};
use klamm_config::{BrokerConfig, Sources};
use klamm_env::sim::simulation::Ended;
use klamm_env::sim::{CrashMode, Options, SeededRng, Simulation, SimulationError};
use klamm_env::{Env, Files};
use tokio::sync::Notify;

pub(crate) use self::fate::Fate;
use crate::checkers::Violation;
use crate::wire::Address;

/// The host that is ended again and again.
pub(crate) const BROKER: &str = "broker";
const PORT: u16 = 9092;
/// Where its data lies.
const DATA: &str = "/data";
/// Where its log dir is.
pub(crate) const LOGS: &str = "/data/logs";
/// How long work may take to come to its end once the broker is left alone, in simulated time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Keys of the node's configuration beside those that every node of a simulation has.
pub(crate) type Configs = &'static [(&'static str, &'static str)];

/// How often the node was ended, by what became of its disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// The process ended, and the page cache stayed.
    pub kept: u32,
    /// The power failed: all that was not synced is gone.
    pub dropped: u32,
    /// The power failed: of what was not synced, some parts are there and others are not.
    pub torn: u32,
}

impl Ends {
    /// All of them.
    pub fn total(&self) -> u32 {
        self.kept + self.dropped + self.torn
    }

    fn count(&mut self, mode: CrashMode) {
        *match mode {
            CrashMode::KeepPageCache => &mut self.kept,
            CrashMode::DropUnsynced => &mut self.dropped,
            CrashMode::Torn { .. } => &mut self.torn,
        } += 1;
    }
}

impl std::ops::AddAssign for Ends {
    fn add_assign(&mut self, other: Self) {
        self.kept += other.kept;
        self.dropped += other.dropped;
        self.torn += other.torn;
    }
}

/// How a run ended. Two runs of one seed have the same, the digest of the trace included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What is wrong.
    pub violations: Vec<Violation>,
    /// Equal for equal traces.
    pub digest: u64,
    /// How many events the trace has.
    pub events: u64,
    /// How long it took, in simulated time.
    pub elapsed: Duration,
    /// Records or transactions that were acknowledged.
    pub acknowledged: u64,
    /// How often the node was ended.
    pub ends: Ends,
    /// The last lines of the trace.
    pub lines: Vec<String>,
}

impl Outcome {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.violations.is_empty()
    }
}

/// Why a run came to an early end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Simulation(#[from] SimulationError),
    #[error("the broker ended by itself: {0:?}")]
    Ended(Result<(), String>),
    #[error("the work does not come to an end")]
    Stuck,
}

/// What [`Stage::advance`] waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// The time to pass, or the disk to meet its end.
    Time,
    /// All clients to return.
    Clients,
}

/// See the head of the file.
pub(crate) struct Stage {
    pub(crate) simulation: Simulation,
    pub(crate) rng: SeededRng,
    /// Power may fail; else the process alone does.
    pub(crate) power_fails: bool,
    /// Tells the node to end in order.
    stop: Arc<Notify>,
    ends: Ends,
}

impl Stage {
    /// The world of `seed`, without a node, keeping the last `lines` lines of its trace.
    pub(crate) fn new(seed: u64, lines: usize) -> Self {
        Self::with(seed, lines, Options::default())
    }

    /// The same with `options`.
    pub(crate) fn with(seed: u64, lines: usize, options: Options) -> Self {
        let simulation = Simulation::new(seed, options);
        simulation.world().trace().keep(lines);
        Self {
            rng: simulation.world().rng("scenario"),
            simulation,
            power_fails: true,
            stop: Arc::default(),
            ends: Ends::default(),
        }
    }

    /// Begins the first life of the node.
    pub(crate) fn raise(&mut self, configs: Configs) {
        let disk = self.simulation.world().disk(BROKER);
        disk.create_dir_all(Path::new(DATA))
            .expect("an empty disk takes a folder");
        disk.sync_all();
        let stop = self.stop.clone();
        self.simulation
            .host(BROKER, move |env| live(env, stop.clone(), configs));
    }

    /// Runs for `limit`, or until what is waited for.
    pub(crate) fn advance(&mut self, limit: Duration, until: Until) -> Result<(), Failure> {
        let end = self.simulation.elapsed() + limit;
        let disk = self.simulation.world().disk(BROKER);
        while self.simulation.elapsed() < end {
            let are_done = self.simulation.step()?;
            if disk.is_down() {
                return Ok(());
            }
            if let Some(ended) = self.simulation.ended(BROKER) {
                return Err(Failure::Ended(ended));
            }
            if are_done && until == Until::Clients {
                return Ok(());
            }
        }
        match until {
            Until::Time => Ok(()),
            Until::Clients => Err(Failure::Stuck),
        }
    }

    /// Ends this life of the node without warning, and begins the next.
    pub(crate) fn end(&mut self, mode: CrashMode) {
        self.ends.count(mode);
        self.simulation.crash(BROKER, mode);
        self.simulation.start(BROKER);
    }

    /// The same in the way that takes the most.
    pub(crate) fn end_worst(&mut self) {
        self.end(if self.power_fails {
            CrashMode::DropUnsynced
        } else {
            CrashMode::KeepPageCache
        });
    }

    pub(crate) fn outcome(self, violations: Vec<Violation>, acknowledged: u64) -> Outcome {
        let trace = self.simulation.world().trace();
        Outcome {
            violations,
            digest: trace.digest(),
            events: trace.events(),
            elapsed: self.simulation.elapsed(),
            acknowledged,
            ends: self.ends,
            lines: trace.lines(),
        }
    }
}

pub(crate) fn address() -> Address {
    Address {
        host: BROKER.to_owned(),
        port: PORT,
    }
}

/// A client's software.
pub(crate) async fn done(client: impl Future<Output = ()>) -> Ended {
    client.await;
    Ok(())
}

/// One life of the node, up to its own failure or the word that it should stop.
pub(crate) async fn live(env: Env, stop: Arc<Notify>, configs: Configs) -> Ended {
    let node = Node::start(env, config(configs)?, Arc::new(FixedLoggers)).await?;
    tokio::select! {
        biased;
        why = node.failed() => Err(why.into()),
        () = stop.notified() => {
            node.stop().await;
            Ok(())
        }
    }
}

fn config(more: Configs) -> Result<BrokerConfig, String> {
    let set = [
        ("node.id", "1".to_owned()),
        ("log.dirs", LOGS.to_owned()),
        // Files of which a history of this length uses several.
        ("klamm.journal.file.bytes", "1048576".to_owned()),
        ("listeners", format!("PLAINTEXT://0.0.0.0:{PORT}")),
        ("advertised.listeners", format!("PLAINTEXT://{BROKER}:{PORT}")),
    ];
    let more = more.iter().map(|(key, value)| (*key, (*value).to_owned()));
    let all = set.into_iter().chain(more);
    let sources = Sources {
        set: all.map(|(key, value)| (key.to_owned(), value)).collect(),
        ..Sources::default()
    };
    match BrokerConfig::load(&sources) {
        Ok((config, _)) => Ok(config),
        Err(errors) => Err(format!("{errors:?}")),
    }
}
