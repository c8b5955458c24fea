//! Binds the listeners before the broker registers (a port 0 is known only then) and serves them after.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
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
use crate::router::RouterMode;

/// Idle connections are closed after this when the configuration never does.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The name of the controller's listener that is not configured.
const LOOPBACK: &str = "LOOPBACK";

/// Listeners that are bound and not yet served.
pub(super) struct Bound {
    listeners: Vec<(ListenerConfig, Box<dyn Listener>)>,
    /// The controller's, by name.
    pub(super) controllers: Vec<(String, Box<dyn Listener>)>,
}

/// What clients of a listener are told.
pub(super) struct Advertised {
    pub(super) listener: String,
    pub(super) host: String,
    pub(super) port: u16,
}

impl Bound {
    /// Binds all listeners, and one for the controller where `mode` needs it and none is configured.
    pub(super) async fn listen(
        env: &Env,
        config: &BrokerConfig,
        mode: RouterMode,
    ) -> Result<Self, StartError> {
        let mut listeners = Vec::new();
        for listener in &config.listeners.client {
            let host = listener.host.as_deref().unwrap_or("");
            let bound = bind(env, &listener.name, host, listener.port).await?;
            listeners.push((listener.clone(), bound));
        }
        let mut controllers = Vec::new();
        for listener in &config.listeners.controller {
            let host = listener.host.as_deref().unwrap_or("");
            let bound = bind(env, &listener.name, host, listener.port).await?;
            controllers.push((listener.name.clone(), bound));
        }
        if controllers.is_empty() && mode == RouterMode::ForcedOverLoopback {
            let bound = bind(env, LOOPBACK, "127.0.0.1", 0).await?;
            controllers.push((LOOPBACK.to_owned(), bound));
        }
        Ok(Self {
            listeners,
            controllers,
        })
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

    /// What the controller registers with: its configured listeners as they are bound, by this machine's name where they
    /// are bound to every interface.
    pub(super) fn told_of_controller(&self, env: &Env, config: &BrokerConfig) -> Vec<Advertised> {
        let configured = config.listeners.controller.iter().zip(&self.controllers);
        let told = configured.map(|(listener, (_, bound))| {
            let is_wildcard = |host: &str| host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
            let host = listener.host.clone().filter(|host| !is_wildcard(host));
            Advertised {
                listener: listener.name.clone(),
                host: host.unwrap_or_else(|| env.host_name()),
                port: bound.local_addr().port(),
            }
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

async fn bind(env: &Env, name: &str, host: &str, port: u16) -> Result<Box<dyn Listener>, StartError> {
    let bound = env.network().listen(host, port).await;
    bound.map_err(|error| StartError::Listen {
        name: name.to_owned(),
        address: format!("{host}:{port}"),
        error,
    })
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
