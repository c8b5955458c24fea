//! What a configuration key is.
//!
//! Always holds: a [`Key`] is a constant of the table in `keys.rs`; a broker key and a topic key of the same name are two
//! keys. The builder functions exist for the rows of that table only.
//!
//! Next: `allowed.rs` for the bounds, `value.rs` for parsing, `keys.rs` for the rows.

use crate::allowed::Allowed;

/// A configuration key: name, type, bounds, scope and meaning.
#[derive(Debug)]
pub struct Key {
    /// The name as `server.properties` and clients write it.
    pub name: &'static str,
    /// The type, in Kafka's terms.
    pub kind: Kind,
    /// The default as text; `None` when the key is unset by default.
    pub default: Option<&'static str>,
    /// What values are allowed beyond the type.
    pub allowed: Allowed,
    /// The unit of a number.
    pub unit: Option<Unit>,
    /// What the key configures, and when it may change.
    pub scope: Scope,
    /// Whether Klamm acts on it.
    pub serving: Serving,
    /// How much most operators need it.
    pub importance: Importance,
    /// Kafka hides internal keys from DescribeConfigs unless they are set.
    pub internal: bool,
    /// Broker keys of the same meaning that are asked in this order when this one is unset (`log.retention.hours`).
    pub fallbacks: &'static [&'static str],
    /// The broker key that gives the default of a topic or group key.
    pub broker_key: Option<&'static str>,
    /// One sentence of meaning.
    pub doc: &'static str,
}

/// The type of a value, with the numbers that DescribeConfigs uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i8)]
pub enum Kind {
    /// `true` or `false`, in any case.
    Boolean = 1,
    /// Text.
    String = 2,
    /// A whole number of 32 bits.
    Int = 3,
    /// A whole number of 16 bits.
    Short = 4,
    /// A whole number of 64 bits.
    Long = 5,
    /// A floating-point number.
    Double = 6,
    /// Texts separated by commas.
    List = 7,
    /// The name of a Java class.
    Class = 8,
    /// Text that is never shown.
    Password = 9,
}

impl Kind {
    /// The name as Kafka writes it in messages: `LONG`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Int => "INT",
            Self::Short => "SHORT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
            Self::Class => "CLASS",
            Self::Password => "PASSWORD",
        }
    }
}

/// The unit of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// Minutes.
    Minutes,
    /// Hours.
    Hours,
    /// Bytes.
    Bytes,
    /// Bytes a second.
    BytesPerSecond,
}

impl Unit {
    /// The unit in words of the reference page.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::Seconds => "s",
            Self::Minutes => "min",
            Self::Hours => "h",
            Self::Bytes => "bytes",
            Self::BytesPerSecond => "bytes/s",
        }
    }

    /// How many milliseconds one of it is; 1 for what is no time.
    pub const fn in_ms(self) -> i64 {
        match self {
            Self::Seconds => 1_000,
            Self::Minutes => 60_000,
            Self::Hours => 3_600_000,
            Self::Milliseconds | Self::Bytes | Self::BytesPerSecond => 1,
        }
    }
}

/// When a broker key may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// Only with a restart.
    ReadOnly,
    /// While running, on one broker.
    PerBroker,
    /// While running, on one broker or as a default of all.
    ClusterWide,
}

/// What a key configures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A broker.
    Broker(Update),
    /// A topic; always dynamic.
    Topic,
    /// A group; always dynamic.
    Group,
    /// A subscription to client metrics; always dynamic.
    ClientMetrics,
}

impl Scope {
    /// The resource whose configuration the key belongs to.
    pub const fn resource(self) -> Resource {
        match self {
            Self::Broker(_) => Resource::Broker,
            Self::Topic => Resource::Topic,
            Self::Group => Resource::Group,
            Self::ClientMetrics => Resource::ClientMetrics,
        }
    }
}

/// A resource that has configs in the table, with the protocol's numbers. Loggers (8) have levels, not keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i8)]
pub enum Resource {
    /// A topic.
    Topic = 2,
    /// A broker, or the default of all brokers.
    Broker = 4,
    /// A subscription to client metrics.
    ClientMetrics = 16,
    /// A group.
    Group = 32,
}

/// Whether Klamm acts on a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    /// It has its effect.
    Served,
    /// It is known and has no effect, for this reason; setting it to another value than its default is a warning.
    NotServed(&'static str),
    /// It has no effect, and going on as if it had would be dangerous: another value than the default stops the start.
    Refused(&'static str),
}

/// How much most operators need a key, as Kafka ranks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Importance {
    /// To be looked at first.
    High,
    /// To be looked at when tuning.
    Medium,
    /// Seldom needed.
    Low,
}

impl Key {
    /// The key `name` of `resource`, if there is one. Names are case-sensitive; listener prefixes are not resolved.
    pub fn find(resource: Resource, name: &str) -> Option<&'static Key> {
        crate::keys::registry().get(&(resource, name)).copied()
    }

    /// The broker key `name`, if there is one.
    pub fn broker(name: &str) -> Option<&'static Key> {
        Self::find(Resource::Broker, name)
    }

    /// The topic key `name`, if there is one.
    pub fn topic(name: &str) -> Option<&'static Key> {
        Self::find(Resource::Topic, name)
    }

    /// Every key of `resource`, by name.
    pub fn all(resource: Resource) -> impl Iterator<Item = &'static Key> {
        crate::keys::registry()
            .range((resource, "")..)
            .map(|(_, key)| *key)
            .take_while(move |key| key.resource() == resource)
    }

    /// The known name of `resource` that is spelled most like `name`, when one is near enough to be meant.
    pub fn nearest(resource: Resource, name: &str) -> Option<&'static str> {
        const NEAR: f64 = 0.6;
        let length = name.chars().count();
        // Two names are never more alike than their lengths are; comparing them takes as long as both multiplied.
        let alike = |key: &&Key| {
            let other = key.name.len();
            length.min(other) as f64 >= NEAR * length.max(other) as f64
        };
        let near = |key: &'static Key| (strsim::normalized_damerau_levenshtein(name, key.name), key.name);
        let best = Self::all(resource)
            .filter(|key| !key.internal)
            .filter(alike)
            .map(near)
            .max_by(|a, b| a.0.total_cmp(&b.0))?;
        (best.0 >= NEAR).then_some(best.1)
    }

    /// The resource the key belongs to.
    pub const fn resource(&self) -> Resource {
        self.scope.resource()
    }

    /// Whether the value is never shown.
    pub const fn is_sensitive(&self) -> bool {
        matches!(self.kind, Kind::Password)
    }

    /// Whether it changes only with a restart.
    pub const fn is_read_only(&self) -> bool {
        matches!(self.scope, Scope::Broker(Update::ReadOnly))
    }

    /// Whether `value` means the same as the default.
    pub fn is_default(&self, value: &str) -> bool {
        match (self.parse(value), self.default.map(|text| self.parse(text))) {
            (Ok(value), Some(Ok(default))) => value == default,
            (Ok(value), None) => value.to_string().is_empty(),
            _ => false,
        }
    }
}

/// The words of the table's rows.
impl Key {
    pub(crate) const fn new(scope: Scope, kind: Kind, name: &'static str, doc: &'static str) -> Self {
        Self {
            name,
            kind,
            default: None,
            allowed: Allowed::Any,
            unit: None,
            scope,
            serving: Serving::Served,
            importance: Importance::Medium,
            internal: false,
            fallbacks: &[],
            broker_key: None,
            doc,
        }
    }

    pub(crate) const fn default(mut self, value: &'static str) -> Self {
        self.default = Some(value);
        self
    }

    const fn allow(mut self, allowed: Allowed) -> Self {
        self.allowed = allowed;
        self
    }

    pub(crate) const fn at_least(self, min: i64) -> Self {
        self.allow(Allowed::AtLeast(min))
    }

    pub(crate) const fn between(self, min: i64, max: i64) -> Self {
        self.allow(Allowed::Between(min, max))
    }

    pub(crate) const fn between_or(self, min: i64, max: i64, also: i64) -> Self {
        self.allow(Allowed::BetweenOr(min, max, also))
    }

    pub(crate) const fn between_ratio(self, min: f64, max: f64) -> Self {
        self.allow(Allowed::BetweenRatio(min, max))
    }

    pub(crate) const fn one_of(self, values: &'static [&'static str]) -> Self {
        self.allow(Allowed::OneOf(values))
    }

    pub(crate) const fn one_of_any_case(self, values: &'static [&'static str]) -> Self {
        self.allow(Allowed::OneOfAnyCase(values))
    }

    pub(crate) const fn non_empty(self) -> Self {
        self.allow(Allowed::NonEmpty)
    }

    /// A list of which every item is one of `values`.
    pub(crate) const fn items(self, values: &'static [&'static str]) -> Self {
        self.allow(Allowed::Items {
            of: values,
            filled: false,
        })
    }

    /// A list that has at least one item.
    pub(crate) const fn filled(self) -> Self {
        let of: &'static [&'static str] = match self.allowed {
            Allowed::Items { of, .. } => of,
            _ => &[],
        };
        self.allow(Allowed::Items { of, filled: true })
    }

    pub(crate) const fn throttled_replicas(self) -> Self {
        self.allow(Allowed::ThrottledReplicas)
    }

    pub(crate) const fn offset_reset(self) -> Self {
        self.allow(Allowed::OffsetReset)
    }

    const fn unit(mut self, unit: Unit) -> Self {
        self.unit = Some(unit);
        self
    }

    pub(crate) const fn ms(self) -> Self {
        self.unit(Unit::Milliseconds)
    }

    pub(crate) const fn seconds(self) -> Self {
        self.unit(Unit::Seconds)
    }

    pub(crate) const fn minutes(self) -> Self {
        self.unit(Unit::Minutes)
    }

    pub(crate) const fn hours(self) -> Self {
        self.unit(Unit::Hours)
    }

    pub(crate) const fn bytes(self) -> Self {
        self.unit(Unit::Bytes)
    }

    pub(crate) const fn bytes_per_second(self) -> Self {
        self.unit(Unit::BytesPerSecond)
    }

    pub(crate) const fn high(mut self) -> Self {
        self.importance = Importance::High;
        self
    }

    pub(crate) const fn low(mut self) -> Self {
        self.importance = Importance::Low;
        self
    }

    pub(crate) const fn internal(mut self) -> Self {
        self.internal = true;
        self
    }

    pub(crate) const fn per_broker(mut self) -> Self {
        self.scope = Scope::Broker(Update::PerBroker);
        self
    }

    pub(crate) const fn cluster_wide(mut self) -> Self {
        self.scope = Scope::Broker(Update::ClusterWide);
        self
    }

    pub(crate) const fn falls_back_to(mut self, names: &'static [&'static str]) -> Self {
        self.fallbacks = names;
        self
    }

    pub(crate) const fn inherits(mut self, name: &'static str) -> Self {
        self.broker_key = Some(name);
        self
    }

    pub(crate) const fn served(mut self) -> Self {
        self.serving = Serving::Served;
        self
    }

    pub(crate) const fn not_served(mut self, reason: &'static str) -> Self {
        self.serving = Serving::NotServed(reason);
        self
    }

    pub(crate) const fn refused(mut self, reason: &'static str) -> Self {
        self.serving = Serving::Refused(reason);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_the_one_that_was_meant() {
        let nearest = |name| Key::nearest(Resource::Broker, name);
        assert_eq!(nearest("log.retension.ms"), Some("log.retention.ms"));
        assert_eq!(nearest("listener"), Some("listeners"));
        assert_eq!(
            nearest("auto.create.topic.enable"),
            Some("auto.create.topics.enable")
        );
        assert_eq!(nearest("klamm.durabilty"), Some("klamm.durability"));
        assert_eq!(nearest("zz"), None);
        assert_eq!(
            nearest(&"a".repeat(1 << 22)),
            None,
            "a name of any length is compared in time"
        );
        assert_eq!(Key::nearest(Resource::Topic, "retention"), Some("retention.ms"));
    }

    #[test]
    fn a_default_is_recognised_by_meaning_not_by_spelling() {
        for (name, value, default) in [
            ("log.retention.hours", " 168 ", true),
            ("log.retention.hours", "169", false),
            ("auto.create.topics.enable", "TRUE", true),
            ("process.roles", "broker , controller", true),
            ("authorizer.class.name", "", true),
            ("broker.rack", "", true),
            ("broker.rack", "r1", false),
            ("log.retention.hours", "x", false),
        ] {
            assert_eq!(
                Key::broker(name).unwrap().is_default(value),
                default,
                "{name}={value}"
            );
        }
    }
}
