//! JoinGroup, versions 0 to 9: a member of a classic group takes part in the next generation (KIP-134: a new group waits for
//! more members first; static members since version 5, KIP-345; member ids that the coordinator gives are sent back first since
//! version 4, KIP-394; a reason since 8, KIP-800).
//!
//! *Order*: serial; waits until all members have joined, at most as long as the slowest of them may take, and is given up when
//! the client goes away. *Memory*: nothing of the request is kept while it waits; what the group keeps is a copy.
//! *Authorization*: READ on the group.

use klamm_coordinator::group::Request;
use klamm_protocol::messages::{JoinGroupRequest, JoinGroupResponse};

use crate::context::RequestContext;
use crate::coordinators::groups::{self, answer_to};
use crate::dispatch::Wait;

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
    answer_to!(JoinGroup, begun.answer_unless_stopping(context).await)
}
