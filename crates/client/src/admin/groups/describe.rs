//! What a group is: its kind, its state, its members and what they were given.
//!
//! Always holds: the same description for groups of both protocols, and for those that only hold offsets. The API of the
//! newer protocol is asked first, because that of the classic one answers about the others as if they were not there.

use std::collections::BTreeSet;

use bytestring::ByteString;
use klamm_model::{ErrorCode, TopicPartition};
use klamm_protocol::ApiKey;
use klamm_protocol::messages::consumer_group_describe_request::ConsumerGroupDescribeRequest;
use klamm_protocol::messages::consumer_group_describe_response as modern;
use klamm_protocol::messages::describe_groups_request::DescribeGroupsRequest;
use klamm_protocol::messages::describe_groups_response as classic;

use super::{Admin, Coordinator, given, said};
use crate::error::{ClientError, Refusal};
use crate::group::embedded;
use crate::metadata::Broker;

/// The state of a group that is not there, in the versions that have no error for it.
const DEAD: &str = "Dead";

/// Which protocol a group's members speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupKind {
    /// That of ConsumerGroupHeartbeat (KIP-848).
    Consumer,
    /// That of JoinGroup.
    Classic,
    /// None: it holds offsets that somebody committed without joining.
    Simple,
}

impl GroupKind {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Consumer => "consumer",
            Self::Classic => "classic",
            Self::Simple => "simple",
        }
    }
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its name.
    pub name: String,
    /// Which protocol its members speak.
    pub kind: GroupKind,
    /// In the broker's words.
    pub state: String,
    /// Who coordinates it.
    pub coordinator: Broker,
    /// Who or what divides the partitions.
    pub assignor: Option<String>,
    /// How often it has changed; groups of consumers only.
    pub epoch: Option<i32>,
    /// Who works in it.
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// Its identifier.
    pub id: String,
    /// Its `group.instance.id`.
    pub instance: Option<String>,
    /// What its client calls itself.
    pub client_id: String,
    /// From where it is connected.
    pub host: String,
    /// The epoch that it has reached; groups of consumers only.
    pub epoch: Option<i32>,
    /// The partitions that it has; `None` when the members do not divide partitions among them, or in a way that cannot be
    /// read.
    pub assigned: Option<BTreeSet<TopicPartition>>,
}

impl Admin {
    /// A group; or what its coordinator said instead: `GROUP_ID_NOT_FOUND` when there is none.
    pub async fn describe_group(&self, name: &str) -> Result<Result<GroupDescription, Refusal>, ClientError> {
        let coordinator = Coordinator::of_group(&self.client, name);
        let attempt = || async {
            if let Some(described) = consumer_group(&coordinator).await? {
                return Ok(described);
            }
            classic_group(&coordinator).await
        };
        said(self.client.retrying(attempt).await)
    }
}

/// The group if it is one of the newer protocol; `None` when the coordinator knows no such group, or no such protocol.
async fn consumer_group(coordinator: &Coordinator) -> Result<Option<GroupDescription>, ClientError> {
    let api = ApiKey::ConsumerGroupDescribe;
    let connection = coordinator.connection().await?;
    if connection.versions().served(api).is_none() {
        return Ok(None);
    }
    let request = ConsumerGroupDescribeRequest {
        group_ids: vec![coordinator.key().clone()],
        ..ConsumerGroupDescribeRequest::default()
    };
    let answer = coordinator.call((0, i16::MAX), None, &request).await?;
    let group = answer.groups.into_iter().next();
    let group = group.ok_or_else(|| unanswered(api))?;
    let is_other = [ErrorCode::GroupIdNotFound, ErrorCode::UnsupportedVersion]
        .iter()
        .any(|code| code.code() == group.error_code);
    if is_other {
        return Ok(None);
    }
    coordinator.check(api, group.error_code, group.error_message.as_ref())?;
    Ok(Some(GroupDescription {
        name: group.group_id.to_string(),
        kind: GroupKind::Consumer,
        state: group.group_state.to_string(),
        coordinator: coordinator.broker().await?,
        assignor: given(&group.assignor_name),
        epoch: Some(group.group_epoch),
        members: group.members.iter().map(consumer_member).collect(),
    }))
}

fn consumer_member(member: &modern::Member) -> GroupMember {
    let topics = &member.assignment.topic_partitions;
    let assigned = topics.iter().flat_map(|topic| {
        topic
            .partitions
            .iter()
            .map(|index| TopicPartition::new(&*topic.topic_name, *index))
    });
    GroupMember {
        id: member.member_id.to_string(),
        instance: member.instance_id.as_ref().map(ByteString::to_string),
        client_id: member.client_id.to_string(),
        host: host(&member.client_host),
        epoch: Some(member.member_epoch),
        assigned: Some(assigned.collect()),
    }
}

async fn classic_group(coordinator: &Coordinator) -> Result<GroupDescription, ClientError> {
    let api = ApiKey::DescribeGroups;
    let request = DescribeGroupsRequest {
        groups: vec![coordinator.key().clone()],
        ..DescribeGroupsRequest::default()
    };
    let answer = coordinator.call((0, i16::MAX), None, &request).await?;
    let group = answer.groups.into_iter().next();
    let group = group.ok_or_else(|| unanswered(api))?;
    coordinator.check(api, group.error_code, group.error_message.as_ref())?;
    if &*group.group_state == DEAD {
        let refusal = Refusal::new(ErrorCode::GroupIdNotFound);
        return Err(ClientError::refused(api, refusal));
    }
    let is_simple = group.protocol_type.is_empty() && group.members.is_empty();
    let divides = &*group.protocol_type == embedded::CONSUMER;
    Ok(GroupDescription {
        name: group.group_id.to_string(),
        kind: if is_simple {
            GroupKind::Simple
        } else {
            GroupKind::Classic
        },
        state: group.group_state.to_string(),
        coordinator: coordinator.broker().await?,
        assignor: given(&group.protocol_data),
        epoch: None,
        members: group
            .members
            .into_iter()
            .map(|member| classic_member(member, divides))
            .collect(),
    })
}

fn classic_member(member: classic::DescribedGroupMember, divides: bool) -> GroupMember {
    let assigned = divides.then(|| embedded::assigned(member.member_assignment));
    GroupMember {
        id: member.member_id.to_string(),
        instance: member.group_instance_id.map(|id| id.to_string()),
        client_id: member.client_id.to_string(),
        host: host(&member.client_host),
        epoch: None,
        assigned: assigned.and_then(Result::ok),
    }
}

/// A host as it is written elsewhere: Java puts a slash in front of an address.
fn host(text: &str) -> String {
    text.trim_start_matches('/').to_owned()
}

fn unanswered(api: ApiKey) -> ClientError {
    ClientError::refused(api, Refusal::new(ErrorCode::UnknownServerError))
}
