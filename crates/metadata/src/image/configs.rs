//! The dynamic configs of all resources.
//!
//! Always holds: only what was set is here, as text; defaults and meaning are `klamm-config`'s. A resource without a
//! config is not in the map. The default of all brokers is the broker with the empty name.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;

/// Names and values that were set.
pub type Values = BTreeMap<String, String>;

static NONE: Values = Values::new();

/// The kinds of resources that have configs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourceKind {
    /// A topic.
    Topic,
    /// A broker, or with the empty name the default of all brokers.
    Broker,
    /// The levels of a broker's loggers.
    BrokerLogger,
    /// A subscription to client metrics.
    ClientMetrics,
    /// A group.
    Group,
}

impl ResourceKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [
        Self::Topic,
        Self::Broker,
        Self::BrokerLogger,
        Self::ClientMetrics,
        Self::Group,
    ];

    /// The number in records and messages.
    pub const fn code(self) -> i8 {
        match self {
            Self::Topic => 2,
            Self::Broker => 4,
            Self::BrokerLogger => 8,
            Self::ClientMetrics => 16,
            Self::Group => 32,
        }
    }

    /// The kind with this number.
    pub fn from_code(code: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// The name as Kafka writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Topic => "TOPIC",
            Self::Broker => "BROKER",
            Self::BrokerLogger => "BROKER_LOGGER",
            Self::ClientMetrics => "CLIENT_METRICS",
            Self::Group => "GROUP",
        }
    }
}

/// The configs that were set, of all resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configs {
    by_kind: [OrdMap<Arc<str>, Arc<Values>>; ResourceKind::ALL.len()],
}

impl Configs {
    /// What was set for a resource.
    pub fn get(&self, kind: ResourceKind, name: &str) -> &Values {
        self.of(kind).get(name).map_or(&NONE, |values| values)
    }

    /// What was set for a topic.
    pub fn topic(&self, name: &str) -> &Values {
        self.get(ResourceKind::Topic, name)
    }

    /// What was set for a broker.
    pub fn broker(&self, id: klamm_model::BrokerId) -> &Values {
        self.get(ResourceKind::Broker, &id.0.to_string())
    }

    /// What was set as the default of all brokers.
    pub fn broker_default(&self) -> &Values {
        self.get(ResourceKind::Broker, "")
    }

    /// What was set for a resource, to be kept; `None` when nothing was.
    pub fn shared(&self, kind: ResourceKind, name: &str) -> Option<&Arc<Values>> {
        self.of(kind).get(name)
    }

    /// The resources of a kind that have configs, by name.
    pub fn iter(&self, kind: ResourceKind) -> impl Iterator<Item = (&Arc<str>, &Arc<Values>)> {
        self.of(kind).iter()
    }

    pub(crate) fn of(&self, kind: ResourceKind) -> &OrdMap<Arc<str>, Arc<Values>> {
        &self.by_kind[kind as usize]
    }

    /// Sets a config, or unsets it with `None`.
    pub(crate) fn set(&mut self, kind: ResourceKind, resource: &str, name: &str, value: Option<&str>) {
        let resources = &mut self.by_kind[kind as usize];
        match (resources.get_mut(resource), value) {
            (Some(values), Some(value)) => {
                Arc::make_mut(values).insert(name.to_owned(), value.to_owned());
            }
            (Some(values), None) => {
                Arc::make_mut(values).remove(name);
                if values.is_empty() {
                    resources.remove(resource);
                }
            }
            (None, Some(value)) => {
                let values = Values::from([(name.to_owned(), value.to_owned())]);
                resources.insert(resource.into(), Arc::new(values));
            }
            (None, None) => {}
        }
    }

    /// Unsets all configs of a resource.
    pub(crate) fn clear(&mut self, kind: ResourceKind, resource: &str) {
        self.by_kind[kind as usize].remove(resource);
    }
}
