//! DescribeLogDirs, versions 1 to 5: the log dirs, what lies in them and how full they are (KIP-113, KIP-827).
//!
//! *Memory*: the answer. *Authorization*: DESCRIBE on the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use klamm_log::LogCell;
use klamm_model::ErrorCode;
use klamm_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use klamm_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};

use crate::context::RequestContext;
use crate::replicas::{Partition, Store};

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
    for store in &context.broker.stores {
        results.push(describe(context, store, &partitions).await);
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
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let (total_bytes, usable_bytes) = space.map_or((-1, -1), |space| {
        (bytes(space.total_bytes), bytes(space.usable_bytes))
    });
    let mut topics: BTreeMap<&str, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for partition in partitions {
        let size = partition.with(|log| Arc::ptr_eq(log.dir(), &store.dir).then(|| log.summary().size_bytes));
        if let Some(size) = size {
            topics
                .entry(partition.topic())
                .or_default()
                .push(DescribeLogDirsPartition {
                    partition_index: partition.index(),
                    partition_size: bytes(size),
                    offset_lag: 0,
                    ..Default::default()
                });
        }
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
        ..Default::default()
    }
}
