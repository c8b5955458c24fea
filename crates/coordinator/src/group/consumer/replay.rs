//! What records make of a consumer group.
//!
//! Always holds: no record fails, in whatever order what compaction has left of them comes. A member is there from the first of
//! its records on until the tombstone of its subscription.

use klamm_protocol::ByteString;

use super::member::{Current, LEAVE_EPOCH, Subscription, copied, copied_set};
use super::{ConsumerGroup, Member, Partitions, Resolved};
use crate::group::record::GroupRecord;

/// What became of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// It is there.
    Kept,
    /// It is gone.
    Deleted,
}

impl ConsumerGroup {
    /// The group that a record of a consumer group is about, and whether the record is a tombstone; `None` for other records. A
    /// tombstone for a group that is not there says nothing.
    pub fn concerned(record: &GroupRecord) -> Option<(&ByteString, bool)> {
        Some(match record {
            GroupRecord::ConsumerGroup(key, value) => (&key.group_id, value.is_none()),
            GroupRecord::ConsumerGroupPartitionMetadata(key, value) => (&key.group_id, value.is_none()),
            GroupRecord::ConsumerGroupMember(key, value) => (&key.group_id, value.is_none()),
            GroupRecord::ConsumerGroupTarget(key, value) => (&key.group_id, value.is_none()),
            GroupRecord::ConsumerGroupTargetMember(key, value) => (&key.group_id, value.is_none()),
            GroupRecord::ConsumerGroupCurrent(key, value) => (&key.group_id, value.is_none()),
            GroupRecord::ConsumerGroupRegularExpression(key, value) => (&key.group_id, value.is_none()),
            _ => return None,
        })
    }

    /// Takes over a record of this group; others change nothing.
    pub fn replay(&mut self, record: &GroupRecord) -> Replayed {
        match record {
            GroupRecord::ConsumerGroup(_, None) => return Replayed::Deleted,
            GroupRecord::ConsumerGroup(_, Some(value)) => {
                self.epoch = value.epoch;
                self.metadata_hash = value.metadata_hash;
            }
            GroupRecord::ConsumerGroupPartitionMetadata(_, value) => self.has_topic_records = value.is_some(),
            GroupRecord::ConsumerGroupMember(key, value) => {
                self.replay_subscription(&key.member_id, value.as_ref().map(Subscription::from_record));
            }
            GroupRecord::ConsumerGroupTarget(_, value) => {
                self.target.epoch = value.as_ref().map_or(-1, |value| value.assignment_epoch);
                self.target.made_at = value.as_ref().map_or(0, |value| value.assignment_timestamp);
            }
            GroupRecord::ConsumerGroupTargetMember(key, Some(value)) => {
                let target = Partitions::from_record(&value.topic_partitions);
                self.target.members.insert(copied(&key.member_id), target);
            }
            GroupRecord::ConsumerGroupTargetMember(key, None) => {
                self.target.members.remove(&key.member_id);
            }
            GroupRecord::ConsumerGroupCurrent(key, Some(value)) => {
                self.replay_current(&key.member_id, Current::from_record(value));
            }
            GroupRecord::ConsumerGroupCurrent(key, None) => {
                if self.members.contains_key(&key.member_id) {
                    let nothing = Current {
                        epoch: LEAVE_EPOCH,
                        previous_epoch: LEAVE_EPOCH,
                        ..Current::default()
                    };
                    self.replay_current(&key.member_id, nothing);
                }
            }
            GroupRecord::ConsumerGroupRegularExpression(key, value) => {
                let resolved = value.as_ref().map(|value| Resolved {
                    topics: copied_set(&value.topics),
                    version: value.version,
                    at: value.timestamp,
                });
                self.replay_expression(&key.regular_expression, resolved);
            }
            GroupRecord::LegacyOffsetCommit(..)
            | GroupRecord::OffsetCommit(..)
            | GroupRecord::ClassicGroup(..) => {}
        }
        Replayed::Kept
    }

    fn member_mut(&mut self, id: &ByteString) -> &mut Member {
        if !self.members.contains_key(id) {
            self.members.insert(copied(id), Member::default());
        }
        self.members.get_mut(id).expect("it was put there if it was not")
    }

    fn replay_current(&mut self, id: &ByteString, current: Current) {
        self.holders.change(None, Some(&current));
        let before = std::mem::replace(&mut self.member_mut(id).current, current);
        self.holders.change(Some(&before), None);
    }

    fn replay_subscription(&mut self, id: &ByteString, subscription: Option<Subscription>) {
        let before = match &subscription {
            Some(after) => {
                let after = after.clone();
                Some(std::mem::replace(&mut self.member_mut(id).subscription, after))
            }
            None => {
                self.seen.awaited.remove(id);
                let gone = self.members.remove(id);
                self.holders.change(gone.as_ref().map(|gone| &gone.current), None);
                gone.map(|gone| gone.subscription)
            }
        };
        self.subscribers
            .change_member(before.as_ref(), subscription.as_ref());
        self.speakers
            .change_member(before.as_ref(), subscription.as_ref());
        // Another member may have come under the instance id since.
        if let Some(instance_id) = before.and_then(|before| before.instance_id)
            && self.static_members.get(&instance_id) == Some(id)
        {
            self.static_members.remove(&instance_id);
        }
        if let Some(instance_id) = subscription.and_then(|subscription| subscription.instance_id) {
            self.static_members.insert(instance_id, copied(id));
        }
    }

    fn replay_expression(&mut self, expression: &ByteString, resolved: Option<Resolved>) {
        let before = self.expressions.remove(expression).unwrap_or_default();
        let after = resolved.as_ref().map_or(&[][..], |resolved| &resolved.topics);
        self.subscribers.change_expression(&before.topics, after);
        if let Some(resolved) = resolved {
            self.expressions.insert(copied(expression), resolved);
        }
    }
}
