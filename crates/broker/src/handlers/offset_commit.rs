//! OffsetCommit, versions 2 to 10: a group has read its partitions up to these offsets.
//!
//! By a member of a classic or a consumer group (a member epoch since version 9, KIP-848), or by anybody for a group without
//! members. Topics by id since version 10 (KIP-848); a topic or partition that is not there is refused alone, and the others are
//! committed. Answered when the commit is on the device of every in-sync replica.
//!
//! *Memory*: the answer, proportional to the partitions, reserved before it is made. *Authorization*: READ on the group and on each topic.

use std::sync::Arc;

use klamm_coordinator::group::Request;
use klamm_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};

use crate::context::RequestContext;
use crate::coordinators::groups::{self, answer_to};
use crate::offset_topics::{Naming, answer_bytes, take_out_unknown};

/// Since this version topics are named by their ids.
const BY_ID: i16 = 10;

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    mut request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let version = context.version;
    if !context.memory.reserve(answer_bytes(&request.topics)).await {
        // One that is too large ends the connection.
        return OffsetCommitResponse::default();
    }
    let naming = Naming::of(version, BY_ID);
    let refused = take_out_unknown(&context.broker.metadata.published(), naming, &mut request.topics);
    let mut response = OffsetCommitResponse::default();
    if !request.topics.is_empty() {
        let group = request.group_id.clone();
        let request = Arc::new(request);
        let begun = groups::begin(context, &group, Request::OffsetCommit { version, request });
        response = answer_to!(OffsetCommit, begun.answer().await);
    }
    response.topics = refused.and(response.topics);
    response
}
