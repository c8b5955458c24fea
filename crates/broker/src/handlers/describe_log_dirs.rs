//! DescribeLogDirs, versions 1 to 5: the log dirs, what lies in them and how full they are (KIP-113, KIP-827).
//!
//! *Memory*: the answer, proportional to the partitions asked for, reserved while it is made. *Authorization*: DESCRIBE on the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use klamm_log::LogCell;
use klamm_model::ErrorCode;
use klamm_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use klamm_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};

use crate::context::RequestContext;
use crate::replicas::moves::Move;
use crate::replicas::{Partition, Store};
use crate::turn::Turn;

/// What a partition takes, described and encoded, with what the allocator rounds up; and what the first of a topic takes
/// beside that and the name.
const PARTITION_BYTES: usize = 2 * size_of::<DescribeLogDirsPartition>() + 32;
const TOPIC_BYTES: usize = 2 * size_of::<DescribeLogDirsTopic>() + 96;

/// Answers one request: about the named partitions, or about all.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    let asked: Option<BTreeSet<(&str, i32)>> = request.topics.as_ref().map(|topics| {
        let pairs = topics
            .iter()
            .flat_map(|t| t.partitions.iter().map(|partition| (&*t.topic, *partition)));
        pairs.collect()
    });
    let mut partitions = context.broker.replicas.partitions();
    partitions.retain(|p| {
        asked
            .as_ref()
            .is_none_or(|asked| asked.contains(&(p.topic(), p.index())))
    });
    let mut results = Vec::with_capacity(context.broker.stores.len());
    let mut turn = Turn::default();
    for (place, store) in context.broker.stores.iter().enumerate() {
        let mut copies = context.broker.moves.to(place);
        copies.retain(|copy| {
            let of = copy.partition();
            let is_asked = |asked: &BTreeSet<(&str, i32)>| asked.contains(&(of.topic(), of.index()));
            asked.as_ref().is_none_or(is_asked)
        });
        results.push(describe(context, store, &partitions, &copies, &mut turn).await);
    }
    DescribeLogDirsResponse {
        results,
        ..Default::default()
    }
}

async fn describe(
    context: &RequestContext<'_>,
    store: &Store,
    partitions: &[Arc<Partition>],
    copies: &[Arc<Move>],
    turn: &mut Turn,
) -> DescribeLogDirsResult {
    let log_dir = store.dir.path().display().to_string().into();
    if store.dir.failure().is_some() {
        let error_code = ErrorCode::KafkaStorageError.code();
        return DescribeLogDirsResult {
            error_code,
            log_dir,
            ..Default::default()
        };
    }
    let dir = store.dir.clone();
    let space = context
        .broker
        .env
        .blocking(move || dir.files().space(dir.path()))
        .await;
    let (total_bytes, usable_bytes) = space.map_or((-1, -1), |space| {
        (bytes(space.total_bytes), bytes(space.usable_bytes))
    });
    let mut topics = topics_in(context, store, partitions, turn).await;
    for copy in copies {
        let of = copy.partition();
        let rows = topics.entry(of.topic()).or_default();
        if !context
            .memory
            .reserve(PARTITION_BYTES + TOPIC_BYTES + 2 * of.topic().len())
            .await
        {
            break;
        }
        let progress = copy.progress();
        rows.push(DescribeLogDirsPartition {
            partition_index: of.index(),
            partition_size: bytes(progress.size_bytes),
            offset_lag: progress.lag,
            is_future_key: true,
            ..Default::default()
        });
    }
    let topics = topics.into_iter().map(|(name, partitions)| DescribeLogDirsTopic {
        name: name.to_owned().into(),
        partitions,
        ..Default::default()
    });
    DescribeLogDirsResult {
        log_dir,
        topics: topics.collect(),
        total_bytes,
        usable_bytes,
        is_cordoned: store.cordoned.load(Ordering::Relaxed),
        ..Default::default()
    }
}

/// The partitions that lie in `store`, by their topics; without the rest when there are too many for an answer.
async fn topics_in<'a>(
    context: &RequestContext<'_>,
    store: &Store,
    partitions: &'a [Arc<Partition>],
    turn: &mut Turn,
) -> BTreeMap<&'a str, Vec<DescribeLogDirsPartition>> {
    let mut topics: BTreeMap<&str, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for partition in partitions {
        turn.spend(PARTITION_BYTES).await;
        let size = partition.with(|log| Arc::ptr_eq(log.dir(), &store.dir).then(|| log.summary().size_bytes));
        let Some(size) = size else { continue };
        let topic: &str = partition.topic();
        let first = match topics.contains_key(topic) {
            true => 0,
            false => TOPIC_BYTES + 2 * topic.len(),
        };
        if !context.memory.reserve(PARTITION_BYTES + first).await {
            break;
        }
        topics.entry(topic).or_default().push(DescribeLogDirsPartition {
            partition_index: partition.index(),
            partition_size: bytes(size),
            offset_lag: 0,
            ..Default::default()
        });
    }
    topics
}

fn bytes(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer_memory::encoded_bytes;

    #[test]
    fn an_answer_takes_no_more_than_is_reserved_for_it() {
        for (topics, partitions) in [(1, 1), (1, 5_000), (700, 1), (33, 33)] {
            let topic = DescribeLogDirsTopic {
                name: "orders".into(),
                partitions: vec![DescribeLogDirsPartition::default(); partitions],
                ..Default::default()
            };
            let response = DescribeLogDirsResponse {
                results: vec![DescribeLogDirsResult {
                    topics: vec![topic; topics],
                    ..Default::default()
                }],
                ..Default::default()
            };
            // Rows grow by doubling.
            let row = size_of::<DescribeLogDirsTopic>()
                + partitions.next_power_of_two() * size_of::<DescribeLogDirsPartition>();
            let taken = topics * row + encoded_bytes::<DescribeLogDirsRequest>(4, &response);
            let reserved = topics * (TOPIC_BYTES + 12 + partitions * PARTITION_BYTES);
            assert!(taken <= reserved, "{taken} of {reserved}: {topics} {partitions}");
        }
    }
}
