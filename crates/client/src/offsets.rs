//! What a group has committed: asked for, and written.
//!
//! Always holds: topics go by their names, so that a topic that was deleted and made again keeps its offsets, as for other
//! clients; every partition that was asked for has an answer of its own.

use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString;
use klamm_model::{ErrorCode, LeaderEpoch, Offset, TopicPartition};
use klamm_protocol::ApiKey;
use klamm_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use klamm_protocol::messages::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use klamm_protocol::messages::offset_fetch_response::OffsetFetchResponse;

use crate::coordinator::Coordinator;
use crate::error::{ClientError, Refusal};

/// The first OffsetFetch that can ask for all partitions.
const FIRST_FETCH_OF_ALL: i16 = 2;
/// The first OffsetFetch that waits for the offsets of open transactions.
const FIRST_STABLE_FETCH: i16 = 7;
/// The first OffsetFetch that asks for several groups.
const FIRST_FETCH_OF_GROUPS: i16 = 8;
/// The last OffsetFetch and OffsetCommit that name topics instead of giving their identifiers.
const LAST_WITH_NAMES: i16 = 9;
/// What stands for no epoch, no generation and no retention of one's own.
const NONE: i32 = -1;

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The offset of the next record to be read.
    pub offset: Offset,
    /// The epoch of the leader from which the record before it was read.
    pub leader_epoch: Option<LeaderEpoch>,
    /// What the committer wrote beside it.
    pub metadata: String,
}

/// As whom offsets are committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committer {
    pub(crate) member: ByteString,
    /// The generation of a classic member, the epoch of another.
    pub(crate) epoch: i32,
}

impl Committer {
    /// Somebody who is not a member: taken while the group has none.
    pub fn outsider() -> Self {
        Self {
            member: ByteString::new(),
            epoch: NONE,
        }
    }
}

/// What a group has committed for the partitions that were asked about; those without a commit are left out.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    pub(crate) committed: BTreeMap<TopicPartition, Committed>,
    /// Those that an open transaction may still change.
    pub(crate) unstable: BTreeSet<TopicPartition>,
}

/// What `coordinator`'s group has committed, open transactions or not.
pub(crate) async fn fetch_all(
    coordinator: &Coordinator,
) -> Result<BTreeMap<TopicPartition, Committed>, ClientError> {
    let fetched = coordinator.client().retrying(|| fetch(coordinator, None)).await?;
    Ok(fetched.committed)
}

/// What `coordinator`'s group has committed for `partitions` and no transaction can change any more. One attempt.
pub(crate) async fn fetch_stable(
    coordinator: &Coordinator,
    partitions: &[TopicPartition],
) -> Result<Fetched, ClientError> {
    fetch(coordinator, Some(partitions)).await
}

/// One attempt; `None` asks for all partitions, and not for stable offsets.
async fn fetch(
    coordinator: &Coordinator,
    partitions: Option<&[TopicPartition]>,
) -> Result<Fetched, ClientError> {
    let connection = coordinator.connection().await?;
    let version = connection.version_between::<OffsetFetchRequest>(FIRST_FETCH_OF_ALL, LAST_WITH_NAMES)?;
    let by_topic = partitions.map(by_topic);
    let mut request = OffsetFetchRequest {
        require_stable: partitions.is_some() && version >= FIRST_STABLE_FETCH,
        ..OffsetFetchRequest::default()
    };
    let group_id = coordinator.key().clone();
    if version >= FIRST_FETCH_OF_GROUPS {
        let topic = |(name, partition_indexes)| OffsetFetchRequestTopics {
            name,
            partition_indexes,
            ..OffsetFetchRequestTopics::default()
        };
        request.groups.push(OffsetFetchRequestGroup {
            group_id,
            topics: by_topic.map(|topics| topics.into_iter().map(topic).collect()),
            ..OffsetFetchRequestGroup::default()
        });
    } else {
        let topic = |(name, partition_indexes)| OffsetFetchRequestTopic {
            name,
            partition_indexes,
            ..OffsetFetchRequestTopic::default()
        };
        request.group_id = group_id;
        request.topics = by_topic.map(|topics| topics.into_iter().map(topic).collect());
    }
    let answer = coordinator.call((version, version), None, &request).await?;
    committed(coordinator, answer)
}

fn committed(coordinator: &Coordinator, answer: OffsetFetchResponse) -> Result<Fetched, ClientError> {
    let api = ApiKey::OffsetFetch;
    coordinator.check(api, answer.error_code, None)?;
    let mut found = Fetched::default();
    let mut add = |topic: &str, index, code, offset: i64, epoch: i32, metadata: Option<ByteString>| {
        if code == ErrorCode::UnstableOffsetCommit.code() {
            found.unstable.insert(TopicPartition::new(topic, index));
            return Ok(());
        }
        coordinator.check(api, code, None)?;
        if offset >= 0 {
            let committed = Committed {
                offset: Offset(offset),
                leader_epoch: (epoch >= 0).then_some(LeaderEpoch(epoch)),
                metadata: metadata.map(|text| text.to_string()).unwrap_or_default(),
            };
            found
                .committed
                .insert(TopicPartition::new(topic, index), committed);
        }
        Ok::<(), ClientError>(())
    };
    for topic in answer.topics {
        for p in topic.partitions {
            let (epoch, code) = (p.committed_leader_epoch, p.error_code);
            add(
                &topic.name,
                p.partition_index,
                code,
                p.committed_offset,
                epoch,
                p.metadata,
            )?;
        }
    }
    for group in answer.groups {
        coordinator.check(api, group.error_code, None)?;
        for topic in group.topics {
            for p in topic.partitions {
                let (epoch, code) = (p.committed_leader_epoch, p.error_code);
                add(
                    &topic.name,
                    p.partition_index,
                    code,
                    p.committed_offset,
                    epoch,
                    p.metadata,
                )?;
            }
        }
    }
    Ok(found)
}

/// Commits `offsets`; what the coordinator said to each. What concerns the coordinator itself is an error of the whole, and
/// is tried again.
pub(crate) async fn commit(
    coordinator: &Coordinator,
    committer: &Committer,
    offsets: &BTreeMap<TopicPartition, Offset>,
) -> Result<BTreeMap<TopicPartition, Result<(), Refusal>>, ClientError> {
    coordinator
        .client()
        .retrying(|| commit_once(coordinator, committer, offsets))
        .await
}

async fn commit_once(
    coordinator: &Coordinator,
    committer: &Committer,
    offsets: &BTreeMap<TopicPartition, Offset>,
) -> Result<BTreeMap<TopicPartition, Result<(), Refusal>>, ClientError> {
    let mut topics: BTreeMap<&str, OffsetCommitRequestTopic> = BTreeMap::new();
    for (partition, offset) in offsets {
        let topic = topics.entry(&*partition.topic).or_default();
        topic.name = ByteString::from(&*partition.topic);
        topic.partitions.push(OffsetCommitRequestPartition {
            partition_index: partition.partition,
            committed_offset: offset.0,
            committed_leader_epoch: NONE,
            committed_metadata: Some(ByteString::new()),
            ..OffsetCommitRequestPartition::default()
        });
    }
    let request = OffsetCommitRequest {
        group_id: coordinator.key().clone(),
        generation_id_or_member_epoch: committer.epoch,
        member_id: committer.member.clone(),
        topics: topics.into_values().collect(),
        ..OffsetCommitRequest::default()
    };
    let answer = coordinator.call((0, LAST_WITH_NAMES), None, &request).await?;
    let unanswered = || Err(Refusal::new(ErrorCode::UnknownServerError));
    let mut results: BTreeMap<TopicPartition, Result<(), Refusal>> = offsets
        .keys()
        .map(|partition| (partition.clone(), unanswered()))
        .collect();
    for topic in answer.topics {
        for partition in topic.partitions {
            let checked = coordinator.check(ApiKey::OffsetCommit, partition.error_code, None);
            match checked {
                // The whole request is to go to another broker, or to come later.
                Err(error) if is_retried(&error) => return Err(error),
                _ => {}
            }
            let key = TopicPartition::new(&*topic.name, partition.partition_index);
            results.insert(key, Refusal::check(partition.error_code, None));
        }
    }
    Ok(results)
}

/// Whether the same commit may succeed a little later. A topic that is not there will not be there then either.
fn is_retried(error: &ClientError) -> bool {
    error.is_transient() && error.code() != Some(ErrorCode::UnknownTopicOrPartition)
}

fn by_topic(partitions: &[TopicPartition]) -> BTreeMap<ByteString, Vec<i32>> {
    let mut topics: BTreeMap<ByteString, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        let topic = topics.entry(ByteString::from(&*partition.topic)).or_default();
        topic.push(partition.partition);
    }
    topics
}
