//! What is asked of a shard of the group coordinator.
//!
//! A request of many groups comes in parts, one for each shard, and each part names groups of that shard only. Topics that the
//! asker may not see, or that do not exist, were taken out before, and what is left has names: version 10 of OffsetCommit and
//! OffsetFetch and version 6 of TxnOffsetCommit give ids, to which the broker adds the names.
//!
//! Next: `answer.rs`; `shard.rs` for where each is decided.

use std::sync::Arc;

use klamm_model::ErrorCode;
use klamm_protocol::ByteString;
use klamm_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use klamm_protocol::messages::{
    ConsumerGroupHeartbeatRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest,
    OffsetCommitRequest, OffsetDeleteRequest, SyncGroupRequest, TxnOffsetCommitRequest,
};

use super::answer::{Answer, Shape};
use super::config::GroupConfig;
use super::consumer::ConsumerGroup;
use crate::contract::Answer as _;

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// What the client calls itself.
    pub client_id: ByteString,
    /// Where it is, with a slash before it.
    pub client_host: ByteString,
}

/// See the head of the file. A version is that of the request, where an answer depends on it.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Request {
    JoinGroup {
        client: Client,
        version: i16,
        request: Box<JoinGroupRequest>,
    },
    SyncGroup {
        version: i16,
        request: Box<SyncGroupRequest>,
    },
    Heartbeat(Box<HeartbeatRequest>),
    LeaveGroup {
        version: i16,
        request: LeaveGroupRequest,
    },
    OffsetCommit {
        version: i16,
        request: Arc<OffsetCommitRequest>,
    },
    TxnOffsetCommit {
        version: i16,
        request: Arc<TxnOffsetCommitRequest>,
    },
    OffsetFetch {
        require_stable: bool,
        group: Box<OffsetFetchRequestGroup>,
    },
    OffsetDelete(OffsetDeleteRequest),
    DescribeGroups {
        version: i16,
        groups: Vec<ByteString>,
    },
    ListGroups(ListGroupsRequest),
    DeleteGroups(Vec<ByteString>),
    ConsumerGroupHeartbeat {
        client: Client,
        version: i16,
        request: Box<ConsumerGroupHeartbeatRequest>,
    },
    ConsumerGroupDescribe(Vec<ByteString>),
}

impl Request {
    /// What a refusal of this request needs to know of it.
    pub fn shape(&self) -> Shape {
        match self {
            Self::JoinGroup { request, version, .. } => Shape::JoinGroup {
                member_id: (&*request.member_id).into(),
                version: *version,
            },
            Self::SyncGroup { .. } => Shape::SyncGroup,
            Self::Heartbeat(_) => Shape::Heartbeat,
            Self::LeaveGroup { .. } => Shape::LeaveGroup,
            Self::OffsetCommit { request, .. } => Shape::OffsetCommit(request.clone()),
            Self::TxnOffsetCommit { request, .. } => Shape::TxnOffsetCommit(request.clone()),
            Self::OffsetFetch { group, .. } => Shape::OffsetFetch(group.group_id.clone()),
            Self::OffsetDelete(_) => Shape::OffsetDelete,
            Self::DescribeGroups { groups, .. } => Shape::DescribeGroups(groups.clone()),
            Self::ListGroups(_) => Shape::ListGroups,
            Self::DeleteGroups(groups) => Shape::DeleteGroups(groups.clone()),
            Self::ConsumerGroupHeartbeat { .. } => Shape::ConsumerGroupHeartbeat,
            Self::ConsumerGroupDescribe(groups) => Shape::ConsumerGroupDescribe(groups.clone()),
        }
    }

    /// The answer to a request that is refused wherever its group is coordinated: asked before the way to the shard is looked for.
    pub fn refused_anywhere(&self, config: &GroupConfig) -> Option<Answer> {
        let code = match self {
            Self::JoinGroup { request, .. } if request.group_id.is_empty() => ErrorCode::InvalidGroupId,
            Self::JoinGroup { request, .. } if !config.allows_session(request.session_timeout_ms) => {
                ErrorCode::InvalidSessionTimeout
            }
            Self::SyncGroup { version, request } => {
                // From version 5 on, a member says which protocol it takes the assignment to be of.
                if *version >= 5 && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
                    ErrorCode::InconsistentGroupProtocol
                } else if request.group_id.is_empty() {
                    ErrorCode::InvalidGroupId
                } else {
                    return None;
                }
            }
            Self::Heartbeat(request) if request.group_id.is_empty() => ErrorCode::InvalidGroupId,
            Self::LeaveGroup { request, .. } if request.group_id.is_empty() => ErrorCode::InvalidGroupId,
            Self::TxnOffsetCommit { request, .. } if request.group_id.is_empty() => ErrorCode::InvalidGroupId,
            Self::ConsumerGroupHeartbeat { version, request, .. } => {
                let refusal = ConsumerGroup::validate(request, *version, config).err()?;
                return Some(Answer::ConsumerGroupHeartbeat(refusal.into_heartbeat()));
            }
            Self::OffsetDelete(request) if request.group_id.is_empty() => ErrorCode::InvalidGroupId,
            Self::ConsumerGroupDescribe(groups)
                if !groups.is_empty() && groups.iter().all(|id| id.is_empty()) =>
            {
                ErrorCode::InvalidGroupId
            }
            _ => return None,
        };
        Some(Answer::refused(&self.shape(), code))
    }
}
