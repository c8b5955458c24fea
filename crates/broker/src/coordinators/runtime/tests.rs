//! A shard of counters over one partition: the runtime without any decision of a coordinator.
//!
//! Next: `toy.rs` for the shard; `groups.rs` for groups over a slow device.

mod answers;
mod failures;
mod groups;
mod loads;
mod timers;
mod toy;
mod transactions;

use std::time::Duration;

use klamm_coordinator::TransactionalProducer;
use klamm_env::sim::{Options, World};
use klamm_log::EndTransaction;
use klamm_model::{ProducerEpoch, ProducerId};
use klamm_records::EndTransactionMarker;

/// The end of a transaction, as a coordinator of version 1 has it written.
fn end_of(producer: TransactionalProducer, committed: bool, coordinator_epoch: i32) -> EndTransaction {
    EndTransaction {
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        marker: EndTransactionMarker {
            committed,
            coordinator_epoch,
        },
        transaction_version: 1,
    }
}

fn producer(id: i64) -> TransactionalProducer {
    TransactionalProducer {
        id: ProducerId(id),
        epoch: ProducerEpoch(0),
    }
}

/// A world in which a sync takes so many seconds.
fn slow(seconds: u64) -> World {
    World::with(
        1,
        Options {
            blocking_delay: Duration::from_secs(seconds),
            ..Options::default()
        },
    )
}
