//! CreatePartitions, versions 0 to 3: adds partitions to topics (KIP-195).
//!
//! The count asked for is the new total; it can only grow. Keys that were hashed to a partition may go elsewhere afterwards.
//!
//! *Memory*: the answer, and the records of the new partitions. *Authorization*: ALTER on each topic.

use klamm_model::ErrorCode;
use klamm_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use klamm_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};

use crate::context::RequestContext;

/// Answers one request: decided by the controller, and answered when it can be seen and used here.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let names: Vec<_> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    let decided = context.decided_by_controller(request).await;
    decided.unwrap_or_else(|code| unavailable(names, code))
}

/// The controller could not be asked.
fn unavailable(names: Vec<klamm_protocol::ByteString>, code: ErrorCode) -> CreatePartitionsResponse {
    let refused = names.into_iter().map(|name| CreatePartitionsTopicResult {
        name,
        error_code: code.code(),
        ..Default::default()
    });
    CreatePartitionsResponse {
        results: refused.collect(),
        ..Default::default()
    }
}
