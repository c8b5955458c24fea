//! `classic-group`: a group of the classic protocol, of which one member leaves and comes back, over and over.
//!
//! All others learn of it by Heartbeat and join again; the leader divides the partitions, and all sync. What is timed is from
//! the moment in which the last JoinGroup is sent until the last SyncGroup is answered: what the members wait for before is each
//! other. The last one joins when the broker is done with those before it, which wait there.
//!
//! Always holds: each member gets what the leader has given it, byte by byte; a member that leaves makes one generation, or the
//! run fails.
//!
//! Next: [`crate::division`] for what members say to each other.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use klamm_model::ErrorCode;
use klamm_protocol::ByteString;
use klamm_protocol::messages::heartbeat_request::HeartbeatRequest;
use klamm_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use klamm_protocol::messages::join_group_response::JoinGroupResponse;
use klamm_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use klamm_protocol::messages::leave_group_response::LeaveGroupResponse;
use klamm_protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use klamm_protocol::messages::sync_group_response::SyncGroupResponse;

use crate::admin::{self, Admin, check};
use crate::exchange::{Exchange, READ_BYTES};
use crate::poll::Poll;
use crate::report::Rounds;
use crate::topics::{Topics, Where};
use crate::{clock, division, groups};

const MILLISECOND: u64 = clock::SECOND / 1000;
/// How long a group may take for anything.
const LIMIT: u64 = 60 * clock::SECOND;
/// Between two members that join again.
const APART: u64 = MILLISECOND / 2;
/// Before the last one joins.
const PAUSE: u64 = 20 * MILLISECOND;
/// Before those ask again who were not told to join.
const BETWEEN_HEARTBEATS: u64 = 2 * MILLISECOND;
/// What Kafka's own consumer says by default.
const SESSION_TIMEOUT_MS: i32 = 45_000;
const REBALANCE_TIMEOUT_MS: i32 = 300_000;

/// How large a group, and how often a member goes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Where,
    /// Partitions of the topic.
    #[arg(long)]
    partitions: i32,
    /// Members.
    #[arg(long)]
    members: usize,
    /// How often one leaves, and comes back.
    #[arg(long)]
    rounds: usize,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(
        args.partitions > 0 && args.members > 2 && args.rounds > 0,
        "three members make a group that one leaves"
    );
    let topics = args.place.find(1, args.partitions)?;
    let name = groups::fresh(&mut Admin::open(topics.leader)?, &topics)?;
    let mut work = Work::new(&topics, name, args.members)?;
    for number in 0..args.members {
        work.join(number)?;
    }
    work.until(Stage::is_in)?;
    let mut rounds = Rounds::default();
    for round in 0..args.rounds {
        let leaver = round % args.members;
        rounds.ready()?;
        rounds.settled(work.shrink(leaver)?)?;
        work.grow(leaver)?;
    }
    rounds.done(work.requests)?;
    for number in 0..args.members {
        work.leave(number)?;
    }
    work.until(|stage| *stage == Stage::Out)
}

/// What a member does; of the first four it waits for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Joins,
    Syncs,
    Beats,
    Leaves,
    /// It is no member.
    Out,
    /// It has its part.
    In,
    /// It was told to join again.
    Told,
}

impl Stage {
    fn is_in(&self) -> bool {
        *self == Stage::In
    }
}

struct Member {
    exchange: Exchange,
    /// Empty until the broker gave one.
    id: ByteString,
    stage: Stage,
    generation: i32,
}

/// The group and all its members.
struct Work {
    name: ByteString,
    protocols: Vec<JoinGroupRequestProtocol>,
    members: Vec<Member>,
    /// The parts for all members, and for all but one.
    parts: [Vec<Bytes>; 2],
    /// What the leader gave to whom.
    given: BTreeMap<ByteString, Bytes>,
    poll: Poll,
    buffer: Vec<u8>,
    requests: u64,
    /// When the last answer came.
    heard: u64,
}

impl Work {
    fn new(topics: &Topics, name: String, count: usize) -> Result<Self> {
        let poll = Poll::new()?;
        let member = |number| {
            let exchange = Exchange::connect(topics.leader)?;
            poll.add(exchange.stream(), number)?;
            Ok(Member {
                exchange,
                id: ByteString::new(),
                stage: Stage::Out,
                generation: -1,
            })
        };
        let parts = |members| division::parts(topics.name(), topics.partitions, members);
        Ok(Self {
            name: name.into(),
            protocols: division::protocols(topics.name())?,
            members: (0..count).map(member).collect::<Result<_>>()?,
            parts: [parts(count)?, parts(count - 1)?],
            given: BTreeMap::new(),
            poll,
            buffer: vec![0; READ_BYTES],
            requests: 0,
            heard: 0,
        })
    }

    /// A member leaves, and the others go on without it; says how long that took from the last that joined.
    fn shrink(&mut self, leaver: usize) -> Result<u64> {
        let before = self.members[leaver].generation;
        self.leave(leaver)?;
        self.until(|stage| matches!(stage, Stage::Out | Stage::In))?;
        self.until_told()?;
        let others: Vec<usize> = (0..self.members.len()).filter(|other| *other != leaver).collect();
        let (last, first) = others.split_last().context("nobody is left")?;
        for number in first {
            self.join(*number)?;
            self.pause(APART)?;
        }
        self.pause(PAUSE)?;
        let begun = self.join(*last)?;
        self.until(|stage| matches!(stage, Stage::Out | Stage::In))?;
        let time = self.heard - begun;
        for number in others {
            let generation = self.members[number].generation;
            ensure!(
                generation == before + 1,
                "one member left in generation {before}, and another is in {generation}"
            );
        }
        Ok(time)
    }

    /// The member that left comes back, as a new one.
    fn grow(&mut self, leaver: usize) -> Result<()> {
        self.members[leaver].id = ByteString::new();
        self.join(leaver)?;
        self.until_told()?;
        for number in 0..self.members.len() {
            if self.members[number].stage == Stage::Told {
                self.join(number)?;
            }
        }
        self.until(Stage::is_in)
    }

    /// Members that have their part ask until they are told to join again.
    fn until_told(&mut self) -> Result<()> {
        let deadline = clock::now() + LIMIT;
        loop {
            for number in 0..self.members.len() {
                if self.members[number].stage.is_in() {
                    self.beat(number)?;
                }
            }
            self.until(|stage| *stage != Stage::Beats)?;
            if !self.members.iter().any(|member| member.stage.is_in()) {
                return Ok(());
            }
            ensure!(clock::now() < deadline, "members are not told to join again");
            self.pause(BETWEEN_HEARTBEATS)?;
        }
    }

    fn join(&mut self, number: usize) -> Result<u64> {
        let request = JoinGroupRequest {
            group_id: self.name.clone(),
            session_timeout_ms: SESSION_TIMEOUT_MS,
            rebalance_timeout_ms: REBALANCE_TIMEOUT_MS,
            member_id: self.members[number].id.clone(),
            protocol_type: division::PROTOCOL_TYPE.into(),
            protocols: self.protocols.clone(),
            ..JoinGroupRequest::default()
        };
        let member = &mut self.members[number];
        member.stage = Stage::Joins;
        self.requests += 1;
        member.exchange.ask(admin::JOIN_GROUP, &request)
    }

    fn beat(&mut self, number: usize) -> Result<()> {
        let member = &mut self.members[number];
        let request = HeartbeatRequest {
            group_id: self.name.clone(),
            generation_id: member.generation,
            member_id: member.id.clone(),
            ..HeartbeatRequest::default()
        };
        member.stage = Stage::Beats;
        self.requests += 1;
        member.exchange.ask(admin::HEARTBEAT, &request).map(drop)
    }

    fn leave(&mut self, number: usize) -> Result<()> {
        let member = &mut self.members[number];
        let request = LeaveGroupRequest {
            group_id: self.name.clone(),
            members: vec![MemberIdentity {
                member_id: member.id.clone(),
                ..MemberIdentity::default()
            }],
            ..LeaveGroupRequest::default()
        };
        member.stage = Stage::Leaves;
        self.requests += 1;
        member.exchange.ask(admin::LEAVE_GROUP, &request).map(drop)
    }

    /// Hears what comes for so long.
    fn pause(&mut self, time: u64) -> Result<()> {
        let limit = clock::now() + time;
        while clock::now() < limit {
            self.turn(limit)?;
        }
        Ok(())
    }

    /// Hears what comes until all members are somewhere.
    fn until(&mut self, are_there: impl Fn(&Stage) -> bool) -> Result<()> {
        let deadline = clock::now() + LIMIT;
        while !self.members.iter().all(|member| are_there(&member.stage)) {
            if clock::now() > deadline {
                let all: Vec<_> = self.members.iter().map(|member| member.stage).collect();
                bail!("the group does not go on: {all:?}");
            }
            self.turn(deadline)?;
        }
        Ok(())
    }

    fn turn(&mut self, limit: u64) -> Result<()> {
        self.poll.wake_at(limit)?;
        let mut ready = Vec::new();
        self.poll.wait(&mut ready, true)?;
        ready.into_iter().try_for_each(|number| self.hear(number))
    }

    fn hear(&mut self, number: usize) -> Result<()> {
        let member = &mut self.members[number];
        let Some(answer) = member.exchange.turn(&mut self.buffer)? else {
            return Ok(());
        };
        self.heard = clock::now();
        let exchange = &member.exchange;
        match member.stage {
            Stage::Joins => {
                let answer = exchange.read::<JoinGroupRequest>(admin::JOIN_GROUP, answer)?;
                self.joined(number, answer)
            }
            Stage::Syncs => {
                let answer = exchange.read::<SyncGroupRequest>(admin::SYNC_GROUP, answer)?;
                self.synced(number, &answer)
            }
            Stage::Beats => {
                let answer = exchange.read::<HeartbeatRequest>(admin::HEARTBEAT, answer)?;
                member.stage = told(answer.error_code)?;
                Ok(())
            }
            Stage::Leaves => {
                let answer = exchange.read::<LeaveGroupRequest>(admin::LEAVE_GROUP, answer)?;
                member.stage = Stage::Out;
                left(&answer)
            }
            Stage::Out | Stage::In | Stage::Told => bail!("an answer to no request"),
        }
    }

    fn joined(&mut self, number: usize, answer: JoinGroupResponse) -> Result<()> {
        let member = &mut self.members[number];
        member.id = answer.member_id.clone();
        if answer.error_code == ErrorCode::MemberIdRequired.code() {
            return self.join(number).map(drop);
        }
        check(answer.error_code, || "JoinGroup".to_owned())?;
        member.generation = answer.generation_id;
        member.stage = Stage::Syncs;
        let assignments = if answer.leader == answer.member_id {
            let ids = answer.members.into_iter().map(|member| member.member_id);
            self.divide(ids.collect())?
        } else {
            Vec::new()
        };
        let request = SyncGroupRequest {
            group_id: self.name.clone(),
            generation_id: answer.generation_id,
            member_id: answer.member_id,
            protocol_type: answer.protocol_type,
            protocol_name: answer.protocol_name,
            assignments,
            ..SyncGroupRequest::default()
        };
        self.requests += 1;
        let exchange = &mut self.members[number].exchange;
        exchange.ask(admin::SYNC_GROUP, &request).map(drop)
    }

    /// Gives each member of a generation its part.
    fn divide(&mut self, ids: Vec<ByteString>) -> Result<Vec<SyncGroupRequestAssignment>> {
        let mut parts = self.parts.iter();
        let parts = parts.find(|parts| parts.len() == ids.len());
        let parts = parts.with_context(|| format!("the leader is told of {} members", ids.len()))?;
        self.given = ids.into_iter().zip(parts.iter().cloned()).collect();
        let assignments = self.given.iter().map(|(id, part)| SyncGroupRequestAssignment {
            member_id: id.clone(),
            assignment: part.clone(),
            ..SyncGroupRequestAssignment::default()
        });
        Ok(assignments.collect())
    }

    fn synced(&mut self, number: usize, answer: &SyncGroupResponse) -> Result<()> {
        check(answer.error_code, || "SyncGroup".to_owned())?;
        let member = &mut self.members[number];
        let given = self.given.get(&member.id);
        ensure!(
            given == Some(&answer.assignment),
            "a member is assigned what the leader did not give it"
        );
        member.stage = Stage::In;
        Ok(())
    }
}

/// Where the answer to a heartbeat leaves a member.
fn told(code: i16) -> Result<Stage> {
    if code == ErrorCode::RebalanceInProgress.code() {
        return Ok(Stage::Told);
    }
    check(code, || "Heartbeat".to_owned())?;
    Ok(Stage::In)
}

fn left(answer: &LeaveGroupResponse) -> Result<()> {
    check(answer.error_code, || "LeaveGroup".to_owned())?;
    let mut codes = answer.members.iter().map(|member| member.error_code);
    codes.try_for_each(|code| check(code, || "a member cannot leave".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_tells_to_join_again_or_not() {
        assert_eq!(told(0).unwrap(), Stage::In);
        assert_eq!(told(27).unwrap(), Stage::Told);
        let error = told(25).unwrap_err().to_string();
        assert!(error.contains("UNKNOWN_MEMBER_ID"), "{error}");
    }

    #[test]
    fn who_cannot_leave_is_an_error() {
        use klamm_protocol::messages::leave_group_response::MemberResponse;
        let answer = |error_code, of_member| LeaveGroupResponse {
            error_code,
            members: vec![MemberResponse {
                error_code: of_member,
                ..MemberResponse::default()
            }],
            ..LeaveGroupResponse::default()
        };
        assert!(left(&answer(0, 0)).is_ok());
        assert!(left(&answer(16, 0)).is_err());
        assert!(left(&answer(0, 25)).is_err());
    }
}
