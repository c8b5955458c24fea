//! How a member is brought from what it has to what it is to have.
//!
//! ```text
//!                 nothing to let go, all is free
//!          ┌────────────────────────────────────────────► Stable
//! new ─────┤      nothing to let go, others have some
//! target   ├────────────────────────────────────────────► UnreleasedPartitions ── looked at again at each heartbeat
//! epoch    │      partitions to let go
//!          └────────────────────────────────────────────► UnrevokedPartitions ─── until the member says it owns none of them
//! ```
//!
//! Always holds: a member comes to the target's epoch only once it has let go of all that is not in the target, and is given only
//! what no other member has. What it is to let go stays its own until it says that it is not. The previous epoch
//! changes with the epoch only, so that a member which comes again because answers are late is known however often it does: it is not
//! moved on again before it has heard of its epoch (`turn.rs`).

use std::collections::BTreeSet;

use klamm_model::TopicId;
use klamm_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;

use super::holders::Holders;
use super::member::{Current, MemberState};
use super::partitions::{Held, Holdings, Partitions};

/// What a member's next state depends on.
pub(super) struct Reconciliation<'a> {
    pub(super) target_epoch: i32,
    pub(super) target: &'a Partitions,
    /// Whether a topic exists and it subscribes to it.
    pub(super) subscribes: &'a dyn Fn(&TopicId) -> bool,
    /// Whether it has changed its subscription with this request.
    pub(super) subscription_changed: bool,
    /// The partitions that it says it owns, if it says so.
    pub(super) owned: Option<&'a [TopicPartitions]>,
    /// What all members have, this one as it was before.
    pub(super) holders: &'a Holders,
}

/// The member's state cannot be understood: it is to come again without partitions.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnknownState;

impl Reconciliation<'_> {
    /// The next state of a member; `None` when it stays as it is.
    pub(super) fn next(&self, current: &Current) -> Result<Option<Current>, UnknownState> {
        match current.state {
            MemberState::Stable if current.epoch != self.target_epoch => {}
            MemberState::Stable => return Ok(self.without_other_topics(current)),
            MemberState::UnrevokedPartitions if current.revoking.still_owned(self.owned) => {
                return Ok(self.without_other_topics(current));
            }
            MemberState::Unknown if !self.owned.is_some_and(<[_]>::is_empty) => return Err(UnknownState),
            MemberState::UnrevokedPartitions | MemberState::UnreleasedPartitions | MemberState::Unknown => {}
        }
        let next = self.towards_target(current);
        Ok((next != *current).then_some(next))
    }

    /// A member that has changed its subscription lets go of other topics at once, whatever the target still says.
    fn without_other_topics(&self, current: &Current) -> Option<Current> {
        let other = |topic: &&TopicId| !(self.subscribes)(topic);
        if !self.subscription_changed || !current.assigned.topics().any(|topic| other(&topic)) {
            return None;
        }
        let mut next = current.clone();
        for topic in current.assigned.topics().filter(other) {
            let held = next.assigned.remove(topic);
            next.revoking.extend(*topic, &held);
        }
        if next.revoking.still_owned(self.owned) {
            next.state = MemberState::UnrevokedPartitions;
        } else {
            next.revoking = current.revoking.clone();
        }
        Some(next)
    }

    fn towards_target(&self, current: &Current) -> Current {
        let mut kept = Holdings::default();
        let mut revoked = Holdings::default();
        let mut with_new = Holdings::default();
        let mut unreleased = false;
        let target_topics = self.target.iter().map(|(topic, _)| topic);
        let topics: BTreeSet<&TopicId> = target_topics.chain(current.assigned.topics()).collect();
        for topic in topics {
            let wanted = if (self.subscribes)(topic) {
                self.target.of(topic)
            } else {
                &[]
            };
            let split = Split::of(current.assigned.of(topic), wanted);
            let is_free = |partition: &i32| !self.holders.others_hold(current, topic, *partition);
            let free: Vec<i32> = split.missing.iter().copied().filter(is_free).collect();
            unreleased |= free.len() < split.missing.len();
            let mut all = split.kept.clone();
            all.extend(free.into_iter().map(|partition| Held {
                partition,
                since: self.target_epoch,
            }));
            kept.insert(*topic, split.kept);
            revoked.insert(*topic, split.revoked);
            with_new.insert(*topic, all);
        }
        if !revoked.is_empty() && revoked.still_owned(self.owned) {
            return Current {
                epoch: current.epoch,
                previous_epoch: current.previous_epoch,
                state: MemberState::UnrevokedPartitions,
                assigned: kept,
                revoking: revoked,
            };
        }
        Current {
            epoch: self.target_epoch,
            previous_epoch: if current.epoch == self.target_epoch {
                current.previous_epoch
            } else {
                current.epoch
            },
            state: if unreleased {
                MemberState::UnreleasedPartitions
            } else {
                MemberState::Stable
            },
            assigned: with_new,
            revoking: Holdings::default(),
        }
    }
}

/// What a member has of a topic, and what it is to have, side by side.
#[derive(Default)]
struct Split {
    kept: Vec<Held>,
    revoked: Vec<Held>,
    missing: Vec<i32>,
}

impl Split {
    /// Both come in order.
    fn of(held: &[Held], wanted: &[i32]) -> Self {
        let mut split = Self::default();
        let mut wanted = wanted.iter().copied().peekable();
        for held in held {
            while let Some(partition) = wanted.next_if(|partition| *partition < held.partition) {
                split.missing.push(partition);
            }
            if wanted.next_if_eq(&held.partition).is_some() {
                split.kept.push(*held);
            } else {
                split.revoked.push(*held);
            }
        }
        split.missing.extend(wanted);
        split
    }
}
