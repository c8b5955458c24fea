//! Heartbeat, versions 0 to 4: a member of a classic group lives, and learns whether the group rebalances. Static members since
//! version 3 (KIP-345).
//!
//! While the group is being loaded nobody knows better than the member: it is told that all is well, as in Kafka. All members have
//! a whole session from when it is loaded.
//!
//! *Memory*: none. *Authorization*: READ on the group.

use klamm_coordinator::group::Request;
use klamm_model::ErrorCode;
use klamm_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use crate::context::RequestContext;
use crate::coordinators::groups::{self, answer_to};

/// Answers one request.
pub(crate) async fn handle(context: &RequestContext<'_>, request: HeartbeatRequest) -> HeartbeatResponse {
    let group = request.group_id.clone();
    let begun = groups::begin(context, &group, Request::Heartbeat(Box::new(request)));
    let mut response = answer_to!(Heartbeat, begun.answer().await);
    if response.error_code == ErrorCode::CoordinatorLoadInProgress.code() {
        response.error_code = ErrorCode::None.code();
    }
    response
}
