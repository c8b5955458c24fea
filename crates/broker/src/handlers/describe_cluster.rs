//! DescribeCluster, versions 0 to 2: the nodes of the cluster, at the addresses of the listener that was asked (KIP-700).
//!
//! Endpoint type 1 asks for brokers; type 2 for controllers, which only a controller's listener answers (KIP-919). Fenced
//! brokers are listed on demand since version 2 (KIP-1073).
//!
//! *Memory*: the answer. *Authorization*: DESCRIBE on the cluster for the operations, otherwise none.

use klamm_model::ErrorCode;
use klamm_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use klamm_protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};

use crate::context::RequestContext;
use crate::operations;

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    let refuse = |code: ErrorCode, message: String| DescribeClusterResponse {
        error_code: code.code(),
        error_message: Some(message.into()),
        ..Default::default()
    };
    match request.endpoint_type {
        BROKERS => {}
        CONTROLLERS => {
            let message = "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type \
                           CONTROLLER";
            return refuse(ErrorCode::MismatchedEndpointType, message.into());
        }
        other => {
            return refuse(
                ErrorCode::UnsupportedEndpointType,
                format!("Unsupported endpoint type {other}"),
            );
        }
    }
    let image = context.broker.metadata.published();
    let shown = image
        .cluster()
        .brokers()
        .filter(|broker| request.include_fenced_brokers || !broker.fenced);
    let brokers = shown.filter_map(|broker| {
        let endpoint = broker.endpoint(&context.connection.listener)?;
        Some(DescribeClusterBroker {
            broker_id: broker.id.0,
            host: endpoint.host.to_string().into(),
            port: i32::from(endpoint.port),
            rack: broker.rack.as_ref().map(|rack| rack.to_string().into()),
            is_fenced: broker.fenced,
            ..Default::default()
        })
    });
    DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: context.broker.cluster_id.to_string().into(),
        controller_id: operations::controller_to_show(context).map_or(-1, |id| id.0),
        brokers: brokers.collect(),
        cluster_authorized_operations: operations::of_cluster(request.include_cluster_authorized_operations),
        ..Default::default()
    }
}
