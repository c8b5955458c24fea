//! Writes the markers that end a producer's transaction in the partitions that are led here.
//!
//! Always holds: a marker is told to be written once it is committed, and not before.
//!
//! Next: `transactions/sender.rs`, which orders them.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use futures_util::future::join_all;
use klamm_coordinator::TransactionalProducer;
use klamm_log::EndTransaction;
use klamm_model::{ErrorCode, Offset, TopicPartition};
use klamm_records::EndTransactionMarker;

use super::Kind;
use crate::broker::Broker;
use crate::replicas::{Partition, Watched};
use crate::waiters::Waiter;

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
    fn record(&self) -> EndTransactionMarker {
        EndTransactionMarker {
            committed: self.committed,
            coordinator_epoch: self.coordinator_epoch,
        }
    }
}

/// Writes a marker to each of the partitions; what became of it there, when that is known of all.
pub(crate) async fn write_markers(
    broker: &Arc<Broker>,
    marker: Marker,
    partitions: &[TopicPartition],
) -> Vec<(TopicPartition, ErrorCode)> {
    let written = partitions
        .iter()
        .map(async |partition| (partition.clone(), write(broker, marker, partition).await));
    join_all(written).await
}

async fn write(broker: &Broker, marker: Marker, partition: &TopicPartition) -> ErrorCode {
    if *partition.topic == *Kind::Group.topic() {
        let groups = &broker.groups;
        let ended = groups.end_transaction(partition.partition, marker.producer, marker.record());
        return match ended.await {
            Ok(()) => ErrorCode::None,
            // To whoever waits for a marker, a coordinator that is elsewhere or loads is a leader that is.
            Err(
                ErrorCode::NotCoordinator
                | ErrorCode::CoordinatorNotAvailable
                | ErrorCode::CoordinatorLoadInProgress,
            ) => ErrorCode::NotLeaderOrFollower,
            Err(code) => code,
        };
    }
    let Some(topic) = broker.replicas.by_name(&partition.topic) else {
        return ErrorCode::UnknownTopicOrPartition;
    };
    match topic.partition(partition.partition) {
        Ok(partition) => append(broker, marker, &partition).await,
        Err(code) => code,
    }
}

async fn append(broker: &Broker, marker: Marker, partition: &Arc<Partition>) -> ErrorCode {
    let end = EndTransaction {
        producer_id: marker.producer.id,
        producer_epoch: marker.producer.epoch,
        marker: marker.record(),
        transaction_version: u8::try_from(marker.transaction_version).unwrap_or(0),
    };
    match partition.end_transaction(&end, broker.env.now()).await {
        Ok(offset) => committed(partition, offset).await,
        Err(refusal) => refusal.code(),
    }
}

/// Waits until everything below `offset` is committed.
async fn committed(partition: &Partition, offset: Offset) -> ErrorCode {
    let waiter = Arc::<Waiter>::default();
    loop {
        let generation = waiter.arm();
        partition.wake_at(offset, &waiter, generation);
        match partition.watch(offset) {
            Watched::Reached => return ErrorCode::None,
            Watched::Failed(code) => return code,
            Watched::NotYet => {}
        }
        poll_fn(|cx| {
            waiter.register(cx.waker());
            match waiter.has_fired() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}
