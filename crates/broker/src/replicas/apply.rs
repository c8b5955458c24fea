//! Follows the metadata: opens, hands over, closes and deletes partitions as the cluster's state says.
//!
//! Always holds: one change is carried out at a time, before its image is published; deletions come first, so that a topic
//! of the same name can be made in the same change; a partition whose log dir fails is left out and its clients are told,
//! while the others go on. Partitions of one change are opened side by side: what they wait for is the device.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use klamm_env::Env;
use klamm_log::dir::FoundFuture;
use klamm_log::{Log, LogDir, LogError, RecoveryState, retire};
use klamm_metadata::delta::{Delta, LocalPartition};
use klamm_metadata::image::TopicImage;
use klamm_metadata::{Image, ResourceKind};
use klamm_model::{TopicId, TopicPartition, Uuid};
use parking_lot::Mutex;
use tracing::{error, info, warn};

use super::claims::{Claim, DirState, Folder, Found, Lying, Unclaimed};
use super::partition::Partition;
use super::places::{Places, cordon, place_of};
use super::settings::{Resolver, Settings};
use super::{Change, Committer, moves};
use crate::broker::Broker;
use crate::coordinators::groups;

/// Partitions that are opened side by side. A device that reads and syncs for many does it at little more than the price of
/// one.
const OPENED_AT_ONCE: usize = 16;

/// A log dir and the commit of its logs.
pub(crate) struct Store {
    pub(crate) dir: Arc<LogDir>,
    /// `directory.id`; `None` for one that never could be read.
    pub(crate) id: Option<Uuid>,
    /// New partitions go elsewhere (KIP-1066).
    pub(crate) cordoned: AtomicBool,
    pub(crate) committer: Arc<Committer>,
    /// A partition in it could not be opened: it must be recovered at the next start, whatever the end of this one.
    pub(crate) unopened: AtomicBool,
}

/// See the head of the file.
pub(crate) struct Applier {
    broker: Arc<Broker>,
    /// The folders that were there at the start and that no image has claimed yet.
    unclaimed: Unclaimed,
    started: bool,
    /// The log dirs whose failure has been followed.
    left: BTreeSet<usize>,
    /// Copies that were being made when the last process ended.
    futures: Vec<(usize, FoundFuture)>,
}

impl Applier {
    /// An applier that has carried out nothing. `found` is what lies in the log dirs.
    pub(crate) fn new(broker: Arc<Broker>, found: Found, futures: Vec<(usize, FoundFuture)>) -> Self {
        Self {
            broker,
            unclaimed: Unclaimed::new(found),
            started: false,
            left: BTreeSet::new(),
            futures,
        }
    }

    /// The partitions in log dirs that have failed are of no use any more: their clients are told so, whoever leads.
    pub(crate) fn leave_failed_dirs(&mut self) {
        let broker = &self.broker;
        let stores = broker.stores.iter().enumerate();
        let failed: Vec<usize> = stores
            .filter(|(place, store)| store.dir.failure().is_some() && !self.left.contains(place))
            .map(|(place, _)| place)
            .collect();
        if failed.is_empty() {
            return;
        }
        let mut partitions = broker.replicas.partitions();
        partitions
            .retain(|partition| place_of(broker, partition).is_some_and(|place| failed.contains(&place)));
        let fail = |partition: &Arc<Partition>| Change::Fail {
            id: partition.topic_id(),
            name: partition.topic().clone(),
            index: partition.index(),
        };
        broker.replicas.change(partitions.iter().map(fail).collect());
        partitions.iter().for_each(|partition| partition.storage_failed());
        self.left.extend(failed);
    }

    /// Carries out what leads from the published image to `image`, and publishes it.
    pub(crate) async fn apply(&mut self, image: Image) {
        self.leave_failed_dirs();
        let broker = self.broker.clone();
        let delta = Delta::between(&broker.metadata.published(), &image);
        let local = delta.for_broker(broker.id);
        self.remove(local.deleted.iter().chain(&local.unassigned)).await;
        let resolver = Resolver::new(&broker, &image);
        if !self.started || is_reconfigured(&broker, &delta) {
            let dynamic = resolver.dynamic();
            cordon(&broker, &dynamic.cordoned_log_dirs);
            broker.moves.limit(dynamic.log_dir_moves_bytes_per_second);
        }
        let places = Mutex::new(Places::of(&broker));
        let mut settings: BTreeMap<TopicId, Arc<Settings>> = BTreeMap::new();
        let mut opening = Vec::new();
        let mut changes = Vec::new();
        for held in local.leading.iter().chain(&local.following) {
            let topic = &held.topic;
            let settings = settings
                .entry(topic.id)
                .or_insert_with(|| Arc::new(resolver.topic(&topic.name)));
            match self.claim(held).await {
                None => {}
                Some(Folder::Missing(why)) => changes.push(self.missing(held, &why)),
                Some(folder) => opening.push(open(&broker, &places, folder, held, settings.clone())),
            }
        }
        let mut opened = stream::iter(opening).buffered(OPENED_AT_ONCE);
        while let Some(one) = opened.next().await {
            changes.push(self.opened(one));
        }
        drop(opened);
        broker.replicas.change(changes);
        if !self.started {
            self.started = true;
            self.set_strays_aside().await;
            self.go_on_moving().await;
        } else {
            reconfigure(&broker, &delta, &resolver);
        }
        configure_groups(&broker, &delta, &image, &resolver);
        // Before clients are sent here.
        let find = |topic: &TopicImage, index| {
            let held = broker.replicas.by_id(topic.id)?;
            held.partition(index).ok()
        };
        broker.groups.follow(broker.id, &image, find);
        broker.transactions.follow(broker.id, &image, find);
        broker.metadata.publish(image);
        broker.groups.image_changed();
        broker.transactions.image_changed();
    }

    /// The folder in which a partition is to be opened. One that is open already is given its role, and `None` is the answer.
    async fn claim(&mut self, held: &LocalPartition) -> Option<Folder> {
        let broker = self.broker.clone();
        let present = broker
            .replicas
            .by_id(held.topic.id)
            .and_then(|topic| topic.partition(held.partition).ok());
        if let Some(partition) = present {
            partition.follow(broker.id, &held.image);
            return None;
        }
        let name = TopicPartition::new(held.topic.name.clone(), held.partition);
        let stores = broker.stores.iter();
        let dirs: Vec<DirState> = stores
            .map(|store| DirState {
                id: store.id,
                online: store.dir.failure().is_none(),
            })
            .collect();
        let claim = Claim {
            name: &name,
            topic_id: held.topic.id,
            directory: held.image.directory(broker.id),
            may_be_old: !self.started || held.before.is_some(),
        };
        let (folder, others) = self.unclaimed.claim(&claim, &dirs);
        for place in others {
            warn!(partition = %name, "a folder of this name is not the partition's: set aside");
            self.set_aside(&name, place).await;
        }
        Some(folder)
    }

    /// A partition whose folder is not to be had.
    fn missing(&self, held: &LocalPartition, why: &str) -> Change {
        let (id, name, index) = (held.topic.id, held.topic.name.clone(), held.partition);
        error!(partition = %format_args!("{name}-{index}"), why, "the partition is not served");
        Change::Fail { id, name, index }
    }

    /// What follows from the attempt to open a partition.
    fn opened(&mut self, opened: Opened<'_>) -> Change {
        let Opened {
            held,
            name,
            place,
            settings,
            log,
        } = opened;
        let broker = &self.broker;
        let store = &broker.stores[place];
        match log {
            Ok(log) => {
                let partition = Partition::new(broker.env.clone(), store.committer.clone(), settings, log);
                partition.follow(broker.id, &held.image);
                self.unclaimed.opened(&name, place);
                broker.assignments.found(held, broker.id, store.id);
                Change::Put(partition)
            }
            Err(error) => {
                error!(partition = %name, %error, "the partition cannot be opened and is not served");
                store.unopened.store(true, Ordering::Relaxed);
                let (id, index) = (held.topic.id, held.partition);
                let topic_id = Some(id);
                let moves = 0;
                self.unclaimed.failed(
                    &name,
                    Lying {
                        place,
                        topic_id,
                        moves,
                    },
                );
                Change::Fail {
                    id,
                    name: name.topic,
                    index,
                }
            }
        }
    }

    /// Nobody finds the partitions any more, and their names are free, when this returns.
    async fn remove(&mut self, gone: impl Iterator<Item = &LocalPartition>) {
        let broker = self.broker.clone();
        let held_of = |gone: &LocalPartition| {
            let topic = broker.replicas.by_id(gone.topic.id)?;
            topic.partition(gone.partition).ok()
        };
        let gone: Vec<(&LocalPartition, Option<Arc<Partition>>)> =
            gone.map(|gone| (gone, held_of(gone))).collect();
        let removed = gone.iter().map(|(gone, _)| Change::Remove {
            id: gone.topic.id,
            index: gone.partition,
        });
        broker.replicas.change(removed.collect());
        let partitions: Vec<Arc<Partition>> = gone.iter().filter_map(|(_, held)| held.clone()).collect();
        partitions.iter().for_each(|partition| partition.leave());
        // From here on none of them moves to another log dir.
        if !partitions.is_empty() {
            broker
                .env
                .blocking(move || partitions.iter().for_each(retire))
                .await;
        }
        let mut leaving: BTreeMap<usize, Leaving> = BTreeMap::new();
        let mut unknown = Vec::new();
        for (gone, held) in gone {
            let name = TopicPartition::new(gone.topic.name.clone(), gone.partition);
            // It could not be opened: its folder has to go all the same.
            let (own, silent) = self.unclaimed.leave(&name, gone.topic.id);
            unknown.extend(silent.into_iter().map(|place| (name.clone(), place)));
            let place = held.as_ref().and_then(|partition| place_of(&broker, partition));
            for place in place.into_iter().chain(own).collect::<BTreeSet<_>>() {
                let leaving = leaving.entry(place).or_default();
                leaving.folders.push((name.clone(), broker.env.random_uuid()));
            }
            if let (Some(place), Some(partition)) = (place, held) {
                let delay = partition.settings().log.file_delete_delay;
                let leaving = leaving.entry(place).or_default();
                leaving.delay = leaving.delay.max(delay);
            }
        }
        // What does not say of which topic it is is not deleted with any.
        for (name, place) in unknown {
            self.set_aside(&name, place).await;
        }
        for (place, leaving) in leaving {
            let dir = broker.stores[place].dir.clone();
            leaving.remove(&broker.env, dir).await;
        }
    }

    /// Folders that the metadata does not know are kept under another name: data is not deleted on a guess. One that does not say
    /// of which topic it is stays if the metadata knows its name: whoever mends it finds it where it was.
    async fn set_strays_aside(&mut self) {
        let image = self.broker.metadata.applied();
        let known = |name: &TopicPartition, id: Option<TopicId>| {
            let of_name = || image.topics().by_name(&name.topic).map(|topic| topic.id);
            let id = id.or_else(of_name);
            id.is_some_and(|id| image.partition(&id, name.partition).is_some())
        };
        for (name, lying) in self.unclaimed.strays(known) {
            let id = lying.topic_id;
            warn!(partition = %name, ?id, "the metadata does not know this partition: its folder is set aside");
            self.set_aside(&name, lying.place).await;
        }
    }

    /// Goes on with the copies that were being made; those of partitions that are gone, or are there already, are removed.
    async fn go_on_moving(&mut self) {
        let broker = self.broker.clone();
        for (place, copy) in std::mem::take(&mut self.futures) {
            let image = broker.metadata.applied();
            let topic_id = copy
                .topic_id
                .filter(|id| image.partition(id, copy.partition).is_some());
            let topic = topic_id.and_then(|id| broker.replicas.by_id(id));
            let result = match (topic_id, topic.map(|topic| topic.partition(copy.partition))) {
                (Some(_), Some(Ok(partition))) if place_of(&broker, &partition) != Some(place) => {
                    info!(%partition, "goes on moving to another log dir");
                    moves::begin(&broker, &partition, place).await
                }
                // It may be all that is left of a partition that cannot be opened.
                (Some(_), None | Some(Err(_))) => Ok(()),
                (Some(_), Some(Ok(_))) | (None, _) => {
                    let (dir, unique) = (broker.stores[place].dir.clone(), broker.env.random_uuid());
                    broker
                        .env
                        .blocking(move || dir.remove_future(&copy, unique))
                        .await
                }
            };
            if let Err(error) = result {
                error!(%error, "cannot go on with the copy of a partition");
            }
        }
    }

    async fn set_aside(&self, name: &TopicPartition, place: usize) {
        let (dir, unique) = (
            self.broker.stores[place].dir.clone(),
            self.broker.env.random_uuid(),
        );
        let name = name.clone();
        let result = self
            .broker
            .env
            .blocking(move || dir.set_aside(&name, unique))
            .await;
        match result {
            Ok(path) => info!(path = %path.display(), "set aside"),
            Err(error) => error!(%error, "cannot set a folder aside"),
        }
    }
}

/// The partitions of one log dir that go.
#[derive(Default)]
struct Leaving {
    folders: Vec<(TopicPartition, Uuid)>,
    /// How long their files stay.
    delay: Duration,
}

impl Leaving {
    async fn remove(self, env: &Env, dir: Arc<LogDir>) {
        let Self { folders, delay } = self;
        let retired = {
            let dir = dir.clone();
            env.blocking(move || dir.retire(&folders))
        };
        let paths = match retired.await {
            Ok(paths) => paths,
            Err(error) => {
                return error!(dir = %dir.path().display(), %error, "cannot remove deleted partitions");
            }
        };
        // A read under way may still hold the files. Whoever waits here must not hold the log dir: when the node is gone,
        // the next start removes them.
        let (later, dir) = (env.clone(), Arc::downgrade(&dir));
        env.spawn(async move {
            later.sleep(delay).await;
            let Some(dir) = dir.upgrade() else { return };
            later
                .blocking(move || paths.iter().for_each(|path| remove_folder(&dir, path)))
                .await;
        });
    }
}

/// A partition after the attempt to open its log.
struct Opened<'a> {
    held: &'a LocalPartition,
    name: TopicPartition,
    place: usize,
    settings: Arc<Settings>,
    log: Result<Log, LogError>,
}

async fn open<'a>(
    broker: &Broker,
    places: &Mutex<Places>,
    folder: Folder,
    held: &'a LocalPartition,
    settings: Arc<Settings>,
) -> Opened<'a> {
    let now = broker.env.now();
    let name = TopicPartition::new(held.topic.name.clone(), held.partition);
    let (id, config) = (held.topic.id, settings.log_config(&broker.env));
    let place = places.lock().choose(folder, &name, broker);
    let dir = broker.stores[place].dir.clone();
    let opening = name.clone();
    let log = broker.env.blocking(move || {
        let recovery = RecoveryState {
            clean: dir.was_clean(),
            positions: dir.positions(&opening),
        };
        Log::open(&dir, &opening, id, config, recovery, now)
    });
    Opened {
        held,
        name,
        place,
        settings,
        log: log.await,
    }
}

fn remove_folder(dir: &LogDir, path: &Path) {
    if let Err(error) = dir.remove_folder(path) {
        error!(path = %path.display(), %error, "cannot remove the folder of a deleted partition");
    }
}

/// Whether what is set for this broker, or for all, has changed.
fn is_reconfigured(broker: &Broker, delta: &Delta) -> bool {
    delta.configs().iter().any(|(kind, name)| {
        *kind == ResourceKind::Broker && (name.is_empty() || **name == *broker.id.0.to_string())
    })
}

/// Has groups decided on under what is set for them now.
fn configure_groups(broker: &Broker, delta: &Delta, image: &Image, resolver: &Resolver<'_>) {
    let of_group = |(kind, _): &(ResourceKind, Arc<str>)| *kind == ResourceKind::Group;
    if is_reconfigured(broker, delta) || delta.configs().iter().any(of_group) {
        let config = groups::config(&broker.config.groups, resolver.layers(), image.configs());
        broker.groups.configure(config);
    }
}

/// Gives partitions whose configuration changed their new settings.
fn reconfigure(broker: &Broker, delta: &Delta, resolver: &Resolver<'_>) {
    let broker_changed = is_reconfigured(broker, delta);
    let topic_changed = |name: &str| {
        delta
            .configs()
            .iter()
            .any(|(kind, other)| *kind == ResourceKind::Topic && **other == *name)
    };
    for topic in broker.replicas.topics() {
        if broker_changed || topic_changed(&topic.name) {
            let settings = Arc::new(resolver.topic(&topic.name));
            topic
                .partitions()
                .for_each(|partition| partition.configure(settings.clone()));
        }
    }
    if broker_changed {
        broker.reconfigure(resolver.dynamic());
    }
}
