//! Moves partitions between log dirs while they are written to (AlterReplicaLogDirs, KIP-113).
//!
//! Always holds: a partition has one move at most; it is found in its log dir until the copy has taken its place, and in the other
//! from then on; a copy that is not wanted any more is removed, one that cannot be finished stays, and the next start goes on with
//! it. As many moves as there are log dirs copy at once, the others wait.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use klamm_env::{Env, Task};
use klamm_log::relocate::{self, MoveError};
use klamm_log::{Log, LogCell, LogError};
use klamm_model::{TopicId, TopicPartition};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tracing::{error, info, warn};

use super::partition::Partition;
use crate::broker::Broker;

/// Bytes that are copied at once, as by Kafka's followers.
const CHUNK_BYTES: usize = 1024 * 1024;
/// The pause when a partition grows faster than its end can be copied.
const PAUSE: Duration = Duration::from_millis(100);
/// Wishes for partitions that are not there yet.
const MAX_PREFERENCES: usize = 10_000;

/// See the head of the file.
pub(crate) struct Moves {
    under_way: Mutex<BTreeMap<(TopicId, i32), Arc<Move>>>,
    copying: Arc<Semaphore>,
    tasks: Mutex<Vec<Task<()>>>,
    /// Held while it is decided about a move.
    pub(crate) turn: tokio::sync::Mutex<()>,
    /// Where partitions are to be made.
    preferred: Mutex<BTreeMap<TopicPartition, usize>>,
    /// When the next bytes may be copied, on the monotonic clock, and how many a second.
    pace: Mutex<Pace>,
}

#[derive(Debug, Default)]
struct Pace {
    next: Duration,
    bytes_per_second: Option<u64>,
}

/// A partition on its way to another log dir.
pub(crate) struct Move {
    partition: Arc<Partition>,
    /// The place of the other log dir.
    pub(crate) place: usize,
    future: Mutex<Log>,
    stage: Mutex<Stage>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Copying,
    /// The copy has taken the partition's place.
    Done,
    /// Nobody wants it.
    Abandoned,
}

/// What is told of a copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    pub(crate) size_bytes: u64,
    /// Offsets that it lacks.
    pub(crate) lag: i64,
}

impl Move {
    pub(crate) fn partition(&self) -> &Arc<Partition> {
        &self.partition
    }

    pub(crate) fn progress(&self) -> Progress {
        let end = self.partition.with(|log| log.log_end_offset());
        let future = self.future.lock();
        Progress {
            size_bytes: future.summary().size_bytes,
            lag: end.0 - future.log_end_offset().0,
        }
    }

    /// The copy is not wanted: removes it, unless it has taken the partition's place. Blocks.
    fn abandon(&self) {
        let mut stage = self.stage.lock();
        if *stage == Stage::Copying {
            *stage = Stage::Abandoned;
            let folder = relocate::abandon(&self.future);
            let dir = self.future.lock().dir().clone();
            if let Err(error) = dir.remove_folder(&folder) {
                error!(path = %folder.display(), %error, "cannot remove the copy of a partition");
            }
        }
    }

    /// The copy takes the partition's place. Blocks.
    fn finish(&self, broker: &Broker) -> Result<(), MoveError> {
        let mut stage = self.stage.lock();
        if *stage != Stage::Copying {
            return Err(LogError::Retired.into());
        }
        let store = &broker.stores[self.place];
        let (partition, now) = (&self.partition, broker.env.now());
        let old = partition.with(|log| log.dir().clone());
        let install = || partition.exchange(&self.future, store.committer.clone());
        let gone = relocate::finish(partition, &self.future, broker.env.random_uuid(), now, install)?;
        *stage = Stage::Done;
        drop(stage);
        info!(%partition, from = %old.path().display(), to = %store.dir.path().display(), "the partition was moved");
        if let Some(directory) = store.id {
            broker
                .assignments
                .lies_in(partition.topic_id(), partition.index(), directory);
        }
        // A read under way may still hold the files.
        if let Some(folder) = gone {
            let (env, old) = (broker.env.clone(), Arc::downgrade(&old));
            let delay = partition.settings().log.file_delete_delay;
            broker.env.spawn(async move {
                env.sleep(delay).await;
                let Some(dir) = old.upgrade() else { return };
                env.blocking(move || {
                    if let Err(error) = dir.remove_folder(&folder) {
                        error!(path = %folder.display(), %error, "cannot remove what was moved");
                    }
                })
                .await;
            });
        }
        Ok(())
    }
}

impl Moves {
    /// Nothing is moved; there are so many log dirs.
    pub(crate) fn new(log_dirs: usize) -> Self {
        Self {
            under_way: Mutex::default(),
            copying: Arc::new(Semaphore::new(log_dirs.max(1))),
            tasks: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            preferred: Mutex::default(),
            pace: Mutex::default(),
        }
    }

    /// The move of a partition.
    pub(crate) fn of(&self, topic: TopicId, partition: i32) -> Option<Arc<Move>> {
        self.under_way.lock().get(&(topic, partition)).cloned()
    }

    /// The moves to a log dir.
    pub(crate) fn to(&self, place: usize) -> Vec<Arc<Move>> {
        let under_way = self.under_way.lock();
        let to = under_way.values().filter(|one| one.place == place);
        to.cloned().collect()
    }

    /// How many bytes may be copied a second.
    pub(super) fn limit(&self, bytes_per_second: Option<u64>) {
        self.pace.lock().bytes_per_second = bytes_per_second;
    }

    /// A partition that is not there yet is to be made in a log dir.
    pub(crate) fn prefer(&self, name: TopicPartition, place: usize) {
        let mut preferred = self.preferred.lock();
        if preferred.len() < MAX_PREFERENCES || preferred.contains_key(&name) {
            preferred.insert(name, place);
        }
    }

    /// Where a partition that is made now is to be, if somebody said so.
    pub(super) fn preferred(&self, name: &TopicPartition) -> Option<usize> {
        let mut preferred = self.preferred.lock();
        preferred.remove(name)
    }

    /// Takes a move back.
    pub(crate) async fn cancel(&self, env: &Env, one: &Arc<Move>) {
        self.forget(one);
        let one = one.clone();
        env.blocking(move || one.abandon()).await;
    }

    /// Ends all moves, which go on at the next start.
    pub(crate) async fn stop(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            task.abort();
            task.await;
        }
    }

    /// The same without waiting.
    pub(crate) fn abort(&self) {
        self.tasks.lock().drain(..).for_each(|task| task.abort());
    }

    fn forget(&self, gone: &Arc<Move>) {
        let at = (gone.partition.topic_id(), gone.partition.index());
        let mut under_way = self.under_way.lock();
        if under_way.get(&at).is_some_and(|one| Arc::ptr_eq(one, gone)) {
            under_way.remove(&at);
        }
    }

    /// Takes so many bytes of what may be copied, and says how long to wait then.
    fn pace(&self, bytes: usize, now: Duration) -> Duration {
        let mut pace = self.pace.lock();
        let Some(rate) = pace.bytes_per_second else {
            return Duration::ZERO;
        };
        let takes = Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        pace.next = pace.next.max(now) + takes;
        pace.next - now
    }
}

/// Begins to move a partition, or goes on with the move that was under way when the last process ended.
pub(crate) async fn begin(
    broker: &Arc<Broker>,
    partition: &Arc<Partition>,
    place: usize,
) -> Result<(), LogError> {
    let (dir, config) = (
        broker.stores[place].dir.clone(),
        partition.settings().log_config(&broker.env),
    );
    let (cell, now) = (partition.clone(), broker.env.now());
    let opening = broker
        .env
        .blocking(move || relocate::begin(&cell, &dir, config, now));
    let one = Arc::new(Move {
        partition: partition.clone(),
        place,
        future: Mutex::new(opening.await?),
        stage: Mutex::new(Stage::Copying),
    });
    let at = (partition.topic_id(), partition.index());
    broker.moves.under_way.lock().insert(at, one.clone());
    let copying = run(Arc::downgrade(broker), broker.moves.copying.clone(), one);
    let task = broker.vitals.spawn(&broker.env, "moves a partition", copying);
    let mut tasks = broker.moves.tasks.lock();
    tasks.retain(|task| !task.is_finished());
    tasks.push(task);
    Ok(())
}

/// Copies until the copy has everything and has taken the partition's place.
async fn run(broker: Weak<Broker>, copying: Arc<Semaphore>, one: Arc<Move>) {
    let Ok(_turn) = copying.acquire().await else {
        return;
    };
    loop {
        let Some(broker) = broker.upgrade() else { return };
        match step(&broker, &one).await {
            Ok(Some(pause)) => {
                let env = broker.env.clone();
                drop(broker);
                env.sleep(pause).await;
            }
            Ok(None) => return broker.moves.forget(&one),
            // The partition was deleted, or the move taken back.
            Err(MoveError::Log(LogError::Retired)) => return broker.moves.cancel(&broker.env, &one).await,
            Err(error) => {
                error!(partition = %one.partition, %error, "the partition cannot be moved");
                return broker.moves.forget(&one);
            }
        }
    }
}

/// One step of a move, and the pause behind it; `None` when it is done.
async fn step(broker: &Arc<Broker>, one: &Arc<Move>) -> Result<Option<Duration>, MoveError> {
    let (copied, now) = (one.clone(), broker.env.now());
    let copy = move || relocate::copy(&copied.partition, &copied.future, CHUNK_BYTES, now);
    let bytes = broker.env.blocking(copy).await?;
    if bytes > 0 {
        return Ok(Some(broker.moves.pace(bytes, broker.env.monotonic())));
    }
    let (done, finishing) = (one.clone(), broker.clone());
    match broker.env.blocking(move || done.finish(&finishing)).await {
        Ok(()) => Ok(None),
        Err(MoveError::Behind) => {
            warn!(partition = %one.partition, "the partition grows faster than its end can be copied");
            Ok(Some(PAUSE))
        }
        Err(error) => Err(error),
    }
}
