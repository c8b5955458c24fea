//! What the parts of a broker say about themselves at the moment of a scrape.
//!
//! Always holds: nothing here is on the way of a request; the lock of a partition is taken for moments, one after another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use klamm_log::LogCell;
use klamm_log::journal::Stats;
use klamm_model::{BrokerId, TimestampMs, TopicPartition};

use super::process::Process;
use crate::broker::Broker;
use crate::replicas::{Damage, Figures, Partition, Store};

/// What a coordinator may take to end a transaction that has taken too long, before that counts as hung: as long as Kafka waits.
const LATE_BY: Duration = Duration::from_mins(5);

/// From when on a transaction that is decided should have ended in all of its partitions.
const ENDING_FOR: Duration = Duration::from_mins(1);

/// See the head of the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Observed {
    pub(super) node_id: i32,
    pub(super) cluster_id: String,
    pub(super) is_fenced: bool,
    pub(super) process: Process,
    pub(super) request_memory: (usize, usize),
    pub(super) fetch_sessions: usize,
    pub(super) open_files: usize,
    pub(super) partitions: Partitions,
    pub(super) hung: Vec<Hung>,
    /// Transactions that are coordinated here, were decided long ago, and have not ended in all of their partitions.
    pub(super) ending: usize,
    pub(super) damages: Vec<(TopicPartition, Damage)>,
    pub(super) log_dirs: Vec<LogDir>,
    /// By name.
    pub(super) topics: BTreeMap<Arc<str>, Logs>,
    pub(super) compaction: Figures,
    /// Since compaction last looked for work.
    pub(super) compaction_idle: Duration,
    pub(super) quorum: Quorum,
    /// Entries of the metadata log: applied and published.
    pub(super) metadata: (u64, u64),
}

/// Counts of partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Partitions {
    pub(super) leaders: usize,
    pub(super) followers: usize,
    pub(super) under_replicated: usize,
    pub(super) under_min_isr: usize,
    pub(super) offline: usize,
}

/// A transaction that its coordinator should have ended long ago, and that holds the last stable offset of a partition led here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hung {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) producer_id: i64,
    /// Since its producer last wrote.
    pub(super) silence: Duration,
}

/// A log dir.
#[derive(Clone, Debug, Default)]
pub(super) struct LogDir {
    pub(super) path: String,
    pub(super) online: bool,
    pub(super) cordoned: bool,
    /// Size of the file system, and what is left of it.
    pub(super) space: Option<(u64, u64)>,
    pub(super) logs: Logs,
    pub(super) journal: Stats,
}

/// Sums over logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Logs {
    pub(super) count: usize,
    pub(super) bytes: u64,
    pub(super) segments: usize,
    pub(super) start_offsets: i64,
    pub(super) end_offsets: i64,
}

impl Logs {
    /// Adds others to these.
    pub(super) fn add(&mut self, other: Logs) {
        self.count += other.count;
        self.bytes += other.bytes;
        self.segments += other.segments;
        self.start_offsets += other.start_offsets;
        self.end_offsets += other.end_offsets;
    }
}

/// The metadata quorum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Quorum {
    pub(super) leader: Option<i32>,
    pub(super) term: u64,
    pub(super) high_watermark: u64,
    pub(super) voters: usize,
}

/// Asks all parts of `broker`. Blocks.
pub(super) fn observe(broker: &Broker) -> Observed {
    let held = broker.replicas.partitions();
    let mut topics: BTreeMap<Arc<str>, Logs> = BTreeMap::new();
    let mut log_dirs: Vec<_> = broker.stores.iter().map(log_dir).collect();
    for partition in &held {
        let (logs, place) = look(partition, &broker.stores);
        topics.entry(partition.topic().clone()).or_default().add(logs);
        if let Some(dir) = place.and_then(|place| log_dirs.get_mut(place)) {
            dir.logs.add(logs);
        }
    }
    let description = broker.quorum.describe();
    let image = broker.metadata.published();
    let limit = broker.config.transactions.max_timeout + LATE_BY;
    let now = broker.env.now();
    let compaction = broker.upkeep.cleaner.figures(broker);
    let compaction_idle = broker.env.monotonic().saturating_sub(compaction.last_look);
    let decided = now.plus_ms(-i64::try_from(ENDING_FOR.as_millis()).unwrap_or(i64::MAX));
    Observed {
        node_id: broker.id.0,
        cluster_id: broker.cluster_id.to_string(),
        is_fenced: !image.cluster().is_unfenced(broker.id),
        process: Process::look(broker.env.files()),
        request_memory: (broker.request_memory.used(), broker.request_memory.limit()),
        fetch_sessions: broker.fetch_sessions.len(),
        open_files: broker
            .stores
            .first()
            .map_or(0, |store| store.dir.handles().open_count()),
        partitions: partitions(broker, &held),
        hung: held
            .iter()
            .filter_map(|partition| hung(partition, now, limit))
            .collect(),
        ending: broker.transactions.coordinator().ending_since_before(decided),
        damages: broker.upkeep.damages.by_partition(),
        log_dirs,
        topics,
        compaction,
        compaction_idle,
        quorum: Quorum {
            leader: description.leader,
            term: description.term,
            high_watermark: description.high_watermark,
            voters: description.voters.len(),
        },
        metadata: (broker.metadata.applied().position().index, image.position().index),
    }
}

/// The oldest transaction of a partition, if nothing was written in it for longer than `limit`.
fn hung(partition: &Partition, now: TimestampMs, limit: Duration) -> Option<Hung> {
    let (producer_id, last) = partition.oldest_transaction()?;
    // Records without a timestamp tell nothing.
    let silence = u64::try_from(now.ms_since(last)).ok().filter(|_| last.0 > 0)?;
    let silence = Duration::from_millis(silence);
    (silence > limit).then(|| Hung {
        topic: partition.topic().clone(),
        partition: partition.index(),
        producer_id: producer_id.0,
        silence,
    })
}

/// The sums over one log, and the place of its log dir.
fn look(partition: &Partition, stores: &[Store]) -> (Logs, Option<usize>) {
    partition.with(|log| {
        let summary = log.summary();
        let logs = Logs {
            count: 1,
            bytes: summary.size_bytes,
            segments: summary.segment_count,
            start_offsets: log.log_start_offset().0,
            end_offsets: log.log_end_offset().0,
        };
        let place = stores.iter().position(|store| Arc::ptr_eq(&store.dir, log.dir()));
        (logs, place)
    })
}

fn log_dir(store: &Store) -> LogDir {
    let online = store.dir.failure().is_none();
    // A file system that failed may not answer either.
    let space = online
        .then(|| store.dir.files().space(store.dir.path()).ok())
        .flatten();
    LogDir {
        path: store.dir.path().display().to_string(),
        online,
        cordoned: store.cordoned.load(Ordering::Relaxed),
        space: space.map(|space| (space.total_bytes, space.usable_bytes)),
        logs: Logs::default(),
        journal: store.committer.stats(),
    }
}

fn partitions(broker: &Broker, held: &[Arc<Partition>]) -> Partitions {
    let image = broker.metadata.published();
    let own = |leader: Option<BrokerId>| leader == Some(broker.id);
    let mut counts = Partitions::default();
    for partition in held {
        match image.partition(&partition.topic_id(), partition.index()) {
            Some(state) if own(state.leader) => {
                counts.leaders += 1;
                counts.under_replicated += usize::from(state.isr.len() < state.replicas.len());
                // No more can be in sync than there are.
                let needed = partition.settings().min_insync_replicas.min(state.replicas.len());
                counts.under_min_isr += usize::from(state.isr.len() < needed);
            }
            _ => counts.followers += 1,
        }
    }
    // Whoever leads them: a partition whose data cannot be used here may have lost its leader by that, or not yet.
    let here = broker.replicas.topics();
    let unusable: BTreeSet<_> = here
        .iter()
        .flat_map(|topic| topic.offline().map(|number| (topic.id, number)))
        .collect();
    let all = image.topics().iter().flat_map(|topic| {
        let numbered = topic.partitions.iter().enumerate();
        numbered.map(|(number, partition)| ((topic.id, number), partition))
    });
    counts.offline = all
        .filter(|(at, partition)| partition.leader.is_none() || unusable.contains(at))
        .count();
    counts
}
