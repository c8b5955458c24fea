//! The node joins the cluster: the controller registers, then the broker, with the addresses that clients are told, and is unfenced once it has caught up.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::select;
use klamm_env::{Env, Task};
use klamm_model::{ErrorCode, Uuid};
use klamm_protocol::ByteString;
use klamm_protocol::messages::broker_registration_request::{Feature, Listener};
use klamm_protocol::messages::{
    BrokerHeartbeatRequest, BrokerRegistrationRequest, ControllerRegistrationRequest,
    controller_registration_request as controller,
};
use tracing::warn;

use super::listen::{Advertised, Bound};
use crate::broker::Broker;
use crate::features;
use crate::replicas::Store;

/// The pause after a heartbeat that the controller did not take.
const PAUSE: Duration = Duration::from_millis(500);

/// Kafka's number of the protocol without encryption and authentication.
const PLAINTEXT: i16 = 0;

/// Registers a new incarnation of the controller with the addresses that tools are told.
pub(super) async fn register_controller(broker: &Arc<Broker>, told: Vec<Advertised>) -> Result<(), String> {
    if told.is_empty() {
        return Ok(());
    }
    let listeners = told.into_iter().map(|advertised| controller::Listener {
        name: advertised.listener.into(),
        host: advertised.host.into(),
        port: advertised.port,
        security_protocol: PLAINTEXT,
        ..Default::default()
    });
    let features = features::SUPPORTED.iter().map(|feature| controller::Feature {
        name: feature.name.into(),
        min_supported_version: *feature.levels.start(),
        max_supported_version: *feature.levels.end(),
        ..Default::default()
    });
    let request = ControllerRegistrationRequest {
        controller_id: broker.id.0,
        incarnation_id: broker.env.random_uuid(),
        listeners: listeners.collect(),
        features: features.collect(),
        ..Default::default()
    };
    let response = broker.router.to_controller_as_broker(request).await;
    accepted(response.map_err(|code| code.to_string())?.error_code)
}

/// Registers a new incarnation of the broker.
pub(super) async fn register(
    broker: &Arc<Broker>,
    directories: Vec<Uuid>,
    bound: &Bound,
) -> Result<(), String> {
    let env: &Env = &broker.env;
    let listeners = bound.advertised(env).into_iter().map(|advertised| Listener {
        name: advertised.listener.into(),
        host: advertised.host.into(),
        port: advertised.port,
        security_protocol: PLAINTEXT,
        ..Default::default()
    });
    let features = features::SUPPORTED.iter().map(|feature| Feature {
        name: feature.name.into(),
        min_supported_version: *feature.levels.start(),
        max_supported_version: *feature.levels.end(),
        ..Default::default()
    });
    let request = BrokerRegistrationRequest {
        broker_id: broker.id.0,
        cluster_id: broker.cluster_id.to_string().into(),
        incarnation_id: env.random_uuid(),
        listeners: listeners.collect(),
        features: features.collect(),
        rack: broker.config.node.rack.clone().map(ByteString::from),
        log_dirs: directories,
        previous_broker_epoch: -1,
        ..Default::default()
    };
    let response = broker
        .router
        .to_controller_as_broker(request)
        .await
        .map_err(|code| code.to_string())?;
    accepted(response.error_code)?;
    broker.router.registered(response.broker_epoch);
    Ok(())
}

/// Lets the broker lead and serve; what it has to do for that is carried out when this returns.
pub(super) async fn unfence(broker: &Arc<Broker>) -> Result<(), String> {
    if heartbeat(broker).await? {
        return Err("the controller keeps the broker fenced".to_owned());
    }
    broker.metadata.caught_up().await;
    Ok(())
}

/// Tells the controller that the broker is there and what became of its log dirs; whether it is fenced, is the answer.
async fn heartbeat(broker: &Arc<Broker>) -> Result<bool, String> {
    let ids_of = |is_meant: &dyn Fn(&Store) -> bool| -> Vec<Uuid> {
        let stores = broker.stores.iter().filter(|store| is_meant(store));
        stores.filter_map(|store| store.id).collect()
    };
    let request = BrokerHeartbeatRequest {
        broker_id: broker.id.0,
        broker_epoch: broker.router.broker_epoch(),
        current_metadata_offset: i64::try_from(broker.metadata.published().position().index).unwrap_or(-1),
        want_fence: false,
        offline_log_dirs: ids_of(&|store| store.dir.failure().is_some()),
        cordoned_log_dirs: Some(ids_of(&|store| store.cordoned.load(Ordering::Relaxed))),
        ..Default::default()
    };
    let response = broker
        .router
        .to_controller_as_broker(request)
        .await
        .map_err(|code| code.to_string())?;
    accepted(response.error_code)?;
    Ok(response.is_fenced)
}

/// Tells the controller of log dirs that fail, or are cordoned, from now on: nobody looks for a leader, or a place, there then.
pub(super) fn tell_of_dirs(broker: &Arc<Broker>) -> Task<()> {
    let mut failed = broker.vitals.failed_dirs();
    let told = broker.clone();
    let vitals = broker.vitals.clone();
    vitals.spawn(&broker.env, "tells of log dirs", async move {
        // What failed before it listened is told as well.
        if told.stores.iter().any(|store| store.dir.failure().is_some()) {
            failed.mark_changed();
        }
        loop {
            select(pin!(failed.changed()), pin!(told.cordoned.notified())).await;
            while let Err(why) = heartbeat(&told).await {
                warn!(%why, "the controller cannot be told of the log dirs: tried again");
                told.env.sleep(PAUSE).await;
            }
        }
    })
}

fn accepted(error_code: i16) -> Result<(), String> {
    match ErrorCode::from_code(error_code) {
        Some(ErrorCode::None) => Ok(()),
        Some(code) => Err(format!("the controller answers {code}")),
        None => Err(format!("the controller answers error {error_code}")),
    }
}
