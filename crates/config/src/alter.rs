//! Changes of dynamic configs: IncrementalAlterConfigs, AlterConfigs and the configs of a new topic, as pure functions.
//!
//! Always holds: a change is decided as a whole, on the resource's stored texts, and either gives all of its new ones or an
//! error with the code and the words of Apache Kafka 4.4 (where those are Java's own, ours). What another key of the same
//! resource already holds is checked with it.
//!
//! Next: `alter/broker.rs`, `alter/group.rs`, `alter/client_metrics.rs` for what holds beyond one value.

mod broker;
mod client_metrics;
mod group;
pub mod logger;

use klamm_model::ErrorCode;

use crate::allowed::Invalid;
use crate::key::{Key, Kind, Resource, Serving};
use crate::layers::{Layers, Values};
use crate::value::Value;

/// What is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A topic.
    Topic,
    /// One broker.
    Broker,
    /// The default of all brokers.
    BrokerDefault,
    /// A group.
    Group,
    /// A subscription to client metrics.
    ClientMetrics,
}

impl Target {
    const fn resource(self) -> Resource {
        match self {
            Self::Topic => Resource::Topic,
            Self::Broker | Self::BrokerDefault => Resource::Broker,
            Self::Group => Resource::Group,
            Self::ClientMetrics => Resource::ClientMetrics,
        }
    }
}

/// One operation of IncrementalAlterConfigs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation<'a> {
    /// The key.
    pub name: &'a str,
    /// What to do: 0 set, 1 delete, 2 append, 3 subtract.
    pub operation: i8,
    /// The value, or the items to append or subtract.
    pub value: Option<&'a str>,
}

/// A change that is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlterError {
    /// A key stands twice in one request.
    #[error("Error due to duplicate config keys")]
    DuplicateKeys,
    /// A key is set to nothing.
    #[error("Null value not supported for : {}", .0.join(", "))]
    NullValue(Vec<String>),
    /// A key of a new topic is set to nothing.
    #[error("Null value not supported for topic configs: {}", .0.join(","))]
    NullTopicValue(Vec<String>),
    /// No such operation.
    #[error("Unknown operation {0}")]
    UnknownOperation(i8),
    /// Items are appended to or subtracted from what is no list.
    #[error("Can't {operation} to key {key} because its type is not LIST.")]
    NotAList {
        /// `APPEND` or `SUBTRACT`.
        operation: &'static str,
        /// The key.
        key: String,
    },
    /// Items are appended to or subtracted from what is no list of a broker.
    #[error("Config value {operation} is not allowed for config key: {key}", operation = .operation.to_lowercase())]
    NotAListOnBroker {
        /// `APPEND` or `SUBTRACT`.
        operation: &'static str,
        /// The key.
        key: String,
    },
    /// A broker has no such key, which matters for appending and subtracting only.
    #[error("Unknown config name: {0}")]
    UnknownBrokerKey(String),
    /// A topic has no such key.
    #[error("Unknown topic config name: {0}")]
    UnknownTopicKey(String),
    /// A group has no such key.
    #[error("Unknown group config name: {0}")]
    UnknownGroupKey(String),
    /// A subscription to client metrics has no such key.
    #[error("Unknown client metrics configuration: {0}")]
    UnknownClientMetricsKey(String),
    /// A value that its key does not take.
    #[error(transparent)]
    Invalid(Invalid),
    /// A value of a broker that its key does not take.
    #[error(transparent)]
    InvalidOnBroker(Invalid),
    /// Values that do not go together, or with what the brokers set.
    #[error("{0}")]
    Conflict(String),
    /// Values of a broker that do not go together.
    #[error("requirement failed: {0}")]
    BrokerConflict(String),
    /// Keys that change only with a restart.
    #[error("Cannot update these configs dynamically: [{}]", .0.join(", "))]
    NotDynamic(Vec<String>),
    /// Keys that are set for one broker only.
    #[error("Cannot update these configs at default cluster level, broker id must be specified: [{}]", .0.join(", "))]
    PerBroker(Vec<String>),
    /// Keys that are set for one listener only.
    #[error(
        "These security configs can be dynamically updated only per-listener using the listener prefix: [{}]",
        .0.join(", ")
    )]
    PerListener(Vec<String>),
    /// A key that would be dangerous to accept without serving it.
    #[error("{key} is not served: {reason}")]
    NotServed {
        /// The key.
        key: &'static str,
        /// Why not.
        reason: &'static str,
    },
    /// An interval of client metrics out of bounds.
    #[error("Invalid value {0} for interval.ms, interval must be between 100 and 3600000 (1 hour)")]
    PushInterval(i64),
}

impl AlterError {
    /// The code that a client is told.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownOperation(_) => ErrorCode::UnknownServerError,
            Self::DuplicateKeys
            | Self::NullValue(_)
            | Self::UnknownClientMetricsKey(_)
            | Self::InvalidOnBroker(_)
            | Self::BrokerConflict(_)
            | Self::NotDynamic(_)
            | Self::PerBroker(_)
            | Self::PerListener(_)
            | Self::NotServed { .. }
            | Self::PushInterval(_) => ErrorCode::InvalidRequest,
            Self::NullTopicValue(_)
            | Self::NotAList { .. }
            | Self::NotAListOnBroker { .. }
            | Self::UnknownBrokerKey(_)
            | Self::UnknownTopicKey(_)
            | Self::UnknownGroupKey(_)
            | Self::Invalid(_)
            | Self::Conflict(_) => ErrorCode::InvalidConfig,
        }
    }

    /// The words that a client is told; Kafka has none for an operation that it does not know.
    pub fn message(&self) -> Option<String> {
        (!matches!(self, Self::UnknownOperation(_))).then(|| self.to_string())
    }
}

/// Why `name` of a `resource`, set to `value`, has no effect; `None` if it has one, or is what holds anyway.
pub fn without_effect(resource: Resource, name: &str, value: &str) -> Option<&'static str> {
    let key = Key::find(resource, name).filter(|key| !key.is_default(value))?;
    match key.serving {
        Serving::Served => None,
        Serving::NotServed(reason) | Serving::Refused(reason) => Some(reason),
    }
}

/// Applies `operations` to the stored texts `current` (IncrementalAlterConfigs), and gives all texts after the change.
///
/// `layers` are the broker's own as they are before the change.
pub fn alter(
    target: Target,
    current: &Values,
    operations: &[Operation<'_>],
    layers: &Layers<'_>,
) -> Result<Values, AlterError> {
    no_duplicates(operations.iter().map(|each| each.name))?;
    let without = operations
        .iter()
        .filter(|each| each.operation != 1 && each.value.is_none());
    let without: Vec<_> = without.map(|each| each.name.to_owned()).collect();
    if !without.is_empty() {
        return Err(AlterError::NullValue(without));
    }
    let mut values = current.clone();
    for each in operations {
        apply(target, &mut values, each)?;
    }
    checked(target, values, current, layers)
}

/// Replaces the stored texts `current` by `entries` (AlterConfigs), and gives all texts after the change.
pub fn replace(
    target: Target,
    current: &Values,
    entries: &[(&str, Option<&str>)],
    layers: &Layers<'_>,
) -> Result<Values, AlterError> {
    no_duplicates(entries.iter().map(|(name, _)| *name))?;
    checked(
        target,
        complete(entries).map_err(AlterError::NullValue)?,
        current,
        layers,
    )
}

/// The texts of a new topic (CreateTopics).
pub fn new_topic(entries: &[(&str, Option<&str>)], layers: &Layers<'_>) -> Result<Values, AlterError> {
    let values = complete(entries).map_err(AlterError::NullTopicValue)?;
    checked(Target::Topic, values, &Values::new(), layers)
}

fn no_duplicates<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), AlterError> {
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        Err(AlterError::DuplicateKeys)
    } else {
        Ok(())
    }
}

/// The entries as texts, or the names that have none.
fn complete(entries: &[(&str, Option<&str>)]) -> Result<Values, Vec<String>> {
    let without: Vec<_> = entries
        .iter()
        .filter(|(_, value)| value.is_none())
        .map(|(name, _)| (*name).to_owned())
        .collect();
    if !without.is_empty() {
        return Err(without);
    }
    Ok(entries
        .iter()
        .filter_map(|(name, value)| Some(((*name).to_owned(), (*value)?.to_owned())))
        .collect())
}

fn apply(target: Target, values: &mut Values, each: &Operation<'_>) -> Result<(), AlterError> {
    let value = each.value.unwrap_or_default();
    match each.operation {
        0 => {
            values.insert(each.name.to_owned(), value.to_owned());
        }
        1 => {
            values.remove(each.name);
        }
        2 => {
            let mut items = items(target, values, each.name, "APPEND")?;
            for item in value.split(',') {
                if !items.iter().any(|each| each == item) {
                    items.push(item.to_owned());
                }
            }
            values.insert(each.name.to_owned(), items.join(","));
        }
        3 => {
            let mut items = items(target, values, each.name, "SUBTRACT")?;
            let before = items.len();
            items.retain(|item| !value.split(',').any(|each| each == item));
            if items.len() < before {
                values.insert(each.name.to_owned(), items.join(","));
            }
        }
        other => return Err(AlterError::UnknownOperation(other)),
    }
    Ok(())
}

/// The items that a list has now, its default where nothing is stored. Kafka knows lists of brokers and topics only.
fn items(
    target: Target,
    values: &Values,
    name: &str,
    operation: &'static str,
) -> Result<Vec<String>, AlterError> {
    let resource = target.resource();
    let key = match (resource, Key::find(resource, name)) {
        (Resource::Broker | Resource::Topic, Some(key)) if key.kind == Kind::List => key,
        (Resource::Broker, None) => return Err(AlterError::UnknownBrokerKey(name.to_owned())),
        (Resource::Broker, Some(_)) => {
            return Err(AlterError::NotAListOnBroker {
                operation,
                key: name.to_owned(),
            });
        }
        _ => {
            return Err(AlterError::NotAList {
                operation,
                key: name.to_owned(),
            });
        }
    };
    let text = values
        .get(name)
        .map(String::as_str)
        .or(key.default)
        .unwrap_or_default();
    Ok(text
        .split(',')
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect())
}

fn checked(
    target: Target,
    values: Values,
    current: &Values,
    layers: &Layers<'_>,
) -> Result<Values, AlterError> {
    match target {
        Target::Topic => check_topic(&values, layers)?,
        Target::Broker | Target::BrokerDefault => broker::check(target, &values, layers)?,
        Target::Group => group::check(&values, layers)?,
        Target::ClientMetrics => client_metrics::check(&values)?,
    }
    for (name, value) in values
        .iter()
        .filter(|(name, value)| current.get(*name) != Some(value))
    {
        let key = Key::find(target.resource(), name).filter(|key| !key.is_default(value));
        if let Some(key) = key
            && let Serving::Refused(reason) = key.serving
        {
            return Err(AlterError::NotServed {
                key: key.name,
                reason,
            });
        }
    }
    Ok(values)
}

/// Every name must be known and every value allowed.
fn check_values(
    resource: Resource,
    values: &Values,
    unknown: fn(String) -> AlterError,
) -> Result<(), AlterError> {
    if let Some(name) = values.keys().find(|name| Key::find(resource, name).is_none()) {
        return Err(unknown(name.clone()));
    }
    for (name, value) in values {
        if let Some(key) = Key::find(resource, name) {
            key.parse(value).map_err(AlterError::Invalid)?;
        }
    }
    Ok(())
}

fn check_topic(values: &Values, layers: &Layers<'_>) -> Result<(), AlterError> {
    check_values(Resource::Topic, values, AlterError::UnknownTopicKey)?;
    let in_force = |name| Key::topic(name).and_then(|key| layers.resource_value(key, values));
    let whole = |name| in_force(name).and_then(|value| value.as_whole());
    if let (Some(min), Some(max)) = (whole("min.compaction.lag.ms"), whole("max.compaction.lag.ms"))
        && min > max
    {
        let words = format!(
            "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})"
        );
        return Err(AlterError::Conflict(words));
    }
    if in_force("remote.storage.enable") == Some(Value::Boolean(true)) {
        let words = "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.";
        return Err(AlterError::Conflict(words.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_without_effect_say_why_and_dangerous_ones_are_refused() {
        for (resource, name, value, words) in [
            (
                Resource::Topic,
                "unclean.leader.election.enable",
                "true",
                Some("replica"),
            ),
            (Resource::Topic, "unclean.leader.election.enable", "false", None),
            (Resource::Topic, "retention.ms", "5", None),
            (Resource::Broker, "principal.builder.class", "a.B", Some("Java")),
            (Resource::Broker, "no.such.key", "1", None),
        ] {
            let why = without_effect(resource, name, value);
            assert_eq!(why.is_some(), words.is_some(), "{name}={value}: {why:?}");
            assert!(
                why.unwrap_or_default().contains(words.unwrap_or_default()),
                "{why:?}"
            );
        }
        let set = |name, value| {
            [Operation {
                name,
                operation: 0,
                value: Some(value),
            }]
        };
        let change = |target, operations: &[Operation<'_>]| {
            alter(target, &Values::new(), operations, &Layers::defaults())
        };
        let stored = change(Target::Topic, &set("unclean.leader.election.enable", "true")).unwrap();
        assert_eq!(stored.len(), 1);
        let refused = change(Target::Broker, &set("principal.builder.class", "a.B")).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::InvalidRequest);
        assert_eq!(
            refused.to_string(),
            "principal.builder.class is not served: Klamm runs no Java classes"
        );
    }

    #[test]
    fn an_unknown_operation_has_a_code_and_no_words() {
        let operations = [Operation {
            name: "retention.ms",
            operation: 9,
            value: Some("1"),
        }];
        let error = alter(Target::Topic, &Values::new(), &operations, &Layers::defaults()).unwrap_err();
        assert_eq!(
            (error.code(), error.message()),
            (ErrorCode::UnknownServerError, None)
        );
    }
}
