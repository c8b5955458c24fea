//! The coordinator that the broker of the tests is: one group, whose only member is the one under test, in both protocols.
//!
//! Always holds: what a member must not do in its state is refused as a real coordinator refuses it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use klamm_model::ErrorCode;
use klamm_protocol::messages::{
    consumer_group_describe_request::ConsumerGroupDescribeRequest,
    consumer_group_describe_response as modern,
    consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest,
    consumer_group_heartbeat_response as beat, delete_groups_request::DeleteGroupsRequest,
    delete_groups_response as delete, describe_groups_request::DescribeGroupsRequest,
    describe_groups_response as classic, find_coordinator_request::FindCoordinatorRequest,
    find_coordinator_response as find, heartbeat_request::HeartbeatRequest,
    heartbeat_response::HeartbeatResponse, join_group_request::JoinGroupRequest, join_group_response as join,
    leave_group_request::LeaveGroupRequest, leave_group_response::LeaveGroupResponse,
    list_groups_request::ListGroupsRequest, list_groups_response as list,
    offset_commit_request::OffsetCommitRequest, offset_commit_response as commit,
    offset_fetch_request::OffsetFetchRequest, offset_fetch_response as fetch,
    sync_group_request::SyncGroupRequest, sync_group_response::SyncGroupResponse,
};
use klamm_protocol::{ApiKey, Reader};

use super::{PORT, answer, read, topic_id};

/// The group.
pub(crate) const GROUP: &str = "g";

/// What is served beside what every broker serves.
pub(super) const APIS: [ApiKey; 12] = [
    ApiKey::FindCoordinator,
    ApiKey::JoinGroup,
    ApiKey::SyncGroup,
    ApiKey::Heartbeat,
    ApiKey::LeaveGroup,
    ApiKey::OffsetCommit,
    ApiKey::OffsetFetch,
    ApiKey::ListGroups,
    ApiKey::DescribeGroups,
    ApiKey::DeleteGroups,
    ApiKey::ConsumerGroupHeartbeat,
    ApiKey::ConsumerGroupDescribe,
];

/// The coordinator.
#[derive(Default)]
pub(crate) struct Groups {
    /// Which APIs were asked, in order; heartbeats that changed nothing are left out.
    pub(crate) asked: Vec<ApiKey>,
    /// What the next requests of an API are refused with.
    pub(crate) refusals: BTreeMap<ApiKey, VecDeque<ErrorCode>>,
    /// Whether members speak the newer protocol.
    pub(crate) is_modern: bool,
    /// What is committed.
    pub(crate) offsets: BTreeMap<(String, i32), i64>,
    /// For which partitions a transaction is open that has committed offsets.
    pub(crate) unstable: BTreeSet<(String, i32)>,
    /// How many heartbeats were answered that changed nothing.
    pub(crate) beats: usize,
    /// What the member of the newer protocol is to have.
    pub(crate) target: BTreeMap<&'static str, Vec<i32>>,
    /// What it is to have when it joins the next time.
    pub(crate) next_target: Option<BTreeMap<&'static str, Vec<i32>>>,
    /// What it said that it has, each time that it said so.
    pub(crate) told: Vec<Vec<i32>>,
    /// The generation, or the epoch of the member.
    pub(crate) epoch: i32,
    member: Option<String>,
    metadata: Bytes,
    assignment: Bytes,
    given: Option<BTreeMap<&'static str, Vec<i32>>>,
}

impl Groups {
    /// Refuses the next requests of `api`.
    pub(crate) fn refuse(&mut self, api: ApiKey, codes: &[ErrorCode]) {
        self.refusals.entry(api).or_default().extend(codes);
    }

    /// Whether it has a member.
    pub(crate) fn has_member(&self) -> bool {
        self.member.is_some()
    }

    /// What was asked since the last time.
    pub(crate) fn take_asked(&mut self) -> Vec<ApiKey> {
        std::mem::take(&mut self.asked)
    }

    /// The answer to a request; `None` when it is no coordinator's.
    pub(super) fn handle(&mut self, api: ApiKey, id: i32, version: i16, r: Reader) -> Option<Bytes> {
        if !APIS.contains(&api) {
            return None;
        }
        let refused = self.refusals.get_mut(&api).and_then(VecDeque::pop_front);
        let code = refused.map_or(0, ErrorCode::code);
        self.asked.push(api);
        let v = version;
        Some(match api {
            ApiKey::FindCoordinator => answer(api, id, v, &find(&read(r, v), v, code)),
            ApiKey::JoinGroup => answer(api, id, v, &self.join(read(r, v), code)),
            ApiKey::SyncGroup => answer(api, id, v, &self.sync(read(r, v), code)),
            ApiKey::Heartbeat => answer(api, id, v, &self.heartbeat(&read(r, v), code)),
            ApiKey::LeaveGroup => answer(api, id, v, &self.leave(read(r, v), code)),
            ApiKey::OffsetCommit => answer(api, id, v, &self.commit(read(r, v), code)),
            ApiKey::OffsetFetch => answer(api, id, v, &self.fetch(read(r, v), v, code)),
            ApiKey::ListGroups => answer(api, id, v, &list(&read(r, v), v, code)),
            ApiKey::DescribeGroups => answer(api, id, v, &self.describe(read(r, v), code)),
            ApiKey::DeleteGroups => answer(api, id, v, &delete(read(r, v), code)),
            ApiKey::ConsumerGroupDescribe => answer(api, id, v, &self.describe_modern(read(r, v), code)),
            _ => answer(api, id, v, &self.beat(&read(r, v), code)),
        })
    }

    fn is_member(&self, member: &str, epoch: i32) -> Option<ErrorCode> {
        match &self.member {
            None if epoch < 0 && member.is_empty() => None,
            Some(known) if known != member => Some(ErrorCode::UnknownMemberId),
            None => Some(ErrorCode::UnknownMemberId),
            Some(_) if epoch == self.epoch => None,
            Some(_) if self.is_modern => Some(ErrorCode::StaleMemberEpoch),
            Some(_) => Some(ErrorCode::IllegalGeneration),
        }
    }

    fn join(&mut self, request: JoinGroupRequest, code: i16) -> join::JoinGroupResponse {
        let mut response = join::JoinGroupResponse {
            error_code: code,
            ..Default::default()
        };
        if code != 0 {
            return response;
        }
        if request.member_id.is_empty() {
            response.error_code = ErrorCode::MemberIdRequired.code();
            response.member_id = "m".into();
            return response;
        }
        self.epoch += 1;
        self.member = Some(request.member_id.to_string());
        self.metadata = request.protocols[0].metadata.clone();
        response.generation_id = self.epoch;
        response.protocol_type = Some(request.protocol_type.clone());
        response.protocol_name = Some(request.protocols[0].name.clone());
        response.leader = request.member_id.clone();
        response.member_id = request.member_id.clone();
        response.members = vec![join::JoinGroupResponseMember {
            member_id: request.member_id,
            metadata: self.metadata.clone(),
            ..Default::default()
        }];
        response
    }

    fn sync(&mut self, request: SyncGroupRequest, code: i16) -> SyncGroupResponse {
        let checked = self.is_member(&request.member_id, request.generation_id);
        let mut response = SyncGroupResponse {
            error_code: if code == 0 {
                checked.map_or(0, ErrorCode::code)
            } else {
                code
            },
            protocol_type: request.protocol_type,
            protocol_name: request.protocol_name,
            ..Default::default()
        };
        if response.error_code == 0 {
            self.assignment = request.assignments[0].assignment.clone();
            response.assignment = self.assignment.clone();
        }
        response
    }

    fn heartbeat(&mut self, request: &HeartbeatRequest, code: i16) -> HeartbeatResponse {
        let checked = self.is_member(&request.member_id, request.generation_id);
        let code = if code == 0 {
            checked.map_or(0, ErrorCode::code)
        } else {
            code
        };
        if code == 0 {
            self.asked.pop();
            self.beats += 1;
        }
        if code == ErrorCode::UnknownMemberId.code() {
            self.member = None;
        }
        HeartbeatResponse {
            error_code: code,
            ..Default::default()
        }
    }

    fn leave(&mut self, request: LeaveGroupRequest, code: i16) -> LeaveGroupResponse {
        let leaving = match request.members.first() {
            Some(member) => Some(member.member_id.to_string()),
            None => Some(request.member_id.to_string()),
        };
        assert_eq!(leaving, self.member.take());
        LeaveGroupResponse {
            error_code: code,
            ..Default::default()
        }
    }

    fn commit(&mut self, request: OffsetCommitRequest, code: i16) -> commit::OffsetCommitResponse {
        let checked = self.is_member(&request.member_id, request.generation_id_or_member_epoch);
        let code = if code == 0 {
            checked.map_or(0, ErrorCode::code)
        } else {
            code
        };
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.into_iter().map(|partition| {
                if code == 0 {
                    let key = (topic.name.to_string(), partition.partition_index);
                    self.offsets.insert(key, partition.committed_offset);
                }
                commit::OffsetCommitResponsePartition {
                    partition_index: partition.partition_index,
                    error_code: code,
                    ..Default::default()
                }
            });
            commit::OffsetCommitResponseTopic {
                partitions: partitions.collect(),
                name: topic.name,
                ..Default::default()
            }
        });
        commit::OffsetCommitResponse {
            topics: topics.collect(),
            ..Default::default()
        }
    }

    fn fetch(&self, request: OffsetFetchRequest, version: i16, code: i16) -> fetch::OffsetFetchResponse {
        let stable = self
            .offsets
            .iter()
            .filter(|(key, _)| !self.unstable.contains(key));
        let stable = stable.map(|(key, offset)| (key, *offset, ErrorCode::None));
        let unstable = self
            .unstable
            .iter()
            .map(|key| (key, -1, ErrorCode::UnstableOffsetCommit));
        let all = stable.chain(unstable).map(|((topic, index), offset, code)| {
            let partition = fetch::OffsetFetchResponsePartitions {
                partition_index: *index,
                committed_offset: offset,
                error_code: code.code(),
                ..Default::default()
            };
            fetch::OffsetFetchResponseTopics {
                name: topic.as_str().into(),
                partitions: vec![partition],
                ..Default::default()
            }
        });
        if version >= 8 {
            let group = fetch::OffsetFetchResponseGroup {
                group_id: request.groups[0].group_id.clone(),
                topics: all.collect(),
                error_code: code,
                ..Default::default()
            };
            return fetch::OffsetFetchResponse {
                groups: vec![group],
                ..Default::default()
            };
        }
        let topics = all.map(|topic| fetch::OffsetFetchResponseTopic {
            partitions: vec![fetch::OffsetFetchResponsePartition {
                partition_index: topic.partitions[0].partition_index,
                committed_offset: topic.partitions[0].committed_offset,
                error_code: topic.partitions[0].error_code,
                ..Default::default()
            }],
            name: topic.name,
            ..Default::default()
        });
        fetch::OffsetFetchResponse {
            topics: topics.collect(),
            error_code: code,
            ..Default::default()
        }
    }

    fn describe(&self, request: DescribeGroupsRequest, code: i16) -> classic::DescribeGroupsResponse {
        let members = self.member.iter().map(|member| classic::DescribedGroupMember {
            member_id: member.as_str().into(),
            client_id: "klamm".into(),
            client_host: "/10.0.0.1".into(),
            member_metadata: self.metadata.clone(),
            member_assignment: self.assignment.clone(),
            ..Default::default()
        });
        let has_members = self.member.is_some();
        let group = classic::DescribedGroup {
            error_code: code,
            group_id: request.groups[0].clone(),
            group_state: match (has_members, self.offsets.is_empty()) {
                (true, _) => "Stable",
                (false, false) => "Empty",
                (false, true) => "Dead",
            }
            .into(),
            protocol_type: if has_members { "consumer" } else { "" }.into(),
            protocol_data: if has_members { "range" } else { "" }.into(),
            members: members.collect(),
            ..Default::default()
        };
        classic::DescribeGroupsResponse {
            groups: vec![group],
            ..Default::default()
        }
    }

    fn describe_modern(
        &self,
        request: ConsumerGroupDescribeRequest,
        code: i16,
    ) -> modern::ConsumerGroupDescribeResponse {
        let mut group = modern::DescribedGroup {
            group_id: request.group_ids[0].clone(),
            error_code: code,
            ..Default::default()
        };
        if !self.is_modern && code == 0 {
            group.error_code = ErrorCode::GroupIdNotFound.code();
        } else {
            group.group_state = "Stable".into();
            group.assignor_name = "uniform".into();
            group.group_epoch = self.epoch;
            let topics = self
                .target
                .iter()
                .map(|(topic, partitions)| modern::TopicPartitions {
                    topic_id: topic_id(topic),
                    topic_name: (*topic).into(),
                    partitions: partitions.clone(),
                    ..Default::default()
                });
            group.members = vec![modern::Member {
                member_id: "m".into(),
                member_epoch: self.epoch,
                assignment: modern::Assignment {
                    topic_partitions: topics.collect(),
                    ..Default::default()
                },
                ..Default::default()
            }];
        }
        modern::ConsumerGroupDescribeResponse {
            groups: vec![group],
            ..Default::default()
        }
    }

    fn beat(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
        code: i16,
    ) -> beat::ConsumerGroupHeartbeatResponse {
        let mut response = beat::ConsumerGroupHeartbeatResponse {
            error_code: code,
            member_id: Some(request.member_id.clone()),
            heartbeat_interval_ms: 1_000,
            ..Default::default()
        };
        if code != 0 {
            return response;
        }
        match request.member_epoch {
            -1 => {
                self.member = None;
                response.member_epoch = -1;
                return response;
            }
            0 => {
                assert!(request.subscribed_topic_names.is_some() && request.rebalance_timeout_ms > 0);
                assert_eq!(request.topic_partitions.as_ref().map(Vec::len), Some(0));
                self.member = Some(request.member_id.to_string());
                self.epoch += 1;
                self.given = None;
                self.target = self
                    .next_target
                    .take()
                    .unwrap_or(std::mem::take(&mut self.target));
            }
            _ if self.member.as_deref() != Some(&request.member_id) => {
                response.error_code = ErrorCode::UnknownMemberId.code();
                return response;
            }
            _ => {}
        }
        match &request.topic_partitions {
            Some(owned) => {
                let partitions = owned.iter().flat_map(|topic| topic.partitions.clone());
                self.told.push(partitions.collect());
            }
            None => {
                self.asked.pop();
                self.beats += 1;
            }
        }
        response.member_epoch = self.epoch;
        if self.given.as_ref() != Some(&self.target) {
            self.given = Some(self.target.clone());
            let topics = self
                .target
                .iter()
                .map(|(topic, partitions)| beat::TopicPartitions {
                    topic_id: topic_id(topic),
                    partitions: partitions.clone(),
                    ..Default::default()
                });
            response.assignment = Some(beat::Assignment {
                topic_partitions: topics.collect(),
                ..Default::default()
            });
        }
        response
    }
}

fn find(request: &FindCoordinatorRequest, version: i16, code: i16) -> find::FindCoordinatorResponse {
    if version < 4 {
        assert_eq!(&*request.key, GROUP);
        return find::FindCoordinatorResponse {
            error_code: code,
            node_id: 1,
            host: "broker".into(),
            port: i32::from(PORT),
            ..Default::default()
        };
    }
    let coordinators = request.coordinator_keys.iter().map(|key| find::Coordinator {
        key: key.clone(),
        node_id: 1,
        host: "broker".into(),
        port: i32::from(PORT),
        error_code: code,
        ..Default::default()
    });
    find::FindCoordinatorResponse {
        coordinators: coordinators.collect(),
        ..Default::default()
    }
}

fn list(request: &ListGroupsRequest, version: i16, code: i16) -> list::ListGroupsResponse {
    // The names say what they are.
    let all = [("a", "Stable", "Consumer"), ("b", "Empty", "Classic")];
    let wanted = all.into_iter().filter(|(_, state, kind)| {
        let is_in = |words: &[bytestring::ByteString], word: &str| {
            words.is_empty() || words.iter().any(|wanted| wanted.eq_ignore_ascii_case(word))
        };
        is_in(&request.states_filter, state) && is_in(&request.types_filter, kind)
    });
    let groups = wanted.map(|(name, state, kind)| list::ListedGroup {
        group_id: name.into(),
        protocol_type: "consumer".into(),
        group_state: if version >= 4 { state } else { "" }.into(),
        group_type: if version >= 5 { kind } else { "" }.into(),
        ..Default::default()
    });
    list::ListGroupsResponse {
        error_code: code,
        groups: groups.collect(),
        ..Default::default()
    }
}

fn delete(request: DeleteGroupsRequest, code: i16) -> delete::DeleteGroupsResponse {
    let results = request
        .groups_names
        .into_iter()
        .map(|group_id| delete::DeletableGroupResult {
            group_id,
            error_code: code,
            ..Default::default()
        });
    delete::DeleteGroupsResponse {
        results: results.collect(),
        ..Default::default()
    }
}
