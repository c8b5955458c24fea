//! OffsetDelete, version 0: a group forgets the offsets of partitions that none of its members subscribes to (KIP-496).
//!
//! A topic or partition that is not there is refused alone.
//!
//! *Memory*: the answer, proportional to the partitions, reserved before it is made. *Authorization*: DELETE on the group, READ on each topic.

use klamm_coordinator::group::Request;
use klamm_model::ErrorCode;
use klamm_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use crate::context::RequestContext;
use crate::coordinators::groups::{self, answer_to};
use crate::offset_topics::{Naming, answer_bytes, take_out_unknown};

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    mut request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    if !context.memory.reserve(answer_bytes(&request.topics)).await {
        // One that is too large ends the connection.
        return OffsetDeleteResponse::default();
    }
    let refused = take_out_unknown(
        &context.broker.metadata.published(),
        Naming::Names,
        &mut request.topics,
    );
    let group = request.group_id.clone();
    let begun = groups::begin(context, &group, Request::OffsetDelete(request));
    let mut response = answer_to!(OffsetDelete, begun.answer().await);
    // A refusal of the whole names no partitions.
    if response.error_code == ErrorCode::None.code() {
        response.topics = refused.and(response.topics);
    }
    response
}
