//! UpdateFeatures: finalizes features at other levels (KIP-584, KIP-1022).
//!
//! All updates of a request are made, or none: the first that is refused is the answer. A feature goes up or down within
//! what this node and every registered node serve; down only when the request says so. `metadata.version` goes down only to a
//! level whose records are those of the current one: others may be in the log. Up to version 1 each feature is answered for,
//! as in Kafka.
//!
//! Always holds: a finalized level is one that the whole cluster serves, beside the levels it depends on.

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
/// The levels of `metadata.version` that came with records, or with parts of them, which lower levels do not have: seen with
/// Kafka 4.4, which refuses to go below each of them, and goes down by one from every other level.
const NEW_RECORDS: &[i16] = &[8, 11, 13, 14, 15, 17, 23, 30, 32, 33];
/// Features that are used only from a level of `metadata.version` on.
const DEPENDING: &[(&str, i16)] = &[("eligible.leader.replicas.version", 23)];

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
    // Updates of one request may depend on each other, in any order.
    let asked = request.feature_updates.iter();
    let asked = asked.filter(|update| &*update.feature == METADATA_VERSION);
    let metadata_version = asked.last().map_or_else(
        || context.image.feature_level(METADATA_VERSION),
        |update| update.max_version_level,
    );
    for update in &request.feature_updates {
        let upgrade_type = upgrade_type(update, version);
        let allowed = one(context, served, update, upgrade_type);
        if let Err(refusal) = allowed.and_then(|()| dependency(update, metadata_version)) {
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
    let are_new = NEW_RECORDS.iter().any(|new| (level + 1..=current).contains(new));
    if are_new && name == METADATA_VERSION {
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

/// Whether the feature may be used beside this level of `metadata.version`.
fn dependency(update: &FeatureUpdateKey, metadata_version: i16) -> Result<(), String> {
    let (name, level) = (&*update.feature, update.max_version_level);
    let needed = DEPENDING.iter().find(|(depending, _)| *depending == name);
    match needed {
        Some((_, needed)) if level > 0 && metadata_version < *needed => Err(format!(
            "Invalid update version {level} for feature {name}. {name} could not be set to {level} because it depends on \
             {METADATA_VERSION} level {needed}"
        )),
        _ => Ok(()),
    }
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
