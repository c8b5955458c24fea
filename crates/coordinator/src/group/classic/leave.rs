//! LeaveGroup to a classic group: of one member, or from version 3 on of several, also by the instance id alone.
//!
//! Next: `turn.rs`.

use std::sync::Arc;

use klamm_model::{ErrorCode, TimestampMs};
use klamm_protocol::messages::leave_group_request::MemberIdentity;
use klamm_protocol::messages::leave_group_response::MemberResponse;
use klamm_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use super::ClassicGroup;
use super::turn::Turn;
use crate::contract::Ticket;
use crate::group::answer::Answer;
use crate::group::config::GroupConfig;
use crate::group::shard::GroupResult;

/// Who is to leave, whatever the version.
pub(crate) fn leaving(version: i16, request: &LeaveGroupRequest) -> Vec<MemberIdentity> {
    if version >= 3 {
        return request.members.clone();
    }
    vec![MemberIdentity {
        member_id: request.member_id.clone(),
        ..Default::default()
    }]
}

/// What is told of who leaves; before version 3, of the one there is.
pub(crate) fn answer(version: i16, leaving: Vec<MemberIdentity>, codes: &[ErrorCode]) -> Answer {
    if version < 3 {
        return Answer::LeaveGroup(LeaveGroupResponse {
            error_code: codes.first().copied().unwrap_or_default().code(),
            ..Default::default()
        });
    }
    let members = leaving
        .into_iter()
        .zip(codes)
        .map(|(member, code)| MemberResponse {
            member_id: member.member_id,
            group_instance_id: member.group_instance_id,
            error_code: code.code(),
            ..Default::default()
        });
    Answer::LeaveGroup(LeaveGroupResponse {
        members: members.collect(),
        ..Default::default()
    })
}

/// The answer where there is no such group.
pub(crate) fn unknown(version: i16, request: &LeaveGroupRequest) -> Answer {
    let leaving = leaving(version, request);
    let codes = vec![ErrorCode::UnknownMemberId; leaving.len()];
    answer(version, leaving, &codes)
}

impl ClassicGroup {
    /// Decides on a LeaveGroup.
    pub(crate) fn leave(
        &self,
        id: &Arc<str>,
        now: TimestampMs,
        config: &GroupConfig,
        ticket: Ticket,
        (version, request): (i16, &LeaveGroupRequest),
    ) -> GroupResult {
        let leaving = leaving(version, request);
        let mut turn = Turn::new(config, now, id.clone(), self.clone());
        let codes: Vec<_> = leaving
            .iter()
            .map(|member| leave_one(&mut turn, member))
            .collect();
        let answer = answer(version, leaving, &codes);
        if codes.iter().all(|code| !code.is_none()) {
            return GroupResult::answer(ticket, answer);
        }
        if !turn.group.is_empty() {
            turn.rebalance_or_complete();
        }
        turn.answer(ticket, answer);
        turn.done()
    }
}

fn leave_one(turn: &mut Turn<'_>, member: &MemberIdentity) -> ErrorCode {
    let instance_id = member.group_instance_id.as_deref();
    if member.member_id.is_empty() {
        // An administrator takes a static member out whose id is not known.
        let owner = instance_id.and_then(|instance_id| turn.group.members.by_instance(instance_id).cloned());
        let Some(owner) = owner else {
            return ErrorCode::UnknownMemberId;
        };
        turn.remove(&owner);
        return ErrorCode::None;
    }
    if !turn.group.pending.contains(&*member.member_id)
        && let Err(code) = turn.group.check_member(&member.member_id, instance_id)
    {
        return code;
    }
    turn.remove(&member.member_id);
    ErrorCode::None
}
