//! When the oldest record was written that a group has not consumed.
//!
//! Always holds: of each partition one batch is read, unless it holds nothing but markers. What was not found in time, or cannot
//! be read, is left out, because an offset without an age is still worth showing.

use std::collections::BTreeMap;
use std::time::Duration;

use klamm_model::{Offset, TimestampMs, TopicPartition};

use super::Admin;
use crate::consumer::{ConsumeError, Consumer, ConsumerConfig, Isolation, Reset};
use crate::error::ClientError;

/// How long the records are waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// One wait among them.
const WAIT: Duration = Duration::from_millis(500);
/// Enough for the first batch of most partitions; a larger one comes when it is the first in the answer.
const PARTITION_BYTES: i32 = 16 * 1024;

impl Admin {
    /// The times of the first records at or behind these offsets, each given with the end of its partition.
    pub async fn times_of_unread(
        &self,
        offsets: &BTreeMap<TopicPartition, (Offset, Offset)>,
    ) -> BTreeMap<TopicPartition, TimestampMs> {
        let config = ConsumerConfig {
            isolation: Isolation::ReadUncommitted,
            reset: Reset::Earliest,
            max_wait: Duration::from_millis(100),
            partition_max_bytes: PARTITION_BYTES,
            ..ConsumerConfig::default()
        };
        let mut consumer = Consumer::new(self.client.clone(), config);
        let unread = offsets.iter().filter(|(_, (offset, end))| offset < end);
        consumer.assign(unread.map(|(partition, (offset, _))| (partition.clone(), *offset)));
        let mut times = BTreeMap::new();
        let deadline = self.client.env().monotonic() + PATIENCE;
        while consumer.assignment().next().is_some() && self.client.env().monotonic() < deadline {
            let fetched = match consumer.poll(WAIT).await {
                Ok(Some(fetched)) => fetched,
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!(%error, "an age is not known");
                    let concerned = consumer
                        .assignment()
                        .filter(|partition| concerns(&error, partition));
                    let concerned: Vec<TopicPartition> = concerned.cloned().collect();
                    if concerned.is_empty() {
                        break;
                    }
                    concerned
                        .iter()
                        .for_each(|partition| consumer.unassign(partition));
                    continue;
                }
            };
            let partition = fetched.partition;
            let first = fetched.records.first();
            if let Some(record) = first {
                times.insert(partition.clone(), record.timestamp);
            }
            let end = offsets.get(&partition).map(|(_, end)| *end);
            let is_at_end = consumer.position(&partition) >= end;
            if first.is_some() || is_at_end {
                consumer.unassign(&partition);
            }
        }
        times
    }
}

/// Whether it is `partition` that cannot be read.
fn concerns(error: &ConsumeError, partition: &TopicPartition) -> bool {
    match error {
        ConsumeError::Refused { partition: one, .. }
        | ConsumeError::OutOfRange { partition: one, .. }
        | ConsumeError::Damaged { partition: one, .. } => one == partition,
        ConsumeError::Client(ClientError::UnknownTopic { topic }) => *topic == *partition.topic,
        ConsumeError::Client(
            ClientError::UnknownPartition {
                topic,
                partition: one,
                ..
            }
            | ClientError::NoLeader {
                topic,
                partition: one,
            },
        ) => *topic == *partition.topic && *one == partition.partition,
        ConsumeError::Client(_) => false,
    }
}
