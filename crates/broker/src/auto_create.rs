//! Makes topics that clients name before anybody made them (`auto.create.topics.enable`).

use std::collections::BTreeSet;

use klamm_model::{ErrorCode, topic_name};
use klamm_protocol::ByteString;
use klamm_protocol::messages::CreateTopicsRequest;
use klamm_protocol::messages::create_topics_request::CreatableTopic;

use crate::context::RequestContext;
use crate::router;

/// How long the controller may take.
const TIMEOUT_MS: i32 = 30_000;

/// Makes the topics `names` with the broker's defaults, and returns those that were refused, with what the client is told.
/// When it returns the others can be used.
pub(crate) async fn create(
    context: &RequestContext<'_>,
    names: &[ByteString],
) -> Vec<(ByteString, ErrorCode)> {
    let mut refused = Vec::new();
    let mut topics: Vec<CreatableTopic> = Vec::new();
    let mut seen = BTreeSet::new();
    for name in names {
        if topic_name::validate(name).is_err() || topic_name::is_internal(name) {
            continue;
        }
        if !seen.insert(name) {
            continue;
        }
        topics.push(CreatableTopic {
            // The record that is made of it outlives the request's frame.
            name: ByteString::from(name.to_string()),
            num_partitions: -1,
            replication_factor: -1,
            ..Default::default()
        });
    }
    if topics.is_empty() {
        return refused;
    }
    let request = CreateTopicsRequest {
        topics,
        timeout_ms: TIMEOUT_MS,
        ..Default::default()
    };
    match context
        .broker
        .router
        .to_controller(context, router::newest::<CreateTopicsRequest>(), request.clone())
        .await
    {
        Ok(response) => {
            for topic in response.topics {
                let code = match ErrorCode::from_code(topic.error_code) {
                    // Somebody else was quicker.
                    Some(ErrorCode::None | ErrorCode::TopicAlreadyExists) => continue,
                    Some(ErrorCode::InvalidTopicException) => ErrorCode::InvalidTopicException,
                    Some(ErrorCode::InvalidReplicationFactor) => ErrorCode::InvalidReplicationFactor,
                    _ => ErrorCode::UnknownTopicOrPartition,
                };
                refused.push((topic.name, code));
            }
            context.broker.metadata.caught_up().await;
        }
        Err(code) => refused.extend(request.topics.into_iter().map(|topic| (topic.name, code))),
    }
    refused
}
