//! Reads the sealed segments of all partitions again, slowly, and keeps what is damaged.
//!
//! Always holds: never more than `klamm.scrub.bytes.per.second` on average; as much slower as `klamm.scrub.interval.ms` allows.
//! A damaged range is logged once, with the command to go on with, whoever finds it: this, or a read for a consumer.
//!
//! A pass begins with a partition by chance: a node that is often started anew reads all of it in time as well, without
//! keeping books about it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use klamm_config::broker::Scrub as Pace;
use klamm_env::Task;
use klamm_log::scrub::{self, SegmentScrub};
use klamm_log::verify::Finding;
use klamm_log::{LogCell, LogError};
use klamm_model::{Offset, TopicPartition};
use parking_lot::Mutex;
use tracing::{debug, error, warn};

use super::partition::Partition;
use crate::broker::Broker;

/// Bytes between two pauses.
const STEP_BYTES: u64 = 1024 * 1024;
/// What is read a second at least while a pass goes on, so that little data is done with soon, in few wake-ups.
const SLOWEST: u64 = 1024 * 1024;
/// A start has better things to do.
const FIRST_AFTER: Duration = Duration::from_secs(600);

/// Damaged ranges, by segment and position, with their bytes.
type Ranges = BTreeMap<(PathBuf, u64), u64>;

/// Ranges of segments that are not what was appended.
#[derive(Debug, Default)]
pub(crate) struct Damages {
    found: Mutex<BTreeMap<TopicPartition, Ranges>>,
}

/// The damage in a partition, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) ranges: u64,
    pub(crate) bytes: u64,
}

impl Damages {
    /// Keeps a damaged range, and says so unless it is known already.
    pub(crate) fn note(&self, partition: &TopicPartition, finding: &Finding) {
        let positions = finding.positions.clone().unwrap_or_default();
        let key = (finding.path.clone(), positions.start);
        let bytes = positions.end - positions.start;
        let before = self
            .found
            .lock()
            .entry(partition.clone())
            .or_default()
            .insert(key, bytes);
        if before.is_some() {
            return;
        }
        let (first, next) = finding.offsets.unwrap_or((Offset(-1), None));
        error!(
            %partition,
            segment = %finding.path.display(),
            position = positions.start,
            end_position = positions.end,
            first_offset = first.0,
            next_offset = next.map(|next| next.0),
            what = finding.what,
            "stored bytes are not what was appended: 'klamm log verify {}' shows all of the damage",
            finding.path.parent().unwrap_or(&finding.path).display()
        );
    }

    /// What is known of each partition.
    pub(crate) fn by_partition(&self) -> Vec<(TopicPartition, Damage)> {
        let found = self.found.lock();
        let sum = |ranges: &Ranges| Damage {
            ranges: ranges.len() as u64,
            bytes: ranges.values().sum(),
        };
        found
            .iter()
            .map(|(partition, ranges)| (partition.clone(), sum(ranges)))
            .collect()
    }

    /// Forgets what lay in files that are gone.
    fn keep_only(&self, partition: &TopicPartition, is_there: impl Fn(&PathBuf) -> bool) {
        let mut found = self.found.lock();
        if let Some(ranges) = found.get_mut(partition) {
            ranges.retain(|(path, _), _| is_there(path));
            if ranges.is_empty() {
                found.remove(partition);
            }
        }
    }

    /// Forgets partitions that are not here any more.
    fn keep_partitions(&self, here: &BTreeSet<TopicPartition>) {
        self.found.lock().retain(|partition, _| here.contains(partition));
    }
}

/// Reads everything again and again; `None` if that is turned off.
pub(super) fn start(broker: &Arc<Broker>) -> Option<Task<()>> {
    let pace = broker.config.housekeeping.scrub?;
    let (weak, env) = (Arc::downgrade(broker), broker.env.clone());
    let task = broker
        .vitals
        .spawn(&broker.env, "reads segments again", async move {
            env.sleep(FIRST_AFTER.min(pace.interval)).await;
            loop {
                let begun = env.monotonic();
                let Some(broker) = weak.upgrade() else { return };
                let (partitions, rate) = plan(&broker, &pace);
                drop(broker);
                for partition in partitions {
                    for (segment, _) in scrub::sealed(&partition) {
                        let Some(broker) = weak.upgrade() else { return };
                        read_again(&broker, &partition, segment, rate).await;
                    }
                }
                let taken = env.monotonic().saturating_sub(begun);
                if taken > pace.interval {
                    warn!(
                        seconds = taken.as_secs(),
                        "reading all sealed segments took longer than klamm.scrub.interval.ms: \
                     klamm.scrub.bytes.per.second is too low for so much data"
                    );
                }
                env.sleep(pace.interval.saturating_sub(taken)).await;
            }
        });
    Some(task)
}

/// What there is to read, in which order, and how fast.
fn plan(broker: &Broker, pace: &Pace) -> (Vec<Arc<Partition>>, u64) {
    let mut partitions = broker.replicas.partitions();
    let name = |partition: &Arc<Partition>| partition.with(|log| log.partition().clone());
    partitions.sort_by_cached_key(name);
    let here = partitions.iter().map(name).collect();
    broker.upkeep.damages.keep_partitions(&here);
    if !partitions.is_empty() {
        let count = partitions.len() as u64;
        let first = usize::try_from(broker.env.random_u64() % count).unwrap_or(0);
        partitions.rotate_left(first);
    }
    let sealed =
        |partition: &Arc<Partition>| scrub::sealed(partition).iter().map(|(_, size)| size).sum::<u64>();
    let bytes: u64 = partitions.iter().map(sealed).sum();
    (partitions, rate(bytes, pace))
}

/// Bytes a second, so that the interval is enough.
fn rate(bytes: u64, pace: &Pace) -> u64 {
    let seconds = pace.interval.as_secs().max(1);
    // A tenth is left for what is added meanwhile.
    let needed = (bytes / seconds).saturating_mul(11) / 10;
    needed.max(SLOWEST).min(pace.bytes_per_second).max(1)
}

/// Reads one segment, with pauses.
async fn read_again(broker: &Arc<Broker>, partition: &Arc<Partition>, segment: Offset, rate: u64) {
    let (name, failed) = partition.with(|log| (log.partition().clone(), log.dir().failure().is_some()));
    if failed {
        return;
    }
    let env = broker.env.clone();
    let opening = partition.clone();
    let opened = env.blocking(move || scrub::begin(&opening, segment)).await;
    let mut scrub: SegmentScrub = match opened {
        Ok(Some(scrub)) => scrub,
        Ok(None) | Err(LogError::Retired) => return,
        Err(error) => {
            warn!(partition = %name, %error, "cannot read a segment again");
            return;
        }
    };
    let step = STEP_BYTES.min(rate);
    let mut ranges: Vec<Range<u64>> = Vec::new();
    loop {
        let read = env.blocking(move || {
            let (bytes, found) = scrub.step(step);
            (scrub, bytes, found)
        });
        let (again, bytes, found) = read.await;
        scrub = again;
        for finding in found {
            ranges.extend(finding.positions.clone());
            broker.upkeep.damages.note(&name, &finding);
        }
        if bytes == 0 {
            break;
        }
        env.sleep(Duration::from_micros(bytes.saturating_mul(1_000_000) / rate))
            .await;
    }
    debug!(partition = %name, segment = segment.0, damaged = ranges.len(), "a segment was read again");
    let there = scrub::paths(partition);
    broker
        .upkeep
        .damages
        .keep_only(&name, |path| there.contains(path));
}
