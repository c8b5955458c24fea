//! LeaveGroup, versions 0 to 5: members of a group go; several since version 3, also static ones by their instance id (KIP-345);
//! with a reason since 5 (KIP-800).
//!
//! *Memory*: the answer, proportional to the members. *Authorization*: READ on the group.

use klamm_coordinator::group::Request;
use klamm_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use crate::context::RequestContext;
use crate::coordinators::groups::{self, answer_to};

/// Answers one request.
pub(crate) async fn handle(context: &RequestContext<'_>, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let group = request.group_id.clone();
    let asked = Request::LeaveGroup {
        version: context.version,
        request,
    };
    let begun = groups::begin(context, &group, asked);
    answer_to!(LeaveGroup, begun.answer().await)
}
