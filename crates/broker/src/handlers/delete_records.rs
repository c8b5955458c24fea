//! DeleteRecords, versions 0 to 2: moves the start of partitions forward (KIP-107).
//!
//! −1 means the high watermark. What lies before the new start cannot be read from the moment of the answer; its
//! segments are removed later. Internal topics keep their records, and so do topics that are only compacted.
//!
//! *Memory*: the answer. *Authorization*: DELETE on the topic.

use std::sync::Arc;

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
    for topic in &request.topics {
        let found = context.broker.replicas.by_name(&topic.name);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let partition = found
                .as_ref()
                .and_then(|topic| topic.partition(asked.partition_index));
            let result = match partition {
                None => Err(ErrorCode::UnknownTopicOrPartition),
                Some(_) if topic_name::is_internal(&topic.name) => Err(ErrorCode::InvalidTopicException),
                Some(partition) => delete(context, &partition, asked.offset).await,
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
    DeleteRecordsResponse {
        topics,
        ..Default::default()
    }
}

async fn delete(
    context: &RequestContext<'_>,
    partition: &Arc<Partition>,
    offset: i64,
) -> Result<Offset, ErrorCode> {
    let log = partition.settings().log.clone();
    if !log.delete {
        return Err(ErrorCode::PolicyViolation);
    }
    let start = partition.as_leader(None, |log, _| {
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
            .map_err(|_| ErrorCode::OffsetOutOfRange)?;
        Ok(log.log_start_offset())
    })??;
    // The answer is a promise: the new start must be found again after a restart.
    context
        .broker
        .upkeep
        .checkpoint_start(context.broker, partition)
        .await
        .map_err(|error| {
            tracing::error!(%partition, %error, "cannot record the new start of the log");
            ErrorCode::KafkaStorageError
        })?;
    Ok(start)
}
