//! ControllerRegistration: a controller says where it listens and what it serves.
//!
//! Always holds: what a controller says replaces what its earlier incarnation said; saying the same again writes nothing.

use klamm_model::BrokerId;
use klamm_protocol::messages::controller_registration_request::ControllerRegistrationRequest;
use klamm_protocol::messages::controller_registration_response::ControllerRegistrationResponse;
use klamm_protocol::metadata_records::RegisterControllerRecord;
use klamm_protocol::metadata_records::register_controller_record::{ControllerEndpoint, ControllerFeature};

use super::{Context, Decision};
use crate::image::snapshot::register_controller;

/// Decides on the request.
pub fn decide(
    context: &Context<'_>,
    request: &ControllerRegistrationRequest,
) -> Decision<ControllerRegistrationResponse> {
    let record = record(request);
    let known = context
        .image
        .cluster()
        .controller(BrokerId(request.controller_id));
    let same = known.is_some_and(|known| register_controller(known) == record);
    let records = if same { Vec::new() } else { vec![record.into()] };
    Decision {
        records,
        response: ControllerRegistrationResponse {
            error_message: None,
            ..Default::default()
        },
    }
}

fn record(request: &ControllerRegistrationRequest) -> RegisterControllerRecord {
    let end_points = request.listeners.iter().map(|listener| ControllerEndpoint {
        name: listener.name.clone(),
        host: listener.host.clone(),
        port: listener.port,
        security_protocol: listener.security_protocol,
        ..Default::default()
    });
    let mut features: Vec<_> = request
        .features
        .iter()
        .map(|feature| ControllerFeature {
            name: feature.name.clone(),
            min_supported_version: feature.min_supported_version,
            max_supported_version: feature.max_supported_version,
            ..Default::default()
        })
        .collect();
    features.sort_by(|one, other| one.name.cmp(&other.name));
    RegisterControllerRecord {
        controller_id: request.controller_id,
        incarnation_id: request.incarnation_id,
        end_points: end_points.collect(),
        features,
        ..Default::default()
    }
}
