//! Groups that speak the consumer protocol (KIP-848): the coordinator assigns, and each member is brought to its assignment on
//! its own, heartbeat by heartbeat.
//!
//! ```text
//! subscriptions, topics ──► group epoch ──► target assignment (all members) ──► current assignment (each member)
//!                           heartbeat.rs    target.rs, assignor.rs             reconcile.rs
//! ```
//!
//! Always holds: a partition is given to a member only when no other member has it, to be read or to be let go; so no two members
//! read it at a time. The group's epoch is never below that of the target assignment, and this never below that of a member.
//! What is recorded changes by [`ConsumerGroup::replay`] only. A decision here is a function of the group, the request, the
//! time and the cluster, and gives an [`Outcome`] or a [`Refusal`].
//!
//! Next: `shard.rs` for where it is called, `classic.rs` and `migration.rs` for members of the classic protocol, `heartbeat.rs` for what a member asks, `fence.rs` for how it goes, `replay.rs` for what is
//! recorded.

pub mod assignor;
mod classic;
mod commit;
mod describe;
mod embedded;
pub mod expression;
mod fence;
mod heartbeat;
mod holders;
mod member;
mod metadata;
mod metadata_hash;
mod migration;
#[cfg(test)]
mod model;
mod partitions;
mod reconcile;
mod records;
mod refresh;
mod replay;
mod request;
mod shard;
mod subscribers;
mod target;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod turn;

use std::collections::{BTreeMap, BTreeSet};

use klamm_model::{ErrorCode, TimestampMs};
use klamm_protocol::ByteString;

pub use commit::CommitCheck;
pub use describe::not_found;
pub use heartbeat::{Heartbeat, heartbeat};
pub use member::{
    ClassicMember, Current, LEAVE_EPOCH, Member, MemberState, STATIC_LEAVE_EPOCH, Subscription,
};
pub use metadata::TopicChanges;
pub use partitions::{Held, Holdings, Partitions};
pub use replay::Replayed;

use super::record::GroupRecord;
use crate::contract::TimerChange;
use holders::Holders;
use subscribers::{Speakers, Subscribers};

/// See the head of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsumerGroup {
    id: ByteString,
    epoch: i32,
    /// Of the topics that are subscribed to, as they were at `epoch` (KIP-1101).
    metadata_hash: i64,
    /// Whether there is a record of the topics as brokers before that hash wrote it.
    has_topic_records: bool,
    members: BTreeMap<ByteString, Member>,
    static_members: BTreeMap<ByteString, ByteString>,
    target: Target,
    expressions: BTreeMap<ByteString, Resolved>,
    /// Made of `members` and `expressions`.
    subscribers: Subscribers,
    /// Made of `members`.
    speakers: Speakers,
    /// Made of `members`.
    holders: Holders,
    seen: Seen,
}

/// What the members are to have.
#[derive(Clone, Debug, PartialEq)]
struct Target {
    /// The group's epoch that it was made for.
    epoch: i32,
    /// When it was made; 0 when that is not known, or when it was for nobody.
    made_at: i64,
    members: BTreeMap<ByteString, Partitions>,
}

/// The topics that a regular expression stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// In order.
    pub topics: Vec<ByteString>,
    /// The position of the metadata in which they were looked for.
    pub version: i64,
    /// When.
    pub at: i64,
}

/// What is not recorded: how much of the cluster's metadata the group has taken into account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    /// Whether the topics are as the hash says, as far as we were told.
    topics: bool,
    /// The position of the metadata at which a topic was made last; `None` when we do not know.
    topics_made_at: Option<i64>,
    /// What expressions stand for now, while more of them are looked at.
    found: BTreeMap<ByteString, Resolved>,
    /// Members of the classic protocol that were told to join.
    awaited: BTreeSet<ByteString>,
}

/// A change of what is not recorded of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Its topics were looked at, in the metadata of this position.
    TopicsSeen(i64),
    /// Its topics have changed.
    TopicsChanged,
    /// A topic was made, at this position of the metadata.
    TopicMade(i64),
    /// What an expression stands for now; not recorded yet.
    ExpressionFound(ByteString, Resolved),
    /// All that was found is recorded.
    ExpressionsRecorded,
    /// This member of the classic protocol was told to join.
    AwaitsJoin(ByteString),
    /// It has.
    Joined(ByteString),
}

/// The timer of a member. One that is set anew takes the place of the one before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberTimer {
    /// It has been silent for too long.
    Session,
    /// It has not let go of its partitions in time.
    Rebalance,
    /// It speaks the classic protocol, and has not joined in time.
    Join,
    /// It speaks the classic protocol, and has not asked for its assignment in time.
    Sync,
}

impl MemberTimer {
    const ALL: [Self; 4] = [Self::Session, Self::Rebalance, Self::Join, Self::Sync];
}

/// Whose timer, and which.
pub type Timer = (ByteString, MemberTimer);

/// What was decided about a group.
#[derive(Debug, PartialEq)]
pub struct Outcome<R> {
    /// To be appended, all or none.
    pub records: Vec<GroupRecord>,
    /// Changes of what is not recorded, made after the replay.
    pub notes: Vec<Note>,
    /// Timers, in this order.
    pub timers: Vec<TimerChange<Timer>>,
    /// When expressions are to be looked at again, in a decision of their own.
    pub refresh: Option<TimestampMs>,
    /// What the request is told.
    pub response: R,
}

impl<R> Outcome<R> {
    fn new(response: R) -> Self {
        Self {
            records: Vec::new(),
            notes: Vec::new(),
            timers: Vec::new(),
            refresh: None,
            response,
        }
    }

    fn answered<T>(self, response: T) -> Outcome<T> {
        Outcome {
            records: self.records,
            notes: self.notes,
            timers: self.timers,
            refresh: self.refresh,
            response,
        }
    }
}

/// Why a request changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code:?}: {message}")]
pub struct Refusal {
    /// What the client is told.
    pub code: ErrorCode,
    /// What somebody who reads it is told.
    pub message: String,
}

impl Refusal {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// How far a group has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumerGroupState {
    /// It has no members.
    Empty,
    /// Its target assignment is to be made anew.
    Assigning,
    /// Members have not come to the target assignment yet.
    Reconciling,
    /// All have.
    Stable,
}

impl ConsumerGroupState {
    /// As Kafka writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
        }
    }
}

impl ConsumerGroup {
    /// A group of which nothing is recorded yet.
    pub fn new(id: &str) -> Self {
        Self {
            id: ByteString::from(id),
            epoch: 1,
            metadata_hash: 0,
            has_topic_records: false,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            target: Target {
                epoch: 1,
                made_at: 0,
                members: BTreeMap::new(),
            },
            expressions: BTreeMap::new(),
            subscribers: Subscribers::default(),
            speakers: Speakers::default(),
            holders: Holders::default(),
            seen: Seen::default(),
        }
    }

    /// Its id.
    pub fn id(&self) -> &ByteString {
        &self.id
    }

    /// Grows with each change that the target assignment depends on.
    pub fn epoch(&self) -> i32 {
        self.epoch
    }

    /// The epoch that the target assignment was made for.
    pub fn assignment_epoch(&self) -> i32 {
        self.target.epoch
    }

    /// Its members, by id.
    pub fn members(&self) -> impl ExactSizeIterator<Item = (&ByteString, &Member)> {
        self.members.iter()
    }

    /// The member with this id.
    pub fn member(&self, id: &str) -> Option<&Member> {
        self.members.get(id)
    }

    /// The static member with this instance id, and its id.
    pub fn static_member(&self, instance_id: &str) -> Option<(&ByteString, &Member)> {
        self.members.get_key_value(self.static_members.get(instance_id)?)
    }

    /// What a member is to have.
    pub fn target_of(&self, member_id: &str) -> Option<&Partitions> {
        self.target.members.get(member_id)
    }

    /// Whether a member has subscribed to the topic, by name or by an expression.
    pub fn is_subscribed_to(&self, topic: &str) -> bool {
        self.subscribers.topics.contains_key(topic)
    }

    /// Whether it has no members.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// How far it has come.
    pub fn state(&self) -> ConsumerGroupState {
        let reconciled = |member: &Member| member.current.is_reconciled_to(self.target.epoch);
        if self.members.is_empty() {
            ConsumerGroupState::Empty
        } else if self.epoch > self.target.epoch {
            ConsumerGroupState::Assigning
        } else if self.members.values().all(reconciled) {
            ConsumerGroupState::Stable
        } else {
            ConsumerGroupState::Reconciling
        }
    }

    /// Makes a change of what is not recorded.
    pub fn note(&mut self, note: Note) {
        match note {
            Note::TopicsSeen(position) => {
                self.seen.topics = true;
                self.seen.topics_made_at.get_or_insert(position);
            }
            Note::TopicsChanged => self.seen.topics = false,
            Note::TopicMade(position) => self.seen.topics_made_at = Some(position),
            Note::ExpressionFound(text, resolved) => {
                self.seen.found.insert(text, resolved);
            }
            Note::ExpressionsRecorded => self.seen.found.clear(),
            Note::AwaitsJoin(member) => {
                self.seen.awaited.insert(member);
            }
            Note::Joined(member) => {
                self.seen.awaited.remove(&member);
            }
        }
    }

    fn member_or_refusal(&self, id: &str) -> Result<&Member, Refusal> {
        self.member(id).ok_or_else(|| {
            let message = format!("Member {id} is not a member of group {}.", self.id);
            Refusal::new(ErrorCode::UnknownMemberId, message)
        })
    }
}
