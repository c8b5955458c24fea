//! The controller's side of a node: its listeners, the memory of their requests, and the broker's way to it.
//!
//! Always holds: the listeners are served before the broker registers, which may go through them; they stop after the
//! clients' listeners, whose last requests may need them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use klamm_config::BrokerConfig;
use klamm_env::Env;
use klamm_net::{RequestMemory, Server};
use klamm_protocol::MemoryPool;

use super::DRAIN;
use super::listen::{Bound, server_config};
use crate::broker::Broker;
use crate::controller::Controller;
use crate::controller::service::ControllerService;
use crate::pool::DecodePool;
use crate::router::link::{Endpoint, Limits, Link};
use crate::router::{Route, RouterMode};
use crate::vitals::Vitals;

/// The part of the memory for requests that is the controller's where it has listeners: one in so many.
const SHARE: usize = 8;

/// The memory of requests, in two parts: a client's request holds some of one while the controller's answer to it needs
/// some of the other, so that they never wait for each other.
pub(super) struct Memory {
    pub(super) clients: RequestMemory,
    controllers: RequestMemory,
    pool: Arc<dyn MemoryPool>,
}

impl Memory {
    /// Divides what the configuration allows.
    pub(super) fn new(config: &BrokerConfig, bound: &Bound) -> Self {
        let whole = usize::try_from(config.net.request_memory_bytes).unwrap_or(usize::MAX);
        let share = match bound.controllers.is_empty() {
            true => 0,
            false => whole / SHARE,
        };
        let controllers = RequestMemory::new(share);
        Self {
            clients: RequestMemory::new(whole - share),
            pool: Arc::new(DecodePool::new(controllers.clone())),
            controllers,
        }
    }
}

/// How the broker reaches the controller, which is in this process.
pub(super) fn route(
    mode: RouterMode,
    env: &Env,
    vitals: &Arc<Vitals>,
    config: &BrokerConfig,
    bound: &Bound,
    memory: &Memory,
    controller: &Arc<Controller>,
) -> Route {
    let listener = bound
        .controllers
        .first()
        .map(|(_, listener)| listener.local_addr());
    match (mode, listener) {
        (RouterMode::ForcedOverLoopback, Some(address)) => {
            let limits = Limits {
                memory: memory.controllers.clone(),
                pool: memory.pool.clone(),
                max_answer_bytes: config.net.request_max_bytes as usize,
            };
            let client_id = format!("klamm-broker-{}", config.node.id);
            Route::Remote(Link::start(env, vitals, client_id, within(address), limits))
        }
        (RouterMode::Auto, _) | (_, None) => Route::Local(controller.clone()),
    }
}

/// Where this machine itself finds what listens at `address`.
fn within(address: SocketAddr) -> Endpoint {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Endpoint {
        host: ip.to_string(),
        port: address.port(),
    }
}

/// Listeners of the controller that are served.
pub(super) struct Controllers {
    server: Server<ControllerService>,
    pub(super) addresses: Vec<(Arc<str>, SocketAddr)>,
}

impl Controllers {
    /// Serves all that are bound; `None` if there are none.
    pub(super) fn serve(
        bound: &mut Bound,
        broker: &Arc<Broker>,
        controller: Arc<Controller>,
        memory: &Memory,
    ) -> Option<Self> {
        let listeners = std::mem::take(&mut bound.controllers);
        if listeners.is_empty() {
            return None;
        }
        let service = ControllerService {
            controller,
            broker: broker.clone(),
            pool: memory.pool.clone(),
            memory: memory.controllers.clone(),
        };
        // What is configured while running concerns the clients' connections.
        let config = server_config(broker);
        let server = Server::new(broker.env.clone(), config, memory.controllers.clone(), service);
        let addresses = listeners.into_iter().map(|(name, listener)| {
            let name: Arc<str> = name.into();
            let address = listener.local_addr();
            server.serve(name.clone(), listener);
            (name, address)
        });
        let addresses = addresses.collect();
        Some(Self { server, addresses })
    }

    /// Ends all connections at once.
    pub(super) fn abort(&self) {
        self.server.abort();
    }

    /// Lets every connection finish what it was asked.
    pub(super) async fn stop(&self) {
        self.server.stop(DRAIN).await;
    }
}
