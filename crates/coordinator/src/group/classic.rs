//! A group of the classic protocol: its members agree on a generation, and one of them, the leader, shares the work out.
//!
//! ```text
//!            join                     all joined, or the time is up
//!  Empty ───────────► Preparing ─────────────────────────────► Completing
//!    ▲                 │  ▲  ▲                                  │    │
//!    └─────────────────┘  │  └──────────────────────────────────┘    │ the leader has synced: recorded
//!      nobody is left:    │    join, leave, or somebody is silent    ▼
//!      recorded           └──────────────────────────────────────  Stable
//! ```
//!
//! Always holds: a member is added only if it speaks a protocol that all others speak, so there is always one to choose. Every
//! group here has been recorded. What is recorded is how the group was when it was last Stable or Empty, or when it became a classic one; a
//! rebalance under way is known to this shard only, and after a load its members are told to join again.
//!
//! Next: `classic/turn.rs` for how a decision changes a group, `classic/join.rs`, `sync.rs`, `leave.rs` and `heartbeat.rs` for the
//! requests.

pub(crate) mod heartbeat;
pub(crate) mod join;
pub(crate) mod leave;
pub(crate) mod member;
pub(crate) mod record;
pub(crate) mod subscription;
pub(crate) mod sync;
#[cfg(test)]
mod tests;
pub(crate) mod turn;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::OrdSet;
use klamm_model::{ErrorCode, TimestampMs};

use member::{Member, Members, Protocol};

/// The type of the protocol that consumers speak.
pub(crate) const CONSUMER: &str = "consumer";

/// A rebalance of a group that was empty: more members are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Initial {
    /// How long this wait is.
    pub(crate) delay_ms: i64,
    /// How long may be waited after it.
    pub(crate) remaining_ms: i64,
    /// Somebody came during this wait, so that there is another one.
    pub(crate) joined: bool,
}

/// Where a group is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    /// Nobody is in it.
    #[default]
    Empty,
    /// Members are to join the next generation.
    Preparing(Option<Initial>),
    /// The generation has begun; the leader has not shared out yet.
    Completing,
    /// Everybody has, or can have, what it was given.
    Stable,
}

impl State {
    /// As Kafka calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Preparing(_) => "PreparingRebalance",
            Self::Completing => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// See the head of the file.
#[derive(Clone, Debug, Default)]
pub struct ClassicGroup {
    pub(crate) state: State,
    /// Since when it is in this state, if that was recorded.
    pub(crate) since: Option<TimestampMs>,
    pub(crate) generation: i32,
    /// What the protocols are for: [`CONSUMER`], `connect`; none as long as nobody has joined.
    pub(crate) protocol_type: Option<Arc<str>>,
    /// The protocol of this generation.
    pub(crate) protocol: Option<Arc<str>>,
    pub(crate) leader: Option<Arc<str>>,
    pub(crate) members: Members,
    /// What the members of this generation want, if they say it.
    pub(crate) topics: Option<Arc<BTreeSet<Box<str>>>>,
    /// Ids that were given to members who have not joined with them yet (KIP-394).
    pub(crate) pending: OrdSet<Arc<str>>,
}

impl ClassicGroup {
    /// A group without members.
    pub(crate) fn new(now: TimestampMs) -> Self {
        Self {
            since: Some(now),
            ..Self::default()
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.state == State::Empty
    }

    pub(crate) fn is_preparing(&self) -> bool {
        matches!(self.state, State::Preparing(_))
    }

    pub(crate) fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    /// Whether it has members, none of whom leads: they were to join when the group was recorded.
    pub(crate) fn lacks_leader(&self) -> bool {
        self.leader.is_none() && !self.members.is_empty()
    }

    /// Whether its members are consumers.
    pub(crate) fn is_of_consumers(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// Whether a member who speaks these protocols fits in.
    pub(crate) fn accepts(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.is_empty() {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|own| self.members.all_speak(&own.name))
    }

    /// Whether this is a member, and the one that has the instance id.
    pub(crate) fn check_member(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            match self.members.by_instance(instance_id) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(owner) if **owner != *member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains(member_id) {
            Ok(())
        } else {
            Err(ErrorCode::UnknownMemberId)
        }
    }

    /// Whether a member that says this generation may be one of this group. While the members of what was a consumer group are to join
    /// for the first time, they may have come to any epoch of that, and hold what they were given in it.
    pub(crate) fn is_of_generation(&self, generation: i32) -> bool {
        let came_over = self.state == State::Preparing(None) && self.protocol.is_none();
        generation == self.generation || came_over && (0..self.generation).contains(&generation)
    }

    /// Adds a member; the first one leads.
    pub(crate) fn add(&mut self, protocol_type: &str, member: Member) {
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.into());
        }
        self.pending.remove(&member.id);
        self.leader.get_or_insert_with(|| member.id.clone());
        self.members.insert(member);
    }

    /// Takes a member out, or an id that was given and never used; another one leads.
    pub(crate) fn remove(&mut self, member_id: &str) -> Option<Arc<Member>> {
        self.pending.remove(member_id);
        let removed = self.members.remove(member_id);
        if self.is_leader(member_id) {
            self.leader = self.members.iter().next().map(|member| member.id.clone());
        }
        removed
    }

    /// Makes sure that a member leads who has joined; false if nobody has.
    pub(crate) fn elect_leader(&mut self) -> bool {
        let joined = |id: &str| self.members.get(id).is_some_and(|member| member.join.is_some());
        if self.leader.as_deref().is_some_and(joined) {
            return true;
        }
        let Some(first) = self.members.iter().find(|member| member.join.is_some()) else {
            return false;
        };
        self.leader = Some(first.id.clone());
        true
    }

    /// Everybody is here who is to be in the next generation.
    pub(crate) fn all_joined(&self) -> bool {
        self.members.awaiting_join() == self.members.len() && self.pending.is_empty()
    }

    /// The protocol that most members like best, of those that all can speak; of two, the first by name.
    pub(crate) fn choose_protocol(&self) -> Option<Arc<str>> {
        let mut votes = BTreeMap::<&Arc<str>, usize>::new();
        for member in self.members.iter() {
            let favourite = member
                .protocols
                .iter()
                .find(|own| self.members.all_speak(&own.name));
            *votes.entry(&favourite?.name).or_default() += 1;
        }
        let most = votes.iter().rev().max_by_key(|(_, votes)| **votes);
        most.map(|(name, _)| (*name).clone())
    }

    /// The longest that a member may take to come back.
    pub(crate) fn rebalance_timeout_ms(&self) -> i32 {
        let longest = self
            .members
            .iter()
            .map(|member| member.rebalance_timeout_ms)
            .max();
        longest.unwrap_or(0).max(0)
    }

    pub(crate) fn enter(&mut self, state: State, now: TimestampMs) {
        self.state = state;
        self.since = Some(now);
    }

    /// The next generation begins, of whoever is a member now.
    pub(crate) fn begin_generation(&mut self, now: TimestampMs) {
        self.generation = self.generation.checked_add(1).unwrap_or(0);
        if self.members.is_empty() {
            self.protocol = None;
            self.enter(State::Empty, now);
        } else {
            self.protocol = self.choose_protocol();
            self.enter(State::Completing, now);
        }
        self.note_topics();
    }
}
