//! The way back: a consumer group in which only members of the classic protocol are left becomes a classic one.
//!
//! ```text
//! the last member of the consumer protocol ── leaves, or is fenced ───────► the others join the next generation
//!                                          ── comes back as a classic one ─► they do, or nobody notices
//! ```
//!
//! Always holds: what was recorded of the one kind is taken back in the decision that records the other. A classic group gives
//! members at once what they are to have, so the group becomes one without a rebalance only when all have that: until then others may
//! still read it. Somebody always leads then, and knows it: in a classic group, the leading client alone looks for new
//! partitions.
//!
//! Next: `migration.rs` for what becomes of the members.

use std::sync::Arc;

use klamm_model::TimestampMs;
use klamm_protocol::ByteString;
use klamm_protocol::messages::ConsumerGroupHeartbeatRequest;

use super::super::classic::Joined;
use super::super::migration::Replacing;
use super::super::{ConsumerGroup, LEAVE_EPOCH, MemberTimer, Outcome};
use crate::contract::{CoordinatorRecord, Surroundings, TimerChange};
use crate::group::answer::Answer;
use crate::group::classic::ClassicGroup;
use crate::group::classic::join::Join;
use crate::group::classic::member::JoinTicket;
use crate::group::classic::turn::Turn;
use crate::group::config::GroupConfig;
use crate::group::record::GroupRecord;
use crate::group::shard::GroupResult;

/// From this version of JoinGroup on, a member can be told that it leads and has nothing to share out (KIP-814).
const TOLD_TO_SKIP: i16 = 9;

/// The most that is recorded when a group goes over, which must stand in one batch: three quarters of what the topic takes, as it is
/// made. A larger group stays a consumer group, of members of the classic protocol only.
const GOES_OVER_BYTES: usize = 768 * 1024;
/// What a record takes beside its key and its value, at most.
const RECORD_OVERHEAD: usize = 32;

impl ConsumerGroup {
    /// Members go. When only members of the classic protocol are left, the group becomes theirs.
    pub(super) fn without(
        &self,
        id: &Arc<str>,
        members: &[&ByteString],
        around: &Surroundings<'_>,
        config: &GroupConfig,
    ) -> GroupResult {
        if self.becomes_classic_without(members, config)
            && let Some(classic) = self.downgraded(members, None, around.image, around.now)
            && let Some(result) = self.go_over_and_rebalance(classic, id, around.now, config, None)
        {
            return result;
        }
        let mut outcome = Outcome::new(());
        self.fence(members, around.image, &mut outcome);
        outcome.of_group(id).0
    }

    /// A member of the classic protocol has joined. If it is in the place of the last one of the consumer protocol, the group
    /// becomes a classic one.
    pub(super) fn in_place_of_the_last(
        &self,
        id: &Arc<str>,
        around: &Surroundings<'_>,
        config: &GroupConfig,
        (join, member_id): (&Join<'_>, &ByteString),
        joined: &Joined,
    ) -> Option<GroupResult> {
        let instance_id = join.request.group_instance_id.as_ref()?;
        let (replaced, before) = self.static_member(instance_id)?;
        if !self.becomes_classic_by_replacing(replaced, config) {
            return None;
        }
        let replacing = Replacing {
            member_id,
            subscription: &joined.subscription,
            has: match self.target_of(replaced) {
                Some(target) if joined.is_settled => target.clone(),
                _ => before.current.all(),
            },
        };
        let mut classic = self.downgraded(&[replaced], Some(&replacing), around.image, around.now)?;
        let can_lead = join.ticket.version >= TOLD_TO_SKIP;
        if can_lead && speak_as_told(&classic) && joined.is_settled && self.others_are_settled(replaced) {
            // It has what it had, and nobody else notices. None of the others was ever told who leads.
            classic.leader = Some((&**member_id).into());
            let mut answer = classic.joined(member_id, join.ticket.version);
            answer.skip_assignment = true;
            let mut result = self.go_over(classic, id, around.now, config, |_| {})?;
            result
                .answers
                .push((join.ticket.ticket, Answer::JoinGroup(answer)));
            return Some(result);
        }
        let waits = Some((member_id, join.ticket));
        self.go_over_and_rebalance(classic, id, around.now, config, waits)
    }

    /// Whether every member but this one has all that it is to have.
    fn others_are_settled(&self, member_id: &ByteString) -> bool {
        let mut others = self.members.iter().filter(|(id, _)| *id != member_id);
        others.all(|(_, other)| other.current.is_reconciled_to(self.epoch))
    }

    /// The group becomes a classic one, which is recorded; `change` is what happens to that. `None` when it is too large.
    fn go_over(
        &self,
        classic: ClassicGroup,
        id: &Arc<str>,
        now: TimestampMs,
        config: &GroupConfig,
        change: impl FnOnce(&mut Turn<'_>),
    ) -> Option<GroupResult> {
        let mut outcome = Outcome::new(());
        outcome.records = self.tombstones();
        outcome.records.push(classic.record(id));
        if bytes_of(&outcome.records) > GOES_OVER_BYTES {
            return None;
        }
        let members: Vec<Arc<str>> = classic.members.iter().map(|member| member.id.clone()).collect();
        let mut turn = Turn::new(config, now, id.clone(), classic);
        members
            .iter()
            .for_each(|member| turn.restart_session_when_told(member));
        change(&mut turn);
        for member in self.members.keys() {
            outcome
                .timers
                .extend(MemberTimer::ALL.map(|timer| TimerChange::Cancel((member.clone(), timer))));
        }
        let (mut result, ()) = outcome.of_group(id);
        result.append(turn.done());
        Some(result)
    }

    /// The group becomes a classic one whose members are to join again; one of them may be waiting.
    fn go_over_and_rebalance(
        &self,
        mut classic: ClassicGroup,
        id: &Arc<str>,
        now: TimestampMs,
        config: &GroupConfig,
        waits: Option<(&ByteString, JoinTicket)>,
    ) -> Option<GroupResult> {
        // Recorded is that nobody leads: what was recorded as theirs they may not have, so after a load they are to join, too.
        classic.leader = None;
        self.go_over(classic, id, now, config, |turn| {
            if let Some((member_id, ticket)) = waits {
                turn.await_join(member_id, ticket);
            }
            turn.rebalance_what_came_over();
        })
    }

    /// The member that leaves, when the group becomes a classic one by that.
    pub(super) fn goes_over<'a>(
        &'a self,
        request: &ConsumerGroupHeartbeatRequest,
        config: &GroupConfig,
    ) -> Option<(&'a Self, &'a ByteString)> {
        if request.member_epoch != LEAVE_EPOCH {
            return None;
        }
        let (member, _) = self.who_leaves(request).ok()?;
        self.becomes_classic_without(&[member], config)
            .then_some((self, member))
    }
}

/// Whether the group has chosen for each member what that was told, which is its own favourite.
fn speak_as_told(classic: &ClassicGroup) -> bool {
    let mut members = classic.members.iter();
    members.all(|member| member.protocols.first().map(|own| &own.name) == classic.protocol.as_ref())
}

/// What these take in a batch; more than any batch holds when one of them cannot be stored at all.
fn bytes_of(records: &[GroupRecord]) -> usize {
    let bytes = records.iter().map(|record| match record.encode() {
        Ok(stored) => RECORD_OVERHEAD + stored.key.len() + stored.value.map_or(0, |value| value.len()),
        Err(_) => usize::MAX,
    });
    bytes.fold(0, usize::saturating_add)
}
