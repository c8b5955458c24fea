//! Who a heartbeat is from: a member, a new one, or a static member that comes back under another id.
//!
//! Always holds: of a static instance there is one member at a time; another one takes its place only once it has left.

use std::borrow::Cow;

use klamm_model::ErrorCode;
use klamm_protocol::ByteString;
use klamm_protocol::messages::ConsumerGroupHeartbeatRequest;

use super::{Outcome, Said};
use crate::contract::TimerChange;
use crate::group::config::GroupConfig;
use crate::group::consumer::member::{Current, Member, STATIC_LEAVE_EPOCH, Subscription, copied, copied_set};
use crate::group::consumer::{ConsumerGroup, MemberTimer, Refusal};

/// See the head of the file.
pub(in crate::group::consumer) struct Membership<'a> {
    /// The member before this heartbeat.
    pub(super) before: Cow<'a, Member>,
    /// The static member whose place it takes.
    pub(super) replaced: Option<&'a ByteString>,
    is_new: bool,
}

impl<'a> Membership<'a> {
    pub(super) fn find(
        group: &'a ConsumerGroup,
        config: &GroupConfig,
        member_id: &ByteString,
        said: &Said<'_>,
    ) -> Result<Self, Refusal> {
        let request = said.request;
        check_size(group, config, member_id, request.instance_id.as_ref())?;
        let joins = said.joins;
        let known = |member: &'a Member| {
            check_epoch(&member.current, request)?;
            Ok(Self {
                before: Cow::Borrowed(member),
                replaced: None,
                is_new: false,
            })
        };
        let new = || Self {
            before: Cow::Owned(Member::default()),
            replaced: None,
            is_new: true,
        };
        let Some(instance_id) = &request.instance_id else {
            return match group.member(member_id) {
                None if joins => Ok(new()),
                _ => known(group.member_or_refusal(member_id)?),
            };
        };
        if !joins {
            return known(group.static_member_or_refusal(instance_id, member_id)?);
        }
        match group.static_member(instance_id) {
            None => Ok(group.member(member_id).map_or_else(new, |member| Self {
                before: Cow::Borrowed(member),
                replaced: None,
                is_new: false,
            })),
            Some((before_id, before)) => {
                let only_when_away = said.classic.is_none() && before.subscription.classic.is_none();
                Self::replacing((before_id, before), only_when_away, member_id, instance_id)
            }
        }
    }

    fn replacing(
        (before_id, before): (&'a ByteString, &'a Member),
        // Members of the consumer protocol say when they are away; others are not asked.
        only_when_away: bool,
        member_id: &str,
        instance_id: &str,
    ) -> Result<Self, Refusal> {
        if only_when_away && before.current.epoch != STATIC_LEAVE_EPOCH {
            let message = format!(
                "Static member {member_id} with instance id {instance_id} cannot join the group because \
                 the instance id is owned by {before_id} member."
            );
            return Err(Refusal::new(ErrorCode::UnreleasedInstanceId, message));
        }
        let current = Current {
            epoch: 0,
            previous_epoch: 0,
            ..before.current.clone()
        };
        Ok(Self {
            before: Cow::Owned(Member {
                subscription: before.subscription.clone(),
                current,
            }),
            replaced: Some(before_id),
            is_new: false,
        })
    }

    /// A member that takes the place of another has what that one had.
    pub(super) fn record_replacement(
        &self,
        group: &ConsumerGroup,
        member_id: &ByteString,
        outcome: &mut Outcome<()>,
    ) {
        let Some(replaced) = self.replaced else {
            return;
        };
        let recorder = group.recorder();
        outcome.records.extend(recorder.no_member(replaced));
        outcome
            .records
            .push(recorder.subscription(member_id, Some(&self.before.subscription)));
        let target = group.target_of(replaced).cloned().unwrap_or_default();
        outcome.records.push(recorder.target(member_id, Some(&target)));
        outcome
            .records
            .push(recorder.current(member_id, Some(&self.before.current)));
        if replaced != member_id {
            for timer in MemberTimer::ALL {
                outcome
                    .timers
                    .push(TimerChange::Cancel((replaced.clone(), timer)));
            }
        }
    }

    /// What the member says of itself, when that is not what it has said before. What it leaves out stays.
    pub(super) fn said_now(&self, said: Said<'_>) -> Option<Subscription> {
        let Said {
            client,
            request,
            classic,
            ..
        } = said;
        let before = &self.before.subscription;
        let says_nothing = request.instance_id.is_none()
            && request.rack_id.is_none()
            && request.rebalance_timeout_ms == -1
            && request.subscribed_topic_names.is_none()
            && request.subscribed_topic_regex.is_none()
            && request.server_assignor.is_none()
            && client.client_id == before.client_id
            && client.client_host == before.client_host
            && classic == before.classic;
        if says_nothing && !self.is_new {
            return None;
        }
        let said = |now: &Option<ByteString>, before: &Option<ByteString>| match now {
            Some(now) if before.as_ref() != Some(now) => Some(copied(now)),
            _ => before.clone(),
        };
        let now = Subscription {
            instance_id: said(&request.instance_id, &before.instance_id),
            rack_id: said(&request.rack_id, &before.rack_id),
            client_id: said_text(&client.client_id, &before.client_id),
            client_host: said_text(&client.client_host, &before.client_host),
            topics: match &request.subscribed_topic_names {
                Some(names) => copied_set(names),
                None => before.topics.clone(),
            },
            expression: said(&request.subscribed_topic_regex, &before.expression),
            rebalance_timeout_ms: match request.rebalance_timeout_ms {
                -1 => before.rebalance_timeout_ms,
                timeout_ms => timeout_ms,
            },
            assignor: said(&request.server_assignor, &before.assignor),
            classic,
        };
        (self.is_new || now != *before).then_some(now)
    }
}

fn said_text(now: &ByteString, before: &ByteString) -> ByteString {
    if now == before {
        before.clone()
    } else {
        copied(now)
    }
}

/// A group that is full takes nobody in but those who are in it.
pub(in crate::group::consumer) fn check_size(
    group: &ConsumerGroup,
    config: &GroupConfig,
    member_id: &str,
    instance: Option<&ByteString>,
) -> Result<(), Refusal> {
    let has_place = || {
        instance.is_some_and(|instance_id| group.static_members.contains_key(instance_id))
            || group.members.contains_key(member_id)
    };
    if group.members.len() < config.consumer_max_size || has_place() {
        return Ok(());
    }
    let message = format!(
        "The consumer group has reached its maximum capacity of {} members.",
        config.consumer_max_size
    );
    Err(Refusal::new(ErrorCode::GroupMaxSizeReached, message))
}

/// A member may come with its epoch; or with the one before, when it has nothing but what is its own, what it is to let go included: it
/// has not got the answer then. With epoch 0 it begins anew.
fn check_epoch(current: &Current, request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refusal> {
    let (epoch, known) = (request.member_epoch, current.epoch);
    let repeats = || epoch == current.previous_epoch && current.has_all(request.topic_partitions.as_deref());
    if epoch == 0 || epoch == known || (epoch < known && repeats()) {
        return Ok(());
    }
    let compared = if epoch > known { "greater" } else { "smaller" };
    let message = format!(
        "The consumer group member has a {compared} member epoch ({epoch}) than the one known by the group \
         coordinator ({known}). The member must abandon all its partitions and rejoin."
    );
    Err(Refusal::new(ErrorCode::FencedMemberEpoch, message))
}

impl ConsumerGroup {
    /// The member behind an instance id, when it is the one with this id.
    pub(in crate::group::consumer) fn static_member_or_refusal(
        &self,
        instance_id: &str,
        member_id: &str,
    ) -> Result<&Member, Refusal> {
        let Some((id, member)) = self.static_member(instance_id) else {
            let message = format!("Instance id {instance_id} is unknown.");
            return Err(Refusal::new(ErrorCode::UnknownMemberId, message));
        };
        if id != member_id {
            let message = format!(
                "Static member {member_id} with instance id {instance_id} was fenced by member {id}."
            );
            return Err(Refusal::new(ErrorCode::FencedInstanceId, message));
        }
        Ok(member)
    }
}
