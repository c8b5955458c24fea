//! The partitions that this broker holds.
//!
//! Always holds: the table is replaced as a whole, so a request sees one state of it and takes no lock; a partition in
//! the table is open, or known to be impossible to use. [`partition`] is one of them, [`apply`] follows the metadata, [`commit`] makes appends durable,
//! [`upkeep`] removes what is too old, [`cleaner`] compacts.

mod apply;
mod assignments;
mod claims;
mod cleaner;
mod commit;
pub(crate) mod moves;
mod outcome;
mod partition;
mod places;
mod scrub;
mod settings;
mod standing;
mod upkeep;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use bytestring::ByteString;
use imbl::OrdMap;
use klamm_model::{ErrorCode, TopicId};

pub(crate) use self::apply::{Applier, Store};
pub(crate) use self::assignments::Assignments;
pub(crate) use self::claims::{Found, Lying};
pub(crate) use self::cleaner::Figures;
pub(crate) use self::commit::Committer;
pub(crate) use self::outcome::{Appended, Isolation, ReadOutcome, ReadSpec, Refusal, Watched, Watcher};
pub(crate) use self::partition::{Asking, Partition, WriteError, Written};
pub(crate) use self::scrub::Damage;
pub(crate) use self::settings::Resolver;
#[cfg(test)]
pub(crate) use self::settings::Settings;
pub(crate) use self::standing::believed_epoch;
pub(crate) use self::upkeep::Upkeep;

/// What is here of one partition.
#[derive(Clone, Debug)]
enum Held {
    /// Nothing: another broker has it.
    Elsewhere,
    Open(Arc<Partition>),
    /// Its data, which could not be opened, or whose log dir has failed.
    Offline,
}

/// The partitions of one topic that are here.
#[derive(Clone, Debug)]
pub(crate) struct TopicReplicas {
    pub(crate) id: TopicId,
    pub(crate) name: Arc<str>,
    /// The name as answers carry it.
    pub(crate) wire_name: ByteString,
    /// By number.
    partitions: Vec<Held>,
}

impl TopicReplicas {
    /// The partition `index`, or what a client is told instead.
    pub(crate) fn partition(&self, index: i32) -> Result<Arc<Partition>, ErrorCode> {
        self.get(index).cloned()
    }

    /// [`Self::partition`], for as long as the topic is looked at.
    pub(crate) fn get(&self, index: i32) -> Result<&Arc<Partition>, ErrorCode> {
        let held = usize::try_from(index)
            .ok()
            .and_then(|index| self.partitions.get(index));
        match held {
            Some(Held::Open(partition)) => Ok(partition),
            Some(Held::Offline) => Err(ErrorCode::KafkaStorageError),
            Some(Held::Elsewhere) | None => Err(ErrorCode::UnknownTopicOrPartition),
        }
    }

    fn put(&mut self, index: i32, held: Held) {
        let index = usize::try_from(index).expect("the metadata has no negative partitions");
        if self.partitions.len() <= index {
            self.partitions.resize(index + 1, Held::Elsewhere);
        }
        self.partitions[index] = held;
    }

    /// All that are open here.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = &Arc<Partition>> {
        self.partitions.iter().filter_map(|held| match held {
            Held::Open(partition) => Some(partition),
            Held::Elsewhere | Held::Offline => None,
        })
    }

    /// The numbers of those whose data is here and cannot be used.
    pub(crate) fn offline(&self) -> impl Iterator<Item = usize> {
        let numbered = self.partitions.iter().enumerate();
        numbered.filter_map(|(index, held)| matches!(held, Held::Offline).then_some(index))
    }
}

/// Finds partitions.
#[derive(Debug, Default)]
pub(crate) struct Replicas {
    table: ArcSwap<Table>,
}

#[derive(Clone, Debug, Default)]
struct Table {
    by_id: OrdMap<TopicId, Arc<TopicReplicas>>,
    by_name: OrdMap<Arc<str>, Arc<TopicReplicas>>,
}

/// The table at one moment. Looking something up in it takes no part in counting who uses it, which all threads would
/// write to.
pub(crate) struct View(Guard<Arc<Table>>);

impl View {
    /// The topic with this id.
    pub(crate) fn by_id(&self, id: TopicId) -> Option<&Arc<TopicReplicas>> {
        self.0.by_id.get(&id)
    }

    /// The topic with this name.
    pub(crate) fn by_name(&self, name: &str) -> Option<&Arc<TopicReplicas>> {
        self.0.by_name.get(name)
    }
}

impl Replicas {
    /// The table as it is now.
    pub(crate) fn view(&self) -> View {
        View(self.table.load())
    }

    /// The topic with this id.
    pub(crate) fn by_id(&self, id: TopicId) -> Option<Arc<TopicReplicas>> {
        self.table.load().by_id.get(&id).cloned()
    }

    /// The topic with this name.
    pub(crate) fn by_name(&self, name: &str) -> Option<Arc<TopicReplicas>> {
        self.table.load().by_name.get(name).cloned()
    }

    /// All topics, by id.
    pub(crate) fn topics(&self) -> Vec<Arc<TopicReplicas>> {
        self.table.load().by_id.values().cloned().collect()
    }

    /// All partitions.
    pub(crate) fn partitions(&self) -> Vec<Arc<Partition>> {
        let table = self.table.load();
        table
            .by_id
            .values()
            .flat_map(|topic| topic.partitions().cloned().collect::<Vec<_>>())
            .collect()
    }

    /// Changes the table in one step. Only [`Applier`] does so, so no two changes meet.
    fn change(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let mut table = Table::clone(&self.table.load());
        // Each topic is copied once, however many of its partitions change.
        let mut topics = BTreeMap::new();
        for change in changes {
            match change {
                Change::Put(partition) => {
                    let (id, name) = (partition.topic_id(), partition.topic().clone());
                    let index = partition.index();
                    let topic = topics.entry(id).or_insert_with(|| table.topic(id, name));
                    topic.put(index, Held::Open(partition));
                }
                Change::Fail { id, name, index } => {
                    let topic = topics.entry(id).or_insert_with(|| table.topic(id, name));
                    topic.put(index, Held::Offline);
                }
                Change::Remove { id, index } => {
                    let Some(name) = table.by_id.get(&id).map(|topic| topic.name.clone()) else {
                        continue;
                    };
                    let topic = topics.entry(id).or_insert_with(|| table.topic(id, name));
                    topic.put(index, Held::Elsewhere);
                }
            }
        }
        topics.into_values().for_each(|topic| table.set(topic));
        self.table.store(Arc::new(table));
    }
}

/// A change of the table.
enum Change {
    Put(Arc<Partition>),
    /// It is here and cannot be used.
    Fail {
        id: TopicId,
        name: Arc<str>,
        index: i32,
    },
    Remove {
        id: TopicId,
        index: i32,
    },
}

impl Table {
    /// The topic as it is, to be changed.
    fn topic(&self, id: TopicId, name: Arc<str>) -> TopicReplicas {
        match self.by_id.get(&id) {
            Some(topic) => TopicReplicas::clone(topic),
            None => TopicReplicas {
                id,
                wire_name: ByteString::from(name.to_string()),
                name,
                partitions: Vec::new(),
            },
        }
    }

    fn set(&mut self, topic: TopicReplicas) {
        let topic = Arc::new(topic);
        let is_empty = |held: &Held| matches!(held, Held::Elsewhere);
        if !topic.partitions.iter().all(is_empty) {
            self.by_name.insert(topic.name.clone(), topic.clone());
            self.by_id.insert(topic.id, topic);
            return;
        }
        self.by_id.remove(&topic.id);
        // A topic of the same name may have come meanwhile.
        if self
            .by_name
            .get(&topic.name)
            .is_some_and(|other| other.id == topic.id)
        {
            self.by_name.remove(&topic.name);
        }
    }
}
