//! ListConfigResources, versions 0 and 1: what has configs (KIP-1000, KIP-1142).
//!
//! Version 0 lists subscriptions to client metrics; since version 1 the types may be named, and none means all that can be
//! listed.
//!
//! *Memory*: the answer, proportional to what is listed, reserved while it is made. *Authorization*: DESCRIBE_CONFIGS on the cluster.

use klamm_metadata::{Image, ResourceKind};
use klamm_model::ErrorCode;
use klamm_protocol::messages::list_config_resources_response::ConfigResource;
use klamm_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};

use crate::context::RequestContext;
use crate::turn::Turn;

/// What a resource takes, described and encoded, beside its name, with what the allocator rounds up.
const RESOURCE_BYTES: usize = 2 * size_of::<ConfigResource>() + 32;

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
    ListConfigResourcesResponse {
        config_resources: resources(context, kinds).await,
        ..Default::default()
    }
}

/// All of these kinds, one after the other; none if they are too many for an answer.
async fn resources(context: &RequestContext<'_>, kinds: Vec<ResourceKind>) -> Vec<ConfigResource> {
    let image = context.broker.metadata.published_arc();
    let mut turn = Turn::default();
    let mut resources = Vec::new();
    for kind in kinds {
        for name in names(&image, kind) {
            let bytes = RESOURCE_BYTES + 2 * name.len();
            if !context.memory.reserve(bytes).await {
                return Vec::new();
            }
            resources.push(ConfigResource {
                resource_name: name.into(),
                resource_type: kind.code(),
                ..Default::default()
            });
            turn.spend(bytes).await;
        }
    }
    resources
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

fn names(image: &Image, kind: ResourceKind) -> Box<dyn Iterator<Item = String> + Send + '_> {
    match kind {
        ResourceKind::Topic => Box::new(image.topics().iter().map(|topic| topic.name.to_string())),
        ResourceKind::Broker | ResourceKind::BrokerLogger => {
            let brokers = image.cluster().brokers();
            Box::new(brokers.map(|broker| broker.id.0.to_string()))
        }
        ResourceKind::ClientMetrics | ResourceKind::Group => {
            Box::new(image.configs().iter(kind).map(|(name, _)| name.to_string()))
        }
    }
}
