//! What a group has been given of its own, typed.
//!
//! Always holds: a value lies within the bounds that the brokers set, whatever was stored under other bounds before; a stored
//! value that its key does not take is passed over.
//!
//! Next: `alter/group.rs` validates what clients set, `keys/group_resource.rs` has the keys.

use std::time::Duration;

use crate::key::{Key, Resource};
use crate::layers::{Layers, Values};

/// What a group of the consumer protocol has of its own; `None` follows the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsumerGroupConfig {
    /// `consumer.session.timeout.ms`.
    pub session_timeout: Option<Duration>,
    /// `consumer.heartbeat.interval.ms`.
    pub heartbeat_interval: Option<Duration>,
    /// `consumer.assignment.interval.ms`.
    pub assignment_interval: Option<Duration>,
}

/// What is set for a group with these values.
pub fn resolve(values: &Values, layers: &Layers<'_>) -> ConsumerGroupConfig {
    let bound = |name: &str| layers.broker_value(Key::broker(name)?)?.as_whole();
    let own = |name: &str| {
        let key = Key::find(Resource::Group, &format!("consumer.{name}"))?;
        let value = key.parse(values.get(key.name)?).ok()?.as_whole()?;
        let min = bound(&format!("group.consumer.min.{name}")).unwrap_or(value);
        let max = bound(&format!("group.consumer.max.{name}")).unwrap_or(value);
        let value = value.min(max).max(min);
        Some(Duration::from_millis(value.max(0).unsigned_abs()))
    };
    ConsumerGroupConfig {
        session_timeout: own("session.timeout.ms"),
        heartbeat_interval: own("heartbeat.interval.ms"),
        assignment_interval: own("assignment.interval.ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn values_are_brought_within_the_bounds_of_the_brokers() {
        let fixed = values(&[
            ("group.consumer.min.session.timeout.ms", "40000"),
            ("group.consumer.max.assignment.interval.ms", "2000"),
        ]);
        let layers = Layers::fixed(&fixed);
        let resolved = |pairs: &[(&str, &str)]| {
            let config = resolve(&values(pairs), &layers);
            [
                config.session_timeout,
                config.heartbeat_interval,
                config.assignment_interval,
            ]
            .map(|time| time.map(|time| time.as_millis()))
        };
        // (stored, session, heartbeat, assignment)
        type Row<'a> = (&'a [(&'a str, &'a str)], [Option<u128>; 3]);
        let table: [Row<'_>; 6] = [
            (&[], [None, None, None]),
            (
                &[("consumer.session.timeout.ms", "41000")],
                [Some(41_000), None, None],
            ),
            (
                &[("consumer.session.timeout.ms", "1")],
                [Some(40_000), None, None],
            ),
            (
                &[("consumer.session.timeout.ms", "60001")],
                [Some(60_000), None, None],
            ),
            (
                &[
                    ("consumer.heartbeat.interval.ms", "x"),
                    ("consumer.assignment.interval.ms", "0"),
                ],
                [None, None, Some(0)],
            ),
            (
                &[
                    ("consumer.heartbeat.interval.ms", "7000"),
                    ("consumer.assignment.interval.ms", "3000"),
                ],
                [None, Some(7_000), Some(2_000)],
            ),
        ];
        for (stored, expected) in table {
            assert_eq!(resolved(stored), expected, "{stored:?}");
        }
    }
}
