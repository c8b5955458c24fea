//! A heartbeat: a member joins, says what it wants and what it owns, and is told what it has.
//!
//! ```text
//! who ──► what it has said ──► what expressions stand for ──► group epoch ──► target ──► what it has
//! ```
//!
//! Always holds: a heartbeat that says nothing new, of a member that has all that it is to have, is recorded nowhere. The group's
//! epoch grows when a subscription, the topics behind it or the assignor changes; the target follows as soon as the assignment
//! interval (KIP-1263) allows.
//!
//! Next: `heartbeat/membership.rs` for who it is, `heartbeat/resolution.rs` for expressions, then `target.rs` and `reconcile.rs`.

mod membership;
mod resolution;

use std::borrow::Cow;
use std::time::Duration;

use klamm_metadata::Image;
use klamm_model::{ErrorCode, TimestampMs};
use klamm_protocol::ByteString;
use klamm_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use super::assignor::Assignor;
use super::member::{Current, LEAVE_EPOCH, MemberState, STATIC_LEAVE_EPOCH, Subscription};
use super::metadata::position;
use super::reconcile::{Reconciliation, UnknownState};
use super::subscribers::Subscribers;
use super::target::{Expressions, Members, make};
use super::{ConsumerGroup, MemberTimer, Note, Outcome, Partitions, Refusal, metadata_hash};
use crate::contract::{Surroundings, TimerChange};
use crate::group::config::GroupConfig;
use crate::group::request::Client;
use membership::Membership;

/// What a member asks.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeat<'a> {
    /// Who asks.
    pub client: &'a Client,
    /// The request.
    pub request: &'a ConsumerGroupHeartbeatRequest,
}

/// What comes of a heartbeat.
type HeartbeatOutcome = Outcome<ConsumerGroupHeartbeatResponse>;

/// Decides on a heartbeat that [`ConsumerGroup::validate`] has let through; `group` is `None` when there is none with this id.
pub fn heartbeat(
    group: Option<&ConsumerGroup>,
    around: &mut Surroundings<'_>,
    config: &GroupConfig,
    heartbeat: &Heartbeat<'_>,
) -> Result<HeartbeatOutcome, Refusal> {
    let request = heartbeat.request;
    let no_group = |message| Refusal::new(ErrorCode::GroupIdNotFound, message);
    if matches!(request.member_epoch, LEAVE_EPOCH | STATIC_LEAVE_EPOCH) {
        let group = group.ok_or_else(|| no_group(format!("Group {} not found.", request.group_id)))?;
        return group.leave(around, request);
    }
    let new;
    let group = match group {
        Some(group) => group,
        None if request.member_epoch == 0 => {
            new = ConsumerGroup::new(&request.group_id);
            &new
        }
        None => {
            return Err(no_group(format!(
                "Consumer group {} not found.",
                request.group_id
            )));
        }
    };
    let member_id = if request.member_id.is_empty() {
        ByteString::from((around.draw_uuid)().to_string())
    } else {
        super::member::copied(&request.member_id)
    };
    Turn::new(group, (around.image, around.now), config, heartbeat, &member_id)?.take()
}

/// The turn of one member.
struct Turn<'a> {
    group: &'a ConsumerGroup,
    image: &'a Image,
    now: TimestampMs,
    config: &'a GroupConfig,
    request: &'a ConsumerGroupHeartbeatRequest,
    member_id: &'a ByteString,
    membership: Membership<'a>,
    /// What it has said of itself, this time included.
    subscription: Cow<'a, Subscription>,
    outcome: HeartbeatOutcome,
}

impl<'a> Turn<'a> {
    fn new(
        group: &'a ConsumerGroup,
        (image, now): (&'a Image, TimestampMs),
        config: &'a GroupConfig,
        heartbeat: &Heartbeat<'a>,
        member_id: &'a ByteString,
    ) -> Result<Self, Refusal> {
        let request = heartbeat.request;
        let membership = Membership::find(group, config, member_id, request)?;
        let mut outcome = Outcome::new(ConsumerGroupHeartbeatResponse::default());
        membership.record_replacement(group, member_id, &mut outcome);
        let subscription = membership.said_now(heartbeat);
        if let Some(subscription) = &subscription {
            outcome
                .records
                .push(group.recorder().subscription(member_id, Some(subscription)));
        }
        let subscription = match subscription {
            Some(subscription) => Cow::Owned(subscription),
            None => Cow::Owned(membership.before.subscription.clone()),
        };
        Ok(Self {
            group,
            image,
            now,
            config,
            request,
            member_id,
            membership,
            subscription,
            outcome,
        })
    }

    fn take(mut self) -> Result<HeartbeatOutcome, Refusal> {
        let expressions = self.resolve()?;
        let subscribers = self.subscribers(&expressions);
        let before = &self.membership.before.subscription;
        let subscription_changed = self.subscription.topics != before.topics
            || self.subscription.expression() != before.expression();
        let epoch = self.group_epoch(&expressions, &subscribers, subscription_changed);
        let (target_epoch, target) = self.target(&expressions, &subscribers, epoch);
        let current = self.reconcile(&expressions, subscription_changed, target_epoch, &target)?;
        self.set_timers(current.as_ref());
        self.answer(current.as_ref());
        Ok(self.outcome)
    }

    /// Who subscribes to what after this; `None` when nothing of that changes.
    fn subscribers(&self, expressions: &Expressions<'_>) -> Option<Subscribers> {
        let before = &self.membership.before.subscription;
        let same = *before == *self.subscription && expressions.changes.is_empty();
        if same && self.group.seen.topics {
            return None;
        }
        let mut subscribers = self.group.subscribers.clone();
        subscribers.change_member(Some(before), Some(&self.subscription));
        for (text, after) in &expressions.changes {
            let before = self
                .group
                .expressions
                .get(text)
                .map_or(&[][..], |before| &before.topics);
            let after = after.as_ref().map_or(&[][..], |after| &after.topics);
            subscribers.change_expression(before, after);
        }
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
        let other_topics = |(text, after): (&ByteString, &Option<super::Resolved>)| {
            let before = group.expressions.get(text).map(|before| &before.topics);
            group.subscribers.of_expression(text) > 0 && before != after.as_ref().map(|after| &after.topics)
        };
        let changed = subscription_changed
            || expressions.changes.iter().any(other_topics)
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
    ) -> (i32, Partitions) {
        let group = self.group;
        let members = Members {
            group,
            changed: self.member_id,
            subscription: &self.subscription,
            replaced: self.membership.replaced,
        };
        let interval = self.config.consumer_assignment_interval_of(&group.id);
        if group.target.epoch >= epoch || !may_assign(group.target.made_at, interval, self.now) {
            return (group.target.epoch, members.target().cloned().unwrap_or_default());
        }
        let assignor = self.assignor(subscribers.as_ref().unwrap_or(&group.subscribers));
        let now = self.now.0;
        let made = make(&members, expressions, assignor, self.image, epoch, now);
        self.outcome.records.extend(made.records);
        (epoch, made.changed)
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
        let replaced = self.membership.replaced;
        let others = self.group.members.iter();
        let others = others.filter(|(id, _)| *id != self.member_id && Some(*id) != replaced);
        let others: Vec<&Current> = others.map(|(_, member)| &member.current).collect();
        let reconciliation = Reconciliation {
            target_epoch,
            target,
            topics: &expressions.topics_of(&self.subscription, self.image),
            subscription_changed,
            owned: self.request.topic_partitions.as_deref(),
            others: &others,
        };
        let next = reconciliation.next(before).map_err(|UnknownState| {
            let message = "The consumer group member is in a unknown state. \
                           The member must abandon all its partitions and rejoin.";
            Refusal::new(ErrorCode::FencedMemberEpoch, message)
        })?;
        if let Some(next) = &next {
            self.outcome
                .records
                .push(self.group.recorder().current(self.member_id, Some(next)));
        }
        Ok(next)
    }

    fn set_timers(&mut self, next: Option<&Current>) {
        let now = self.now;
        let id = || self.member_id.clone();
        let session = self.config.consumer_session_timeout_of(&self.group.id);
        let timers = &mut self.outcome.timers;
        timers.push(TimerChange::At((id(), MemberTimer::Session), after(now, session)));
        let Some(next) = next else {
            return;
        };
        if next.state == MemberState::UnrevokedPartitions {
            let at = now.plus_ms(self.subscription.rebalance_timeout_ms.into());
            timers.push(TimerChange::At((id(), MemberTimer::Rebalance), at));
        } else if self.membership.before.current.state == MemberState::UnrevokedPartitions {
            timers.push(TimerChange::Cancel((id(), MemberTimer::Rebalance)));
        }
    }

    fn answer(&mut self, next: Option<&Current>) {
        let before = &self.membership.before.current;
        let current = next.unwrap_or(before);
        let request = self.request;
        let subscribes = request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some();
        let is_full = request.rebalance_timeout_ms != -1 && subscribes && request.topic_partitions.is_some();
        let tell = request.member_epoch == 0 || is_full || current.assigned != before.assigned;
        let interval = self.config.consumer_heartbeat_interval_of(&self.group.id);
        self.outcome.response = ConsumerGroupHeartbeatResponse {
            member_id: Some(self.member_id.clone()),
            member_epoch: current.epoch,
            heartbeat_interval_ms: i32::try_from(interval.as_millis()).unwrap_or(i32::MAX),
            assignment: tell.then(|| current.assigned.to_response()),
            ..Default::default()
        };
    }
}

/// `now`, and `wait` later.
pub(super) fn after(now: TimestampMs, wait: Duration) -> TimestampMs {
    now.plus_ms(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX))
}

/// Whether the interval since the last target assignment is over. Of one that nobody was assigned anything in, the time is not
/// kept; and without an interval no clock that was set back can hold an assignment up.
fn may_assign(made_at: i64, interval: Duration, now: TimestampMs) -> bool {
    made_at == 0 || interval.is_zero() || now >= after(TimestampMs(made_at), interval)
}
