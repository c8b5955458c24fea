//! All that is not deterministic, behind one door: clocks, randomness, files, the network, tasks, timers, blocking work
//! and the seeds of hash maps.
//!
//! Always holds: no other crate reads a clock, draws a random number, opens a file or a socket, spawns or sleeps by
//! itself. So the whole node runs in a simulator (`sim`, a feature of this crate) by being given another [`Env`], and
//! twice with one seed it does the same.
//!
//! Start with [`Env`], then [`files`] and [`network`]; [`real`] is the machine, `sim` the simulated one.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod clock;
pub mod files;
pub mod hash;
pub mod network;
pub mod real;
#[cfg(feature = "sim")]
pub mod sim;
pub mod task;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use klamm_model::{TimestampMs, Uuid};

pub use clock::{Clock, Rng};
pub use files::{File, Files, OpenMode};
pub use network::{Listener, Network, Stream};
pub use task::{Elapsed, Task};

/// The world a node runs in. A clone is cheap and is the same world.
#[derive(Clone)]
pub struct Env {
    parts: Arc<Parts>,
}

/// What an [`Env`] is made of.
pub struct Parts {
    /// The wall clock and the monotonic clock.
    pub clock: Box<dyn Clock>,
    /// Where random bytes come from.
    pub rng: Box<dyn Rng>,
    /// The file system.
    pub files: Arc<dyn Files>,
    /// Listening and connecting.
    pub network: Box<dyn Network>,
    /// Where blocking work runs.
    pub blocking: task::Blocking,
}

impl Env {
    /// A world made of `parts`.
    pub fn new(parts: Parts) -> Self {
        Self {
            parts: Arc::new(parts),
        }
    }

    /// The wall clock.
    pub fn now(&self) -> TimestampMs {
        self.parts.clock.now()
    }

    /// Time since some fixed moment before the start; never goes back.
    pub fn monotonic(&self) -> Duration {
        self.parts.clock.monotonic()
    }

    /// Fills `bytes` with random ones.
    pub fn fill_random(&self, bytes: &mut [u8]) {
        self.parts.rng.fill(bytes);
    }

    /// A random number.
    pub fn random_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_random(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A new identifier for a topic, a log dir or a cluster.
    pub fn random_uuid(&self) -> Uuid {
        let mut bytes = [0; 16];
        self.fill_random(&mut bytes);
        Uuid::from_random(bytes)
    }

    /// The file system.
    pub fn files(&self) -> &Arc<dyn Files> {
        &self.parts.files
    }

    /// Listening and connecting.
    pub fn network(&self) -> &dyn Network {
        &*self.parts.network
    }

    /// What this machine calls itself.
    pub fn host_name(&self) -> String {
        self.parts.network.host_name()
    }

    /// Starts `future` as a task of its own. Dropping the [`Task`] lets it go on; [`Task::abort`] ends it.
    pub fn spawn<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Task<T> {
        task::spawn(future)
    }

    /// Waits for `duration`.
    pub async fn sleep(&self, duration: Duration) {
        task::sleep(duration).await;
    }

    /// Runs `future` for at most `limit`.
    pub async fn timeout<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Result<T, Elapsed> {
        task::timeout(limit, future).await
    }

    /// Runs `work`, which may block (a sync, a cold read, an open), where blocking is allowed.
    pub async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        self.parts.blocking.run(work).await
    }
}
