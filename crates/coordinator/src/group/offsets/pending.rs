//! Offsets that were committed in transactions whose end is not known yet.
//!
//! Always holds: a partition is *open* as long as some producer has an offset of it pending, and no longer. A marker that is late, from
//! before the producer's epoch was raised, ends nothing of what came after it.
//!
//! Next: `offsets.rs`, which takes them over when the transaction commits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use klamm_model::{ProducerEpoch, ProducerId, TopicId};

use super::CommittedOffset;
use crate::contract::TransactionalProducer;

/// A partition of a topic of a group.
type Key = (Arc<str>, Arc<str>, i32);

/// Who has offsets pending, by topic and partition.
type Open = BTreeMap<Arc<str>, BTreeMap<i32, BTreeSet<ProducerId>>>;

/// What is pending, and in which epoch of its producer it was written.
type Written = (ProducerEpoch, CommittedOffset);

/// See the head of the file.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    by_producer: BTreeMap<ProducerId, BTreeMap<Key, Written>>,
    by_group: BTreeMap<Arc<str>, Open>,
}

impl Pending {
    /// Whether a group has any.
    pub(crate) fn has(&self, group: &str) -> bool {
        self.by_group.contains_key(group)
    }

    /// Whether a partition of a group is open.
    pub(crate) fn is_open(&self, group: &str, topic: &str, partition: i32) -> bool {
        let partitions = self.by_group.get(group).and_then(|topics| topics.get(topic));
        partitions.is_some_and(|partitions| partitions.contains_key(&partition))
    }

    /// The open partitions of a group.
    pub(crate) fn of(&self, group: &str) -> impl Iterator<Item = (&str, i32)> {
        let topics = self.by_group.get(group).into_iter().flatten();
        topics.flat_map(|(topic, partitions)| partitions.keys().map(|partition| (&**topic, *partition)))
    }

    /// The groups with open partitions, in their order.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_group.keys()
    }

    /// All that is pending of a topic, as (group, partition, offset).
    pub(crate) fn of_topic(&self, topic: &str) -> impl Iterator<Item = (&str, i32, &CommittedOffset)> {
        let all = self.by_producer.values().flatten();
        all.filter(move |((_, of, _), _)| **of == *topic)
            .map(|((group, _, partition), (_, committed))| (&**group, *partition, committed))
    }

    /// Of which topics offsets of a partition are pending: one of the name may be gone, and another one made.
    pub(super) fn topic_ids(
        &self,
        group: &str,
        topic: &str,
        partition: i32,
    ) -> impl Iterator<Item = TopicId> {
        let open = self.by_group.get_key_value(group).and_then(|(group, topics)| {
            let (topic, partitions) = topics.get_key_value(topic)?;
            let key: Key = (group.clone(), topic.clone(), partition);
            Some((key, partitions.get(&partition)?))
        });
        open.into_iter().flat_map(move |(key, producers)| {
            let written = |producer| self.by_producer.get(producer)?.get(&key);
            let ids = producers.iter().filter_map(written);
            ids.map(|(_, committed)| committed.topic_id).collect::<Vec<_>>()
        })
    }

    pub(super) fn put(
        &mut self,
        producer: TransactionalProducer,
        group: &str,
        topic: &str,
        partition: i32,
        committed: CommittedOffset,
    ) {
        let group: Arc<str> = self
            .by_group
            .get_key_value(group)
            .map_or_else(|| group.into(), |(group, _)| group.clone());
        let topics = self.by_group.entry(group.clone()).or_default();
        let topic: Arc<str> = topics
            .get_key_value(topic)
            .map_or_else(|| topic.into(), |(topic, _)| topic.clone());
        let partitions = topics.entry(topic.clone()).or_default();
        partitions.entry(partition).or_default().insert(producer.id);
        self.by_producer
            .entry(producer.id)
            .or_default()
            .insert((group, topic, partition), (producer.epoch, committed));
    }

    /// Takes out all that is pending of a partition.
    pub(super) fn remove(&mut self, group: &str, topic: &str, partition: i32) {
        let Some((group, topics)) = self.by_group.get_key_value(group) else {
            return;
        };
        let Some((topic, partitions)) = topics.get_key_value(topic) else {
            return;
        };
        let key = (group.clone(), topic.clone(), partition);
        for producer in partitions.get(&partition).cloned().into_iter().flatten() {
            self.close(producer, &key);
            if let Some(offsets) = self.by_producer.get_mut(&producer) {
                offsets.remove(&key);
                if offsets.is_empty() {
                    self.by_producer.remove(&producer);
                }
            }
        }
    }

    /// Takes out all that a producer has pending up to this epoch: a transaction may be ended in a later one than it was written in.
    pub(super) fn end(
        &mut self,
        producer: TransactionalProducer,
    ) -> Vec<(Arc<str>, Arc<str>, i32, CommittedOffset)> {
        let all = self.by_producer.remove(&producer.id).unwrap_or_default();
        let (ended, later): (BTreeMap<_, _>, BTreeMap<_, _>) = all
            .into_iter()
            .partition(|(_, (epoch, _))| *epoch <= producer.epoch);
        if !later.is_empty() {
            self.by_producer.insert(producer.id, later);
        }
        let ended = ended.into_iter().map(|(key, (_, committed))| {
            self.close(producer.id, &key);
            (key.0, key.1, key.2, committed)
        });
        ended.collect()
    }

    fn close(&mut self, producer: ProducerId, (group, topic, partition): &Key) {
        let Some(topics) = self.by_group.get_mut(group) else {
            return;
        };
        if let Some(partitions) = topics.get_mut(topic) {
            if let Some(producers) = partitions.get_mut(partition) {
                producers.remove(&producer);
                if producers.is_empty() {
                    partitions.remove(partition);
                }
            }
            if partitions.is_empty() {
                topics.remove(topic);
            }
        }
        if topics.is_empty() {
            self.by_group.remove(group);
        }
    }
}
