//! Compaction: chooses the log that needs it most, and has it done, by as many tasks as are configured.
//!
//! Always holds: a log is compacted by one task at a time; all of them together keep to one rate of bytes, and to one budget of
//! memory, which is taken while they work only; a log that fails is left alone until the next start, and the others go on.
//! Work is done in steps on threads that may block, and ends between two of them when the node does.
//!
//! As Kafka's log cleaner. `choice.rs` chooses, `figures.rs` has what the metrics show; the work itself is
//! [`klamm_log::clean`].

mod choice;
mod figures;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use klamm_config::broker::Compaction;
use klamm_env::{Env, Task};
use klamm_log::clean::dirtiness;
use klamm_log::{CleanSettings, Cleaned, LogCell, LogError, Progress, Round};
use klamm_model::TopicId;
use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::{debug, error, info, warn};

use self::choice::Chosen;
pub(crate) use self::figures::Figures;
use super::partition::Partition;
use super::settings::Resolver;
use super::upkeep::reap_later;
use crate::broker::Broker;

/// Bytes that a step goes over where there is no limit.
const STEP_BYTES: u64 = 8 * 1024 * 1024;
/// Steps a second where there is one.
const STEPS_PER_SECOND: f64 = 4.0;
/// A buffer is never smaller.
const LEAST_BUFFER_BYTES: u32 = 1024;

/// A partition of one incarnation of a topic.
type Id = (TopicId, i32);

/// See the head of the file.
#[derive(Debug, Default)]
pub(crate) struct Cleaner {
    shared: Arc<Shared>,
    tasks: Mutex<Vec<Task<()>>>,
}

/// What the tasks share.
#[derive(Debug, Default)]
struct Shared {
    wanted: watch::Sender<Wanted>,
    state: Mutex<State>,
}

/// What is asked of the tasks.
#[derive(Clone, Copy, Debug, Default)]
enum Wanted {
    /// Nothing yet.
    #[default]
    Nothing,
    Work(Compaction),
    /// To end.
    End,
}

#[derive(Debug, Default)]
struct State {
    under_way: BTreeSet<Id>,
    /// Those that failed, with their log dirs.
    uncleanable: BTreeMap<Id, String>,
    figures: Figures,
    /// When the bytes that were gone over so far have had their time.
    paid_until: Duration,
}

fn id_of(partition: &Partition) -> Id {
    (partition.topic_id(), partition.index())
}

impl Cleaner {
    /// Starts the tasks, which follow the configuration from then on.
    pub(crate) fn start(&self, broker: &Arc<Broker>) {
        self.shared.state.lock().figures.last_look = broker.env.monotonic();
        if !broker.config.housekeeping.compaction {
            info!("log.cleaner.enable is false: compacted topics keep every record");
            return;
        }
        let weak = Arc::downgrade(broker);
        broker.on_dynamic.lock().push(Box::new(move |dynamic| {
            if let Some(broker) = weak.upgrade() {
                broker.upkeep.cleaner.configure(&broker, dynamic.compaction);
            }
        }));
        // What changed before that is in the image.
        let image = broker.metadata.published_arc();
        self.configure(broker, Resolver::new(broker, &image).dynamic().compaction);
    }

    fn configure(&self, broker: &Arc<Broker>, settings: Compaction) {
        let goes_on = self.shared.wanted.send_if_modified(|wanted| match wanted {
            Wanted::End => false,
            Wanted::Nothing | Wanted::Work(_) => {
                *wanted = Wanted::Work(settings);
                true
            }
        });
        if !goes_on {
            return;
        }
        let mut tasks = self.tasks.lock();
        // Those beyond the number wait until it grows.
        for number in tasks.len()..settings.threads as usize {
            let working = work(
                broker.env.clone(),
                Arc::downgrade(broker),
                self.shared.clone(),
                number,
            );
            tasks.push(broker.vitals.spawn(&broker.env, "compacts logs", working));
        }
    }

    /// What the metrics show. Blocks.
    pub(crate) fn figures(&self, broker: &Broker) -> Figures {
        let (mut figures, failed) = {
            let state = self.shared.state.lock();
            (state.figures.clone(), state.uncleanable.clone())
        };
        for partition in broker.replicas.partitions() {
            if let Some(path) = failed.get(&id_of(&partition)) {
                let policy = partition.settings().compaction;
                let found = dirtiness(&partition, &policy, broker.env.now());
                let dir = figures.uncleanable.entry(path.clone()).or_default();
                dir.partitions += 1;
                dir.bytes += found.map_or(0, |found| found.dirty_bytes);
            }
        }
        figures
    }

    /// Ends the tasks, and returns when they have.
    pub(crate) async fn stop(&self) {
        self.shared.wanted.send_replace(Wanted::End);
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            task.await;
        }
    }

    /// Ends the tasks.
    pub(crate) fn abort(&self) {
        self.tasks.lock().drain(..).for_each(|task| task.abort());
    }
}

/// One of the tasks.
async fn work(env: Env, broker: Weak<Broker>, shared: Arc<Shared>, number: usize) {
    let mut wanted = shared.wanted.subscribe();
    loop {
        let now = *wanted.borrow_and_update();
        let settings = match now {
            Wanted::Work(settings) if number < settings.threads as usize => settings,
            Wanted::Work(_) | Wanted::Nothing => {
                let _ = wanted.changed().await;
                continue;
            }
            Wanted::End => return,
        };
        let Some(held) = broker.upgrade() else { return };
        let did = clean_one(&held, &shared).await;
        drop(held);
        if !did {
            let _ = env.timeout(settings.backoff, wanted.changed()).await;
        }
    }
}

impl Shared {
    /// The settings, unless the end has come.
    fn settings(&self) -> Option<Compaction> {
        match *self.wanted.borrow() {
            Wanted::Work(settings) => Some(settings),
            Wanted::Nothing | Wanted::End => None,
        }
    }

    /// How long to wait for what was gone over.
    fn pay(&self, bytes: u64, settings: &Compaction, now: Duration) -> Duration {
        let time = bytes as f64 / settings.bytes_per_second;
        let time = Duration::try_from_secs_f64(time).unwrap_or(Duration::MAX);
        let mut state = self.state.lock();
        state.paid_until = state.paid_until.max(now).saturating_add(time);
        state.paid_until.saturating_sub(now)
    }
}

/// A log that is being compacted: when this is dropped, another task may.
struct UnderWay<'a> {
    shared: &'a Shared,
    id: Id,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.shared.state.lock().under_way.remove(&self.id);
    }
}

/// Compacts the log that needs it most; whether there was one.
async fn clean_one(broker: &Arc<Broker>, shared: &Arc<Shared>) -> bool {
    let (asked, chooser) = (broker.clone(), shared.clone());
    let chosen = broker
        .env
        .blocking(move || choice::choose(&asked, &chooser))
        .await;
    let Some(chosen) = chosen else { return false };
    let under_way = UnderWay {
        shared,
        id: id_of(&chosen.partition),
    };
    let partition = chosen.partition.clone();
    let began = broker.env.monotonic();
    let outcome = clean(broker, shared, chosen).await;
    drop(under_way);
    match outcome {
        Ok(Some(cleaned)) => {
            let took = broker.env.monotonic().saturating_sub(began);
            told(&partition, &cleaned, took);
            shared.state.lock().figures.add(&cleaned, took);
            true
        }
        // It changed, or was deleted, meanwhile.
        Ok(None) | Err(LogError::Retired) => true,
        Err(error) => {
            failed(&partition, shared, &error);
            false
        }
    }
}

/// A full device may have room again, and a log dir that is out of service says so itself.
fn failed(partition: &Partition, shared: &Shared, error: &LogError) {
    let (is_out, path) = partition.with(|log| {
        let dir = log.dir();
        (dir.failure().is_some(), dir.path().display().to_string())
    });
    if error.is_full() {
        warn!(%partition, %error, "there is no room for compaction: it is tried again later");
    } else if !is_out {
        error!(%partition, %error, "compaction failed: the partition is left alone until the next start");
        shared.state.lock().uncleanable.insert(id_of(partition), path);
    }
}

fn told(partition: &Partition, cleaned: &Cleaned, took: Duration) {
    info!(
        %partition,
        from = cleaned.first_dirty.0,
        to = cleaned.end.0,
        bytes_before = cleaned.bytes_read,
        bytes_after = cleaned.bytes_kept,
        records_before = cleaned.records_read,
        records_after = cleaned.records_kept,
        seconds = took.as_secs_f64(),
        "compacted"
    );
    if cleaned.invalid_records > 0 {
        warn!(%partition, records = cleaned.invalid_records, "compaction removed records without a key");
    }
}

fn settings_of_round(partition: &Partition, settings: &Compaction) -> CleanSettings {
    let threads = settings.threads.max(1);
    let half = (settings.buffer_bytes / threads / 2).max(LEAST_BUFFER_BYTES) as usize;
    CleanSettings {
        map_bytes: usize::try_from(settings.map_bytes / u64::from(threads)).unwrap_or(usize::MAX),
        map_load_factor: settings.map_load_factor,
        read_bytes: half,
        write_bytes: half,
        tombstone_retention: partition.settings().compaction.tombstone_retention,
    }
}

/// Runs a round over the log; `None` if it changed under it.
async fn clean(
    broker: &Arc<Broker>,
    shared: &Arc<Shared>,
    chosen: Chosen,
) -> Result<Option<Cleaned>, LogError> {
    let Chosen { partition, dirtiness } = chosen;
    let env = &broker.env;
    let Some(settings) = shared.settings() else {
        return Ok(None);
    };
    let mut wanted = shared.wanted.subscribe();
    debug!(%partition, from = dirtiness.first_dirty.0, to = dirtiness.first_uncleanable.0, "compaction begins");
    let (keys, now) = ((env.random_u64(), env.random_u64()), env.now());
    let (held, of_round) = (partition.clone(), settings_of_round(&partition, &settings));
    let round = env.blocking(move || Round::begin(&held, &dirtiness, of_round, keys, now));
    let Some(mut round) = round.await? else {
        return Ok(None);
    };
    loop {
        // The policy may have changed meanwhile.
        let asked = shared.settings().filter(|_| partition.settings().log.compact);
        let goes_on = asked.is_some();
        let settings = asked.unwrap_or(settings);
        let budget = (settings.bytes_per_second / STEPS_PER_SECOND).clamp(1.0, STEP_BYTES as f64) as u64;
        let (held, now) = (partition.clone(), env.now());
        let (step, retired, back) = env
            .blocking(move || {
                let step = match goes_on {
                    true => round.step(&held, budget),
                    false => round.give_up().map(|()| Progress::Overtaken),
                };
                (step, round.take_retired(&held, now), round)
            })
            .await;
        round = back;
        if let Some(retired) = retired {
            let dir = partition.with(|log| log.dir().clone());
            reap_later(env, &dir, retired);
        }
        match step? {
            Progress::More(bytes) => {
                let wait = shared.pay(bytes, &settings, env.monotonic());
                if wait.is_zero() {
                    klamm_env::task::yield_now().await;
                } else {
                    let ends = async {
                        let _ = wanted.wait_for(|wanted| matches!(wanted, Wanted::End)).await;
                    };
                    let _ = env.timeout(wait, ends).await;
                }
            }
            Progress::Done(cleaned) => return Ok(Some(*cleaned)),
            Progress::Overtaken => return Ok(None),
        }
    }
}
