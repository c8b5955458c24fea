//! DeleteRecords, versions 0 to 2: moves the start of partitions forward (KIP-107).
//!
//! −1 means the high watermark. What lies before the new start cannot be read from the moment of the answer; its
//! segments are removed later. Internal topics keep their records, and so do topics that are only compacted.
//!
//! *Memory*: the answer. *Authorization*: DELETE on the topic.

use std::sync::Arc;

use klamm_log::{LogDir, ReadError};
use klamm_model::{ErrorCode, Offset, topic_name};
use klamm_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use klamm_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use crate::context::RequestContext;
use crate::replicas::Partition;

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    let mut moved: Vec<Arc<LogDir>> = Vec::new();
    // Kafka answers by partition: a topic without one is not told of.
    for topic in request.topics.iter().filter(|topic| !topic.partitions.is_empty()) {
        let found = context.broker.replicas.by_name(&topic.name);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let partition = found
                .as_ref()
                .ok_or(ErrorCode::UnknownTopicOrPartition)
                .and_then(|topic| topic.partition(asked.partition_index));
            let result = match partition {
                Err(code) => Err(code),
                Ok(_) if topic_name::is_internal(&topic.name) => Err(ErrorCode::InvalidTopicException),
                Ok(partition) => delete(&partition, asked.offset, &mut moved),
            };
            let (error_code, low_watermark) = match result {
                Ok(start) => (0, start.0),
                Err(code) => (code.code(), -1),
            };
            let partition_index = asked.partition_index;
            partitions.push(DeleteRecordsPartitionResult {
                partition_index,
                low_watermark,
                error_code,
                ..Default::default()
            });
        }
        topics.push(DeleteRecordsTopicResult {
            name: topic.name.clone(),
            partitions,
            ..Default::default()
        });
    }
    // The answer is a promise: the new starts must be found again after a restart.
    for dir in moved {
        let path = dir.path().to_owned();
        if let Err(error) = context.broker.upkeep.checkpoint_starts(context.broker, dir).await {
            tracing::error!(dir = %path.display(), %error, "cannot record the new starts of logs");
            refuse_all(&mut topics);
        }
    }
    DeleteRecordsResponse {
        topics,
        ..Default::default()
    }
}

/// Without the checkpoint none of the new starts is sure.
fn refuse_all(topics: &mut [DeleteRecordsTopicResult]) {
    let partitions = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
    for partition in partitions.filter(|partition| partition.error_code == 0) {
        partition.error_code = ErrorCode::KafkaStorageError.code();
        partition.low_watermark = -1;
    }
}

/// Moves the start of one partition; `moved` gets its log dir.
fn delete(partition: &Partition, offset: i64, moved: &mut Vec<Arc<LogDir>>) -> Result<Offset, ErrorCode> {
    let log = partition.settings().log.clone();
    if !log.delete {
        return Err(ErrorCode::PolicyViolation);
    }
    partition.as_leader(None, |log, _| {
        let high_watermark = log.high_watermark();
        let target = if offset == -1 {
            high_watermark
        } else {
            Offset(offset)
        };
        if target > high_watermark || target < Offset(0) {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        log.advance_log_start_offset(target)
            .map_err(|error| match error {
                ReadError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
                _ => ErrorCode::KafkaStorageError,
            })?;
        // Also when another request has moved it: its checkpoint may not be written yet.
        if !moved.iter().any(|dir| Arc::ptr_eq(dir, log.dir())) {
            moved.push(log.dir().clone());
        }
        Ok(log.log_start_offset())
    })?
}
