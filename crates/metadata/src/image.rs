//! The state of the cluster at one position of the metadata log.
//!
//! Always holds: an image never changes, and cloning it copies a few pointers; the next one shares all that did not
//! change. `Image::default()` is the cluster before its first record. Looking up a topic or partition takes no memory.
//!
//! Next: `image/topics.rs`, `image/cluster.rs`, `image/configs.rs` and `image/quotas.rs` for the parts,
//! `image/snapshot.rs` for the way back to records, and [`Image::apply`] for the way here.

pub mod cluster;
pub mod configs;
pub mod quotas;
pub(crate) mod snapshot;
pub mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;

use klamm_model::{ProducerId, TopicId};

pub use cluster::{BrokerRegistration, Cluster, ControllerRegistration, Endpoint, VersionRange, directory};
pub use configs::{Configs, ResourceKind, Values};
pub use quotas::{ClientQuotas, QuotaEntity};
pub use topics::{LeaderRecovery, PartitionImage, TopicImage, Topics};

/// The feature that says which metadata records there are.
pub const METADATA_VERSION: &str = "metadata.version";
/// The feature that keeps eligible leader replicas (KIP-966).
pub const ELR_VERSION: &str = "eligible.leader.replicas.version";

/// A place in the metadata log: which entry, and the term of the controller that wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The metadata offset of the last record applied.
    pub index: u64,
    /// The term of the leader that wrote it.
    pub term: u64,
}

/// The state of the cluster at [`Image::position`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    pub(crate) position: Position,
    pub(crate) features: Arc<BTreeMap<Arc<str>, i16>>,
    pub(crate) cluster: Cluster,
    pub(crate) topics: Topics,
    pub(crate) configs: Configs,
    pub(crate) next_producer_id: ProducerId,
    pub(crate) quotas: ClientQuotas,
}

impl Image {
    /// The last entry of the log that the image contains.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The finalized features and their levels; a feature at level 0 is not in it.
    pub fn features(&self) -> &BTreeMap<Arc<str>, i16> {
        &self.features
    }

    /// The level at which `feature` is finalized; 0 when it is not.
    pub fn feature_level(&self, feature: &str) -> i16 {
        self.features.get(feature).copied().unwrap_or(0)
    }

    /// Whether eligible leader replicas are kept (KIP-966).
    pub fn keeps_elr(&self) -> bool {
        self.feature_level(ELR_VERSION) >= 1
    }

    /// The brokers and controllers.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The topics.
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// The partition `partition` of the topic with this id.
    pub fn partition(&self, topic: &TopicId, partition: i32) -> Option<&PartitionImage> {
        self.topics.by_id(topic)?.partition(partition)
    }

    /// The partition `partition` of the topic with this name.
    pub fn partition_by_name(&self, topic: &str, partition: i32) -> Option<&PartitionImage> {
        self.topics.by_name(topic)?.partition(partition)
    }

    /// The dynamic configs of all resources.
    pub fn configs(&self) -> &Configs {
        &self.configs
    }

    /// The first producer id that no broker was given yet.
    pub fn next_producer_id(&self) -> ProducerId {
        self.next_producer_id
    }

    /// The client quotas.
    pub fn client_quotas(&self) -> &ClientQuotas {
        &self.quotas
    }
}
