//! A group on its way from one protocol to the other, and back.

mod last_member;
mod mixed;
mod way_back;
mod way_up;

use bytes::Bytes;
use klamm_model::{ErrorCode, Uuid};
use klamm_protocol::data_records::consumer_protocol_subscription::TopicPartition;
use klamm_protocol::data_records::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, consumer_protocol_assignment,
};
use klamm_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, JoinGroupResponse, SyncGroupRequest,
};
use klamm_protocol::{Message, Writer};

use crate::group::answer::Answer;
use crate::group::consumer::embedded;
use crate::group::consumer::testing::{Cluster, owning, told};
use crate::group::driver::{Driver, Join, heartbeat, join};
use crate::group::request::{Client, Request};

const TOPIC: Uuid = Uuid([7; 16]);

pub(super) fn embed<M: Message>(version: i16, message: &M) -> Vec<u8> {
    let mut writer = Writer::contiguous();
    writer.i16(version);
    message.encode(&mut writer, version).unwrap();
    writer.into_bytes().to_vec()
}

/// What a consumer says that wants topic `t` and has some of its partitions.
fn wants(has: &[i32]) -> Vec<u8> {
    let owned = TopicPartition {
        topic: "t".into(),
        partitions: has.to_vec(),
    };
    let subscription = ConsumerProtocolSubscription {
        topics: vec!["t".into()],
        owned_partitions: if has.is_empty() { Vec::new() } else { vec![owned] },
        ..Default::default()
    };
    embed(3, &subscription)
}

fn gives(partitions: &[i32], user_data: Option<&'static [u8]>) -> Vec<u8> {
    let assigned = consumer_protocol_assignment::TopicPartition {
        topic: "t".into(),
        partitions: partitions.to_vec(),
    };
    let assignment = ConsumerProtocolAssignment {
        assigned_partitions: vec![assigned],
        user_data: user_data.map(Bytes::from_static),
    };
    embed(3, &assignment)
}

/// A heartbeat of the static member `i` that has some partitions of topic `t`.
fn of_instance(member: &str, epoch: i32, has: &[i32]) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        instance_id: Some("i".into()),
        ..owning(member, epoch, TOPIC, has)
    }
}

/// A consumer of the classic protocol that does what it is told.
struct Classic {
    id: String,
    generation: i32,
    has: Vec<i32>,
}

fn had(members: &[Classic]) -> Vec<i32> {
    let mut all: Vec<i32> = members.iter().flat_map(|member| member.has.clone()).collect();
    all.sort_unstable();
    all
}

struct World {
    driver: Driver,
    cluster: Cluster,
}

impl World {
    fn new() -> Self {
        let mut cluster = Cluster::default();
        cluster.topic_with_id("t", TOPIC, 4, &["r"]);
        let mut driver = Driver::new();
        driver.config.consumer_assignment_interval = std::time::Duration::ZERO;
        driver.change(cluster.image());
        Self { driver, cluster }
    }

    fn beat(&mut self, request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
        let request = Request::ConsumerGroupHeartbeat {
            client: Client::default(),
            version: 1,
            request: Box::new(request),
        };
        match self.driver.at_once(request) {
            Answer::ConsumerGroupHeartbeat(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    fn join(&mut self, join: Join) -> JoinGroupResponse {
        match self.driver.at_once(join) {
            Answer::JoinGroup(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    /// Code, and the partitions of topic `t`.
    fn sync(&mut self, generation: i32, member: &str, given: &[(&str, Vec<u8>)]) -> (ErrorCode, Vec<i32>) {
        self.sync_as("range", generation, member, given)
    }

    fn sync_as(
        &mut self,
        protocol: &str,
        generation: i32,
        member: &str,
        given: &[(&str, Vec<u8>)],
    ) -> (ErrorCode, Vec<i32>) {
        let mut request = SyncGroupRequest {
            group_id: "g".into(),
            generation_id: generation,
            member_id: member.into(),
            protocol_type: Some("consumer".into()),
            protocol_name: Some(protocol.into()),
            ..Default::default()
        };
        for (member, bytes) in given {
            request.assignments.push(
                klamm_protocol::messages::sync_group_request::SyncGroupRequestAssignment {
                    member_id: (*member).into(),
                    assignment: bytes.clone().into(),
                    ..Default::default()
                },
            );
        }
        match self.driver.at_once(Request::SyncGroup {
            version: 5,
            request: Box::new(request),
        }) {
            Answer::SyncGroup(answer) => {
                let partitions = embedded::assignment(&answer.assignment).unwrap_or_default();
                let partitions = partitions.assigned_partitions;
                let code = ErrorCode::from_code(answer.error_code).unwrap();
                (
                    code,
                    partitions
                        .first()
                        .map(|topic| topic.partitions.clone())
                        .unwrap_or_default(),
                )
            }
            other => panic!("{other:?}"),
        }
    }

    fn alive(&mut self, generation: i32, member: &str) -> ErrorCode {
        match self.driver.at_once(heartbeat(generation, member, None)) {
            Answer::Heartbeat(answer) => ErrorCode::from_code(answer.error_code).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// Members go on for some heartbeats.
    fn obey(&mut self, members: &mut [Classic], heartbeats: usize) {
        for _ in 0..heartbeats {
            for member in &mut *members {
                match self.alive(member.generation, &member.id) {
                    ErrorCode::None => continue,
                    ErrorCode::RebalanceInProgress => {}
                    code => panic!("{code:?}"),
                }
                let joined = self.join(join(&member.id).saying(&wants(&member.has)));
                assert_eq!(joined.error_code, 0);
                member.generation = joined.generation_id;
                let (code, has) = self.sync(joined.generation_id, &member.id, &[]);
                if code.is_none() {
                    member.has = has;
                }
            }
        }
    }

    /// Members of the classic protocol join the group in which `new` has everything at epoch 2, and all come to what they are to have.
    fn classic_beside(&mut self, new: &str, count: usize) -> Vec<Classic> {
        let joined = (0..count).map(|_| self.join(join("").version(3).saying(&wants(&[]))));
        let members = joined.map(|joined| Classic {
            id: joined.member_id.to_string(),
            generation: joined.generation_id,
            has: Vec::new(),
        });
        let mut members: Vec<Classic> = members.collect();
        let is_static = self.driver.shard.groups["g"]
            .consumer()
            .unwrap()
            .static_member("i")
            .is_some();
        let mut epoch = 2;
        let mut has = vec![0, 1, 2, 3];
        for _ in 0..3 {
            let answer = self.beat(ConsumerGroupHeartbeatRequest {
                instance_id: is_static.then(|| "i".into()),
                ..owning(new, epoch, TOPIC, &has)
            });
            assert_eq!(answer.error_code, 0);
            epoch = answer.member_epoch;
            if let Some([(_, partitions)]) = told(&answer).as_deref() {
                has.clone_from(partitions);
            }
            self.obey(&mut members, 1);
        }
        assert_eq!(self.listed(), ["consumer", "Stable"]);
        members
    }

    fn listed(&mut self) -> [String; 2] {
        match self.driver.at_once(Request::ListGroups(Default::default())) {
            Answer::ListGroups(answer) => {
                [&answer.groups[0].group_type, &answer.groups[0].group_state].map(|text| text.to_string())
            }
            other => panic!("{other:?}"),
        }
    }

    /// A classic group of one member, which was given partitions.
    fn classic(&mut self, given: Vec<u8>) -> String {
        let ticket = self.driver.ask(join("").version(3).saying(&wants(&[])));
        self.driver.pass(3_000);
        let joined = self.driver.joined(ticket).unwrap();
        let member = joined.member_id.to_string();
        assert_eq!((joined.error_code, joined.generation_id), (0, 1));
        self.sync(1, &member, &[(&*member, given)]);
        member
    }
}
