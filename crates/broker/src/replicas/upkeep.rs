//! What has to be done from time to time: retention, checkpoints, forgetting silent producers, compaction; and the orderly end.
//!
//! Always holds: each kind runs in one task, one partition after another, on a thread that may block; a log dir that fails
//! is left alone.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use klamm_env::{Env, Task};
use klamm_log::flush::close;
use klamm_log::retention::{reap, retention};
use klamm_log::{FlushScope, LogCell, LogDir, LogError};
use klamm_model::TimestampMs;
use parking_lot::Mutex;
use tracing::{debug, error, info};

use super::cleaner::Cleaner;
use super::partition::Partition;
use super::scrub::{self, Damages};
use crate::broker::Broker;

/// The tasks of a broker's upkeep.
#[derive(Debug, Default)]
pub(crate) struct Upkeep {
    pub(crate) cleaner: Cleaner,
    tasks: Mutex<Vec<Task<()>>>,
    /// Ranges of segments that are not what was appended.
    pub(crate) damages: Damages,
}

impl Upkeep {
    /// Starts all tasks.
    pub(crate) fn start(&self, broker: &Arc<Broker>) {
        let times = broker.config.housekeeping.clone();
        let mut tasks = self.tasks.lock();
        tasks.push(every(broker, times.retention_interval, remove_old));
        tasks.push(every(broker, times.recovery_checkpoint_interval, |broker| {
            flush_sealed(broker);
            checkpoint_all(broker);
        }));
        tasks.push(every(broker, times.start_checkpoint_interval, checkpoint_all));
        tasks.push(every(
            broker,
            times.high_watermark_checkpoint_interval,
            checkpoint_all,
        ));
        tasks.push(every(broker, times.producer_expiry_interval, expire_producers));
        if let Some(interval) = times.flush_interval {
            tasks.push(every(broker, interval, flush_due));
        }
        self.cleaner.start(broker);
        tasks.extend(scrub::start(broker));
    }

    /// Ends the tasks, brings all to the device and marks the log dirs as closed in order. Blocks its caller until done.
    pub(crate) async fn finish(&self, broker: &Arc<Broker>, broker_epoch: i64) {
        for task in self.tasks.lock().drain(..) {
            task.abort();
        }
        self.cleaner.stop().await;
        let broker = broker.clone();
        let env = broker.env.clone();
        env.blocking(move || {
            let mut failed = Vec::new();
            for partition in broker.replicas.partitions() {
                if let Err(error) = partition.where_it_is(|| close(&partition)) {
                    error!(%partition, %error, "cannot close the log in order");
                    failed.push(partition.with(|log| log.dir().path().to_owned()));
                }
            }
            checkpoint_all(&broker);
            for store in broker.stores.iter().filter(|store| !failed.iter().any(|path| path == store.dir.path())) {
                if store.unopened.load(Ordering::Relaxed) || store.dir.failure().is_some() {
                    continue;
                }
                if let Err(error) = store.dir.mark_clean(broker_epoch) {
                    error!(path = %store.dir.path().display(), %error, "cannot mark the log dir as closed in order");
                }
            }
        })
        .await;
    }

    /// Makes the starts of all logs of the log dir known to the next start of the process.
    pub(crate) async fn checkpoint_starts(
        &self,
        broker: &Arc<Broker>,
        dir: Arc<LogDir>,
    ) -> Result<(), LogError> {
        let broker = broker.clone();
        let env = broker.env.clone();
        env.blocking(move || checkpoint(&broker, &dir)).await
    }
}

/// Runs `work` every `interval` where blocking is allowed.
fn every(
    broker: &Arc<Broker>,
    interval: Duration,
    work: impl Fn(&Broker) + Copy + Send + 'static,
) -> Task<()> {
    let (weak, env) = (Arc::downgrade(broker), broker.env.clone());
    broker.vitals.spawn(&broker.env, "does the upkeep", async move {
        loop {
            env.sleep(interval).await;
            let Some(broker) = weak.upgrade() else { return };
            env.blocking(move || work(&broker)).await;
        }
    })
}

fn each(broker: &Broker, what: &str, work: impl Fn(&Arc<Partition>) -> Result<(), LogError>) {
    for partition in broker.replicas.partitions() {
        if partition.with(|log| log.dir().failure().is_some()) {
            continue;
        }
        match partition.where_it_is(|| work(&partition)) {
            // Deleted meanwhile.
            Ok(()) | Err(LogError::Retired) => {}
            Err(error) => error!(%partition, %error, "{what} failed"),
        }
    }
}

fn remove_old(broker: &Broker) {
    each(broker, "retention", |partition| {
        let retired = retention(partition, broker.env.now())?;
        if retired.segment_count > 0 {
            info!(%partition, segments = retired.segment_count, "segments removed by retention");
            let dir = partition.with(|log| log.dir().clone());
            reap_later(&broker.env, &dir, retired);
        }
        Ok(())
    });
}

/// Removes the files of old segments when their time has come. Does not hold the log dir meanwhile: when the node is gone, the
/// next start removes them.
pub(super) fn reap_later(env: &Env, dir: &Arc<LogDir>, retired: klamm_log::retention::Retired) {
    let delay = delay_until(env.now(), retired.not_before);
    let (later, dir) = (env.clone(), Arc::downgrade(dir));
    env.spawn(async move {
        later.sleep(delay).await;
        let Some(dir) = dir.upgrade() else { return };
        later
            .blocking(move || {
                if let Err(error) = reap(&dir, retired) {
                    error!(%error, "cannot remove the files of old segments");
                }
            })
            .await;
    });
}

fn delay_until(now: TimestampMs, then: TimestampMs) -> Duration {
    Duration::from_millis(u64::try_from(then.ms_since(now)).unwrap_or(0))
}

/// Lets the recovery point follow the segments that are complete, so that a crash costs the last segment at most; and all of a log
/// that rests, so that it needs neither the journal nor an open file.
fn flush_sealed(broker: &Broker) {
    each(broker, "flush", |partition| {
        partition.flush(match partition.rests_with_an_open_file() {
            true => FlushScope::All,
            false => FlushScope::Sealed,
        })
    });
}

/// Flushes logs whose `flush.ms` asks for it.
fn flush_due(broker: &Broker) {
    let now = broker.env.now();
    each(broker, "flush", |partition| match partition.flush_is_due(now) {
        true => partition.flush(FlushScope::All),
        false => Ok(()),
    });
}

fn expire_producers(broker: &Broker) {
    let now = broker.env.now();
    each(broker, "producer expiry", |partition| {
        partition.with(|log| log.expire_producers(now));
        Ok(())
    });
}

fn checkpoint_all(broker: &Broker) {
    for store in broker.stores.iter().filter(|store| store.dir.failure().is_none()) {
        match checkpoint(broker, &store.dir) {
            Ok(()) => debug!(path = %store.dir.path().display(), "checkpoints written"),
            Err(error) => error!(path = %store.dir.path().display(), %error, "cannot write the checkpoints"),
        }
    }
}

fn checkpoint(broker: &Broker, dir: &Arc<LogDir>) -> Result<(), LogError> {
    dir.checkpoint(|| {
        let held = broker.replicas.partitions();
        let of_dir = held.iter().filter_map(|partition| {
            partition
                .with(|log| Arc::ptr_eq(log.dir(), dir).then(|| (log.partition().clone(), log.positions())))
        });
        of_dir.collect()
    })
}
