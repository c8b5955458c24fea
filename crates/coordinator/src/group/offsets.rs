//! The offsets that groups have committed.
//!
//! Always holds: an offset takes 32 bytes here beside the names of its group and topic, which are kept once each per group and once
//! per shard; only metadata, an expiry of its own (as old clients asked for), and a topic id that differs from its neighbours'
//! take more. What is committed in a transaction is pending until the marker comes, and counts then if nothing was committed after
//! it. A topic without offsets, and a group without topics, is not kept.
//!
//! Next: `offsets/commit.rs`, `fetch.rs` and `delete.rs` for the requests, `expire.rs` for what goes by itself.

pub(crate) mod commit;
pub(crate) mod delete;
pub(crate) mod expire;
pub(crate) mod fetch;
pub(crate) mod pending;
mod sorted;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use klamm_model::{Offset, TimestampMs, TopicId};
use klamm_protocol::coordinator_records::{
    LegacyOffsetCommitKey, LegacyOffsetCommitValue, OffsetCommitKey, OffsetCommitValue,
};

use super::record::GroupRecord;
use crate::contract::TransactionalProducer;
use pending::Pending;
use sorted::{Keyed, Sorted};

/// An offset as it was committed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CommittedOffset {
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: Box<str>,
    pub(crate) committed_at: TimestampMs,
    /// When it goes, whatever the group does.
    pub(crate) expires_at: Option<TimestampMs>,
    /// Zero where it is not known.
    pub(crate) topic_id: TopicId,
    /// Where it was recorded.
    pub(crate) recorded_at: Offset,
}

impl CommittedOffset {
    /// Copies what was recorded.
    fn from_record(recorded_at: Offset, value: &OffsetCommitValue) -> Self {
        Self {
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            metadata: (&*value.metadata).into(),
            committed_at: TimestampMs(value.commit_timestamp),
            expires_at: (value.expire_timestamp != -1).then_some(TimestampMs(value.expire_timestamp)),
            topic_id: value.topic_id,
            recorded_at,
        }
    }
}

/// An offset as it is kept.
#[derive(Debug)]
struct Kept {
    partition: i32,
    leader_epoch: i32,
    offset: i64,
    committed_at: i64,
    recorded_at: i64,
}

/// What few offsets have.
#[derive(Debug)]
struct Rare {
    metadata: Box<str>,
    expires_at: Option<TimestampMs>,
    topic_id: TopicId,
}

const _: () = assert!(size_of::<Kept>() == 32, "there may be millions of them");

#[derive(Debug)]
struct Topic {
    name: Arc<str>,
    /// Of all partitions that do not say otherwise.
    id: TopicId,
    partitions: Sorted<Kept>,
    rare: Option<Box<Rares>>,
}

/// What is rare, by partition; of few topics, so that the others have no room for it.
#[derive(Debug, Default)]
struct Rares(BTreeMap<i32, Rare>);

impl Keyed for Kept {
    type Key = i32;

    fn key(&self) -> &i32 {
        &self.partition
    }
}

impl Keyed for Topic {
    type Key = str;

    fn key(&self) -> &str {
        &self.name
    }
}

/// A committed offset, looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Committed<'a> {
    topic: &'a Topic,
    kept: &'a Kept,
}

impl Committed<'_> {
    pub(crate) fn partition(&self) -> i32 {
        self.kept.partition
    }

    pub(crate) fn offset(&self) -> i64 {
        self.kept.offset
    }

    pub(crate) fn leader_epoch(&self) -> i32 {
        self.kept.leader_epoch
    }

    pub(crate) fn metadata(&self) -> &str {
        self.rare().map_or("", |rare| &rare.metadata)
    }

    pub(crate) fn committed_at(&self) -> TimestampMs {
        TimestampMs(self.kept.committed_at)
    }

    pub(crate) fn expires_at(&self) -> Option<TimestampMs> {
        self.rare().and_then(|rare| rare.expires_at)
    }

    pub(crate) fn topic_id(&self) -> TopicId {
        self.rare().map_or(self.topic.id, |rare| rare.topic_id)
    }

    fn rare(&self) -> Option<&Rare> {
        self.topic.rare.as_ref()?.0.get(&self.kept.partition)
    }
}

/// The offsets of a group.
#[derive(Debug, Default)]
pub(crate) struct GroupOffsets {
    topics: Sorted<Topic>,
}

impl GroupOffsets {
    pub(crate) fn get(&self, topic: &str, partition: i32) -> Option<Committed<'_>> {
        let topic = self.topics.get(topic)?;
        let kept = topic.partitions.get(&partition)?;
        Some(Committed { topic, kept })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.topics.iter().map(|topic| topic.partitions.len()).sum()
    }

    /// All topics, in the order of their names.
    pub(crate) fn topics(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = Committed<'_>>)> {
        self.topics.iter().map(|topic| (&*topic.name, topic.committed()))
    }

    /// The partitions of a topic, in their order.
    pub(crate) fn partitions(&self, topic: &str) -> impl Iterator<Item = Committed<'_>> {
        self.topics.get(topic).into_iter().flat_map(Topic::committed)
    }

    fn put(
        &mut self,
        names: &mut BTreeSet<Arc<str>>,
        topic: &str,
        partition: i32,
        committed: CommittedOffset,
    ) {
        if let Some(topic) = self.topics.get_mut(topic) {
            topic.put(partition, committed);
            return;
        }
        let name = names.get(topic).cloned().unwrap_or_else(|| {
            let name: Arc<str> = topic.into();
            names.insert(name.clone());
            name
        });
        let topic = Topic {
            name,
            id: committed.topic_id,
            partitions: Sorted::default(),
            rare: None,
        };
        self.topics.put(topic).put(partition, committed);
    }
}

impl Topic {
    fn committed(&self) -> impl Iterator<Item = Committed<'_>> {
        self.partitions.iter().map(|kept| Committed { topic: self, kept })
    }

    fn put(&mut self, partition: i32, committed: CommittedOffset) {
        let is_rare =
            !committed.metadata.is_empty() || committed.expires_at.is_some() || committed.topic_id != self.id;
        self.partitions.put(Kept {
            partition,
            leader_epoch: committed.leader_epoch,
            offset: committed.offset,
            committed_at: committed.committed_at.0,
            recorded_at: committed.recorded_at.0,
        });
        if is_rare {
            let rare = Rare {
                metadata: committed.metadata,
                expires_at: committed.expires_at,
                topic_id: committed.topic_id,
            };
            self.rare.get_or_insert_default().0.insert(partition, rare);
        } else {
            self.remove_rare(partition);
        }
    }

    fn remove(&mut self, partition: i32) {
        self.partitions.remove(&partition);
        self.remove_rare(partition);
    }

    fn remove_rare(&mut self, partition: i32) {
        if let Some(rare) = &mut self.rare {
            rare.0.remove(&partition);
            if rare.0.is_empty() {
                self.rare = None;
            }
        }
    }
}

/// See the head of the file.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    groups: BTreeMap<Arc<str>, GroupOffsets>,
    /// The names of all topics here, which the groups share.
    names: BTreeSet<Arc<str>>,
    pending: Pending,
}

impl Offsets {
    /// What a group has committed.
    pub(crate) fn of(&self, group: &str) -> Option<&GroupOffsets> {
        self.groups.get(group)
    }

    /// The groups that have committed something, in their order.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (&Arc<str>, &GroupOffsets)> {
        self.groups.iter()
    }

    /// Those of them whose names are in a range.
    pub(crate) fn groups_in<'a>(
        &'a self,
        names: (Bound<&str>, Bound<&str>),
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a GroupOffsets)> + use<'a> {
        self.groups.range::<str, _>(names)
    }

    /// What is committed in transactions that have not ended.
    pub(crate) fn pending(&self) -> &Pending {
        &self.pending
    }

    /// Whether a group has offsets, if only in a transaction.
    pub(crate) fn has(&self, group: &str) -> bool {
        self.groups.contains_key(group) || self.pending.has(group)
    }

    /// Takes over a commit, or takes one back.
    pub(crate) fn replay(
        &mut self,
        recorded_at: Offset,
        producer: Option<TransactionalProducer>,
        key: &OffsetCommitKey,
        value: Option<&OffsetCommitValue>,
    ) {
        let (group, topic, partition) = (&*key.group, &*key.topic, key.partition);
        match (
            value.map(|value| CommittedOffset::from_record(recorded_at, value)),
            producer,
        ) {
            (Some(committed), None) => self.put(group, topic, partition, committed),
            (Some(committed), Some(producer)) => {
                self.pending.put(producer, group, topic, partition, committed)
            }
            (None, _) => {
                self.remove(group, topic, partition);
                self.pending.remove(group, topic, partition);
            }
        }
    }

    /// A transaction has ended; gives the groups of which it had offsets.
    pub(crate) fn end_transaction(
        &mut self,
        producer: TransactionalProducer,
        committed: bool,
    ) -> BTreeSet<Arc<str>> {
        let mut groups = BTreeSet::new();
        for (group, topic, partition, pending) in self.pending.end(producer) {
            // The record of what is pending may be the newer or the older one: compaction keeps both in their order.
            let newer = self
                .groups
                .get(&group)
                .and_then(|offsets| offsets.get(&topic, partition));
            if committed && newer.is_none_or(|newer| newer.kept.recorded_at < pending.recorded_at.0) {
                self.put(&group, &topic, partition, pending);
            }
            groups.insert(group);
        }
        groups
    }

    fn put(&mut self, group: &str, topic: &str, partition: i32, committed: CommittedOffset) {
        if let Some(offsets) = self.groups.get_mut(group) {
            offsets.put(&mut self.names, topic, partition, committed);
            return;
        }
        let mut offsets = GroupOffsets::default();
        offsets.put(&mut self.names, topic, partition, committed);
        self.groups.insert(group.into(), offsets);
    }

    fn remove(&mut self, group: &str, topic: &str, partition: i32) {
        let Some(offsets) = self.groups.get_mut(group) else {
            return;
        };
        let Some(kept) = offsets.topics.get_mut(topic) else {
            return;
        };
        kept.remove(partition);
        if kept.partitions.is_empty()
            && let Some(topic) = offsets.topics.remove(topic)
            // One is held by the set, one by the topic that was taken out.
            && Arc::strong_count(&topic.name) == 2
        {
            self.names.remove(&topic.name);
        }
        if offsets.topics.is_empty() {
            self.groups.remove(group);
        }
    }
}

/// A commit of the first brokers, which told no leader epoch, as later ones write it.
pub(crate) fn modern(
    key: LegacyOffsetCommitKey,
    value: Option<LegacyOffsetCommitValue>,
) -> (OffsetCommitKey, Option<OffsetCommitValue>) {
    let key = OffsetCommitKey {
        group: key.group,
        topic: key.topic,
        partition: key.partition,
    };
    let value = value.map(|value| OffsetCommitValue {
        offset: value.offset,
        metadata: value.metadata,
        commit_timestamp: value.commit_timestamp,
        ..Default::default()
    });
    (key, value)
}

/// Takes back the offset of a partition.
pub(crate) fn tombstone(group: &str, topic: &str, partition: i32) -> GroupRecord {
    let key = OffsetCommitKey {
        group: group.into(),
        topic: topic.into(),
        partition,
    };
    GroupRecord::OffsetCommit(key, None)
}
