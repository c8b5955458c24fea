//! OffsetFetch: of the partitions that are asked for, or of all.
//!
//! With `require_stable`, a partition with an offset pending in a transaction is answered UNSTABLE_OFFSET_COMMIT, to be asked for
//! again. A topic that was deleted and made again has another id, and none of the offsets of the earlier one: who asks by name asks for
//! the topic that has the name now.
//!
//! Next: `delete.rs`.

use klamm_metadata::Image;
use klamm_model::{ErrorCode, TopicId};
use klamm_protocol::ByteString;
use klamm_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use klamm_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};

use super::{Committed, Offsets};

impl Offsets {
    /// The answer to somebody who may ask.
    pub(crate) fn fetch(
        &self,
        image: &Image,
        request: &OffsetFetchRequestGroup,
        require_stable: bool,
    ) -> OffsetFetchResponseGroup {
        let topics = match &request.topics {
            Some(_) => self.fetch_named(image, request, require_stable),
            None => self.fetch_all(image, &request.group_id, require_stable),
        };
        OffsetFetchResponseGroup {
            group_id: request.group_id.clone(),
            topics,
            ..Default::default()
        }
    }

    fn fetch_named(
        &self,
        image: &Image,
        request: &OffsetFetchRequestGroup,
        require_stable: bool,
    ) -> Vec<OffsetFetchResponseTopics> {
        let offsets = self.of(&request.group_id);
        let topics = request.topics.iter().flatten().map(|topic| {
            let id = if topic.topic_id.is_zero() {
                id_now(image, &topic.name)
            } else {
                topic.topic_id
            };
            let told = |partition| {
                if require_stable && self.pending.is_open(&request.group_id, &topic.name, partition) {
                    return nothing(partition, ErrorCode::UnstableOffsetCommit);
                }
                let committed = offsets.and_then(|offsets| offsets.get(&topic.name, partition));
                match committed.filter(|committed| may_be(committed.topic_id(), id)) {
                    Some(committed) => found(committed),
                    None => nothing(partition, ErrorCode::None),
                }
            };
            OffsetFetchResponseTopics {
                name: topic.name.clone(),
                topic_id: topic.topic_id,
                partitions: topic.partition_indexes.iter().copied().map(told).collect(),
                ..Default::default()
            }
        });
        topics.collect()
    }

    fn fetch_all(&self, image: &Image, group: &str, require_stable: bool) -> Vec<OffsetFetchResponseTopics> {
        let Some(offsets) = self.of(group) else {
            return Vec::new();
        };
        let topics = offsets.topics().filter_map(|(topic, partitions)| {
            let id = id_now(image, topic);
            let partitions = partitions.filter_map(|committed| {
                let partition = committed.partition();
                if require_stable && self.pending.is_open(group, topic, partition) {
                    return Some(nothing(partition, ErrorCode::UnstableOffsetCommit));
                }
                may_be(committed.topic_id(), id).then(|| found(committed))
            });
            let partitions: Vec<_> = partitions.collect();
            (!partitions.is_empty()).then(|| OffsetFetchResponseTopics {
                name: topic.into(),
                partitions,
                ..Default::default()
            })
        });
        topics.collect()
    }
}

/// The id of the topic that has the name now; zero if none has.
fn id_now(image: &Image, topic: &str) -> TopicId {
    let topic = image.topics().by_name(topic);
    topic.map_or(TopicId::ZERO, |topic| topic.id)
}

/// Whether these can be ids of one topic: zero stands for one that is not known.
fn may_be(one: TopicId, other: TopicId) -> bool {
    one.is_zero() || other.is_zero() || one == other
}

fn found(committed: Committed<'_>) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index: committed.partition(),
        committed_offset: committed.offset(),
        committed_leader_epoch: committed.leader_epoch(),
        metadata: Some(committed.metadata().into()),
        ..Default::default()
    }
}

fn nothing(partition_index: i32, code: ErrorCode) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(ByteString::new()),
        error_code: code.code(),
        ..Default::default()
    }
}
