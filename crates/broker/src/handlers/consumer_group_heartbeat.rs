//! ConsumerGroupHeartbeat, versions 0 and 1: a member of a consumer group joins, lives, says what it wants and what it owns, is told
//! what it has, and leaves (KIP-848). Since version 1 it makes its id itself (KIP-1082), and may subscribe by an expression.
//!
//! Refused while the cluster has not finalized `group.version` 1, or the protocol is not offered here.
//!
//! *Memory*: what the group keeps is a copy; the answer has what the member is assigned, reserved before it is encoded.
//! *Authorization*: READ on the group, then DESCRIBE on each topic that is named.

use klamm_coordinator::Answer as _;
use klamm_coordinator::group::{Answer, Request, Shape};
use klamm_model::ErrorCode;
use klamm_protocol::messages::consumer_group_heartbeat_response::TopicPartitions;
use klamm_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use crate::context::RequestContext;
use crate::coordinators::groups::{self, answer_to};

/// What a topic takes in the answer, and encoded, beside its partitions.
const TOPIC_BYTES: usize = size_of::<TopicPartitions>() + 32;
/// A partition, likewise.
const PARTITION_BYTES: usize = 2 * size_of::<i32>();

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    if !groups::serve_consumer_protocol(context) {
        let refused = Answer::refused(&Shape::ConsumerGroupHeartbeat, ErrorCode::UnsupportedVersion);
        return answer_to!(ConsumerGroupHeartbeat, refused);
    }
    let group = request.group_id.clone();
    let asked = Request::ConsumerGroupHeartbeat {
        client: groups::client(context),
        version: context.version,
        request: Box::new(request),
    };
    let begun = groups::begin(context, &group, asked);
    let response = answer_to!(ConsumerGroupHeartbeat, begun.answer().await);
    // One that is too large ends the connection.
    context.memory.reserve(bytes_of(&response)).await;
    response
}

/// What the assignment in an answer takes, and encoded.
fn bytes_of(response: &ConsumerGroupHeartbeatResponse) -> usize {
    let assignment = response.assignment.as_ref();
    let topics = assignment
        .into_iter()
        .flat_map(|assignment| &assignment.topic_partitions);
    topics
        .map(|topic| TOPIC_BYTES + PARTITION_BYTES * topic.partitions.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use klamm_protocol::messages::consumer_group_heartbeat_response::Assignment;

    use super::*;
    use crate::answer_memory::encoded_bytes;

    #[test]
    fn what_an_assignment_reserves_is_what_it_takes() {
        for (topics, partitions) in [(1, 1), (1, 10_000), (500, 1), (20, 30)] {
            let topic = TopicPartitions {
                partitions: vec![7; partitions],
                ..Default::default()
            };
            let response = ConsumerGroupHeartbeatResponse {
                assignment: Some(Assignment {
                    topic_partitions: vec![topic; topics],
                    ..Default::default()
                }),
                ..Default::default()
            };
            let reserved = bytes_of(&response);
            let made = topics * (size_of::<TopicPartitions>() + partitions * size_of::<i32>());
            let encoded = encoded_bytes::<ConsumerGroupHeartbeatRequest>(1, &response);
            // What every request may take without asking holds the rest.
            assert!(reserved + 64 >= made + encoded, "{topics} {partitions}");
            assert!(reserved <= 2 * (made + encoded), "{topics} {partitions}");
        }
    }
}
