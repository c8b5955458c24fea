//! ListOffsets, versions 1 to 11: the offset that belongs to a timestamp, or to one of the special ones.
//!
//! −1 latest, −2 earliest, −3 the record with the largest timestamp (version 7, KIP-734), −4 earliest on local disk
//! (version 8, KIP-405), −5 latest that was tiered (version 9, KIP-1005), −6 earliest not yet tiered (version 11,
//! KIP-1023). Without tiering −5 and −6 have no answer. "Latest" is what the isolation level may see.
//!
//! *Memory*: the answer. Looking a timestamp up reads from the device on a thread that may block.
//! *Authorization*: DESCRIBE on the topic.

use std::collections::BTreeSet;
use std::sync::Arc;

use klamm_log::offsets::{FoundRecord, max_timestamp, offset_for_timestamp};
use klamm_model::{ErrorCode, LeaderEpoch, Offset, TimestampMs};
use klamm_protocol::messages::list_offsets_request::ListOffsetsPartition;
use klamm_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use klamm_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};

use crate::context::RequestContext;
use crate::replicas::{Partition, believed_epoch};
use crate::turn::Turn;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// Answers one request.
pub(crate) async fn handle(context: &RequestContext<'_>, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let committed = match request.isolation_level {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(ErrorCode::UnknownServerError),
    };
    let mut topics = Vec::with_capacity(request.topics.len());
    let mut turn = Turn::default();
    // Kafka answers by partition: a topic without one is not told of.
    for topic in request.topics.iter().filter(|topic| !topic.partitions.is_empty()) {
        let found = context.broker.replicas.by_name(&topic.name);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        let twice = named_twice(&topic.partitions);
        for asked in &topic.partitions {
            let partition = found
                .as_ref()
                .ok_or(ErrorCode::UnknownTopicOrPartition)
                .and_then(|topic| topic.partition(asked.partition_index));
            let result = match (committed, partition) {
                (Err(code), _) => Err(code),
                _ if twice.contains(&asked.partition_index) => Err(ErrorCode::InvalidRequest),
                (Ok(_), Err(code)) => Err(code),
                (Ok(committed), Ok(partition)) => find(context, &partition, asked, committed).await,
            };
            partitions.push(answer(context.version, asked.partition_index, result));
            turn.spend(0).await;
        }
        topics.push(ListOffsetsTopicResponse {
            name: topic.name.clone(),
            partitions,
            ..Default::default()
        });
    }
    ListOffsetsResponse {
        topics,
        ..Default::default()
    }
}

/// The partitions that stand there more than once.
fn named_twice(asked: &[ListOffsetsPartition]) -> BTreeSet<i32> {
    let mut numbers: Vec<i32> = asked.iter().map(|asked| asked.partition_index).collect();
    numbers.sort_unstable();
    let pairs = numbers.windows(2);
    pairs
        .filter(|pair| pair[0] == pair[1])
        .map(|pair| pair[0])
        .collect()
}

/// The offset, its timestamp, and its leader epoch.
type Answer = (Offset, Option<TimestampMs>, Option<LeaderEpoch>);

fn answer(
    version: i16,
    partition_index: i32,
    result: Result<Option<Answer>, ErrorCode>,
) -> ListOffsetsPartitionResponse {
    let none = ListOffsetsPartitionResponse {
        partition_index,
        offset: -1,
        timestamp: -1,
        leader_epoch: -1,
        ..Default::default()
    };
    match result {
        Err(code) => ListOffsetsPartitionResponse {
            error_code: code.code(),
            ..none
        },
        Ok(None) => none,
        Ok(Some((offset, timestamp, epoch))) => ListOffsetsPartitionResponse {
            offset: offset.0,
            timestamp: timestamp.map_or(-1, |timestamp| timestamp.0),
            leader_epoch: epoch.filter(|_| version >= 4).map_or(-1, |epoch| epoch.0),
            ..none
        },
    }
}

async fn find(
    context: &RequestContext<'_>,
    partition: &Arc<Partition>,
    asked: &ListOffsetsPartition,
    committed: bool,
) -> Result<Option<Answer>, ErrorCode> {
    let oldest_version = match asked.timestamp {
        EARLIEST_PENDING_UPLOAD => 11,
        LATEST_TIERED => 9,
        EARLIEST_LOCAL => 8,
        MAX_TIMESTAMP => 7,
        LATEST | EARLIEST => 1,
        timestamp if timestamp < 0 => i16::MAX,
        _ => 1,
    };
    if context.version < oldest_version {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let believed = believed_epoch(asked.current_leader_epoch);
    let special = partition.as_leader(believed, |log, leader| {
        let epochs = log.leader_epochs();
        let readable = if committed {
            log.last_stable_offset()
        } else {
            log.high_watermark()
        };
        Some(match asked.timestamp {
            LATEST => (readable, None, Some(leader.leader_epoch())),
            EARLIEST => {
                let start = log.log_start_offset();
                (start, None, epochs.epoch_of(start))
            }
            EARLIEST_LOCAL => {
                let start = log.local_log_start_offset();
                (start, None, epochs.epoch_of(start))
            }
            _ => return None,
        })
    })?;
    if special.is_some() || matches!(asked.timestamp, LATEST_TIERED | EARLIEST_PENDING_UPLOAD) {
        return Ok(special);
    }
    by_time(context, partition, asked.timestamp, committed).await
}

async fn by_time(
    context: &RequestContext<'_>,
    partition: &Arc<Partition>,
    timestamp: i64,
    committed: bool,
) -> Result<Option<Answer>, ErrorCode> {
    let cell = partition.clone();
    let found: Result<Option<FoundRecord>, _> = context
        .broker
        .env
        .blocking(move || match timestamp {
            MAX_TIMESTAMP => max_timestamp(&*cell),
            timestamp => offset_for_timestamp(&*cell, TimestampMs(timestamp)),
        })
        .await;
    let found = found.map_err(|error| {
        tracing::error!(%partition, %error, "cannot look up a timestamp");
        ErrorCode::KafkaStorageError
    })?;
    let Some(found) = found else { return Ok(None) };
    partition.as_leader(None, |log, _| {
        let readable = if committed {
            log.last_stable_offset()
        } else {
            log.high_watermark()
        };
        let epoch = log.leader_epochs().epoch_of(found.offset);
        (found.offset < readable).then_some((found.offset, Some(found.timestamp), epoch))
    })
}
