//! What a member's request comes to: what it has said, what its expressions stand for, the group's epoch, the target, what it has.
//!
//! ```text
//! who ──► what it has said ──► what expressions stand for ──► group epoch ──► target ──► what it has
//! ```
//!
//! Always holds: a request that says nothing new, of a member that has all that it is to have, is recorded nowhere. The group's
//! epoch grows when a subscription, the topics behind it or the assignor changes; the target follows as soon as the assignment
//! interval (KIP-1263) allows.
//!
//! Next: `turn/membership.rs` for who it is, `turn/resolution.rs` for expressions, then `target.rs` and `reconcile.rs`.

pub(super) mod membership;
mod resolution;

use std::borrow::Cow;
use std::time::Duration;

use klamm_metadata::Image;
use klamm_model::{ErrorCode, TimestampMs};
use klamm_protocol::ByteString;
use klamm_protocol::messages::ConsumerGroupHeartbeatRequest;

use super::assignor::Assignor;
use super::member::{ClassicMember, Current, Member, Subscription};
use super::metadata::position;
use super::reconcile::{Reconciliation, UnknownState};
use super::subscribers::Subscribers;
use super::target::{Expressions, Members, make};
use super::{ConsumerGroup, Note, Outcome, Partitions, Refusal, metadata_hash};
use crate::group::config::GroupConfig;
use crate::group::request::Client;
use membership::Membership;

/// See the head of the file.
pub(super) struct Turn<'a> {
    group: &'a ConsumerGroup,
    image: &'a Image,
    now: TimestampMs,
    config: &'a GroupConfig,
    request: &'a ConsumerGroupHeartbeatRequest,
    member_id: &'a ByteString,
    membership: Membership<'a>,
    /// What it says of itself, when that is not what it has said before.
    said: Option<Subscription>,
    outcome: Outcome<()>,
}

/// What a member says.
pub(super) struct Said<'a> {
    pub(super) client: &'a Client,
    pub(super) request: &'a ConsumerGroupHeartbeatRequest,
    /// Whether it may be new, or take the place of a static member.
    pub(super) joins: bool,
    /// What there is beside when it speaks the classic protocol.
    pub(super) classic: Option<ClassicMember>,
}

/// What came of it.
pub(super) struct Taken<'a> {
    /// The records, the notes, and the timers of a member whose place was taken.
    pub(super) outcome: Outcome<()>,
    /// The member before.
    pub(super) before: Cow<'a, Member>,
    said: Option<Subscription>,
    /// What it has now, when that is not what it had.
    pub(super) next: Option<Current>,
}

impl Taken<'_> {
    /// What it has said of itself, this time included.
    pub(super) fn subscription(&self) -> &Subscription {
        self.said.as_ref().unwrap_or(&self.before.subscription)
    }

    /// What it has now.
    pub(super) fn current(&self) -> &Current {
        self.next.as_ref().unwrap_or(&self.before.current)
    }
}

impl<'a> Turn<'a> {
    pub(super) fn new(
        group: &'a ConsumerGroup,
        (image, now): (&'a Image, TimestampMs),
        config: &'a GroupConfig,
        said: Said<'a>,
        member_id: &'a ByteString,
    ) -> Result<Self, Refusal> {
        let request = said.request;
        let membership = Membership::find(group, config, member_id, &said)?;
        let mut outcome = Outcome::new(());
        membership.record_replacement(group, member_id, &mut outcome);
        let said = membership.said_now(said);
        if let Some(said) = &said {
            outcome
                .records
                .push(group.recorder().subscription(member_id, Some(said)));
        }
        Ok(Self {
            group,
            image,
            now,
            config,
            request,
            member_id,
            membership,
            said,
            outcome,
        })
    }

    fn subscription(&self) -> &Subscription {
        self.said.as_ref().unwrap_or(&self.membership.before.subscription)
    }

    pub(super) fn take(mut self) -> Result<Taken<'a>, Refusal> {
        let expressions = self.resolve()?;
        let subscribers = self.subscribers(&expressions);
        let before = &self.membership.before.subscription;
        let subscription_changed = self
            .said
            .as_ref()
            .is_some_and(|after| after.topics != before.topics || after.expression() != before.expression());
        let epoch = self.group_epoch(&expressions, &subscribers, subscription_changed);
        let (target_epoch, target) = self.target(&expressions, &subscribers, epoch);
        let next = self.reconcile(&expressions, subscription_changed, target_epoch, &target)?;
        Ok(Taken {
            outcome: self.outcome,
            before: self.membership.before,
            said: self.said,
            next,
        })
    }

    /// Who subscribes to what after this; `None` when nothing of that changes.
    fn subscribers(&self, expressions: &Expressions<'_>) -> Option<Subscribers> {
        let before = &self.membership.before.subscription;
        let same = self.said.is_none() && expressions.changes.is_empty();
        if same && self.group.seen.topics {
            return None;
        }
        let mut subscribers = self.group.subscribers.clone();
        subscribers.change_member(Some(before), Some(self.subscription()));
        expressions.change(&mut subscribers);
        Some(subscribers)
    }

    /// The group's epoch after this.
    fn group_epoch(
        &mut self,
        expressions: &Expressions<'_>,
        subscribers: &Option<Subscribers>,
        subscription_changed: bool,
    ) -> i32 {
        let group = self.group;
        let Some(subscribers) = subscribers else {
            return group.epoch;
        };
        let changed = subscription_changed
            || expressions.other_topics()
            || self.assignor(subscribers) != self.assignor(&group.subscribers);
        if !changed && group.seen.topics {
            return group.epoch;
        }
        let image = self.image;
        let hash = metadata_hash::of_group(subscribers.topics.keys().map(|topic| &**topic), image);
        let mut epoch = group.epoch;
        if changed || hash != group.metadata_hash {
            epoch = group.epoch.saturating_add(1);
            self.outcome.records.push(group.recorder().epoch(epoch, hash));
        }
        if group.has_topic_records {
            self.outcome.records.push(group.recorder().no_topics());
        }
        self.outcome.notes.push(Note::TopicsSeen(position(image)));
        epoch
    }

    fn assignor(&self, subscribers: &Subscribers) -> Assignor {
        let configured = self.config.consumer_assignors.iter().map(String::as_str);
        let preferred = subscribers.preferred_assignor().map(|name| &**name);
        let mut known = preferred
            .into_iter()
            .chain(configured)
            .filter_map(Assignor::from_name);
        known.next().unwrap_or(Assignor::Uniform)
    }

    /// The target assignment that the member is brought to, and its epoch.
    fn target(
        &mut self,
        expressions: &Expressions<'_>,
        subscribers: &Option<Subscribers>,
        epoch: i32,
    ) -> (i32, Cow<'a, Partitions>) {
        let group = self.group;
        let interval = self.config.consumer_assignment_interval_of(&group.id);
        if group.target.epoch >= epoch || !may_assign(group.target.made_at, interval, self.now) {
            let had = group.target_of(self.membership.replaced.unwrap_or(self.member_id));
            return (group.target.epoch, had.map_or_else(Cow::default, Cow::Borrowed));
        }
        let members = Members {
            group,
            changed: self.member_id,
            subscription: self.said.as_ref().unwrap_or(&self.membership.before.subscription),
            replaced: self.membership.replaced,
        };
        let assignor = self.assignor(subscribers.as_ref().unwrap_or(&group.subscribers));
        let now = self.now.0;
        let made = make(&members, expressions, assignor, self.image, epoch, now);
        self.outcome.records.extend(made.records);
        (epoch, Cow::Owned(made.changed))
    }

    /// What the member has after this; `None` when that is what it had.
    fn reconcile(
        &mut self,
        expressions: &Expressions<'_>,
        subscription_changed: bool,
        target_epoch: i32,
        target: &Partitions,
    ) -> Result<Option<Current>, Refusal> {
        let before = &self.membership.before.current;
        if !subscription_changed && before.is_reconciled_to(target_epoch) {
            return Ok(None);
        }
        // A member whose place it takes has what it has itself.
        let reconciliation = Reconciliation {
            target_epoch,
            target,
            subscribes: &|topic| expressions.subscribes(self.subscription(), self.image, topic),
            subscription_changed,
            owned: self.request.topic_partitions.as_deref(),
            holders: &self.group.holders,
        };
        let next = reconciliation.next(before).map_err(|UnknownState| {
            let message = "The consumer group member is in a unknown state. \
                           The member must abandon all its partitions and rejoin.";
            Refusal::new(ErrorCode::FencedMemberEpoch, message)
        })?;
        let next = next.filter(|next| next.epoch == before.epoch || self.has_heard_of_its_epoch());
        if let Some(next) = &next {
            self.outcome
                .records
                .push(self.group.recorder().current(self.member_id, Some(next)));
        }
        Ok(next)
    }

    /// Not if the member says its previous epoch: the answer with the present one is late or lost. It is not moved on before it has
    /// heard of that; what it would say next might else be older than all that is known of it.
    fn has_heard_of_its_epoch(&self) -> bool {
        let said = self.request.member_epoch;
        said <= 0 || said == self.membership.before.current.epoch
    }
}

/// `now`, and `wait` later.
pub(super) fn after(now: TimestampMs, wait: Duration) -> TimestampMs {
    now.plus_ms(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX))
}

/// Whether the interval since the last target assignment is over. Of one that nobody was assigned anything in, the time is not
/// kept; and without an interval no clock that was set back can hold an assignment up.
pub(super) fn may_assign(made_at: i64, interval: Duration, now: TimestampMs) -> bool {
    made_at == 0 || interval.is_zero() || now >= after(TimestampMs(made_at), interval)
}
