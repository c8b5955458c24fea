//! Heartbeat to a classic group, and what comes of silence.
//!
//! Next: `turn.rs`.

use std::sync::Arc;

use klamm_model::{ErrorCode, TimestampMs};
use klamm_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use super::turn::{Turn, millis};
use super::{ClassicGroup, State};
use crate::contract::{Ticket, TimerChange};
use crate::group::answer::Answer;
use crate::group::config::GroupConfig;
use crate::group::shard::{GroupResult, Timer};

/// The answer that says `code`.
pub(crate) fn answer(code: ErrorCode) -> Answer {
    Answer::Heartbeat(HeartbeatResponse {
        error_code: code.code(),
        ..Default::default()
    })
}

impl ClassicGroup {
    /// Decides on a Heartbeat.
    pub(crate) fn heartbeat(&self, id: &Arc<str>, ticket: Ticket, request: &HeartbeatRequest) -> GroupResult {
        if let Err(code) = self.check_heartbeat(request) {
            return GroupResult::answer(ticket, answer(code));
        }
        let code = match self.state {
            State::Empty => return GroupResult::answer(ticket, answer(ErrorCode::UnknownMemberId)),
            State::Preparing(_) => ErrorCode::RebalanceInProgress,
            // Members may send heartbeats as soon as the generation has begun.
            State::Completing | State::Stable => ErrorCode::None,
        };
        GroupResult {
            timers: self.session(id, &request.member_id).into_iter().collect(),
            ..GroupResult::answer(ticket, answer(code))
        }
    }

    fn check_heartbeat(&self, request: &HeartbeatRequest) -> Result<(), ErrorCode> {
        self.check_member(&request.member_id, request.group_instance_id.as_deref())?;
        if self.is_of_generation(request.generation_id) {
            Ok(())
        } else {
            Err(ErrorCode::IllegalGeneration)
        }
    }

    /// The timer of a member that was heard of now: it may have to wait for what it is told, and is not heard of before.
    pub(crate) fn session(&self, id: &Arc<str>, member_id: &str) -> Option<TimerChange<Timer>> {
        let member = self.members.get(member_id)?;
        let timer = Timer::ClassicSession {
            group: id.clone(),
            member: member.id.clone(),
        };
        Some(TimerChange::AfterAnswers(
            timer,
            millis(member.session_timeout_ms),
        ))
    }

    /// Nothing was heard of a member, or of somebody who was given an id, for its time.
    pub(crate) fn session_ended(
        &self,
        id: &Arc<str>,
        now: TimestampMs,
        config: &GroupConfig,
        member_id: &str,
    ) -> GroupResult {
        let mut turn = Turn::new(config, now, id.clone(), self.clone());
        if self.pending.contains(member_id) {
            turn.group.remove(member_id);
        } else if self.members.get(member_id).is_some_and(|member| !member.waits()) {
            turn.remove(member_id);
            if !turn.group.is_preparing() {
                turn.prepare_rebalance();
                return turn.done();
            }
        } else {
            // It is gone already, or somebody waits for it: the session begins again with the answer.
            return GroupResult::default();
        }
        if turn.group.is_preparing() && turn.group.all_joined() {
            turn.complete_join();
        }
        turn.done()
    }
}
