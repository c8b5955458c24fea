//! The records of a consumer group.
//!
//! Always holds: what a 4.4 broker writes, field by field; lists come in order. But for the previous epoch of a member: here it changes
//! with the epoch, there with every change of what the member has (`reconcile.rs`).

use klamm_protocol::ByteString;
use klamm_protocol::coordinator_records::{
    ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupMemberMetadataKey, ConsumerGroupMetadataKey,
    ConsumerGroupMetadataValue, ConsumerGroupPartitionMetadataKey, ConsumerGroupRegularExpressionKey,
    ConsumerGroupRegularExpressionValue, ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMemberValue, ConsumerGroupTargetAssignmentMetadataKey,
    ConsumerGroupTargetAssignmentMetadataValue,
};

use super::{ConsumerGroup, Current, Partitions, Resolved, Subscription};
use crate::group::record::GroupRecord;

/// Makes records of one group.
#[derive(Clone, Copy)]
pub(super) struct Recorder<'a> {
    pub(super) group_id: &'a ByteString,
}

impl Recorder<'_> {
    pub(super) fn epoch(self, epoch: i32, metadata_hash: i64) -> GroupRecord {
        let value = ConsumerGroupMetadataValue {
            epoch,
            metadata_hash,
            ..Default::default()
        };
        GroupRecord::ConsumerGroup(self.group_key(), Some(value))
    }

    pub(super) fn no_group(self) -> GroupRecord {
        GroupRecord::ConsumerGroup(self.group_key(), None)
    }

    pub(super) fn no_topics(self) -> GroupRecord {
        let key = ConsumerGroupPartitionMetadataKey {
            group_id: self.group_id.clone(),
        };
        GroupRecord::ConsumerGroupPartitionMetadata(key, None)
    }

    pub(super) fn subscription(
        self,
        member_id: &ByteString,
        subscription: Option<&Subscription>,
    ) -> GroupRecord {
        let key = ConsumerGroupMemberMetadataKey {
            group_id: self.group_id.clone(),
            member_id: member_id.clone(),
        };
        GroupRecord::ConsumerGroupMember(key, subscription.map(Subscription::to_record))
    }

    pub(super) fn target_epoch(self, epoch: i32, made_at: i64) -> GroupRecord {
        let value = ConsumerGroupTargetAssignmentMetadataValue {
            assignment_epoch: epoch,
            assignment_timestamp: made_at,
            ..Default::default()
        };
        GroupRecord::ConsumerGroupTarget(self.target_key(), Some(value))
    }

    pub(super) fn no_target_epoch(self) -> GroupRecord {
        GroupRecord::ConsumerGroupTarget(self.target_key(), None)
    }

    pub(super) fn target(self, member_id: &ByteString, target: Option<&Partitions>) -> GroupRecord {
        let key = ConsumerGroupTargetAssignmentMemberKey {
            group_id: self.group_id.clone(),
            member_id: member_id.clone(),
        };
        let value = target.map(|target| ConsumerGroupTargetAssignmentMemberValue {
            topic_partitions: target.to_record(),
            ..Default::default()
        });
        GroupRecord::ConsumerGroupTargetMember(key, value)
    }

    pub(super) fn current(self, member_id: &ByteString, current: Option<&Current>) -> GroupRecord {
        let key = ConsumerGroupCurrentMemberAssignmentKey {
            group_id: self.group_id.clone(),
            member_id: member_id.clone(),
        };
        GroupRecord::ConsumerGroupCurrent(key, current.map(Current::to_record))
    }

    pub(super) fn expression(self, expression: &ByteString, resolved: Option<&Resolved>) -> GroupRecord {
        let key = ConsumerGroupRegularExpressionKey {
            group_id: self.group_id.clone(),
            regular_expression: expression.clone(),
        };
        let value = resolved.map(|resolved| ConsumerGroupRegularExpressionValue {
            topics: resolved.topics.clone(),
            version: resolved.version,
            timestamp: resolved.at,
            ..Default::default()
        });
        GroupRecord::ConsumerGroupRegularExpression(key, value)
    }

    /// A member goes: first what it has, then what it is to have, then itself.
    pub(super) fn no_member(self, member_id: &ByteString) -> [GroupRecord; 3] {
        [
            self.current(member_id, None),
            self.target(member_id, None),
            self.subscription(member_id, None),
        ]
    }

    fn group_key(self) -> ConsumerGroupMetadataKey {
        ConsumerGroupMetadataKey {
            group_id: self.group_id.clone(),
        }
    }

    fn target_key(self) -> ConsumerGroupTargetAssignmentMetadataKey {
        ConsumerGroupTargetAssignmentMetadataKey {
            group_id: self.group_id.clone(),
        }
    }
}

impl ConsumerGroup {
    pub(super) fn recorder(&self) -> Recorder<'_> {
        Recorder { group_id: &self.id }
    }

    /// Tombstones for all that is recorded of the group, so that it is gone, or may be one of another kind.
    pub fn tombstones(&self) -> Vec<GroupRecord> {
        let recorder = self.recorder();
        let members = || self.members.keys();
        let mut records: Vec<GroupRecord> = members().map(|id| recorder.current(id, None)).collect();
        records.extend(members().map(|id| recorder.target(id, None)));
        records.push(recorder.no_target_epoch());
        records.extend(members().map(|id| recorder.subscription(id, None)));
        records.extend(
            self.expressions
                .keys()
                .map(|text| recorder.expression(text, None)),
        );
        records.push(recorder.no_topics());
        records.push(recorder.no_group());
        records
    }
}
