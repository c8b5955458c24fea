//! JoinGroup, versions 0 to 9: a member of a classic group takes part in the next generation (KIP-134: a new group waits for
//! more members first; static members since version 5, KIP-345; member ids that the coordinator gives are sent back first since
//! version 4, KIP-394; a reason since 8, KIP-800).
//!
//! *Order*: serial; waits until all members have joined, at most as long as the slowest of them may take, and is given up when
//! the client goes away. *Memory*: nothing of the request is kept while it waits; what the group keeps is a copy. The leader's
//! answer has what all members say of themselves, reserved before it is encoded.
//! *Authorization*: READ on the group.

use klamm_coordinator::group::Request;
use klamm_protocol::messages::join_group_response::JoinGroupResponseMember;
use klamm_protocol::messages::{JoinGroupRequest, JoinGroupResponse};

use crate::context::RequestContext;
use crate::coordinators::groups::{self, answer_to};
use crate::dispatch::Wait;

/// What a member takes in the answer, and encoded, beside its texts.
const MEMBER_BYTES: usize = size_of::<JoinGroupResponseMember>() + 32;

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    request: JoinGroupRequest,
    wait: Wait<'_>,
) -> JoinGroupResponse {
    let group = request.group_id.clone();
    let asked = Request::JoinGroup {
        client: groups::client(context),
        version: context.version,
        request: Box::new(request),
    };
    let begun = groups::begin(context, &group, asked);
    drop(group);
    wait.begin();
    let response = answer_to!(JoinGroup, begun.answer().await);
    // One that is too large ends the connection.
    context.memory.reserve(bytes_of(&response)).await;
    response
}

/// What the members in an answer take, and encoded. What they say of themselves is the group's own until then.
fn bytes_of(response: &JoinGroupResponse) -> usize {
    let members = response.members.iter().map(|member| {
        let instance = member.group_instance_id.as_ref().map_or(0, |id| id.len());
        MEMBER_BYTES + 2 * (member.member_id.len() + instance) + member.metadata.len()
    });
    members.sum()
}
