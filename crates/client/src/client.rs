//! The cluster as a whole: finds it, keeps a connection to each broker, and sends each request where it belongs.
//!
//! Always holds: a call ends within its deadline; only what may succeed at another attempt is attempted again. There is at
//! most one connection per broker, and one attempt at a time to make it.
//!
//! Next: `client/pool.rs` for the connections, [`crate::metadata`] for what is known.

mod pool;

use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use klamm_env::Env;
use klamm_model::{BrokerId, ErrorCode, LeaderEpoch, TopicId, TopicPartition};
use klamm_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use klamm_protocol::{ApiKey, Request};
use parking_lot::Mutex;

use crate::address::HostPort;
use crate::backoff::Retry;
use crate::connection::{Connection, ConnectionOptions};
use crate::error::{ClientError, Refusal};
use crate::metadata::{Answer, Cluster, Topic};

use pool::Pool;

/// How a client finds the cluster, and how patient it is.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Addresses of some brokers of the cluster.
    pub bootstrap: Vec<HostPort>,
    /// What quotas and logs of the broker know this client by.
    pub client_id: String,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long one answer may take.
    pub request_timeout: Duration,
    /// How long a call may take with all its attempts.
    pub deadline: Duration,
    /// How long a topic that the cluster does not know is looked for: brokers learn of a new topic one after the other.
    pub unknown_topic_patience: Duration,
}

impl ClientConfig {
    /// The defaults, with these addresses.
    pub fn new(bootstrap: Vec<HostPort>) -> Self {
        Self {
            bootstrap,
            client_id: "klamm".to_owned(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            deadline: Duration::from_secs(60),
            unknown_topic_patience: Duration::from_millis(300),
        }
    }
}

/// Which broker a request belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Any that answers.
    Any,
    /// The one that speaks for the controller.
    Controller,
    /// This one.
    Broker(BrokerId),
}

/// Who leads a partition, and by what it is named on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leader {
    /// The broker.
    pub broker: BrokerId,
    /// Since which change of leaders.
    pub epoch: Option<LeaderEpoch>,
    /// The topic's identifier.
    pub topic_id: Option<TopicId>,
}

/// A client. A clone is the same one.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    env: Env,
    config: ClientConfig,
    pool: Pool,
    cluster: Mutex<Arc<Cluster>>,
}

impl Client {
    /// Makes contact: tries each address once.
    pub async fn connect(env: Env, config: ClientConfig) -> Result<Self, ClientError> {
        let options = ConnectionOptions {
            client_id: config.client_id.clone(),
            connect_timeout: config.connect_timeout,
            request_timeout: config.request_timeout,
        };
        let client = Self {
            shared: Arc::new(Shared {
                pool: Pool::new(env.clone(), options),
                env,
                config,
                cluster: Mutex::default(),
            }),
        };
        client.ask_metadata(Some(&[])).await?;
        Ok(client)
    }

    /// The world that the client lives in.
    pub fn env(&self) -> &Env {
        &self.shared.env
    }

    /// How it was made.
    pub fn config(&self) -> &ClientConfig {
        &self.shared.config
    }

    /// What is known of the cluster at the moment.
    pub fn cluster(&self) -> Arc<Cluster> {
        self.shared.cluster.lock().clone()
    }

    /// A connection to the target, made if there is none.
    pub async fn connection(&self, target: Target) -> Result<Connection, ClientError> {
        let cluster = self.cluster();
        let broker = match target {
            Target::Any => None,
            Target::Controller => cluster.controller.filter(|id| cluster.brokers.contains_key(id)),
            Target::Broker(id) => Some(id),
        };
        let Some(id) = broker else {
            return self.any_connection(&cluster).await;
        };
        let broker = cluster.brokers.get(&id).ok_or(ClientError::UnknownBroker(id))?;
        Ok(self.shared.pool.connection(&broker.address).await?)
    }

    /// A connection to this address, made if there is none.
    pub(crate) async fn connection_at(&self, address: &HostPort) -> Result<Connection, ClientError> {
        Ok(self.shared.pool.connection(address).await?)
    }

    /// The connection to a broker, if it is open.
    pub fn open_connection(&self, broker: BrokerId) -> Option<Connection> {
        let address = self.cluster().brokers.get(&broker)?.address.clone();
        self.shared.pool.open_connection(&address)
    }

    async fn any_connection(&self, cluster: &Cluster) -> Result<Connection, ClientError> {
        let mut addresses: Vec<&HostPort> = Vec::new();
        let known = cluster.brokers.values().map(|broker| &broker.address);
        for address in known.chain(&self.shared.config.bootstrap) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        // Those that answered before come first.
        addresses.sort_by_key(|address| self.shared.pool.open_connection(address).is_none());
        let mut tried = Vec::new();
        for address in addresses {
            match self.shared.pool.connection(address).await {
                Ok(connection) => return Ok(connection),
                Err(error) => tried.push(error),
            }
        }
        Err(ClientError::Unreachable { tried })
    }

    /// Sends `request` to the target; again, within the deadline, while the connection fails.
    pub async fn call<R: Request>(&self, target: Target, request: &R) -> Result<R::Response, ClientError> {
        self.retrying(|| self.call_once(target, request)).await
    }

    /// Sends `request` to the target once.
    pub async fn call_once<R: Request>(
        &self,
        target: Target,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        let connection = self.connection(target).await?;
        Ok(connection.send(request).await?)
    }

    /// Repeats `attempt` while its error is transient and the deadline allows it. What is known of the brokers is
    /// refreshed in between, as an error often means that it is old.
    pub async fn retrying<T, F>(&self, mut attempt: impl FnMut() -> F) -> Result<T, ClientError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let mut retry = Retry::within(&self.shared.env, self.shared.config.deadline);
        loop {
            let error = match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if !error.is_transient() || !retry.again().await {
                return Err(error);
            }
            tracing::debug!(%error, "another attempt");
            // When this fails too, the next attempt will say so.
            let _ = self.ask_metadata(Some(&[])).await;
        }
    }

    /// Asks for all topics, and remembers them.
    pub async fn refresh_all(&self) -> Result<Arc<Cluster>, ClientError> {
        self.retrying(|| async {
            self.ask_metadata(None).await?;
            Ok(self.cluster())
        })
        .await
    }

    /// Asks for these topics, and remembers them. Topics that do not exist are simply not there afterwards.
    pub async fn refresh(&self, topics: &[&str]) -> Result<Arc<Cluster>, ClientError> {
        let names = names(topics);
        self.retrying(|| async {
            self.ask_metadata(Some(&names)).await?;
            Ok(self.cluster())
        })
        .await
    }

    /// As [`Client::refresh`], with one attempt.
    pub(crate) async fn refresh_once(&self, topics: &[&str]) -> Result<(), ClientError> {
        self.ask_metadata(Some(&names(topics))).await?;
        Ok(())
    }

    /// A topic: as it is known, or asked for.
    pub async fn topic(&self, name: &str) -> Result<Topic, ClientError> {
        if let Some(topic) = self.cluster().topics.get(name) {
            return Ok(topic.clone());
        }
        self.lookup(name).await
    }

    /// Asks for a topic.
    pub async fn lookup(&self, name: &str) -> Result<Topic, ClientError> {
        let mut patience = Retry::within(&self.shared.env, self.shared.config.unknown_topic_patience);
        loop {
            match self.retrying(|| self.lookup_once(name)).await {
                Err(ClientError::UnknownTopic { .. }) if patience.again().await => {}
                result => return result,
            }
        }
    }

    async fn lookup_once(&self, name: &str) -> Result<Topic, ClientError> {
        let answer = self.ask_metadata(Some(&names(&[name]))).await?;
        if let Some(topic) = answer.cluster.topics.get(name) {
            return Ok(topic.clone());
        }
        match answer.errors.get(name) {
            None | Some(ErrorCode::UnknownTopicOrPartition) => Err(ClientError::UnknownTopic {
                topic: name.to_owned(),
            }),
            Some(code) => Err(ClientError::refused(ApiKey::Metadata, Refusal::new(*code))),
        }
    }

    /// Who leads `partition`: as it is known, or asked for.
    pub async fn leader(&self, partition: &TopicPartition) -> Result<Leader, ClientError> {
        if let Some(leader) = self.known_leader(partition) {
            return Ok(leader);
        }
        self.retrying(|| async {
            let topic = self.lookup(&partition.topic).await?;
            leader_in(&topic, partition.partition)
        })
        .await
    }

    /// Who leads `partition`, as far as it is known.
    pub fn known_leader(&self, partition: &TopicPartition) -> Option<Leader> {
        self.leader_now(partition).ok()
    }

    /// Who leads `partition`, as far as it is known, or why nobody is known to.
    pub(crate) fn leader_now(&self, partition: &TopicPartition) -> Result<Leader, ClientError> {
        let cluster = self.cluster();
        let topic = cluster.topics.get(&partition.topic);
        let topic = topic.ok_or_else(|| ClientError::UnknownTopic {
            topic: partition.topic.to_string(),
        })?;
        leader_in(topic, partition.partition)
    }

    /// One request for metadata, to any broker; `None` asks for all topics.
    async fn ask_metadata(&self, topics: Option<&[ByteString]>) -> Result<Answer, ClientError> {
        let request = MetadataRequest {
            topics: topics.map(|names| {
                let topic = |name: &ByteString| MetadataRequestTopic {
                    name: Some(name.clone()),
                    ..MetadataRequestTopic::default()
                };
                names.iter().map(topic).collect()
            }),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        let response = self.call_once(Target::Any, &request).await?;
        Refusal::check(response.error_code, None)
            .map_err(|refusal| ClientError::refused(ApiKey::Metadata, refusal))?;
        let answer = Answer::from(response);
        let mut cluster = self.shared.cluster.lock();
        *cluster = Arc::new(cluster.updated(topics, &answer));
        Ok(answer)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("bootstrap", &self.shared.config.bootstrap)
            .finish_non_exhaustive()
    }
}

fn names(topics: &[&str]) -> Vec<ByteString> {
    topics.iter().map(|name| ByteString::from(*name)).collect()
}

fn leader_in(topic: &Topic, partition: i32) -> Result<Leader, ClientError> {
    let Some(found) = topic.partition(partition) else {
        return Err(ClientError::UnknownPartition {
            topic: topic.name.to_string(),
            partition,
            count: topic.partitions.len(),
        });
    };
    match found.leader {
        Some(broker) => Ok(Leader {
            broker,
            epoch: found.leader_epoch,
            topic_id: topic.id,
        }),
        None => Err(ClientError::NoLeader {
            topic: topic.name.to_string(),
            partition,
        }),
    }
}

#[cfg(test)]
mod tests;
