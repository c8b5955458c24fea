//! What a shard of the group coordinator answers, and how it refuses.
//!
//! Next: `request.rs`.

use std::sync::Arc;

use klamm_model::ErrorCode;
use klamm_model::limits::MAX_STRING_BYTES;
use klamm_protocol::ByteString;
use klamm_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use klamm_protocol::messages::{
    ConsumerGroupHeartbeatResponse, HeartbeatResponse, JoinGroupResponse, LeaveGroupResponse,
    ListGroupsResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteResponse, SyncGroupResponse,
    TxnOffsetCommitRequest, TxnOffsetCommitResponse, consumer_group_describe_response,
    delete_groups_response, describe_groups_response, offset_commit_response, txn_offset_commit_response,
};

use crate::contract;

/// One variant for each variant of [`Request`](super::Request).
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Answer {
    JoinGroup(JoinGroupResponse),
    SyncGroup(SyncGroupResponse),
    Heartbeat(HeartbeatResponse),
    LeaveGroup(LeaveGroupResponse),
    OffsetCommit(OffsetCommitResponse),
    TxnOffsetCommit(TxnOffsetCommitResponse),
    OffsetFetch(OffsetFetchResponseGroup),
    OffsetDelete(OffsetDeleteResponse),
    DescribeGroups(Vec<describe_groups_response::DescribedGroup>),
    ListGroups(ListGroupsResponse),
    DeleteGroups(Vec<delete_groups_response::DeletableGroupResult>),
    ConsumerGroupHeartbeat(ConsumerGroupHeartbeatResponse),
    ConsumerGroupDescribe(Vec<consumer_group_describe_response::DescribedGroup>),
}

/// What a refusal needs to know of the request. A request that may wait for long is not kept alive by it.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Shape {
    JoinGroup {
        member_id: Box<str>,
        version: i16,
    },
    SyncGroup,
    Heartbeat,
    LeaveGroup,
    OffsetCommit(Arc<OffsetCommitRequest>),
    TxnOffsetCommit(Arc<TxnOffsetCommitRequest>),
    /// The group.
    OffsetFetch(ByteString),
    OffsetDelete,
    DescribeGroups(Vec<ByteString>),
    ListGroups,
    DeleteGroups(Vec<ByteString>),
    ConsumerGroupHeartbeat,
    ConsumerGroupDescribe(Vec<ByteString>),
}

impl contract::Answer for Answer {
    type Shape = Shape;

    fn refused(shape: &Shape, code: ErrorCode) -> Self {
        let error_code = code.code();
        match shape {
            Shape::JoinGroup { member_id, version } => {
                Self::JoinGroup(refused_join(member_id, *version, code))
            }
            Shape::SyncGroup => Self::SyncGroup(SyncGroupResponse {
                error_code,
                ..Default::default()
            }),
            Shape::Heartbeat => Self::Heartbeat(HeartbeatResponse {
                error_code,
                ..Default::default()
            }),
            Shape::LeaveGroup => Self::LeaveGroup(LeaveGroupResponse {
                error_code,
                ..Default::default()
            }),
            Shape::OffsetCommit(request) => Self::OffsetCommit(refused_commit(request, error_code)),
            Shape::TxnOffsetCommit(request) => {
                Self::TxnOffsetCommit(refused_transactional_commit(request, error_code))
            }
            Shape::OffsetFetch(group_id) => Self::OffsetFetch(OffsetFetchResponseGroup {
                group_id: group_id.clone(),
                error_code,
                ..Default::default()
            }),
            Shape::OffsetDelete => Self::OffsetDelete(OffsetDeleteResponse {
                error_code,
                ..Default::default()
            }),
            Shape::DescribeGroups(groups) => Self::DescribeGroups(for_each(groups, |group_id| {
                describe_groups_response::DescribedGroup {
                    error_code,
                    group_id,
                    ..Default::default()
                }
            })),
            Shape::ListGroups => Self::ListGroups(ListGroupsResponse {
                error_code,
                ..Default::default()
            }),
            Shape::DeleteGroups(groups) => Self::DeleteGroups(for_each(groups, |group_id| {
                delete_groups_response::DeletableGroupResult {
                    error_code,
                    group_id,
                    ..Default::default()
                }
            })),
            Shape::ConsumerGroupHeartbeat => Self::ConsumerGroupHeartbeat(ConsumerGroupHeartbeatResponse {
                error_code,
                ..Default::default()
            }),
            Shape::ConsumerGroupDescribe(groups) => {
                Self::ConsumerGroupDescribe(for_each(groups, |group_id| {
                    consumer_group_describe_response::DescribedGroup {
                        error_code,
                        group_id,
                        ..Default::default()
                    }
                }))
            }
        }
    }
}

/// The answer to a JoinGroup that is refused; before version 7 the name of the protocol could not be missing.
pub(super) fn refused_join(member_id: &str, version: i16, code: ErrorCode) -> JoinGroupResponse {
    JoinGroupResponse {
        error_code: code.code(),
        member_id: member_id.into(),
        protocol_name: (version < 7).then(ByteString::new),
        ..Default::default()
    }
}

/// What somebody is told in words, as far as an answer has room for it: the name of a group alone may take all of that.
pub(super) fn in_words(mut words: String) -> ByteString {
    words.truncate(words.floor_char_boundary(MAX_STRING_BYTES));
    words.into()
}

fn for_each<T>(groups: &[ByteString], answer: impl Fn(ByteString) -> T) -> Vec<T> {
    groups.iter().cloned().map(answer).collect()
}

fn refused_commit(request: &OffsetCommitRequest, error_code: i16) -> OffsetCommitResponse {
    use offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
    let topics = request.topics.iter().map(|topic| OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .iter()
            .map(|partition| OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    });
    OffsetCommitResponse {
        topics: topics.collect(),
        ..Default::default()
    }
}

fn refused_transactional_commit(
    request: &TxnOffsetCommitRequest,
    error_code: i16,
) -> TxnOffsetCommitResponse {
    use txn_offset_commit_response::{TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic};
    let topics = request.topics.iter().map(|topic| TxnOffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .iter()
            .map(|partition| TxnOffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    });
    TxnOffsetCommitResponse {
        topics: topics.collect(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_an_answer_has_no_room_for_are_cut() {
        for (words, expected) in [
            ("short".to_owned(), 5),
            ("a".repeat(40_000), MAX_STRING_BYTES),
            // Two bytes each, and an odd number of bytes.
            ("\u{e4}".repeat(40_000), MAX_STRING_BYTES - 1),
        ] {
            assert_eq!(in_words(words).len(), expected);
        }
    }
}
