//! What the parts of a broker share.

use std::sync::Arc;

use klamm_config::BrokerConfig;
use klamm_config::broker::Dynamic;
use klamm_env::Env;
use klamm_model::BrokerId;
use klamm_net::RequestMemory;
use klamm_quorum::Quorum;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};

use crate::coordinators::groups::GroupRuntime;
use crate::coordinators::transactions::TransactionRuntime;
use crate::coordinators::{Making, Refusals};
use crate::fetch_sessions::FetchSessions;
use crate::loggers::Loggers;
use crate::metadata_store::MetadataStore;
use crate::metrics::Metrics;
use crate::producer_ids::ProducerIds;
use crate::replicas::moves::Moves;
use crate::replicas::{Assignments, Replicas, Store, Upkeep};
use crate::router::Router;
use crate::vitals::Vitals;

/// Takes over a new dynamic configuration.
type OnDynamic = Box<dyn Fn(&Dynamic) + Send>;

/// A broker. One a process.
pub(crate) struct Broker {
    pub(crate) env: Env,
    pub(crate) id: BrokerId,
    pub(crate) cluster_id: Arc<str>,
    pub(crate) config: BrokerConfig,
    pub(crate) metadata: Arc<MetadataStore>,
    pub(crate) quorum: Quorum,
    pub(crate) router: Router,
    /// The log dirs, in the order of the configuration.
    pub(crate) stores: Vec<Store>,
    /// Which of them are cordoned has changed.
    pub(crate) cordoned: Notify,
    pub(crate) replicas: Replicas,
    /// Where partitions lie, as far as the controller is not told yet.
    pub(crate) assignments: Assignments,
    /// Partitions on their way to other log dirs.
    pub(crate) moves: Moves,
    pub(crate) upkeep: Upkeep,
    pub(crate) vitals: Arc<Vitals>,
    pub(crate) fetch_sessions: FetchSessions,
    pub(crate) producer_ids: ProducerIds,
    /// The groups that are coordinated here.
    pub(crate) groups: GroupRuntime,
    /// The transactional ids that are coordinated here.
    pub(crate) transactions: TransactionRuntime,
    /// Why the topics of coordinators are missing.
    pub(crate) refusals: Refusals,
    /// The topics of coordinators that are being made.
    pub(crate) making: Making,
    pub(crate) metrics: Metrics,
    /// Of the requests of clients.
    pub(crate) request_memory: RequestMemory,
    /// How many batches may be unpacked at once beside the network threads.
    pub(crate) unpacking: Semaphore,
    pub(crate) loggers: Arc<dyn Loggers>,
    /// Takes over what changed of the broker's own dynamic configuration.
    pub(crate) on_dynamic: Mutex<Vec<OnDynamic>>,
}

impl Broker {
    /// The broker's own dynamic configuration is this now.
    pub(crate) fn reconfigure(&self, dynamic: Dynamic) {
        for take in &*self.on_dynamic.lock() {
            take(&dynamic);
        }
    }
}
