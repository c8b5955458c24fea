//! Clients write and read while the node is crashed, stopped, cut off and started again: nothing acknowledged is lost.
//!
//! Always holds: all that happens follows from the seed; after the last crash everything is read and given to the
//! checkers, so that a run says by itself whether it was good.

use std::sync::Arc;
use std::time::Duration;

use klamm_env::sim::SeededRng;
use klamm_model::Uuid;
use parking_lot::Mutex;

use crate::checkers;
use crate::history::Books;
use crate::places::Places;
pub use crate::stage::{Ends, Outcome};
use crate::stage::{Failure, Fate, PATIENCE, Stage, Until, address, done};
use crate::topics::NewTopic;
use crate::{observer, producer, topics};

const OBSERVERS: u32 = 2;
/// The client that may be cut off.
const CUT_OFF: &str = "producer-0";

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
    let mut stage = Stage::new(seed, lines);
    let setting = Setting::draw(&stage.rng);
    stage.power_fails = setting.power_fails;
    let mut run = Run {
        stage,
        setting,
        books: Books::default(),
    };
    if let Err(error) = run.play() {
        let refusals = run.books.write(|history| history.refusals.clone());
        run.books.fault(format!(
            "after {:?}: {error}; answers to try again: {refusals:?}",
            run.stage.simulation.elapsed()
        ));
    }
    let history = run.books.take();
    run.stage
        .outcome(checkers::check(&history), history.acknowledged())
}

struct Run {
    stage: Stage,
    setting: Setting,
    books: Books,
}

impl Run {
    fn play(&mut self) -> Result<(), Failure> {
        self.stage.raise(&[]);
        let topic = self.create_topic()?;
        self.add_clients(topic);
        for _ in 0..self.setting.ends {
            let fate = Fate::draw(&self.stage.rng, self.setting.power_fails);
            self.stage.meet(fate, CUT_OFF)?;
        }
        self.books.finish();
        self.stage.advance(PATIENCE, Until::Clients)?;
        self.stage.end_worst();
        self.read_all(topic)
    }

    /// The topic's id. The node may be ended before it has come up for the first time.
    fn create_topic(&mut self) -> Result<Uuid, Failure> {
        let made: Arc<Mutex<Option<Uuid>>> = Arc::default();
        let (topic, id) = (self.setting.topic(), made.clone());
        self.stage.simulation.client("setup", move |env| async move {
            let made = topics::create(&env, &address(), &topic).await;
            *id.lock() = Some(made);
            Ok(())
        });
        if self.stage.rng.one_in(2) {
            let fate = Fate::early(&self.stage.rng, self.setting.power_fails);
            self.stage.meet(fate, CUT_OFF)?;
        }
        self.stage.advance(PATIENCE, Until::Clients)?;
        let id = *made.lock();
        id.ok_or(Failure::Stuck)
    }

    fn add_clients(&mut self, topic: Uuid) {
        let setting = self.setting.clone();
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
            self.stage
                .simulation
                .client(&host, |env| done(producer::run(env, plan, books)));
        }
        for name in 0..OBSERVERS {
            let (subject, books) = (subject.clone(), self.books.clone());
            let host = format!("observer-{name}");
            self.stage
                .simulation
                .client(&host, |env| done(observer::follow(env, name, subject, books)));
        }
        if self.setting.churn {
            let books = self.books.clone();
            self.stage
                .simulation
                .client("admin", |env| done(topics::churn(env, address(), books)));
        }
    }

    fn read_all(&mut self, topic: Uuid) -> Result<(), Failure> {
        let (subject, books) = (self.subject(topic), self.books.clone());
        self.stage
            .simulation
            .client("reader", |env| done(observer::read_all(env, subject, books)));
        let books = self.books.clone();
        self.stage
            .simulation
            .client("describer", |env| done(topics::describe(env, address(), books)));
        self.stage.advance(PATIENCE, Until::Clients)
    }

    fn subject(&self, topic: Uuid) -> observer::Subject {
        observer::Subject {
            address: address(),
            places: Places::new(vec![topic], self.setting.partitions),
        }
    }
}
