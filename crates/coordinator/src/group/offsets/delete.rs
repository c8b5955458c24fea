//! OffsetDelete, and what goes with a topic or a group.
//!
//! Next: `expire.rs`.

use klamm_metadata::TopicImage;
use klamm_model::ErrorCode;
use klamm_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use klamm_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use super::{Offsets, tombstone};
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

    /// Deletes the offsets of a topic that is gone, but for those of another one of this name; at most so many.
    pub(crate) fn delete_topic(&self, topic: &TopicImage, most: usize) -> Vec<GroupRecord> {
        let is_of_it = |id: klamm_model::TopicId| id.is_zero() || id == topic.id;
        let kept = self.groups().flat_map(|(group, offsets)| {
            let partitions = offsets
                .partitions(&topic.name)
                .filter(|committed| is_of_it(committed.topic_id()));
            partitions.map(|committed| tombstone(group, &topic.name, committed.partition()))
        });
        let pending = self.pending.of_topic(&topic.name);
        let pending = pending.filter(|(_, _, committed)| is_of_it(committed.topic_id));
        let pending = pending.map(|(group, partition, _)| tombstone(group, &topic.name, partition));
        kept.chain(pending).take(most).collect()
    }
}
