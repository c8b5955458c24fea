//! Heartbeat, versions 0 to 4: a member of a classic group lives, and learns whether the group rebalances. Static members since
//! version 3 (KIP-345).
//!
//! *Memory*: none. *Authorization*: READ on the group.

use klamm_coordinator::group::Request;
use klamm_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use crate::context::RequestContext;
use crate::coordinators::groups::{self, answer_to};

/// Answers one request.
pub(crate) async fn handle(context: &RequestContext<'_>, request: HeartbeatRequest) -> HeartbeatResponse {
    let group = request.group_id.clone();
    let begun = groups::begin(context, &group, Request::Heartbeat(Box::new(request)));
    answer_to!(Heartbeat, begun.answer().await)
}
