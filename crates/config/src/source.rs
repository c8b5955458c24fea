//! Where values are set at the start, and what is said about them.
//!
//! Always holds: the command line wins over the environment, the environment over the file, the file over the defaults; an
//! error names key, value, place and what is allowed, and never the value of a password.
//!
//! Next: `broker.rs`, which loads them.

use std::collections::BTreeMap;
use std::fmt;

use crate::env::Variable;
use crate::key::{Key, Resource, Serving};
use crate::layers::Values;
use crate::properties::Property;

/// Everything that sets keys at the start.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file's name as the user gave it, and its pairs (`properties::parse`).
    pub file: Option<(String, Vec<Property>)>,
    /// The environment (`env::keys`).
    pub environment: Vec<Variable>,
    /// `--set key=value` of the command line, in order.
    pub set: Vec<(String, String)>,
    /// The folder for data when neither `log.dirs` nor `log.dir` is set.
    pub data_folder: String,
}

/// Where a value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// On a line of the file.
    File(String, usize),
    /// In an environment variable.
    Environment(String),
    /// On the command line.
    Set,
    /// Nowhere: it is the default.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(name, line) => write!(f, "{name}:{line}"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Set => f.write_str("--set"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value that stops the start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}={value} ({origin}): {problem}")]
pub struct ConfigError {
    /// The key.
    pub key: String,
    /// The value; hidden when the key is sensitive.
    pub value: String,
    /// Where it was set.
    pub origin: Origin,
    /// What is wrong, and what is allowed.
    pub problem: String,
}

/// Something that the start goes on without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// No such key; the nearest known one may be meant.
    Unknown {
        /// The name that was set.
        key: String,
        /// Where.
        origin: Origin,
        /// A known name that is spelled nearly so.
        nearest: Option<&'static str>,
    },
    /// The key is known and has no effect.
    NotServed {
        /// The name that was set.
        key: String,
        /// Where.
        origin: Origin,
        /// Why it has no effect.
        reason: &'static str,
    },
    /// The same source sets the key twice; the later one counts.
    SetTwice {
        /// The name that was set.
        key: String,
        /// Where it was set first.
        first: Origin,
        /// Where the value in force was set.
        origin: Origin,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown {
                key,
                origin,
                nearest: Some(nearest),
            } => {
                write!(f, "{key} ({origin}): no such key; did you mean {nearest}?")
            }
            Self::Unknown {
                key,
                origin,
                nearest: None,
            } => write!(f, "{key} ({origin}): no such key"),
            Self::NotServed { key, origin, reason } => {
                write!(f, "{key} ({origin}): known but not served: {reason}")
            }
            Self::SetTwice { key, first, origin } => write!(f, "{key} ({origin}): also set before ({first})"),
        }
    }
}

/// The values set at the start, each with its place.
#[derive(Debug, Default)]
pub(crate) struct Fixed {
    values: BTreeMap<String, (String, Origin)>,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) errors: Vec<ConfigError>,
}

impl Fixed {
    /// Puts the sources in order and checks every value by itself.
    pub(crate) fn new(sources: &Sources) -> Self {
        let mut fixed = Self::default();
        if let Some((file, properties)) = &sources.file {
            let place = |property: &Property| Origin::File(file.clone(), property.line);
            fixed.add(
                properties
                    .iter()
                    .map(|each| (each.key.clone(), each.value.clone(), place(each))),
            );
        }
        let place = |variable: &Variable| Origin::Environment(variable.name.clone());
        fixed.add(
            sources
                .environment
                .iter()
                .map(|each| (each.key.clone(), each.value.clone(), place(each))),
        );
        fixed.add(
            sources
                .set
                .iter()
                .map(|(key, value)| (key.clone(), value.clone(), Origin::Set)),
        );
        fixed.check();
        fixed
    }

    fn add(&mut self, pairs: impl Iterator<Item = (String, String, Origin)>) {
        let mut here: BTreeMap<String, Origin> = BTreeMap::new();
        for (key, value, origin) in pairs {
            if let Some(first) = here
                .insert(key.clone(), origin.clone())
                .filter(|first| *first != Origin::Set)
            {
                self.warnings.push(Warning::SetTwice {
                    key: key.clone(),
                    first,
                    origin: origin.clone(),
                });
            }
            self.values.insert(key, (value, origin));
        }
    }

    fn check(&mut self) {
        let mut errors = Vec::new();
        for (name, (value, origin)) in &self.values {
            let Some(key) = Key::broker(base_name(name)) else {
                let nearest = Key::nearest(Resource::Broker, name);
                self.warnings.push(Warning::Unknown {
                    key: name.clone(),
                    origin: origin.clone(),
                    nearest,
                });
                continue;
            };
            if let Err(invalid) = key.parse(value) {
                errors.push((name.clone(), with_allowed(&invalid.to_string(), key)));
            } else if let Some(reason) = no_effect(name, key).filter(|_| !key.is_default(value)) {
                let (key, origin) = (name.clone(), origin.clone());
                self.warnings.push(Warning::NotServed { key, origin, reason });
            } else if let Serving::Refused(reason) = key.serving
                && !key.is_default(value)
            {
                errors.push((
                    name.clone(),
                    format!("not served: {reason}; remove it to start without"),
                ));
            }
        }
        for (key, problem) in errors {
            self.refuse(&key, problem);
        }
    }

    /// Records that the value of `key` stops the start.
    pub(crate) fn refuse(&mut self, key: &str, problem: impl Into<String>) {
        let known = Key::broker(base_name(key));
        let default = || known.and_then(|key| key.default).unwrap_or_default().to_owned();
        let (value, origin) = self
            .values
            .get(key)
            .cloned()
            .unwrap_or_else(|| (default(), Origin::Default));
        let sensitive = known.is_none_or(Key::is_sensitive);
        let value = if sensitive { "[hidden]".to_owned() } else { value };
        self.errors.push(ConfigError {
            key: key.to_owned(),
            value,
            origin,
            problem: problem.into(),
        });
    }

    /// Whether `key` was set, to whatever.
    pub(crate) fn is_set(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// Gives `key` a value that no source set.
    pub(crate) fn supply(&mut self, key: &str, value: String) {
        self.values.insert(key.to_owned(), (value, Origin::Default));
    }

    /// Gives `other` the value and place of `key`, when only `key` is set.
    pub(crate) fn alias(&mut self, key: &str, other: &str) {
        if let Some(set) = self
            .values
            .get(key)
            .filter(|_| !self.values.contains_key(other))
            .cloned()
        {
            self.values.insert(other.to_owned(), set);
        }
    }

    /// Whether `key` is set to its default.
    pub(crate) fn is_default(&self, key: &str) -> bool {
        let known = Key::broker(key);
        self.values
            .get(key)
            .is_some_and(|(value, _)| known.is_some_and(|key| key.is_default(value)))
    }

    /// Names and values without their places.
    pub(crate) fn values(&self) -> Values {
        self.values
            .iter()
            .map(|(key, (value, _))| (key.clone(), value.clone()))
            .collect()
    }
}

/// The key under a `listener.name.<listener>.` prefix, a SASL mechanism left out too; any other name is its own.
pub(crate) fn base_name(name: &str) -> &str {
    let Some((_, mut rest)) = name
        .strip_prefix("listener.name.")
        .and_then(|rest| rest.split_once('.'))
    else {
        return name;
    };
    loop {
        match (Key::broker(rest), rest.split_once('.')) {
            (None, Some((_, shorter))) => rest = shorter,
            (Some(_), _) => return rest,
            (None, None) => return name,
        }
    }
}

/// Why setting `name` does nothing, if so.
fn no_effect(name: &str, key: &Key) -> Option<&'static str> {
    match key.serving {
        Serving::NotServed(reason) => Some(reason),
        Serving::Served | Serving::Refused(_) if name != key.name => Some(
            "settings of a single listener are not there yet; the key without its prefix serves all of them",
        ),
        Serving::Served | Serving::Refused(_) => None,
    }
}

fn with_allowed(problem: &str, key: &Key) -> String {
    let kind = key.kind.name().to_lowercase();
    let unit = key
        .unit
        .map(|unit| format!(" in {}", unit.name()))
        .unwrap_or_default();
    let words = key.allowed.words();
    let bound = if words.is_empty() {
        words
    } else {
        format!(", {words}")
    };
    let what = problem
        .rsplit_once(&format!("configuration {}: ", key.name))
        .map_or(problem, |(_, what)| what)
        .trim_end_matches('.');
    format!("{what}; allowed: {kind}{unit}{bound}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listener_prefixes_lead_to_their_key() {
        for (name, base) in [
            ("log.dirs", "log.dirs"),
            ("listener.name.plaintext.max.connections", "max.connections"),
            ("listener.name.a.ssl.keystore.location", "ssl.keystore.location"),
            (
                "listener.name.a.scram-sha-256.sasl.jaas.config",
                "sasl.jaas.config",
            ),
            ("listener.name.a.nothing", "listener.name.a.nothing"),
            ("listener.name", "listener.name"),
        ] {
            assert_eq!(base_name(name), base);
        }
    }
}
