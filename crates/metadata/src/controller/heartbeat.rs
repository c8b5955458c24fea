//! BrokerHeartbeat: a broker says that it is alive, how far it has the metadata, and whether it wants to serve or to stop.
//!
//! A fenced broker that has its own registration in its metadata is unfenced. One that wants to stop gives its
//! leaderships away first; when it has none, and all others know, it is told to stop.
//!
//! Always holds: an earlier incarnation is refused. The caller tells [`Sessions::heard`] of every heartbeat that is not, and
//! [`Sessions::shutting_down`] of the metadata offset at which a broker begins to stop.

use klamm_model::{BrokerId, ErrorCode};
use klamm_protocol::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use klamm_protocol::messages::broker_heartbeat_response::BrokerHeartbeatResponse;
use klamm_protocol::metadata_records::BrokerRegistrationChangeRecord;

use super::isr_changes::{Part, begin_shutdown, fence, unfence};
use super::{Context, Decision, Sessions};
use crate::image::BrokerRegistration;
use crate::record::MetadataRecord;

/// What a broker is to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Fenced,
    Unfenced,
    ControlledShutdown,
    StopNow,
}

/// Decides on the request; without an answer, decide again when the records are applied.
pub fn decide(
    context: &Context<'_>,
    sessions: &Sessions,
    request: &BrokerHeartbeatRequest,
) -> Decision<Option<BrokerHeartbeatResponse>> {
    if let Err(code) = context.check_broker_epoch(request.broker_id, request.broker_epoch) {
        return Decision::unchanged(Some(BrokerHeartbeatResponse {
            error_code: code.code(),
            ..Default::default()
        }));
    }
    let registered = context.image.cluster().broker(BrokerId(request.broker_id));
    let broker = registered.expect("its epoch was just compared");
    let is_caught_up = request.current_metadata_offset >= broker.epoch;
    let next = next(context, sessions, broker, request, is_caught_up);
    let response = BrokerHeartbeatResponse {
        error_code: ErrorCode::None.code(),
        is_caught_up,
        is_fenced: matches!(next, Next::Fenced | Next::StopNow),
        should_shut_down: next == Next::StopNow,
        ..Default::default()
    };
    Decision::in_parts(records(context, broker, request, next), response)
}

fn records(
    context: &Context<'_>,
    broker: &BrokerRegistration,
    request: &BrokerHeartbeatRequest,
    next: Next,
) -> Result<Vec<MetadataRecord>, Part> {
    let mut records = directory_change(context, broker, request)?;
    records.extend(match next {
        Next::Fenced | Next::StopNow if !broker.fenced => fence(context, broker)?,
        Next::Unfenced if broker.fenced => unfence(context, broker)?,
        Next::ControlledShutdown if !broker.in_controlled_shutdown => begin_shutdown(context, broker)?,
        _ => Vec::new(),
    });
    Ok(records)
}

fn next(
    context: &Context<'_>,
    sessions: &Sessions,
    broker: &BrokerRegistration,
    request: &BrokerHeartbeatRequest,
    is_caught_up: bool,
) -> Next {
    if request.want_shut_down {
        if broker.fenced || request.want_fence {
            return Next::StopNow;
        }
        if leads(context, broker.id) {
            return Next::ControlledShutdown;
        }
        let begun = sessions
            .shutdown_begun(broker.id)
            .unwrap_or(context.image.position().index as i64);
        let others_know = sessions
            .lowest_metadata_offset(broker.id)
            .is_none_or(|lowest| lowest >= begun);
        let mut others = context
            .image
            .cluster()
            .brokers()
            .filter(|other| other.id != broker.id);
        let is_alone = !others.any(|other| other.is_active());
        let stops = is_alone || (broker.in_controlled_shutdown && others_know);
        return if stops {
            Next::StopNow
        } else {
            Next::ControlledShutdown
        };
    }
    match (request.want_fence, broker.fenced) {
        (true, _) => Next::Fenced,
        (false, true) if !is_caught_up => Next::Fenced,
        (false, _) if broker.in_controlled_shutdown => Next::ControlledShutdown,
        (false, _) => Next::Unfenced,
    }
}

fn leads(context: &Context<'_>, id: BrokerId) -> bool {
    let topics = context.image.topics().iter();
    topics
        .flat_map(|topic| &topic.partitions)
        .any(|partition| partition.leader == Some(id))
}

/// The broker's log dirs that went offline since it registered, or take no new replicas.
fn directory_change(
    context: &Context<'_>,
    broker: &BrokerRegistration,
    request: &BrokerHeartbeatRequest,
) -> Result<Vec<MetadataRecord>, Part> {
    let online: Vec<_> = broker
        .directories
        .iter()
        .filter(|id| !request.offline_log_dirs.contains(id))
        .copied()
        .collect();
    let lost = !online.is_empty() && online != broker.directories;
    let cordoned = request.cordoned_log_dirs.as_ref().map(|cordoned| {
        let mut cordoned = cordoned.clone();
        cordoned.sort_unstable();
        cordoned
    });
    let cordoned =
        cordoned.filter(|cordoned| broker.cordoned.as_ref().map_or(&[][..], |ids| ids) != &cordoned[..]);
    if !lost && cordoned.is_none() {
        return Ok(Vec::new());
    }
    let record = BrokerRegistrationChangeRecord {
        broker_id: broker.id.0,
        broker_epoch: broker.epoch,
        log_dirs: if lost { online.clone() } else { Vec::new() },
        cordoned_log_dirs: cordoned,
        ..Default::default()
    };
    let mut records = vec![record.into()];
    if lost {
        records.extend(context.directories_lost(broker.id, &online)?);
    }
    Ok(records)
}
