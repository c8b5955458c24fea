//! DeleteTopics, versions 1 to 6: deletes topics, by name or since version 6 by id (KIP-516).
//!
//! When it is answered the topic is gone for every client of this broker, a topic of the same name can be made, and the
//! folders are renamed; their files are removed a little later, for reads that are under way. `delete.topic.enable` may
//! forbid it; versions before 3 have no error code for that.
//!
//! *Memory*: the answer. *Authorization*: DELETE on each topic.

use klamm_model::{ErrorCode, Uuid};
use klamm_protocol::ByteString;
use klamm_protocol::messages::delete_topics_response::DeletableTopicResult;
use klamm_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};

use crate::context::RequestContext;

/// Answers one request: decided by the controller, and answered when it can be seen and used here.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let names: Vec<_> = request
        .topics
        .iter()
        .map(|topic| (topic.name.clone(), topic.topic_id))
        .chain(
            request
                .topic_names
                .iter()
                .map(|name| (Some(name.clone()), Uuid::ZERO)),
        )
        .collect();
    if !context.broker.config.topics.may_be_deleted {
        let code = match context.version {
            ..3 => ErrorCode::InvalidRequest,
            _ => ErrorCode::TopicDeletionDisabled,
        };
        return refused(names, code);
    }
    let decided = context.decided_by_controller(request).await;
    decided.unwrap_or_else(|code| refused(names, code))
}

/// All of them are refused.
fn refused(names: Vec<(Option<ByteString>, Uuid)>, code: ErrorCode) -> DeleteTopicsResponse {
    let refused = names.into_iter().map(|(name, topic_id)| DeletableTopicResult {
        name,
        topic_id,
        error_code: code.code(),
        ..Default::default()
    });
    DeleteTopicsResponse {
        responses: refused.collect(),
        ..Default::default()
    }
}
