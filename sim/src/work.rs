//! Groups that share work, exactly once, while the node is crashed, stopped, cut off and started again.
//!
//! ```text
//! producer ──► in ──► workers (a group; in ► out, offsets, one transaction) ──► out ──► watchers (a group, plain commits)
//!                                                                              └──► readers of all, and of what is committed
//! ```
//!
//! Always holds: all that happens follows from the seed. After the last crash everything is read and given to the rules, which know
//! nothing but what the clients wrote down.
//!
//! Next: `worker.rs` and `watcher.rs` for the clients, `rules.rs` for what must hold, `ledger.rs` for what stands between.

mod ledger;
mod line;
mod member;
mod offsets;
mod positions;
mod reader;
mod reading;
mod rules;
mod transaction;
mod watcher;
mod worker;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use klamm_env::Env;
use klamm_env::sim::{Options, SeededRng};
use klamm_model::{ErrorCode, Uuid};
use klamm_protocol::messages::FindCoordinatorRequest;
use parking_lot::Mutex;

use self::ledger::Ledger;
use self::line::Line;
use self::member::{Protocol, Topic};
use self::transaction::Version;
use crate::history::Books;
use crate::places::Places;
use crate::stage::{Configs, Failure, Fate, Outcome, PATIENCE, Stage, Until, address, done};
use crate::topics::NewTopic;
use crate::{producer, topics};

/// How long they work without a disturbance at the end.
const CALM: Duration = Duration::from_secs(3);
/// Short times, so that much happens in them.
const CONFIGS: Configs = &[
    ("offsets.topic.num.partitions", "2"),
    ("transaction.state.log.num.partitions", "2"),
    ("group.initial.rebalance.delay.ms", "50"),
    ("group.min.session.timeout.ms", "1000"),
    ("group.consumer.min.session.timeout.ms", "1000"),
    ("group.consumer.session.timeout.ms", "2000"),
    ("group.consumer.min.heartbeat.interval.ms", "100"),
    ("group.consumer.heartbeat.interval.ms", "300"),
    ("group.consumer.assignment.interval.ms", "200"),
    (
        "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        "500",
    ),
];

/// How fast the world of a seed is.
fn options(seed: u64) -> Options {
    let rng = SeededRng::new(seed, "options");
    let ms = Duration::from_millis;
    Options {
        blocking_delay: ms([1, 1, 7, 30][rng.below(4) as usize]),
        latency: [(0, 5), (0, 1), (0, 5), (1, 40)].map(|(least, most)| (ms(least), ms(most)))
            [rng.below(4) as usize],
        ..Options::default()
    }
}

/// What a seed decides before the start.
#[derive(Clone, Debug)]
struct Setting {
    inputs: i32,
    outputs: i32,
    workers: Vec<worker::Plan>,
    watchers: Vec<(String, Protocol)>,
    ends: u32,
    /// Power may fail; else the process alone does, and the topics are durable against no more than that.
    power_fails: bool,
}

/// How the members of a group are chosen.
fn protocols(rng: &SeededRng, count: u64, may_be_alone: bool) -> Vec<Protocol> {
    let alone = |at: u64| Protocol::Alone(at as i32, count as i32);
    let kind = rng.below(if may_be_alone { 4 } else { 3 });
    let protocols = (0..count).map(|at| match kind {
        0 => Protocol::Classic,
        1 => Protocol::Consumer,
        // Both in one group.
        2 if rng.one_in(2) => Protocol::Classic,
        2 => Protocol::Consumer,
        _ => alone(at),
    });
    protocols.collect()
}

impl Setting {
    fn draw(rng: &SeededRng) -> Self {
        let nowhere = |name| Topic {
            name,
            id: Uuid::ZERO,
            partitions: 0,
        };
        let mut workers = Vec::new();
        let count = 1 + rng.below(3);
        for (at, protocol) in protocols(rng, count, true).into_iter().enumerate() {
            let version = if rng.one_in(3) { Version::One } else { Version::Two };
            let plan = worker::Plan {
                host: format!("worker-{at}"),
                transactional_id: format!("work-{at}"),
                version,
                protocol,
                input: nowhere("in"),
                output: nowhere("out"),
                pause_ms: 200,
            };
            if rng.one_in(3) {
                workers.push(worker::Plan {
                    host: format!("rival-{at}"),
                    pause_ms: 3_000,
                    ..plan.clone()
                });
            }
            workers.push(plan);
        }
        let count = 1 + rng.below(3);
        let watchers = protocols(rng, count, false).into_iter().enumerate();
        let watchers = watchers.map(|(at, protocol)| (format!("watcher-{at}"), protocol));
        Self {
            inputs: 1 + rng.below(4) as i32,
            outputs: 1 + rng.below(3) as i32,
            workers,
            watchers: watchers.collect(),
            ends: 1 + rng.below(5) as u32,
            power_fails: !rng.one_in(6),
        }
    }

    /// One of those who are in groups.
    fn someone(&self, rng: &SeededRng) -> String {
        let workers = self.workers.iter().map(|plan| &plan.host);
        let all: Vec<&String> = workers
            .chain(self.watchers.iter().map(|(host, _)| host))
            .collect();
        all[rng.below(all.len() as u64) as usize].clone()
    }

    fn topic(&self, name: &str, partitions: i32) -> NewTopic {
        let durability = if self.power_fails { "fsync" } else { "page-cache" };
        let configs = [
            ("klamm.durability", durability),
            ("internal.segment.bytes", "32768"),
        ];
        NewTopic {
            name: name.to_owned(),
            partitions,
            configs: configs
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .to_vec(),
        }
    }
}

/// The names of the rules.
pub fn rules() -> impl Iterator<Item = &'static str> {
    rules::names()
}

/// Runs the world of `seed`, keeping the last `lines` lines of its trace.
pub fn run(seed: u64, lines: usize) -> Outcome {
    perform(seed, lines, Run::play)
}

/// One producer commits so many transactions without a pause, and nothing disturbs it.
pub fn in_a_row(seed: u64, transactions: i64) -> Outcome {
    perform(seed, 0, |run| run.play_in_a_row(transactions))
}

fn perform(seed: u64, lines: usize, play: impl FnOnce(&mut Run) -> Result<(), Failure>) -> Outcome {
    let mut stage = Stage::with(seed, lines, options(seed));
    let setting = Setting::draw(&stage.rng);
    stage.power_fails = setting.power_fails;
    let mut run = Run {
        stage,
        setting,
        books: Books::default(),
        ledger: Ledger::default(),
    };
    if let Err(error) = play(&mut run) {
        let refusals = run.ledger.write(|pages| pages.refusals.clone());
        run.ledger.fault(format!(
            "after {:?}: {error}; answers to try again: {refusals:?}",
            run.stage.simulation.elapsed()
        ));
    }
    let mut pages = run.ledger.write(|pages| pages.clone());
    pages.faults.extend(run.books.take().faults);
    run.stage.outcome(rules::check(&pages), pages.acknowledged())
}

struct Run {
    stage: Stage,
    setting: Setting,
    /// The producer's.
    books: Books,
    ledger: Ledger,
}

impl Run {
    fn play(&mut self) -> Result<(), Failure> {
        self.stage.raise(CONFIGS);
        let (input, output) = self.create_topics()?;
        for plan in &mut self.setting.workers {
            (plan.input, plan.output) = (input, output);
        }
        self.add_clients(input, output);
        for _ in 0..self.setting.ends {
            let fate = Fate::draw(&self.stage.rng, self.setting.power_fails);
            let client = self.setting.someone(&self.stage.rng);
            self.stage.meet(fate, &client)?;
        }
        self.stage.advance(CALM, Until::Time)?;
        self.books.finish();
        self.ledger.finish();
        self.stage.advance(PATIENCE, Until::Clients)?;
        self.stage.end_worst();
        self.read_all(input, output)
    }

    fn play_in_a_row(&mut self, transactions: i64) -> Result<(), Failure> {
        self.stage.raise(CONFIGS);
        let (input, output) = self.create_topics()?;
        let ledger = self.ledger.clone();
        self.stage.simulation.client("worker", move |env| {
            done(worker::in_a_row(env, ledger, (input, output), transactions))
        });
        self.stage.advance(PATIENCE, Until::Clients)?;
        self.stage.end_worst();
        self.read_all(input, output)
    }

    fn create_topics(&mut self) -> Result<(Topic, Topic), Failure> {
        let made: Arc<Mutex<Vec<Topic>>> = Arc::default();
        let wanted = [("in", self.setting.inputs), ("out", self.setting.outputs)];
        let wanted = wanted.map(|(name, partitions)| (name, self.setting.topic(name, partitions)));
        let (topics, ledger) = (made.clone(), self.ledger.clone());
        self.stage.simulation.client("setup", move |env| async move {
            for (name, topic) in wanted {
                let id = topics::create(&env, &address(), &topic).await;
                let partitions = topic.partitions;
                topics.lock().push(Topic { name, id, partitions });
            }
            find_coordinators(env, ledger).await;
            Ok(())
        });
        self.stage.advance(PATIENCE, Until::Clients)?;
        let made = made.lock();
        match made[..] {
            [input, output] => Ok((input, output)),
            _ => Err(Failure::Stuck),
        }
    }

    fn add_clients(&mut self, input: Topic, output: Topic) {
        let simulation = &mut self.stage.simulation;
        let plan = producer::Plan {
            name: 0,
            address: address(),
            places: Places::new(vec![input.id], input.partitions as u32),
            batch_records: 3,
            pause: Duration::from_millis(40),
        };
        let books = self.books.clone();
        simulation.client("producer", |env| done(producer::run(env, plan, books)));
        for plan in self.setting.workers.clone() {
            let ledger = self.ledger.clone();
            let host = plan.host.clone();
            simulation.client(&host, |env| done(worker::run(env, ledger, plan)));
        }
        for (host, protocol) in self.setting.watchers.clone() {
            let ledger = self.ledger.clone();
            let who = (host.clone(), protocol);
            simulation.client(&host, |env| done(watcher::run(env, ledger, who, output)));
        }
        for (host, committed) in [("reader", false), ("committed-reader", true)] {
            let ledger = self.ledger.clone();
            simulation.client(host, |env| done(reader::follow(env, ledger, output, committed)));
        }
        let ledger = self.ledger.clone();
        let groups = groups(input, output);
        simulation.client("auditor", |env| done(offsets::audit(env, ledger, groups)));
    }

    fn read_all(&mut self, input: Topic, output: Topic) -> Result<(), Failure> {
        let ids = self.setting.workers.iter();
        let ids: BTreeSet<_> = ids
            .map(|plan| (plan.transactional_id.clone(), plan.version == Version::Two))
            .collect();
        let version = |two| if two { Version::Two } else { Version::One };
        let ids: Vec<_> = ids.into_iter().map(|(id, two)| (id, version(two))).collect();
        let ledger = self.ledger.clone();
        self.stage
            .simulation
            .client("closer", |env| done(worker::close(env, ledger, ids)));
        self.stage.advance(PATIENCE, Until::Clients)?;
        let ledger = self.ledger.clone();
        self.stage
            .simulation
            .client("last-reader", |env| done(reader::read_all(env, ledger, output)));
        let (ledger, groups) = (self.ledger.clone(), groups(input, output));
        self.stage
            .simulation
            .client("last-auditor", |env| done(offsets::read_all(env, ledger, groups)));
        self.stage.advance(PATIENCE, Until::Clients)
    }
}

/// The groups, and the topics whose offsets they commit.
fn groups(input: Topic, output: Topic) -> Vec<(&'static str, Topic)> {
    vec![(worker::GROUP, input), (watcher::GROUP, output)]
}

/// Has the internal topics made.
async fn find_coordinators(env: Env, ledger: Ledger) {
    let mut line = Line::new(&env, &ledger, "setup");
    for (key, key_type) in [(worker::GROUP, 0), ("work-0", 1)] {
        let request = FindCoordinatorRequest {
            key_type,
            coordinator_keys: vec![key.into()],
            ..Default::default()
        };
        let found = line
            .insist(("FindCoordinator", 4), &request, |answer| {
                let first = answer.coordinators.first();
                first.map_or(ErrorCode::UnknownServerError.code(), |found| found.error_code)
            })
            .await;
        match found {
            Ok((_, ErrorCode::None)) => {}
            other => line.fault(format_args!("FindCoordinator: {:?}", other.map(|(_, code)| code))),
        }
    }
}
