//! A member of a consumer group: what it has said of itself, and what it has.
//!
//! Always holds: texts are copies, no slices of a request or of a batch that was read; names of topics come in order and once.

use std::collections::BTreeSet;

use bytes::Bytes;
use klamm_protocol::ByteString;
use klamm_protocol::coordinator_records::{
    ConsumerGroupCurrentMemberAssignmentValue, ConsumerGroupMemberMetadataValue,
    consumer_group_member_metadata_value as value,
};
use klamm_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;

use super::partitions::{Holdings, Partitions};

/// The epoch with which a member leaves.
pub const LEAVE_EPOCH: i32 = -1;
/// The epoch with which a static member leaves for a while.
pub const STATIC_LEAVE_EPOCH: i32 = -2;

/// A text of its own.
pub(super) fn copied(text: &ByteString) -> ByteString {
    ByteString::from(&**text)
}

fn copied_option(text: Option<&ByteString>) -> Option<ByteString> {
    text.map(copied)
}

/// Texts of their own, in order and once.
pub(super) fn copied_set(texts: &[ByteString]) -> Vec<ByteString> {
    let mut set: Vec<ByteString> = texts.iter().map(copied).collect();
    set.sort_unstable();
    set.dedup();
    set
}

/// See the head of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Member {
    /// What it has said of itself.
    pub subscription: Subscription,
    /// What it has.
    pub current: Current,
}

/// What a member has said of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscription {
    /// Which of the static members it is.
    pub instance_id: Option<ByteString>,
    /// The rack that it stands in.
    pub rack_id: Option<ByteString>,
    /// What the client calls itself.
    pub client_id: ByteString,
    /// Where it is.
    pub client_host: ByteString,
    /// The topics that it has subscribed to by name.
    pub topics: Vec<ByteString>,
    /// The regular expression that it has subscribed to; an empty one is for no topics.
    pub expression: Option<ByteString>,
    /// How long it may take to let go of partitions.
    pub rebalance_timeout_ms: i32,
    /// The assignor that it would like.
    pub assignor: Option<ByteString>,
    /// What there is when it speaks the classic protocol.
    pub classic: Option<ClassicMember>,
}

/// What a member that speaks the classic protocol has said at its JoinGroup.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassicMember {
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// The protocols that it can, with what it says in each.
    pub protocols: Vec<(ByteString, Bytes)>,
}

impl Default for Subscription {
    fn default() -> Self {
        Self {
            instance_id: None,
            rack_id: None,
            client_id: ByteString::new(),
            client_host: ByteString::new(),
            topics: Vec::new(),
            expression: Some(ByteString::new()),
            rebalance_timeout_ms: -1,
            assignor: None,
            classic: None,
        }
    }
}

impl Subscription {
    /// The expression, unless it is empty.
    pub fn expression(&self) -> Option<&ByteString> {
        self.expression
            .as_ref()
            .filter(|expression| !expression.is_empty())
    }

    pub(super) fn from_record(value: &ConsumerGroupMemberMetadataValue) -> Self {
        let classic = |classic: &value::ClassicMemberMetadata| ClassicMember {
            session_timeout_ms: classic.session_timeout_ms,
            protocols: classic
                .supported_protocols
                .iter()
                .map(|protocol| (copied(&protocol.name), Bytes::copy_from_slice(&protocol.metadata)))
                .collect(),
        };
        Self {
            instance_id: copied_option(value.instance_id.as_ref()),
            rack_id: copied_option(value.rack_id.as_ref()),
            client_id: copied(&value.client_id),
            client_host: copied(&value.client_host),
            topics: copied_set(&value.subscribed_topic_names),
            expression: copied_option(value.subscribed_topic_regex.as_ref()),
            rebalance_timeout_ms: value.rebalance_timeout_ms,
            assignor: copied_option(value.server_assignor.as_ref()),
            classic: value.classic_member_metadata.as_ref().map(classic),
        }
    }

    pub(super) fn to_record(&self) -> ConsumerGroupMemberMetadataValue {
        let classic = |classic: &ClassicMember| value::ClassicMemberMetadata {
            session_timeout_ms: classic.session_timeout_ms,
            supported_protocols: classic
                .protocols
                .iter()
                .map(|(name, metadata)| value::ClassicProtocol {
                    name: name.clone(),
                    metadata: metadata.clone(),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        };
        ConsumerGroupMemberMetadataValue {
            instance_id: self.instance_id.clone(),
            rack_id: self.rack_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            subscribed_topic_names: self.topics.clone(),
            subscribed_topic_regex: self.expression.clone(),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            server_assignor: self.assignor.clone(),
            classic_member_metadata: self.classic.as_ref().map(classic),
            ..Default::default()
        }
    }
}

/// How far a member has come with what it is to have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemberState {
    /// It has all of its target of its epoch.
    #[default]
    Stable,
    /// It is to let go of partitions first.
    UnrevokedPartitions,
    /// Others are to let go of partitions that it is to have.
    UnreleasedPartitions,
    /// Something newer has written a state that is not known here.
    Unknown,
}

impl MemberState {
    fn code(self) -> i8 {
        match self {
            Self::Stable => 0,
            Self::UnrevokedPartitions => 1,
            Self::UnreleasedPartitions => 2,
            Self::Unknown => 127,
        }
    }

    fn from_code(code: i8) -> Self {
        match code {
            0 => Self::Stable,
            1 => Self::UnrevokedPartitions,
            2 => Self::UnreleasedPartitions,
            _ => Self::Unknown,
        }
    }
}

/// What a member has.
#[derive(Clone, Debug, PartialEq)]
pub struct Current {
    /// Its epoch: that of the assignment that it has come to, or a leave epoch.
    pub epoch: i32,
    /// The one before, with which it may come again as long as no answer has reached it.
    pub previous_epoch: i32,
    /// How far it has come.
    pub state: MemberState,
    /// The partitions that it may read.
    pub assigned: Holdings,
    /// The partitions that it is to let go.
    pub revoking: Holdings,
}

impl Default for Current {
    fn default() -> Self {
        Self {
            epoch: 0,
            previous_epoch: -1,
            state: MemberState::Stable,
            assigned: Holdings::default(),
            revoking: Holdings::default(),
        }
    }
}

impl Current {
    /// Whether the member has all that it is to have at `epoch`.
    pub fn is_reconciled_to(&self, epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == epoch
    }

    /// The epoch since which the member has the partition, to be read or to be let go.
    pub fn since(&self, topic: &klamm_model::TopicId, partition: i32) -> Option<i32> {
        let assigned = self.assigned.since(topic, partition);
        assigned.or_else(|| self.revoking.since(topic, partition))
    }

    /// All that the member has, to be read or to be let go.
    pub(super) fn all(&self) -> Partitions {
        let topics: BTreeSet<_> = self.assigned.topics().chain(self.revoking.topics()).collect();
        let of = |topic| self.assigned.of(topic).iter().chain(self.revoking.of(topic));
        let all = topics
            .into_iter()
            .map(|topic| (*topic, of(topic).map(|held| held.partition).collect()));
        all.collect()
    }

    /// Whether a member that says it owns `owned` owns nothing but what it has here. One that says nothing might.
    pub(super) fn has_all(&self, owned: Option<&[TopicPartitions]>) -> bool {
        owned.is_some_and(|owned| {
            owned.iter().all(|topic| {
                let holdings = [&self.assigned, &self.revoking];
                let has = |partition: &i32| self.since(&topic.topic_id, *partition).is_some();
                let mut of_topic = holdings.iter().map(|holdings| holdings.of(&topic.topic_id));
                of_topic.any(|held| !held.is_empty()) && topic.partitions.iter().all(has)
            })
        })
    }

    pub(super) fn from_record(value: &ConsumerGroupCurrentMemberAssignmentValue) -> Self {
        Self {
            epoch: value.member_epoch,
            previous_epoch: value.previous_member_epoch,
            state: MemberState::from_code(value.state),
            assigned: Holdings::from_record(&value.assigned_partitions, value.member_epoch),
            revoking: Holdings::from_record(&value.partitions_pending_revocation, value.member_epoch),
        }
    }

    pub(super) fn to_record(&self) -> ConsumerGroupCurrentMemberAssignmentValue {
        ConsumerGroupCurrentMemberAssignmentValue {
            member_epoch: self.epoch,
            previous_member_epoch: self.previous_epoch,
            state: self.state.code(),
            assigned_partitions: self.assigned.to_record(),
            partitions_pending_revocation: self.revoking.to_record(),
            ..Default::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::partitions::Held;
    use super::*;

    #[test]
    fn what_is_recorded_of_a_member_comes_back() {
        let subscription = Subscription {
            instance_id: Some("i".into()),
            rack_id: Some("r".into()),
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            topics: vec!["a".into(), "b".into()],
            expression: Some("x.*".into()),
            rebalance_timeout_ms: 5,
            assignor: Some("range".into()),
            classic: Some(ClassicMember {
                session_timeout_ms: 7,
                protocols: vec![("range".into(), Bytes::from_static(b"bytes"))],
            }),
        };
        assert_eq!(Subscription::from_record(&subscription.to_record()), subscription);
        for state in [
            MemberState::Stable,
            MemberState::UnrevokedPartitions,
            MemberState::UnreleasedPartitions,
            MemberState::Unknown,
        ] {
            let current = Current {
                state,
                epoch: 4,
                previous_epoch: 3,
                ..Current::default()
            };
            assert_eq!(Current::from_record(&current.to_record()), current);
        }
        assert_eq!(MemberState::from_code(3), MemberState::Unknown);
    }

    #[test]
    fn what_a_member_owns_is_compared_with_what_it_has() {
        let topic = klamm_model::Uuid([1; 16]);
        let holding = |partition| {
            let held = vec![Held { partition, since: 1 }];
            std::iter::once((topic, held)).collect::<Holdings>()
        };
        let owned = |partitions: &[i32]| TopicPartitions {
            topic_id: topic,
            partitions: partitions.to_vec(),
            ..Default::default()
        };
        let current = Current {
            assigned: holding(1),
            revoking: holding(2),
            ..Current::default()
        };
        let table = [
            (None, false),
            (Some(vec![]), true),
            (Some(vec![owned(&[])]), true),
            (Some(vec![owned(&[1, 2])]), true),
            (Some(vec![owned(&[2, 3])]), false),
        ];
        for (owned, expected) in table {
            assert_eq!(current.has_all(owned.as_deref()), expected, "{owned:?}");
        }
        let nothing = Current::default();
        assert!(!nothing.has_all(Some(&[owned(&[])])), "not even the topic");
    }

    #[test]
    fn topics_are_kept_in_order_and_once() {
        let value = ConsumerGroupMemberMetadataValue {
            subscribed_topic_names: vec!["b".into(), "a".into(), "b".into()],
            ..Default::default()
        };
        assert_eq!(Subscription::from_record(&value).topics, ["a", "b"]);
    }
}
