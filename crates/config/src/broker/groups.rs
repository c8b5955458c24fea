//! What groups of the classic protocol and committed offsets follow.
//!
//! Next: `keys/group.rs`; the coordinators of the broker, which decide by it.

use std::time::Duration;

use super::read::Reader;

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

pub(super) fn read(reader: &Reader<'_>) -> Groups {
    let time = |name| Duration::from_millis(reader.whole(name).max(0).unsigned_abs());
    Groups {
        initial_rebalance_delay: time("group.initial.rebalance.delay.ms"),
        min_session_timeout: time("group.min.session.timeout.ms"),
        max_session_timeout: time("group.max.session.timeout.ms"),
        max_size: reader.count("group.max.size"),
        offset_metadata_max_bytes: reader.count("offset.metadata.max.bytes"),
        offsets_retention: Duration::from_mins(u64::from(reader.count("offsets.retention.minutes"))),
        offsets_retention_check_interval: reader.interval("offsets.retention.check.interval.ms"),
        commit_timeout: reader.interval("offsets.commit.timeout.ms"),
        load_bytes: reader.count("offsets.load.buffer.size"),
        codec: u8::try_from(reader.whole("offsets.topic.compression.codec")).unwrap_or(0),
    }
}
