//! What the shard does for groups of the consumer protocol: it finds the group, and carries what was decided into its own terms.
//!
//! Always holds: a group of the classic protocol that has no members gives way to the first member of the consumer protocol, and
//! the other way round; what was recorded of it is taken back in the same decision.
//!
//! Next: `heartbeat.rs`; `shard/way_back.rs` for the way to the classic protocol.

mod way_back;

use std::collections::BTreeSet;
use std::sync::Arc;

use klamm_metadata::{Delta, Image};
use klamm_model::{ErrorCode, TimestampMs};
use klamm_protocol::ByteString;
use klamm_protocol::messages::consumer_group_describe_response::DescribedGroup;
use klamm_protocol::messages::leave_group_request::MemberIdentity;
use klamm_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, HeartbeatRequest, LeaveGroupRequest,
    SyncGroupRequest,
};

use super::migration::upgrade;
use super::{
    ConsumerGroup, Heartbeat, LEAVE_EPOCH, MemberTimer, Outcome, Refusal, Replayed, TopicChanges, not_found,
};
use crate::contract::{Surroundings, Ticket, TimerChange};
use crate::group::answer::{Answer, refused_join};
use crate::group::classic::join::{Found, Join};
use crate::group::classic::turn::Turn;
use crate::group::classic::{heartbeat, leave};
use crate::group::config::{GroupConfig, MigrationPolicy};
use crate::group::record::GroupRecord;
use crate::group::shard::{Group, GroupResult, GroupShard, Timer, Volatile};

impl<R> Outcome<R> {
    /// In the terms of the shard, and what the request is told.
    fn of_group(self, id: &Arc<str>) -> (GroupResult, R) {
        let timer = |(member, timer): (ByteString, MemberTimer)| Timer::Consumer {
            group: id.clone(),
            member,
            timer,
        };
        let timers = self.timers.into_iter().map(|change| match change {
            TimerChange::At(key, at) => TimerChange::At(timer(key), at),
            TimerChange::AfterAnswers(key, wait) => TimerChange::AfterAnswers(timer(key), wait),
            TimerChange::Cancel(key) => TimerChange::Cancel(timer(key)),
        });
        let refresh = |at| TimerChange::At(Timer::Expressions(id.clone()), at);
        let timers = timers.chain(self.refresh.map(refresh));
        let notes = self.notes.into_iter();
        let result = GroupResult {
            records: self.records,
            volatile: notes.map(|note| Volatile::Consumer(id.clone(), note)).collect(),
            timers: timers.collect(),
            ..GroupResult::default()
        };
        (result, self.response)
    }
}

impl ConsumerGroup {
    /// A member of the classic protocol wants to join. A group without members gives way.
    pub(in crate::group) fn join(
        &self,
        id: &Arc<str>,
        around: &mut Surroundings<'_>,
        config: &GroupConfig,
        join: Join<'_>,
    ) -> GroupResult {
        let request = join.request;
        if self.is_empty() {
            let mut result = join.decide(Found::Nowhere, around, config);
            if !result.records.is_empty() {
                result.records.splice(0..0, self.tombstones());
            }
            return result;
        }
        let (ticket, version) = (join.ticket.ticket, join.ticket.version);
        // As in Kafka, who is refused here is not told its own id again.
        let refused = |code| GroupResult::answer(ticket, Answer::JoinGroup(refused_join("", version, code)));
        if config.consumer_migration_policy == MigrationPolicy::Disabled {
            return refused(ErrorCode::InconsistentGroupProtocol);
        }
        let member_id = if request.member_id.is_empty() {
            ByteString::from((around.draw_uuid)().to_string())
        } else {
            super::member::copied(&request.member_id)
        };
        let joined = self.join_classic((around.image, around.now), config, &join, &member_id);
        let joined = match joined {
            Ok(joined) => joined,
            Err(code @ ErrorCode::MemberIdRequired) => {
                let answer = refused_join(&member_id, version, code);
                return GroupResult::answer(ticket, Answer::JoinGroup(answer));
            }
            Err(code) => return refused(code),
        };
        if let Some(result) = self.in_place_of_the_last(id, around, config, (&join, &member_id), &joined) {
            return result;
        }
        let (mut result, response) = joined.outcome.of_group(id);
        result.answers.push((ticket, Answer::JoinGroup(response)));
        result
    }

    pub(in crate::group) fn sync(
        &self,
        id: &Arc<str>,
        around: &Surroundings<'_>,
        ticket: Ticket,
        request: &SyncGroupRequest,
    ) -> GroupResult {
        let (mut result, response) = self.sync_classic(around.image, request).of_group(id);
        result.answers.push((ticket, Answer::SyncGroup(response)));
        result
    }

    pub(in crate::group) fn heartbeat(
        &self,
        id: &Arc<str>,
        around: &Surroundings<'_>,
        config: &GroupConfig,
        ticket: Ticket,
        request: &HeartbeatRequest,
    ) -> GroupResult {
        let heard = self.heartbeat_classic((around.image, around.now), config, request);
        let (mut result, code) = heard.of_group(id);
        result.answers.push((ticket, heartbeat::answer(code)));
        result
    }

    /// Members leave by LeaveGroup: those of the classic protocol, and any that an administrator takes out.
    pub(in crate::group) fn leave_group(
        &self,
        id: &Arc<str>,
        around: &Surroundings<'_>,
        config: &GroupConfig,
        ticket: Ticket,
        (version, request): (i16, &LeaveGroupRequest),
    ) -> GroupResult {
        let leaving = leave::leaving(version, request);
        let mut members = BTreeSet::new();
        let codes: Vec<ErrorCode> = leaving
            .iter()
            .map(|member| match self.leaving(member) {
                Ok(id) => {
                    members.insert(id);
                    ErrorCode::None
                }
                Err(refusal) => refusal.code,
            })
            .collect();
        let members: Vec<&ByteString> = members.into_iter().collect();
        let mut result = GroupResult::default();
        if !members.is_empty() {
            result = self.without(id, &members, around, config);
        }
        result
            .answers
            .push((ticket, leave::answer(version, leaving, &codes)));
        result
    }

    fn leaving(&self, member: &MemberIdentity) -> Result<&ByteString, Refusal> {
        let Some(instance_id) = &member.group_instance_id else {
            self.member_or_refusal(&member.member_id)?;
            let (id, _) = self
                .members
                .get_key_value(&member.member_id)
                .expect("it was just found");
            return Ok(id);
        };
        let unknown = || {
            let message = format!("Instance id {instance_id} is unknown.");
            Refusal::new(ErrorCode::UnknownMemberId, message)
        };
        let (id, _) = self.static_member(instance_id).ok_or_else(unknown)?;
        // Who does not know the id of the member names the instance alone.
        if !member.member_id.is_empty() {
            self.static_member_or_refusal(instance_id, &member.member_id)?;
        }
        Ok(id)
    }
}

impl GroupShard {
    pub(in crate::group) fn consumer_heartbeat(
        &self,
        around: &mut Surroundings<'_>,
        config: &GroupConfig,
        ticket: Ticket,
        heartbeat: &Heartbeat<'_>,
    ) -> GroupResult {
        let request = heartbeat.request;
        let known = self.groups.get_key_value(&*request.group_id);
        let id = known.map_or_else(|| Arc::from(&*request.group_id), |(id, _)| id.clone());
        let mut result = GroupResult::default();
        let upgraded;
        let group = match known.and_then(|(_, group)| group.consumer()) {
            Some(group) => Ok(Some(group)),
            None => match self.give_way(request, &id, around, config, &mut result) {
                Ok(group) => {
                    upgraded = group;
                    Ok(upgraded.as_ref())
                }
                Err(refusal) => Err(refusal),
            },
        };
        let heard = group.and_then(|group| {
            if let Some((group, member)) = group.and_then(|group| group.goes_over(request, config)) {
                let response = ConsumerGroupHeartbeatResponse {
                    member_id: Some(member.clone()),
                    member_epoch: LEAVE_EPOCH,
                    ..Default::default()
                };
                return Ok((group.without(&id, &[member], around, config), response));
            }
            Ok(super::heartbeat(group, around, config, heartbeat)?.of_group(&id))
        });
        let response = match heard {
            Ok((heard, response)) => {
                result.append(heard);
                response
            }
            Err(refusal) => {
                // A group that nobody came into stays what it was.
                result = GroupResult::default();
                refusal.into_heartbeat()
            }
        };
        result
            .answers
            .push((ticket, Answer::ConsumerGroupHeartbeat(response)));
        result
    }

    /// A classic group gives way to one of the consumer protocol, if it may: an empty one to nothing, another one to one with its
    /// members.
    fn give_way(
        &self,
        request: &ConsumerGroupHeartbeatRequest,
        id: &Arc<str>,
        around: &Surroundings<'_>,
        config: &GroupConfig,
        result: &mut GroupResult,
    ) -> Result<Option<ConsumerGroup>, Refusal> {
        let group_id = &request.group_id;
        let Some(classic) = self.as_classic(group_id) else {
            return Ok(None);
        };
        if request.member_epoch != 0 {
            let message = format!("Group {group_id} is not a consumer group.");
            return Err(Refusal::new(ErrorCode::GroupIdNotFound, message));
        }
        if classic.is_empty() {
            self.tombstone_of(group_id, &classic, result);
            return Ok(None);
        }
        let mut group = ConsumerGroup::new(group_id);
        let mut outcome = Outcome::new(());
        outcome.records = upgrade(&group.id, &classic, around.image, config)?;
        for record in &outcome.records {
            group.replay(record);
        }
        outcome.timers = group.timers(around.now, config);
        result.append(Turn::new(config, around.now, id.clone(), classic.into_owned()).dissolve());
        result.append(outcome.of_group(id).0);
        Ok(Some(group))
    }

    pub(in crate::group) fn describe_consumers(
        &self,
        image: &Image,
        config: &GroupConfig,
        ticket: Ticket,
        groups: &[ByteString],
    ) -> GroupResult {
        let described = groups.iter().map(|id| self.described(image, config, id));
        GroupResult::answer(ticket, Answer::ConsumerGroupDescribe(described.collect()))
    }

    fn described(&self, image: &Image, config: &GroupConfig, id: &ByteString) -> DescribedGroup {
        if id.is_empty() {
            return DescribedGroup {
                error_code: ErrorCode::InvalidGroupId.code(),
                ..Default::default()
            };
        }
        match self.groups.get(&**id).and_then(Group::consumer) {
            Some(group) => group.describe(image, config),
            None if self.as_classic(id).is_some() => {
                not_found(id, format!("Group {id} is not a consumer group."))
            }
            None => not_found(id, format!("Group {id} not found.")),
        }
    }

    /// The timer of a member rang.
    pub(in crate::group) fn consumer_timer(
        &self,
        around: &Surroundings<'_>,
        config: &GroupConfig,
        id: &Arc<str>,
        timer: &super::Timer,
    ) -> GroupResult {
        let group = self.groups.get(id).and_then(Group::consumer);
        match group.and_then(|group| Some((group, group.goes_by(timer)?))) {
            Some((group, member)) => group.without(id, &[member], around, config),
            None => GroupResult::default(),
        }
    }

    /// Regular expressions of a group are to be looked at again.
    pub(in crate::group) fn refresh_expressions(
        &self,
        around: &Surroundings<'_>,
        config: &GroupConfig,
        id: &Arc<str>,
    ) -> GroupResult {
        match self.groups.get(id).and_then(Group::consumer) {
            Some(group) => group.refresh(around.image, around.now, config).of_group(id).0,
            None => GroupResult::default(),
        }
    }

    /// The timers of the members of a group that was loaded.
    pub(in crate::group) fn consumer_timers(
        &self,
        id: &Arc<str>,
        group: &ConsumerGroup,
        now: TimestampMs,
        config: &GroupConfig,
    ) -> Vec<TimerChange<Timer>> {
        let mut outcome = Outcome::new(());
        outcome.timers = group.timers(now, config);
        outcome.of_group(id).0.timers
    }

    /// Groups take note of topics that have changed.
    pub(in crate::group) fn consumers_notice(&self, delta: &Delta) -> Vec<Volatile> {
        let changes = TopicChanges::of(delta);
        if changes.is_empty() {
            return Vec::new();
        }
        let groups = self.groups.iter();
        let groups = groups.filter_map(|(id, group)| Some((id, group.consumer()?)));
        let notes = groups.flat_map(|(id, group)| {
            let notes = group.on_topics(&changes).into_iter();
            notes.map(|note| Volatile::Consumer(id.clone(), note))
        });
        notes.collect()
    }

    /// Takes over a record of a consumer group; others change nothing.
    pub(in crate::group) fn replay_consumer(&mut self, record: &GroupRecord) {
        let Some((id, is_tombstone)) = ConsumerGroup::concerned(record) else {
            return;
        };
        match self.groups.get_mut(&**id) {
            Some(Group::Consumer(group)) => {
                if group.replay(record) == Replayed::Deleted {
                    self.groups.remove(&**id);
                }
            }
            _ if is_tombstone => {}
            other => {
                let mut group = Box::new(ConsumerGroup::new(id));
                group.replay(record);
                match other {
                    Some(other) => *other = Group::Consumer(group),
                    None => {
                        self.emptied.remove(&**id);
                        self.groups.insert((&**id).into(), Group::Consumer(group));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
