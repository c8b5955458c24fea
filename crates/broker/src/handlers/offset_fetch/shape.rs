//! OffsetFetch before version 8 asks about one group, and before version 2 tells errors of partitions alone: made into what later
//! versions ask, and back.

use klamm_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use klamm_protocol::messages::offset_fetch_response::{
    OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use klamm_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};

use super::{Fetched, is_refused};

/// Since this version the whole answer may be an error, and all partitions can be asked for.
const WHOLE: i16 = 2;
/// Since this version several groups are asked about.
const SEVERAL: i16 = 8;
/// Since this version topics are named by their ids.
pub(super) const BY_ID: i16 = 10;

/// The groups that are asked about.
pub(super) fn groups_of(version: i16, request: OffsetFetchRequest) -> Vec<OffsetFetchRequestGroup> {
    if version >= SEVERAL {
        return request.groups;
    }
    let topics = request.topics.map(|topics| {
        let topics = topics.into_iter().map(|topic| OffsetFetchRequestTopics {
            name: topic.name,
            partition_indexes: topic.partition_indexes,
            ..Default::default()
        });
        topics.collect()
    });
    vec![OffsetFetchRequestGroup {
        group_id: request.group_id,
        topics,
        ..Default::default()
    }]
}

/// The topics of a group that a refusal has to name.
pub(super) fn named_in_refusal(
    version: i16,
    group: &OffsetFetchRequestGroup,
) -> Vec<OffsetFetchRequestTopics> {
    match version {
        WHOLE.. => Vec::new(),
        _ => group.topics.clone().unwrap_or_default(),
    }
}

/// The answer, with what has to be named of each group if it was refused.
pub(super) fn response_of(version: i16, answered: Vec<Fetched>) -> OffsetFetchResponse {
    if version >= SEVERAL {
        return OffsetFetchResponse {
            groups: answered.into_iter().map(|(_, group)| group).collect(),
            ..Default::default()
        };
    }
    let Some((wanted, group)) = answered.into_iter().next() else {
        return OffsetFetchResponse::default();
    };
    let refused = is_refused(&group).then_some(group.error_code);
    let topics = match refused {
        Some(code) => wanted
            .into_iter()
            .map(|topic| refused_topic(topic, code))
            .collect(),
        None => group.topics.into_iter().map(answered_topic).collect(),
    };
    OffsetFetchResponse {
        topics,
        // The protocol leaves it out before version 2.
        error_code: match version {
            WHOLE.. => group.error_code,
            _ => 0,
        },
        ..Default::default()
    }
}

fn answered_topic(
    topic: klamm_protocol::messages::offset_fetch_response::OffsetFetchResponseTopics,
) -> OffsetFetchResponseTopic {
    let partitions = topic
        .partitions
        .into_iter()
        .map(|partition| OffsetFetchResponsePartition {
            partition_index: partition.partition_index,
            committed_offset: partition.committed_offset,
            committed_leader_epoch: partition.committed_leader_epoch,
            metadata: partition.metadata,
            error_code: partition.error_code,
            ..Default::default()
        });
    OffsetFetchResponseTopic {
        name: topic.name,
        partitions: partitions.collect(),
        ..Default::default()
    }
}

fn refused_topic(topic: OffsetFetchRequestTopics, error_code: i16) -> OffsetFetchResponseTopic {
    let partitions =
        topic
            .partition_indexes
            .into_iter()
            .map(|partition_index| OffsetFetchResponsePartition {
                partition_index,
                committed_offset: -1,
                committed_leader_epoch: -1,
                metadata: Some(Default::default()),
                error_code,
                ..Default::default()
            });
    OffsetFetchResponseTopic {
        name: topic.name,
        partitions: partitions.collect(),
        ..Default::default()
    }
}
