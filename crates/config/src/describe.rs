//! What DescribeConfigs answers, and the configs in the answer of CreateTopics.
//!
//! Always holds: value, source, synonyms and flags are those of Apache Kafka 4.4 for the same layers; a sensitive value, and
//! any value of a name that is in no table, is never shown. Entries come in the order of their names (Kafka's come in that
//! of a hash map).
//!
//! Next: `layers.rs`, which knows the value in force.

use std::collections::BTreeSet;

use crate::key::{Key, Kind, Resource};
use crate::layers::{Layers, Values};
use crate::source::base_name;
use crate::value::Value;

/// Where a value comes from, with the protocol's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i8)]
pub enum ConfigSource {
    /// The topic's own.
    Topic = 1,
    /// Set while running, for one broker.
    DynamicBroker = 2,
    /// Set while running, as the default of all brokers.
    DynamicDefaultBroker = 3,
    /// Set at the start.
    StaticBroker = 4,
    /// The default.
    Default = 5,
    /// The level of a logger, set while running.
    BrokerLogger = 6,
    /// The subscription's own.
    ClientMetrics = 7,
    /// The group's own.
    Group = 8,
}

/// One configuration of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// The name.
    pub name: String,
    /// The value in force; `None` when there is none, or when it is not to be shown.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: ConfigSource,
    /// Whether it changes only with a restart.
    pub read_only: bool,
    /// Whether the value is hidden.
    pub sensitive: bool,
    /// The type; `None` for a name that is in no table.
    pub kind: Option<Kind>,
    /// Where the value was looked for and found, the one in force first.
    pub synonyms: Vec<Synonym>,
    /// The meaning.
    pub documentation: Option<&'static str>,
}

/// A place where a value was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// The name there.
    pub name: String,
    /// The value there; `None` when it is not to be shown.
    pub value: Option<String>,
    /// The place.
    pub source: ConfigSource,
}

/// The configuration of a topic with these overrides.
pub fn topic(overrides: &Values, layers: &Layers<'_>) -> Vec<ConfigEntry> {
    of_resource(Resource::Topic, ConfigSource::Topic, overrides, layers)
}

/// The configuration of a group with these overrides.
pub fn group(overrides: &Values, layers: &Layers<'_>) -> Vec<ConfigEntry> {
    of_resource(Resource::Group, ConfigSource::Group, overrides, layers)
}

/// The configuration of a subscription to client metrics with these overrides.
pub fn client_metrics(overrides: &Values) -> Vec<ConfigEntry> {
    of_resource(
        Resource::ClientMetrics,
        ConfigSource::ClientMetrics,
        overrides,
        &Layers::defaults(),
    )
}

/// The configuration of a broker: every key, and every name that was set.
pub fn broker(layers: &Layers<'_>) -> Vec<ConfigEntry> {
    let set = [layers.dynamic_broker, layers.dynamic_default, layers.fixed]
        .into_iter()
        .flat_map(Values::keys);
    let known = Key::all(Resource::Broker)
        .filter(|key| !key.internal)
        .map(|key| key.name);
    let names: BTreeSet<&str> = known.chain(set.map(String::as_str)).collect();
    names
        .into_iter()
        .map(|name| broker_entry(name, layers, true))
        .collect()
}

/// What is set while running as the default of all brokers.
pub fn broker_default(layers: &Layers<'_>) -> Vec<ConfigEntry> {
    let only = Layers {
        dynamic_broker: Layers::defaults().fixed,
        ..*layers
    };
    layers
        .dynamic_default
        .keys()
        .map(|name| broker_entry(name, &only, false))
        .collect()
}

fn of_resource(
    resource: Resource,
    own: ConfigSource,
    overrides: &Values,
    layers: &Layers<'_>,
) -> Vec<ConfigEntry> {
    let shown = |key: &&'static Key| !key.internal || overrides.contains_key(key.name);
    Key::all(resource)
        .filter(shown)
        .map(|key| resource_entry(key, own, overrides, layers))
        .collect()
}

fn resource_entry(
    key: &'static Key,
    own: ConfigSource,
    overrides: &Values,
    layers: &Layers<'_>,
) -> ConfigEntry {
    let value = layers
        .resource_value(key, overrides)
        .map(|value| value.to_string());
    let mut synonyms = Vec::new();
    if overrides.contains_key(key.name) {
        synonyms.push(Synonym {
            name: key.name.to_owned(),
            value: value.clone(),
            source: own,
        });
    }
    match key.broker_key.and_then(Key::broker) {
        Some(broker) => synonyms.extend(broker_synonyms(broker.name, broker, layers)),
        // A group's key without a broker's shows its own default.
        None if key.resource() == Resource::Group => synonyms.extend(default_of(key)),
        None => {}
    }
    ConfigEntry {
        name: key.name.to_owned(),
        value,
        source: synonyms
            .first()
            .map_or(ConfigSource::Default, |first| first.source),
        read_only: false,
        sensitive: key.is_sensitive(),
        kind: Some(key.kind),
        synonyms,
        documentation: Some(key.doc),
    }
}

fn broker_entry(name: &str, layers: &Layers<'_>, of_one_broker: bool) -> ConfigEntry {
    let key = Key::broker(base_name(name));
    let sensitive = key.is_none_or(Key::is_sensitive);
    let mut synonyms = match key {
        Some(key) => broker_synonyms(name, key, layers),
        None => set_in(name, layers)
            .map(|(source, _)| Synonym {
                name: name.to_owned(),
                value: None,
                source,
            })
            .collect(),
    };
    if !of_one_broker {
        synonyms.retain(|synonym| synonym.source == ConfigSource::DynamicDefaultBroker);
    }
    let own_default = || {
        key.filter(|key| key.name == name)
            .and_then(|key| key.default)
            .map(str::to_owned)
    };
    let set = || set_in(name, layers).find_map(|(_, text)| written(key?, text));
    ConfigEntry {
        name: name.to_owned(),
        value: if sensitive {
            None
        } else {
            set().or_else(own_default)
        },
        source: synonyms
            .first()
            .map_or(ConfigSource::Default, |first| first.source),
        read_only: key.is_none_or(|key| key.name != name || key.is_read_only()),
        sensitive,
        kind: key.map(|key| key.kind),
        synonyms,
        documentation: key.filter(|key| key.name == name).map(|key| key.doc),
    }
}

/// Where a value of `name` is found, by layer, the key's fallbacks within each; nothing before the first of its own name.
fn broker_synonyms(name: &str, key: &'static Key, layers: &Layers<'_>) -> Vec<Synonym> {
    let mut names = vec![(name, key)];
    if name != key.name {
        names.push((key.name, key));
    }
    names.extend(
        key.fallbacks
            .iter()
            .filter_map(|other| Key::broker(other))
            .map(|key| (key.name, key)),
    );
    let mut found = Vec::new();
    for layer in 0..3 {
        for (name, key) in &names {
            let (values, source) = sources(layers)[layer];
            let Some(text) = values.get(*name) else { continue };
            let value = if key.is_sensitive() {
                None
            } else {
                Some(text.clone())
            };
            found.push(Synonym {
                name: (*name).to_owned(),
                value,
                source,
            });
        }
    }
    found.extend(
        names
            .iter()
            .filter(|(name, key)| *name == key.name)
            .flat_map(|(_, key)| default_of(key)),
    );
    found
        .into_iter()
        .skip_while(|synonym| synonym.name != name)
        .collect()
}

fn default_of(key: &'static Key) -> Option<Synonym> {
    let value = Some(key.default?.to_owned());
    Some(Synonym {
        name: key.name.to_owned(),
        value,
        source: ConfigSource::Default,
    })
}

fn sources<'a>(layers: &Layers<'a>) -> [(&'a Values, ConfigSource); 3] {
    [
        (layers.dynamic_broker, ConfigSource::DynamicBroker),
        (layers.dynamic_default, ConfigSource::DynamicDefaultBroker),
        (layers.fixed, ConfigSource::StaticBroker),
    ]
}

fn set_in<'a>(name: &str, layers: &Layers<'a>) -> impl Iterator<Item = (ConfigSource, &'a String)> {
    sources(layers)
        .into_iter()
        .filter_map(move |(values, source)| values.get(name).map(|text| (source, text)))
}

fn written(key: &Key, text: &str) -> Option<String> {
    key.parse(text).ok().as_ref().map(Value::to_string)
}
