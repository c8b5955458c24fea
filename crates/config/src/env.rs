//! Configuration in environment variables: `KLAMM_LOG_RETENTION_MS` for `log.retention.ms`.
//!
//! Always holds: only variables that begin with `KLAMM_` are read; a known key is found whichever of `.`, `-` and `_` its
//! name has, and a name of ours may leave out the second `KLAMM_`. What is not found is given on with dots, so that the
//! warning about unknown keys can name the nearest one. What the commands read for themselves is no key.
//!
//! Next: `source.rs`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::key::{Key, Resource};

/// A key and its value, with the variable that gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The variable's name.
    pub name: String,
    /// The key it stands for.
    pub key: String,
    /// Its value.
    pub value: String,
}

const PREFIX: &str = "KLAMM_";
/// Which cluster commands go to: whoever has set these may start a server in the same shell.
const OF_COMMANDS: [&str; 2] = ["KLAMM_BOOTSTRAP", "KLAMM_PROFILE"];

/// The keys that `variables` set, in the order of the variables' names.
pub fn keys(variables: impl IntoIterator<Item = (String, String)>) -> Vec<Variable> {
    let ours = variables.into_iter().filter_map(|(name, value)| {
        if OF_COMMANDS.contains(&name.as_str()) {
            return None;
        }
        let key = key_of(name.strip_prefix(PREFIX)?)?;
        Some(Variable { name, key, value })
    });
    let mut ours: Vec<_> = ours.collect();
    ours.sort_by(|a, b| a.name.cmp(&b.name));
    ours
}

fn key_of(rest: &str) -> Option<String> {
    if rest.is_empty() {
        return None;
    }
    let plain = rest.to_ascii_lowercase();
    let known = BY_PLAIN_NAME
        .get(&plain)
        .or_else(|| BY_PLAIN_NAME.get(&format!("klamm_{plain}")));
    Some(known.map_or_else(|| plain.replace('_', "."), |name| (*name).to_owned()))
}

/// The broker keys by their name with every separator an underscore.
static BY_PLAIN_NAME: LazyLock<BTreeMap<String, &'static str>> = LazyLock::new(|| {
    Key::all(Resource::Broker)
        .map(|key| (plain(key.name), key.name))
        .collect()
});

fn plain(name: &str) -> String {
    name.replace(['.', '-'], "_").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_and_their_keys() {
        for (variable, key) in [
            ("KLAMM_LOG_RETENTION_MS", Some("log.retention.ms")),
            ("KLAMM_KLAMM_DURABILITY", Some("klamm.durability")),
            ("KLAMM_DURABILITY", Some("klamm.durability")),
            (
                "KLAMM_LISTENER_SECURITY_PROTOCOL_MAP",
                Some("listener.security.protocol.map"),
            ),
            ("KLAMM_LOG_RETENSION_MS", Some("log.retension.ms")),
            ("KLAMM_BOOTSTRAP", None),
            ("KLAMM_PROFILE", None),
            ("KLAMM_PROFILES", Some("profiles")),
            ("KLAMM_", None),
            ("LOG_RETENTION_MS", None),
            ("klamm_log_retention_ms", None),
        ] {
            let found = keys([(variable.to_owned(), "1".to_owned())]);
            assert_eq!(found.first().map(|each| each.key.as_str()), key, "{variable}");
        }
    }

    #[test]
    fn no_key_has_the_name_of_a_variable_of_the_commands() {
        for name in OF_COMMANDS {
            assert_eq!(keys([(name.to_owned(), "1".to_owned())]), [], "{name}");
            let plain = name.trim_start_matches(PREFIX).to_ascii_lowercase();
            for key in [plain.clone(), format!("klamm_{plain}")] {
                assert!(
                    !BY_PLAIN_NAME.contains_key(&key),
                    "{key} could not be set by {name}"
                );
            }
        }
    }

    #[test]
    fn no_variable_stands_for_two_keys() {
        assert_eq!(BY_PLAIN_NAME.len(), Key::all(Resource::Broker).count());
        for key in Key::all(Resource::Broker) {
            let short = key.name.strip_prefix("klamm.");
            assert!(
                short.is_none_or(|short| !BY_PLAIN_NAME.contains_key(&plain(short))),
                "{}",
                key.name
            );
        }
    }
}
