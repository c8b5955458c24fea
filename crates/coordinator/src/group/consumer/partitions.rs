//! Sets of partitions, by topic: what a member is to have, and what it has.
//!
//! Always holds: topics come in order, and the partitions of each in order and once; a topic without partitions is not there. So
//! equal sets are equal values, and two of them are compared by walking along both.

use std::collections::BTreeMap;

use klamm_model::TopicId;
use klamm_protocol::coordinator_records::{
    consumer_group_current_member_assignment_value as current_value,
    consumer_group_target_assignment_member_value as target_value,
};
use klamm_protocol::messages::{
    consumer_group_heartbeat_request as request, consumer_group_heartbeat_response as response,
};

/// Partitions that a member is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partitions(BTreeMap<TopicId, Vec<i32>>);

impl Partitions {
    pub(super) const NONE: Self = Self(BTreeMap::new());

    /// Those of a topic.
    pub fn of(&self, topic: &TopicId) -> &[i32] {
        self.0.get(topic).map_or(&[], Vec::as_slice)
    }

    /// Topics with their partitions.
    pub fn iter(&self) -> impl Iterator<Item = (&TopicId, &[i32])> {
        self.0
            .iter()
            .map(|(topic, partitions)| (topic, partitions.as_slice()))
    }

    /// How many partitions.
    pub fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets the partitions of a topic.
    pub fn insert(&mut self, topic: TopicId, mut partitions: Vec<i32>) {
        partitions.sort_unstable();
        partitions.dedup();
        if partitions.is_empty() {
            self.0.remove(&topic);
        } else {
            partitions.shrink_to_fit();
            self.0.insert(topic, partitions);
        }
    }

    pub(super) fn from_record(topics: &[target_value::TopicPartition]) -> Self {
        let mut partitions = Self::default();
        for topic in topics {
            partitions.insert(topic.topic_id, topic.partitions.clone());
        }
        partitions
    }

    pub(super) fn to_record(&self) -> Vec<target_value::TopicPartition> {
        let topic = |(topic_id, partitions): (&TopicId, &[i32])| target_value::TopicPartition {
            topic_id: *topic_id,
            partitions: partitions.to_vec(),
            ..Default::default()
        };
        self.iter().map(topic).collect()
    }
}

impl FromIterator<(TopicId, Vec<i32>)> for Partitions {
    fn from_iter<I: IntoIterator<Item = (TopicId, Vec<i32>)>>(topics: I) -> Self {
        let mut partitions = Self::default();
        for (topic, numbers) in topics {
            partitions.insert(topic, numbers);
        }
        partitions
    }
}

/// A partition that a member has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its number.
    pub partition: i32,
    /// The assignment epoch: that of the member when it was given the partition. Offsets from before are not its own.
    pub since: i32,
}

/// Partitions that a member has, each since some epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings(BTreeMap<TopicId, Vec<Held>>);

impl Holdings {
    /// Those of a topic.
    pub fn of(&self, topic: &TopicId) -> &[Held] {
        self.0.get(topic).map_or(&[], Vec::as_slice)
    }

    /// The epoch since which the partition is held; `None` when it is not.
    pub fn since(&self, topic: &TopicId, partition: i32) -> Option<i32> {
        let held = self.of(topic);
        let at = held
            .binary_search_by_key(&partition, |held| held.partition)
            .ok()?;
        Some(held[at].since)
    }

    /// Topics with their partitions.
    pub fn iter(&self) -> impl Iterator<Item = (&TopicId, &[Held])> {
        self.0.iter().map(|(topic, held)| (topic, held.as_slice()))
    }

    /// The topics.
    pub fn topics(&self) -> impl Iterator<Item = &TopicId> {
        self.0.keys()
    }

    /// How many partitions.
    pub fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets the partitions of a topic; of one that is named twice the first counts.
    pub fn insert(&mut self, topic: TopicId, mut held: Vec<Held>) {
        held.sort_by_key(|held| held.partition);
        held.dedup_by_key(|held| held.partition);
        if held.is_empty() {
            self.0.remove(&topic);
        } else {
            held.shrink_to_fit();
            self.0.insert(topic, held);
        }
    }

    /// Adds partitions of a topic to those that are there.
    pub(super) fn extend(&mut self, topic: TopicId, more: &[Held]) {
        let mut held = self.of(&topic).to_vec();
        held.extend_from_slice(more);
        self.insert(topic, held);
    }

    pub(super) fn remove(&mut self, topic: &TopicId) -> Vec<Held> {
        self.0.remove(topic).unwrap_or_default()
    }

    /// The same partitions, held since epoch 0.
    pub(super) fn since_ever(&self) -> Self {
        let mut holdings = self.clone();
        for held in holdings.0.values_mut().flatten() {
            held.since = 0;
        }
        holdings
    }

    /// Whether a member that says it owns `owned` owns one of these. One that says nothing may still own all.
    pub(super) fn still_owned(&self, owned: Option<&[request::TopicPartitions]>) -> bool {
        owned.is_none_or(|owned| {
            owned.iter().any(|topic| {
                let held = |partition: &i32| self.since(&topic.topic_id, *partition).is_some();
                topic.partitions.iter().any(held)
            })
        })
    }

    /// `default_since` is for records of brokers that did not keep epochs by partition.
    pub(super) fn from_record(topics: &[current_value::TopicPartitions], default_since: i32) -> Self {
        let default_since = default_since.max(0);
        let mut holdings = Self::default();
        for topic in topics {
            let epochs = topic.assignment_epochs.as_deref().unwrap_or_default();
            let epochs = (epochs.len() == topic.partitions.len()).then_some(epochs);
            let held = topic.partitions.iter().enumerate().map(|(at, partition)| Held {
                partition: *partition,
                since: epochs.map_or(default_since, |epochs| epochs[at]),
            });
            holdings.insert(topic.topic_id, held.collect());
        }
        holdings
    }

    pub(super) fn to_record(&self) -> Vec<current_value::TopicPartitions> {
        let topic = |(topic_id, held): (&TopicId, &[Held])| current_value::TopicPartitions {
            topic_id: *topic_id,
            partitions: held.iter().map(|held| held.partition).collect(),
            assignment_epochs: Some(held.iter().map(|held| held.since).collect()),
            ..Default::default()
        };
        self.iter().map(topic).collect()
    }

    pub(super) fn to_response(&self) -> response::Assignment {
        let topic = |(topic_id, held): (&TopicId, &[Held])| response::TopicPartitions {
            topic_id: *topic_id,
            partitions: held.iter().map(|held| held.partition).collect(),
            ..Default::default()
        };
        response::Assignment {
            topic_partitions: self.iter().map(topic).collect(),
            ..Default::default()
        }
    }
}

impl FromIterator<(TopicId, Vec<Held>)> for Holdings {
    fn from_iter<I: IntoIterator<Item = (TopicId, Vec<Held>)>>(topics: I) -> Self {
        let mut holdings = Self::default();
        for (topic, held) in topics {
            holdings.insert(topic, held);
        }
        holdings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(number: u8) -> TopicId {
        let mut id = [0; 16];
        id[15] = number;
        klamm_model::Uuid(id)
    }

    fn recorded(partitions: &[i32], epochs: Option<&[i32]>) -> current_value::TopicPartitions {
        current_value::TopicPartitions {
            topic_id: topic(1),
            partitions: partitions.to_vec(),
            assignment_epochs: epochs.map(<[i32]>::to_vec),
            ..Default::default()
        }
    }

    fn owned(partitions: &[i32]) -> Vec<request::TopicPartitions> {
        vec![request::TopicPartitions {
            topic_id: topic(1),
            partitions: partitions.to_vec(),
            ..Default::default()
        }]
    }

    #[test]
    fn holdings_of_a_record_keep_their_epochs_or_take_the_members() {
        // (partitions, epochs, the member's epoch, what is held since when)
        type Row<'a> = (&'a [i32], Option<&'a [i32]>, i32, &'a [(i32, i32)]);
        let table: [Row<'_>; 6] = [
            (&[2, 0], Some(&[7, 8]), 9, &[(0, 8), (2, 7)]),
            (&[2, 0], Some(&[]), 9, &[(0, 9), (2, 9)]),
            (&[2, 0], None, 9, &[(0, 9), (2, 9)]),
            (&[2, 0], Some(&[1]), 9, &[(0, 9), (2, 9)]),
            (&[2, 0], None, -2, &[(0, 0), (2, 0)]),
            (&[2, 2], Some(&[7, 8]), 9, &[(2, 7)]),
        ];
        for (partitions, epochs, member, expected) in table {
            let holdings = Holdings::from_record(&[recorded(partitions, epochs)], member);
            let held = holdings
                .of(&topic(1))
                .iter()
                .map(|held| (held.partition, held.since));
            assert_eq!(held.collect::<Vec<_>>(), expected, "{partitions:?} {epochs:?}");
            assert_eq!(Holdings::from_record(&holdings.to_record(), 100), holdings);
        }
        assert_eq!(
            Holdings::from_record(&[recorded(&[], None)], 1),
            Holdings::default()
        );
    }

    #[test]
    fn what_a_member_says_it_owns_is_compared() {
        let holdings = Holdings::from_record(&[recorded(&[1, 2], None)], 1);
        let table = [
            (None, true),
            (Some(vec![]), false),
            (Some(owned(&[])), false),
            (Some(owned(&[2])), true),
            (Some(owned(&[3])), false),
            (Some(owned(&[1, 3])), true),
        ];
        for (owned, still) in table {
            assert_eq!(holdings.still_owned(owned.as_deref()), still, "{owned:?}");
        }
    }
}
