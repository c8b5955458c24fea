//! Members of the classic protocol in a consumer group, while it changes from one protocol to the other.
//!
//! To such a member its epoch is the generation. When there is something new for it, its heartbeat is answered
//! REBALANCE_IN_PROGRESS, it joins with what it still has, and is told at its SyncGroup what it has now; nobody leads, and nobody
//! waits for the others. A JoinGroup makes the next target as a heartbeat of the consumer protocol does.
//!
//! Always holds: the rule of `reconcile.rs` holds for all members alike. Where only members of the classic protocol are there, one of them
//! is told to join when there is a target to be made. A member that is told to join, and one that has joined,
//! does what is next within its rebalance timeout, or is fenced.
//!
//! Next: `migration.rs` for how a group of one protocol becomes one of the other.

use klamm_metadata::Image;
use klamm_model::{ErrorCode, TimestampMs};
use klamm_protocol::ByteString;
use klamm_protocol::messages::{
    ConsumerGroupHeartbeatRequest, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, SyncGroupRequest,
    SyncGroupResponse,
};

use super::embedded::{self, Malformed};
use super::member::{ClassicMember, Current, Member, MemberState, STATIC_LEAVE_EPOCH, Subscription, copied};
use super::metadata::position;
use super::turn::membership::check_size;
use super::turn::{Said, Taken, Turn, may_assign};
use super::{ConsumerGroup, MemberTimer, Note, Outcome, metadata_hash};
use crate::contract::TimerChange;
use crate::group::classic::CONSUMER;
use crate::group::classic::join::Join;
use crate::group::classic::member::Protocol;
use crate::group::classic::turn::millis;
use crate::group::config::GroupConfig;
use crate::group::record::GroupRecord;

/// From this version on, a member without an id has to come again with the one that it is told (KIP-394).
const KNOWS_ITS_ID: i16 = 4;

/// What came of a JoinGroup.
pub(super) struct Joined {
    pub(super) outcome: Outcome<JoinGroupResponse>,
    /// What the member has said of itself.
    pub(super) subscription: Subscription,
    /// Whether it has all that it is to have, and nobody is to have anything else because of it.
    pub(super) is_settled: bool,
}

impl ClassicMember {
    fn of(request: &JoinGroupRequest) -> Self {
        let protocols = Protocol::copied(&request.protocols);
        Self {
            session_timeout_ms: request.session_timeout_ms,
            protocols: protocols
                .iter()
                .map(|own| ((&*own.name).into(), own.metadata.clone()))
                .collect(),
        }
    }
}

impl ConsumerGroup {
    /// Whether a member that speaks these protocols fits in: all members of the classic protocol speak one of them.
    pub(super) fn accepts_classic(&self, request: &JoinGroupRequest) -> bool {
        let mut protocols = request.protocols.iter();
        request.protocol_type == CONSUMER && protocols.any(|protocol| self.speakers.all_speak(&protocol.name))
    }

    /// A member of the classic protocol joins, or joins again.
    pub(super) fn join_classic(
        &self,
        (image, now): (&Image, TimestampMs),
        config: &GroupConfig,
        join: &Join<'_>,
        member_id: &ByteString,
    ) -> Result<Joined, ErrorCode> {
        let request = join.request;
        let instance_id = request.group_instance_id.as_ref();
        check_size(self, config, &request.member_id, instance_id).map_err(|refusal| refusal.code)?;
        if !self.accepts_classic(request) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        let is_unknown = request.member_id.is_empty();
        if is_unknown && request.group_instance_id.is_none() && join.ticket.version >= KNOWS_ITS_ID {
            return Err(ErrorCode::MemberIdRequired);
        }
        let classic = ClassicMember::of(request);
        let (protocol, metadata) = classic
            .protocols
            .first()
            .ok_or(ErrorCode::InconsistentGroupProtocol)?;
        let protocol_name = protocol.clone();
        let subscription =
            embedded::subscription(metadata).map_err(|Malformed| ErrorCode::InconsistentGroupProtocol)?;
        let said = ConsumerGroupHeartbeatRequest {
            group_id: request.group_id.clone(),
            member_id: member_id.clone(),
            member_epoch: self.member(member_id).map_or(0, |member| member.current.epoch),
            instance_id: request.group_instance_id.clone(),
            rack_id: subscription.rack_id.clone().filter(|rack| !rack.is_empty()),
            rebalance_timeout_ms: rebalance_timeout_ms(request),
            topic_partitions: Some(embedded::owned(&subscription, image)),
            subscribed_topic_names: Some(subscription.topics),
            subscribed_topic_regex: Some(ByteString::new()),
            ..Default::default()
        };
        let said = Said {
            client: join.client,
            request: &said,
            // Who names the instance and its id is that member, or nobody.
            joins: is_unknown || request.group_instance_id.is_none(),
            classic: Some(classic),
        };
        let turn = Turn::new(self, (image, now), config, said, member_id).map_err(|refusal| refusal.code)?;
        let taken = turn.take().map_err(|refusal| refusal.code)?;
        let subscription = taken.subscription().clone();
        let is_settled = self.is_settled_after(&taken);
        let response = JoinGroupResponse {
            generation_id: taken.current().epoch,
            protocol_type: Some(CONSUMER.into()),
            protocol_name: Some(protocol_name),
            member_id: member_id.clone(),
            ..Default::default()
        };
        let mut outcome = taken.outcome.answered(response);
        outcome.timers.extend(joined_timers(member_id, request));
        outcome.notes.push(Note::Joined(member_id.clone()));
        Ok(Joined {
            outcome,
            subscription,
            is_settled,
        })
    }

    /// Whether a member that has joined has all that it is to have, and nobody is to have anything else because of it.
    fn is_settled_after(&self, joined: &Taken<'_>) -> bool {
        let grows = |record: &GroupRecord| matches!(record, GroupRecord::ConsumerGroup(..));
        self.target.epoch == self.epoch
            && joined.current().is_reconciled_to(self.epoch)
            && !joined.outcome.records.iter().any(grows)
    }

    /// The member that a request of the classic protocol comes from, and what it said when it joined.
    fn classic_member(
        &self,
        member_id: &str,
        instance_id: Option<&ByteString>,
        generation: i32,
    ) -> Result<(&Member, &ClassicMember), ErrorCode> {
        let member = match instance_id {
            None => self.member_or_refusal(member_id),
            Some(instance_id) => self.static_member_or_refusal(instance_id, member_id),
        };
        let member = member.map_err(|refusal| refusal.code)?;
        let classic = member
            .subscription
            .classic
            .as_ref()
            .ok_or(ErrorCode::UnknownMemberId)?;
        if generation != member.current.epoch {
            return Err(ErrorCode::IllegalGeneration);
        }
        Ok((member, classic))
    }

    /// A member of the classic protocol asks what it has. What it is told then comes with a refusal, too: it is to join.
    pub(super) fn sync_classic(
        &self,
        image: &Image,
        request: &SyncGroupRequest,
    ) -> Outcome<SyncGroupResponse> {
        let refused = |code: ErrorCode| SyncGroupResponse {
            error_code: code.code(),
            ..Default::default()
        };
        let instance_id = request.group_instance_id.as_ref();
        let found = self.classic_member(&request.member_id, instance_id, request.generation_id);
        let (member, classic) = match found {
            Ok(found) => found,
            Err(code) => return Outcome::new(refused(code)),
        };
        // Its favourite, which it was told here, or any other one that it speaks: a classic group, which this was, may have chosen that.
        let named = request.protocol_name.as_ref();
        let mut spoken = classic.protocols.iter();
        let Some((_, said)) = spoken.find(|(name, _)| named.is_none_or(|named| named == name)) else {
            return Outcome::new(refused(ErrorCode::InconsistentGroupProtocol));
        };
        if request
            .protocol_type
            .as_deref()
            .is_some_and(|given| given != CONSUMER)
        {
            return Outcome::new(refused(ErrorCode::InconsistentGroupProtocol));
        }
        let current = &member.current;
        let member_id = copied(&request.member_id);
        if self.target.epoch > current.epoch && current.state != MemberState::UnrevokedPartitions {
            let mut outcome = Outcome::new(refused(ErrorCode::RebalanceInProgress));
            self.await_join(&member_id, member, &mut outcome);
            return outcome;
        }
        let has = current.assigned.iter();
        let has = has.map(|(topic, held)| (*topic, held.iter().map(|held| held.partition).collect()));
        let Ok(assignment) = embedded::told(has, said, image) else {
            return Outcome::new(refused(ErrorCode::InconsistentGroupProtocol));
        };
        let mut outcome = Outcome::new(SyncGroupResponse {
            protocol_type: request.protocol_type.clone(),
            protocol_name: request.protocol_name.clone(),
            assignment,
            ..Default::default()
        });
        outcome
            .timers
            .push(TimerChange::Cancel((member_id.clone(), MemberTimer::Sync)));
        outcome.timers.push(session(member_id, classic));
        outcome
    }

    /// A member of the classic protocol lives.
    pub(super) fn heartbeat_classic(
        &self,
        around: (&Image, TimestampMs),
        config: &GroupConfig,
        request: &HeartbeatRequest,
    ) -> Outcome<ErrorCode> {
        let instance_id = request.group_instance_id.as_ref();
        let found = self.classic_member(&request.member_id, instance_id, request.generation_id);
        let (member, classic) = match found {
            Ok(found) => found,
            Err(code) => return Outcome::new(code),
        };
        let member_id = copied(&request.member_id);
        let mut outcome = Outcome::new(ErrorCode::None);
        outcome.timers.push(session(member_id.clone(), classic));
        if self.seen.awaited.contains(&member_id) {
            // It joins in any case, or is fenced: what it was told of may have come to nothing, and may have been lost.
            outcome.response = ErrorCode::RebalanceInProgress;
            return outcome;
        }
        let assigns_late = self.assigns_late(around, config, &mut outcome);
        if assigns_late || self.has_news_for(&member_id, &member.current) {
            outcome.response = ErrorCode::RebalanceInProgress;
            self.await_join(&member_id, member, &mut outcome);
        }
        outcome
    }

    /// Whether a member is to join again: for a newer target, to let go, or to take up what others have let go.
    fn has_news_for(&self, member_id: &str, current: &Current) -> bool {
        let waits = || {
            let target = self
                .target_of(member_id)
                .into_iter()
                .flat_map(|target| target.iter());
            let mut all =
                target.flat_map(|(topic, partitions)| partitions.iter().map(move |at| (topic, *at)));
            all.any(|(topic, at)| {
                current.assigned.since(topic, at).is_none() && self.holders.others_hold(current, topic, at)
            })
        };
        match current.state {
            _ if current.epoch < self.target.epoch => true,
            MemberState::UnrevokedPartitions => true,
            MemberState::UnreleasedPartitions => !waits(),
            MemberState::Stable | MemberState::Unknown => false,
        }
    }

    /// Whether a target is to be made, and no member of the consumer protocol is there whose heartbeat makes it: members of the classic
    /// protocol make one when they join. What costs most is looked at last: this is asked at each heartbeat until one of them does.
    fn assigns_late<R>(
        &self,
        (image, now): (&Image, TimestampMs),
        config: &GroupConfig,
        outcome: &mut Outcome<R>,
    ) -> bool {
        let is_due = self.epoch > self.target.epoch;
        if !is_due && self.seen.topics {
            return false;
        }
        let interval = config.consumer_assignment_interval_of(&self.id);
        if !may_assign(self.target.made_at, interval, now) || !self.is_left_to_classic() {
            return false;
        }
        if !is_due && self.topics_hash(image) == self.metadata_hash {
            outcome.notes.push(Note::TopicsSeen(position(image)));
            return false;
        }
        true
    }

    /// Whether only members of the classic protocol are there: others are away.
    fn is_left_to_classic(&self) -> bool {
        let mut members = self.members.values();
        members
            .all(|member| member.subscription.classic.is_some() || member.current.epoch == STATIC_LEAVE_EPOCH)
    }

    fn topics_hash(&self, image: &Image) -> i64 {
        let topics = self.subscribers.topics.keys();
        metadata_hash::of_group(topics.map(|topic| &**topic), image)
    }

    /// A member that is told to join has its rebalance timeout for it, from the first time on that it is told.
    fn await_join<R>(&self, member_id: &ByteString, member: &Member, outcome: &mut Outcome<R>) {
        if self.seen.awaited.contains(member_id) {
            return;
        }
        let timer = (member_id.clone(), MemberTimer::Join);
        let wait = millis(member.subscription.rebalance_timeout_ms);
        outcome.timers.push(TimerChange::AfterAnswers(timer, wait));
        outcome.notes.push(Note::AwaitsJoin(member_id.clone()));
    }
}

/// The timers of a member that has joined: it cannot be heard of before it is told that it is in.
fn joined_timers(member_id: &ByteString, request: &JoinGroupRequest) -> [TimerChange<super::Timer>; 4] {
    let timer = |timer| (member_id.clone(), timer);
    let when_told = |which, timeout_ms| TimerChange::AfterAnswers(timer(which), millis(timeout_ms));
    [
        TimerChange::Cancel(timer(MemberTimer::Join)),
        TimerChange::Cancel(timer(MemberTimer::Rebalance)),
        when_told(MemberTimer::Session, request.session_timeout_ms),
        when_told(MemberTimer::Sync, rebalance_timeout_ms(request)),
    ]
}

/// From when it is told on: before, it cannot be heard of again.
fn session(member_id: ByteString, classic: &ClassicMember) -> TimerChange<super::Timer> {
    let wait = millis(classic.session_timeout_ms);
    TimerChange::AfterAnswers((member_id, MemberTimer::Session), wait)
}

/// The first version of JoinGroup has one timeout for both.
fn rebalance_timeout_ms(request: &JoinGroupRequest) -> i32 {
    match request.rebalance_timeout_ms {
        -1 => request.session_timeout_ms,
        timeout_ms => timeout_ms,
    }
}
