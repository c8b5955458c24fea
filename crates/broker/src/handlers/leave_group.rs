//! LeaveGroup, versions 0 to 5: members of a group go; several since version 3, also static ones by their instance id (KIP-345);
//! with a reason since 5 (KIP-800).
//!
//! *Memory*: the answer, proportional to the members, reserved before it is made. *Authorization*: READ on the group.

use klamm_coordinator::group::Request;
use klamm_protocol::messages::leave_group_response::MemberResponse;
use klamm_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use crate::context::RequestContext;
use crate::coordinators::groups::{self, answer_to};

/// What a member takes in the answer, and encoded, beside its texts.
const MEMBER_BYTES: usize = size_of::<MemberResponse>() + 32;

/// Answers one request.
pub(crate) async fn handle(context: &RequestContext<'_>, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let members = request.members.iter().map(|member| {
        let instance = member.group_instance_id.as_ref().map_or(0, |id| id.len());
        MEMBER_BYTES + 2 * (member.member_id.len() + instance)
    });
    if !context.memory.reserve(members.sum()).await {
        return LeaveGroupResponse::default();
    }
    let group = request.group_id.clone();
    let asked = Request::LeaveGroup {
        version: context.version,
        request,
    };
    let begun = groups::begin(context, &group, asked);
    answer_to!(LeaveGroup, begun.answer().await)
}
