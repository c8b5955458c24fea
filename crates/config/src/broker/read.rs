//! Typed reads of broker keys.
//!
//! Always holds: the names are constants of the callers and the table's test holds their types, so a wrong name is a bug of
//! ours and panics in the first test that loads a configuration.
//!
//! Next: `broker.rs`.

use std::time::Duration;

use crate::key::Key;
use crate::layers::Layers;
use crate::value::Value;

/// Reads values in force.
pub(super) struct Reader<'a> {
    layers: &'a Layers<'a>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(layers: &'a Layers<'a>) -> Self {
        Self { layers }
    }

    fn value(&self, name: &str) -> Option<Value> {
        self.layers
            .broker_value(Key::broker(name).expect("the table has every key that the broker reads"))
    }

    /// A whole number that has a default.
    pub(super) fn whole(&self, name: &str) -> i64 {
        let value = self.value(name).expect("the key has a default");
        value.as_whole().expect("the key is a whole number")
    }

    /// A number that its bounds keep from being negative; at most `u32::MAX`.
    pub(super) fn count(&self, name: &str) -> u32 {
        u32::try_from(self.whole(name).max(0)).unwrap_or(u32::MAX)
    }

    /// A number of bytes that its bounds keep from being negative.
    pub(super) fn bytes(&self, name: &str) -> u64 {
        self.whole(name).max(0).unsigned_abs()
    }

    /// A time in milliseconds; `None` when it is negative or the greatest number, which both mean never.
    pub(super) fn time(&self, name: &str) -> Option<Duration> {
        let ms = self.whole(name);
        (0..i64::MAX)
            .contains(&ms)
            .then(|| Duration::from_millis(ms.unsigned_abs()))
    }

    /// An interval in milliseconds, at least one.
    pub(super) fn interval(&self, name: &str) -> Duration {
        Duration::from_millis(self.whole(name).max(1).unsigned_abs())
    }

    /// A number that has a default.
    pub(super) fn number(&self, name: &str) -> f64 {
        match self.value(name).expect("the key has a default") {
            Value::Double(number) => number,
            other => unreachable!("{name} is a double, not {other:?}"),
        }
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        matches!(self.value(name), Some(Value::Boolean(true)))
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.value(name).map(|value| value.to_string())
    }

    pub(super) fn list(&self, name: &str) -> Vec<String> {
        self.value(name)
            .map_or_else(Vec::new, |value| value.as_list().to_vec())
    }
}
