//! What this broker is to a partition: the rules are `klamm-replication`'s, here they meet the metadata.

use std::time::Duration;

use klamm_metadata::PartitionImage;
use klamm_metadata::image::LeaderRecovery as Recovery;
use klamm_model::{BrokerId, ErrorCode, LeaderEpoch, Offset};
use klamm_replication::{
    Assignment, EpochMismatch, Leader, LeaderRecovery, LogEnds, Role, Settings, Transition, epoch,
};

/// The leader epoch that a client believes in, as ListOffsets and OffsetForLeaderEpoch read it: -1 is none, and any other
/// number is one, though no leader ever had a negative one. Fetch takes all of these for none.
pub(crate) fn believed_epoch(raw: i32) -> Option<LeaderEpoch> {
    (raw != -1).then_some(LeaderEpoch(raw))
}

/// What this broker is to a partition.
pub(super) enum Standing {
    /// The log is open, and the metadata has not spoken yet.
    Waiting,
    /// It leads or follows.
    Held {
        role: Role,
        /// Who leads, as far as the metadata says.
        leader: Option<BrokerId>,
    },
    /// The partition was deleted or taken away.
    Gone,
}

/// What a change of the metadata has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// The leader and its epoch are as before.
    Nothing,
    /// Another epoch has begun.
    NewEpoch {
        /// This broker leads in it.
        leads: bool,
    },
}

impl Standing {
    /// Takes over what the metadata says now.
    pub(super) fn follow(
        &mut self,
        me: BrokerId,
        image: &PartitionImage,
        ends: LogEnds,
        high_watermark: Offset,
        settings: Settings,
        now: Duration,
    ) -> Moved {
        let assignment = Assignment {
            replicas: &image.replicas,
            isr: &image.isr,
            leader: image.leader,
            leader_epoch: image.leader_epoch,
            partition_epoch: image.partition_epoch,
            recovery: match image.recovery {
                Recovery::Recovered => LeaderRecovery::Recovered,
                Recovery::Recovering => LeaderRecovery::Recovering,
            },
        };
        let transition = match self {
            Standing::Held { role, leader } => {
                *leader = image.leader;
                role.metadata_changed(me, &assignment, ends, settings, now)
            }
            Standing::Waiting | Standing::Gone => {
                let (role, transition) = Role::begin(me, &assignment, ends, high_watermark, settings, now);
                *self = Standing::Held {
                    role,
                    leader: image.leader,
                };
                transition
            }
        };
        match transition {
            Transition::Nothing | Transition::KeepLeading { .. } | Transition::KeepFollowing => {
                Moved::Nothing
            }
            Transition::Lead { .. } => Moved::NewEpoch { leads: true },
            Transition::Follow { .. } => Moved::NewEpoch { leads: false },
        }
    }

    /// The leader's state, if this broker leads.
    pub(super) fn leader(&self) -> Option<&Leader> {
        match self {
            Standing::Held {
                role: Role::Leader(leader),
                ..
            } => Some(leader),
            _ => None,
        }
    }

    /// The leader's state, to be changed.
    pub(super) fn leader_mut(&mut self) -> Option<&mut Leader> {
        match self {
            Standing::Held {
                role: Role::Leader(leader),
                ..
            } => Some(leader),
            _ => None,
        }
    }

    /// What is committed, as far as is known.
    pub(super) fn high_watermark(&self) -> Option<Offset> {
        match self {
            Standing::Held { role, .. } => Some(role.high_watermark()),
            Standing::Waiting | Standing::Gone => None,
        }
    }

    /// The leader and its epoch as far as known.
    pub(super) fn known_leader(&self) -> Option<(i32, i32)> {
        match self {
            Standing::Held {
                role,
                leader: Some(leader),
            } => Some((leader.0, role.leader_epoch().0)),
            _ => None,
        }
    }

    /// Whether this broker leads, in the epoch that the client believes in (KIP-320).
    pub(super) fn check_leads(&self, believed: Option<LeaderEpoch>) -> Result<(), ErrorCode> {
        let leader = self.leader().ok_or(ErrorCode::NotLeaderOrFollower)?;
        epoch::check(leader.leader_epoch(), believed).map_err(|mismatch| match mismatch {
            EpochMismatch::Fenced { .. } => ErrorCode::FencedLeaderEpoch,
            EpochMismatch::Unknown { .. } => ErrorCode::UnknownLeaderEpoch,
        })
    }
}
