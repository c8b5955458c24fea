//! AlterReplicaLogDirs, versions 1 to 2: moves partitions to other log dirs of this broker (KIP-113).
//!
//! The answer comes when the move has begun; DescribeLogDirs shows the copy until it has taken the partition's place. Where a
//! partition is already, it stays, and a move elsewhere is taken back; a move to another place begins anew. For a partition that is not
//! here the place is noted for when it is made.
//!
//! *Memory*: the answer. *Authorization*: ALTER on the cluster.

use std::collections::BTreeMap;

use klamm_log::LogCell;
use klamm_model::{ErrorCode, TopicPartition};
use klamm_protocol::ByteString;
use klamm_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use klamm_protocol::messages::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse};
use tracing::warn;

use crate::broker::Broker;
use crate::context::RequestContext;
use crate::replicas::moves;

/// What the name of a copy's folder has behind the topic's and the number: a dot, an id, `-future`.
const ENDING_BYTES: usize = 1 + 32 + "-future".len();
const MAX_NAME_BYTES: usize = 255;

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    request: AlterReplicaLogDirsRequest,
) -> AlterReplicaLogDirsResponse {
    // Of a partition that is named twice the last counts, as in Kafka.
    let mut wanted: BTreeMap<(&ByteString, i32), &ByteString> = BTreeMap::new();
    for dir in &request.dirs {
        for topic in &dir.topics {
            for partition in &topic.partitions {
                wanted.insert((&topic.name, *partition), &dir.path);
            }
        }
    }
    let mut results: Vec<AlterReplicaLogDirTopicResult> = Vec::new();
    for ((topic, partition_index), path) in wanted {
        let moved = alter(context, topic, partition_index, path).await;
        let code = moved.err().unwrap_or(ErrorCode::None);
        if results.last().is_none_or(|last| last.topic_name != *topic) {
            results.push(AlterReplicaLogDirTopicResult {
                topic_name: topic.clone(),
                ..Default::default()
            });
        }
        let of_topic = results.last_mut().expect("one was pushed");
        of_topic.partitions.push(AlterReplicaLogDirPartitionResult {
            partition_index,
            error_code: code.code(),
            ..Default::default()
        });
    }
    AlterReplicaLogDirsResponse {
        results,
        ..Default::default()
    }
}

async fn alter(context: &RequestContext<'_>, topic: &str, index: i32, path: &str) -> Result<(), ErrorCode> {
    use std::sync::atomic::Ordering;
    let broker = context.broker;
    let name = TopicPartition::new(topic, index);
    if name.to_string().len() + ENDING_BYTES > MAX_NAME_BYTES {
        return Err(ErrorCode::InvalidTopicException);
    }
    let place = place_of(broker, path).ok_or(ErrorCode::LogDirNotFound)?;
    let store = &broker.stores[place];
    if store.dir.failure().is_some() {
        return Err(ErrorCode::KafkaStorageError);
    }
    if store.cordoned.load(Ordering::Relaxed) {
        return Err(ErrorCode::InvalidReplicaAssignment);
    }
    let _turn = broker.moves.turn.lock().await;
    let found = broker.replicas.by_name(topic);
    let found = found.ok_or(ErrorCode::UnknownTopicOrPartition);
    let partition = match found.and_then(|topic| topic.partition(index)) {
        Ok(partition) => partition,
        Err(ErrorCode::KafkaStorageError) => return Err(ErrorCode::KafkaStorageError),
        Err(_) => {
            broker.moves.prefer(name, place);
            return Err(ErrorCode::ReplicaNotAvailable);
        }
    };
    if let Some(under_way) = broker.moves.of(partition.topic_id(), index) {
        if under_way.place == place {
            return Ok(());
        }
        broker.moves.cancel(&broker.env, &under_way).await;
    }
    if partition.with(|log| std::sync::Arc::ptr_eq(log.dir(), &store.dir)) {
        return Ok(());
    }
    // As in Kafka: a copy of the partition may be in the one that cannot be seen.
    if broker.stores.iter().any(|store| store.dir.failure().is_some()) {
        return Err(ErrorCode::KafkaStorageError);
    }
    moves::begin(broker, &partition, place).await.map_err(|error| {
        warn!(%partition, path, %error, "the partition cannot be moved");
        ErrorCode::KafkaStorageError
    })
}

fn place_of(broker: &Broker, path: &str) -> Option<usize> {
    let mut stores = broker.stores.iter();
    stores.position(|store| store.dir.path().to_str() == Some(path))
}
