//! DescribeGroups, versions 0 to 6: classic groups with their members. The operations that the client may do on a group since
//! version 3 (KIP-430), static members since 4 (KIP-345), why a group cannot be described since 6 (KIP-1043).
//!
//! Groups are told in the order of the request. One that is named again is told again, and looked at once.
//!
//! *Memory*: the answer, proportional to the members of the groups; a few groups are described at once, and reserved before the
//! next ones. *Authorization*: DESCRIBE on each group.

use klamm_coordinator::group::Request;
use klamm_model::ErrorCode;
use klamm_protocol::ByteString;
use klamm_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use klamm_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse};

use crate::context::RequestContext;
use crate::coordinators::described::{self, Description};
use crate::coordinators::groups::{self, answer_to};
use crate::operations;

/// Since this version an answer has the operations that may be done.
const WITH_OPERATIONS: i16 = 3;
/// What a group and a member of it take in the answer, described and encoded, beside their texts.
const GROUP_BYTES: usize = size_of::<DescribedGroup>() + 64;
const MEMBER_BYTES: usize = size_of::<DescribedGroupMember>() + 32;

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let tells_operations = request.include_authorized_operations && context.version >= WITH_OPERATIONS;
    let groups = described::in_order(context, request.groups, |names| describe(context, names)).await;
    // One that is too large ends the connection.
    let mut groups = groups.unwrap_or_default();
    for group in &mut groups {
        let is_described = group.error_code == ErrorCode::None.code();
        group.authorized_operations = operations::of_group(tells_operations && is_described);
    }
    DescribeGroupsResponse {
        groups,
        ..Default::default()
    }
}

/// Has a few groups described, each by its shard; all are decided on before the first is waited for.
fn describe(
    context: &RequestContext<'_>,
    names: &[ByteString],
) -> impl Future<Output = Vec<DescribedGroup>> + use<> {
    let begun = names.iter().map(|name| {
        let request = Request::DescribeGroups {
            version: context.version,
            groups: vec![name.clone()],
        };
        groups::begin(context, name, request)
    });
    let begun: Vec<_> = begun.collect();
    async {
        let mut described = Vec::with_capacity(begun.len());
        for begun in begun {
            described.extend(answer_to!(DescribeGroups, begun.answer().await));
        }
        described
    }
}

impl Description for DescribedGroup {
    fn bytes(&self) -> usize {
        let message = self.error_message.as_ref().map_or(0, |message| message.len());
        let texts = [
            &self.group_id,
            &self.group_state,
            &self.protocol_type,
            &self.protocol_data,
        ];
        let texts: usize = texts.map(|text| text.len()).iter().sum();
        let members = self.members.iter().map(|member| {
            let instance = member.group_instance_id.as_ref().map_or(0, |id| id.len());
            let texts = member.member_id.len() + member.client_id.len() + member.client_host.len() + instance;
            // Metadata and assignment are the group's own until they are encoded.
            MEMBER_BYTES + 2 * texts + member.member_metadata.len() + member.member_assignment.len()
        });
        GROUP_BYTES + 2 * (message + texts) + members.sum::<usize>()
    }
}
