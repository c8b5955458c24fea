//! DescribeCluster of a controller's listener: the controllers, at the addresses of that listener (KIP-919).
//!
//! Endpoint type 1, which is also what version 0 asks for, is refused: brokers are shown by brokers.

use klamm_model::ErrorCode;
use klamm_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use klamm_protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};

use crate::context::RequestContext;
use crate::operations;

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// Answers one request.
pub(super) fn handle(
    context: &RequestContext<'_>,
    request: &DescribeClusterRequest,
) -> DescribeClusterResponse {
    match request.endpoint_type {
        CONTROLLERS => controllers(context, request),
        BROKERS => {
            // Version 0 knows no endpoint types, and not the error either.
            let code = match context.version {
                0 => ErrorCode::InvalidRequest,
                _ => ErrorCode::MismatchedEndpointType,
            };
            let message = "The request was sent to an endpoint of type CONTROLLER, but we wanted an endpoint of \
                           type BROKER";
            refusal(code, message.to_owned())
        }
        other => refusal(
            ErrorCode::UnsupportedEndpointType,
            format!("Unsupported endpoint type {other}"),
        ),
    }
}

fn controllers(context: &RequestContext<'_>, request: &DescribeClusterRequest) -> DescribeClusterResponse {
    let image = context.broker.metadata.applied();
    let controllers = image.cluster().controllers().filter_map(|controller| {
        let listener = &context.connection.listener;
        let mut endpoints = controller.endpoints.iter();
        let endpoint = endpoints.find(|endpoint| endpoint.listener == *listener)?;
        Some(DescribeClusterBroker {
            broker_id: controller.id.0,
            host: endpoint.host.to_string().into(),
            port: i32::from(endpoint.port),
            ..Default::default()
        })
    });
    DescribeClusterResponse {
        endpoint_type: CONTROLLERS,
        cluster_id: context.broker.cluster_id.to_string().into(),
        controller_id: context.broker.quorum.leader().unwrap_or(-1),
        brokers: controllers.collect(),
        cluster_authorized_operations: operations::of_cluster(request.include_cluster_authorized_operations),
        ..Default::default()
    }
}

fn refusal(code: ErrorCode, message: String) -> DescribeClusterResponse {
    DescribeClusterResponse {
        error_code: code.code(),
        error_message: Some(message.into()),
        ..Default::default()
    }
}
