//! Runs hosts in a simulated world, ends and restarts them, cuts their links.
//!
//! Always holds: hosts run one after another in steps of a millisecond, in one thread; between two steps the scenario may
//! do anything to them. A panic anywhere in a step, in a task that nobody waits for too, fails that step. A host whose
//! software returns an error has stopped, as a process that exits: that is the scenario's to judge
//! ([`Simulation::ended`]).

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic;
use std::sync::{Arc, Once};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use super::disk::CrashMode;
use super::{Options, World};
use crate::Env;
use crate::hash::{ThreadSeed, seed_thread};

/// What ends a host's software: its own error.
pub type Ended = Result<(), Box<dyn std::error::Error>>;

/// The simulated time of one step.
const TICK: Duration = Duration::from_millis(1);
/// Segments that a stream holds, and connections that a listener holds, before the sender waits.
const SEGMENTS_IN_FLIGHT: usize = 1024;

/// Why a simulation failed.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// A client returned an error, or the simulated time ran out.
    #[error("{0}")]
    Failed(String),
    /// A task panicked; what it said is on the standard error stream.
    #[error("a task panicked at {at:?}")]
    Panicked {
        /// The simulated time.
        at: Duration,
    },
}

/// What a run was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run<T> {
    /// What the scenario returned.
    pub value: T,
    /// Equal for equal traces.
    pub digest: u64,
    /// How many events the trace had.
    pub events: u64,
    /// How long it took, in simulated time.
    pub elapsed: Duration,
    /// The last lines of the trace.
    pub lines: Vec<String>,
}

/// Runs `scenario` in the world of `seed`.
pub fn run<T>(seed: u64, scenario: impl FnOnce(&mut Simulation) -> T) -> Run<T> {
    let mut simulation = Simulation::new(seed, Options::default());
    let value = scenario(&mut simulation);
    let trace = simulation.world.trace();
    Run {
        value,
        digest: trace.digest(),
        events: trace.events(),
        elapsed: simulation.elapsed(),
        lines: trace.lines(),
    }
}

/// Hosts in a simulated world.
pub struct Simulation {
    sim: turmoil::Sim<'static>,
    world: World,
    ended: Arc<Mutex<BTreeMap<String, Option<String>>>>,
    /// Last, so that what the hosts drop still has the keys of this world.
    _hash_seed: ThreadSeed,
}

impl Simulation {
    /// A world of `seed` without hosts.
    pub fn new(seed: u64, options: Options) -> Self {
        count_panics();
        let start_ms = u64::try_from(options.start.0).unwrap_or(0);
        let sim = turmoil::Builder::new()
            .rng_seed(seed)
            .epoch(SystemTime::UNIX_EPOCH + Duration::from_millis(start_ms))
            .tick_duration(TICK)
            .simulation_duration(options.limit)
            .min_message_latency(options.latency.0)
            .max_message_latency(options.latency.1)
            .tcp_capacity(SEGMENTS_IN_FLIGHT)
            .enable_random_order()
            .build();
        let world = World::with(seed, options);
        world.time().belongs_to_simulation();
        Self {
            sim,
            world,
            ended: Arc::default(),
            _hash_seed: seed_thread(seed),
        }
    }

    /// The disks, clocks and the trace.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The simulated time that passed.
    pub fn elapsed(&self) -> Duration {
        self.sim.elapsed()
    }

    /// Adds a host, by whose name others reach it. `software` is called for each of its lives.
    pub fn host<F, S>(&mut self, name: &str, software: F)
    where
        F: Fn(Env) -> S + 'static,
        S: Future<Output = Ended> + 'static,
    {
        let (world, ended, host) = (self.world.clone(), self.ended.clone(), name.to_owned());
        self.sim.host(name, move || {
            ended.lock().remove(&host);
            let life = software(world.env(&host));
            let (world, ended, host) = (world.clone(), ended.clone(), host.clone());
            async move {
                let end = life.await.err().map(|error| error.to_string());
                let time = world.time().elapsed();
                world.trace().note(time, &host, format_args!("ended: {end:?}"));
                ended.lock().insert(host, end);
                Ok(())
            }
        });
    }

    /// Adds a client: [`Simulation::run`] runs until all clients have returned, and fails with the first error of one.
    pub fn client<F, S>(&mut self, name: &str, software: F)
    where
        F: FnOnce(Env) -> S,
        S: Future<Output = Ended> + 'static,
    {
        let life = software(self.world.env(name));
        self.sim.client(name, life);
    }

    /// Runs until all clients have returned.
    pub fn run(&mut self) -> Result<(), SimulationError> {
        while !self.step()? {}
        Ok(())
    }

    /// Runs for `duration`.
    pub fn run_for(&mut self, duration: Duration) -> Result<(), SimulationError> {
        let end = self.elapsed() + duration;
        while self.elapsed() < end {
            self.step()?;
        }
        Ok(())
    }

    /// Runs until `is_reached`, which is asked between steps; `false` when that took longer than `limit`.
    pub fn run_until(
        &mut self,
        limit: Duration,
        mut is_reached: impl FnMut(&World) -> bool,
    ) -> Result<bool, SimulationError> {
        let end = self.elapsed() + limit;
        while !is_reached(&self.world) {
            if self.elapsed() >= end {
                return Ok(false);
            }
            self.step()?;
        }
        Ok(true)
    }

    /// One step of all hosts; whether all clients have returned.
    pub fn step(&mut self) -> Result<bool, SimulationError> {
        let panics = PANICS.get();
        self.world.time().begin_step();
        let stepped = self.sim.step();
        self.world.time().end_step(self.sim.elapsed());
        if PANICS.get() != panics {
            return Err(SimulationError::Panicked { at: self.elapsed() });
        }
        stepped.map_err(|error| SimulationError::Failed(error.to_string()))
    }

    /// Ends this life of a host. Nothing that it does while it goes down reaches its disk.
    pub fn crash(&mut self, host: &str, mode: CrashMode) {
        let disk = self.world.disk(host);
        disk.power_off();
        self.sim.crash(host);
        disk.crash(mode);
    }

    /// Starts the next life of a host that crashed or ended.
    pub fn start(&mut self, host: &str) {
        self.note(host, format_args!("start"));
        self.sim.bounce(host);
    }

    /// Whether the software of a host is running.
    pub fn is_running(&mut self, host: &str) -> bool {
        self.sim.is_host_running(host)
    }

    /// How the present life of a host ended by itself: not at all, well, or with an error.
    pub fn ended(&self, host: &str) -> Option<Result<(), String>> {
        let end = self.ended.lock().get(host).cloned()?;
        Some(end.map_or(Ok(()), Err))
    }

    /// Sets the wall clock of a host forward, or back.
    pub fn jump_clock(&self, host: &str, by_ms: i64) {
        self.note(host, format_args!("clock jumps by {by_ms} ms"));
        self.world.clock(host).jump(by_ms);
    }

    /// Drops all between two hosts.
    pub fn partition(&self, a: &str, b: &str) {
        self.note(a, format_args!("cut off from {b}"));
        self.sim.partition(a, b);
    }

    /// Drops all that `from` sends to `to`.
    pub fn partition_one_way(&self, from: &str, to: &str) {
        self.note(from, format_args!("cannot send to {to}"));
        self.sim.partition_oneway(from, to);
    }

    /// Ends what [`Simulation::partition`] and [`Simulation::partition_one_way`] did between two hosts.
    pub fn repair(&self, a: &str, b: &str) {
        self.note(a, format_args!("reaches {b} again"));
        self.sim.repair(a, b);
    }

    /// Keeps all between two hosts back.
    pub fn hold(&self, a: &str, b: &str) {
        self.note(a, format_args!("held from {b}"));
        self.sim.hold(a, b);
    }

    /// Delivers what was held back.
    pub fn release(&self, a: &str, b: &str) {
        self.note(a, format_args!("released to {b}"));
        self.sim.release(a, b);
    }

    /// Turmoil itself, for what is not here.
    pub fn turmoil(&mut self) -> &mut turmoil::Sim<'static> {
        &mut self.sim
    }

    fn note(&self, host: &str, what: std::fmt::Arguments<'_>) {
        self.world.trace().note(self.elapsed(), host, what);
    }
}

thread_local! {
    /// Panics of this thread since it began.
    static PANICS: Cell<u64> = const { Cell::new(0) };
}

/// Tokio keeps the panic of a task to itself when nobody waits for the task; so they are counted where they arise.
fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANICS.set(PANICS.get() + 1);
            before(info);
        }));
    });
}

#[cfg(test)]
mod tests;
