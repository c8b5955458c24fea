//! BrokerRegistration: a broker says that it is there, where it listens and what it serves.
//!
//! A new incarnation is fenced until it has caught up, and has left every ISR; when the earlier one did not stop cleanly, it
//! is no eligible leader either where a crash may lose events. The same incarnation may change what it said. A broker whose
//! earlier incarnation still shows signs of life is refused.
//!
//! Always holds: the epoch of a broker's new incarnation is greater than all earlier ones.

use std::time::Duration;

use klamm_model::{BrokerId, ErrorCode};
use klamm_protocol::messages::broker_registration_request::BrokerRegistrationRequest;
use klamm_protocol::messages::broker_registration_response::BrokerRegistrationResponse;
use klamm_protocol::metadata_records::RegisterBrokerRecord;
use klamm_protocol::metadata_records::register_broker_record::{BrokerEndpoint, BrokerFeature};

use super::isr_changes::Event;
use super::{Context, Decision, Refusal, Sessions};
use crate::image::{BrokerRegistration, METADATA_VERSION, directory};

/// Decides on the request. `epoch` is the metadata offset that the records will have, or another number above all
/// epochs so far. Without an answer, decide again when the records are applied. When the decision with the answer is
/// committed, [`Sessions::heard`] is to be told.
pub fn decide(
    context: &Context<'_>,
    sessions: &Sessions,
    cluster_id: &str,
    epoch: i64,
    now: Duration,
    request: &BrokerRegistrationRequest,
) -> Result<Decision<Option<BrokerRegistrationResponse>>, Refusal> {
    let existing = context.image.cluster().broker(BrokerId(request.broker_id));
    if &*request.cluster_id != cluster_id {
        let message = format!(
            "Expected cluster ID {cluster_id}, but got cluster ID {}",
            request.cluster_id
        );
        return Err(Refusal::new(ErrorCode::InconsistentClusterId, message));
    }
    let same = existing.filter(|existing| existing.incarnation == request.incarnation_id);
    let alive = existing.filter(|existing| {
        same.is_none()
            && !existing.in_controlled_shutdown
            && sessions.is_alive(existing.id, existing.epoch, now)
    });
    if alive.is_some() {
        let message = "Another broker is registered with that broker id. If the broker was recently restarted this \
                       should self-resolve once the heartbeat manager expires the broker's session.";
        return Err(Refusal::new(ErrorCode::DuplicateBrokerRegistration, message));
    }
    check_directories(context, request)?;
    check_features(context, request)?;
    let mut records = Ok(Vec::new());
    let broker_epoch = same.map_or(epoch, |same| same.epoch);
    if let Some(earlier) = existing.filter(|_| same.is_none()) {
        let clean = !context.image.keeps_elr() || earlier.epoch == request.previous_broker_epoch;
        let event = if clean {
            Event::Goes(earlier.id)
        } else {
            Event::Crashed(earlier.id)
        };
        records = context.isr_changes(event);
    }
    if let Ok(records) = &mut records {
        records.push(record(request, same.map(|same| &**same), broker_epoch).into());
    }
    let response = BrokerRegistrationResponse {
        broker_epoch,
        ..Default::default()
    };
    Ok(Decision::in_parts(records, response))
}

fn check_directories(context: &Context<'_>, request: &BrokerRegistrationRequest) -> Result<(), Refusal> {
    let invalid = |message: &str| Err(Refusal::new(ErrorCode::InvalidRegistration, message));
    let mut sorted = request.log_dirs.clone();
    sorted.sort_unstable();
    if sorted.is_empty() {
        return invalid("No directories specified in request");
    }
    if sorted.iter().any(directory::is_reserved) {
        return invalid("Reserved directory ID in request");
    }
    if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        return invalid("Duplicate directory ID in request");
    }
    for other in context
        .image
        .cluster()
        .brokers()
        .filter(|other| other.id.0 != request.broker_id)
    {
        if let Some(taken) = other.directories.iter().find(|id| sorted.contains(id)) {
            return invalid(&format!(
                "Broker {} is already registered with directory {taken}",
                other.id
            ));
        }
    }
    Ok(())
}

/// The broker must serve every feature at its finalized level.
fn check_features(context: &Context<'_>, request: &BrokerRegistrationRequest) -> Result<(), Refusal> {
    if !request
        .features
        .iter()
        .any(|feature| &*feature.name == METADATA_VERSION)
    {
        let message = "Request features do not contain 'metadata.version'";
        return Err(Refusal::new(ErrorCode::InvalidRegistration, message));
    }
    for (name, level) in context.image.features() {
        let offered = request.features.iter().find(|feature| *feature.name == **name);
        let (min, max) = offered.map_or((0, 0), |each| {
            (each.min_supported_version, each.max_supported_version)
        });
        if !(min..=max).contains(level) {
            let message = format!(
                "Unable to register because the broker does not support finalized version {level} of {name}. The broker \
                 wants a version between {min} and {max}, inclusive."
            );
            return Err(Refusal::new(ErrorCode::UnsupportedVersion, message));
        }
    }
    Ok(())
}

fn record(
    request: &BrokerRegistrationRequest,
    same: Option<&BrokerRegistration>,
    broker_epoch: i64,
) -> RegisterBrokerRecord {
    let end_points = request.listeners.iter().map(|listener| BrokerEndpoint {
        name: listener.name.clone(),
        host: listener.host.clone(),
        port: listener.port,
        security_protocol: listener.security_protocol,
        ..Default::default()
    });
    let features = request.features.iter().map(|feature| BrokerFeature {
        name: feature.name.clone(),
        min_supported_version: feature.min_supported_version,
        max_supported_version: feature.max_supported_version,
        ..Default::default()
    });
    RegisterBrokerRecord {
        broker_id: request.broker_id,
        incarnation_id: request.incarnation_id,
        broker_epoch,
        end_points: end_points.collect(),
        features: features.collect(),
        rack: request.rack.clone(),
        fenced: same.is_none_or(|same| same.fenced),
        in_controlled_shutdown: same.is_some_and(|same| same.in_controlled_shutdown),
        log_dirs: request.log_dirs.clone(),
        cordoned_log_dirs: same.and_then(|same| same.cordoned.clone()),
        ..Default::default()
    }
}
