//! ListConfigResources, versions 0 and 1: what has configs (KIP-1000, KIP-1142).
//!
//! Version 0 lists subscriptions to client metrics; since version 1 the types may be named, and none means all that can be
//! listed.
//!
//! *Memory*: the answer. *Authorization*: DESCRIBE_CONFIGS on the cluster.

use klamm_metadata::{Image, ResourceKind};
use klamm_model::ErrorCode;
use klamm_protocol::messages::list_config_resources_response::ConfigResource;
use klamm_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};

use crate::context::RequestContext;

/// What an empty list of types stands for.
const LISTED: [ResourceKind; 5] = [
    ResourceKind::Topic,
    ResourceKind::Broker,
    ResourceKind::BrokerLogger,
    ResourceKind::ClientMetrics,
    ResourceKind::Group,
];

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    request: ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    let kinds = match kinds(context.version, &request.resource_types) {
        Some(kinds) => kinds,
        None => {
            let error_code = ErrorCode::UnsupportedVersion.code();
            return ListConfigResourcesResponse {
                error_code,
                ..Default::default()
            };
        }
    };
    let image = context.broker.metadata.published();
    let resources = kinds.into_iter().flat_map(|kind| {
        let names = names(&image, kind);
        names.into_iter().map(move |name| ConfigResource {
            resource_name: name.into(),
            resource_type: kind.code(),
            ..Default::default()
        })
    });
    ListConfigResourcesResponse {
        config_resources: resources.collect(),
        ..Default::default()
    }
}

/// `None` if one of the types cannot be listed.
fn kinds(version: i16, types: &[i8]) -> Option<Vec<ResourceKind>> {
    if version == 0 {
        return Some(vec![ResourceKind::ClientMetrics]);
    }
    if types.is_empty() {
        return Some(LISTED.to_vec());
    }
    let mut types = types.to_vec();
    types.sort_unstable();
    types.dedup();
    types.into_iter().map(ResourceKind::from_code).collect()
}

fn names(image: &Image, kind: ResourceKind) -> Vec<String> {
    match kind {
        ResourceKind::Topic => image
            .topics()
            .iter()
            .map(|topic| topic.name.to_string())
            .collect(),
        ResourceKind::Broker | ResourceKind::BrokerLogger => image
            .cluster()
            .brokers()
            .map(|broker| broker.id.0.to_string())
            .collect(),
        ResourceKind::ClientMetrics | ResourceKind::Group => image
            .configs()
            .iter(kind)
            .map(|(name, _)| name.to_string())
            .collect(),
    }
}
