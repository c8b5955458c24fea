//! Which offsets have had their time.
//!
//! An offset that was committed with an expiry of its own goes then (old clients could ask for that). All others go
//! `offsets.retention.minutes` after the group became empty; where that was not recorded, or nobody was ever a member, after they
//! were committed. In a group with members, only offsets of topics go that none of them wants. An offset stays as long as another one
//! is pending for its partition.
//!
//! Next: `group/kinds.rs`, which sweeps all groups.

use klamm_model::TimestampMs;

use super::{Committed, Offsets, tombstone};
use crate::group::classic::subscription::Subscribed;
use crate::group::classic::{ClassicGroup, State};
use crate::group::config::GroupConfig;
use crate::group::record::GroupRecord;

/// Since when the offsets of a group grow old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ageing {
    /// Each since it was committed.
    SinceCommit,
    /// All since then.
    Since(TimestampMs),
    /// They do not.
    Never,
}

impl ClassicGroup {
    /// Since when its offsets grow old, and which topics they are needed of.
    pub(crate) fn ageing(&self) -> (Ageing, Subscribed) {
        let subscribed = self.subscribed();
        let ageing = match (&self.protocol_type, self.state, self.since) {
            (None, _, _) => Ageing::SinceCommit,
            (Some(_), State::Empty, Some(since)) => Ageing::Since(since),
            (Some(_), State::Empty, None) => Ageing::SinceCommit,
            (Some(_), State::Stable, _) if matches!(subscribed, Subscribed::To(_)) => Ageing::SinceCommit,
            (Some(_), State::Stable | State::Preparing(_) | State::Completing, _) => Ageing::Never,
        };
        (ageing, subscribed)
    }
}

impl Offsets {
    /// Takes back what has had its time of a group's offsets; says whether nothing is left then.
    pub(crate) fn expire(
        &self,
        group: &str,
        (ageing, may_want): (Ageing, impl Fn(&str) -> bool),
        now: TimestampMs,
        config: &GroupConfig,
        records: &mut Vec<GroupRecord>,
    ) -> bool {
        let retention_ms = i64::try_from(config.offsets_retention.as_millis()).unwrap_or(i64::MAX);
        let is_old = |committed: &Committed<'_>| match (ageing, committed.expires_at()) {
            (Ageing::Never, _) => false,
            (_, Some(expires_at)) => now >= expires_at,
            (Ageing::SinceCommit, None) => now.ms_since(committed.committed_at()) >= retention_ms,
            (Ageing::Since(since), None) => now.ms_since(since) >= retention_ms,
        };
        let mut left = self.pending.has(group);
        for (topic, partitions) in self.of(group).into_iter().flat_map(|offsets| offsets.topics()) {
            let wanted = may_want(topic);
            for committed in partitions {
                let partition = committed.partition();
                if !wanted && is_old(&committed) && !self.pending.is_open(group, topic, partition) {
                    records.push(tombstone(group, topic, partition));
                } else {
                    left = true;
                }
            }
        }
        !left
    }
}
