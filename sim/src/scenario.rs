//! One whole node in the simulator: clients write and read while it is crashed, stopped, cut off and started again.
//!
//! Always holds: all that happens follows from the seed; after the last crash everything is read and given to the
//! checkers, so that a run says by itself whether it was good. Two runs of one seed have the same [`Outcome`], the digest
//! of the trace included.

mod fate;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use klamm_broker::{FixedLoggers, Node};
use klamm_config::{BrokerConfig, Sources};
use klamm_env::sim::simulation::Ended;
use klamm_env::sim::{CrashMode, Options, SeededRng, Simulation, SimulationError};
use klamm_env::{Env, Files};
use klamm_model::Uuid;
use parking_lot::Mutex;
use tokio::sync::Notify;

use self::fate::Fate;
use crate::checkers::{self, Violation};
use crate::history::Books;
use crate::places::Places;
use crate::topics::NewTopic;
use crate::wire::Address;
use crate::{observer, producer, topics};

/// The host that is ended again and again.
pub(crate) const BROKER: &str = "broker";
const PORT: u16 = 9092;
/// Where its data lies.
const DATA: &str = "/data";
/// Where its log dir is.
pub(crate) const LOGS: &str = "/data/logs";
/// How long the work may take to come to its end once the broker is left alone, in simulated time.
const PATIENCE: Duration = Duration::from_secs(120);
const OBSERVERS: u32 = 2;

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

/// How a run ended.
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
    /// Records that were acknowledged.
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

/// What a seed decides before the start.
#[derive(Clone, Debug)]
struct Setting {
    producers: u32,
    partitions: u32,
    batch_records: u32,
    pause: Duration,
    ends: u32,
    /// Power may fail; else the process alone does, and the topic is durable against no more than that.
    power_fails: bool,
    segment_bytes: u32,
    churn: bool,
}

impl Setting {
    fn draw(rng: &SeededRng) -> Self {
        let batch_records = [1, 4, 20][rng.below(3) as usize];
        // A segment takes the largest batch, and not many of them.
        let small = 4 * 1024 * batch_records;
        Self {
            producers: 1 + rng.below(4) as u32,
            partitions: 1 + rng.below(5) as u32,
            batch_records,
            pause: Duration::from_millis([0, 5, 40][rng.below(3) as usize]),
            ends: 2 + rng.below(5) as u32,
            power_fails: !rng.one_in(6),
            segment_bytes: [small, 8 * small, 1 << 30][rng.below(3) as usize],
            churn: rng.one_in(2),
        }
    }

    fn topic(&self) -> NewTopic {
        let durability = if self.power_fails { "fsync" } else { "page-cache" };
        let configs = [
            ("klamm.durability", durability.to_owned()),
            ("internal.segment.bytes", self.segment_bytes.to_string()),
        ];
        NewTopic {
            name: "events".to_owned(),
            partitions: self.partitions as i32,
            configs: configs.map(|(key, value)| (key.to_owned(), value)).to_vec(),
        }
    }
}

/// Runs the world of `seed`, keeping the last `lines` lines of its trace.
pub fn run(seed: u64, lines: usize) -> Outcome {
    let simulation = Simulation::new(seed, Options::default());
    simulation.world().trace().keep(lines);
    let rng = simulation.world().rng("scenario");
    let mut run = Run {
        setting: Setting::draw(&rng),
        rng,
        books: Books::default(),
        stop: Arc::default(),
        simulation,
        ends: Ends::default(),
    };
    if let Err(error) = run.play() {
        let refusals = run.books.write(|history| history.refusals.clone());
        run.books.fault(format!(
            "after {:?}: {error}; answers to try again: {refusals:?}",
            run.simulation.elapsed()
        ));
    }
    run.outcome()
}

struct Run {
    simulation: Simulation,
    rng: SeededRng,
    setting: Setting,
    books: Books,
    /// Tells the node to end in order.
    stop: Arc<Notify>,
    ends: Ends,
}

/// Why a run came to an early end.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Simulation(#[from] SimulationError),
    #[error("the broker ended by itself: {0:?}")]
    Ended(Result<(), String>),
    #[error("the work does not come to an end")]
    Stuck,
}

/// What [`Run::advance`] waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// The time to pass, or the disk to meet its end.
    Time,
    /// All clients to return.
    Clients,
}

impl Run {
    fn play(&mut self) -> Result<(), Failure> {
        let disk = self.simulation.world().disk(BROKER);
        disk.create_dir_all(Path::new(DATA))
            .expect("an empty disk takes a folder");
        disk.sync_all();
        let stop = self.stop.clone();
        self.simulation
            .host(BROKER, move |env| live(env, stop.clone(), &[]));
        let topic = self.create_topic()?;
        self.add_clients(topic);
        for _ in 0..self.setting.ends {
            let fate = Fate::draw(&self.rng, self.setting.power_fails);
            self.meet(fate)?;
        }
        self.books.finish();
        self.advance(PATIENCE, Until::Clients)?;
        let mode = if self.setting.power_fails {
            CrashMode::DropUnsynced
        } else {
            CrashMode::KeepPageCache
        };
        self.end(mode);
        self.read_all(topic)
    }

    /// The topic's id. The node may be ended before it has come up for the first time.
    fn create_topic(&mut self) -> Result<Uuid, Failure> {
        let made: Arc<Mutex<Option<Uuid>>> = Arc::default();
        let (topic, id) = (self.setting.topic(), made.clone());
        self.simulation.client("setup", move |env| async move {
            let made = topics::create(&env, &address(), &topic).await;
            *id.lock() = Some(made);
            Ok(())
        });
        if self.rng.one_in(2) {
            let fate = Fate::early(&self.rng, self.setting.power_fails);
            self.meet(fate)?;
        }
        self.advance(PATIENCE, Until::Clients)?;
        let id = *made.lock();
        id.ok_or(Failure::Stuck)
    }

    fn add_clients(&mut self, topic: Uuid) {
        let setting = &self.setting;
        let subject = self.subject(topic);
        self.books
            .write(|history| history.partitions = setting.partitions);
        for name in 0..setting.producers {
            let plan = producer::Plan {
                name,
                address: address(),
                places: subject.places.clone(),
                batch_records: setting.batch_records,
                pause: setting.pause,
            };
            let books = self.books.clone();
            let host = format!("producer-{name}");
            self.simulation
                .client(&host, |env| done(producer::run(env, plan, books)));
        }
        for name in 0..OBSERVERS {
            let (subject, books) = (subject.clone(), self.books.clone());
            let host = format!("observer-{name}");
            self.simulation
                .client(&host, |env| done(observer::follow(env, name, subject, books)));
        }
        if self.setting.churn {
            let books = self.books.clone();
            self.simulation
                .client("admin", |env| done(topics::churn(env, address(), books)));
        }
    }

    fn read_all(&mut self, topic: Uuid) -> Result<(), Failure> {
        let (subject, books) = (self.subject(topic), self.books.clone());
        self.simulation
            .client("reader", |env| done(observer::read_all(env, subject, books)));
        let books = self.books.clone();
        self.simulation
            .client("describer", |env| done(topics::describe(env, address(), books)));
        self.advance(PATIENCE, Until::Clients)
    }

    fn subject(&self, topic: Uuid) -> observer::Subject {
        observer::Subject {
            address: address(),
            places: Places::new(vec![topic], self.setting.partitions),
        }
    }

    /// Runs for `limit`, or until what is waited for.
    fn advance(&mut self, limit: Duration, until: Until) -> Result<(), Failure> {
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
    fn end(&mut self, mode: CrashMode) {
        self.ends.count(mode);
        self.simulation.crash(BROKER, mode);
        self.simulation.start(BROKER);
    }

    fn outcome(self) -> Outcome {
        let violations = checkers::check(&self.books.write(|history| history.clone()));
        let trace = self.simulation.world().trace();
        Outcome {
            violations,
            digest: trace.digest(),
            events: trace.events(),
            elapsed: self.simulation.elapsed(),
            acknowledged: self.books.write(|history| history.acknowledged()),
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

async fn done(client: impl Future<Output = ()>) -> Ended {
    client.await;
    Ok(())
}

/// One life of the node, up to its own failure or the word that it should stop.
pub(crate) async fn live(env: Env, stop: Arc<Notify>, set: &'static [(&'static str, &'static str)]) -> Ended {
    let node = Node::start(env, config(set)?, Arc::new(FixedLoggers)).await?;
    tokio::select! {
        biased;
        why = node.failed() => Err(why.into()),
        () = stop.notified() => {
            node.stop().await;
            Ok(())
        }
    }
}

fn config(more: &[(&str, &str)]) -> Result<BrokerConfig, String> {
    let set = [
        ("node.id", "1".to_owned()),
        ("log.dirs", LOGS.to_owned()),
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
