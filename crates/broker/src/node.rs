//! A node from start to end: log dirs, quorum, controller, broker, listeners, in this order; and back.
//!
//! Always holds: clients are let in when everything that was there before can be used again; a start that fails says why
//! and leaves nothing running; an orderly end answers what was read, makes everything durable and says so on disk.

mod controllers;
mod dirs;
mod listen;
mod register;

use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use klamm_config::BrokerConfig;
use klamm_env::{Env, Task};
use klamm_log::journal::Limits;
use klamm_net::{RequestMemory, Server};
use klamm_quorum::{NoPeers, Quorum, QuorumConfig};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tracing::info;

use self::controllers::{Controllers, Memory};
use self::dirs::Dirs;
use self::listen::{Advertised, Bound};
use crate::broker::Broker;
use crate::controller::{self, Controller};
use crate::coordinators::{Making, Refusals, groups, transactions};
use crate::dispatch::ClientService;
use crate::fetch_sessions::FetchSessions;
use crate::loggers::Loggers;
use crate::metadata_store::MetadataStore;
use crate::metrics::{Metrics, Observer};
use crate::producer_ids::ProducerIds;
use crate::replicas::moves::Moves;
use crate::replicas::{Applier, Assignments, Replicas, Upkeep};
use crate::router::Router;
pub use crate::router::RouterMode;
use crate::vitals::Vitals;

/// The folder of the metadata log within its log dir.
pub(crate) const QUORUM_FOLDER: &str = "klamm-metadata";
/// Batches that are unpacked at once beside the network threads.
const UNPACKERS: usize = 4;
/// How long connections may take to finish what they were asked when the node stops.
const DRAIN: Duration = Duration::from_secs(10);

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A log dir cannot be used.
    #[error(transparent)]
    Log(#[from] klamm_log::LogError),
    /// The log dirs do not belong together.
    #[error("{0}")]
    Dirs(String),
    /// A disk that has data of the node does not seem to be there.
    #[error("{0}")]
    Missing(String),
    /// The disk of the metadata log is full.
    #[error("{folder}: {usable_bytes} bytes are free, a start needs {needed_bytes}: make room on that disk")]
    Full {
        /// `metadata.log.dir`.
        folder: String,
        /// What is free.
        usable_bytes: u64,
        /// What is needed.
        needed_bytes: u64,
    },
    /// The metadata log cannot be used.
    #[error(transparent)]
    Quorum(#[from] klamm_quorum::StartError),
    /// An address cannot be listened at.
    #[error("listener {name}: cannot listen at {address}: {error}")]
    Listen {
        /// The listener.
        name: String,
        /// Its address.
        address: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// The cluster does not take the broker.
    #[error("the broker could not join: {0}")]
    Join(String),
}

impl StartError {
    /// Whether a later version wrote what is on disk.
    pub fn is_newer_format(&self) -> bool {
        use klamm_quorum::{FileError, StartError as QuorumError};
        matches!(
            self,
            Self::Log(klamm_log::LogError::NewerFormat { .. })
                | Self::Quorum(QuorumError::File(FileError::NewerVersion { .. }))
        )
    }
}

/// How a node runs, beside its configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct NodeOptions {
    /// How its broker reaches the controller.
    pub router: RouterMode,
}

/// A node that runs.
pub struct Node {
    broker: Arc<Broker>,
    server: Server<ClientService>,
    addresses: Vec<(Arc<str>, SocketAddr)>,
    controllers: Option<Controllers>,
    tasks: Mutex<Vec<Task<()>>>,
}

impl Node {
    /// Starts a node and returns when clients can use it.
    pub async fn start(
        env: Env,
        config: BrokerConfig,
        loggers: Arc<dyn Loggers>,
    ) -> Result<Node, StartError> {
        Self::start_with(env, config, loggers, NodeOptions::default()).await
    }

    /// Starts a node that runs as `options` say.
    pub async fn start_with(
        env: Env,
        config: BrokerConfig,
        loggers: Arc<dyn Loggers>,
        options: NodeOptions,
    ) -> Result<Node, StartError> {
        let dirs = Dirs::open(&env, &config).await?;
        let mut bound = Bound::listen(&env, &config, options.router).await?;
        let metadata = Arc::new(MetadataStore::new());
        let quorum = start_quorum(&env, &config, &dirs, metadata.clone()).await?;
        let controller = start_controller(&env, &config, &dirs, &quorum, &metadata).await?;
        let memory = Memory::new(&config, &bound);
        let vitals = Arc::new(Vitals::default());
        let route = controllers::route(
            options.router,
            &env,
            &vitals,
            &config,
            &bound,
            &memory,
            &controller,
        );
        let broker = Arc::new(Broker {
            env: env.clone(),
            id: config.node.id,
            cluster_id: dirs.cluster_id.to_string().into(),
            quorum,
            router: Router::new(config.node.id, route),
            stores: dirs.stores(&env, &vitals, journal_limits(&config)),
            cordoned: Default::default(),
            groups: groups::runtime(&env, &vitals, &metadata, &config),
            transactions: transactions::runtime(&env, &vitals, &metadata, &config.transactions),
            metadata,
            vitals,
            replicas: Replicas::default(),
            assignments: Assignments::default(),
            moves: Moves::new(config.node.log_dirs.len()),
            upkeep: Upkeep::default(),
            fetch_sessions: FetchSessions::new(config.net.fetch_sessions as usize),
            producer_ids: ProducerIds::default(),
            refusals: Refusals::default(),
            making: Making::default(),
            metrics: Metrics::default(),
            request_memory: memory.clients.clone(),
            unpacking: Semaphore::new(UNPACKERS),
            loggers,
            on_dynamic: Default::default(),
            config,
        });
        let told = bound.told_of_controller(&env, &broker.config);
        let controllers = Controllers::serve(&mut bound, &broker, controller, &memory);
        let joined = join(&broker, dirs, &bound, told).await;
        if let (Err(_), Some(controllers)) = (&joined, &controllers) {
            controllers.stop().await;
        }
        let following = joined.map_err(StartError::Join)?;
        let tasks = work(&broker, following);
        broker.upkeep.start(&broker);
        let server = server(env, &broker, memory.clients);
        listen::follow_limits(&broker, &server);
        let addresses = bound.serve(&server);
        Ok(Node {
            broker,
            server,
            addresses,
            controllers,
            tasks: Mutex::new(tasks),
        })
    }

    /// The names and addresses that are listened at, with the ports that were found for 0.
    pub fn addresses(&self) -> &[(Arc<str>, SocketAddr)] {
        &self.addresses
    }

    /// The same of the controller's listeners.
    pub fn controller_addresses(&self) -> &[(Arc<str>, SocketAddr)] {
        match &self.controllers {
            Some(controllers) => &controllers.addresses,
            None => &[],
        }
    }

    /// The cluster's id.
    pub fn cluster_id(&self) -> &str {
        &self.broker.cluster_id
    }

    /// Shows the node's metrics and health from outside.
    pub fn observer(&self) -> Observer {
        Observer::new(self.broker.clone())
    }

    /// Waits until the node cannot go on, and says why.
    pub async fn failed(&self) -> String {
        let quorum = pin!(self.broker.quorum.fatal());
        let metadata = pin!(self.broker.metadata.failed());
        let vitals = pin!(self.broker.vitals.failed());
        match select(quorum, select(metadata, vitals)).await {
            Either::Left((error, _)) => error.to_string(),
            Either::Right((Either::Left((why, _)) | Either::Right((why, _)), _)) => why,
        }
    }

    /// Ends the node in order.
    pub async fn stop(&self) {
        info!("stopping");
        self.broker.transactions.dismiss();
        self.broker.groups.dismiss();
        self.server.stop(DRAIN).await;
        if let Some(controllers) = &self.controllers {
            controllers.stop().await;
        }
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            task.abort();
            task.await;
        }
        self.broker.moves.stop().await;
        self.broker.transactions.stop().await;
        self.broker.groups.stop().await;
        self.broker
            .upkeep
            .finish(&self.broker, self.broker.router.broker_epoch())
            .await;
        self.broker.quorum.shutdown().await;
        // They hold the server, which holds the broker: without this it would never be let go, nor its log dirs.
        self.broker.on_dynamic.lock().clear();
        info!("stopped");
    }
}

/// A node that is dropped without an end in order, as after a failure, leaves its log dirs as a crash would, and unlocked.
impl Drop for Node {
    fn drop(&mut self) {
        self.server.abort();
        if let Some(controllers) = &self.controllers {
            controllers.abort();
        }
        self.tasks.lock().drain(..).for_each(|task| task.abort());
        self.broker.moves.abort();
        self.broker.groups.abort();
        self.broker.transactions.abort();
        self.broker.upkeep.cleaner.abort();
        // They hold the server, which holds the broker.
        self.broker.on_dynamic.lock().clear();
    }
}

fn journal_limits(config: &BrokerConfig) -> Limits {
    let housekeeping = &config.housekeeping;
    Limits {
        file_bytes: housekeeping.journal_file_bytes,
        max_bytes: housekeeping.journal_max_bytes,
    }
}

/// What is done beside serving, from now on.
fn work(broker: &Arc<Broker>, following: Task<()>) -> Vec<Task<()>> {
    vec![
        following,
        register::tell_of_dirs(broker),
        Assignments::tell(broker),
        transactions::sender::start(broker),
    ]
}

/// Serves nobody yet.
fn server(env: Env, broker: &Arc<Broker>, memory: RequestMemory) -> Server<ClientService> {
    let service = ClientService {
        broker: broker.clone(),
    };
    Server::new(env, listen::server_config(broker), memory, service)
}

async fn start_quorum(
    env: &Env,
    config: &BrokerConfig,
    dirs: &Dirs,
    metadata: Arc<MetadataStore>,
) -> Result<Quorum, StartError> {
    check_room(env, &config.node.metadata_log_dir).await?;
    let folder = Path::new(&config.node.metadata_log_dir).join(QUORUM_FOLDER);
    let id = config.node.id.0;
    let endpoint = match config.node.voters.first() {
        Some(voter) => klamm_quorum::Endpoint::new(voter.address.host.clone(), voter.address.port),
        None => klamm_quorum::Endpoint::default(),
    };
    let mut quorum_config = QuorumConfig::new(id, [(id, endpoint)].into(), folder, dirs.cluster_id);
    quorum_config.snapshot_after_bytes = config.node.metadata_snapshot_bytes;
    let quorum = Quorum::start(env.clone(), quorum_config, metadata, Arc::new(NoPeers)).await?;
    quorum
        .wait_for_leader()
        .await
        .map_err(|error| StartError::Join(error.to_string()))?;
    Ok(quorum)
}

/// A start is decided and written down: without room for that there is none.
async fn check_room(env: &Env, folder: &str) -> Result<(), StartError> {
    let needed_bytes = 2 * controller::RESERVE_BYTES;
    let (files, path) = (env.files().clone(), folder.to_owned());
    match env.blocking(move || files.space(Path::new(&path))).await {
        Ok(space) if space.usable_bytes < needed_bytes => Err(StartError::Full {
            folder: folder.to_owned(),
            usable_bytes: space.usable_bytes,
            needed_bytes,
        }),
        // What cannot be asked is left to the writes.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The controller of the node, with a state to decide on.
async fn start_controller(
    env: &Env,
    config: &BrokerConfig,
    dirs: &Dirs,
    quorum: &Quorum,
    metadata: &Arc<MetadataStore>,
) -> Result<Arc<Controller>, StartError> {
    let controller = Controller::new(
        env.clone(),
        dirs.cluster_id.to_string().into(),
        config.clone(),
        quorum.clone(),
        metadata.clone(),
    );
    let bootstrapped = controller.bootstrap().await;
    bootstrapped.map_err(|code| StartError::Join(code.to_string()))?;
    Ok(Arc::new(controller))
}

/// Makes the node part of the cluster; when it returns the broker may lead, and has carried out all that was decided.
async fn join(
    broker: &Arc<Broker>,
    dirs: Dirs,
    bound: &Bound,
    told: Vec<Advertised>,
) -> Result<Task<()>, String> {
    register::register_controller(broker, told).await?;
    register::register(broker, dirs.ids(), bound).await?;
    let followed = follow_metadata(broker, dirs).await;
    register::unfence(broker).await?;
    broker.metadata.caught_up().await;
    Ok(followed)
}

/// Carries out what the metadata log decides, and what follows from a log dir that fails, from now on; returns when all that is
/// there already is carried out.
async fn follow_metadata(broker: &Arc<Broker>, dirs: Dirs) -> Task<()> {
    let mut failed = broker.vitals.failed_dirs();
    let mut applier = Applier::new(broker.clone(), dirs.found, dirs.futures);
    applier.apply(broker.metadata.applied()).await;
    let broker = broker.clone();
    let env = broker.env.clone();
    let vitals = broker.vitals.clone();
    vitals.spawn(&env, "follows the metadata", async move {
        loop {
            let next = {
                let (image, failure) = (pin!(broker.metadata.next()), pin!(failed.changed()));
                match select(image, failure).await {
                    Either::Left((image, _)) => Some(image),
                    Either::Right(_) => None,
                }
            };
            match next {
                Some(image) => applier.apply(image).await,
                None => applier.leave_failed_dirs(),
            }
        }
    })
}
