//! Writes the markers that end a producer's transaction in the partitions that are led here.
//!
//! Always holds: a marker is told to be written once it is committed, under the leadership that it was written under, and not
//! before. Those for many partitions are written some at a time. A topic of coordinators other than those of groups gets none:
//! nothing there is written in a transaction, its coordinator is the only writer, and Kafka's cannot read a marker.
//!
//! Next: `transactions/sender.rs`, which orders them, and `handlers/write_txn_markers.rs`, for those that others order.

use std::time::Duration;

use futures_util::future::join_all;
use klamm_coordinator::TransactionalProducer;
use klamm_log::EndTransaction;
use klamm_model::{ErrorCode, TopicPartition, topic_name};
use klamm_records::EndTransactionMarker;

use super::Kind;
use crate::broker::Broker;

/// Markers that are on their way at once, of one call.
pub(crate) const AT_ONCE: usize = 256;
/// How long a marker may take to be committed.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a transaction ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marker {
    /// The id and epoch of the marker.
    pub(crate) producer: TransactionalProducer,
    /// The leader epoch of the partition that the transactional id belongs to.
    pub(crate) coordinator_epoch: i32,
    /// The `transaction.version` that it ends under (KIP-1228).
    pub(crate) transaction_version: i16,
    pub(crate) committed: bool,
}

impl Marker {
    fn end(&self) -> EndTransaction {
        EndTransaction {
            producer_id: self.producer.id,
            producer_epoch: self.producer.epoch,
            marker: EndTransactionMarker {
                committed: self.committed,
                coordinator_epoch: self.coordinator_epoch,
            },
            transaction_version: u8::try_from(self.transaction_version).unwrap_or(0),
        }
    }
}

/// Writes a marker to each of the partitions; what became of it there, when that is known of all.
pub(crate) async fn write_markers(
    broker: &Broker,
    marker: Marker,
    partitions: &[TopicPartition],
) -> Vec<(TopicPartition, ErrorCode)> {
    let end = marker.end();
    let mut told = Vec::with_capacity(partitions.len());
    for some in partitions.chunks(AT_ONCE) {
        let written = some
            .iter()
            .map(async |partition| (partition.clone(), write(broker, &end, partition).await));
        told.extend(join_all(written).await);
    }
    told
}

async fn write(broker: &Broker, end: &EndTransaction, partition: &TopicPartition) -> ErrorCode {
    match broker
        .env
        .timeout(PATIENCE, write_to(broker, end, partition))
        .await
    {
        Ok(Ok(())) => ErrorCode::None,
        Ok(Err(code)) => code,
        Err(_) => ErrorCode::RequestTimedOut,
    }
}

async fn write_to(
    broker: &Broker,
    end: &EndTransaction,
    partition: &TopicPartition,
) -> Result<(), ErrorCode> {
    if is_unmarked(&partition.topic) {
        return Err(ErrorCode::InvalidTopicException);
    }
    let topic = broker.replicas.by_name(&partition.topic);
    let topic = topic.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let found = topic.partition(partition.partition)?;
    if *partition.topic == *Kind::Group.topic() {
        // Its shard must know, and is the only one that writes there.
        let ended = broker.groups.end_transaction(partition.partition, end).await;
        return ended.map_err(as_of_leader);
    }
    let written = found.end_transaction(end, broker.env.now()).await;
    let (epoch, offset) = written.map_err(|refusal| refusal.code())?;
    found.committed(epoch, offset).await
}

/// Whether a topic gets no markers: only its coordinators write to it, and nothing in a transaction.
pub(crate) fn is_unmarked(topic: &str) -> bool {
    topic_name::is_internal(topic) && topic != Kind::Group.topic()
}

/// To whoever waits for a marker, a coordinator that is elsewhere or loads is a leader that is.
fn as_of_leader(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::NotCoordinator
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::CoordinatorLoadInProgress => ErrorCode::NotLeaderOrFollower,
        code => code,
    }
}
