//! The table of Kafka's APIs.
//!
//! Always holds: it lists what the schemas have, served or not; what a broker advertises is decided elsewhere.

use std::fmt;
use std::ops::RangeInclusive;

pub use crate::generated::api_key::ApiKey;

/// What the schemas say about one API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ApiInfo {
    pub(crate) name: &'static str,
    pub(crate) min: i16,
    pub(crate) max: i16,
    pub(crate) first_flexible: i16,
    pub(crate) latest_unstable: bool,
    pub(crate) broker: bool,
    pub(crate) controller: bool,
}

impl ApiKey {
    /// The number on the wire.
    pub fn to_i16(self) -> i16 {
        self as i16
    }

    /// Kafka's name, for instance `Produce`.
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// The versions that have a schema.
    pub fn versions(self) -> RangeInclusive<i16> {
        self.info().min..=self.info().max
    }

    /// The versions that have a schema and are not still changing.
    pub fn stable_versions(self) -> RangeInclusive<i16> {
        self.info().min..=self.info().max - i16::from(self.info().latest_unstable)
    }

    /// Whether `version` has compact lengths and tagged fields (KIP-482).
    pub fn is_flexible(self, version: i16) -> bool {
        version >= self.info().first_flexible
    }

    /// Whether the newest version is still changing, and must not be advertised.
    pub fn latest_version_unstable(self) -> bool {
        self.info().latest_unstable
    }

    /// Whether Kafka serves this API to clients and brokers.
    pub fn on_broker(self) -> bool {
        self.info().broker
    }

    /// Whether Kafka serves this API on a controller.
    pub fn on_controller(self) -> bool {
        self.info().controller
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
