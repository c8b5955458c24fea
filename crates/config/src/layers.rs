//! Where a broker's values come from, in order: dynamic for this broker, dynamic for all, static, default.
//!
//! Always holds: a name is looked up in all layers before a key's fallbacks are asked, as Apache Kafka does; a stored
//! dynamic value that its key does not take is passed over, so that an old record never stops a broker.
//!
//! Next: `topic.rs` and `broker.rs` read values through this, `describe.rs` shows them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::key::{Key, Unit};
use crate::value::Value;

/// Names and values as texts.
pub type Values = BTreeMap<String, String>;

static NONE: LazyLock<Values> = LazyLock::new(Values::new);

/// The layers of a broker's configuration.
#[derive(Clone, Copy, Debug)]
pub struct Layers<'a> {
    /// Set while running, for this broker.
    pub dynamic_broker: &'a Values,
    /// Set while running, as the default of all brokers.
    pub dynamic_default: &'a Values,
    /// Set at the start: file, environment and command line.
    pub fixed: &'a Values,
}

impl<'a> Layers<'a> {
    /// Only what was set at the start.
    pub fn fixed(fixed: &'a Values) -> Self {
        Self {
            dynamic_broker: &NONE,
            dynamic_default: &NONE,
            fixed,
        }
    }

    /// Nothing set: every key has its default.
    pub fn defaults() -> Layers<'static> {
        Layers {
            dynamic_broker: &NONE,
            dynamic_default: &NONE,
            fixed: &NONE,
        }
    }

    /// The value set for the broker key `key`, its fallbacks left aside.
    pub(crate) fn explicit(&self, key: &Key) -> Option<Value> {
        let dynamic = [self.dynamic_broker, self.dynamic_default]
            .into_iter()
            .filter(|_| !key.is_read_only());
        dynamic
            .chain([self.fixed])
            .find_map(|layer| key.parse(layer.get(key.name)?).ok())
    }

    /// The value in force of the broker key `key`: set, of a fallback, or the default; in the unit of `key`.
    pub fn broker_value(&self, key: &Key) -> Option<Value> {
        let fallbacks = || key.fallbacks.iter().filter_map(|name| Key::broker(name));
        let set = || fallbacks().find_map(|other| Some(convert(self.explicit(other)?, other.unit, key.unit)));
        let default = |of: &Key| of.parse(of.default?).ok();
        let fallback = || fallbacks().find_map(|other| Some(convert(default(other)?, other.unit, key.unit)));
        self.explicit(key)
            .or_else(set)
            .or_else(|| default(key))
            .or_else(fallback)
    }

    /// The default that the brokers give the topic or group key `key`.
    pub fn inherited(&self, key: &Key) -> Option<Value> {
        let own = || key.parse(key.default?).ok();
        let Some(broker) = key.broker_key.and_then(Key::broker) else {
            return own();
        };
        match self.broker_value(broker) {
            // A streams group takes the first of the broker's assignors.
            Some(Value::List(items)) if key.kind != broker.kind => items.into_iter().next().map(Value::Text),
            Some(value) => Some(value),
            None => own(),
        }
    }

    /// The value in force of the topic or group key `key` under `overrides`.
    pub fn resource_value(&self, key: &Key, overrides: &Values) -> Option<Value> {
        overrides
            .get(key.name)
            .and_then(|text| key.parse(text).ok())
            .or_else(|| self.inherited(key))
    }
}

/// `value` in another unit of time. A negative time means none and stays.
fn convert(value: Value, from: Option<Unit>, to: Option<Unit>) -> Value {
    let (Some(number), Some(from), Some(to)) = (value.as_whole(), from, to) else {
        return value;
    };
    if from == to || number < 0 {
        return Value::Long(number);
    }
    Value::Long(number.saturating_mul(from.in_ms()) / to.in_ms())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn fallbacks_are_asked_after_all_layers() {
        let retention = Key::broker("log.retention.ms").unwrap();
        for (dynamic, default, fixed, expected) in [
            (&[][..], &[][..], &[][..], 604_800_000),
            (&[], &[], &[("log.retention.hours", "2")], 7_200_000),
            (&[], &[], &[("log.retention.hours", "-1")], -1),
            (
                &[],
                &[],
                &[("log.retention.hours", "2"), ("log.retention.minutes", "3")],
                180_000,
            ),
            (
                &[],
                &[],
                &[("log.retention.ms", "5"), ("log.retention.minutes", "3")],
                5,
            ),
            (&[], &[("log.retention.ms", "9")], &[("log.retention.ms", "5")], 9),
            (&[("log.retention.ms", "8")], &[("log.retention.ms", "9")], &[], 8),
            (
                &[("log.retention.ms", "spoiled")],
                &[("log.retention.ms", "9")],
                &[],
                9,
            ),
            (&[("log.retention.hours", "1")], &[], &[], 604_800_000),
        ] {
            let (dynamic, default, fixed) = (values(dynamic), values(default), values(fixed));
            let layers = Layers {
                dynamic_broker: &dynamic,
                dynamic_default: &default,
                fixed: &fixed,
            };
            let value = layers.broker_value(retention).unwrap();
            assert_eq!(value, Value::Long(expected), "{dynamic:?} {default:?} {fixed:?}");
        }
    }

    #[test]
    fn topics_and_groups_inherit_from_the_broker() {
        let fixed = values(&[
            ("log.roll.jitter.hours", "1"),
            ("log.flush.scheduler.interval.ms", "9000"),
            ("group.consumer.heartbeat.interval.ms", "6000"),
        ]);
        let layers = Layers::fixed(&fixed);
        let inherited = |resource, name| layers.inherited(Key::find(resource, name).unwrap()).unwrap();
        use crate::key::Resource::{Group, Topic};
        assert_eq!(inherited(Topic, "segment.jitter.ms"), Value::Long(3_600_000));
        assert_eq!(inherited(Topic, "flush.ms"), Value::Long(9000));
        assert_eq!(inherited(Topic, "segment.bytes"), Value::Int(1 << 30));
        assert_eq!(
            inherited(Group, "consumer.heartbeat.interval.ms"),
            Value::Int(6000)
        );
        assert_eq!(
            inherited(Group, "streams.assignor.name"),
            Value::Text("sticky".to_owned())
        );
    }
}
