//! DescribeGroups, ListGroups and DeleteGroups: what an administrator asks.
//!
//! Next: `kinds.rs`.

use std::sync::Arc;

use klamm_model::ErrorCode;
use klamm_protocol::ByteString;
use klamm_protocol::messages::ListGroupsRequest;
use klamm_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use klamm_protocol::messages::list_groups_response::ListedGroup;

use super::classic::{ClassicGroup, State};

impl ClassicGroup {
    /// What DescribeGroups tells. What members say, and the protocol they say it under, is told of a stable group only.
    pub(crate) fn describe(&self, id: &ByteString) -> DescribedGroup {
        let protocol = self.protocol.as_deref().filter(|_| self.state == State::Stable);
        let members = self.members.iter().map(|member| DescribedGroupMember {
            member_id: (&*member.id).into(),
            group_instance_id: member.instance_id.as_deref().map(Into::into),
            client_id: (&*member.client_id).into(),
            client_host: (&*member.client_host).into(),
            member_metadata: protocol
                .map(|protocol| member.metadata(protocol))
                .unwrap_or_default(),
            member_assignment: member.assignment.clone(),
            ..Default::default()
        });
        DescribedGroup {
            group_id: id.clone(),
            group_state: self.state.name().into(),
            protocol_type: self.protocol_type.as_deref().unwrap_or_default().into(),
            protocol_data: protocol.unwrap_or_default().into(),
            members: members.collect(),
            ..Default::default()
        }
    }
}

/// What DescribeGroups tells of a group that is not there, or is not of the classic protocol: before version 6, that it is dead.
pub(crate) fn describe_missing(version: i16, id: &ByteString, is_of_other_kind: bool) -> DescribedGroup {
    let mut described = DescribedGroup {
        group_id: id.clone(),
        group_state: "Dead".into(),
        ..Default::default()
    };
    if version >= 6 {
        described.error_code = ErrorCode::GroupIdNotFound.code();
        described.error_message = Some(if is_of_other_kind {
            format!("Group {id} is not a classic group.").into()
        } else {
            format!("Group {id} not found.").into()
        });
    }
    described
}

/// What ListGroups asks for. A name that nothing has finds nothing.
pub(crate) struct Filter {
    states: Vec<String>,
    types: Vec<String>,
}

impl Filter {
    pub(crate) fn of(request: &ListGroupsRequest) -> Self {
        Self {
            states: request
                .states_filter
                .iter()
                .map(|state| state.trim().to_lowercase())
                .collect(),
            types: request
                .types_filter
                .iter()
                .map(|name| name.to_lowercase())
                .collect(),
        }
    }

    /// The group as it is listed, if it is asked for.
    pub(crate) fn listed(
        &self,
        id: &Arc<str>,
        kind: &str,
        state: &str,
        protocol_type: &str,
    ) -> Option<ListedGroup> {
        let has_state = self.states.is_empty() || self.states.contains(&state.to_lowercase());
        let has_type = self.types.is_empty() || self.types.iter().any(|name| name == kind);
        (has_state && has_type).then(|| ListedGroup {
            group_id: (&**id).into(),
            protocol_type: protocol_type.into(),
            group_state: state.into(),
            group_type: kind.into(),
            ..Default::default()
        })
    }
}
