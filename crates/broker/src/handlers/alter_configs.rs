//! AlterConfigs, versions 0 to 2: replaces all that was set for resources.
//!
//! Whatever the request does not name falls back to its default: IncrementalAlterConfigs is what most
//! callers want. Topics, brokers (one, or with the empty name all), groups and client metrics are the controller's to decide and are stored; a change is answered when it is in force on this broker. The levels of loggers are
//! refused: only the incremental form knows them.
//!
//! *Memory*: the answer. *Authorization*: ALTER_CONFIGS on the cluster or on each topic.

use klamm_model::ErrorCode;
use klamm_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use klamm_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};

use crate::context::RequestContext;

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let names: Vec<_> = request
        .resources
        .iter()
        .map(|r| (r.resource_type, r.resource_name.clone()))
        .collect();
    let decided = context.decided_by_controller(request).await;
    decided.unwrap_or_else(|code| unavailable(names, code))
}

/// The controller could not be asked.
fn unavailable(names: Vec<(i8, klamm_protocol::ByteString)>, code: ErrorCode) -> AlterConfigsResponse {
    let refused = names
        .into_iter()
        .map(|(resource_type, resource_name)| AlterConfigsResourceResponse {
            resource_type,
            resource_name,
            error_code: code.code(),
            ..Default::default()
        });
    AlterConfigsResponse {
        responses: refused.collect(),
        ..Default::default()
    }
}
