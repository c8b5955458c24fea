//! IncrementalAlterConfigs, versions 0 and 1: sets, unsets, appends to and takes from single configs (KIP-339).
//!
//! Each resource is changed as a whole or not at all. Topics, brokers (one, or with the empty name all), groups and client
//! metrics are the controller's to decide and are stored; a change is answered when it is in force on this broker. The levels of this
//! broker's loggers are its own and change at once.
//!
//! *Memory*: the answer. *Authorization*: ALTER_CONFIGS on the cluster or on each topic.

use klamm_config::alter::Operation;
use klamm_metadata::ResourceKind;
use klamm_model::ErrorCode;
use klamm_protocol::ByteString;
use klamm_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use klamm_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use crate::context::RequestContext;
use crate::loggers;

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    mut request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let is_logger = |kind: i8| kind == ResourceKind::BrokerLogger.code();
    let (own, others): (Vec<_>, Vec<_>) = request
        .resources
        .into_iter()
        .partition(|resource| is_logger(resource.resource_type));
    request.resources = others;
    let named = |name: &ByteString| {
        own.iter()
            .filter(|resource| resource.resource_name == *name)
            .count()
    };
    let names = own.iter().map(|resource| resource.resource_name.clone());
    let repeated: Vec<ByteString> = names.filter(|name| named(name) > 1).collect();
    let validate_only = request.validate_only;
    let mut response = decided(context, request).await;
    for resource in own {
        let operations: Vec<_> = resource
            .configs
            .iter()
            .map(|config| Operation {
                name: &config.name,
                operation: config.config_operation,
                value: config.value.as_deref(),
            })
            .collect();
        let outcome = match repeated.contains(&resource.resource_name) {
            true => Err((
                ErrorCode::InvalidRequest,
                "Each resource must appear at most once.".to_owned(),
            )),
            false => loggers::alter(context, &resource.resource_name, &operations, validate_only),
        };
        let (error_code, error_message) = match outcome {
            Ok(()) => (0, None),
            Err((code, message)) => (code.code(), Some(message.into())),
        };
        response.responses.push(AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
            ..Default::default()
        });
    }
    response
}

async fn decided(
    context: &RequestContext<'_>,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    if request.resources.is_empty() {
        return IncrementalAlterConfigsResponse::default();
    }
    let names: Vec<_> = request
        .resources
        .iter()
        .map(|r| (r.resource_type, r.resource_name.clone()))
        .collect();
    let decided = context.decided_by_controller(request).await;
    decided.unwrap_or_else(|code| unavailable(names, code))
}

/// The controller could not be asked.
fn unavailable(names: Vec<(i8, ByteString)>, code: ErrorCode) -> IncrementalAlterConfigsResponse {
    let refused = names
        .into_iter()
        .map(|(resource_type, resource_name)| AlterConfigsResourceResponse {
            resource_type,
            resource_name,
            error_code: code.code(),
            ..Default::default()
        });
    IncrementalAlterConfigsResponse {
        responses: refused.collect(),
        ..Default::default()
    }
}
