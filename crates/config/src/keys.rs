//! The table: every key, one row each, by theme.
//!
//! Always holds: names are unique within a resource; every default is a value of its key; every name that a row refers to
//! is in the table. A row reads: type, name, default if there is one, bounds and properties; then its meaning.
//!
//! Next: the themes in `keys/`; `reference.rs` prints them in this order.

mod client_metrics;
mod group;
mod group_resource;
mod klamm;
mod log;
mod network;
mod oauth;
mod quorum;
mod reasons;
mod replication;
mod security;
mod server;
mod share;
mod streams;
mod tiered;
mod topic;
mod transaction;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::key::{Key, Resource};

/// Rows of the table: `scope; Type "name" = "default", property, property(value); "meaning" ...`.
macro_rules! keys {
    ($scope:expr;
     $($kind:ident $name:literal $(= $default:literal)? $(, $property:ident $(($($value:expr),+))?)*; $doc:literal)*) => {
        &[$(
            Key::new($scope, $crate::key::Kind::$kind, $name, $doc)
                $(.default($default))?
                $(.$property($($($value),+)?))*
        ),*]
    };
}
pub(crate) use keys;

/// The keys by theme, in the order of the reference page.
pub(crate) static THEMES: &[(&str, &[Key])] = &[
    ("Klamm's own", klamm::KEYS),
    ("Klamm's own, of a topic", klamm::TOPIC_KEYS),
    ("Listeners, sockets and requests", network::KEYS),
    ("Node and quorum", quorum::KEYS),
    ("Topics and replication", replication::KEYS),
    ("Log", log::KEYS),
    ("Tiered storage", tiered::KEYS),
    ("Groups and offsets", group::KEYS),
    ("Share groups", share::KEYS),
    ("Streams groups", streams::KEYS),
    ("Transactions", transaction::KEYS),
    ("Plug-ins, metrics and quotas", server::KEYS),
    ("TLS and SASL", security::KEYS),
    ("OAuth", oauth::KEYS),
    ("A topic", topic::KEYS),
    ("A group", group_resource::KEYS),
    ("Client metrics", client_metrics::KEYS),
];

/// Every key, by resource and name.
pub(crate) fn registry() -> &'static BTreeMap<(Resource, &'static str), &'static Key> {
    static REGISTRY: LazyLock<BTreeMap<(Resource, &'static str), &'static Key>> = LazyLock::new(|| {
        let keys = THEMES.iter().flat_map(|(_, keys)| keys.iter());
        keys.map(|key| ((key.resource(), key.name), key)).collect()
    });
    &REGISTRY
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Kind;

    #[test]
    fn the_table_is_sound() {
        let rows = THEMES.iter().map(|(_, keys)| keys.len()).sum::<usize>();
        assert_eq!(registry().len(), rows, "a name stands twice");
        for ((resource, name), key) in registry() {
            if let Some(default) = key.default {
                let value = key
                    .parse(default)
                    .unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_eq!(
                    value.to_string(),
                    default,
                    "{name}: the default is not written as it is read"
                );
            }
            for other in key.fallbacks {
                let other = Key::broker(other).unwrap_or_else(|| panic!("{name} falls back to {other}"));
                assert!(
                    key.unit.is_some() && other.unit.is_some(),
                    "{name} falls back across units"
                );
            }
            if let Some(other) = key.broker_key {
                let broker = Key::broker(other).unwrap_or_else(|| panic!("{name} comes from {other}"));
                let whole = |kind| matches!(kind, Kind::Int | Kind::Short | Kind::Long);
                let same = broker.kind == key.kind || (whole(broker.kind) && whole(key.kind));
                assert!(
                    same || *name == "streams.assignor.name",
                    "{name} and {other} differ in type"
                );
                assert_ne!(*resource, Resource::Broker, "{name}");
            }
            assert!(key.doc.ends_with('.'), "{name}: the meaning is a sentence");
        }
    }

    #[test]
    fn all_gives_the_keys_of_one_resource() {
        for resource in [
            Resource::Topic,
            Resource::Broker,
            Resource::ClientMetrics,
            Resource::Group,
        ] {
            assert!(Key::all(resource).count() >= 3);
            assert!(Key::all(resource).all(|key| key.resource() == resource));
        }
    }
}
