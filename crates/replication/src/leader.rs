//! A leader: keeps the in-sync set and the high watermark.
//!
//! A follower counts by its *durable* end, which it reports when it fetches. It is out of sync when it has not had all
//! of the leader's log for `replica.lag.time.max.ms`, and comes back when its durable end has reached the high watermark and its
//! log the start of this leader's epoch. The leader asks the controller for the change, one at a time; meanwhile a
//! replica that may be in the set counts as if it were (KIP-497): the high watermark waits for it, while it does not help
//! `min.insync.replicas` yet.
//!
//! Always holds: the leader is in the in-sync set; the high watermark never goes back, never passes the durable end of a
//! replica that is or may be in sync, and stays while the set is smaller than `min.insync.replicas` (KIP-966).
//!
//! Next: `leader/isr.rs` for the changes of the set, `leader/progress.rs` for what is known of one follower.

mod isr;
mod progress;

use std::time::Duration;

use klamm_model::{BrokerId, LeaderEpoch, Offset};

use crate::assignment::{Assignment, LeaderRecovery, LogEnds};
use isr::InSync;
use progress::Progress;

pub use isr::{Proposal, ProposalFailure};

/// What an operator set for the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `min.insync.replicas`.
    pub min_isr: usize,
    /// `replica.lag.time.max.ms`.
    pub max_lag: Duration,
}

/// The in-sync set is smaller than `min.insync.replicas`: NOT_ENOUGH_REPLICAS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{in_sync} replicas are in sync, {needed} are needed")]
pub struct NotEnoughReplicas {
    /// Replicas in sync.
    pub in_sync: usize,
    /// Replicas needed.
    pub needed: usize,
}

/// Whether records up to an offset are committed, for `acks=all`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// Not yet.
    Waiting,
    /// They are.
    Yes,
    /// They are, but the in-sync set has become too small meanwhile: NOT_ENOUGH_REPLICAS_AFTER_APPEND.
    WithTooFew,
}

/// A follower's fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerFetch {
    /// Who fetches.
    pub follower: BrokerId,
    /// The epoch of its incarnation, as it says; -1 when it does not.
    pub broker_epoch: i64,
    /// Where its log ends, and how much of it is on disk.
    pub ends: LogEnds,
    /// Where its log starts.
    pub log_start: Offset,
    /// Whether the metadata allow it in the in-sync set: unfenced, not shutting down, and of this incarnation.
    pub eligible: bool,
}

/// What a follower's fetch brought about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Whether the high watermark moved.
    pub high_watermark_moved: bool,
    /// A change of the in-sync set to ask the controller for.
    pub propose: Option<Proposal>,
}

/// The state of a leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    me: BrokerId,
    leader_epoch: LeaderEpoch,
    /// Where the log ended when this epoch began.
    epoch_start: Offset,
    ends: LogEnds,
    high_watermark: Offset,
    in_sync: InSync,
    /// The other replicas.
    followers: Vec<Progress>,
    settings: Settings,
}

impl Leader {
    /// A leader that begins its epoch, and what it asks the controller for at once.
    pub fn new(
        me: BrokerId,
        assignment: &Assignment<'_>,
        ends: LogEnds,
        high_watermark: Offset,
        settings: Settings,
        now: Duration,
    ) -> (Self, Option<Proposal>) {
        let others = assignment.replicas.iter().filter(|id| **id != me);
        let mut leader = Self {
            me,
            leader_epoch: assignment.leader_epoch,
            epoch_start: ends.log_end,
            ends,
            high_watermark: high_watermark.min(ends.log_end),
            in_sync: InSync::new(assignment),
            // Everybody in the set is given the time of a lag to show up.
            followers: others.map(|id| Progress::new(*id, now)).collect(),
            settings,
        };
        leader.advance(now);
        let propose = (assignment.recovery == LeaderRecovery::Recovering).then(|| {
            leader
                .in_sync
                .propose_same(assignment.leader_epoch, me, &leader.followers)
        });
        (leader, propose.flatten())
    }

    /// The epoch of its leadership.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// Where the log ended when its epoch began.
    pub fn epoch_start(&self) -> Offset {
        self.epoch_start
    }

    /// The epoch of the partition's newest change that it knows.
    pub fn partition_epoch(&self) -> i32 {
        self.in_sync.partition_epoch
    }

    /// The in-sync set that the controller knows.
    pub fn isr(&self) -> &[BrokerId] {
        &self.in_sync.isr
    }

    /// The offset up to which records are committed.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// The lowest log start of all replicas that have fetched: what DeleteRecords waits for.
    pub fn low_watermark(&self, own_log_start: Offset) -> Offset {
        let others = self.followers.iter().filter_map(|follower| follower.log_start);
        others.fold(own_log_start, Offset::min)
    }

    /// Takes over new settings; whether the high watermark moved.
    pub fn set_settings(&mut self, settings: Settings, now: Duration) -> bool {
        self.settings = settings;
        self.advance(now)
    }

    /// Replicas needed in sync: as configured, as far as there are as many.
    fn min_isr(&self) -> usize {
        self.settings.min_isr.min(self.followers.len() + 1)
    }

    /// Whether an append with `acks=all` may begin.
    pub fn check_append(&self) -> Result<(), NotEnoughReplicas> {
        let (in_sync, needed) = (self.in_sync.isr.len(), self.min_isr());
        if in_sync < needed {
            Err(NotEnoughReplicas { in_sync, needed })
        } else {
            Ok(())
        }
    }

    /// Whether records up to `offset` are committed.
    pub fn committed(&self, offset: Offset) -> Committed {
        match (self.high_watermark >= offset, self.check_append()) {
            (false, _) => Committed::Waiting,
            (true, Ok(())) => Committed::Yes,
            (true, Err(_)) => Committed::WithTooFew,
        }
    }

    /// The own log has grown, in memory or on disk; whether the high watermark moved.
    pub fn progressed(&mut self, ends: LogEnds, now: Duration) -> bool {
        self.ends = ends;
        self.advance(now)
    }

    /// A follower has fetched.
    pub fn fetched(&mut self, fetch: FollowerFetch, now: Duration) -> Fetched {
        let leader_end = self.ends.log_end;
        let Some(follower) = self
            .followers
            .iter_mut()
            .find(|follower| follower.id == fetch.follower)
        else {
            return Fetched::default();
        };
        follower.fetched(&fetch, leader_end, now);
        let high_watermark_moved = self.advance(now);
        let joins = fetch.eligible
            && !self.in_sync.may_contain(fetch.follower)
            && fetch.ends.durable_end >= self.high_watermark
            && fetch.ends.log_end >= self.epoch_start;
        let propose = joins
            .then(|| {
                self.in_sync
                    .propose_with(self.leader_epoch, self.me, fetch.follower, &self.followers)
            })
            .flatten();
        Fetched {
            high_watermark_moved,
            propose,
        }
    }

    /// Time has passed: followers may have fallen behind.
    pub fn check_lag(&mut self, now: Duration) -> Option<Proposal> {
        let (leader_end, max_lag) = (self.ends.log_end, self.settings.max_lag);
        let behind = |follower: &&Progress| !follower.is_caught_up(leader_end, now, max_lag);
        let behind = self.followers.iter().filter(behind).map(|follower| follower.id);
        let gone: Vec<BrokerId> = behind.filter(|id| self.in_sync.isr.contains(id)).collect();
        if gone.is_empty() {
            return None;
        }
        self.in_sync
            .propose_without(self.leader_epoch, self.me, &gone, &self.followers)
    }

    /// The controller has accepted a proposal: the set is `isr` as of `partition_epoch`. Whether the high watermark moved.
    pub fn accepted(&mut self, isr: &[BrokerId], partition_epoch: i32, now: Duration) -> bool {
        self.in_sync.accepted(isr, partition_epoch);
        self.advance(now)
    }

    /// The controller has not accepted a proposal; a proposal to send again, if any.
    pub fn refused(&mut self, failure: ProposalFailure, now: Duration) -> (bool, Option<Proposal>) {
        let again = self.in_sync.refused(failure, self.leader_epoch);
        (self.advance(now), again)
    }

    /// The metadata changed, and this broker leads on. Whether the high watermark moved.
    pub fn metadata_changed(&mut self, assignment: &Assignment<'_>, now: Duration) -> bool {
        if assignment.partition_epoch <= self.in_sync.partition_epoch {
            return false;
        }
        self.in_sync = InSync::new(assignment);
        let me = self.me;
        self.followers
            .retain(|follower| assignment.replicas.contains(&follower.id));
        for id in assignment.replicas.iter().filter(|id| **id != me) {
            if !self.followers.iter().any(|follower| follower.id == *id) {
                self.followers.push(Progress::new(*id, now));
            }
        }
        self.advance(now)
    }

    /// Moves the high watermark as far as it may go; whether it moved.
    fn advance(&mut self, now: Duration) -> bool {
        if self.in_sync.isr.len() < self.min_isr() {
            return false;
        }
        let (leader_end, max_lag) = (self.ends.log_end, self.settings.max_lag);
        // A follower that is about to come back is waited for: it could not join if the high watermark ran away from it.
        let awaited = |follower: &&Progress| {
            self.in_sync.may_contain(follower.id)
                || (follower.eligible && follower.is_caught_up(leader_end, now, max_lag))
        };
        let ends = self
            .followers
            .iter()
            .filter(awaited)
            .map(|follower| follower.ends.durable_end);
        let reached = ends.fold(self.ends.durable_end, Offset::min);
        let moved = reached > self.high_watermark;
        self.high_watermark = self.high_watermark.max(reached);
        moved
    }
}

#[cfg(test)]
mod tests;
