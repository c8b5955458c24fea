//! OffsetDelete, version 0: a group forgets the offsets of partitions that none of its members subscribes to (KIP-496).
//!
//! A topic or partition that is not there is refused alone. A topic that is named again is told of again, unless something is
//! refused: then all that is told of it stands together, as in Kafka.
//!
//! *Memory*: the answer, proportional to the partitions, reserved before it is made. *Authorization*: DELETE on the group, READ on each topic.

use std::collections::BTreeMap;

use klamm_coordinator::group::Request;
use klamm_metadata::Image;
use klamm_model::ErrorCode;
use klamm_protocol::ByteString;
use klamm_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use klamm_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use klamm_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use crate::context::RequestContext;
use crate::coordinators::groups::{self, answer_to};

/// What a topic and a partition take in the answer, refused or told of, and encoded, beside the name.
const TOPIC_BYTES: usize = 2 * size_of::<OffsetDeleteResponseTopic>() + 96;
const PARTITION_BYTES: usize = 2 * size_of::<OffsetDeleteResponsePartition>() + 8;

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    mut request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let bytes = request
        .topics
        .iter()
        .map(|topic| TOPIC_BYTES + 2 * topic.name.len() + PARTITION_BYTES * topic.partitions.len());
    if !context.memory.reserve(bytes.sum()).await {
        // One that is too large ends the connection.
        return OffsetDeleteResponse::default();
    }
    let mut refused = Told::default();
    {
        let image = context.broker.metadata.published();
        request
            .topics
            .retain_mut(|topic| check(&image, topic, &mut refused));
    }
    let group = request.group_id.clone();
    let begun = groups::begin(context, &group, Request::OffsetDelete(request));
    let mut response = answer_to!(OffsetDelete, begun.answer().await);
    // A refusal of the whole names no partitions.
    if response.error_code == ErrorCode::None.code() && !refused.topics.is_empty() {
        response.topics.into_iter().for_each(|topic| refused.add(topic));
        response.topics = refused.topics;
    }
    response
}

/// Takes out what is not there; `false` if nothing is left.
fn check(image: &Image, topic: &mut OffsetDeleteRequestTopic, refused: &mut Told) -> bool {
    let found = image.topics().by_name(&topic.name);
    let is_there = |index| found.is_some_and(|found| found.partition(index).is_some());
    let unknown = topic
        .partitions
        .extract_if(.., |partition| !is_there(partition.partition_index));
    let partitions: Vec<_> = unknown
        .map(|partition| OffsetDeleteResponsePartition {
            partition_index: partition.partition_index,
            error_code: ErrorCode::UnknownTopicOrPartition.code(),
        })
        .collect();
    if !partitions.is_empty() {
        refused.add(OffsetDeleteResponseTopic {
            name: topic.name.clone(),
            partitions,
        });
    }
    !topic.partitions.is_empty()
}

/// What is told of topics, each of which stands there once.
#[derive(Default)]
struct Told {
    topics: Vec<OffsetDeleteResponseTopic>,
    places: BTreeMap<ByteString, usize>,
}

impl Told {
    /// Adds what is told of a topic, of which something else may be told already.
    fn add(&mut self, topic: OffsetDeleteResponseTopic) {
        let place = *self.places.entry(topic.name.clone()).or_insert(self.topics.len());
        match self.topics.get_mut(place) {
            Some(told) => told.partitions.extend(topic.partitions),
            None => self.topics.push(topic),
        }
    }
}
