//! AssignReplicasToDirs: a broker says in which of its log dirs its replicas lie (KIP-858).
//!
//! Each partition is decided on its own; what the metadata has already makes no record. A replica that turns out to lie in a
//! log dir that is offline is lost to the cluster like one whose log dir fails; one of a partition that nobody leads, in a log
//! dir that is online, may lead at once.
//!
//! Always holds: an earlier incarnation of the broker is refused; only the broker's own place in a partition changes.

use klamm_model::{BrokerId, ErrorCode, Uuid};
use klamm_protocol::messages::assign_replicas_to_dirs_request as request;
use klamm_protocol::messages::assign_replicas_to_dirs_response as response;
use klamm_protocol::metadata_records::PartitionChangeRecord;

use super::Context;
use super::Decision;
use crate::image::{PartitionImage, TopicImage, directory};
use crate::record::MetadataRecord;

/// Decides on the request.
pub fn decide(
    context: &Context<'_>,
    request: &request::AssignReplicasToDirsRequest,
) -> Decision<response::AssignReplicasToDirsResponse> {
    if let Err(code) = context.check_broker_epoch(request.broker_id, request.broker_epoch) {
        return Decision::unchanged(response::AssignReplicasToDirsResponse {
            error_code: code.code(),
            ..Default::default()
        });
    }
    let broker = BrokerId(request.broker_id);
    let mut records = Vec::new();
    let directories = request.directories.iter().map(|asked| response::DirectoryData {
        id: asked.id,
        topics: asked
            .topics
            .iter()
            .map(|topic| topic_answer(context, broker, asked.id, topic, &mut records))
            .collect(),
        ..Default::default()
    });
    let directories = directories.collect();
    Decision {
        records,
        response: response::AssignReplicasToDirsResponse {
            directories,
            ..Default::default()
        },
    }
}

fn topic_answer(
    context: &Context<'_>,
    broker: BrokerId,
    directory: Uuid,
    asked: &request::TopicData,
    records: &mut Vec<MetadataRecord>,
) -> response::TopicData {
    let topic = context.image.topics().by_id(&asked.topic_id);
    let mut answer = |number: i32| {
        let decided = match topic {
            Some(topic) => one(context, broker, directory, topic, number),
            None => Err(ErrorCode::UnknownTopicId),
        };
        match decided {
            Ok(record) => {
                records.extend(record.map(MetadataRecord::from));
                ErrorCode::None
            }
            Err(code) => code,
        }
    };
    let partitions = asked.partitions.iter().map(|partition| response::PartitionData {
        partition_index: partition.partition_index,
        error_code: answer(partition.partition_index).code(),
        ..Default::default()
    });
    response::TopicData {
        topic_id: asked.topic_id,
        partitions: partitions.collect(),
        ..Default::default()
    }
}

fn one(
    context: &Context<'_>,
    broker: BrokerId,
    directory: Uuid,
    topic: &TopicImage,
    number: i32,
) -> Result<Option<PartitionChangeRecord>, ErrorCode> {
    let partition = topic
        .partition(number)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let at = partition.replicas.iter().position(|replica| *replica == broker);
    let at = at.ok_or(ErrorCode::NotLeaderOrFollower)?;
    if partition.directories.get(at) == Some(&directory) {
        return Ok(None);
    }
    let mut directories = partition.directories.to_vec();
    directories.resize(partition.replicas.len(), directory::MIGRATING);
    directories[at] = directory;
    let after = PartitionImage {
        directories: directories.as_slice().into(),
        ..partition.clone()
    };
    let follows = context.replica_found(topic, number, &after, broker);
    let record = follows.unwrap_or_else(|| PartitionChangeRecord {
        topic_id: topic.id,
        partition_id: number,
        ..Default::default()
    });
    Ok(Some(PartitionChangeRecord {
        directories: Some(directories),
        ..record
    }))
}
