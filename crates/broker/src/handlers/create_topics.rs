//! CreateTopics, versions 2 to 7: makes topics.
//!
//! Partitions and replicas may be left to the broker's defaults (-1) since version 4 (KIP-464); since version 5 the answer
//! tells what was made (KIP-525), since 7 the id (KIP-516). `validate_only` decides and makes nothing.
//!
//! *Memory*: the answer, and the records of the new partitions. *Authorization*: CREATE on the cluster or on each topic.

use klamm_model::ErrorCode;
use klamm_protocol::messages::create_topics_response::CreatableTopicResult;
use klamm_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};

use crate::context::RequestContext;

/// Answers one request: decided by the controller, and answered when it can be seen and used here.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let names: Vec<_> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    let decided = context.decided_by_controller(request).await;
    decided.unwrap_or_else(|code| unavailable(names, code))
}

/// The controller could not be asked.
fn unavailable(names: Vec<klamm_protocol::ByteString>, code: ErrorCode) -> CreateTopicsResponse {
    let refused = names.into_iter().map(|name| CreatableTopicResult {
        name,
        error_code: code.code(),
        ..Default::default()
    });
    CreateTopicsResponse {
        topics: refused.collect(),
        ..Default::default()
    }
}
