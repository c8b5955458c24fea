//! SyncGroup to a classic group: the leader gives the assignment, everybody gets its own.
//!
//! The assignment is recorded before anybody is told of it; where it cannot be, all are told and join again. A member that the leader has left out gets an empty one.
//!
//! Next: `turn.rs`.

use std::collections::BTreeMap;

use bytes::Bytes;
use klamm_model::{ErrorCode, TimestampMs};
use klamm_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use super::turn::Turn;
use super::{ClassicGroup, State};
use crate::contract::Ticket;
use crate::group::answer::Answer;
use crate::group::config::GroupConfig;
use crate::group::shard::{GroupResult, Timer};

/// The answer that says `code`.
pub(crate) fn refused(code: ErrorCode) -> Answer {
    Answer::SyncGroup(SyncGroupResponse {
        error_code: code.code(),
        ..Default::default()
    })
}

impl ClassicGroup {
    /// Decides on a SyncGroup.
    pub(crate) fn sync(
        &self,
        id: &std::sync::Arc<str>,
        now: TimestampMs,
        config: &GroupConfig,
        ticket: Ticket,
        request: &SyncGroupRequest,
    ) -> GroupResult {
        if let Err(code) = self.check_sync(request) {
            return GroupResult::answer(ticket, refused(code));
        }
        let member_id = &*request.member_id;
        let owed = self.members.get(member_id).is_some_and(|member| member.owes_sync);
        if self.state == State::Stable && !owed {
            return GroupResult {
                timers: self.session(id, member_id).into_iter().collect(),
                ..GroupResult::answer(ticket, Answer::SyncGroup(self.synced(member_id)))
            };
        }
        let mut turn = Turn::new(config, now, id.clone(), self.clone());
        turn.group
            .members
            .update(member_id, |member| member.owes_sync = false);
        if turn.group.members.owing_sync() == 0 {
            turn.cancel_sync_timer();
        }
        if self.state == State::Stable {
            turn.answer(ticket, Answer::SyncGroup(self.synced(member_id)));
            turn.restart_session_when_told(member_id);
            return turn.done();
        }
        turn.await_sync(member_id, ticket);
        if turn.group.is_leader(member_id) {
            let given = request
                .assignments
                .iter()
                .map(|given| (&*given.member_id, &given.assignment));
            let given: BTreeMap<&str, &Bytes> = given.collect();
            turn.group.enter(State::Stable, now);
            turn.spread_assignment(ErrorCode::None, |member_id| {
                given
                    .get(member_id)
                    .map_or_else(Bytes::new, |bytes| Bytes::copy_from_slice(bytes))
            });
            turn.records = true;
            return GroupResult {
                unwritten: Some(Timer::ClassicSync(id.clone())),
                ..turn.done()
            };
        }
        turn.done()
    }

    fn check_sync(&self, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
        if self.is_empty() {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.check_member(&request.member_id, request.group_instance_id.as_deref())?;
        if !self.is_of_generation(request.generation_id) {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs = |said: Option<&str>, is: Option<&str>| said.is_some() && is.is_some() && said != is;
        if differs(request.protocol_type.as_deref(), self.protocol_type.as_deref())
            || differs(request.protocol_name.as_deref(), self.protocol.as_deref())
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        if self.is_preparing() {
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }
}
