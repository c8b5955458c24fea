//! What is told of a consumer group (ConsumerGroupDescribe, KIP-848).

use std::collections::BTreeMap;

use klamm_metadata::Image;
use klamm_model::{ErrorCode, TopicId};
use klamm_protocol::ByteString;
use klamm_protocol::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member as DescribedMember, TopicPartitions,
};

use super::{ConsumerGroup, Member};
use crate::group::answer::in_words;
use crate::group::config::GroupConfig;

/// A group that is not there, or is of another kind.
pub fn not_found(group_id: &ByteString, message: String) -> DescribedGroup {
    DescribedGroup {
        error_code: ErrorCode::GroupIdNotFound.code(),
        error_message: Some(in_words(message)),
        group_id: group_id.clone(),
        ..Default::default()
    }
}

impl ConsumerGroup {
    /// The group with all its members. Topics that are gone are left out.
    pub fn describe(&self, image: &Image, config: &GroupConfig) -> DescribedGroup {
        let assignor = self.subscribers.preferred_assignor().cloned();
        let default = || {
            config
                .consumer_assignors
                .first()
                .map_or("", String::as_str)
                .into()
        };
        DescribedGroup {
            group_id: self.id.clone(),
            group_state: self.state().name().into(),
            group_epoch: self.epoch,
            assignment_epoch: self.target.epoch,
            assignor_name: assignor.unwrap_or_else(default),
            members: self
                .members
                .iter()
                .map(|(id, member)| self.described(id, member, image))
                .collect(),
            ..Default::default()
        }
    }

    fn described(&self, id: &ByteString, member: &Member, image: &Image) -> DescribedMember {
        let said = &member.subscription;
        // What it is to let go is its own until it has.
        let mut has: BTreeMap<TopicId, Vec<i32>> = BTreeMap::new();
        for holdings in [&member.current.assigned, &member.current.revoking] {
            for (topic, held) in holdings.iter() {
                has.entry(*topic)
                    .or_default()
                    .extend(held.iter().map(|held| held.partition));
            }
        }
        let target = self.target_of(id).into_iter().flat_map(|target| target.iter());
        DescribedMember {
            member_id: id.clone(),
            instance_id: said.instance_id.clone(),
            rack_id: said.rack_id.clone(),
            member_epoch: member.current.epoch,
            client_id: said.client_id.clone(),
            client_host: said.client_host.clone(),
            subscribed_topic_names: said.topics.clone(),
            subscribed_topic_regex: said.expression.clone(),
            assignment: assignment(has.into_iter(), image),
            target_assignment: assignment(
                target.map(|(topic, partitions)| (*topic, partitions.to_vec())),
                image,
            ),
            member_type: i8::from(said.classic.is_none()),
            ..Default::default()
        }
    }
}

fn assignment(topics: impl Iterator<Item = (TopicId, Vec<i32>)>, image: &Image) -> Assignment {
    let named = |(topic_id, partitions): (TopicId, Vec<i32>)| {
        Some(TopicPartitions {
            topic_id,
            topic_name: (&*image.topics().by_id(&topic_id)?.name).into(),
            partitions,
            ..Default::default()
        })
    };
    Assignment {
        topic_partitions: topics.filter_map(named).collect(),
        ..Default::default()
    }
}
