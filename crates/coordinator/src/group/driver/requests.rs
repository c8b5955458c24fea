//! Requests to the one group that most tests are about, and what their answers say.

use klamm_model::Uuid;
use klamm_protocol::ByteString;
use klamm_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use klamm_protocol::messages::leave_group_request::MemberIdentity;
use klamm_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use klamm_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use klamm_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use klamm_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, OffsetCommitRequest, SyncGroupRequest,
};

use crate::group::answer::Answer;
use crate::group::request::{Client, Request};

/// A JoinGroup.
#[derive(Clone)]
pub(crate) struct Join {
    pub(crate) version: i16,
    pub(crate) member: ByteString,
    pub(crate) instance: Option<&'static str>,
    pub(crate) protocols: Vec<(&'static str, Vec<u8>)>,
    pub(crate) protocol_type: &'static str,
    pub(crate) session_ms: i32,
    pub(crate) rebalance_ms: i32,
}

/// Of the newest version, by a member that speaks `range`.
pub(crate) fn join(member: &str) -> Join {
    Join {
        version: 9,
        member: member.into(),
        instance: None,
        protocols: vec![("range", b"topics".to_vec())],
        protocol_type: "consumer",
        session_ms: 10_000,
        rebalance_ms: 60_000,
    }
}

impl Join {
    pub(crate) fn version(self, version: i16) -> Self {
        Self { version, ..self }
    }

    pub(crate) fn instance(self, instance: &'static str) -> Self {
        Self {
            instance: Some(instance),
            ..self
        }
    }

    pub(crate) fn speaking(self, protocols: &[&'static str]) -> Self {
        let protocols = protocols.iter().map(|name| (*name, b"topics".to_vec()));
        Self {
            protocols: protocols.collect(),
            ..self
        }
    }

    pub(crate) fn saying(self, metadata: &[u8]) -> Self {
        Self {
            protocols: vec![("range", metadata.to_vec())],
            ..self
        }
    }
}

impl From<Join> for Request {
    fn from(join: Join) -> Self {
        let protocols = join
            .protocols
            .into_iter()
            .map(|(name, metadata)| JoinGroupRequestProtocol {
                name: name.into(),
                metadata: metadata.into(),
                ..Default::default()
            });
        Self::JoinGroup {
            client: Client {
                client_id: "c".into(),
                client_host: "/127.0.0.1".into(),
            },
            version: join.version,
            request: Box::new(JoinGroupRequest {
                group_id: "g".into(),
                session_timeout_ms: join.session_ms,
                rebalance_timeout_ms: join.rebalance_ms,
                member_id: join.member,
                group_instance_id: join.instance.map(Into::into),
                protocol_type: join.protocol_type.into(),
                protocols: protocols.collect(),
                ..Default::default()
            }),
        }
    }
}

/// A SyncGroup, with what each member is given.
pub(crate) fn sync(generation: i32, member: &str, given: &[(&str, &str)]) -> Request {
    let given = given
        .iter()
        .map(|(member, assignment)| SyncGroupRequestAssignment {
            member_id: (*member).into(),
            assignment: assignment.as_bytes().to_vec().into(),
            ..Default::default()
        });
    Request::SyncGroup {
        version: 5,
        request: Box::new(SyncGroupRequest {
            group_id: "g".into(),
            generation_id: generation,
            member_id: member.into(),
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            assignments: given.collect(),
            ..Default::default()
        }),
    }
}

/// A Heartbeat.
pub(crate) fn heartbeat(generation: i32, member: &str, instance: Option<&str>) -> Request {
    Request::Heartbeat(Box::new(HeartbeatRequest {
        group_id: "g".into(),
        generation_id: generation,
        member_id: member.into(),
        group_instance_id: instance.map(Into::into),
        ..Default::default()
    }))
}

/// A LeaveGroup of members, each with its instance id.
pub(crate) fn leave(members: &[(&str, Option<&str>)]) -> Request {
    let members = members.iter().map(|(member, instance)| MemberIdentity {
        member_id: (*member).into(),
        group_instance_id: instance.map(Into::into),
        ..Default::default()
    });
    Request::LeaveGroup {
        version: 5,
        request: LeaveGroupRequest {
            group_id: "g".into(),
            members: members.collect(),
            ..Default::default()
        },
    }
}

/// What an OffsetCommit of partitions of topic `t` holds.
pub(crate) fn commit_of(generation: i32, member: &str, offsets: &[(i32, i64)]) -> OffsetCommitRequest {
    let partitions = offsets
        .iter()
        .map(|(partition, offset)| OffsetCommitRequestPartition {
            partition_index: *partition,
            committed_offset: *offset,
            ..Default::default()
        });
    OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: generation,
        member_id: member.into(),
        topics: vec![OffsetCommitRequestTopic {
            name: "t".into(),
            topic_id: Uuid([7; 16]),
            partitions: partitions.collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// An OffsetCommit of partitions of topic `t`.
pub(crate) fn commit(generation: i32, member: &str, offsets: &[(i32, i64)]) -> Request {
    Request::OffsetCommit {
        version: 9,
        request: commit_of(generation, member, offsets).into(),
    }
}

/// The code of each partition of an answer to an OffsetCommit.
pub(crate) fn commit_codes(answer: &Answer) -> Vec<i16> {
    let Answer::OffsetCommit(answer) = answer else {
        panic!("{answer:?}");
    };
    let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|partition| partition.error_code).collect()
}

/// An OffsetFetch of all that group `g` has.
pub(crate) fn fetch_all(require_stable: bool) -> Request {
    Request::OffsetFetch {
        require_stable,
        group: Box::new(OffsetFetchRequestGroup {
            group_id: "g".into(),
            topics: None,
            ..Default::default()
        }),
    }
}

/// (topic, partition, offset, code) of an answer to an OffsetFetch.
pub(crate) fn fetched(answer: &Answer) -> Vec<(String, i32, i64, i16)> {
    let Answer::OffsetFetch(answer) = answer else {
        panic!("{answer:?}");
    };
    let topics = answer.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| {
            let (offset, code) = (partition.committed_offset, partition.error_code);
            (topic.name.to_string(), partition.partition_index, offset, code)
        })
    });
    topics.collect()
}
