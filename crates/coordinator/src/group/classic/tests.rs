//! Conversations with a group of the classic protocol.

mod rebalance;
mod recorded;
mod refusals;
mod sessions;
mod static_members;

use bytes::Bytes;
use klamm_model::ErrorCode;
use klamm_protocol::messages::JoinGroupResponse;
use klamm_protocol::messages::describe_groups_response::DescribedGroup;

use crate::contract::Ticket;
use crate::group::Answer;
use crate::group::driver::{Driver, Join, commit_codes, sync};
use crate::group::request::Request;

const UNKNOWN: i16 = ErrorCode::UnknownMemberId.code();
const ILLEGAL: i16 = ErrorCode::IllegalGeneration.code();
const FENCED: i16 = ErrorCode::FencedInstanceId.code();
const REBALANCE: i16 = ErrorCode::RebalanceInProgress.code();
const INCONSISTENT: i16 = ErrorCode::InconsistentGroupProtocol.code();

fn code(answer: &Answer) -> i16 {
    match answer {
        Answer::JoinGroup(answer) => answer.error_code,
        Answer::SyncGroup(answer) => answer.error_code,
        Answer::Heartbeat(answer) => answer.error_code,
        Answer::LeaveGroup(answer) if answer.error_code != 0 => answer.error_code,
        Answer::LeaveGroup(answer) => answer.members.first().map_or(0, |member| member.error_code),
        Answer::OffsetCommit(_) => commit_codes(answer)[0],
        other => panic!("{other:?}"),
    }
}

fn members(answer: &JoinGroupResponse) -> Vec<&str> {
    answer.members.iter().map(|member| &*member.member_id).collect()
}

impl Driver {
    /// A member gets its id, and joins with it.
    fn enter(&mut self, how: Join) -> (String, Ticket) {
        let ticket = self.ask(how.clone());
        if self.is_waiting(ticket) {
            let (member, _) = self.last_member();
            return (member, ticket);
        }
        let told = self.joined(ticket).unwrap();
        assert_eq!(told.error_code, ErrorCode::MemberIdRequired.code());
        let member = told.member_id.to_string();
        let again = Join {
            member: told.member_id,
            ..how
        };
        (member, self.ask(again))
    }

    /// The member that came last, and whether it leads.
    fn last_member(&self) -> (String, bool) {
        let group = self
            .shard
            .groups
            .get("g")
            .and_then(crate::group::Group::classic)
            .unwrap();
        let last = group
            .members
            .iter()
            .max_by_key(|member| member.id[member.id.len() - 12..].to_owned())
            .unwrap();
        (last.id.to_string(), group.is_leader(&last.id))
    }

    /// A stable group of these members; the first leads. Gives their ids and the generation.
    fn stable(&mut self, all: &[Join]) -> (Vec<String>, i32) {
        let entered: Vec<_> = all.iter().map(|how| self.enter(how.clone())).collect();
        self.wait(entered[0].1);
        let mut generation = 0;
        let mut leader = String::new();
        for (_, ticket) in &entered {
            let told = self.joined(*ticket).expect("the generation has begun");
            assert_eq!(told.error_code, 0);
            generation = told.generation_id;
            leader = told.leader.to_string();
        }
        self.settle(generation, &leader, entered.iter().map(|(member, _)| &**member));
        (
            entered.into_iter().map(|(member, _)| member).collect(),
            generation,
        )
    }

    /// Time passes until this is answered.
    fn wait(&mut self, ticket: Ticket) {
        while self.is_waiting(ticket) {
            self.pass(500);
        }
    }

    /// The leader gives each member its own id to work on; all are told.
    fn settle<'a>(&mut self, generation: i32, leader: &str, all: impl Iterator<Item = &'a str> + Clone) {
        let given: Vec<_> = all.clone().map(|member| (member, member)).collect();
        let tickets: Vec<_> = all
            .map(|member| {
                let given = if member == leader { &*given } else { &[] };
                (member, self.ask(sync(generation, member, given)))
            })
            .collect();
        for (member, ticket) in tickets {
            let told = self.synced(ticket).expect("the leader has synced");
            assert_eq!(
                (told.error_code, &told.assignment),
                (0, &Bytes::copy_from_slice(member.as_bytes()))
            );
        }
    }

    fn describe(&mut self, version: i16) -> DescribedGroup {
        let groups = vec!["g".into()];
        match self.at_once(Request::DescribeGroups { version, groups }) {
            Answer::DescribeGroups(mut groups) => groups.remove(0),
            other => panic!("{other:?}"),
        }
    }

    fn state(&mut self) -> String {
        self.describe(5).group_state.to_string()
    }
}
