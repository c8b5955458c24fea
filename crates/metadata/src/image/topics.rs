//! Topics and their partitions.
//!
//! Always holds: a topic is found by id and by name, and both ways lead to the same value; its partitions are numbered
//! from 0 without gaps. A partition at rest costs about 200 bytes here (its share of the limit of 1 KB).

use std::sync::Arc;

use imbl::OrdMap;
use klamm_model::{BrokerId, LeaderEpoch, TopicId, Uuid};

/// All topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topics {
    by_id: OrdMap<TopicId, Arc<TopicImage>>,
    by_name: OrdMap<Arc<str>, Arc<TopicImage>>,
}

impl Topics {
    /// The topic with this id.
    pub fn by_id(&self, id: &TopicId) -> Option<&Arc<TopicImage>> {
        self.by_id.get(id)
    }

    /// The topic with this name.
    pub fn by_name(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.by_name.get(name)
    }

    /// All topics, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<TopicImage>> {
        self.by_name.values()
    }

    /// The topics whose names come at or after `name`, in order.
    pub fn iter_from<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Arc<TopicImage>> + 'a {
        use std::ops::Bound::{Included, Unbounded};
        self.by_name
            .range::<_, str>((Included(name), Unbounded))
            .map(|(_, topic)| topic)
    }

    /// The number of topics.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(crate) fn ids(&self) -> &OrdMap<TopicId, Arc<TopicImage>> {
        &self.by_id
    }

    pub(crate) fn insert(&mut self, topic: Arc<TopicImage>) {
        self.by_name.insert(topic.name.clone(), topic.clone());
        self.by_id.insert(topic.id, topic);
    }

    pub(crate) fn remove(&mut self, id: &TopicId) -> Option<Arc<TopicImage>> {
        let topic = self.by_id.remove(id)?;
        self.by_name.remove(&*topic.name);
        Some(topic)
    }
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicImage {
    /// Its name.
    pub name: Arc<str>,
    /// The id of this incarnation of the name.
    pub id: TopicId,
    /// Its partitions; the index is the partition's number.
    pub partitions: Box<[Arc<PartitionImage>]>,
}

impl TopicImage {
    /// The partition with this number.
    pub fn partition(&self, partition: i32) -> Option<&PartitionImage> {
        self.shared_partition(partition).map(Arc::as_ref)
    }

    /// The partition with this number, to be kept.
    pub fn shared_partition(&self, partition: i32) -> Option<&Arc<PartitionImage>> {
        self.partitions.get(usize::try_from(partition).ok()?)
    }
}

/// Whether the leader was elected out of the in-sync replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LeaderRecovery {
    /// It was.
    #[default]
    Recovered,
    /// It was not, and has not yet recovered from that.
    Recovering,
}

impl LeaderRecovery {
    /// The number in records and messages.
    pub const fn code(self) -> i8 {
        match self {
            Self::Recovered => 0,
            Self::Recovering => 1,
        }
    }

    /// The state with this number.
    pub const fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(Self::Recovered),
            1 => Some(Self::Recovering),
            _ => None,
        }
    }
}

/// A partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionImage {
    /// The brokers that hold it, the preferred leader first.
    pub replicas: Box<[BrokerId]>,
    /// The log dir of each replica, in the order of `replicas`.
    pub directories: Box<[Uuid]>,
    /// The replicas that have all that was acknowledged.
    pub isr: Box<[BrokerId]>,
    /// Replicas that a reassignment takes away.
    pub removing: Box<[BrokerId]>,
    /// Replicas that a reassignment adds.
    pub adding: Box<[BrokerId]>,
    /// Replicas outside of the ISR that have all that was acknowledged (KIP-966).
    pub elr: Box<[BrokerId]>,
    /// The members that ISR or ELR last had, when both are empty (KIP-966).
    pub last_known_elr: Box<[BrokerId]>,
    /// Who leads; `None` while nobody can.
    pub leader: Option<BrokerId>,
    /// Grows with each change of the leader.
    pub leader_epoch: LeaderEpoch,
    /// Grows with each change at all.
    pub partition_epoch: i32,
    /// How the leader came to lead.
    pub recovery: LeaderRecovery,
}

impl PartitionImage {
    /// Whether `broker` holds a replica.
    pub fn is_replica(&self, broker: BrokerId) -> bool {
        self.replicas.contains(&broker)
    }

    /// The broker that leads whenever it can: the first replica.
    pub fn preferred(&self) -> Option<BrokerId> {
        self.replicas.first().copied()
    }

    /// Whether a reassignment is going on.
    pub fn is_reassigning(&self) -> bool {
        !self.removing.is_empty() || !self.adding.is_empty()
    }

    /// The log dir in which `broker` holds its replica, as far as it is known.
    pub fn directory(&self, broker: BrokerId) -> Option<Uuid> {
        let at = self.replicas.iter().position(|replica| *replica == broker)?;
        self.directories.get(at).copied()
    }
}

/// Ids of brokers as records and messages carry them.
pub(crate) fn raw(brokers: &[BrokerId]) -> Vec<i32> {
    brokers.iter().map(|broker| broker.0).collect()
}

/// Ids of brokers out of a record or message.
pub(crate) fn brokers(raw: &[i32]) -> Box<[BrokerId]> {
    raw.iter().map(|id| BrokerId(*id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_small() {
        assert!(size_of::<PartitionImage>() <= 136);
    }
}
