//! What members of the classic protocol say and are told inside of its messages, where they are consumers.
//!
//! ```text
//! version (2 bytes), then the fields of ConsumerProtocolSubscription or ConsumerProtocolAssignment in that version
//! ```
//!
//! Always holds: a version above ours is read and written as ours, as Kafka does.

use bytes::Bytes;
use klamm_metadata::Image;
use klamm_model::TopicId;
use klamm_protocol::data_records::consumer_protocol_assignment::TopicPartition;
use klamm_protocol::data_records::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use klamm_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use klamm_protocol::{Message, Reader, Writer};

/// The bytes are not what consumers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed embedded consumer protocol")]
pub(super) struct Malformed;

fn version<M: Message>(reader: &mut Reader) -> Result<i16, Malformed> {
    let version = reader.i16().map_err(|_| Malformed)?;
    if version < *M::VERSIONS.start() {
        return Err(Malformed);
    }
    Ok(version.min(*M::VERSIONS.end()))
}

fn read<M: Message>(bytes: &Bytes) -> Result<M, Malformed> {
    let mut reader = Reader::new(bytes.clone());
    let version = version::<M>(&mut reader)?;
    M::decode(&mut reader, version).map_err(|_| Malformed)
}

/// What a member wants, and what it has.
pub(super) fn subscription(bytes: &Bytes) -> Result<ConsumerProtocolSubscription, Malformed> {
    read(bytes)
}

/// What a member was told to have; one that has not been told anything yet has nothing.
pub(super) fn assignment(bytes: &Bytes) -> Result<ConsumerProtocolAssignment, Malformed> {
    if bytes.is_empty() {
        return Ok(ConsumerProtocolAssignment::default());
    }
    read(bytes)
}

/// The partitions that a member says it has, of topics that exist.
pub(super) fn owned(subscription: &ConsumerProtocolSubscription, image: &Image) -> Vec<TopicPartitions> {
    let topics = subscription.owned_partitions.iter().filter_map(|owned| {
        Some(TopicPartitions {
            topic_id: image.topics().by_name(&owned.topic)?.id,
            partitions: owned.partitions.clone(),
            ..Default::default()
        })
    });
    topics.collect()
}

/// What a member is told to have, in the version in which it said `said`.
pub(super) fn told(
    topics: impl Iterator<Item = (TopicId, Vec<i32>)>,
    said: &Bytes,
    image: &Image,
) -> Result<Bytes, Malformed> {
    let version = version::<ConsumerProtocolAssignment>(&mut Reader::new(said.clone()))?;
    let named = topics.filter_map(|(topic, partitions)| {
        Some(TopicPartition {
            topic: (&*image.topics().by_id(&topic)?.name).into(),
            partitions,
        })
    });
    let assignment = ConsumerProtocolAssignment {
        assigned_partitions: named.collect(),
        user_data: None,
    };
    let mut writer = Writer::contiguous();
    writer.i16(version);
    assignment.encode(&mut writer, version).map_err(|_| Malformed)?;
    Ok(writer.into_bytes())
}
