//! ApiVersions, versions 0 to 5: what this broker serves, and which features the cluster has (KIP-35, KIP-511, KIP-584).
//!
//! A version that is not served is answered in version 0 with UNSUPPORTED_VERSION and the versions of this API, so that
//! the client can ask again. Since version 3 the client names its software; the name is checked. Since version 5 it may
//! say which cluster and node it believes to talk to, both or neither, and is told when it is another (KIP-1242).
//!
//! *Memory*: the answer. *Authorization*: none.

use klamm_metadata::Image;
use klamm_model::ErrorCode;
use klamm_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use klamm_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use klamm_protocol::{ApiKey, Writer};

use crate::api_table::{self, Row};
use crate::context::RequestContext;
use crate::dispatch::{Fault, encode};
use crate::features;

/// What a client says that does not know the node's id.
const NO_NODE: i32 = -1;

/// Answers one request.
pub(crate) async fn handle(context: &RequestContext<'_>, request: ApiVersionsRequest) -> ApiVersionsResponse {
    answer(
        context,
        &request,
        &context.broker.metadata.published(),
        api_table::ROWS,
    )
}

/// The answer of a listener that serves `rows`, with the features of `image`.
pub(crate) fn answer(
    context: &RequestContext<'_>,
    request: &ApiVersionsRequest,
    image: &Image,
    rows: &[Row],
) -> ApiVersionsResponse {
    if let Err(code) = check(context, request) {
        return ApiVersionsResponse {
            error_code: code.code(),
            ..Default::default()
        };
    }
    let mut api_keys: Vec<_> = rows.iter().map(version).collect();
    api_keys.sort_unstable_by_key(|served| served.api_key);
    let finalized = image.features().iter().filter(|(_, level)| **level > 0);
    ApiVersionsResponse {
        api_keys,
        supported_features: features::SUPPORTED
            .iter()
            // Before version 4 a client cannot read a range that begins at 0.
            .filter(|feature| context.version >= 4 || *feature.levels.start() > 0)
            .map(|feature| SupportedFeatureKey {
                name: feature.name.into(),
                min_version: *feature.levels.start(),
                max_version: *feature.levels.end(),
                ..Default::default()
            })
            .collect(),
        finalized_features_epoch: i64::try_from(image.position().index).unwrap_or(-1),
        finalized_features: finalized
            .map(|(name, level)| FinalizedFeatureKey {
                name: name.to_string().into(),
                max_version_level: *level,
                min_version_level: *level,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

fn version(row: &Row) -> ApiVersion {
    ApiVersion {
        api_key: row.api.to_i16(),
        min_version: *row.versions.start(),
        max_version: *row.versions.end(),
        ..Default::default()
    }
}

fn check(context: &RequestContext<'_>, request: &ApiVersionsRequest) -> Result<(), ErrorCode> {
    if context.version >= 3
        && !(is_software_name(&request.client_software_name)
            && is_software_name(&request.client_software_version))
    {
        return Err(ErrorCode::InvalidRequest);
    }
    let believed = (request.cluster_id.as_deref(), request.node_id);
    check_believed(believed, (&context.broker.cluster_id, context.broker.id.0))
}

/// Whether a client that believes to talk to this cluster and node is right to stay: both are `own`, or it says neither.
fn check_believed(believed: (Option<&str>, i32), own: (&str, i32)) -> Result<(), ErrorCode> {
    match believed {
        (None, NO_NODE) => Ok(()),
        (None, _) | (Some(_), NO_NODE) => Err(ErrorCode::InvalidRequest),
        (Some(cluster), node) if (cluster, node) == own => Ok(()),
        (Some(_), _) => Err(ErrorCode::RebootstrapRequired),
    }
}

/// Letters, digits, `-` and `.`, the last two not at the ends.
fn is_software_name(name: &str) -> bool {
    let inner = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'.';
    let outer = |c: Option<&u8>| c.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    outer(bytes.first()) && outer(bytes.last()) && bytes.iter().copied().all(inner)
}

/// Answers a version that is not served.
pub(crate) fn answer_unsupported(writer: &mut Writer, correlation_id: i32) -> Result<(), Fault> {
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: api_table::row(ApiKey::ApiVersions.to_i16())
            .into_iter()
            .map(version)
            .collect(),
        ..Default::default()
    };
    encode(writer, ApiKey::ApiVersions, correlation_id, 0, &response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_says_cluster_and_node_or_neither() {
        let other = Err(ErrorCode::RebootstrapRequired);
        let half = Err(ErrorCode::InvalidRequest);
        for (cluster, node, expected) in [
            (None, -1, Ok(())),
            (Some("mine"), 1, Ok(())),
            (Some("mine"), 2, other),
            (Some("mine"), -2, other),
            (Some("another"), 1, other),
            (Some(""), 1, other),
            (Some("mine"), -1, half),
            (Some("another"), -1, half),
            (None, 1, half),
            (None, 2, half),
        ] {
            let verdict = check_believed((cluster, node), ("mine", 1));
            assert_eq!(verdict, expected, "{cluster:?} {node}");
        }
    }

    #[test]
    fn software_names_are_judged_as_kafka_does() {
        for (name, valid) in [
            ("apache-kafka-java", true),
            ("4.4.0", true),
            ("a", true),
            ("", false),
            ("-a", false),
            ("a.", false),
            ("a b", false),
            ("ä", false),
        ] {
            assert_eq!(is_software_name(name), valid, "{name:?}");
        }
    }
}
