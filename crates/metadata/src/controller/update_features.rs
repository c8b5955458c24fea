//! UpdateFeatures: finalizes features at other levels (KIP-584, KIP-1022).
//!
//! All updates of a request are made, or none: the first that is refused is the answer. A feature goes up or down within
//! what this node and every registered node serve; down only when the request says so. `metadata.version` does not go
//! down: records of the higher version may be in the log. Up to version 1 each feature is answered for, as in Kafka.
//!
//! Always holds: a finalized level is one that the whole cluster serves.

use std::collections::BTreeMap;

use klamm_model::ErrorCode;
use klamm_protocol::messages::update_features_request::{FeatureUpdateKey, UpdateFeaturesRequest};
use klamm_protocol::messages::update_features_response::{UpdatableFeatureResult, UpdateFeaturesResponse};
use klamm_protocol::metadata_records::FeatureLevelRecord;

use super::{Context, Decision, Refusal};
use crate::image::{METADATA_VERSION, VersionRange};

/// The levels of the features that this node serves, by name.
pub type ServedFeatures = BTreeMap<&'static str, VersionRange>;

const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;
const UNSAFE_DOWNGRADE: i8 = 3;
/// The last version whose answer lists the features.
const LISTING_VERSION: i16 = 1;

/// Decides on the request, which came at `version`.
pub fn decide(
    context: &Context<'_>,
    served: &ServedFeatures,
    version: i16,
    request: &UpdateFeaturesRequest,
) -> Decision<UpdateFeaturesResponse> {
    let mut levels: BTreeMap<&str, i16> = BTreeMap::new();
    for update in &request.feature_updates {
        let upgrade_type = upgrade_type(update, version);
        if let Err(refusal) = one(context, served, update, upgrade_type) {
            return Decision::unchanged(refused(refusal));
        }
        if context.image.feature_level(&update.feature) != update.max_version_level {
            levels.insert(&update.feature, update.max_version_level);
        }
    }
    let result = |update: &FeatureUpdateKey| UpdatableFeatureResult {
        feature: update.feature.clone(),
        error_code: ErrorCode::None.code(),
        error_message: Some("NONE".into()),
        ..Default::default()
    };
    let listed = request
        .feature_updates
        .iter()
        .filter(|_| version <= LISTING_VERSION);
    let response = UpdateFeaturesResponse {
        error_message: None,
        results: listed.map(result).collect(),
        ..Default::default()
    };
    if request.validate_only {
        levels.clear();
    }
    let record = |(name, feature_level): (&str, i16)| {
        FeatureLevelRecord {
            name: name.into(),
            feature_level,
            ..Default::default()
        }
        .into()
    };
    Decision {
        records: levels.into_iter().map(record).collect(),
        response,
    }
}

/// In version 0 a flag says whether the feature may go down.
fn upgrade_type(update: &FeatureUpdateKey, version: i16) -> i8 {
    match (version, update.allow_downgrade) {
        (0, true) => SAFE_DOWNGRADE,
        (0, false) => UPGRADE,
        _ => update.upgrade_type,
    }
}

fn one(
    context: &Context<'_>,
    served: &ServedFeatures,
    update: &FeatureUpdateKey,
    upgrade_type: i8,
) -> Result<(), String> {
    let (name, level) = (&*update.feature, update.max_version_level);
    let invalid = |why: &str| {
        Err(format!(
            "Invalid update version {level} for feature {name}. {why}"
        ))
    };
    let current = context.image.feature_level(name);
    if !served.contains_key(name) && level == 0 && current == 0 {
        return invalid(&format!("Feature {name} not found."));
    }
    if !matches!(upgrade_type, UPGRADE | SAFE_DOWNGRADE | UNSAFE_DOWNGRADE) {
        return invalid("The controller does not support the given upgrade type.");
    }
    if level < 0 {
        return invalid("A feature version cannot be less than 0.");
    }
    if let Some(why) = not_served(context, served, name, level) {
        return invalid(&why);
    }
    if level < current && upgrade_type == UPGRADE {
        return invalid(
            "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe \
             downgrade.",
        );
    }
    if level > current && upgrade_type != UPGRADE {
        return invalid("Can't downgrade to a newer version.");
    }
    if level < current && name == METADATA_VERSION {
        let why = match upgrade_type {
            UNSAFE_DOWNGRADE => "Unsafe metadata downgrade is not supported in this version.",
            _ => "Refusing to perform the requested downgrade because it might delete metadata information.",
        };
        return Err(format!(
            "Unsupported metadata.version downgrade from {current} to {level}. {why}"
        ));
    }
    Ok(())
}

/// Which node does not serve the level, and why.
fn not_served(context: &Context<'_>, served: &ServedFeatures, name: &str, level: i16) -> Option<String> {
    let lacking = |who: String, range: Option<&VersionRange>| match range {
        // Not using a feature is possible everywhere, except for that which all records depend on.
        Some(range) if range.contains(level) && (level > 0 || name != METADATA_VERSION) => None,
        Some(range) => Some(format!(
            "{who} only supports versions {}-{}",
            range.min, range.max
        )),
        None if level == 0 => None,
        None => Some(format!("{who} does not support this feature.")),
    };
    if let Some(why) = lacking(format!("Local controller {}", context.node), served.get(name)) {
        return Some(why);
    }
    let cluster = context.image.cluster();
    let brokers = cluster
        .brokers()
        .map(|broker| (format!("Broker {}", broker.id), &broker.features));
    let controllers = cluster.controllers();
    let controllers =
        controllers.map(|controller| (format!("Controller {}", controller.id), &controller.features));
    brokers
        .chain(controllers)
        .find_map(|(who, features)| lacking(who, features.get(name)))
}

fn refused(why: String) -> UpdateFeaturesResponse {
    let message =
        format!("The update failed for all features since the following feature had an error: {why}");
    let refusal = Refusal::new(ErrorCode::InvalidUpdateVersion, message);
    UpdateFeaturesResponse {
        error_code: refusal.code.code(),
        error_message: refusal.words(),
        ..Default::default()
    }
}
