//! OffsetDelete, version 0: a group forgets the offsets of partitions that none of its members subscribes to (KIP-496).
//!
//! A topic or partition that is not there is refused alone. *Memory*: the answer, proportional to the partitions.
//! *Authorization*: DELETE on the group, READ on each topic.

use klamm_coordinator::group::Request;
use klamm_metadata::Image;
use klamm_model::ErrorCode;
use klamm_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use klamm_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use klamm_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use crate::context::RequestContext;
use crate::coordinators::groups::{self, answer_to};

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    mut request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let mut refused = Vec::new();
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
    if response.error_code == ErrorCode::None.code() {
        let answered = std::mem::replace(&mut response.topics, refused);
        answered
            .into_iter()
            .for_each(|topic| add(&mut response.topics, topic));
    }
    response
}

/// Takes out what is not there; `false` if nothing is left.
fn check(
    image: &Image,
    topic: &mut OffsetDeleteRequestTopic,
    refused: &mut Vec<OffsetDeleteResponseTopic>,
) -> bool {
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
        refused.push(OffsetDeleteResponseTopic {
            name: topic.name.clone(),
            partitions,
        });
    }
    !topic.partitions.is_empty()
}

/// Adds what is told of a topic, of which something else may be told already.
fn add(topics: &mut Vec<OffsetDeleteResponseTopic>, topic: OffsetDeleteResponseTopic) {
    match topics.iter_mut().find(|other| other.name == topic.name) {
        Some(other) => other.partitions.extend(topic.partitions),
        None => topics.push(topic),
    }
}
