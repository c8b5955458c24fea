//! The settings of the group coordinator.
//!
//! Always holds: the defaults are those of the keys that the fields are named after (`group.*`, `offset.metadata.max.bytes`,
//! `offsets.*`), in `keys/group.rs` of the configuration.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Which groups may change between the classic and the consumer protocol while they have members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MigrationPolicy {
    /// None.
    Disabled,
    /// Consumer groups, to the classic protocol.
    Downgrade,
    /// Classic groups, to the consumer protocol.
    Upgrade,
    /// Both.
    #[default]
    Bidirectional,
}

impl MigrationPolicy {
    /// A classic group may become a consumer group.
    pub fn upgrades(self) -> bool {
        matches!(self, Self::Upgrade | Self::Bidirectional)
    }

    /// A consumer group may become a classic group.
    pub fn downgrades(self) -> bool {
        matches!(self, Self::Downgrade | Self::Bidirectional)
    }
}

/// What a group has been given of its own; `None` follows the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupOverrides {
    /// `consumer.session.timeout.ms`.
    pub consumer_session_timeout: Option<Duration>,
    /// `consumer.heartbeat.interval.ms`.
    pub consumer_heartbeat_interval: Option<Duration>,
    /// `consumer.assignment.interval.ms`.
    pub consumer_assignment_interval: Option<Duration>,
}

/// See the head of the file.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct GroupConfig {
    pub initial_rebalance_delay: Duration,
    pub min_session_timeout: Duration,
    pub max_session_timeout: Duration,
    pub max_size: usize,
    pub consumer_assignment_interval: Duration,
    /// In the order of preference.
    pub consumer_assignors: Vec<String>,
    pub consumer_heartbeat_interval: Duration,
    pub consumer_session_timeout: Duration,
    pub consumer_max_size: usize,
    pub consumer_migration_policy: MigrationPolicy,
    pub consumer_regex_refresh_interval: Duration,
    pub offset_metadata_max_bytes: usize,
    pub offsets_retention: Duration,
    pub offsets_retention_check_interval: Duration,
    /// By the id of the group; brought within the broker's bounds.
    pub overrides: BTreeMap<Arc<str>, GroupOverrides>,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            initial_rebalance_delay: Duration::from_secs(3),
            min_session_timeout: Duration::from_secs(6),
            max_session_timeout: Duration::from_mins(30),
            max_size: i32::MAX as usize,
            consumer_assignment_interval: Duration::from_secs(1),
            consumer_assignors: vec!["uniform".to_owned(), "range".to_owned()],
            consumer_heartbeat_interval: Duration::from_secs(5),
            consumer_session_timeout: Duration::from_secs(45),
            consumer_max_size: i32::MAX as usize,
            consumer_migration_policy: MigrationPolicy::Bidirectional,
            consumer_regex_refresh_interval: Duration::from_mins(10),
            offset_metadata_max_bytes: 4096,
            offsets_retention: Duration::from_hours(7 * 24),
            offsets_retention_check_interval: Duration::from_mins(10),
            overrides: BTreeMap::new(),
        }
    }
}

impl GroupConfig {
    /// Whether a classic member may ask for this session timeout.
    pub fn allows_session(&self, timeout_ms: i32) -> bool {
        u64::try_from(timeout_ms).is_ok_and(|timeout_ms| {
            (self.min_session_timeout..=self.max_session_timeout).contains(&Duration::from_millis(timeout_ms))
        })
    }

    /// `consumer.session.timeout.ms` of a group.
    pub fn consumer_session_timeout_of(&self, group: &str) -> Duration {
        let own = self
            .overrides
            .get(group)
            .and_then(|own| own.consumer_session_timeout);
        own.unwrap_or(self.consumer_session_timeout)
    }

    /// `consumer.heartbeat.interval.ms` of a group.
    pub fn consumer_heartbeat_interval_of(&self, group: &str) -> Duration {
        let own = self
            .overrides
            .get(group)
            .and_then(|own| own.consumer_heartbeat_interval);
        own.unwrap_or(self.consumer_heartbeat_interval)
    }

    /// `consumer.assignment.interval.ms` of a group.
    pub fn consumer_assignment_interval_of(&self, group: &str) -> Duration {
        let own = self
            .overrides
            .get(group)
            .and_then(|own| own.consumer_assignment_interval);
        own.unwrap_or(self.consumer_assignment_interval)
    }
}
