//! The data folder of a release, kept for ever: a later version must start on it and find everything.
//!
//! Always holds: [`write`] makes a folder in a simulated world, so that the same code makes the same bytes; [`read`] puts a
//! folder on a simulated disk, starts a node on it, and says what clients are told.
//! The folders are in `sim/golden/<version>/`; they are made once, with `cargo xtask golden`, and never again.
//!
//! Next: [`script`] for what is in them, [`listing`] for what is compared, `folder` for the way in and out of the disk,
//! [`damage`] for what becomes of a folder that somebody has damaged.

pub mod damage;
mod folder;
pub mod listing;
pub mod script;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use klamm_env::Env;
use klamm_env::sim::simulation::Ended;
use klamm_env::sim::{CrashMode, Options, Simulation, SimulationError};
use klamm_model::TimestampMs;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::stage::{self, BROKER};
use crate::wire::WireError;

/// The folders of a release, and how the node that wrote them ended.
pub const FOLDERS: [(&str, Ending); 2] = [("stopped", Ending::Stopped), ("killed", Ending::Killed)];
/// The ending of the file beside a folder that says what the clients of the release were told.
pub const TOLD: &str = "txt";
/// How much later an upgrade comes.
const LATER_MS: i64 = 3_600_000;

/// How the last node on a folder ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// In order.
    Stopped,
    /// Without warning, after records that no checkpoint knows of.
    Killed,
}

/// Why a folder cannot be made, or does not hold what it should.
#[derive(Debug, thiserror::Error)]
pub enum GoldenError {
    /// The files of this machine.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The simulation.
    #[error(transparent)]
    Simulation(#[from] SimulationError),
    /// A conversation with the node.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// An answer that does not fit the script.
    #[error("{0}")]
    Answer(String),
}

/// What a client is told in a golden world.
pub type Told<T> = Result<T, GoldenError>;

/// Makes the folders of this version below `to`, and beside each what clients are told by a node on it.
pub fn write(to: &Path) -> Told<()> {
    for (name, ending) in FOLDERS {
        let mut world = World::new(0, script::START);
        script::play(&mut world, ending)?;
        let folder = to.join(name);
        folder::to_machine(&world.disk(), &folder)?;
        folder::write_text(&folder.with_extension(TOLD), &read(&folder, ending)?)?;
    }
    Ok(())
}

/// Starts a node of this version on a folder of a release: what its clients are told, to be compared with what the release
/// told them. Afterwards the producers go on where they were.
pub fn read(from: &Path, ending: Ending) -> Told<String> {
    let mut world = World::new(1, script::START.plus_ms(LATER_MS));
    folder::to_disk(from, &world.disk())?;
    world.start();
    let told = world.ask(listing::all)?;
    world.ask(move |env| script::go_on(env, ending))?;
    Ok(told)
}

/// Why a node does not start on a folder; `None` when it does.
pub fn refusal(from: &Path) -> Told<Option<String>> {
    let mut world = World::new(1, script::START.plus_ms(LATER_MS));
    folder::to_disk(from, &world.disk())?;
    world.start();
    world.simulation.run_for(Duration::from_secs(1))?;
    Ok(world.simulation.ended(BROKER).and_then(Result::err))
}

/// A node in a world of its own, and the conversations with it.
pub struct World {
    simulation: Simulation,
    stop: Arc<Notify>,
    clients: u32,
    is_made: bool,
}

impl World {
    fn new(seed: u64, start: TimestampMs) -> Self {
        let options = Options {
            start,
            ..Options::default()
        };
        Self {
            simulation: Simulation::new(seed, options),
            stop: Arc::default(),
            clients: 0,
            is_made: false,
        }
    }

    fn disk(&self) -> klamm_env::sim::Disk {
        self.simulation.world().disk(BROKER)
    }

    /// Begins a life of the node.
    pub fn start(&mut self) {
        if self.is_made {
            return self.simulation.start(BROKER);
        }
        self.is_made = true;
        let stop = self.stop.clone();
        self.simulation
            .host(BROKER, move |env| stage::live(env, stop.clone(), script::CONFIG));
    }

    /// Ends it in order.
    pub fn stop(&mut self) -> Told<()> {
        self.stop.notify_one();
        let limit = Duration::from_secs(60);
        let disk = self.disk();
        let ended = self.simulation.run_until(limit, |_| !disk.has_unsynced_data())?;
        self.simulation.run_for(Duration::from_secs(1))?;
        match self.simulation.ended(BROKER) {
            Some(Ok(())) => {
                self.simulation.crash(BROKER, CrashMode::KeepPageCache);
                Ok(())
            }
            other => Err(GoldenError::Answer(format!(
                "the node does not stop: {other:?}, synced {ended}"
            ))),
        }
    }

    /// Ends it without warning.
    pub fn kill(&mut self) {
        self.simulation.crash(BROKER, CrashMode::KeepPageCache);
    }

    /// Runs a client to its end.
    pub fn ask<T: Send + 'static, F>(&mut self, client: impl FnOnce(Env) -> F + 'static) -> Told<T>
    where
        F: Future<Output = Told<T>> + 'static,
    {
        let told = Arc::new(Mutex::new(None));
        let slot = told.clone();
        self.clients += 1;
        let name = format!("client-{}", self.clients);
        self.simulation.client(&name, move |env| async move {
            *slot.lock() = Some(client(env).await);
            Ended::Ok(())
        });
        self.simulation.run()?;
        let told = told.lock().take();
        told.unwrap_or_else(|| Err(GoldenError::Answer("a client did not come to its end".to_owned())))
    }
}
