//! UpdateFeatures, versions 0 to 2: sets the finalized levels of features (KIP-584).
//!
//! A level can be raised to what every node serves; lowering it is allowed only on request. Since version 1 it may be only
//! tried; since version 2 the answer has no result for each feature: all are set, or none.
//!
//! *Memory*: none. *Authorization*: ALTER on the cluster.

use klamm_model::ErrorCode;
use klamm_protocol::ByteString;
use klamm_protocol::messages::update_features_response::UpdatableFeatureResult;
use klamm_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};

use crate::context::RequestContext;

/// Answers one request: decided by the controller, and answered when it can be seen and used here.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    request: UpdateFeaturesRequest,
) -> UpdateFeaturesResponse {
    let names: Vec<_> = request
        .feature_updates
        .iter()
        .map(|update| update.feature.clone())
        .collect();
    let decided = context.decided_by_controller(request).await;
    decided.unwrap_or_else(|code| unavailable(names, context.version, code))
}

/// The controller could not be asked.
fn unavailable(features: Vec<ByteString>, version: i16, code: ErrorCode) -> UpdateFeaturesResponse {
    let result = |feature| UpdatableFeatureResult {
        feature,
        error_code: code.code(),
        ..Default::default()
    };
    let results = if version < 2 {
        features.into_iter().map(result).collect()
    } else {
        Vec::new()
    };
    UpdateFeaturesResponse {
        error_code: code.code(),
        results,
        ..Default::default()
    }
}
