//! A follower: fetches what the leader has, cuts what the leader does not have, and learns the high watermark.
//!
//! Always holds: a response that belongs to an earlier leader epoch changes nothing; the high watermark is within the log and
//! never goes back, except when the log itself is cut below it after an unclean election.

use klamm_model::{BrokerId, LeaderEpoch, Offset};

use crate::assignment::{Assignment, LogEnds};
use crate::truncation::{EpochEnd, Truncation};

/// The state of a follower.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follower {
    leader: Option<BrokerId>,
    leader_epoch: LeaderEpoch,
    partition_epoch: i32,
    high_watermark: Offset,
}

/// What a follower asks its leader for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchPosition {
    /// The leader.
    pub leader: BrokerId,
    /// The epoch of its leadership.
    pub leader_epoch: LeaderEpoch,
    /// The first offset wanted: the follower's log end.
    pub fetch_offset: Offset,
    /// The epoch of the follower's last record, if it has one.
    pub last_fetched_epoch: Option<LeaderEpoch>,
    /// Where the follower's log is on disk; the leader's high watermark waits for it.
    pub durable_end: Offset,
}

/// What the leader answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchResult {
    /// Records (perhaps none) from the fetch offset on.
    Records {
        /// The leader's high watermark.
        high_watermark: Offset,
        /// The leader's log start.
        log_start: Offset,
    },
    /// The logs have parted.
    Diverging(EpochEnd),
    /// The fetch offset is outside of the leader's log, which is this.
    OutOfRange {
        /// The leader's log start.
        log_start: Offset,
        /// The leader's log end.
        log_end: Offset,
    },
    /// The follower's epoch is older than the leader's.
    Fenced,
    /// The leader does not know this epoch, or this partition, yet.
    NotYet,
}

/// What a follower does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FollowerAction {
    /// Append the records, take over the leader's log start, then call [`Follower::appended`].
    Append {
        /// The leader's high watermark.
        high_watermark: Offset,
        /// The leader's log start.
        log_start: Offset,
    },
    /// Ask the own log for its largest epoch up to that one, then call [`Follower::diverged`].
    CompareEpochs(EpochEnd),
    /// Cut the log, then call [`Follower::truncated`].
    Truncate(Truncation),
    /// Throw the whole log away and begin at this offset, then call [`Follower::restarted`].
    RestartAt(Offset),
    /// Wait a moment and fetch again.
    BackOff,
    /// Wait for newer metadata.
    AwaitMetadata,
    /// Nothing: the answer was to an earlier state.
    Ignore,
}

impl Follower {
    /// A follower with a log that ends at `ends`, of which `high_watermark` was known.
    pub fn new(assignment: &Assignment<'_>, ends: LogEnds, high_watermark: Offset) -> Self {
        Self {
            leader: assignment.leader,
            leader_epoch: assignment.leader_epoch,
            partition_epoch: assignment.partition_epoch,
            high_watermark: high_watermark.min(ends.log_end),
        }
    }

    /// The metadata changed; answers to earlier fetches are ignored when the leader did.
    pub fn metadata_changed(&mut self, assignment: &Assignment<'_>) {
        if assignment.partition_epoch > self.partition_epoch {
            self.leader = assignment.leader;
            self.leader_epoch = assignment.leader_epoch;
            self.partition_epoch = assignment.partition_epoch;
        }
    }

    /// Whom the follower fetches from, if anybody leads.
    pub fn leader(&self) -> Option<BrokerId> {
        self.leader
    }

    /// The epoch of the leadership that it follows.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// The epoch of the partition's newest change that it knows.
    pub fn partition_epoch(&self) -> i32 {
        self.partition_epoch
    }

    /// What is committed, as far as the follower knows.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// The next fetch; `None` while nobody leads.
    pub fn fetch_position(&self, ends: LogEnds, last_epoch: Option<LeaderEpoch>) -> Option<FetchPosition> {
        Some(FetchPosition {
            leader: self.leader?,
            leader_epoch: self.leader_epoch,
            fetch_offset: ends.log_end,
            last_fetched_epoch: last_epoch,
            durable_end: ends.durable_end,
        })
    }

    /// What to do with the answer to `asked`, the log being at `ends` now.
    pub fn fetched(&self, asked: FetchPosition, ends: LogEnds, result: FetchResult) -> FollowerAction {
        let current = Some(asked.leader) == self.leader && asked.leader_epoch == self.leader_epoch;
        if !current || asked.fetch_offset != ends.log_end {
            return FollowerAction::Ignore;
        }
        match result {
            FetchResult::Records {
                high_watermark,
                log_start,
            } => FollowerAction::Append {
                high_watermark,
                log_start,
            },
            FetchResult::Diverging(end) => FollowerAction::CompareEpochs(end),
            FetchResult::OutOfRange { log_start, log_end } if log_end < ends.log_end => {
                // A leader of before KIP-595, or one elected uncleanly: what it does not have cannot stay.
                let to = log_end.max(log_start);
                FollowerAction::Truncate(Truncation { to, settled: true })
            }
            FetchResult::OutOfRange { log_start, .. } if log_start > ends.log_end => {
                FollowerAction::RestartAt(log_start)
            }
            FetchResult::OutOfRange { .. } | FetchResult::NotYet => FollowerAction::BackOff,
            FetchResult::Fenced => FollowerAction::AwaitMetadata,
        }
    }

    /// The records are in the log; the new high watermark, if it moved.
    pub fn appended(&mut self, log_end: Offset, leader_high_watermark: Offset) -> Option<Offset> {
        let reached = leader_high_watermark.min(log_end);
        let moved = reached > self.high_watermark;
        self.high_watermark = self.high_watermark.max(reached);
        moved.then_some(reached)
    }

    /// The log was cut. `true` when records that counted as committed went with it, which only an unclean election can cause.
    pub fn truncated(&mut self, log_end: Offset) -> bool {
        let lost = log_end < self.high_watermark;
        self.high_watermark = self.high_watermark.min(log_end);
        lost
    }

    /// The log begins anew at `log_start`, because the leader has nothing older.
    pub fn restarted(&mut self, log_start: Offset) {
        self.high_watermark = log_start;
    }

    /// Where to cut, the logs having parted. The arguments are those of [`crate::truncation::truncate`].
    pub fn diverged(
        leader: EpochEnd,
        own: Option<EpochEnd>,
        log_start: Offset,
        log_end: Offset,
    ) -> FollowerAction {
        FollowerAction::Truncate(crate::truncation::truncate(leader, own, log_start, log_end))
    }
}

#[cfg(test)]
mod tests;
