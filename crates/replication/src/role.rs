//! What this broker is to a partition.
//!
//! Always holds: the role follows the metadata; a leader epoch is led, or followed, once begun, until a higher one comes.
//! What is older than what is known already changes nothing.

use std::time::Duration;

use klamm_model::{BrokerId, LeaderEpoch, Offset};

use crate::assignment::{Assignment, LogEnds};
use crate::follower::Follower;
use crate::leader::{Leader, Proposal, Settings};

/// What this broker is to a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// It leads.
    Leader(Leader),
    /// It follows, perhaps nobody as yet.
    Follower(Follower),
}

/// What changed with the metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transition {
    /// The metadata was older, or the same.
    Nothing,
    /// It leads in a new epoch: note the epoch's start at the log end, before the first append.
    Lead {
        /// The new epoch.
        epoch: LeaderEpoch,
        /// A change of the in-sync set to ask the controller for at once.
        propose: Option<Proposal>,
    },
    /// It goes on leading, with what the metadata says now.
    KeepLeading {
        /// Whether the high watermark moved.
        high_watermark_moved: bool,
    },
    /// It follows in a new epoch: stop what waits for a leader, and fetch.
    Follow {
        /// The new epoch.
        epoch: LeaderEpoch,
        /// Whom it follows, if anybody leads.
        leader: Option<BrokerId>,
    },
    /// It goes on following.
    KeepFollowing,
}

impl Role {
    /// The role that a partition begins with. `high_watermark` is the checkpointed one.
    pub fn begin(
        me: BrokerId,
        assignment: &Assignment<'_>,
        ends: LogEnds,
        high_watermark: Offset,
        settings: Settings,
        now: Duration,
    ) -> (Self, Transition) {
        if assignment.leader == Some(me) {
            let (leader, propose) = Leader::new(me, assignment, ends, high_watermark, settings, now);
            return (
                Self::Leader(leader),
                Transition::Lead {
                    epoch: assignment.leader_epoch,
                    propose,
                },
            );
        }
        let follower = Follower::new(assignment, ends, high_watermark);
        let transition = Transition::Follow {
            epoch: assignment.leader_epoch,
            leader: assignment.leader,
        };
        (Self::Follower(follower), transition)
    }

    /// The metadata changed.
    pub fn metadata_changed(
        &mut self,
        me: BrokerId,
        assignment: &Assignment<'_>,
        ends: LogEnds,
        settings: Settings,
        now: Duration,
    ) -> Transition {
        if assignment.partition_epoch <= self.partition_epoch() {
            return Transition::Nothing;
        }
        if assignment.leader_epoch > self.leader_epoch() {
            let (role, transition) = Self::begin(me, assignment, ends, self.high_watermark(), settings, now);
            *self = role;
            return transition;
        }
        match self {
            Self::Leader(leader) => {
                let high_watermark_moved = leader.metadata_changed(assignment, now);
                Transition::KeepLeading { high_watermark_moved }
            }
            Self::Follower(follower) => {
                follower.metadata_changed(assignment);
                Transition::KeepFollowing
            }
        }
    }

    /// What is committed, as far as is known.
    pub fn high_watermark(&self) -> Offset {
        match self {
            Self::Leader(leader) => leader.high_watermark(),
            Self::Follower(follower) => follower.high_watermark(),
        }
    }

    /// The epoch that is led or followed.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        match self {
            Self::Leader(leader) => leader.leader_epoch(),
            Self::Follower(follower) => follower.leader_epoch(),
        }
    }

    fn partition_epoch(&self) -> i32 {
        match self {
            Self::Leader(leader) => leader.partition_epoch(),
            Self::Follower(follower) => follower.partition_epoch(),
        }
    }
}

#[cfg(test)]
mod tests;
