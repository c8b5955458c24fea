//! How members go: they leave, or they are fenced because they were silent or held on to partitions for too long.
//!
//! Always holds: with a member all that is recorded of it goes, and the group's epoch grows, so that what it had is assigned to
//! others at the next heartbeat. A static member that leaves for a while keeps what it has until its session ends.

use klamm_metadata::Image;
use klamm_model::TimestampMs;
use klamm_protocol::ByteString;
use klamm_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use super::member::{Current, STATIC_LEAVE_EPOCH};
use super::partitions::Holdings;
use super::turn::after;
use super::{ConsumerGroup, Member, MemberTimer, Note, Outcome, Refusal, Timer, metadata_hash};
use crate::contract::{Surroundings, TimerChange};
use crate::group::config::GroupConfig;

impl ConsumerGroup {
    /// A member leaves, for good or for a while.
    pub(super) fn leave(
        &self,
        around: &Surroundings<'_>,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<Outcome<ConsumerGroupHeartbeatResponse>, Refusal> {
        let (member_id, member) = self.who_leaves(request)?;
        let response = ConsumerGroupHeartbeatResponse {
            member_id: Some(member_id.clone()),
            member_epoch: request.member_epoch,
            ..Default::default()
        };
        let mut outcome = Outcome::new(response);
        if request.instance_id.is_some() && request.member_epoch == STATIC_LEAVE_EPOCH {
            let current = away(member);
            outcome
                .records
                .push(self.recorder().current(member_id, Some(&current)));
            outcome
                .timers
                .push(TimerChange::Cancel((member_id.clone(), MemberTimer::Rebalance)));
        } else {
            self.fence(&[member_id], around.image, &mut outcome);
        }
        Ok(outcome)
    }

    /// The member that a request to leave is from.
    pub(super) fn who_leaves(
        &self,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<(&ByteString, &Member), Refusal> {
        match &request.instance_id {
            None => self.member_or_refusal(&request.member_id)?,
            Some(instance_id) => self.static_member_or_refusal(instance_id, &request.member_id)?,
        };
        let found = self.members.get_key_value(&request.member_id);
        Ok(found.expect("it was just found"))
    }

    /// The member that is to go because a timer rang; `None` when that means nothing any more.
    pub(super) fn goes_by(&self, (member_id, timer): &Timer) -> Option<&ByteString> {
        let (member_id, member) = self.members.get_key_value(member_id)?;
        let is_over = *timer != MemberTimer::Rebalance || !member.current.revoking.is_empty();
        is_over.then_some(member_id)
    }

    /// The timers of all members, after a load.
    pub fn timers(&self, now: TimestampMs, config: &GroupConfig) -> Vec<TimerChange<Timer>> {
        let session = after(now, config.consumer_session_timeout_of(&self.id));
        let mut timers = Vec::new();
        for (id, member) in &self.members {
            let classic = member.subscription.classic.as_ref();
            let session = classic.map_or(session, |classic| now.plus_ms(classic.session_timeout_ms.into()));
            timers.push(TimerChange::At((id.clone(), MemberTimer::Session), session));
            if classic.is_none() && !member.current.revoking.is_empty() {
                let at = now.plus_ms(member.subscription.rebalance_timeout_ms.into());
                timers.push(TimerChange::At((id.clone(), MemberTimer::Rebalance), at));
            }
        }
        timers
    }

    /// Members go.
    pub(super) fn fence<R>(&self, members: &[&ByteString], image: &Image, outcome: &mut Outcome<R>) {
        let recorder = self.recorder();
        let mut subscribers = self.subscribers.clone();
        for id in members {
            outcome.records.extend(recorder.no_member(id));
            let subscription = self.member(id).map(|member| &member.subscription);
            subscribers.change_member(subscription, None);
            for timer in MemberTimer::ALL {
                outcome.timers.push(TimerChange::Cancel(((*id).clone(), timer)));
            }
        }
        for (text, resolved) in &self.expressions {
            if subscribers.of_expression(text) == 0 {
                outcome.records.push(recorder.expression(text, None));
                subscribers.change_expression(&resolved.topics, &[]);
            }
        }
        let hash = metadata_hash::of_group(subscribers.topics.keys().map(|topic| &**topic), image);
        let epoch = self.epoch.saturating_add(1);
        outcome.records.push(recorder.epoch(epoch, hash));
        if self.members.len() == members.len() {
            // Nobody is left to be assigned anything: there is nothing to do at this epoch, and nothing to wait for.
            outcome.records.push(recorder.target_epoch(epoch, 0));
        }
        outcome
            .notes
            .push(Note::TopicsSeen(super::metadata::position(image)));
    }
}

/// What a static member has while it is away: nothing to let go, and offsets that whoever comes back may commit.
fn away(member: &Member) -> Current {
    Current {
        epoch: STATIC_LEAVE_EPOCH,
        assigned: member.current.assigned.since_ever(),
        revoking: Holdings::default(),
        ..member.current.clone()
    }
}
