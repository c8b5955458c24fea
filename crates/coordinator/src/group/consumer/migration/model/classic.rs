//! What a consumer of the classic protocol does: it joins, asks for what it has, sends heartbeats, and shares out if it leads.
//!
//! It comes to its requests only when it is not busy, but for heartbeats. An eager one lets go of everything before it joins, a cooperative one
//! of what it is not given any more.

use std::collections::BTreeSet;

use klamm_model::ErrorCode;
use klamm_protocol::data_records::consumer_protocol_assignment::TopicPartition as Assigned;
use klamm_protocol::data_records::consumer_protocol_subscription::TopicPartition as Owned;
use klamm_protocol::data_records::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use klamm_protocol::messages::join_group_response::JoinGroupResponseMember;
use klamm_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use klamm_protocol::messages::{JoinGroupResponse, SyncGroupRequest};

use super::super::tests::embed;
use super::{Client, Partition, Side, TOPICS, World};
use crate::contract::Ticket;
use crate::group::answer::Answer;
use crate::group::consumer::embedded;
use crate::group::driver::{Driver, Join, heartbeat, join};
use crate::group::request::Request;
use crate::seeds::Choices;

#[derive(Debug)]
pub(super) struct Classic {
    pub(super) id: String,
    generation: i32,
    pub(super) version: i16,
    protocols: [&'static str; 2],
    phase: Phase,
    /// It is to let go of everything before it joins.
    has_lost: bool,
    /// The shard was lost, and with it perhaps that it had taken the place of an earlier member of its instance: that is recorded with the
    /// next assignment only.
    may_be_forgotten: bool,
    /// How many partitions there were when it began to lead.
    leads_over: Option<Vec<i32>>,
}

#[derive(Debug)]
enum Phase {
    /// It is to join.
    Out,
    Joining(Ticket),
    /// It has been told of a generation.
    Joined(Box<JoinGroupResponse>),
    Syncing(Ticket),
    In,
}

impl Classic {
    pub(super) fn new(rng: &mut Choices) -> Self {
        Self {
            id: String::new(),
            generation: -1,
            version: [5, 9][rng.below(2)],
            protocols: [["range", "sticky"], ["sticky", "range"]][rng.below(2)],
            phase: Phase::Out,
            has_lost: false,
            may_be_forgotten: false,
            leads_over: None,
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Joining(_) | Phase::Syncing(_))
    }

    /// The coordinator is lost, and with it what was asked.
    pub(super) fn lose(&mut self, driver: &Driver) {
        self.may_be_forgotten = true;
        if let Phase::Joining(ticket) | Phase::Syncing(ticket) = self.phase
            && !driver.is_waiting(ticket)
        {
            self.phase = Phase::Out;
        }
    }

    /// It takes itself to be out of its group.
    pub(super) fn is_out(&mut self) {
        self.has_lost = true;
        if !self.is_waiting() {
            self.phase = Phase::Out;
        }
    }
}

impl World {
    fn classic(&mut self, number: usize) -> &mut Classic {
        match &mut self.clients.get_mut(&number).unwrap().side {
            Side::Classic(classic) => classic,
            Side::Consumer(_) => panic!("it is none"),
        }
    }

    /// Whatever was answered is taken note of.
    pub(super) fn pump(&mut self) {
        loop {
            let mut moved = false;
            for number in self.numbers() {
                if matches!(self.clients[&number].side, Side::Classic(_)) {
                    moved |= self.take_answer(number);
                }
            }
            if !moved {
                return;
            }
        }
    }

    pub(super) fn classic_turn(&mut self, number: usize) {
        let is_busy = self.driver.now.0 < self.clients[&number].busy_until;
        let phase = std::mem::replace(&mut self.classic(number).phase, Phase::Out);
        match phase {
            Phase::Out if is_busy => {}
            Phase::Out => self.join(number),
            Phase::Joined(told) => self.sync(number, *told),
            waiting @ (Phase::Joining(_) | Phase::Syncing(_)) => self.classic(number).phase = waiting,
            Phase::In => {
                self.classic(number).phase = Phase::In;
                let leads_over = self.classic(number).leads_over.clone();
                let has_grown = leads_over.is_some_and(|leads_over| leads_over != self.sizes());
                if self.is_told_to_join(number) || has_grown {
                    // What it does about it, it does when it comes to poll.
                    if !is_busy {
                        self.classic(number).phase = Phase::Out;
                        self.join(number);
                    }
                }
            }
        }
    }

    fn sizes(&self) -> Vec<i32> {
        TOPICS.iter().map(|(name, _)| self.partitions_of(name)).collect()
    }

    fn is_told_to_join(&mut self, number: usize) -> bool {
        let instance = self.clients[&number].instance;
        let classic = self.classic(number);
        let request = heartbeat(classic.generation, &classic.id.clone(), instance);
        let Answer::Heartbeat(answer) = self.driver.at_once(request) else {
            panic!("it answers something else");
        };
        let now = self.driver.now.0;
        self.clients.get_mut(&number).unwrap().heard_at = now;
        let code = ErrorCode::from_code(answer.error_code).unwrap();
        self.note_code(number, code);
        !code.is_none()
    }

    fn note_code(&mut self, number: usize, code: ErrorCode) {
        let classic = self.classic(number);
        match code {
            ErrorCode::None | ErrorCode::RebalanceInProgress => {}
            ErrorCode::IllegalGeneration => classic.has_lost = true,
            ErrorCode::UnknownMemberId => {
                classic.has_lost = true;
                classic.id.clear();
            }
            // It is started again.
            ErrorCode::FencedInstanceId if classic.may_be_forgotten => {
                classic.has_lost = true;
                classic.id.clear();
            }
            code => panic!("{number} is told {code:?}"),
        }
    }

    fn join(&mut self, number: usize) {
        let is_cooperative = self.is_cooperative;
        let client = self.clients.get_mut(&number).unwrap();
        let Side::Classic(classic) = &mut client.side else {
            panic!("it is none");
        };
        if classic.has_lost || !is_cooperative {
            client.reads.clear();
            classic.has_lost = false;
        }
        classic.leads_over = None;
        let (version, protocols, id) = (classic.version, classic.protocols, classic.id.clone());
        let metadata = client.metadata();
        let request = Join {
            version,
            instance: client.instance,
            protocols: protocols.map(|name| (name, metadata.clone())).to_vec(),
            ..join(&id)
        };
        let ticket = self.driver.ask(request);
        self.classic(number).phase = Phase::Joining(ticket);
    }

    fn sync(&mut self, number: usize, told: JoinGroupResponse) {
        let instance = self.clients[&number].instance;
        let mut request = SyncGroupRequest {
            group_id: "g".into(),
            generation_id: told.generation_id,
            member_id: told.member_id.clone(),
            group_instance_id: instance.map(Into::into),
            protocol_type: told.protocol_type,
            protocol_name: told.protocol_name,
            ..Default::default()
        };
        if told.leader == told.member_id {
            let sizes = self.sizes();
            if !told.skip_assignment {
                request.assignments = share_out(&told.members, &sizes, self.is_cooperative);
            }
            self.classic(number).leads_over = Some(sizes);
        }
        let ticket = self.driver.ask(Request::SyncGroup {
            version: 5,
            request: Box::new(request),
        });
        self.classic(number).phase = Phase::Syncing(ticket);
    }

    /// Whether there was an answer.
    fn take_answer(&mut self, number: usize) -> bool {
        let is_lost = !self.is_calm && self.rng.one_in(12);
        let now = self.driver.now.0;
        match self.classic(number).phase {
            Phase::Joining(ticket) => {
                let Some(told) = self.driver.joined(ticket) else {
                    return false;
                };
                self.clients.get_mut(&number).unwrap().heard_at = now;
                self.classic(number).phase = Phase::Out;
                if !is_lost {
                    self.take_joined(number, told);
                }
            }
            Phase::Syncing(ticket) => {
                let Some(told) = self.driver.synced(ticket) else {
                    return false;
                };
                self.clients.get_mut(&number).unwrap().heard_at = now;
                self.classic(number).phase = Phase::Out;
                let code = ErrorCode::from_code(told.error_code).unwrap();
                if code.is_none() && !is_lost {
                    self.take_assigned(number, embedded::assignment(&told.assignment).unwrap());
                } else if !is_lost {
                    self.note_code(number, code);
                }
            }
            Phase::Out | Phase::Joined(_) | Phase::In => return false,
        }
        true
    }

    fn take_joined(&mut self, number: usize, told: JoinGroupResponse) {
        match ErrorCode::from_code(told.error_code).unwrap() {
            ErrorCode::None => {
                let classic = self.classic(number);
                classic.id = told.member_id.to_string();
                classic.generation = told.generation_id;
                // Who reads nothing may take its time.
                if !self.is_cooperative && !self.is_calm && self.rng.one_in(4) {
                    self.classic(number).phase = Phase::Joined(Box::new(told));
                } else {
                    self.sync(number, told);
                }
            }
            ErrorCode::MemberIdRequired => self.classic(number).id = told.member_id.to_string(),
            code => self.note_code(number, code),
        }
    }

    fn take_assigned(&mut self, number: usize, assignment: ConsumerProtocolAssignment) {
        let topics = assignment.assigned_partitions.into_iter();
        let assigned: BTreeSet<Partition> = topics
            .flat_map(|topic| {
                let (name, _) = TOPICS
                    .into_iter()
                    .find(|(name, _)| **name == *topic.topic)
                    .unwrap();
                topic
                    .partitions
                    .into_iter()
                    .map(move |partition| (name, partition))
            })
            .collect();
        let client = self.clients.get_mut(&number).unwrap();
        let has_revoked = !client.reads.is_subset(&assigned);
        client.reads = assigned;
        // Others wait for what it has let go.
        let classic = self.classic(number);
        classic.may_be_forgotten = false;
        classic.phase = if has_revoked { Phase::Out } else { Phase::In };
    }
}

impl Client {
    fn metadata(&self) -> Vec<u8> {
        let owned = TOPICS.iter().filter_map(|(name, _)| {
            let partitions = self.reads_of(name);
            (!partitions.is_empty()).then(|| Owned {
                topic: (*name).into(),
                partitions,
            })
        });
        let subscription = ConsumerProtocolSubscription {
            topics: self.topics.iter().map(|topic| (*topic).into()).collect(),
            owned_partitions: owned.collect(),
            ..Default::default()
        };
        embed(3, &subscription)
    }
}

/// The leader gives each partition to one of those who want its topic; a cooperative one to nobody while another one has it.
fn share_out(
    members: &[JoinGroupResponseMember],
    sizes: &[i32],
    is_cooperative: bool,
) -> Vec<SyncGroupRequestAssignment> {
    let said: Vec<_> = members
        .iter()
        .map(|member| embedded::subscription(&member.metadata).unwrap())
        .collect();
    let mut given: Vec<Vec<Assigned>> = members.iter().map(|_| Vec::new()).collect();
    for ((name, _), size) in TOPICS.into_iter().zip(sizes) {
        let wants = |at: &usize| said[*at].topics.iter().any(|topic| **topic == *name);
        let wanting: Vec<usize> = (0..members.len()).filter(wants).collect();
        for partition in (0..*size).filter(|_| !wanting.is_empty()) {
            let to = wanting[partition as usize % wanting.len()];
            let has = |said: &ConsumerProtocolSubscription| {
                let mut owned = said.owned_partitions.iter();
                owned.any(|owned| *owned.topic == *name && owned.partitions.contains(&partition))
            };
            let is_free = (0..members.len()).all(|other| other == to || !has(&said[other]));
            if is_free || !is_cooperative {
                given[to].push(Assigned {
                    topic: name.into(),
                    partitions: vec![partition],
                });
            }
        }
    }
    let all = members.iter().zip(given).map(|(member, assigned_partitions)| {
        let assignment = ConsumerProtocolAssignment {
            assigned_partitions,
            ..Default::default()
        };
        SyncGroupRequestAssignment {
            member_id: member.member_id.clone(),
            assignment: embed(3, &assignment).into(),
            ..Default::default()
        }
    });
    all.collect()
}
