//! SyncGroup, versions 0 to 5: a member of a classic group gets its part of what the leader has assigned; the leader brings it.
//! Static members since version 3 (KIP-345); since 5 the member says which protocol it takes the assignment to be of (KIP-559).
//!
//! *Order*: serial; waits until the leader's request has come, at most as long as the slowest member may take, and is given up
//! when the client goes away. *Memory*: nothing of the request is kept while it waits; what the group keeps is a copy. The answer
//! has the member's part, reserved before it is encoded.
//! *Authorization*: READ on the group.

use klamm_coordinator::group::Request;
use klamm_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use crate::context::RequestContext;
use crate::coordinators::groups::{self, answer_to};
use crate::dispatch::Wait;

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    request: SyncGroupRequest,
    wait: Wait<'_>,
) -> SyncGroupResponse {
    let group = request.group_id.clone();
    let asked = Request::SyncGroup {
        version: context.version,
        request: Box::new(request),
    };
    let begun = groups::begin(context, &group, asked);
    drop(group);
    wait.begin();
    let response = answer_to!(SyncGroup, begun.answer().await);
    // One that is too large ends the connection.
    context.memory.reserve(response.assignment.len()).await;
    response
}
