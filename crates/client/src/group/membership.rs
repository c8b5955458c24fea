//! A member of a group, in the protocol that the coordinator serves.
//!
//! Always holds: whoever drives a member calls [`Membership::step`] when it is due, and [`Membership::did`] when what the step
//! said is done; steps in between are no more than signs of life. A step that is dropped in between is taken again.
//!
//! Next: `keeper.rs` for who drives it, `classic.rs` for JoinGroup, `heartbeat.rs` for ConsumerGroupHeartbeat.

use std::collections::BTreeSet;
use std::time::Duration;

use bytestring::ByteString;
use klamm_model::TopicPartition;
use klamm_protocol::ApiKey;

use super::GroupConfig;
use super::classic::Classic;
use super::heartbeat::Heartbeat;
use crate::connection::Connection;
use crate::coordinator::Coordinator;
use crate::error::ClientError;
use crate::offsets::Committer;

/// The feature whose first level brings the protocol of KIP-848.
const GROUP_VERSION: &str = "group.version";

/// What is to be done after a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Nothing,
    /// These are the member's partitions from now on. Those that it loses it may still commit for.
    Assigned(BTreeSet<TopicPartition>),
    /// The group divides its partitions anew: what was read is to be committed, and all given up.
    GiveUp,
    /// The group has let go of the member: its partitions may be another's already.
    Lost,
}

/// A member.
#[derive(Debug)]
pub(super) enum Membership {
    Classic(Classic),
    Heartbeat(Heartbeat),
}

/// What both protocols need to know.
#[derive(Clone, Debug)]
pub(super) struct Subscription {
    pub(super) topics: Vec<ByteString>,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
}

impl Membership {
    /// A member that has not joined, in the newest protocol that the coordinator serves.
    pub(super) fn new(connection: &Connection, config: &GroupConfig) -> Self {
        let subscription = Subscription {
            topics: config.topics.iter().map(|topic| topic.as_str().into()).collect(),
            session_timeout: config.session_timeout,
            rebalance_timeout: config.rebalance_timeout,
        };
        let versions = connection.versions();
        let level = versions.features().get(GROUP_VERSION).copied().unwrap_or(0);
        let is_served = versions.served(ApiKey::ConsumerGroupHeartbeat).is_some();
        if is_served && level >= 1 {
            Self::Heartbeat(Heartbeat::new(subscription))
        } else {
            Self::Classic(Classic::new(subscription))
        }
    }

    /// The protocol's name, as in `group.protocol`.
    pub(super) fn protocol(&self) -> &'static str {
        match self {
            Self::Classic(_) => "classic",
            Self::Heartbeat(_) => "consumer",
        }
    }

    /// When the next step is to be taken.
    pub(super) fn due(&self) -> Duration {
        match self {
            Self::Classic(member) => member.due(),
            Self::Heartbeat(member) => member.due(),
        }
    }

    /// Takes the next step now, whatever was planned.
    pub(super) fn hurry(&mut self) {
        match self {
            Self::Classic(member) => member.hurry(),
            Self::Heartbeat(member) => member.hurry(),
        }
    }

    /// Takes the next step. While what an earlier one said `is_busy` being done, nothing but [`Step::Lost`] comes of it.
    pub(super) async fn step(
        &mut self,
        coordinator: &Coordinator,
        is_busy: bool,
    ) -> Result<Step, ClientError> {
        match self {
            Self::Classic(member) => member.step(coordinator, is_busy).await,
            Self::Heartbeat(member) => member.step(coordinator, is_busy).await,
        }
    }

    /// What `step` said is done.
    pub(super) fn did(&mut self, step: &Step) {
        match (self, step) {
            (Self::Classic(member), Step::GiveUp) => member.gave_up(),
            (Self::Heartbeat(member), Step::Assigned(_)) => member.reconciled(),
            _ => {}
        }
    }

    /// As whom the member commits; `None` when it is none at the moment.
    pub(super) fn committer(&self) -> Option<Committer> {
        match self {
            Self::Classic(member) => member.committer(),
            Self::Heartbeat(member) => member.committer(),
        }
    }

    /// A commit was refused because the group does not know the member in this way any more: it has to join again.
    pub(super) fn was_fenced(&mut self) {
        match self {
            Self::Classic(member) => member.was_fenced(),
            Self::Heartbeat(member) => member.was_fenced(),
        }
    }

    /// Leaves the group, so that others get the partitions at once. One attempt: the group lets go by itself later.
    pub(super) async fn leave(&mut self, coordinator: &Coordinator) -> Result<(), ClientError> {
        match self {
            Self::Classic(member) => member.leave(coordinator).await,
            Self::Heartbeat(member) => member.leave(coordinator).await,
        }
    }
}
