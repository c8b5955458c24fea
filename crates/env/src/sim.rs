//! A world in one thread in which everything follows from a seed: disks that lose what was not synced, turmoil's
//! network, clocks that can be set wrong, random numbers, the seeds of hash maps.
//!
//! Always holds: two runs of one scenario with one seed have the same [`Trace`]. It takes three things of the code that
//! runs here:
//! - All time, chance, files and sockets come from its [`Env`]; what leaves a hash map in its order comes from
//!   [`crate::hash`].
//! - `select!` is `biased`: tokio draws the order of an unbiased one from a generator that can be seeded only under
//!   `--cfg tokio_unstable` (turmoil then does). The same goes for libraries that draw their own random numbers.
//! - No thread but the simulation's takes part.
//!
//! Next: [`simulation`] runs hosts, [`disk`] says what survives what, [`network`] what turmoil leaves out. For the tests of
//! a single crate, [`World::env`] alone serves too, on a plain paused runtime or none, without a network.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // the door itself

pub mod clock;
pub mod disk;
pub mod network;
pub mod simulation;
pub mod trace;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use klamm_model::TimestampMs;
use parking_lot::Mutex;

use crate::task::Blocking;
use crate::{Env, Parts};

pub use clock::{HostClock, SeededRng, SimTime};
pub use disk::{CrashMode, Disk, Failure, Fault, Operation};
pub use simulation::{Run, Simulation, SimulationError, run};
pub use trace::Trace;

/// How a world is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What the wall clocks show at the beginning.
    pub start: TimestampMs,
    /// How long blocking work takes.
    pub blocking_delay: Duration,
    /// How long a message travels: at least, at most.
    pub latency: (Duration, Duration),
    /// The run fails when it takes longer than this, in simulated time.
    pub limit: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            start: TimestampMs(1_750_000_000_000),
            blocking_delay: Duration::from_millis(1),
            latency: (Duration::ZERO, Duration::from_millis(5)),
            limit: Duration::from_secs(24 * 3600),
        }
    }
}

/// The hosts' disks, clocks and random numbers, all from one seed. A clone is the same world.
#[derive(Clone)]
pub struct World {
    inner: Arc<Inner>,
}

struct Inner {
    seed: u64,
    options: Options,
    time: SimTime,
    trace: Trace,
    hosts: Mutex<BTreeMap<String, Host>>,
}

/// What a host keeps over its restarts.
#[derive(Clone)]
struct Host {
    disk: Disk,
    clock: HostClock,
    rng: SeededRng,
}

impl World {
    /// The world of `seed`.
    pub fn new(seed: u64) -> Self {
        Self::with(seed, Options::default())
    }

    /// The world of `seed` with `options`.
    pub fn with(seed: u64, options: Options) -> Self {
        Self {
            inner: Arc::new(Inner {
                seed,
                options,
                time: SimTime::default(),
                trace: Trace::default(),
                hosts: Mutex::default(),
            }),
        }
    }

    /// The world as `host` sees it. Another call is the same host again, with the same disk.
    pub fn env(&self, host: &str) -> Env {
        let Host { disk, clock, rng } = self.host(host);
        let (time, trace) = (self.inner.time.clone(), self.inner.trace.clone());
        let pieces = SeededRng::new(self.inner.seed, &format!("network of {host}"));
        Env::new(Parts {
            clock: Box::new(clock),
            rng: Box::new(rng),
            files: Arc::new(disk),
            network: Box::new(network::SimNetwork::new(host, time, trace, pieces)),
            blocking: Blocking::Inline(self.inner.options.blocking_delay),
        })
    }

    /// The disk of `host`.
    pub fn disk(&self, host: &str) -> Disk {
        self.host(host).disk
    }

    /// The clock of `host`.
    pub fn clock(&self, host: &str) -> HostClock {
        self.host(host).clock
    }

    /// The time of the world.
    pub fn time(&self) -> &SimTime {
        &self.inner.time
    }

    /// What happened.
    pub fn trace(&self) -> &Trace {
        &self.inner.trace
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.inner.seed
    }

    /// Random numbers for a scenario's own choices, apart from those of the hosts.
    pub fn rng(&self, purpose: &str) -> SeededRng {
        SeededRng::new(self.inner.seed, &format!("scenario: {purpose}"))
    }

    fn host(&self, name: &str) -> Host {
        let inner = &self.inner;
        let mut hosts = inner.hosts.lock();
        let host = hosts.entry(name.to_owned()).or_insert_with(|| {
            let clock = HostClock::new(inner.time.clone(), inner.options.start);
            Host {
                disk: Disk::new(name, clock.clone(), inner.trace.clone()),
                clock,
                rng: SeededRng::new(inner.seed, &format!("host {name}")),
            }
        });
        host.clone()
    }
}
