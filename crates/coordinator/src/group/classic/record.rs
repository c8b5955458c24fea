//! A classic group as it is recorded, and back.
//!
//! Always holds: of what a member can speak, only the protocol of the generation is recorded, as in Kafka: a member that joins a
//! loaded group and can speak more says something new, and the group rebalances. A group with members is recorded when all have, or can
//! have, what was recorded as theirs. One that a consumer group has become, and that is to rebalance, is recorded earlier, and without
//! a leader, which Kafka always names: nobody knows yet that it leads, and after a load the members are told to join (`kinds.rs`).
//!
//! Next: `group/record.rs` for the bytes.

use std::sync::Arc;

use bytes::Bytes;
use klamm_model::TimestampMs;
use klamm_protocol::coordinator_records::group_metadata_value::MemberMetadata;
use klamm_protocol::coordinator_records::{GroupMetadataKey, GroupMetadataValue};

use super::member::{Member, Protocol};
use super::{ClassicGroup, State};
use crate::group::record::GroupRecord;

/// Takes back what was recorded of a classic group.
pub(crate) fn tombstone(id: &str) -> GroupRecord {
    GroupRecord::ClassicGroup(GroupMetadataKey { group: id.into() }, None)
}

impl ClassicGroup {
    /// The group as it is now.
    pub(crate) fn record(&self, id: &str) -> GroupRecord {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let members = self.members.iter().map(|member| MemberMetadata {
            member_id: (&*member.id).into(),
            group_instance_id: member.instance_id.as_deref().map(Into::into),
            client_id: (&*member.client_id).into(),
            client_host: (&*member.client_host).into(),
            rebalance_timeout: member.rebalance_timeout_ms,
            session_timeout: member.session_timeout_ms,
            subscription: member.metadata(protocol),
            assignment: member.assignment.clone(),
            ..Default::default()
        });
        // A group that has not had a generation is recorded as an empty one, whoever is joining it.
        let members = if self.protocol.is_some() {
            members.collect()
        } else {
            Vec::new()
        };
        let value = GroupMetadataValue {
            protocol_type: self.recorded_type().into(),
            generation: self.generation,
            protocol: self.protocol.as_deref().map(Into::into),
            leader: self.recorded_leader().map(Into::into),
            current_state_timestamp: self.since.map_or(-1, |since| since.0),
            members,
            ..Default::default()
        };
        GroupRecord::ClassicGroup(GroupMetadataKey { group: id.into() }, Some(value))
    }

    fn recorded_type(&self) -> &str {
        match (&self.protocol_type, self.generation) {
            // Somebody is joining for the first time.
            (Some(_), 0) if self.protocol.is_none() => "",
            (protocol_type, _) => protocol_type.as_deref().unwrap_or_default(),
        }
    }

    fn recorded_leader(&self) -> Option<&str> {
        self.leader.as_deref().filter(|_| self.protocol.is_some())
    }

    /// The group that was recorded.
    pub(crate) fn from_record(value: &GroupMetadataValue) -> Self {
        let mut group = Self {
            state: if value.members.is_empty() {
                State::Empty
            } else {
                State::Stable
            },
            since: (value.current_state_timestamp != -1)
                .then_some(TimestampMs(value.current_state_timestamp)),
            generation: value.generation,
            protocol_type: text(Some(&*value.protocol_type)).filter(|text| !text.is_empty()),
            protocol: text(value.protocol.as_deref()),
            leader: text(value.leader.as_deref()),
            ..Self::default()
        };
        let protocol = group.protocol.clone().unwrap_or_default();
        for member in &value.members {
            let rebalance_timeout_ms = match member.rebalance_timeout {
                -1 => member.session_timeout,
                timeout => timeout,
            };
            let id: Arc<str> = (&*member.member_id).into();
            group.members.insert(Member {
                id,
                instance_id: text(member.group_instance_id.as_deref()),
                client_id: (&*member.client_id).into(),
                client_host: (&*member.client_host).into(),
                rebalance_timeout_ms,
                session_timeout_ms: member.session_timeout,
                protocols: [Protocol {
                    name: protocol.clone(),
                    metadata: Bytes::copy_from_slice(&member.subscription),
                }]
                .into(),
                assignment: Bytes::copy_from_slice(&member.assignment),
                is_new: false,
                owes_sync: false,
                join: None,
                sync: None,
            });
        }
        group.note_topics();
        group
    }
}

fn text(text: Option<&str>) -> Option<Arc<str>> {
    text.map(Into::into)
}
