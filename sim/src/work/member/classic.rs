//! The classic protocol: JoinGroup, SyncGroup, Heartbeat, LeaveGroup. The leader deals the partitions out one by one.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use klamm_model::ErrorCode;
use klamm_protocol::data_records::consumer_protocol_assignment::TopicPartition;
use klamm_protocol::data_records::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use klamm_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use klamm_protocol::messages::leave_group_request::MemberIdentity;
use klamm_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use klamm_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
};
use klamm_protocol::{Message, Reader};

use super::{Member, REBALANCE_MS, SESSION_MS};
use crate::work::line::{BACKOFF, Line, Lost};

const JOIN: i16 = 9;
const SYNC: i16 = 5;
const HEARTBEAT: i16 = 4;
const LEAVE: i16 = 5;
const TYPE: &str = "consumer";
const NAME: &str = "range";

impl Member {
    pub(super) async fn join(&mut self, line: &mut Line) -> Result<(), Lost> {
        self.release_all(line.env.monotonic());
        let request = JoinGroupRequest {
            group_id: self.group.into(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: REBALANCE_MS,
            member_id: self.id.as_str().into(),
            protocol_type: TYPE.into(),
            protocols: vec![JoinGroupRequestProtocol {
                name: NAME.into(),
                metadata: self.subscription(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let answer = line.ask(JOIN, &request).await?;
        match ErrorCode::from_code(answer.error_code) {
            Some(ErrorCode::None) => {
                self.id = answer.member_id.to_string();
                self.epoch = answer.generation_id;
                self.sync(line, &answer).await
            }
            Some(ErrorCode::MemberIdRequired) => {
                self.id = answer.member_id.to_string();
                Ok(())
            }
            other => self.refused(line, "JoinGroup", other).await,
        }
    }

    async fn sync(&mut self, line: &mut Line, joined: &JoinGroupResponse) -> Result<(), Lost> {
        let leads = joined.leader == joined.member_id && !joined.skip_assignment;
        let request = SyncGroupRequest {
            group_id: self.group.into(),
            generation_id: self.epoch,
            member_id: self.id.as_str().into(),
            protocol_type: Some(TYPE.into()),
            protocol_name: Some(NAME.into()),
            assignments: if leads { self.deal_out(joined) } else { Vec::new() },
            ..Default::default()
        };
        let asked = line.env.monotonic();
        let answer = line.ask(SYNC, &request).await?;
        match ErrorCode::from_code(answer.error_code) {
            Some(ErrorCode::None) => {
                let now = line.env.monotonic();
                self.confirm(asked, now);
                match assigned(answer.assignment) {
                    Some(partitions) => self.take(partitions.into_iter(), now),
                    None => line.fault(format_args!("an assignment that cannot be read")),
                }
                Ok(())
            }
            other => self.refused(line, "SyncGroup", other).await,
        }
    }

    pub(super) async fn beat(&mut self, line: &mut Line) -> Result<(), Lost> {
        let request = HeartbeatRequest {
            group_id: self.group.into(),
            generation_id: self.epoch,
            member_id: self.id.as_str().into(),
            ..Default::default()
        };
        let asked = line.env.monotonic();
        let answer = line.ask(HEARTBEAT, &request).await?;
        match ErrorCode::from_code(answer.error_code) {
            Some(ErrorCode::None) => {
                self.confirm(asked, line.env.monotonic());
                Ok(())
            }
            other => self.refused(line, "Heartbeat", other).await,
        }
    }

    pub(super) async fn leave_classic(&mut self, line: &mut Line) {
        let request = LeaveGroupRequest {
            group_id: self.group.into(),
            members: vec![MemberIdentity {
                member_id: self.id.as_str().into(),
                ..Default::default()
            }],
            ..Default::default()
        };
        // Whether it arrives or not: its session ends without it, too.
        let _ = line.ask(LEAVE, &request).await;
    }

    /// What a member does that is not, or no longer, in the group as it thought.
    async fn refused(&mut self, line: &Line, api: &'static str, code: Option<ErrorCode>) -> Result<(), Lost> {
        match code {
            Some(ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration) => {
                self.release_all(line.env.monotonic());
                self.next = None;
            }
            Some(ErrorCode::UnknownMemberId) => {
                self.release_all(line.env.monotonic());
                self.forget();
            }
            Some(again) if again.is_retriable() => {
                line.ledger.refused(api, again);
                line.env.sleep(BACKOFF).await;
            }
            other => line.fault(format_args!("{api} is answered with {other:?}")),
        }
        Ok(())
    }

    fn subscription(&self) -> Bytes {
        versioned(&ConsumerProtocolSubscription {
            topics: vec![self.topic.name.into()],
            ..Default::default()
        })
    }

    fn deal_out(&self, joined: &JoinGroupResponse) -> Vec<SyncGroupRequestAssignment> {
        let mut parts: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        let members = joined.members.iter().map(|member| &*member.member_id);
        for (partition, member) in (0..self.topic.partitions).zip(members.cycle()) {
            parts.entry(member).or_default().push(partition);
        }
        let parts = parts.into_iter();
        let assignments = parts.map(|(member, partitions)| SyncGroupRequestAssignment {
            member_id: member.into(),
            assignment: versioned(&ConsumerProtocolAssignment {
                assigned_partitions: vec![TopicPartition {
                    topic: self.topic.name.into(),
                    partitions,
                }],
                ..Default::default()
            }),
            ..Default::default()
        });
        assignments.collect()
    }
}

/// What members say to each other begins with a version: the first is enough.
fn versioned<M: Message>(message: &M) -> Bytes {
    let body = message.to_bytes(0).expect("version 0 has all that is set");
    let mut bytes = BytesMut::with_capacity(2 + body.len());
    bytes.put_i16(0);
    bytes.extend_from_slice(&body);
    bytes.freeze()
}

fn assigned(bytes: Bytes) -> Option<Vec<i32>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let mut reader = Reader::new(bytes);
    let version = reader.i16().ok()?;
    let assignment = ConsumerProtocolAssignment::decode(&mut reader, version).ok()?;
    let topics = assignment.assigned_partitions.into_iter();
    Some(topics.flat_map(|topic| topic.partitions).collect())
}
