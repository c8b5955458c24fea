//! What groups and committed offsets follow.
//!
//! Always holds: the interval between two assignments is not here: it may change while the node runs (`dynamic.rs`), and with it
//! all that a group has of its own (`group.rs`).
//!
//! Next: `keys/group.rs`; the coordinators of the broker, which decide by it.

use std::time::Duration;

use super::read::Reader;
use crate::source::Fixed;

/// See the head of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    /// `group.initial.rebalance.delay.ms`.
    pub initial_rebalance_delay: Duration,
    /// `group.min.session.timeout.ms`.
    pub min_session_timeout: Duration,
    /// `group.max.session.timeout.ms`.
    pub max_session_timeout: Duration,
    /// `group.max.size`.
    pub max_size: u32,
    /// What is set for groups of the consumer protocol.
    pub consumer: ConsumerGroups,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_max_bytes: u32,
    /// `offsets.retention.minutes`.
    pub offsets_retention: Duration,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval: Duration,
    /// `offsets.commit.timeout.ms`.
    pub commit_timeout: Duration,
    /// `offsets.load.buffer.size`.
    pub load_bytes: u32,
    /// `offsets.topic.compression.codec`, by its number in a batch.
    pub codec: u8,
}

/// What groups of the consumer protocol follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerGroups {
    /// Whether there are any (`group.coordinator.rebalance.protocols`).
    pub offered: bool,
    /// `group.consumer.assignors`, in the order of preference.
    pub assignors: Vec<String>,
    /// `group.consumer.heartbeat.interval.ms`.
    pub heartbeat_interval: Duration,
    /// `group.consumer.session.timeout.ms`.
    pub session_timeout: Duration,
    /// `group.consumer.max.size`.
    pub max_size: u32,
    /// `group.consumer.migration.policy`.
    pub migration_policy: MigrationPolicy,
    /// `group.consumer.regex.refresh.interval.ms`.
    pub regex_refresh_interval: Duration,
}

/// Which groups may change between the classic and the consumer protocol while they have members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationPolicy {
    /// None.
    Disabled,
    /// Consumer groups, to the classic protocol.
    Downgrade,
    /// Classic groups, to the consumer protocol.
    Upgrade,
    /// Both.
    Bidirectional,
}

const ASSIGNORS: &str = "group.consumer.assignors";
const PROTOCOLS: &str = "group.coordinator.rebalance.protocols";

/// The assignors there are; Kafka takes the names of its classes too.
fn assignor(name: &str) -> Option<&'static str> {
    match name {
        "uniform" | "org.apache.kafka.coordinator.group.assignor.UniformAssignor" => Some("uniform"),
        "range" | "org.apache.kafka.coordinator.group.assignor.RangeAssignor" => Some("range"),
        _ => None,
    }
}

/// Refuses a start with assignors that are not there, or without the classic protocol.
pub(super) fn check(reader: &Reader<'_>, fixed: &mut Fixed) {
    if reader.list(ASSIGNORS).iter().any(|name| assignor(name).is_none()) {
        fixed.refuse(ASSIGNORS, "allowed: uniform, range; Klamm runs no Java classes");
    }
    if !reader.list(PROTOCOLS).iter().any(|name| name == "classic") {
        fixed.refuse(PROTOCOLS, "disabling the classic protocol is not supported");
    }
}

fn read_consumer(reader: &Reader<'_>) -> ConsumerGroups {
    let mut assignors: Vec<String> = Vec::new();
    for name in reader.list(ASSIGNORS).iter().filter_map(|name| assignor(name)) {
        if !assignors.iter().any(|known| known == name) {
            assignors.push(name.to_owned());
        }
    }
    let policy = reader.text("group.consumer.migration.policy").unwrap_or_default();
    ConsumerGroups {
        offered: reader.list(PROTOCOLS).iter().any(|name| name == "consumer"),
        assignors,
        heartbeat_interval: reader.interval("group.consumer.heartbeat.interval.ms"),
        session_timeout: reader.interval("group.consumer.session.timeout.ms"),
        max_size: reader.count("group.consumer.max.size"),
        migration_policy: match policy.to_ascii_lowercase().as_str() {
            "disabled" => MigrationPolicy::Disabled,
            "downgrade" => MigrationPolicy::Downgrade,
            "upgrade" => MigrationPolicy::Upgrade,
            _ => MigrationPolicy::Bidirectional,
        },
        regex_refresh_interval: reader.interval("group.consumer.regex.refresh.interval.ms"),
    }
}

/// Values of consumer groups that do not go together: the key that is to blame, and Kafka's words.
pub(super) fn problem(reader: &Reader<'_>) -> Option<(&'static str, String)> {
    type Bounds = (&'static str, &'static str, &'static str);
    const BOUNDED: [Bounds; 3] = [
        (
            "group.consumer.heartbeat.interval.ms",
            "group.consumer.min.heartbeat.interval.ms",
            "group.consumer.max.heartbeat.interval.ms",
        ),
        (
            "group.consumer.session.timeout.ms",
            "group.consumer.min.session.timeout.ms",
            "group.consumer.max.session.timeout.ms",
        ),
        (
            "group.consumer.assignment.interval.ms",
            "group.consumer.min.assignment.interval.ms",
            "group.consumer.max.assignment.interval.ms",
        ),
    ];
    for (name, min, max) in BOUNDED {
        for (one, other) in [(max, min), (name, min)] {
            if reader.whole(one) < reader.whole(other) {
                return Some((one, format!("{one} must be greater than or equal to {other}")));
            }
        }
        if reader.whole(name) > reader.whole(max) {
            return Some((name, format!("{name} must be less than or equal to {max}")));
        }
    }
    let (heartbeat, session) = (BOUNDED[0].0, BOUNDED[1].0);
    if reader.whole(heartbeat) >= reader.whole(session) {
        return Some((heartbeat, format!("{heartbeat} must be less than {session}")));
    }
    None
}

pub(super) fn read(reader: &Reader<'_>) -> Groups {
    let time = |name| Duration::from_millis(reader.whole(name).max(0).unsigned_abs());
    Groups {
        initial_rebalance_delay: time("group.initial.rebalance.delay.ms"),
        min_session_timeout: time("group.min.session.timeout.ms"),
        max_session_timeout: time("group.max.session.timeout.ms"),
        max_size: reader.count("group.max.size"),
        consumer: read_consumer(reader),
        offset_metadata_max_bytes: reader.count("offset.metadata.max.bytes"),
        offsets_retention: Duration::from_mins(u64::from(reader.count("offsets.retention.minutes"))),
        offsets_retention_check_interval: reader.interval("offsets.retention.check.interval.ms"),
        commit_timeout: reader.interval("offsets.commit.timeout.ms"),
        load_bytes: reader.count("offsets.load.buffer.size"),
        codec: u8::try_from(reader.whole("offsets.topic.compression.codec")).unwrap_or(0),
    }
}
