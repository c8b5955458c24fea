//! The brokers and controllers that have registered.
//!
//! Always holds: a broker's epoch is that of its newest incarnation; a fenced broker leads nothing and is in no ISR.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;
use klamm_model::{BrokerId, Uuid};

/// Ids of log dirs that are no ids (KIP-858).
pub mod directory {
    use klamm_model::Uuid;

    const fn reserved(number: u8) -> Uuid {
        Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, number])
    }

    /// Not known, because the record is older than log dirs' ids.
    pub const MIGRATING: Uuid = reserved(0);
    /// The broker has not said where yet.
    pub const UNASSIGNED: Uuid = reserved(1);
    /// The log dir is gone.
    pub const LOST: Uuid = reserved(2);

    /// Whether `id` is one that no log dir may have.
    pub fn is_reserved(id: &Uuid) -> bool {
        id.0[..15] == [0; 15] && id.0[15] < 100
    }
}

/// The nodes of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    pub(crate) brokers: OrdMap<BrokerId, Arc<BrokerRegistration>>,
    pub(crate) controllers: OrdMap<BrokerId, Arc<ControllerRegistration>>,
}

impl Cluster {
    /// The broker with this id.
    pub fn broker(&self, id: BrokerId) -> Option<&Arc<BrokerRegistration>> {
        self.brokers.get(&id)
    }

    /// All brokers, fenced ones included, by id.
    pub fn brokers(&self) -> impl Iterator<Item = &Arc<BrokerRegistration>> {
        self.brokers.values()
    }

    /// The controller with this id.
    pub fn controller(&self, id: BrokerId) -> Option<&Arc<ControllerRegistration>> {
        self.controllers.get(&id)
    }

    /// All controllers, by id.
    pub fn controllers(&self) -> impl Iterator<Item = &Arc<ControllerRegistration>> {
        self.controllers.values()
    }

    /// Whether the broker can lead and be in an ISR: registered, unfenced and not shutting down.
    pub fn is_active(&self, id: BrokerId) -> bool {
        self.broker(id).is_some_and(|broker| broker.is_active())
    }

    /// Whether the broker is registered and unfenced.
    pub fn is_unfenced(&self, id: BrokerId) -> bool {
        self.broker(id).is_some_and(|broker| !broker.fenced)
    }
}

/// Where a node listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name.
    pub listener: Arc<str>,
    /// The host that clients are told.
    pub host: Arc<str>,
    /// The port that clients are told.
    pub port: u16,
    /// Kafka's number of the security protocol; 0 is plaintext.
    pub security_protocol: i16,
}

/// The levels of a feature that a node can serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRange {
    /// The lowest.
    pub min: i16,
    /// The highest.
    pub max: i16,
}

impl VersionRange {
    /// Whether `level` can be served. Level 0 means "not used", which everyone can.
    pub fn contains(&self, level: i16) -> bool {
        level == 0 || (self.min..=self.max).contains(&level)
    }
}

/// A broker as it registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerRegistration {
    /// Its id.
    pub id: BrokerId,
    /// The id of this run of its process.
    pub incarnation: Uuid,
    /// Grows with each registration; fences requests of earlier incarnations.
    pub epoch: i64,
    /// Where it listens.
    pub endpoints: Vec<Endpoint>,
    /// The features that it serves.
    pub features: BTreeMap<Arc<str>, VersionRange>,
    /// The rack that it stands in.
    pub rack: Option<Arc<str>>,
    /// Whether it must not lead or be in an ISR.
    pub fenced: bool,
    /// Whether it is about to stop, and gives its leaderships away.
    pub in_controlled_shutdown: bool,
    /// Its log dirs that are online, in order.
    pub directories: Vec<Uuid>,
    /// Its log dirs that take no new replicas; `None` when it never said.
    pub cordoned: Option<Vec<Uuid>>,
}

impl BrokerRegistration {
    /// Whether it can lead and be in an ISR.
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }

    /// The address of `listener`.
    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.endpoints
            .iter()
            .find(|endpoint| &*endpoint.listener == listener)
    }

    /// Whether no log dir takes new replicas.
    pub fn all_cordoned(&self) -> bool {
        let cordoned = self.cordoned.as_deref().unwrap_or_default();
        !self.directories.is_empty() && self.directories.iter().all(|id| cordoned.contains(id))
    }

    /// The log dir of a new replica: known when there is only one.
    pub fn default_directory(&self) -> Uuid {
        match self.directories[..] {
            [only] => only,
            [] => directory::MIGRATING,
            _ => directory::UNASSIGNED,
        }
    }
}

/// A controller as it registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerRegistration {
    /// Its id.
    pub id: BrokerId,
    /// The id of this run of its process.
    pub incarnation: Uuid,
    /// Where it listens.
    pub endpoints: Vec<Endpoint>,
    /// The features that it serves.
    pub features: BTreeMap<Arc<str>, VersionRange>,
}
