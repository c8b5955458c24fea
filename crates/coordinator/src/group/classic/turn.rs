//! How a decision changes a classic group: it works on a copy, gathers answers and timers, and gives the copy back.
//!
//! Always holds: whoever is taken out of the group, or whose wait is replaced by another one, gets an answer. A generation that
//! ends empty is recorded.
//!
//! Next: `join.rs`, which begins most rebalances.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use klamm_model::{ErrorCode, TimestampMs};
use klamm_protocol::messages::join_group_response::JoinGroupResponseMember;
use klamm_protocol::messages::{JoinGroupResponse, SyncGroupResponse};

use super::member::{JoinTicket, Member};
use super::{ClassicGroup, Initial, State};
use crate::contract::{Ticket, TimerChange};
use crate::group::answer::{Answer, refused_join};
use crate::group::config::GroupConfig;
use crate::group::shard::{GroupResult, Timer, Volatile};

/// See the head of the file.
pub(crate) struct Turn<'a> {
    pub(crate) config: &'a GroupConfig,
    pub(crate) now: TimestampMs,
    pub(crate) id: Arc<str>,
    pub(crate) group: ClassicGroup,
    /// The group is to be recorded as it is at the end.
    pub(crate) records: bool,
    answers: Vec<(Ticket, Answer)>,
    timers: Vec<TimerChange<Timer>>,
}

impl<'a> Turn<'a> {
    pub(crate) fn new(config: &'a GroupConfig, now: TimestampMs, id: Arc<str>, group: ClassicGroup) -> Self {
        Self {
            config,
            now,
            id,
            group,
            records: false,
            answers: Vec::new(),
            timers: Vec::new(),
        }
    }

    /// What was decided.
    pub(crate) fn done(self) -> GroupResult {
        let records = self.records.then(|| self.group.record(&self.id));
        GroupResult {
            records: records.into_iter().collect(),
            volatile: vec![Volatile::Classic(self.id, Box::new(self.group))],
            noted: usize::from(self.records),
            answers: self.answers,
            timers: self.timers,
            ..GroupResult::default()
        }
    }

    /// The group is to be one of another protocol: it is taken back, whoever waits is told to come again, and no timer is left.
    pub(crate) fn dissolve(mut self) -> GroupResult {
        let members: Vec<Member> = self.group.members.iter().cloned().collect();
        for member in members {
            self.dismiss(&member, &member.id, ErrorCode::RebalanceInProgress);
            self.end_session(member.id);
        }
        for pending in std::mem::take(&mut self.group.pending) {
            self.end_session(pending);
        }
        self.cancel_sync_timer();
        self.timers
            .push(TimerChange::Cancel(Timer::ClassicJoin(self.id.clone())));
        GroupResult {
            records: vec![super::record::tombstone(&self.id)],
            answers: self.answers,
            timers: self.timers,
            ..GroupResult::default()
        }
    }

    pub(crate) fn answer(&mut self, ticket: Ticket, answer: Answer) {
        self.answers.push((ticket, answer));
    }

    pub(crate) fn refuse_join(&mut self, join: JoinTicket, member_id: &str, code: ErrorCode) {
        let refused = refused_join(member_id, join.version, code);
        self.answer(join.ticket, Answer::JoinGroup(refused));
    }

    fn refuse_sync(&mut self, ticket: Ticket, code: ErrorCode) {
        let refused = SyncGroupResponse {
            error_code: code.code(),
            ..Default::default()
        };
        self.answer(ticket, Answer::SyncGroup(refused));
    }

    /// A member is to be heard of within its session timeout after it was told what is decided here.
    pub(crate) fn restart_session_when_told(&mut self, member_id: &str) {
        if let Some(member) = self.group.members.get(member_id) {
            let (id, timeout_ms) = (member.id.clone(), member.session_timeout_ms);
            self.start_session_when_told(id, timeout_ms);
        }
    }

    /// A member is to be heard of within a time from now on, whether it is told something or not.
    pub(crate) fn start_session(&mut self, member: Arc<str>, after_ms: i64) {
        let group = self.id.clone();
        let timer = Timer::ClassicSession { group, member };
        self.timers
            .push(TimerChange::At(timer, self.now.plus_ms(after_ms)));
    }

    /// A member, or somebody who was given an id, is to be heard of within a time after it was told what is decided here. It may be
    /// told late, and cannot be heard of before.
    pub(crate) fn start_session_when_told(&mut self, member: Arc<str>, timeout_ms: i32) {
        let group = self.id.clone();
        let timer = Timer::ClassicSession { group, member };
        self.timers
            .push(TimerChange::AfterAnswers(timer, millis(timeout_ms)));
    }

    fn end_session(&mut self, member: Arc<str>) {
        let group = self.id.clone();
        self.timers
            .push(TimerChange::Cancel(Timer::ClassicSession { group, member }));
    }

    fn end_joining_after(&mut self, after_ms: i64) {
        let timer = Timer::ClassicJoin(self.id.clone());
        self.timers
            .push(TimerChange::At(timer, self.now.plus_ms(after_ms)));
    }

    /// Members ask for their assignments once they were told of the generation.
    fn end_syncing_when_told(&mut self, timeout_ms: i32) {
        let timer = Timer::ClassicSync(self.id.clone());
        self.timers
            .push(TimerChange::AfterAnswers(timer, millis(timeout_ms)));
    }

    pub(crate) fn cancel_sync_timer(&mut self) {
        self.timers
            .push(TimerChange::Cancel(Timer::ClassicSync(self.id.clone())));
    }

    /// Takes a member out, or an id that was given; whatever a member waited for, it is told to begin anew.
    pub(crate) fn remove(&mut self, member_id: &str) {
        if let Some(pending) = self.group.pending.get(member_id).cloned() {
            self.end_session(pending);
        }
        if let Some(removed) = self.group.remove(member_id) {
            self.dismiss(&removed, "", ErrorCode::UnknownMemberId);
            self.end_session(removed.id.clone());
        }
    }

    /// Ends what waits under the id of a static member whose place was taken.
    pub(crate) fn fence(&mut self, replaced: &Member) {
        self.dismiss(replaced, &replaced.id, ErrorCode::FencedInstanceId);
        self.end_session(replaced.id.clone());
    }

    fn dismiss(&mut self, removed: &Member, told_id: &str, code: ErrorCode) {
        if let Some(join) = removed.join {
            self.refuse_join(join, told_id, code);
        }
        if let Some(sync) = removed.sync {
            self.refuse_sync(sync, code);
        }
    }

    /// Lets a member wait for the generation to begin; an earlier wait of it ends.
    pub(crate) fn await_join(&mut self, member_id: &str, join: JoinTicket) {
        let mut earlier = None;
        self.group
            .members
            .update(member_id, |member| earlier = member.join.replace(join));
        if let Some(earlier) = earlier {
            self.refuse_join(earlier, member_id, ErrorCode::RebalanceInProgress);
        }
    }

    /// Lets a member wait for its assignment; an earlier wait of it ends.
    pub(crate) fn await_sync(&mut self, member_id: &str, ticket: Ticket) {
        let mut earlier = None;
        self.group
            .members
            .update(member_id, |member| earlier = member.sync.replace(ticket));
        if let Some(earlier) = earlier {
            self.refuse_sync(earlier, ErrorCode::RebalanceInProgress);
        }
    }

    /// Somebody came, went, or wants something else.
    pub(crate) fn rebalance_or_complete(&mut self) {
        if self.group.is_preparing() {
            self.complete_join_if_all_here();
        } else {
            self.prepare_rebalance();
        }
    }

    /// Ends the wait for members if there is nobody to wait for, except in an empty group's first rebalance: it waits its time.
    pub(crate) fn complete_join_if_all_here(&mut self) {
        if self.group.state == State::Preparing(None) && self.group.all_joined() {
            self.complete_join();
        }
    }

    /// All members are to join again.
    pub(crate) fn prepare_rebalance(&mut self) {
        if self.group.state == State::Completing {
            self.spread_assignment(ErrorCode::RebalanceInProgress, |_| Bytes::new());
        }
        if self.group.members.owing_sync() > 0 {
            self.group.members.update_all(|member| member.owes_sync = false);
        }
        self.cancel_sync_timer();
        if self.group.is_empty() {
            let delay_ms = i64::try_from(self.config.initial_rebalance_delay.as_millis()).unwrap_or(i64::MAX);
            let initial = Initial {
                delay_ms,
                remaining_ms: (i64::from(self.group.rebalance_timeout_ms()) - delay_ms).max(0),
                joined: false,
            };
            self.group.enter(State::Preparing(Some(initial)), self.now);
            self.end_joining_after(delay_ms);
            return;
        }
        self.group.enter(State::Preparing(None), self.now);
        if self.group.all_joined() {
            self.complete_join();
        } else {
            self.end_joining_after(i64::from(self.group.rebalance_timeout_ms()));
        }
    }

    /// The members of what was a consumer group are to join for the first time. Each was told its own favourite protocol, and has its
    /// own epoch: no protocol says that (`ClassicGroup::is_of_generation`).
    pub(crate) fn rebalance_what_came_over(&mut self) {
        self.group.protocol = None;
        self.prepare_rebalance();
    }

    /// The time to wait for members is up; in an empty group's first rebalance, it is prolonged while members come.
    pub(crate) fn join_time_is_up(&mut self) {
        match self.group.state {
            State::Preparing(Some(initial)) if initial.joined && initial.remaining_ms > 0 => {
                let delay =
                    i64::try_from(self.config.initial_rebalance_delay.as_millis()).unwrap_or(i64::MAX);
                let delay_ms = delay.min(initial.remaining_ms);
                self.group.state = State::Preparing(Some(Initial {
                    delay_ms,
                    remaining_ms: (initial.remaining_ms - initial.delay_ms).max(0),
                    joined: false,
                }));
                self.end_joining_after(delay_ms);
            }
            State::Preparing(_) => self.complete_join(),
            State::Empty | State::Completing | State::Stable => {}
        }
    }

    /// The next generation begins with those who have joined, and with static members, who may come later.
    pub(crate) fn complete_join(&mut self) {
        self.timers
            .push(TimerChange::Cancel(Timer::ClassicJoin(self.id.clone())));
        let absent = |member: &&Member| member.join.is_none() && member.instance_id.is_none();
        let absent: Vec<_> = self
            .group
            .members
            .iter()
            .filter(absent)
            .map(|member| member.id.clone())
            .collect();
        for member_id in absent {
            self.remove(&member_id);
        }
        if !self.group.elect_leader() && !self.group.members.is_empty() {
            // There are only static members, and none of them has come: their sessions will end.
            self.end_joining_after(i64::from(self.group.rebalance_timeout_ms()));
            return;
        }
        self.group.begin_generation(self.now);
        if self.group.is_empty() {
            self.records = true;
            return;
        }
        let mut joined = Vec::new();
        self.group.members.update_all(|member| {
            joined.push((member.id.clone(), member.join.take(), member.session_timeout_ms));
            member.is_new = false;
            member.owes_sync = true;
        });
        for (member_id, join, session_timeout_ms) in joined {
            if let Some(join) = join {
                let answer = self.group.joined(&member_id, join.version);
                self.answer(join.ticket, Answer::JoinGroup(answer));
                self.start_session_when_told(member_id, session_timeout_ms);
            } else {
                self.start_session(member_id, i64::from(session_timeout_ms));
            }
        }
        self.end_syncing_when_told(self.group.rebalance_timeout_ms());
    }

    /// The time in which every member of the generation was to ask for its assignment is up.
    pub(crate) fn sync_time_is_up(&mut self) {
        if !matches!(self.group.state, State::Completing | State::Stable)
            || self.group.members.owing_sync() == 0
        {
            return;
        }
        let owing = self.group.members.iter().filter(|member| member.owes_sync);
        let owing: Vec<_> = owing.map(|member| member.id.clone()).collect();
        for member_id in owing {
            self.remove(&member_id);
        }
        self.prepare_rebalance();
    }

    /// The assignment cannot be recorded: who waits for it is told so, and all join again.
    pub(crate) fn assignment_unwritten(&mut self, code: ErrorCode) {
        if self.group.state == State::Completing {
            self.spread_assignment(code, |_| Bytes::new());
            self.prepare_rebalance();
        }
    }

    /// Gives every member its assignment, or an error in its place, and tells those who wait for it.
    pub(crate) fn spread_assignment(&mut self, code: ErrorCode, of: impl Fn(&str) -> Bytes) {
        let mut waiting = Vec::new();
        self.group.members.update_all(|member| {
            member.assignment = of(&member.id);
            if let Some(ticket) = member.sync.take() {
                waiting.push((ticket, member.id.clone(), member.session_timeout_ms));
            }
        });
        for (ticket, member_id, session_timeout_ms) in waiting {
            if code.is_none() {
                let answer = self.group.synced(&member_id);
                self.answer(ticket, Answer::SyncGroup(answer));
            } else {
                self.refuse_sync(ticket, code);
            }
            self.start_session_when_told(member_id, session_timeout_ms);
        }
    }
}

/// A timeout of a member; one that was recorded may be anything.
pub(crate) fn millis(timeout_ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0))
}

impl ClassicGroup {
    /// What a member is told of the generation; the leader also gets to know all members.
    pub(crate) fn joined(&self, member_id: &str, version: i16) -> JoinGroupResponse {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let members = if self.is_leader(member_id) {
            self.members
                .iter()
                .map(|member| JoinGroupResponseMember {
                    member_id: (&*member.id).into(),
                    group_instance_id: member.instance_id.as_deref().map(Into::into),
                    metadata: member.metadata(protocol),
                    ..Default::default()
                })
                .collect()
        } else {
            Vec::new()
        };
        JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: self.protocol_type.as_deref().map(Into::into),
            protocol_name: self
                .protocol
                .as_deref()
                .or((version < 7).then_some(""))
                .map(Into::into),
            leader: self.leader.as_deref().unwrap_or_default().into(),
            member_id: member_id.into(),
            members,
            ..Default::default()
        }
    }

    /// What a member is told of its assignment.
    pub(crate) fn synced(&self, member_id: &str) -> SyncGroupResponse {
        let assignment = self
            .members
            .get(member_id)
            .map(|member| member.assignment.clone());
        SyncGroupResponse {
            protocol_type: self.protocol_type.as_deref().map(Into::into),
            protocol_name: self.protocol.as_deref().map(Into::into),
            assignment: assignment.unwrap_or_default(),
            ..Default::default()
        }
    }
}
