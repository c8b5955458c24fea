//! Binds the listeners before the broker registers (a port 0 is known only then) and serves them after.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use klamm_config::BrokerConfig;
use klamm_config::broker::{Dynamic, Listener as ListenerConfig};
use klamm_env::{Env, Listener};
use klamm_net::{AdmissionLimits, Server, ServerConfig};

use super::StartError;
use crate::broker::Broker;
use crate::dispatch::ClientService;
use crate::replicas::Resolver;

/// Idle connections are closed after this when the configuration never does.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Listeners that are bound and not yet served.
pub(super) struct Bound {
    listeners: Vec<(ListenerConfig, Box<dyn Listener>)>,
}

/// What clients of a listener are told.
pub(super) struct Advertised {
    pub(super) listener: String,
    pub(super) host: String,
    pub(super) port: u16,
}

impl Bound {
    /// Binds all client listeners.
    pub(super) async fn listen(env: &Env, config: &BrokerConfig) -> Result<Self, StartError> {
        let mut listeners = Vec::new();
        for listener in &config.listeners.client {
            let host = listener.host.as_deref().unwrap_or("");
            let bound =
                env.network()
                    .listen(host, listener.port)
                    .await
                    .map_err(|error| StartError::Listen {
                        name: listener.name.clone(),
                        address: format!("{host}:{}", listener.port),
                        error,
                    })?;
            listeners.push((listener.clone(), bound));
        }
        Ok(Self { listeners })
    }

    /// What the broker registers with.
    pub(super) fn advertised(&self, env: &Env) -> Vec<Advertised> {
        let told = self.listeners.iter().filter_map(|(config, bound)| {
            let advertised = config.advertised.as_ref()?;
            Some(Advertised {
                listener: config.name.clone(),
                host: advertised.host.clone().unwrap_or_else(|| env.host_name()),
                port: advertised.port.unwrap_or_else(|| bound.local_addr().port()),
            })
        });
        told.collect()
    }

    /// Accepts connections from now on.
    pub(super) fn serve(self, server: &Server<ClientService>) -> Vec<(Arc<str>, SocketAddr)> {
        let serve = |(config, bound): (ListenerConfig, Box<dyn Listener>)| {
            let (name, address): (Arc<str>, _) = (config.name.into(), bound.local_addr());
            server.serve(name.clone(), bound);
            (name, address)
        };
        self.listeners.into_iter().map(serve).collect()
    }
}

/// How connections are treated.
pub(super) fn server_config(broker: &Broker) -> ServerConfig {
    let image = broker.metadata.published_arc();
    let net = &broker.config.net;
    ServerConfig {
        max_request_bytes: net.request_max_bytes as usize,
        max_idle: net.idle_timeout.unwrap_or(NEVER),
        admission: limits(&Resolver::new(broker, &image).dynamic()),
    }
}

/// Lets the limits of connections follow the dynamic configuration.
pub(super) fn follow_limits(broker: &Broker, server: &Server<ClientService>) {
    let server = server.clone();
    broker
        .on_dynamic
        .lock()
        .push(Box::new(move |dynamic| server.limit(limits(dynamic))));
}

fn limits(dynamic: &Dynamic) -> AdmissionLimits {
    let overrides: BTreeMap<_, _> = dynamic
        .max_connections_of
        .iter()
        .map(|(address, count)| (*address, *count as usize))
        .collect();
    AdmissionLimits {
        max: dynamic.max_connections as usize,
        max_per_address: dynamic.max_connections_per_ip as usize,
        overrides,
    }
}
