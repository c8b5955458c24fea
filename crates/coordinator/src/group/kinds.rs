//! Where a request goes, by the kind of its group.
//!
//! Always holds: a group that has offsets and nothing else is treated as a classic group without members.
//!
//! Next: `classic.rs`, `offsets.rs`; `sweep.rs` for what goes by itself.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use klamm_metadata::Image;
use klamm_model::{ErrorCode, Offset, TimestampMs};
use klamm_protocol::ByteString;
use klamm_protocol::coordinator_records::{OffsetCommitKey, OffsetCommitValue};
use klamm_protocol::messages::delete_groups_response::DeletableGroupResult;
use klamm_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use klamm_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use klamm_protocol::messages::{
    HeartbeatRequest, LeaveGroupRequest, ListGroupsRequest, ListGroupsResponse, OffsetCommitRequest,
    OffsetDeleteRequest, OffsetDeleteResponse, SyncGroupRequest, TxnOffsetCommitRequest,
};

use super::answer::Answer;
use super::classic::join::{Found, Join};
use super::classic::turn::Turn;
use super::classic::{ClassicGroup, State, heartbeat, leave, record, sync};
use super::config::GroupConfig;
use super::consumer::CommitCheck;
use super::describe::{Filter, describe_missing};
use super::offsets::commit::{self, Committer};
use super::record::GroupRecord;
use super::request::Request;
use super::shard::{Group, GroupResult, GroupShard, Timer};
use crate::contract::{Answer as _, Surroundings, Ticket, TimerChange, TransactionalProducer};

impl GroupShard {
    /// The group as one of the classic protocol, if it is there and may be taken for one.
    pub(super) fn as_classic(&self, id: &str) -> Option<Cow<'_, ClassicGroup>> {
        match self.groups.get(id) {
            Some(Group::Classic(group)) => Some(Cow::Borrowed(group)),
            Some(Group::Consumer(_)) => None,
            None => self.has_been_committed_to(id).then(Cow::default),
        }
    }

    /// Whether there are offsets of a group, or have been since the last sweep.
    fn has_been_committed_to(&self, id: &str) -> bool {
        self.offsets.has(id) || self.emptied.contains(id)
    }

    pub(super) fn replay_offset(
        &mut self,
        offset: Offset,
        producer: Option<TransactionalProducer>,
        key: &OffsetCommitKey,
        value: Option<&OffsetCommitValue>,
    ) {
        let had = value.is_none() && self.offsets.has(&key.group);
        self.offsets.replay(offset, producer, key, value);
        if value.is_some() {
            self.emptied.remove(&*key.group);
        } else if had {
            self.note_emptied(&key.group);
        }
    }

    /// Some offsets of a group are gone.
    pub(super) fn note_emptied(&mut self, id: &str) {
        if !self.groups.contains_key(id) && !self.offsets.has(id) {
            self.emptied.insert(id.into());
        }
    }

    pub(super) fn join(
        &self,
        around: &mut Surroundings<'_>,
        config: &GroupConfig,
        join: Join<'_>,
    ) -> GroupResult {
        let found = match self.groups.get_key_value(&*join.request.group_id) {
            Some((id, Group::Classic(group))) => Found::Recorded(id.clone(), group),
            Some((id, Group::Consumer(group))) => return group.join(id, around, config, join),
            None if self.has_been_committed_to(&join.request.group_id) => Found::OffsetsOnly,
            None => Found::Nowhere,
        };
        join.decide(found, around, config)
    }

    pub(super) fn sync(
        &self,
        around: &Surroundings<'_>,
        config: &GroupConfig,
        ticket: Ticket,
        request: &SyncGroupRequest,
    ) -> GroupResult {
        match self.groups.get_key_value(&*request.group_id) {
            Some((id, Group::Classic(group))) => group.sync(id, around.now, config, ticket, request),
            Some((id, Group::Consumer(group))) => group.sync(id, around, ticket, request),
            None => GroupResult::answer(ticket, sync::refused(ErrorCode::UnknownMemberId)),
        }
    }

    pub(super) fn heartbeat(
        &self,
        around: &Surroundings<'_>,
        config: &GroupConfig,
        ticket: Ticket,
        request: &HeartbeatRequest,
    ) -> GroupResult {
        match self.groups.get_key_value(&*request.group_id) {
            Some((id, Group::Classic(group))) => group.heartbeat(id, ticket, request),
            Some((id, Group::Consumer(group))) => group.heartbeat(id, around, config, ticket, request),
            None => GroupResult::answer(ticket, heartbeat::answer(ErrorCode::UnknownMemberId)),
        }
    }

    pub(super) fn leave(
        &self,
        around: &Surroundings<'_>,
        config: &GroupConfig,
        ticket: Ticket,
        (version, request): (i16, &LeaveGroupRequest),
    ) -> GroupResult {
        match self.groups.get_key_value(&*request.group_id) {
            Some((id, Group::Classic(group))) => {
                group.leave(id, around.now, config, ticket, (version, request))
            }
            Some((id, Group::Consumer(group))) => {
                group.leave_group(id, around, config, ticket, (version, request))
            }
            None => GroupResult::answer(ticket, leave::unknown(version, request)),
        }
    }

    fn check_commit(
        &self,
        group: &str,
        version: i16,
        by: Committer<'_>,
    ) -> Result<CommitCheck<'_>, ErrorCode> {
        let checked = match self.groups.get(group) {
            Some(Group::Consumer(consumers)) => return consumers.check_commit(&by, version),
            Some(Group::Classic(classic)) => classic.check_commit(by),
            None if by.generation < 0 => Ok(()),
            None if self.has_been_committed_to(group) => ClassicGroup::default().check_commit(by),
            None => Err(commit::no_such_group(version, by.transactional)),
        };
        checked.map(|()| CommitCheck::All)
    }

    pub(super) fn commit(
        &self,
        now: TimestampMs,
        config: &GroupConfig,
        ticket: Ticket,
        (version, request): (i16, &Arc<OffsetCommitRequest>),
    ) -> GroupResult {
        let by = Committer::of(request);
        let committed = self
            .check_commit(&request.group_id, version, by)
            .and_then(|check| commit::commit(request, now, config, |topic, at| check.partition(&topic, at)));
        let (records, answer) = match committed {
            Ok(committed) => committed,
            Err(code) => {
                let shape = Request::OffsetCommit {
                    version,
                    request: request.clone(),
                }
                .shape();
                return GroupResult::answer(ticket, Answer::refused(&shape, code));
            }
        };
        // Who commits shows that it lives.
        let session = match self.groups.get_key_value(&*request.group_id) {
            Some((id, Group::Classic(group)))
                if matches!(group.state, State::Stable | State::Preparing(_)) =>
            {
                group.session(id, by.member_id)
            }
            Some((_, Group::Classic(_) | Group::Consumer(_))) | None => None,
        };
        GroupResult {
            records,
            timers: session.into_iter().collect(),
            ..GroupResult::answer(ticket, Answer::OffsetCommit(answer))
        }
    }

    pub(super) fn commit_in_transaction(
        &self,
        now: TimestampMs,
        config: &GroupConfig,
        ticket: Ticket,
        (version, request): (i16, &Arc<TxnOffsetCommitRequest>),
    ) -> GroupResult {
        let by = Committer::of_transaction(request);
        let committed = self
            .check_commit(&request.group_id, version, by)
            .and_then(|check| {
                let allowed = |topic, partition| check.partition(&topic, partition);
                commit::commit_in_transaction(request, now, config, allowed)
            })
            .map_err(|code| commit::told_in_transaction(code, version));
        match committed {
            Ok((records, answer)) => GroupResult {
                records,
                producer: Some(commit::producer(request)),
                ..GroupResult::answer(ticket, Answer::TxnOffsetCommit(answer))
            },
            Err(code) => {
                let shape = Request::TxnOffsetCommit {
                    version,
                    request: request.clone(),
                }
                .shape();
                GroupResult::answer(ticket, Answer::refused(&shape, code))
            }
        }
    }

    fn check_fetch(&self, request: &OffsetFetchRequestGroup) -> Result<(), ErrorCode> {
        match self.groups.get(&*request.group_id).and_then(Group::consumer) {
            Some(group) => group.check_fetch(request.member_id.as_deref(), request.member_epoch),
            None => Ok(()),
        }
    }

    pub(super) fn fetch(
        &self,
        image: &Image,
        ticket: Ticket,
        require_stable: bool,
        group: &OffsetFetchRequestGroup,
    ) -> GroupResult {
        let fetched = match self.check_fetch(group) {
            Ok(()) => self.offsets.fetch(image, group, require_stable),
            Err(code) => OffsetFetchResponseGroup {
                group_id: group.group_id.clone(),
                error_code: code.code(),
                ..Default::default()
            },
        };
        GroupResult::answer(ticket, Answer::OffsetFetch(fetched))
    }

    pub(super) fn delete_offsets(&self, ticket: Ticket, request: &OffsetDeleteRequest) -> GroupResult {
        let consumers = self.groups.get(&*request.group_id).and_then(Group::consumer);
        let deleted = match self.as_classic(&request.group_id) {
            None if let Some(group) = consumers => Ok(self
                .offsets
                .delete(request, |topic| group.is_subscribed_to(topic))),
            None => Err(ErrorCode::GroupIdNotFound),
            Some(group) if !group.is_empty() && !group.is_of_consumers() => Err(ErrorCode::NonEmptyGroup),
            Some(group) => {
                let subscribed = group.subscribed();
                Ok(self.offsets.delete(request, |topic| subscribed.may_want(topic)))
            }
        };
        let (records, answer) = deleted.unwrap_or_else(|code| {
            let answer = OffsetDeleteResponse {
                error_code: code.code(),
                ..Default::default()
            };
            (Vec::new(), answer)
        });
        GroupResult {
            records,
            ..GroupResult::answer(ticket, Answer::OffsetDelete(answer))
        }
    }

    pub(super) fn describe(&self, ticket: Ticket, version: i16, groups: &[ByteString]) -> GroupResult {
        let described = groups.iter().map(|id| match self.as_classic(id) {
            Some(group) => group.describe(id),
            None => describe_missing(version, id, self.groups.contains_key(&**id)),
        });
        GroupResult::answer(ticket, Answer::DescribeGroups(described.collect()))
    }

    pub(super) fn list(&self, ticket: Ticket, request: &ListGroupsRequest) -> GroupResult {
        let filter = Filter::of(request);
        let recorded = self.groups.iter().filter_map(|(id, group)| match group {
            Group::Classic(group) => {
                let protocol_type = group.protocol_type.as_deref().unwrap_or_default();
                filter.listed(id, "classic", group.state.name(), protocol_type)
            }
            Group::Consumer(group) => filter.listed(id, "consumer", group.state().name(), "consumer"),
        });
        let others = self.with_offsets_only().into_iter();
        let others = others.filter_map(|id| filter.listed(id, "classic", State::Empty.name(), ""));
        let answer = ListGroupsResponse {
            groups: recorded.chain(others).collect(),
            ..Default::default()
        };
        GroupResult::answer(ticket, Answer::ListGroups(answer))
    }

    /// Groups of which there are, or have been, offsets and nothing else.
    fn with_offsets_only(&self) -> BTreeSet<&Arc<str>> {
        let committed = self.offsets.groups().map(|(id, _)| id);
        let all = committed
            .chain(self.offsets.pending().groups())
            .chain(&self.emptied);
        all.filter(|id| !self.groups.contains_key(&***id)).collect()
    }

    pub(super) fn delete_groups(&self, ticket: Ticket, groups: &[ByteString]) -> GroupResult {
        let mut result = GroupResult {
            // A deletion that is half done may be asked for again.
            atomic: false,
            ..GroupResult::default()
        };
        let mut seen = BTreeSet::new();
        let mut results = Vec::with_capacity(groups.len());
        for id in groups.iter().filter(|id| seen.insert(&***id)) {
            let code = match self.as_classic(id) {
                None => self.delete_consumers(id, &mut result.records),
                Some(group) if !group.is_empty() => ErrorCode::NonEmptyGroup,
                Some(group) => {
                    self.offsets.delete_all(id, &mut result.records);
                    self.tombstone_of(id, &group, &mut result);
                    ErrorCode::None
                }
            };
            results.push(DeletableGroupResult {
                group_id: id.clone(),
                error_code: code.code(),
                ..Default::default()
            });
        }
        result.answers.push((ticket, Answer::DeleteGroups(results)));
        result
    }

    fn delete_consumers(&self, id: &str, records: &mut Vec<GroupRecord>) -> ErrorCode {
        match self.groups.get(id) {
            Some(Group::Consumer(group)) if group.is_empty() => {
                self.offsets.delete_all(id, records);
                records.extend(group.tombstones());
                ErrorCode::None
            }
            Some(Group::Consumer(_)) => ErrorCode::NonEmptyGroup,
            Some(Group::Classic(_)) | None => ErrorCode::GroupIdNotFound,
        }
    }

    /// Takes an empty group back, whether it was recorded or had offsets only.
    pub(super) fn tombstone_of(&self, id: &str, group: &ClassicGroup, result: &mut GroupResult) {
        result.records.push(record::tombstone(id));
        let Some((id, _)) = self.groups.get_key_value(id) else {
            return;
        };
        result.timers.extend(group.pending.iter().map(|member| {
            TimerChange::Cancel(Timer::ClassicSession {
                group: id.clone(),
                member: member.clone(),
            })
        }));
    }

    /// A decision that changes a classic group, if it is one.
    pub(super) fn turn(
        &self,
        now: TimestampMs,
        config: &GroupConfig,
        id: &Arc<str>,
        change: fn(&mut Turn<'_>),
    ) -> GroupResult {
        match self.groups.get(id) {
            Some(Group::Classic(group)) => {
                let mut turn = Turn::new(config, now, id.clone(), ClassicGroup::clone(group));
                change(&mut turn);
                turn.done()
            }
            Some(Group::Consumer(_)) | None => GroupResult::default(),
        }
    }

    /// What a leader has assigned cannot be recorded.
    pub(super) fn assignment_unwritten(
        &self,
        now: TimestampMs,
        config: &GroupConfig,
        id: &Arc<str>,
        code: ErrorCode,
    ) -> GroupResult {
        match self.groups.get(id) {
            Some(Group::Classic(group)) => {
                let mut turn = Turn::new(config, now, id.clone(), ClassicGroup::clone(group));
                turn.assignment_unwritten(code);
                turn.done()
            }
            Some(Group::Consumer(_)) | None => GroupResult::default(),
        }
    }

    /// Starts the sessions of all members again; whoever is not heard of is gone.
    pub(super) fn start_all(&self, now: TimestampMs, config: &GroupConfig) -> GroupResult {
        let wait_ms = i64::try_from(config.offsets_retention_check_interval.as_millis()).unwrap_or(i64::MAX);
        let mut result = GroupResult {
            atomic: false,
            timers: vec![TimerChange::At(Timer::ExpireOffsets, now.plus_ms(wait_ms))],
            ..GroupResult::default()
        };
        for (id, group) in &self.groups {
            match group {
                Group::Classic(group) => {
                    let members = group.members.iter();
                    result
                        .timers
                        .extend(members.filter_map(|member| group.session(id, &member.id)));
                    if group.lacks_leader() {
                        result.append(self.turn(now, config, id, |turn| turn.rebalance_what_came_over()));
                    } else if group.members.len() > config.max_size {
                        result.append(self.turn(now, config, id, |turn| turn.prepare_rebalance()));
                    }
                }
                Group::Consumer(group) => result.timers.extend(self.consumer_timers(id, group, now, config)),
            }
        }
        result
    }
}
