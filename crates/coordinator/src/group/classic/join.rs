//! JoinGroup to a classic group, or to one that there is not yet.
//!
//! A member without an id gets one: from version 4 on it has to come again with it (KIP-394), so that requests that are sent twice
//! do not leave members behind that nobody is; earlier versions join at once, and so do static members (KIP-345), whose instance id
//! tells them apart. A static member that comes back without its id takes the place of the earlier one; if that changes no
//! protocol in a stable group, nobody else notices (from version 9 on the leader is told to skip the assignment, KIP-814).
//!
//! Next: `turn.rs` for the rebalance.

use std::sync::Arc;

use klamm_model::limits::MAX_STRING_BYTES;
use klamm_model::{ErrorCode, Uuid};
use klamm_protocol::messages::{JoinGroupRequest, JoinGroupResponse};

use super::member::{JoinTicket, Member, Protocol};
use super::turn::Turn;
use super::{ClassicGroup, State};
use crate::contract::Surroundings;
use crate::group::answer::{Answer, refused_join};
use crate::group::config::GroupConfig;
use crate::group::request::Client;
use crate::group::shard::GroupResult;

/// How long the answer to a member who does not know its id may be waited for: it cannot tell that it lives.
const NEW_MEMBER_JOIN_TIMEOUT_MS: i64 = 5 * 60 * 1000;

/// A JoinGroup, as the group looks at it.
pub(crate) struct Join<'a> {
    pub(crate) client: &'a Client,
    pub(crate) ticket: JoinTicket,
    pub(crate) request: &'a JoinGroupRequest,
}

/// Where the request finds the group.
pub(crate) enum Found<'a> {
    /// There.
    Recorded(Arc<str>, &'a ClassicGroup),
    /// There are offsets of it, and nothing else.
    OffsetsOnly,
    /// Not.
    Nowhere,
}

impl Join<'_> {
    /// Decides.
    pub(crate) fn decide(
        self,
        found: Found<'_>,
        around: &mut Surroundings<'_>,
        config: &GroupConfig,
    ) -> GroupResult {
        let now = around.now;
        let (id, group) = match found {
            Found::Nowhere if !self.request.member_id.is_empty() => {
                return self.refused(ErrorCode::UnknownMemberId);
            }
            Found::Recorded(id, group) => (id, Some(group)),
            Found::OffsetsOnly | Found::Nowhere => ((&*self.request.group_id).into(), None),
        };
        // With its first record, the group is known to be one.
        let is_new = group.is_none();
        let group = group.map_or_else(|| ClassicGroup::new(now), ClassicGroup::clone);
        let mut turn = Turn::new(config, now, id, group);
        match self.place(&mut turn, &mut *around.draw_uuid) {
            Ok(()) => {
                turn.records |= is_new;
                turn.done()
            }
            Err(code) => self.refused(code),
        }
    }

    pub(crate) fn refused(&self, code: ErrorCode) -> GroupResult {
        let refused = refused_join(&self.request.member_id, self.ticket.version, code);
        GroupResult::answer(self.ticket.ticket, Answer::JoinGroup(refused))
    }

    /// Finds the place of a member; after an error the group stays as it was.
    fn place(&self, turn: &mut Turn<'_>, draw_uuid: &mut dyn FnMut() -> Uuid) -> Result<(), ErrorCode> {
        let request = self.request;
        if !self.has_room(turn) {
            turn.remove(&request.member_id);
            turn.refuse_join(self.ticket, "", ErrorCode::GroupMaxSizeReached);
            turn.complete_join_if_all_here();
            return Ok(());
        }
        let protocols = Protocol::copied(&request.protocols);
        if !turn.group.accepts(&request.protocol_type, &protocols) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        if !request.member_id.is_empty() {
            return self.known_member(turn, protocols);
        }
        let named = request
            .group_instance_id
            .as_ref()
            .unwrap_or(&self.client.client_id);
        let member_id: Arc<str> = format!("{named}-{}", Hyphenated(draw_uuid())).into();
        if member_id.len() > MAX_STRING_BYTES {
            // No answer and no record could hold it.
            return Err(ErrorCode::InvalidRequest);
        }
        let known = request.group_instance_id.as_deref();
        let known = known.and_then(|instance_id| turn.group.members.by_instance(instance_id).cloned());
        if let Some(earlier) = known {
            self.replace_static(turn, &earlier, member_id, protocols);
        } else if request.group_instance_id.is_none() && self.ticket.version >= 4 {
            turn.group.pending.insert(member_id.clone());
            turn.refuse_join(self.ticket, &member_id, ErrorCode::MemberIdRequired);
            turn.start_session_when_told(member_id, request.session_timeout_ms);
        } else {
            self.add(turn, member_id, protocols);
        }
        Ok(())
    }

    /// Whether the group is large enough for whoever asks. While members join, those who have are counted, so that the last ones
    /// to come have to leave a group that has become too large.
    fn has_room(&self, turn: &Turn<'_>) -> bool {
        let members = &turn.group.members;
        let member = members.get(&self.request.member_id);
        match turn.group.state {
            State::Empty => true,
            State::Preparing(_) => {
                member.is_some_and(|member| member.join.is_some())
                    || members.awaiting_join() < turn.config.max_size
            }
            State::Completing | State::Stable => member.is_some() || members.len() < turn.config.max_size,
        }
    }

    fn known_member(&self, turn: &mut Turn<'_>, protocols: Arc<[Protocol]>) -> Result<(), ErrorCode> {
        let request = self.request;
        let member_id = &*request.member_id;
        if let Some(pending) = turn.group.pending.get(member_id).cloned() {
            if request.group_instance_id.is_some() {
                // Ids to come again with are not given to static members.
                return Err(ErrorCode::UnknownServerError);
            }
            self.add(turn, pending, protocols);
            return Ok(());
        }
        turn.group
            .check_member(member_id, request.group_instance_id.as_deref())?;
        let same = turn
            .group
            .members
            .get(member_id)
            .is_some_and(|member| member.says(&protocols));
        match turn.group.state {
            State::Empty => return Err(ErrorCode::UnknownMemberId),
            // The answer to its earlier request may not have reached it.
            State::Completing if same => self.answer_at_once(turn, member_id),
            State::Stable if same && !turn.group.is_leader(member_id) => self.answer_at_once(turn, member_id),
            // A leader that joins a stable group asks for a rebalance: what it shares out may have changed.
            State::Preparing(_) | State::Completing | State::Stable => {
                self.update(turn, member_id, protocols);
                turn.await_join(member_id, self.ticket);
                turn.rebalance_or_complete();
            }
        }
        Ok(())
    }

    fn answer_at_once(&self, turn: &mut Turn<'_>, member_id: &str) {
        let answer = turn.group.joined(member_id, self.ticket.version);
        turn.answer(self.ticket.ticket, Answer::JoinGroup(answer));
        turn.restart_session_when_told(member_id);
    }

    fn add(&self, turn: &mut Turn<'_>, member_id: Arc<str>, protocols: Arc<[Protocol]>) {
        let request = self.request;
        if let State::Preparing(Some(initial)) = &mut turn.group.state {
            initial.joined = true;
        }
        let member = Member {
            id: member_id.clone(),
            instance_id: request.group_instance_id.as_deref().map(Into::into),
            client_id: (&*self.client.client_id).into(),
            client_host: (&*self.client.client_host).into(),
            rebalance_timeout_ms: self.rebalance_timeout_ms(),
            session_timeout_ms: request.session_timeout_ms,
            protocols,
            assignment: Default::default(),
            is_new: true,
            owes_sync: false,
            join: Some(self.ticket),
            sync: None,
        };
        turn.group.add(&request.protocol_type, member);
        turn.start_session(member_id, NEW_MEMBER_JOIN_TIMEOUT_MS);
        turn.rebalance_or_complete();
    }

    fn update(&self, turn: &mut Turn<'_>, member_id: &str, protocols: Arc<[Protocol]>) {
        turn.group.members.update(member_id, |member| {
            member.protocols = protocols;
            member.rebalance_timeout_ms = self.rebalance_timeout_ms();
            member.session_timeout_ms = self.request.session_timeout_ms;
        });
    }

    /// Version 0 had one timeout for both.
    fn rebalance_timeout_ms(&self) -> i32 {
        if self.ticket.version == 0 {
            self.request.session_timeout_ms
        } else {
            self.request.rebalance_timeout_ms
        }
    }

    /// A static member came back under a new id: whoever has the old one is fenced.
    fn replace_static(
        &self,
        turn: &mut Turn<'_>,
        earlier: &str,
        member_id: Arc<str>,
        protocols: Arc<[Protocol]>,
    ) {
        let leader_before = turn.group.leader.clone();
        let Some(removed) = turn.group.members.remove(earlier) else {
            return;
        };
        turn.fence(&removed);
        turn.group.members.insert(Member {
            id: member_id.clone(),
            is_new: false,
            join: None,
            sync: None,
            ..Member::clone(&removed)
        });
        if turn.group.is_leader(earlier) {
            turn.group.leader = Some(member_id.clone());
        }
        self.update(turn, &member_id, protocols);
        turn.restart_session_when_told(&member_id);
        if turn.group.state == State::Stable && turn.group.choose_protocol() == turn.group.protocol {
            turn.records = true;
            let answer = self.unnoticed(&turn.group, &member_id, leader_before.as_deref());
            turn.answer(self.ticket.ticket, Answer::JoinGroup(answer));
            return;
        }
        turn.await_join(&member_id, self.ticket);
        // While the generation completes, the leader may already share out to the old id: all join again.
        turn.rebalance_or_complete();
    }

    /// What a static member is told that came back to a stable group. A leader that could not be told to skip the assignment is
    /// told that the earlier one leads, or it would share out anew.
    fn unnoticed(
        &self,
        group: &ClassicGroup,
        member_id: &str,
        leader_before: Option<&str>,
    ) -> JoinGroupResponse {
        let mut answer = group.joined(member_id, self.ticket.version);
        if self.ticket.version >= 9 {
            answer.skip_assignment = group.is_leader(member_id);
        } else {
            answer.leader = leader_before.unwrap_or_default().into();
            answer.members = Vec::new();
        }
        answer
    }
}

/// A random identifier as members are used to it: with hyphens.
struct Hyphenated(Uuid);

impl std::fmt::Display for Hyphenated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, byte) in self.0.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}
