//! The in-sync set, and the change of it that the controller has been asked for.
//!
//! Always holds: one change is asked for at a time; while it is, a replica that is in the set before *or* after may be in
//! it. Only what the controller has confirmed counts towards `min.insync.replicas`.

use klamm_model::{BrokerId, LeaderEpoch};

use super::progress::Progress;
use crate::assignment::Assignment;

/// A change to ask the controller for (AlterPartition). The leader recovery state is always "recovered".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The epoch of the leader that asks.
    pub leader_epoch: LeaderEpoch,
    /// The change that it goes out from.
    pub partition_epoch: i32,
    /// The wanted set, with the epoch of each incarnation; -1 where it is not known.
    pub isr: Vec<(BrokerId, i64)>,
}

/// Why a proposal was not accepted, in what follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProposalFailure {
    /// A member cannot be in the set now (INELIGIBLE_REPLICA, OPERATION_NOT_ATTEMPTED): as it was; it may be tried again.
    Ineligible,
    /// The controller knows more (FENCED_LEADER_EPOCH, INVALID_UPDATE_VERSION, NEW_LEADER_ELECTED, an unknown topic or
    /// partition, INVALID_REQUEST): newer metadata will come, and until then anything may be true.
    Outdated,
    /// The controller could not be asked, or could not say.
    Retriable,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InSync {
    pub(super) partition_epoch: i32,
    pub(super) isr: Box<[BrokerId]>,
    /// What was asked for: a word while it is nothing, as it mostly is.
    pending: Option<Box<[(BrokerId, i64)]>>,
}

impl InSync {
    pub(super) fn new(assignment: &Assignment<'_>) -> Self {
        Self {
            partition_epoch: assignment.partition_epoch,
            isr: assignment.isr.into(),
            pending: None,
        }
    }

    /// Whether the replica is in the set, or would be after the change that was asked for.
    pub(super) fn may_contain(&self, id: BrokerId) -> bool {
        let after = self.pending.as_ref();
        self.isr.contains(&id) || after.is_some_and(|after| after.iter().any(|(member, _)| *member == id))
    }

    /// The same set again, by a leader that has recovered.
    pub(super) fn propose_same(
        &mut self,
        leader_epoch: LeaderEpoch,
        me: BrokerId,
        followers: &[Progress],
    ) -> Option<Proposal> {
        let wanted = self.isr.to_vec();
        self.propose(leader_epoch, me, wanted, followers)
    }

    pub(super) fn propose_with(
        &mut self,
        leader_epoch: LeaderEpoch,
        me: BrokerId,
        joins: BrokerId,
        followers: &[Progress],
    ) -> Option<Proposal> {
        let wanted = self.isr.iter().copied().chain([joins]).collect();
        self.propose(leader_epoch, me, wanted, followers)
    }

    pub(super) fn propose_without(
        &mut self,
        leader_epoch: LeaderEpoch,
        me: BrokerId,
        gone: &[BrokerId],
        followers: &[Progress],
    ) -> Option<Proposal> {
        let wanted = self.isr.iter().copied().filter(|id| !gone.contains(id)).collect();
        self.propose(leader_epoch, me, wanted, followers)
    }

    /// `None` while another change is asked for.
    fn propose(
        &mut self,
        leader_epoch: LeaderEpoch,
        me: BrokerId,
        wanted: Vec<BrokerId>,
        followers: &[Progress],
    ) -> Option<Proposal> {
        if self.pending.is_some() {
            return None;
        }
        assert!(wanted.contains(&me), "a leader stays in its own in-sync set");
        let epoch = |id: &BrokerId| {
            followers
                .iter()
                .find(|each| each.id == *id)
                .map_or(-1, |each| each.broker_epoch)
        };
        self.pending = Some(wanted.iter().map(|id| (*id, epoch(id))).collect());
        self.again(leader_epoch)
    }

    fn again(&self, leader_epoch: LeaderEpoch) -> Option<Proposal> {
        let isr = self.pending.as_ref()?.to_vec();
        Some(Proposal {
            leader_epoch,
            partition_epoch: self.partition_epoch,
            isr,
        })
    }

    /// Answers may overtake the metadata, or be overtaken by them: the higher partition epoch is right.
    pub(super) fn accepted(&mut self, isr: &[BrokerId], partition_epoch: i32) {
        if partition_epoch < self.partition_epoch {
            return;
        }
        self.pending = None;
        if partition_epoch > self.partition_epoch {
            self.partition_epoch = partition_epoch;
            self.isr = isr.into();
        }
    }

    pub(super) fn refused(
        &mut self,
        failure: ProposalFailure,
        leader_epoch: LeaderEpoch,
    ) -> Option<Proposal> {
        match failure {
            ProposalFailure::Ineligible => {
                self.pending = None;
                None
            }
            ProposalFailure::Outdated => None,
            ProposalFailure::Retriable => self.again(leader_epoch),
        }
    }
}
