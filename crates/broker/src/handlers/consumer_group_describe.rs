//! ConsumerGroupDescribe, versions 0 and 1: groups of the consumer protocol with their members, what each has and what each is to
//! have (KIP-848). Since version 1 it is told which protocol a member speaks (KIP-1099).
//!
//! Groups are told in the order of the request. One that is named again is told again, and looked at once. Refused while the cluster
//! has not finalized `group.version` 1, or the protocol is not offered here.
//!
//! *Memory*: the answer, proportional to the members of the groups and what they have; a few groups are described at once, and
//! reserved before the next ones. *Authorization*: DESCRIBE on each group, and on each topic in its description.

use klamm_coordinator::Answer as _;
use klamm_coordinator::group::{Answer, Request, Shape};
use klamm_model::ErrorCode;
use klamm_protocol::ByteString;
use klamm_protocol::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member, TopicPartitions,
};
use klamm_protocol::messages::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};

use crate::context::RequestContext;
use crate::coordinators::described::{self, Description};
use crate::coordinators::groups::{self, answer_to};
use crate::operations;

/// What a group, a member of it, a topic that the member names, one that it has, and a partition of that take in the answer,
/// described and encoded, beside their texts.
const GROUP_BYTES: usize = size_of::<DescribedGroup>() + 64;
const MEMBER_BYTES: usize = size_of::<Member>() + 64;
const NAME_BYTES: usize = size_of::<ByteString>() + 16;
const TOPIC_BYTES: usize = size_of::<TopicPartitions>() + 48;
const PARTITION_BYTES: usize = 2 * size_of::<i32>();

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let is_served = groups::serve_consumer_protocol(context);
    let describe = |names: &[ByteString]| describe(context, names, is_served);
    let groups = described::in_order(context, request.group_ids, describe).await;
    // One that is too large ends the connection.
    let mut groups = groups.unwrap_or_default();
    for group in &mut groups {
        let is_described = group.error_code == ErrorCode::None.code();
        group.authorized_operations =
            operations::of_group(request.include_authorized_operations && is_described);
    }
    ConsumerGroupDescribeResponse {
        groups,
        ..Default::default()
    }
}

/// Has a few groups described, each by its shard; all are decided on before the first is waited for.
fn describe(
    context: &RequestContext<'_>,
    names: &[ByteString],
    is_served: bool,
) -> impl Future<Output = Vec<DescribedGroup>> + use<> {
    let begun = names.iter().map(|name| {
        let groups = vec![name.clone()];
        match is_served {
            true => groups::begin(context, name, Request::ConsumerGroupDescribe(groups)),
            false => {
                let shape = Shape::ConsumerGroupDescribe(groups);
                groups::Begun::Refused(Answer::refused(&shape, ErrorCode::UnsupportedVersion))
            }
        }
    });
    let begun: Vec<_> = begun.collect();
    async {
        let mut described = Vec::with_capacity(begun.len());
        for begun in begun {
            described.extend(answer_to!(ConsumerGroupDescribe, begun.answer().await));
        }
        described
    }
}

impl Description for DescribedGroup {
    fn bytes(&self) -> usize {
        let message = self.error_message.as_ref().map_or(0, |message| message.len());
        let texts = self.group_id.len() + self.group_state.len() + self.assignor_name.len();
        GROUP_BYTES + 2 * (message + texts) + self.members.iter().map(of_member).sum::<usize>()
    }
}

fn of_member(member: &Member) -> usize {
    let optional = [
        &member.instance_id,
        &member.rack_id,
        &member.subscribed_topic_regex,
    ];
    let optional = optional.map(|text| text.as_ref().map_or(0, |text| text.len()));
    let texts = member.member_id.len() + member.client_id.len() + member.client_host.len();
    let names = member.subscribed_topic_names.iter();
    let names = names.map(|name| NAME_BYTES + 2 * name.len());
    MEMBER_BYTES
        + 2 * (texts + optional.iter().sum::<usize>())
        + names.sum::<usize>()
        + of_assignment(&member.assignment)
        + of_assignment(&member.target_assignment)
}

fn of_assignment(assignment: &Assignment) -> usize {
    let topics = assignment.topic_partitions.iter();
    topics
        .map(|topic| TOPIC_BYTES + 2 * topic.topic_name.len() + PARTITION_BYTES * topic.partitions.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer_memory::encoded_bytes;

    #[test]
    fn what_a_description_reserves_is_what_it_takes() {
        for (members, topics, partitions) in [(1, 0, 0), (1, 1, 1), (1, 1, 10_000), (50, 20, 3), (200, 1, 1)]
        {
            let assignment = Assignment {
                topic_partitions: vec![
                    TopicPartitions {
                        topic_name: "orders".into(),
                        partitions: vec![7; partitions],
                        ..Default::default()
                    };
                    topics
                ],
                ..Default::default()
            };
            let member = Member {
                member_id: "a".repeat(22).into(),
                subscribed_topic_names: vec!["orders".into(); topics],
                assignment: assignment.clone(),
                target_assignment: assignment,
                ..Default::default()
            };
            let group = DescribedGroup {
                members: vec![member; members],
                ..Default::default()
            };
            let reserved = group.bytes();
            let of_topic = 2 * (size_of::<TopicPartitions>() + partitions * size_of::<i32>());
            let of_member = size_of::<Member>() + topics * (of_topic + size_of::<ByteString>());
            let made = size_of::<DescribedGroup>() + members * of_member;
            let response = ConsumerGroupDescribeResponse {
                groups: vec![group],
                ..Default::default()
            };
            let taken = made + encoded_bytes::<ConsumerGroupDescribeRequest>(1, &response);
            assert!(
                reserved >= taken,
                "{members} {topics} {partitions}: {reserved} of {taken}"
            );
            assert!(
                reserved <= 2 * taken + 1024,
                "{members} {topics} {partitions}: {reserved} of {taken}"
            );
        }
    }
}
