//! Drives the shards of one kind of coordinators: one for each partition of their internal topic that this broker leads.
//!
//! ```text
//! handler ─► ask ─► decide, gather, replay (lock of the shard) ─► parked ─► high watermark ─► answer
//!                             │                                               ▲
//!                             ├─► nobody waits: appended at once ─────────────┤
//!                             └─► the seat's task ─► one append ──────────────┘
//! ```
//!
//! Always holds: a decision is made on the thread that asks, at once, and its records go into the log with it, or, where others
//! wait already, together with those of all who were decided on in the meantime; nobody is answered before everything that the decision could have seen is committed.
//! Whatever fails on the way costs the shard, which is loaded again; who waits is told NOT_COORDINATOR, and asks again.
//! Which shards there are follows from the metadata alone.
//!
//! Next: `runtime/seat.rs` for one of them, `runtime/loaded.rs` for how a decision is taken, `runtime/drive.rs` for the task,
//! `runtime/load.rs`.

mod around;
mod drive;
mod encoded;
mod gathered;
mod load;
mod loaded;
mod parked;
mod producers;
mod retry;
mod seat;
mod timers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use klamm_coordinator::Shard;
use klamm_env::{Env, Task};
use klamm_log::{EndTransaction, Verification, VerificationGuard};
use klamm_metadata::image::TopicImage;
use klamm_metadata::{Delta, Image};
use klamm_model::java_hash::partition_of;
use klamm_model::{BrokerId, ErrorCode, LeaderEpoch};
use klamm_records::Codec;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

pub(crate) use self::seat::Asked;
use self::seat::Seat;
use super::{Key, Kind};
use crate::metadata_store::MetadataStore;
use crate::replicas::{Asking, Partition};
use crate::vitals::Vitals;

/// Shards that are loaded at once.
const LOADERS: usize = 4;

type Request<C> = <<C as Coordinator>::Shard as Shard>::Request;
type Config<C> = <<C as Coordinator>::Shard as Shard>::Config;
type Effect<C> = <<C as Coordinator>::Shard as Shard>::Effect;

/// A kind of coordinators, as the runtime needs to know it.
pub(crate) trait Coordinator: Send + Sync + 'static {
    /// What decides.
    type Shard: Shard;
    /// Which kind it is.
    const KIND: Kind;

    /// Does what a decision of the shard `from` asks for outside of it. Must not wait.
    fn carry_out(&self, from: Place, effect: Effect<Self>)
    where
        Self: Sized;
}

/// A shard from when it is loaded until it is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) partition: i32,
    /// In which the partition is led.
    pub(crate) epoch: LeaderEpoch,
    /// Tells it from those that were loaded of the same partition before and after it.
    load: u64,
}

/// What a runtime is given.
pub(crate) struct Parts {
    pub(crate) env: Env,
    pub(crate) vitals: Arc<Vitals>,
    pub(crate) metadata: Arc<MetadataStore>,
    /// Bytes that are read at once when a shard is loaded.
    pub(crate) load_bytes: usize,
    /// How records are packed.
    pub(crate) codec: Codec,
    /// How long an answer waits until what it tells of is committed.
    pub(crate) commit_timeout: Duration,
}

/// What the seats of a runtime share.
struct Shared<C: Coordinator> {
    coordinator: C,
    env: Env,
    vitals: Arc<Vitals>,
    metadata: Arc<MetadataStore>,
    config: ArcSwap<Config<C>>,
    loaders: Semaphore,
    /// How many shards were loaded.
    loads: AtomicU64,
    load_bytes: usize,
    codec: Codec,
    commit_timeout: Duration,
    /// The node stops: nobody waits for what others must do first.
    is_stopping: AtomicBool,
}

/// See the head of the file.
pub(crate) struct Runtime<C: Coordinator> {
    shared: Arc<Shared<C>>,
    /// `None` while there is no topic.
    table: ArcSwapOption<Table<C>>,
    followed: Mutex<Followed>,
    /// What the shards were last told of.
    told: Mutex<Arc<Image>>,
}

/// The seats, by partition.
struct Table<C: Coordinator> {
    /// Of the topic, wherever they are led.
    partition_count: usize,
    seats: BTreeMap<i32, Arc<Seat<C>>>,
}

/// What was carried out of the metadata.
#[derive(Default)]
struct Followed {
    topic: Option<Arc<TopicImage>>,
    tasks: BTreeMap<i32, Task<()>>,
    is_stopped: bool,
}

impl<C: Coordinator> Runtime<C> {
    /// A runtime without a shard.
    pub(crate) fn new(parts: Parts, coordinator: C, config: Config<C>) -> Self {
        let Parts {
            env,
            vitals,
            metadata,
            load_bytes,
            codec,
            commit_timeout,
        } = parts;
        Self {
            shared: Arc::new(Shared {
                coordinator,
                env,
                vitals,
                metadata,
                config: ArcSwap::from_pointee(config),
                loaders: Semaphore::new(LOADERS),
                loads: AtomicU64::new(0),
                load_bytes,
                codec,
                commit_timeout,
                is_stopping: AtomicBool::new(false),
            }),
            table: ArcSwapOption::empty(),
            followed: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// The settings that decisions are made under.
    pub(crate) fn config(&self) -> Guard<Arc<Config<C>>> {
        self.shared.config.load()
    }

    /// Decisions are made under other settings from now on.
    pub(crate) fn configure(&self, config: Config<C>) {
        self.shared.config.store(Arc::new(config));
    }

    /// What knows its kind.
    pub(crate) fn coordinator(&self) -> &C {
        &self.shared.coordinator
    }

    /// Has a request decided by the shard that `key` belongs to.
    pub(crate) fn ask(&self, key: &Key<'_>, request: Request<C>) -> Result<Asked<C>, ErrorCode> {
        let table = self.table.load();
        let table = table.as_ref().ok_or(ErrorCode::NotCoordinator)?;
        table.seat(table.partition_of(key)?)?.ask(request)
    }

    /// The partition that `key` belongs to, wherever it is led.
    pub(crate) fn partition_of(&self, key: &Key<'_>) -> Result<i32, ErrorCode> {
        let table = self.table.load();
        let table = table.as_ref().ok_or(ErrorCode::NotCoordinator)?;
        table.partition_of(key)
    }

    /// The partitions that are led here.
    pub(crate) fn led(&self) -> Vec<i32> {
        let table = self.table.load();
        let seats = table.as_ref().map(|table| table.seats.keys().copied().collect());
        seats.unwrap_or_default()
    }

    /// Has a request decided by the shard of a partition.
    pub(crate) fn ask_partition(&self, partition: i32, request: Request<C>) -> Result<Asked<C>, ErrorCode> {
        self.seat(partition)?.ask(request)
    }

    /// Tells the shard `to` what became of what it has asked for outside; NOT_COORDINATOR if that was given up.
    pub(crate) fn report(&self, to: Place, request: Request<C>) -> Result<Asked<C>, ErrorCode> {
        self.seat(to.partition)?.report(to.load, request)
    }

    /// Begins to verify that a producer may write to a partition in its transaction; see [`Partition::verify`].
    pub(crate) fn verify(&self, partition: i32, asked: &Verification) -> Result<Option<Asking>, ErrorCode> {
        let seat = self.seat(partition)?;
        seat.partition.verify(asked).map_err(|refusal| refusal.code())
    }

    /// Has a request in a transaction decided that has waited for the verification of `guard`.
    pub(crate) fn ask_verified(
        &self,
        partition: i32,
        request: Request<C>,
        guard: Option<VerificationGuard>,
    ) -> Result<Asked<C>, ErrorCode> {
        self.seat(partition)?.ask_verified(request, guard)
    }

    /// Ends the transaction of a producer in a partition: writes the marker, and returns when it is committed.
    pub(crate) async fn end_transaction(
        &self,
        partition: i32,
        end: &EndTransaction,
    ) -> Result<(), ErrorCode> {
        let seat = self.seat(partition)?;
        seat.end_transaction(end).await
    }

    fn seat(&self, partition: i32) -> Result<Arc<Seat<C>>, ErrorCode> {
        let table = self.table.load();
        let table = table.as_ref().ok_or(ErrorCode::NotCoordinator)?;
        table.seat(partition).cloned()
    }

    /// The metadata says this now, and the partitions are open: begins to load what is led, and leaves what is not. `find` finds
    /// the topic's partitions. One change at a time.
    pub(crate) fn follow(
        &self,
        me: BrokerId,
        image: &Image,
        find: impl Fn(&TopicImage, i32) -> Option<Arc<Partition>>,
    ) {
        let mut followed = self.followed.lock();
        let topic = image.topics().by_name(C::KIND.topic());
        let is_same = match (&followed.topic, topic) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            (None, None) => true,
            _ => false,
        };
        if is_same || followed.is_stopped {
            return;
        }
        followed.topic = topic.cloned();
        let before = self.table.load_full();
        let before = before.as_ref().map(|table| &table.seats);
        let table = topic.map(|topic| self.table_of(me, topic, before, find));
        let now = table.as_ref().map(|table| &table.seats);
        for (index, seat) in before.into_iter().flatten() {
            let stays = now.and_then(|now| now.get(index));
            if !stays.is_some_and(|stays| Arc::ptr_eq(stays, seat)) {
                // Not waited for: what it still appends, the partition refuses, which is led in another epoch or is gone.
                seat.leave();
                if let Some(task) = followed.tasks.remove(index) {
                    task.abort();
                }
            }
        }
        for (index, seat) in now.into_iter().flatten() {
            let Shared { vitals, env, .. } = &*self.shared;
            followed.tasks.entry(*index).or_insert_with(|| {
                load::load_if_empty(seat);
                vitals.spawn(env, "drives coordinators", drive::run(seat.clone()))
            });
        }
        self.table.store(table.map(Arc::new));
    }

    fn table_of(
        &self,
        me: BrokerId,
        topic: &TopicImage,
        before: Option<&BTreeMap<i32, Arc<Seat<C>>>>,
        find: impl Fn(&TopicImage, i32) -> Option<Arc<Partition>>,
    ) -> Table<C> {
        let mut seats = BTreeMap::new();
        for (index, image) in (0..).zip(&topic.partitions) {
            let is_led = image.leader == Some(me);
            let Some(partition) = is_led.then(|| find(topic, index)).flatten() else {
                continue;
            };
            let epoch = image.leader_epoch;
            let stays = before.and_then(|before| before.get(&index));
            let stays = stays.filter(|seat| seat.epoch == epoch && Arc::ptr_eq(&seat.partition, &partition));
            let seat = match stays {
                Some(seat) => seat.clone(),
                None => Seat::new(self.shared.clone(), partition, epoch),
            };
            seats.insert(index, seat);
        }
        Table {
            partition_count: topic.partitions.len(),
            seats,
        }
    }

    /// Another image was published: if topics are not what they were, the shards are told. Of all else they hear before their next
    /// decision.
    pub(crate) fn image_changed(&self) {
        let image = self.shared.metadata.published_arc();
        let before = std::mem::replace(&mut *self.told.lock(), image.clone());
        if Delta::between(&before, &image).topics().is_empty() {
            return;
        }
        if let Some(table) = &*self.table.load() {
            table.seats.values().for_each(|seat| seat.signal.set());
        }
    }

    /// The node begins to stop: what is decided is still committed and told, but whoever waits for what others must do first, members
    /// that join or partitions that are to be told of an end, is sent to another coordinator at once, now and from now on.
    pub(crate) fn dismiss(&self) {
        self.shared.is_stopping.store(true, Ordering::Release);
        if let Some(table) = &*self.table.load() {
            table.seats.values().for_each(|seat| seat.dismiss());
        }
    }

    /// Ends all: whoever waits is told so, and nothing is appended any more when this returns.
    pub(crate) async fn stop(&self) {
        let tasks = {
            let mut followed = self.followed.lock();
            followed.is_stopped = true;
            std::mem::take(&mut followed.tasks)
        };
        if let Some(table) = self.table.swap(None) {
            table.seats.values().for_each(|seat| seat.leave());
        }
        for (_, task) in tasks {
            task.abort();
            task.await;
        }
    }

    /// Lets go of everything at once, as a crash does.
    pub(crate) fn abort(&self) {
        let mut followed = self.followed.lock();
        followed.is_stopped = true;
        followed.tasks.values().for_each(Task::abort);
    }
}

impl<C: Coordinator> Table<C> {
    fn seat(&self, partition: i32) -> Result<&Arc<Seat<C>>, ErrorCode> {
        self.seats.get(&partition).ok_or(ErrorCode::NotCoordinator)
    }

    fn partition_of(&self, key: &Key<'_>) -> Result<i32, ErrorCode> {
        let partition = partition_of(&key.placed_by(), self.partition_count);
        let partition = partition.and_then(|partition| i32::try_from(partition).ok());
        partition.ok_or(ErrorCode::NotCoordinator)
    }
}

#[cfg(test)]
mod tests;
