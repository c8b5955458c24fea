//! OffsetCommit, versions 2 to 10: a group has read its partitions up to these offsets.
//!
//! By a member of a classic or a consumer group (a member epoch since version 9, KIP-848), or by anybody for a group without
//! members. Topics by id since version 10 (KIP-848); a topic or partition that is not there is refused alone, and the others are
//! committed. Answered when the commit is on the device of every in-sync replica.
//!
//! A topic that is named again is told of again, unless something is refused: then all that is told of it stands together, as in
//! Kafka.
//!
//! *Memory*: the answer, proportional to the partitions, reserved before it is made. *Authorization*: READ on the group and on each topic.

use std::collections::BTreeMap;
use std::sync::Arc;

use klamm_coordinator::group::Request;
use klamm_metadata::Image;
use klamm_model::{ErrorCode, Uuid};
use klamm_protocol::ByteString;
use klamm_protocol::messages::offset_commit_request::OffsetCommitRequestTopic;
use klamm_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use klamm_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};

use crate::context::RequestContext;
use crate::coordinators::groups::{self, answer_to};

/// Since this version topics are named by their ids.
const BY_ID: i16 = 10;

/// What a topic and a partition take in the answer, refused or told of, and encoded, beside the name.
const TOPIC_BYTES: usize = 2 * size_of::<OffsetCommitResponseTopic>() + 96;
const PARTITION_BYTES: usize = 2 * size_of::<OffsetCommitResponsePartition>() + 8;

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    mut request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let version = context.version;
    let bytes = request
        .topics
        .iter()
        .map(|topic| TOPIC_BYTES + 2 * topic.name.len() + PARTITION_BYTES * topic.partitions.len());
    if !context.memory.reserve(bytes.sum()).await {
        // One that is too large ends the connection.
        return OffsetCommitResponse::default();
    }
    let mut refused = Told::new(version);
    {
        let image = context.broker.metadata.published();
        request
            .topics
            .retain_mut(|topic| check(&image, version, topic, &mut refused));
    }
    if request.topics.is_empty() {
        return OffsetCommitResponse {
            topics: refused.topics,
            ..Default::default()
        };
    }
    let group = request.group_id.clone();
    let request = Arc::new(request);
    let begun = groups::begin(context, &group, Request::OffsetCommit { version, request });
    let mut response = answer_to!(OffsetCommit, begun.answer().await);
    if !refused.topics.is_empty() {
        response.topics.into_iter().for_each(|topic| refused.add(topic));
        response.topics = refused.topics;
    }
    response
}

/// Gives a topic its name and its id, and takes out what is not there; `false` if nothing is left.
fn check(image: &Image, version: i16, topic: &mut OffsetCommitRequestTopic, refused: &mut Told) -> bool {
    let topics = image.topics();
    let (found, unknown) = match version {
        BY_ID.. => (topics.by_id(&topic.topic_id), ErrorCode::UnknownTopicId),
        _ => (topics.by_name(&topic.name), ErrorCode::UnknownTopicOrPartition),
    };
    let Some(found) = found else {
        refuse(topic, unknown, |_| true, refused);
        return false;
    };
    match version {
        BY_ID.. => topic.name = found.name.to_string().into(),
        _ => topic.topic_id = found.id,
    }
    let is_there = |index: i32| found.partition(index).is_some();
    if topic
        .partitions
        .iter()
        .all(|partition| is_there(partition.partition_index))
    {
        return !topic.partitions.is_empty();
    }
    refuse(
        topic,
        ErrorCode::UnknownTopicOrPartition,
        |index| !is_there(index),
        refused,
    );
    topic
        .partitions
        .retain(|partition| is_there(partition.partition_index));
    !topic.partitions.is_empty()
}

/// Tells `code` of those partitions of a topic that `which` picks.
fn refuse(
    topic: &OffsetCommitRequestTopic,
    code: ErrorCode,
    which: impl Fn(i32) -> bool,
    refused: &mut Told,
) {
    let picked = topic
        .partitions
        .iter()
        .filter(|partition| which(partition.partition_index));
    let partitions = picked.map(|partition| OffsetCommitResponsePartition {
        partition_index: partition.partition_index,
        error_code: code.code(),
        ..Default::default()
    });
    refused.add(OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: partitions.collect(),
        ..Default::default()
    });
}

/// What is told of topics, each of which stands there once.
struct Told {
    version: i16,
    topics: Vec<OffsetCommitResponseTopic>,
    /// Where each topic stands, by what the version names it by.
    places: BTreeMap<(Uuid, ByteString), usize>,
}

impl Told {
    fn new(version: i16) -> Self {
        Self {
            version,
            topics: Vec::new(),
            places: BTreeMap::new(),
        }
    }

    /// Adds what is told of a topic, of which something else may be told already.
    fn add(&mut self, topic: OffsetCommitResponseTopic) {
        let key = match self.version {
            BY_ID.. => (topic.topic_id, ByteString::new()),
            _ => (Uuid::ZERO, topic.name.clone()),
        };
        let place = *self.places.entry(key).or_insert(self.topics.len());
        match self.topics.get_mut(place) {
            Some(told) => told.partitions.extend(topic.partitions),
            None => self.topics.push(topic),
        }
    }
}
