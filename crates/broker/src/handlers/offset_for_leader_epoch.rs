//! OffsetForLeaderEpoch, versions 2 to 4: where a leader epoch ends in this partition (KIP-101, KIP-279, KIP-320).
//!
//! A reader that was cut off compares the answer with its own position to see whether what it read was truncated. The
//! answer for an unknown epoch is −1, −1.
//!
//! *Memory*: the answer. *Authorization*: DESCRIBE on the topic.

use klamm_model::{ErrorCode, LeaderEpoch};
use klamm_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use klamm_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use klamm_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use crate::context::RequestContext;
use crate::replicas::{Partition, believed_epoch};

/// What stands for an epoch that a reader does not know.
const NO_EPOCH: i32 = -1;

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let found = context.broker.replicas.by_name(&topic.topic);
            let result = found
                .ok_or(ErrorCode::UnknownTopicOrPartition)
                .and_then(|topic| topic.partition(asked.partition))
                .and_then(|partition| epoch_end(&partition, asked));
            let (error, (leader_epoch, end_offset)) = match result {
                Ok(end) => (ErrorCode::None, end),
                Err(code) => (code, (-1, -1)),
            };
            let partition = asked.partition;
            EpochEndOffset {
                error_code: error.code(),
                partition,
                leader_epoch,
                end_offset,
                ..Default::default()
            }
        });
        OffsetForLeaderTopicResult {
            topic: topic.topic.clone(),
            partitions: partitions.collect(),
            ..Default::default()
        }
    });
    OffsetForLeaderEpochResponse {
        topics: topics.collect(),
        ..Default::default()
    }
}

fn epoch_end(partition: &Partition, asked: &OffsetForLeaderPartition) -> Result<(i32, i64), ErrorCode> {
    let believed = believed_epoch(asked.current_leader_epoch);
    let end = partition.as_leader(believed, |log, _| {
        let epoch = LeaderEpoch(asked.leader_epoch);
        (asked.leader_epoch != NO_EPOCH)
            .then(|| log.epoch_end(epoch))
            .flatten()
    })?;
    Ok(end.map_or((-1, -1), |end| (end.leader_epoch.0, end.end_offset.0)))
}
