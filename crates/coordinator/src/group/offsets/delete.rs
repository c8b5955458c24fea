//! OffsetDelete, and what goes with a topic or a group.
//!
//! Next: `expire.rs`.

use klamm_model::{ErrorCode, TopicId};
use klamm_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use klamm_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use super::pending::Pending;
use super::{GroupOffsets, Offsets, tombstone};
use crate::group::record::GroupRecord;

impl Offsets {
    /// Deletes the offsets of topics that the group does not want, and the answer.
    pub(crate) fn delete(
        &self,
        request: &OffsetDeleteRequest,
        may_want: impl Fn(&str) -> bool,
    ) -> (Vec<GroupRecord>, OffsetDeleteResponse) {
        let group = &*request.group_id;
        let mut records = Vec::new();
        let topics = request.topics.iter().map(|topic| {
            let code = if may_want(&topic.name) {
                ErrorCode::GroupSubscribedToTopic
            } else {
                ErrorCode::None
            };
            for partition in topic.partitions.iter().filter(|_| code.is_none()) {
                let partition = partition.partition_index;
                let committed = self
                    .of(group)
                    .and_then(|offsets| offsets.get(&topic.name, partition));
                if committed.is_some() || self.pending.is_open(group, &topic.name, partition) {
                    records.push(tombstone(group, &topic.name, partition));
                }
            }
            let partitions = topic
                .partitions
                .iter()
                .map(|partition| OffsetDeleteResponsePartition {
                    partition_index: partition.partition_index,
                    error_code: code.code(),
                });
            OffsetDeleteResponseTopic {
                name: topic.name.clone(),
                partitions: partitions.collect(),
            }
        });
        let answer = OffsetDeleteResponse {
            topics: topics.collect(),
            ..Default::default()
        };
        (records, answer)
    }

    /// Deletes all offsets of a group.
    pub(crate) fn delete_all(&self, group: &str, records: &mut Vec<GroupRecord>) {
        let offsets = self.of(group);
        for (topic, partitions) in offsets.into_iter().flat_map(|offsets| offsets.topics()) {
            records.extend(partitions.map(|committed| tombstone(group, topic, committed.partition())));
        }
        for (topic, partition) in self.pending.of(group) {
            if offsets.is_none_or(|offsets| offsets.get(topic, partition).is_none()) {
                records.push(tombstone(group, topic, partition));
            }
        }
    }

    /// Deletes what is pending of a topic that is gone, but for that of another one of this name. The tombstone takes back what is
    /// committed for the partition as well: where that is of the other topic, what is pending stays until its transaction has ended.
    /// Whether all of it could go.
    pub(crate) fn delete_pending_of_topic(
        &self,
        topic: &str,
        id: TopicId,
        records: &mut Vec<GroupRecord>,
    ) -> bool {
        let mut all = true;
        for (group, partition, _) in self.pending.of_topic(topic) {
            let ids = || self.pending.topic_ids(group, topic, partition);
            let committed = self.of(group).and_then(|offsets| offsets.get(topic, partition));
            let is_free = committed.is_none_or(|committed| is_of(id, committed.topic_id()));
            if is_free && ids().all(|pending| is_of(id, pending)) {
                records.push(tombstone(group, topic, partition));
            } else {
                all &= !ids().any(|pending| is_of(id, pending));
            }
        }
        all
    }
}

impl GroupOffsets {
    /// Deletes the offsets of a topic that is gone, but for those of another one of this name. The tombstone of an offset takes back
    /// what is pending for its partition as well: where that is of the other topic, the offset stays until its transaction has ended.
    /// It is not told to who asks for that topic. Whether all of them could go.
    pub(crate) fn delete_topic(
        &self,
        group: &str,
        (topic, id): (&str, TopicId),
        pending: &Pending,
        records: &mut Vec<GroupRecord>,
    ) -> bool {
        let mut all = true;
        let partitions = self.partitions(topic);
        for committed in partitions.filter(|committed| is_of(id, committed.topic_id())) {
            let mut ids = pending.topic_ids(group, topic, committed.partition());
            if ids.all(|pending| is_of(id, pending)) {
                records.push(tombstone(group, topic, committed.partition()));
            } else {
                all = false;
            }
        }
        all
    }
}

/// Whether an offset is of a topic, as far as it says so.
fn is_of(topic: TopicId, said: TopicId) -> bool {
    said.is_zero() || said == topic
}
