//! What the shard does for groups of the consumer protocol: it finds the group, and carries what was decided into its own terms.
//!
//! Always holds: a group of the classic protocol that has no members gives way to the first member of the consumer protocol, and
//! the other way round; what was recorded of it is taken back in the same decision.
//!
//! Next: `heartbeat.rs`.

use std::collections::BTreeSet;
use std::sync::Arc;

use klamm_metadata::{Delta, Image};
use klamm_model::{ErrorCode, TimestampMs};
use klamm_protocol::ByteString;
use klamm_protocol::messages::LeaveGroupRequest;
use klamm_protocol::messages::consumer_group_describe_response::DescribedGroup;
use klamm_protocol::messages::leave_group_request::MemberIdentity;

use super::{ConsumerGroup, Heartbeat, MemberTimer, Outcome, Refusal, Replayed, TopicChanges, not_found};
use crate::contract::{Surroundings, Ticket, TimerChange};
use crate::group::answer::Answer;
use crate::group::classic::join::{Found, Join};
use crate::group::classic::leave;
use crate::group::config::GroupConfig;
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
            TimerChange::Cancel(key) => TimerChange::Cancel(timer(key)),
        });
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
    /// Members leave by LeaveGroup: those of the classic protocol, and any that an administrator takes out.
    pub(in crate::group) fn leave_classic(
        &self,
        id: &Arc<str>,
        image: &Image,
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
        let mut outcome = Outcome::new(());
        if !members.is_empty() {
            self.fence(&members.into_iter().collect::<Vec<_>>(), image, &mut outcome);
        }
        let (mut result, ()) = outcome.of_group(id);
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
        let id = &*heartbeat.request.group_id;
        let mut result = GroupResult::default();
        let decided = match self.groups.get(id).and_then(Group::consumer) {
            Some(group) => super::heartbeat(Some(group), around, config, heartbeat),
            None => match self.give_way(heartbeat, &mut result) {
                Ok(()) => super::heartbeat(None, around, config, heartbeat),
                Err(refusal) => Err(refusal),
            },
        };
        let response = match decided {
            Ok(outcome) => {
                let id = self
                    .groups
                    .get_key_value(id)
                    .map_or_else(|| id.into(), |(id, _)| id.clone());
                let (heard, response) = outcome.of_group(&id);
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

    /// A classic group gives way to one of the consumer protocol, if it may.
    fn give_way(&self, heartbeat: &Heartbeat<'_>, result: &mut GroupResult) -> Result<(), Refusal> {
        let id = &heartbeat.request.group_id;
        let Some(classic) = self.as_classic(id) else {
            return Ok(());
        };
        let refused = |message| Refusal::new(ErrorCode::GroupIdNotFound, message);
        if heartbeat.request.member_epoch != 0 {
            return Err(refused(format!("Group {id} is not a consumer group.")));
        }
        if !classic.is_empty() {
            return Err(refused(format!(
                "Cannot upgrade classic group {id} to consumer group because online upgrade is disabled."
            )));
        }
        self.tombstone_of(id, &classic, result);
        Ok(())
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
        group: &Arc<str>,
        timer: &super::Timer,
    ) -> GroupResult {
        let consumers = self.groups.get(group).and_then(Group::consumer);
        let outcome = consumers.and_then(|consumers| consumers.on_timer(around, timer));
        outcome.map_or_else(GroupResult::default, |outcome| outcome.of_group(group).0)
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

    /// A member of the classic protocol wants to join. A group without members gives way.
    pub(in crate::group) fn join_consumers(
        &self,
        around: &mut Surroundings<'_>,
        config: &GroupConfig,
        group: &ConsumerGroup,
        join: Join<'_>,
    ) -> GroupResult {
        if !group.is_empty() {
            return join.refused(ErrorCode::InconsistentGroupProtocol);
        }
        let tombstones = group.tombstones();
        let known_by_name = !join.request.member_id.is_empty();
        let mut result = join.decide(Found::Nowhere, around, config);
        if !known_by_name && !result.records.is_empty() {
            result.records.splice(0..0, tombstones);
        }
        result
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
                        self.groups.insert((&**id).into(), Group::Consumer(group));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
