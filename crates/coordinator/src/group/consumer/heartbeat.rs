//! A heartbeat: a member joins, says what it wants and what it owns, and is told what it has.
//!
//! Next: `turn.rs` for what comes of it.

use klamm_model::{ErrorCode, TimestampMs};
use klamm_protocol::ByteString;
use klamm_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use super::member::{LEAVE_EPOCH, MemberState, STATIC_LEAVE_EPOCH};
use super::turn::{Said, Taken, Turn, after};
use super::{ConsumerGroup, MemberTimer, Outcome, Refusal};
use crate::contract::{Surroundings, TimerChange};
use crate::group::config::GroupConfig;
use crate::group::request::Client;

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
    let said = Said {
        client: heartbeat.client,
        request,
        joins: request.member_epoch == 0,
        classic: None,
    };
    let taken = Turn::new(group, (around.image, around.now), config, said, &member_id)?.take()?;
    let timers = timers(&taken, &member_id, around.now, config, group.id());
    let response = answer(&taken, &member_id, config, request);
    let mut outcome = taken.outcome;
    outcome.timers.extend(timers);
    Ok(outcome.answered(response))
}

fn timers(
    taken: &Taken<'_>,
    member_id: &ByteString,
    now: TimestampMs,
    config: &GroupConfig,
    group_id: &str,
) -> Vec<TimerChange<super::Timer>> {
    let timer = |timer| (member_id.clone(), timer);
    let session = config.consumer_session_timeout_of(group_id);
    let mut timers = vec![TimerChange::At(timer(MemberTimer::Session), after(now, session))];
    if taken.before.subscription.classic.is_some() {
        timers.push(TimerChange::Cancel(timer(MemberTimer::Join)));
        timers.push(TimerChange::Cancel(timer(MemberTimer::Sync)));
    }
    let Some(next) = &taken.next else {
        return timers;
    };
    if next.state == MemberState::UnrevokedPartitions {
        let at = now.plus_ms(taken.subscription().rebalance_timeout_ms.into());
        timers.push(TimerChange::At(timer(MemberTimer::Rebalance), at));
    } else if taken.before.current.state == MemberState::UnrevokedPartitions {
        timers.push(TimerChange::Cancel(timer(MemberTimer::Rebalance)));
    }
    timers
}

/// What a member has is told when it asks for everything, or when it has changed.
fn answer(
    taken: &Taken<'_>,
    member_id: &ByteString,
    config: &GroupConfig,
    request: &ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    let current = taken.current();
    let subscribes = request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some();
    let is_full = request.rebalance_timeout_ms != -1 && subscribes && request.topic_partitions.is_some();
    let tell = request.member_epoch == 0 || is_full || current.assigned != taken.before.current.assigned;
    let interval = config.consumer_heartbeat_interval_of(&request.group_id);
    ConsumerGroupHeartbeatResponse {
        member_id: Some(member_id.clone()),
        member_epoch: current.epoch,
        heartbeat_interval_ms: i32::try_from(interval.as_millis()).unwrap_or(i32::MAX),
        assignment: tell.then(|| current.assigned.to_response()),
        ..Default::default()
    }
}
